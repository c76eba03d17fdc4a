"""Loss and main metric of the task, against simulated time and against rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.compare import TaskMetric, ends, interval, losses
from analysis.figures.settings import Setting, settings_of, shortened, wrapped
from analysis.figures.style import (
    CannotDraw,
    Width,
    legend_columns,
    new_figure,
    number_rounds,
    scheme_style,
    styled,
)
from analysis.load import Runs

#: What a panel shows, against what.
Quantity = Literal["loss", "metric"]
Against = Literal["time", "rounds"]

#: About so many markers are on a line with many values, at equal distances.
_MARKERS = 8

#: A loss that spans more than this factor has a logarithmic axis.
_WIDE_SPAN = 50.0


@dataclass(frozen=True, slots=True)
class Values:
    """A run's values: `values[i]` is known from `at[i]` on, in increasing order."""

    at: NDArray[np.float64]
    values: NDArray[np.float64]

    def last(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """The last value that is known at these places, none of which is before the first one."""
        known: NDArray[np.float64] = self.values[np.searchsorted(self.at, at, side="right") - 1]
        return known


@dataclass(frozen=True, slots=True)
class MeanCurve:
    """The mean over runs, and half its 95 % interval, which is nan where there is none."""

    at: NDArray[np.float64]
    mean: NDArray[np.float64]
    half: NDArray[np.float64]


@styled
def learning(runs: Runs, *, width: Width = "page") -> Figure:
    """The loss and the main metric of each scheme, against simulated time and against rounds.

    The loss is that on the test set after the round; of a task without one there is no such panel.
    (Directories of earlier versions without test losses have the training loss.) The main metric
    with its unit and direction is that of the manifest.

    A line is the mean over seeds, and the band around it the 95 % confidence interval of the mean
    (Student's t). Over time, the value of a run is the one after its last round that has ended by
    then; the line begins where every run has a value and ends where the first run ends
    (`mean_curve`). Where a run diverged, its values are not finite, so there is no mean from there
    on: thin lines show the other runs, and the legend says how many runs diverged.

    Runs of different studies, tasks and points of a grid are in separate panels. Raises
    `CannotDraw` where no run has a loss or metric.
    """
    settings = settings_of(runs)
    panels = [(setting, _quantities(setting)) for setting in settings]
    panels = [(setting, quantities) for setting, quantities in panels if quantities]
    if not panels:
        raise CannotDraw("these runs have neither a loss nor a metric")
    both = any(len(quantities) > 1 for _, quantities in panels)
    in_row = 4 if width == "page" and len(panels) > 1 and both else 2
    return _panels(panels, width, in_row)


def mean_curve(runs: Sequence[Values]) -> MeanCurve:
    """The mean of several runs' values, each taken as a step function.

    The places are those where any run has a new value, from the first place where all have one up
    to the end of the run that ends first; values after the end of a run are not extrapolated. Where
    one run ends before another begins, the only place is the first value of the latter.
    """
    start = max(float(run.at[0]) for run in runs)
    end = max(start, min(float(run.at[-1]) for run in runs))
    places = np.unique(np.concatenate([run.at for run in runs]))
    places = places[(places >= start) & (places <= end)]
    values = np.array([run.last(places) for run in runs])
    with np.errstate(invalid="ignore"):  # infinite values of diverged runs
        mean = values.mean(axis=0)
    mean[~np.isfinite(values).all(axis=0)] = np.nan
    half = np.array([interval(column) for column in values.T])
    return MeanCurve(places, mean, half)


def values_of(run: Runs, quantity: Quantity, against: Against) -> Values:
    """A run's loss or metric over the ends of its rounds in seconds, or over their number."""
    rounds = run.rounds
    order = np.argsort(rounds["round"].to_numpy(), kind="stable")
    found = losses(run) if quantity == "loss" else rounds["metric"]
    at = ends(run) if against == "time" else rounds["round"] + 1
    return Values(at.to_numpy(float)[order], found.to_numpy(float)[order])


def _quantities(setting: Setting) -> list[Quantity]:
    """What a setting's runs have values of; a run that diverged at once may have none."""
    known: dict[Quantity, bool] = {
        "loss": any(np.isfinite(losses(run)).any() for run in setting.runs),
        "metric": any(np.isfinite(run.rounds["metric"]).any() for run in setting.runs),
    }
    return [quantity for quantity, is_known in known.items() if is_known]


def _panels(
    settings: Sequence[tuple[Setting, list[Quantity]]], width: Width, in_row: int
) -> Figure:
    """All panels: those of a setting in one row or two, with its label above."""
    schemes = list(dict.fromkeys(name for setting, _ in settings for name in setting.schemes))
    rows_of = [max(1, 2 * len(quantities) // in_row) for _, quantities in settings]
    figure = new_figure(width, 0.4 + 1.75 * sum(rows_of) + 0.15 * len(settings))
    parts = np.atleast_1d(np.asarray(figure.subfigures(len(settings), 1, height_ratios=rows_of)))
    for part, rows, (setting, quantities) in zip(parts, rows_of, settings, strict=True):
        grid = list(part.subplots(rows, in_row, squeeze=False).flat)
        for axes in grid[2 * len(quantities) :]:
            axes.remove()
        if setting.label:
            part.suptitle(wrapped(setting.label, 50 if width == "column" else 100), fontsize=8)
        places = [(what, against) for what in quantities for against in _AGAINST]
        for axes, (quantity, against) in zip(grid, places, strict=False):
            _draw(axes, setting, quantity, against, schemes)
        for over_time, over_rounds in zip(part.axes[::2], part.axes[1::2], strict=True):
            over_rounds.sharey(over_time)
            over_rounds.set_ylabel("")
            over_rounds.tick_params("y", labelleft=False)
    _legend(figure, width, {scheme: _diverged(settings, scheme) for scheme in schemes})
    return figure


_AGAINST: tuple[Against, ...] = ("time", "rounds")


def _draw(
    axes: Axes, setting: Setting, quantity: Quantity, against: Against, schemes: Sequence[str]
) -> None:
    """The line of each scheme."""
    for scheme in setting.schemes:
        runs = [values_of(run, quantity, against) for run in setting.of_scheme(scheme)]
        colour, marker, line = scheme_style(scheme, schemes)
        curve = mean_curve(runs)
        axes.plot(
            curve.at,
            curve.mean,
            color=colour,
            marker=marker,
            linestyle=line,
            markevery=_marked(curve.at),
            drawstyle="steps-post" if against == "time" else "default",
            label=scheme,
        )
        low, high = curve.mean - curve.half, curve.mean + curve.half
        step: Literal["post"] | None = "post" if against == "time" else None
        axes.fill_between(curve.at, low, high, step=step, color=colour, alpha=0.2, linewidth=0)
        for run in runs if not np.isfinite(curve.mean).all() else []:
            finite = np.where(np.isfinite(run.values), run.values, np.nan)
            where = "steps-post" if against == "time" else "default"
            axes.plot(run.at, finite, color=colour, lw=0.6, drawstyle=where, marker=",")
    _label(axes, setting, quantity, against)


def _marked(at: NDArray[np.float64]) -> list[int]:
    """Which values of a line have markers: all of a few, else some at about equal distances."""
    if len(at) <= 2 * _MARKERS:
        return list(range(len(at)))
    nearest = np.searchsorted(at, np.linspace(at[0], at[-1], _MARKERS))
    return [int(number) for number in np.unique(nearest)]


def _diverged(settings: Sequence[tuple[Setting, list[Quantity]]], scheme: str) -> int:
    """How many runs of a scheme have a value that is not finite."""
    return sum(
        any(not np.isfinite(values_of(run, what, "rounds").values).all() for what in quantities)
        for setting, quantities in settings
        for run in setting.of_scheme(scheme)
    )


def _label(axes: Axes, setting: Setting, quantity: Quantity, against: Against) -> None:
    if quantity == "loss":
        on_test = "test_loss" in setting.runs[0].rounds
        axes.set_ylabel("test loss" if on_test else "training loss")
        lines = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
        known = lines[np.isfinite(lines)]
        if len(known) and known.min() > 0 and known.max() > _WIDE_SPAN * known.min():
            axes.set_yscale("log")
    else:
        metric = TaskMetric.of(setting.runs[0])
        unit = f" ({metric.unit})" if metric.unit else ""
        better = "higher" if metric.higher_is_better else "lower"
        axes.set_ylabel(f"{metric.name}{unit}\n({better} is better)")
    if against == "time":
        axes.set_xlabel("simulated time (s)")
    else:
        number_rounds(axes)
        axes.set_xlabel("finished rounds")


def _legend(figure: Figure, width: Width, diverged: Mapping[str, int]) -> None:
    """The schemes, each once, with the number of runs that diverged."""
    handles: dict[str, Artist] = {}
    for part in figure.subfigs:
        for axes in part.axes:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(str(label), handle)
    names = [
        f"{shortened(scheme, 24)} ({lost} diverged)" if lost else shortened(scheme, 24)
        for scheme, lost in diverged.items()
    ]
    figure.legend(
        handles=[handles[scheme] for scheme in diverged],
        labels=names,
        loc="outside lower center",
        ncols=legend_columns(width, names),
    )
