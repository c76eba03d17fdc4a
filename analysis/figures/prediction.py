"""Draws what a scheme predicted of its rounds against what was measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.reduction import thinned
from analysis.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PHASES,
    PURPLE,
    SKY,
    CannotDraw,
    Width,
    new_figure,
    styled,
)
from analysis.load import Runs

#: The label, colour and marker of each predicted quantity; those of durations first.
_DURATIONS: Mapping[str, tuple[str, str, str]] = {
    "round_s": ("round", PURPLE, "o"),
    "broadcast_s": ("broadcast", PHASES["broadcast"][0], "v"),
    "pipeline_s": ("pipeline", PHASES["pipeline"][0], "s"),
    "gather_s": ("gather", PHASES["gather"][0], "<"),
    "upload_s": ("upload", PHASES["upload"][0], "^"),
    "aggregate_s": ("aggregate", PHASES["aggregate"][0], "X"),
    "step_s": ("local step", GREEN, "D"),
}
_ENERGIES: Mapping[str, tuple[str, str, str]] = {
    "energy_j": ("total", PURPLE, "o"),
    "compute_energy_j": ("computing", BLUE, "s"),
    "tx_energy_j": ("sending", ORANGE, "^"),
    "rx_energy_j": ("receiving", SKY, "v"),
    "idle_energy_j": ("idle", GREEN, "P"),
}


@styled
def prediction(runs: Runs, *, width: Width = "page") -> Figure:
    """What the scheme predicted of each round against what was measured.

    One row of panels has the durations of the round, its phases and its local steps, the other the
    energy of each node in a round. In each, the left panel has a marker for each prediction above
    0, and the right one the distribution of the relative error (predicted − measured) / measured
    of each quantity: quartiles as a box, the 5th to the 95th percentile as a line, and the median
    in numbers. What was measured to be 0 is left out. Raises `CannotDraw` where the schemes of
    these runs predict nothing.
    """
    rows = runs.table("predictions")
    rows = rows[(rows["predicted"] >= 0) & (rows["measured"] > 0)]
    kinds = [("s", "duration", _DURATIONS), ("J", "energy", _ENERGIES)]
    kinds = [kind for kind in kinds if rows["quantity"].isin(kind[2]).any()]
    if not kinds:
        schemes = ", ".join(dict.fromkeys(run.scheme for run in runs.runs))
        raise CannotDraw(f"there are no predictions to compare: {schemes} predicted nothing")
    pairs = _panels(width, len(kinds))
    figure = pairs[0][0].figure
    for (points, errors), (unit, what, quantities) in zip(pairs, kinds, strict=True):
        shown = {key: style for key, style in quantities.items() if (rows["quantity"] == key).any()}
        of_kind = rows[rows["quantity"].isin(shown)]
        _draw_points(points, of_kind, shown)
        points.set(xlabel=f"measured {what} ({unit})", ylabel=f"predicted {what} ({unit})")
        _draw_errors(errors, of_kind, shown)
    assert isinstance(figure, Figure)
    return figure


def _panels(width: Width, kinds: int) -> list[tuple[Axes, Axes]]:
    """The two panels of each kind: side by side on a page, one above the other in a column."""
    if width == "page":
        figure = new_figure(width, 2.6 * kinds)
        grid = figure.subplots(kinds, 2, squeeze=False)
        return [(left, right) for left, right in grid]
    figure = new_figure(width, 4.3 * kinds)
    column = figure.subplots(2 * kinds, 1, height_ratios=[1.5, 1] * kinds)
    return [(column[2 * n], column[2 * n + 1]) for n in range(kinds)]


def _draw_points(
    axes: Axes, rows: pd.DataFrame, quantities: Mapping[str, tuple[str, str, str]]
) -> None:
    """The predictions over the measurements, on equal logarithmic axes with the diagonal."""
    rows = rows[rows["predicted"] > 0]
    for quantity, (label, colour, marker) in quantities.items():
        of = thinned(rows[rows["quantity"] == quantity], 1000)
        axes.scatter(
            of["measured"],
            of["predicted"],
            s=14,
            c=colour,
            marker=marker,
            alpha=0.7,
            linewidths=0,
            label=label,
            rasterized=len(of) > 300,
        )
    both = rows[["measured", "predicted"]].to_numpy(float)
    ends = (both.min() / 1.5, both.max() * 1.5) if len(both) else (0.1, 10.0)
    axes.plot(ends, ends, color=GREY, linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)


def _draw_errors(
    axes: Axes, rows: pd.DataFrame, quantities: Mapping[str, tuple[str, str, str]]
) -> None:
    """The distribution of each quantity's relative error, with its median."""
    for place, (quantity, (_, colour, marker)) in enumerate(quantities.items()):
        of = rows[rows["quantity"] == quantity]
        error = 100 * (of["predicted"] / of["measured"] - 1).to_numpy(float)
        low, quarter, median, three_quarters, high = np.percentile(error, [5, 25, 50, 75, 95])
        axes.plot([low, high], [place, place], color=colour, linewidth=1)
        axes.barh(
            place, three_quarters - quarter, 0.5, quarter, color=colour, alpha=0.4, edgecolor=colour
        )
        axes.plot(
            median, place, marker, color=colour, markersize=5, markeredgecolor="white", mew=0.4
        )
        axes.text(
            1.02,
            place,
            _percent(median),
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=7,
        )
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.use_sticky_edges = False  # else a bar at the edge would have no margin
    axes.margins(x=0.08)
    axes.set(
        xlabel="relative error of the prediction (%)",
        yticks=range(len(quantities)),
        yticklabels=[label for label, _, _ in quantities.values()],
        ylim=(len(quantities) - 0.5, -0.5),
    )
    axes.grid(axis="y", visible=False)
    axes.text(1.02, -0.5, "median", transform=axes.get_yaxis_transform(), fontsize=7)


def _percent(value: float) -> str:
    """A percentage with its sign; 0 has none."""
    text = f"{value:+.1f}"
    return ("0.0" if float(text) == 0 else text.replace("-", "−")) + " %"
