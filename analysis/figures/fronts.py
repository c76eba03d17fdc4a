"""Draws the round time of schemes against the memory and the energy that they take."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import fronts as table_of_fronts
from analysis.compare import METRICS, Metric
from analysis.figures.points import metric_label
from analysis.figures.style import GREY, Width, legend_columns, new_figure, scheme_style, styled
from analysis.load import Runs

#: Where the largest value is this many times the smallest, an axis is logarithmic.
_WIDE = 20.0


@styled
def fronts(runs: Runs, *, width: Width = "page") -> Figure:
    """The round time against the largest device memory, and against the energy of all devices.

    A marker is the mean over seeds of a scheme at a point of a campaign's grid, or in a study where
    the runs are of several, with the 95 % intervals of both means where there are several seeds. It
    is filled where no other point of the same study is at least as good in all three and better in
    one. The line is the Pareto front of the two metrics of a panel. Where there are several points,
    those on it are numbered, and listed below the panels. Energy is the mean of a round.
    `analysis.fronts.fronts` has the numbers.
    """
    metrics = {name: METRICS[name] for name in table_of_fronts.OBJECTIVES}
    means = _in_units(table_of_fronts.fronts(runs), metrics)
    names = [name for name in metrics if name != "round_s"]
    on_lines = {name: _on_line(means, name) for name in names}
    numbers = _numbers(means, on_lines)
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
            _draw_front(axes, pareto(means[[name, "round_s"]].to_numpy(float)))
            _number(axes, means[on_lines[name]], name, numbers)
    lines, labels = panels[0].get_legend_handles_labels()
    if not means["on_front"].all():
        lines.append(Line2D([], [], linestyle="", marker="o", mfc="none", color=GREY, markersize=5))
        labels.append("dominated")
    columns = legend_columns(width, labels)
    figure.legend(lines, labels, loc="outside upper center", ncols=columns)
    if keys:
        figure.supxlabel("\n".join(keys), fontsize=6, ha="left", x=0.02)
    return figure


def _in_units(table: pd.DataFrame, metrics: Mapping[str, Metric]) -> pd.DataFrame:
    """The table of fronts in the units of the axes."""
    scaled = {
        column: table[column] * metric.scale
        for name, metric in metrics.items()
        for column in (name, f"{name}_ci95")
    }
    return table.assign(**scaled)


def _on_line(means: pd.DataFrame, name: str) -> pd.Series:
    """Which rows are on the Pareto front of this metric and the round time."""
    line = {tuple(row) for row in pareto(means[[name, "round_s"]].to_numpy(float))}
    pairs = means[[name, "round_s"]].itertuples(index=False, name=None)
    return pd.Series([pair in line for pair in pairs], means.index)


def _numbers(means: pd.DataFrame, on_lines: Mapping[str, pd.Series]) -> dict[str, int]:
    """The numbers of the points on any front; none where there is one point only."""
    if means["point"].nunique() < 2:
        return {}
    points = dict.fromkeys(point for on in on_lines.values() for point in means["point"][on])
    return {point: number for number, point in enumerate(filter(None, points), start=1)}


def _lines(numbers: Mapping[str, int], columns: int) -> list[str]:
    """Lines of text that say what each number means, none longer than `columns`."""
    texts = [
        f"{number}: {point.replace('scheme.settings.', '')}" for point, number in numbers.items()
    ]
    return [line for text in texts for line in textwrap.wrap(text, columns)]


def _draw_means(axes: Axes, means: pd.DataFrame, name: str) -> None:
    schemes = list(dict.fromkeys(means["scheme"]))
    for scheme in schemes:
        colour, marker, _ = scheme_style(scheme, schemes)
        of = means[means["scheme"] == scheme]
        axes.errorbar(
            of[name],
            of["round_s"],
            xerr=of[f"{name}_ci95"].fillna(0),
            yerr=of["round_s_ci95"].fillna(0),
            fmt=marker,
            color=colour,
            markersize=5,
            elinewidth=0.8,
            label=scheme,
        )
        beyond = of[~of["on_front"]]
        axes.plot(
            beyond[name],
            beyond["round_s"],
            marker,
            color=colour,
            markersize=5,
            markerfacecolor="white",
            zorder=3,  # above the filled markers
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


def _number(axes: Axes, means: pd.DataFrame, name: str, numbers: Mapping[str, int]) -> None:
    """Writes the numbers of these rows beside their markers."""
    shown = means[means["point"].isin(numbers)]
    for point, x, y in shown[["point", name, "round_s"]].itertuples(index=False):
        axes.annotate(
            str(numbers[point]),
            (x, y),
            (-4, -4),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=6,
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
