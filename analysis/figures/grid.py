"""Draws a metric over the settings that a campaign varies: lines, heat maps or a regime map."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import NullLocator

from analysis.compare import Metric, interval
from analysis.figures.points import (
    compared,
    metric_label,
    metric_of,
    scaled,
    unit_of,
    value_of,
)
from analysis.figures.settings import settings_of
from analysis.figures.style import (
    WIDTHS_IN,
    CannotDraw,
    Width,
    legend_columns,
    new_figure,
    scheme_style,
    styled,
)
from analysis.load import Runs

#: Where the largest value is this many times the smallest, an axis is logarithmic.
_WIDE = 8.0

#: More panels than this would be too small to read.
_MOST_PANELS = 12

#: The hatching of the schemes in a regime map, in their order, so that it can be read in grey.
_HATCHES = ("", "//", "..", "\\\\", "xx", "--")


@dataclass(frozen=True, slots=True)
class _Axis:
    """A key of the grid: its label, and its values in order, with the text of each.

    The values are numbers in the unit of the label where all are numbers.
    """

    key: str
    label: str
    values: tuple[float | str, ...]
    texts: tuple[str, ...]

    @property
    def is_numeric(self) -> bool:
        return not any(isinstance(value, str) for value in self.values)


@styled
def grid(
    runs: Runs,
    *,
    width: Width = "page",
    metric: str = "round_s",
    show: Literal["values", "best"] = "values",
) -> Figure:
    """A metric of the comparison over the settings that a campaign varies.

    Over one key, a line for each scheme has the mean over seeds and its 95 % interval. Over two or
    more, a heat map for each scheme has the mean in each cell; or, with `show="best"`, a regime map
    has the scheme with the best mean in each cell, and by how many percent it is better than the
    next one. A percentage is in parentheses where the 95 % interval of the difference, paired by
    seed, includes 0, or where there is only one seed. Of more than two keys, the two with the most
    values are the axes, and there is a panel for each combination of the others. `metric` is one of
    `analysis.compare.METRICS`. Raises `CannotDraw` for runs that are not from a grid, an unknown
    metric, and more panels than can be read.
    """
    axes_of = _axes_of(runs)
    settings = settings_of(runs)
    comparison = compared(settings)
    chosen = metric_of(comparison, metric)
    frame = comparison.runs.assign(value=scaled(comparison.runs, metric, chosen))
    for axis in axes_of:
        found = {
            setting.label: _index(axis, value_of(setting.runs.runs[0], axis.key))
            for setting in settings
        }
        frame[axis.key] = frame["point"].map(found)
    cells = frame.drop_duplicates("point")[[axis.key for axis in axes_of]]
    if cells.duplicated().any():
        raise CannotDraw(
            "the runs differ by more than the keys of their grid: load those of one campaign only"
        )
    if len(axes_of) == 1:
        return _lines(frame, axes_of[0], chosen, width)
    x, y, *others = sorted(axes_of, key=lambda axis: -len(axis.values))
    panels = list(_panels(frame, others, show))
    if len(panels) > _MOST_PANELS:
        raise CannotDraw(
            f"the grid needs {len(panels)} panels, of which at most {_MOST_PANELS} can be read: "
            "load fewer runs, so that fewer keys vary"
        )
    if show == "best":
        return _regimes(panels, x, y, chosen, width)
    return _heat_maps(panels, x, y, chosen, width)


def _axes_of(runs: Runs) -> list[_Axis]:
    """The keys of the grid that have several values."""
    keys = list(dict.fromkeys(key for run in runs.runs for key in run.point))
    missing = [run.name for run in runs.runs if set(run.point) != set(keys)]
    if keys and missing:
        raise CannotDraw(f"not all runs are of the same grid: {', '.join(missing[:5])}")
    studies = list(dict.fromkeys(setting.study for setting in settings_of(runs)))
    if len(studies) > 1:
        raise CannotDraw(f"the runs are of several studies: {', '.join(studies)}")
    axes = [_axis(key, {value_of(run, key) for run in runs.runs}) for key in keys]
    axes = [axis for axis in axes if len(axis.values) > 1]
    if not axes:
        raise CannotDraw("these runs are not from a grid: no setting has several values")
    return axes


def _axis(key: str, found: set[float | str]) -> _Axis:
    numbers = sorted(value for value in found if not isinstance(value, str))
    if len(numbers) < len(found):
        texts = tuple(sorted(map(str, found)))
        return _Axis(key, key, texts, texts)
    unit, factor = unit_of(key, max(map(abs, numbers)))
    label = f"{key} ({unit})" if unit else key
    return _Axis(key, label, tuple(numbers), tuple(f"{each * factor:.4g}" for each in numbers))


def _index(axis: _Axis, value: float | str) -> int:
    """The place of a value among the axis's values."""
    return axis.values.index(value if axis.is_numeric else str(value))


