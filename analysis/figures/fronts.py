"""Draws the round time of schemes against the memory and the energy that they take."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.compare import Metric, interval
from analysis.figures.points import compared, metric_label, scaled
from analysis.figures.settings import settings_of
from analysis.figures.style import GREY, Width, legend_columns, new_figure, scheme_style, styled
from analysis.load import Runs

#: Where the largest value is this many times the smallest, an axis is logarithmic.
_WIDE = 20.0


@styled
def fronts(runs: Runs, *, width: Width = "page") -> Figure:
    """The round time against the largest device memory, and against the energy of all devices.

    A marker is the mean over seeds of a scheme at a point of a campaign's grid, or in a study where
    the runs are of several, with the 95 % intervals of both means where there are several seeds.
    The line is the Pareto front of the means: for each marker beyond it there is another that is at
    least as good in both and better in one. Where there are several points, those on the front are
    numbered, and listed below the panels. Energy is the mean of a round.
    """
    comparison = compared(settings_of(runs))
    names = "peak_device_memory_bytes", "device_energy_j"
    metrics = {name: comparison.metrics[name] for name in ("round_s", *names)}
    means = _means(comparison.runs, metrics)
    numbers = _numbers(means, names)
    keys = _lines(numbers, 130 if width == "page" else 62)
    figure = new_figure(width, 0.11 * len(keys) + (2.9 if width == "page" else 5.2))
    panels = figure.subplots(*((1, 2) if width == "page" else (2, 1)), sharey=width == "page")
    for axes, name in zip(panels, names, strict=True):
        _draw_means(axes, means, name)
        axes.set_xlabel(metric_label(metrics[name]))
        if axes is panels[0] or width == "column":
            axes.set_ylabel(metric_label(metrics["round_s"]))
    if len(means) > 1:
        for axes, name in zip(panels, names, strict=True):
            axes.autoscale(False)  # the fronts go on beyond the axes
            front = pareto(means[[name, "round_s"]].to_numpy(float))
            _draw_front(axes, front)
            _number(axes, means, name, front, numbers)
    lines, labels = panels[0].get_legend_handles_labels()
    columns = legend_columns(width, labels)
    figure.legend(lines, labels, loc="outside upper center", ncols=columns)
    if keys:
        figure.supxlabel("\n".join(keys), fontsize=6, ha="left", x=0.02)
    return figure


def _numbers(means: pd.DataFrame, names: Sequence[str]) -> dict[str, int]:
    """The numbers of the points on any front; none where there is one point only."""
    if means["point"].nunique() < 2:
        return {}
    on_front: list[str] = []
    for name in names:
        values = means[[name, "round_s"]].to_numpy(float)
        front = {tuple(row) for row in pareto(values)}
        on_front += [
            point for point, row in zip(means["point"], values, strict=True) if tuple(row) in front
        ]
    return {point: number for number, point in enumerate(dict.fromkeys(on_front), start=1)}


def _lines(numbers: Mapping[str, int], columns: int) -> list[str]:
    """Lines of text that say what each number means, none longer than `columns`."""
    texts = [f"{number}: {point}" for point, number in numbers.items()]
    return [line for text in texts for line in textwrap.wrap(text, columns)]


def _means(frame: pd.DataFrame, metrics: dict[str, Metric]) -> pd.DataFrame:
    """The mean and interval of the metrics by scheme and point, in the units of their axes."""
    rows = []
    for (scheme, point), of in frame.groupby(["scheme", "point"], sort=False):
        row: dict[str, object] = {"scheme": scheme, "point": point}
        for name, metric in metrics.items():
            values = scaled(of, name, metric).to_numpy(float)
            row |= {name: values.mean(), f"{name}_ci": interval(values)}
        rows.append(row)
    return pd.DataFrame(rows)


def _draw_means(axes: Axes, means: pd.DataFrame, name: str) -> None:
    schemes = list(dict.fromkeys(means["scheme"]))
    for scheme in schemes:
        of = means[means["scheme"] == scheme]
        colour, marker, _ = scheme_style(scheme, schemes)
        axes.errorbar(
            of[name],
            of["round_s"],
            xerr=of[f"{name}_ci"].fillna(0),
            yerr=of["round_s_ci"].fillna(0),
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=0.8,
            label=scheme,
        )
    values = means[[name, "round_s"]].to_numpy(float)
    for axis, column in (("x", values[:, 0]), ("y", values[:, 1])):
        if column.min() > 0 and column.max() > _WIDE * column.min():
            axes.set(**{f"{axis}scale": "log"})
    axes.margins(0.12)
    # An interval may reach below 0, the metric does not.
    axes.set_xlim(left=max(axes.get_xlim()[0], 0.0))
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.0))


def _draw_front(axes: Axes, front: np.ndarray) -> None:
    """The border of the region that the front dominates, up to the ends of the axes."""
    beyond = 1e3 * max(axes.get_xlim()[1], axes.get_ylim()[1])
    corners = np.vstack([(front[0, 0], beyond), front, (beyond, front[-1, 1])])
    axes.plot(
        *corners.T,
        color=GREY,
        linewidth=1,
        drawstyle="steps-post",
        label="Pareto front",
        zorder=0,
    )


def _number(
    axes: Axes, means: pd.DataFrame, name: str, front: np.ndarray, numbers: Mapping[str, int]
) -> None:
    """Writes the numbers beside the markers on the front."""
    on_front = {tuple(row) for row in front}
    for point, x, y in means[["point", name, "round_s"]].itertuples(index=False):
        if point in numbers and (x, y) in on_front:
            text = str(numbers[point])
            axes.annotate(
                text, (x, y), (-4, -4), textcoords="offset points", ha="right", va="top", fontsize=6
            )


def pareto(values: np.ndarray) -> np.ndarray:
    """The rows of an array (N, 2) that no other row dominates, sorted by the first column.

    A row dominates another where it is smaller in one column and not larger in the other. Of equal
    rows one is given, and none with a value that is not finite.
    """
    front: list[np.ndarray] = []
    for row in values[np.lexsort((values[:, 1], values[:, 0]))]:
        if np.isfinite(row).all() and (not front or row[1] < front[-1][1]):
            front.append(row)
    return np.array(front).reshape(-1, 2)
