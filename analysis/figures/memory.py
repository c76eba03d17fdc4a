"""The peak memory of each device, and its limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.settings import (
    Setting,
    is_device,
    largest_devices,
    settings_of,
    shortened,
    wrapped,
)
from analysis.figures.style import (
    BLACK,
    CannotDraw,
    Width,
    legend_columns,
    new_figure,
    scheme_style,
    styled,
)
from analysis.load import Runs

MIB = 2.0**20

#: A range of memory that spans more than this factor has a logarithmic axis.
_WIDE_SPAN = 30.0


@styled
def memory(runs: Runs, *, width: Width = "page", most_devices: int = 40) -> Figure:
    """The peak memory of each device in MiB, by scheme, and the limit of its memory.

    A marker is the largest peak of a device over rounds and seeds; a line leads to it from the seed
    in which it is smallest. The limit is a black bar; directories of earlier versions do not have
    it. A device that held no part of the model in any round has no marker. Of more than
    `most_devices` devices, those with the largest peaks are shown. Runs of different studies, tasks
    and points of a grid are in separate panels. Raises `CannotDraw` where no device held a
    part, and where `most_devices` is less than 1.
    """
    settings = settings_of(runs)
    peaks = [peak_memory(setting.runs) for setting in settings]
    drawn = [(setting, table) for setting, table in zip(settings, peaks, strict=True) if len(table)]
    if not drawn:
        raise CannotDraw("in these runs no device held a part of the model")
    schemes = list(dict.fromkeys(name for setting, _ in drawn for name in setting.schemes))
    columns = 2 if width == "page" and len(drawn) > 1 else 1
    rows = math.ceil(len(drawn) / columns)
    counts = [min(table["device"].nunique(), most_devices) for _, table in drawn]
    tallest = [max(counts[row * columns : (row + 1) * columns]) for row in range(rows)]
    heights = [0.55 + 0.17 * max(each, 3) for each in tallest]
    figure = new_figure(width, 0.45 + sum(heights))
    panels = list(figure.subplots(rows, columns, squeeze=False, height_ratios=heights).flat)
    for axes, (setting, table) in zip(panels, drawn, strict=False):
        _draw(axes, setting, table, schemes, most_devices)
    for axes in panels[len(drawn) :]:
        axes.remove()
    handles, labels = _legend(panels[: len(drawn)])
    figure.legend(
        handles=handles,
        labels=labels,
        loc="outside lower center",
        ncols=legend_columns(width, labels),
    )
    return figure


def peak_memory(runs: Runs) -> pd.DataFrame:
    """Peak memory in bytes: a row for each scheme and device that held a part of the model.

    The columns are `scheme`, `device`, `peak_bytes` (the largest over rounds and seeds),
    `smallest_bytes` (the smallest over seeds of the largest over rounds) and `limit_bytes` (nan
    where it was not recorded, or is none).
    """
    columns = ["run", "scheme", "round", "device", "peak_memory_bytes"]
    devices = runs.table("devices", columns)
    names = devices["device"].astype(str)
    held = devices[names.map(is_device).astype(bool) & (devices["peak_memory_bytes"] > 0)]
    held = held.astype({"device": str, "scheme": str, "run": str})
    of_run = held.groupby(["scheme", "device", "run"])["peak_memory_bytes"].max()
    peaks = of_run.groupby(["scheme", "device"]).agg(["max", "min"]).reset_index()
    peaks = peaks.rename(columns={"max": "peak_bytes", "min": "smallest_bytes"})
    return peaks.assign(limit_bytes=peaks["device"].map(_limits(runs)).astype(float))


def _limits(runs: Runs) -> dict[str, float]:
    """The smallest limit of each device's memory in bytes, where there is one."""
    nodes = runs.table("nodes")
    if "memory_limit_bytes" not in nodes or nodes.empty:
        return {}
    known = nodes[np.isfinite(nodes["memory_limit_bytes"]) & (nodes["memory_limit_bytes"] > 0)]
    smallest = known.groupby(known["node"].astype(str))["memory_limit_bytes"].min()
    return {str(node): float(limit) for node, limit in smallest.items()}


def _draw(
    axes: Axes,
    setting: Setting,
    table: pd.DataFrame,
    schemes: Sequence[str],
    most_devices: int,
) -> None:
    shown = largest_devices(table.set_index("device")["peak_bytes"], most_devices)
    count = table["device"].nunique()
    place_of = {device: place for place, device in enumerate(shown)}
    table = table[table["device"].isin(place_of)]
    # Side by side within a row, so that equal peaks do not hide each other.
    own_schemes = setting.schemes
    offsets = np.linspace(-0.25, 0.25, len(own_schemes)) if len(own_schemes) > 1 else np.zeros(1)
    for scheme, offset in zip(own_schemes, offsets, strict=True):
        own = table[table["scheme"] == scheme]
        colour, marker, _ = scheme_style(scheme, schemes)
        places = own["device"].map(place_of).to_numpy(float) + offset
        peaks, smallest = own["peak_bytes"] / MIB, own["smallest_bytes"] / MIB
        axes.hlines(places, smallest, peaks, colors=colour, lw=0.8)
        axes.plot(peaks, places, marker, color=colour, markersize=3.5, label=scheme)
    limits = table.drop_duplicates("device").dropna(subset=["limit_bytes"])
    if len(limits):
        middles = limits["device"].map(place_of).to_numpy(float)
        edges = limits["limit_bytes"] / MIB
        axes.vlines(edges, middles - 0.42, middles + 0.42, colors=BLACK, lw=2, label="limit")
    values = np.concatenate([table["smallest_bytes"], table["peak_bytes"], limits["limit_bytes"]])
    if values.max() > _WIDE_SPAN * values.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(0, 1.08 * values.max() / MIB)
    axes.set_yticks(range(len(shown)), shown, fontsize=6 if len(shown) > 12 else 7)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("peak memory (MiB)")
    more = count - len(shown)
    title = f"{len(shown)} of {count} devices, those with the largest peaks" if more else ""
    text = ": ".join(filter(None, [setting.label, title]))
    axes.set_title(wrapped(text, 42), loc="left", fontsize=7)


def _legend(panels: Sequence[Axes]) -> tuple[list[object], list[str]]:
    """Each scheme once, then the limit."""
    found: dict[str, object] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(str(label), handle)
    names = sorted(found, key=lambda name: name == "limit")
    return [found[name] for name in names], [shortened(name, 24) for name in names]