def _lines(frame: pd.DataFrame, axis: _Axis, metric: Metric, width: Width) -> Figure:
    """The mean of each scheme over one key, with intervals."""
    figure = new_figure(width, 3.0 if width == "page" else 2.8)
    axes = figure.subplots()
    schemes = list(dict.fromkeys(frame["scheme"]))
    at: Sequence[float] = range(len(axis.values))
    if axis.is_numeric:
        at = [float(value) for value in axis.values]
    for scheme in schemes:
        of = frame[frame["scheme"] == scheme].groupby(axis.key)["value"]
        means, half = of.mean(), of.apply(interval)
        colour, marker, line = scheme_style(scheme, schemes)
        axes.errorbar(
            [at[number] for number in means.index],
            means,
            yerr=half.fillna(0),
            color=colour,
            marker=marker,
            # Nominal values have no order that a line could follow.
            linestyle=line if axis.is_numeric else "",
            capsize=2,
            elinewidth=0.8,
            label=scheme,
        )
    if axis.is_numeric and min(at) > 0 and max(at) >= _WIDE * min(at):
        axes.set_xscale("log")
    axes.set_xticks(at, axis.texts)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel=_wrapped(axis.label, WIDTHS_IN[width]), ylabel=metric_label(metric))
    if not axis.is_numeric:
        axes.margins(x=0.2)
        _turn_labels(axes, axis, WIDTHS_IN[width])
    lines, labels = axes.get_legend_handles_labels()
    columns = legend_columns(width, labels)
    figure.legend(lines, labels, loc="outside upper center", ncols=columns)
    return figure


#: The title of each panel, and its rows of the frame.
_Panels = Sequence[tuple[str, pd.DataFrame]]


def _panels(
    frame: pd.DataFrame, others: Sequence[_Axis], show: str
) -> Iterator[tuple[str, pd.DataFrame]]:
    """A panel for each scheme, except in a regime map, at each combination of the other keys."""
    schemes = [None] if show == "best" else list(dict.fromkeys(frame["scheme"]))
    for places in itertools.product(*(range(len(axis.values)) for axis in others)):
        at = frame
        names = []
        for axis, place in zip(others, places, strict=True):
            at = at[at[axis.key] == place]
            names.append(f"{axis.key.rpartition('.')[2]}={axis.texts[place]}")
        for scheme in schemes:
            of = at if scheme is None else at[at["scheme"] == scheme]
            if len(of):
                yield ", ".join([*([scheme] if scheme else []), *names]), of


def _heat_maps(panels: _Panels, x: _Axis, y: _Axis, metric: Metric, width: Width) -> Figure:
    """The mean of each cell by colour and in numbers, on one scale for all panels."""
    figure, all_axes = _maps(panels, x, y, width, legend=False)
    cells = [
        of.groupby([y.key, x.key])["value"]
        .mean()
        .unstack()
        .reindex(index=range(len(y.values)), columns=range(len(x.values)))
        .to_numpy(float)
        for _, of in panels
    ]
    known = np.concatenate([each[np.isfinite(each)] for each in cells])
    if not len(known):
        raise CannotDraw(f"no run has a value of {metric.label}")
    low, high = known.min(), known.max()
    for axes, means in zip(all_axes, cells, strict=True):
        image = axes.imshow(
            means, cmap="cividis", vmin=low, vmax=high, aspect="auto", origin="lower"
        )
        for (row, column), value in np.ndenumerate(means):
            dark = math.isfinite(value) and value < (low + high) / 2
            _write(axes, row, column, _number(value), "white" if dark else "black")
    figure.colorbar(image, ax=all_axes, label=metric_label(metric), fraction=0.05, aspect=30)
    return figure


