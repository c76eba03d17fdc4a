"""Draws the spectral efficiency of transfers over their SINR, with the curve of planners."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.reduction import MOST_POINTS, thinned
from analysis.figures.style import (
    BLACK,
    CannotDraw,
    Width,
    group_style,
    in_order,
    legend_columns,
    new_figure,
    styled,
)
from analysis.load import Runs
from analysis.multicasts import KEY, once, whole_airtime_s

_COLUMNS = ["scheme", "radio", "kind", "bytes", "airtime_s", "bandwidth_hz", "sinr_db", "outcome"]

#: No radio carries much below this SINR.
_RISES_DB = -5.0


@styled
def goodput(runs: Runs, *, width: Width = "page", by: Literal["", "scheme", "kind"] = "") -> Figure:
    """The spectral efficiency of each transfer over its mean SINR, in a panel for each radio.

    The spectral efficiency is 8 · bytes / (airtime · bandwidth): payload bits for each second and
    hertz that the transfer was on the air. The curve is the goodput over bandwidth that planners
    expect of a long transfer with the whole band to itself. Both leave out the time that a transfer
    waits for its turn; the curve includes the access to the channel, which counts as no airtime.
    Transfers fall below the curve where blocks are sent again, and where fading or interference
    changes within a transfer, as their SINR is a mean. A multicast is drawn once, at its weakest
    receiver that got it, which determines its rate.

    Transfers that arrived are drawn, by scheme or kind; the default is the scheme where the runs
    have several. Of more than 4000 transfers of a radio it draws every n-th. Runs by earlier
    versions have no curve. Raises `CannotDraw` where no transfer was on the air.
    """
    on_air = (pc.field("airtime_s") > 0) & (pc.field("bandwidth_hz") > 0)
    rows = runs.table("transfers", [*KEY, *_COLUMNS], (pc.field("bytes") > 0) & on_air)
    rows["airtime_s"] = whole_airtime_s(rows)
    rows = rows[(rows["outcome"] == "delivered") & np.isfinite(rows["sinr_db"])]
    weakest_first = rows["sinr_db"].sort_values(kind="stable").index
    rows = once(rows.loc[weakest_first]).sort_index()
    if not len(rows):
        raise CannotDraw("these runs have no transfer whose SINR and airtime were measured")
    group = by or ("scheme" if rows["scheme"].nunique() > 1 else "kind")
    names = in_order(group, map(str, rows[group].unique()))
    curves = runs.table("media")
    radios = sorted(map(str, rows["radio"].unique()))
    across = width == "page"
    figure = new_figure(width, 3.0 if across else 0.4 + 2.5 * len(radios))
    shape = (1, len(radios)) if across else (len(radios), 1)
    panels = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True)
    handles: dict[str, Artist] = {}
    for axes, radio in zip(panels.flat, radios, strict=True):
        _draw_points(axes, rows[rows["radio"] == radio], group, names)
        _draw_curve(axes, curves[curves["stack"] == radio])
        axes.set_title(radio)
        axes.set_ylim(bottom=0)
        axes.label_outer()
        found, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    figure.supxlabel("mean SINR of a transfer (dB)", fontsize=8)
    figure.supylabel("spectral efficiency (bit/s/Hz)", fontsize=8)
    labels = [*(name for name in names if name in handles), *(handles.keys() - set(names))]
    figure.legend(
        [handles[label] for label in labels],
        labels,
        loc="outside upper center",
        ncols=legend_columns(width, labels),
        markerscale=2,
    )
    return figure


def _draw_points(axes: Axes, rows: pd.DataFrame, by: str, names: list[str]) -> None:
    """The transfers of a radio, each group thinned by the same factor."""
    share = min(1.0, MOST_POINTS / len(rows))
    for name in names:
        of = rows[rows[by] == name]
        of = thinned(of, max(1, round(share * len(of))))
        if not len(of):
            continue
        colour, marker, _ = group_style(by, name, names)
        axes.scatter(
            of["sinr_db"],
            8 * of["bytes"] / (of["airtime_s"] * of["bandwidth_hz"]),
            s=7,
            color=colour,
            marker=marker,
            alpha=0.5,
            linewidths=0,
            rasterized=True,
            label=name,
        )


def _draw_curve(axes: Axes, curves: pd.DataFrame) -> None:
    """Each different curve of a radio, from where it rises up to the end of the transfers."""
    low, high = min(_RISES_DB, axes.get_xlim()[0]), axes.get_xlim()[1]
    drawn: set[bytes] = set()
    for _, of in curves.groupby(["run", "medium"], sort=False, observed=True):
        of = of[(of["sinr_db"] >= low) & (of["sinr_db"] <= high)]
        efficiency = (of["goodput_bps"] / of["bandwidth_hz"]).to_numpy(float)
        identity = np.round(efficiency, 6).tobytes()
        if identity not in drawn:
            label = "expected by planners" if not drawn else None
            axes.plot(of["sinr_db"], efficiency, color=BLACK, linewidth=1.2, label=label)
            drawn.add(identity)
