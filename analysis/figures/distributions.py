"""Draws the distributions of what was measured of transfers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.reduction import cumulative
from analysis.figures.style import (
    CannotDraw,
    Width,
    group_style,
    in_order,
    legend_columns,
    new_figure,
    styled,
)
from analysis.load import Runs

_COLUMNS = ("scheme", "kind", "start_s", "end_s", "sinr_db", "retransmissions")


@styled
def distributions(
    runs: Runs,
    *,
    width: Width = "page",
    by: Literal["", "scheme", "kind"] = "",
    kind: str = "",
) -> Figure:
    """Empirical cumulative distributions of the transfers' SINR, delay and retransmissions.

    A line has the transfers of a scheme, or of a kind (`by`); the default is the scheme where the
    runs have several. With `kind`, only transfers of this kind count. The delay of a transfer is
    the time from its start, waiting for the channel included, to its end. Most transfers have no
    retransmission, so the last panel has the share of transfers with more than a number of them.
    Soundings are left out, as are transfers that did not arrive; the legend has the number of
    transfers on each line.
    Raises `CannotDraw` where no such transfer was made.
    """
    arrived = (pc.field("outcome") == "delivered") & (pc.field("bytes") > 0)
    rows = runs.table("transfers", _COLUMNS, arrived)
    if kind:
        rows = _of_kind(rows, kind)
    if not len(rows):
        raise CannotDraw("these runs have no transfer that arrived")
    several = rows["scheme"].nunique() > 1
    groups = _groups(rows, by or ("scheme" if several else "kind"))
    figure = new_figure(width, 2.5 if width == "page" else 6.0)
    sinr, delay, repeated = figure.subplots(*((1, 3) if width == "page" else (3, 1)))
    _draw_cumulative(sinr, rows["sinr_db"], groups)
    sinr.set(xlabel="mean SINR of a transfer (dB)", ylabel="share with this or less")
    _draw_cumulative(delay, rows["end_s"] - rows["start_s"], groups)
    delay.set(xlabel="delay of a transfer (s)", ylabel="share with this or less", xscale="log")
    _draw_more(repeated, rows["retransmissions"], groups)
    repeated.set(xlabel="retransmissions of a transfer", ylabel="share with more than this")
    lines, labels = sinr.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper center", ncols=legend_columns(width, labels))
    return figure


#: The rows of each line, with its colour and line style.
_Groups = dict[str, tuple[pd.Series, str, str]]


def _of_kind(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    known = sorted(map(str, rows["kind"].unique()))
    if kind not in known:
        raise CannotDraw(f"no transfer of kind {kind!r} arrived; there are {', '.join(known)}")
    return rows[rows["kind"] == kind]


def _groups(rows: pd.DataFrame, by: str) -> _Groups:
    """The rows of each scheme or kind as a mask, with colour and line style."""
    names = in_order(by, map(str, rows[by].unique()))
    groups: _Groups = {}
    for name in names:
        colour, _, line = group_style(by, name, names)
        groups[name] = rows[by] == name, colour, line
    return groups


def _draw_cumulative(axes: Axes, values: pd.Series, groups: _Groups) -> None:
    """The share of each group with a value or less."""
    for name, (mask, colour, line) in groups.items():
        of = values[mask].to_numpy(float)
        found, shares = cumulative(of)
        # From 0 at the smallest value, so that also a single value is a visible step.
        axes.step(
            np.concatenate([found[:1], found]),
            np.concatenate([np.zeros(len(found[:1])), shares]),
            where="post",
            color=colour,
            linestyle=line,
            label=f"{name} ({len(of):,})".replace(",", " "),
        )
    axes.set_ylim(0, 1.02)


def _draw_more(axes: Axes, values: pd.Series, groups: _Groups) -> None:
    """The share of each group with more than a value, as the most have none; on log axes."""
    for mask, colour, line in groups.values():
        found, shares = cumulative(values[mask].to_numpy(float))
        more = 1 - shares[:-1]
        if len(more):
            # The last step ends at the greatest value, which none exceeds.
            axes.step(found, [*more, more[-1]], where="post", color=colour, linestyle=line)
    if values.max() > 10:
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(left=-0.1)
    if axes.lines:
        axes.set_yscale("log")
        axes.set_ylim(top=1)
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0], yticks=[0])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center")