def _regimes(panels: _Panels, x: _Axis, y: _Axis, metric: Metric, width: Width) -> Figure:
    """The best scheme of each cell by colour and hatching, and its advantage in percent."""
    schemes = list(dict.fromkeys(name for _, of in panels for name in of["scheme"]))
    figure, all_axes = _maps(panels, x, y, width, legend=True)
    seen = set()
    for axes, (_, at) in zip(all_axes, panels, strict=True):
        axes.set(xlim=(-0.5, len(x.values) - 0.5), ylim=(-0.5, len(y.values) - 0.5))
        for row, column in itertools.product(range(len(y.values)), range(len(x.values))):
            best, text = _best(at[(at[y.key] == row) & (at[x.key] == column)], metric)
            if not best:
                continue
            seen.add(best)
            face, hatch = _face(best, schemes)
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=face, hatch=hatch, edgecolor="white"))
            _write(axes, row, column, text, "black", boxed=True)
    handles = [
        Patch(facecolor=_face(name, schemes)[0], hatch=_face(name, schemes)[1], edgecolor="white")
        for name in schemes
        if name in seen
    ]
    labels = [name for name in schemes if name in seen]
    title = f"lowest {metric.label}" if metric.smaller_is_better else f"highest {metric.label}"
    figure.legend(
        handles,
        labels,
        title=title,
        title_fontsize=7,
        loc="outside upper center",
        ncols=legend_columns(width, labels),
    )
    return figure


def _best(of: pd.DataFrame, metric: Metric) -> tuple[str, str]:
    """The scheme with the best mean in a cell, and its advantage over the next one as text.

    The advantage is relative to the next scheme's mean. Empty where no scheme has a value.
    """
    means = of.groupby("scheme", sort=False)["value"].mean().dropna()
    means = means.sort_values(ascending=metric.smaller_is_better, kind="stable")
    if len(means) < 2:
        return (str(means.index[0]) if len(means) else ""), ""
    best, second = means.index[:2]
    percent = 100 * abs(means[best] - means[second]) / abs(means[second])
    text = f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"
    by_seed = of.pivot_table(index="seed", columns="scheme", values="value")
    difference = (by_seed[best] - by_seed[second]).dropna().to_numpy(float)
    half = interval(difference)
    certain = math.isfinite(half) and abs(difference.mean()) > half
    return str(best), text if certain else f"({text})"


def _face(scheme: str, schemes: Sequence[str]) -> tuple[str, str]:
    """The colour and hatching of a scheme's cells."""
    return scheme_style(scheme, schemes)[0], _HATCHES[schemes.index(scheme) % len(_HATCHES)]


def _maps(
    panels: _Panels, x: _Axis, y: _Axis, width: Width, *, legend: bool
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, and the two keys as axes with a tick for each cell."""
    most = min(len(panels), 2 if width == "column" else 3)
    columns = most if len(panels) != 4 else 2
    rows = math.ceil(len(panels) / columns)
    height = 0.5 + rows * max(1.5, 0.45 + 0.3 * len(y.values)) + 0.4 * legend
    figure = new_figure(width, height)
    grid_of = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    all_axes = list(grid_of.flat)
    for axes in all_axes[len(panels) :]:
        axes.remove()
    panel_in = WIDTHS_IN[width] / columns * 0.75
    for axes, (title, _) in zip(all_axes, panels, strict=False):
        axes.set_title(_wrapped(title, panel_in), fontsize=7)
        axes.set_xticks(range(len(x.values)), x.texts)
        _turn_labels(axes, x, panel_in)
        axes.set_yticks(range(len(y.values)), y.texts)
        axes.grid(visible=False)
    figure.supxlabel(_wrapped(x.label, WIDTHS_IN[width]), fontsize=8)
    figure.supylabel(_wrapped(y.label, height), fontsize=8)
    return figure, all_axes[: len(panels)]


def _write(
    axes: Axes, row: int, column: int, text: str, colour: str, *, boxed: bool = False
) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85} if boxed else None
    axes.text(column, row, text, ha="center", va="center", fontsize=6, color=colour, bbox=box)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _turn_labels(axes: Axes, axis: _Axis, width_in: float) -> None:
    """Turns the labels along the horizontal axis where they would overlap."""
    needed_in = len(axis.texts) * (0.06 * max(map(len, axis.texts)) + 0.08)
    if needed_in > width_in:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def _wrapped(label: str, width_in: float) -> str:
    return "\n".join(textwrap.wrap(label, int(width_in / 0.07)))
