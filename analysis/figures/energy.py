"""The energy of each device by component, its budget, and its virtual queue."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from analysis.figures.settings import (
    Setting,
    by_number,
    chosen,
    is_device,
    largest_devices,
    settings_of,
    shortened,
    wrapped,
)
from analysis.figures.style import (
    BLACK,
    ENERGIES,
    GREY,
    CannotDraw,
    Width,
    new_figure,
    number_rounds,
    styled,
)
from analysis.load import Runs

#: The column of each component of the energy.
_COLUMNS: Mapping[str, str] = {
    "idle": "idle_energy_j",
    "compute": "compute_energy_j",
    "send": "tx_energy_j",
    "receive": "rx_energy_j",
}

#: The line styles and markers of the devices that stand out in a panel over rounds.
_LINES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))


@styled
def energy(
    runs: Runs, *, width: Width = "page", run: str | None = None, most_devices: int = 40
) -> Figure:
    """The energy of the devices in joules a round: at idle, for computing, sending and receiving.

    Above, a panel for each scheme: the mean over the rounds of a run, then over seeds, of each
    device, and its budget of a round as a black bar. Of more than `most_devices` devices, those
    that use the most energy are shown. Runs of different studies, tasks and points of a grid are
    in separate panels.

    Below, the run named `run`, by default the first: the energy of all its devices together over
    rounds, with the sum of their budgets where all have one; and each node's virtual queue after
    the round, in budgets (`collapipe_ns3.dssra.queues`), or each device's energy where the scheme
    has no queues. The four nodes with the largest values stand out, the others are grey.

    Soundings count as sending and receiving. Directories of earlier versions have no budgets, and
    nothing is taken at idle there and by the energy model `radiated`.
    Raises `CannotDraw` where there is no device, no such run, and where `most_devices` is less
    than 1.
    """
    settings = settings_of(runs)
    tables = [mean_energy(setting) for setting in settings]
    if not any(len(table) for table in tables):
        raise CannotDraw("these runs have no device")
    one = chosen(runs, run)
    shown = [largest_devices(table.set_index("device")["total"], most_devices) for table in tables]
    in_row = 4 if width == "page" else 2
    rows = [math.ceil(len(setting.schemes) / in_row) for setting in settings]
    heights = [
        0.5 + count * (0.4 + 0.14 * max(len(devices), 4))
        for count, devices in zip(rows, shown, strict=True)
    ]
    below = 2.3 if width == "page" else 3.9
    figure = new_figure(width, sum(heights) + below)
    ratios = [*heights, below]
    parts = list(np.asarray(figure.subfigures(len(ratios), 1, height_ratios=ratios)).flat)
    for part, setting, table, devices in zip(parts, settings, tables, shown, strict=False):
        _draw_devices(part, setting, table, devices, in_row)
    _draw_run(parts[-1], one, width)
    handles, labels = _legend(figure)
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=4)
    return figure


def mean_energy(setting: Setting) -> pd.DataFrame:
    """Energy in joules a round: a row for each scheme and device.

    The columns are `scheme`, `device`, `idle`, `compute`, `send`, `receive` (means over the rounds
    of a run, then over runs), `total` and `budget` (the mean over rounds and runs; nan where there
    is none).
    """
    names = list(_COLUMNS)
    devices = _device_rows(setting.runs).astype({"scheme": str, "run": str})
    of_run = devices.groupby(["scheme", "device", "run"])[[*names, "budget"]].mean()
    means = of_run.groupby(["scheme", "device"]).mean().reset_index()
    return means.assign(total=means[names].sum(axis=1))


def _device_rows(runs: Runs) -> pd.DataFrame:
    """A row for each device and round, with its energy by component and its budget in joules."""
    columns = ["run", "scheme", "round", "device", *_COLUMNS.values(), "energy_queue"]
    rows = runs.table("devices", columns).astype({"device": str, "run": str})
    rows = rows[rows["device"].map(is_device).astype(bool)]
    rows = rows.rename(columns={column: name for name, column in _COLUMNS.items()})
    nodes = runs.table("nodes", ["run", "round", "node", "energy_budget_j"])
    budgets = nodes.rename(columns={"node": "device", "energy_budget_j": "budget"})
    budgets = budgets.astype({"device": str, "run": str, "budget": float})
    return rows.merge(budgets, "left", on=["run", "round", "device"])


def _components(rows: pd.DataFrame) -> list[str]:
    """The components that are drawn; idling is none where it takes nothing."""
    return [name for name in _COLUMNS if name != "idle" or rows[name].sum() > 0]


def _draw_devices(
    part: SubFigure, setting: Setting, table: pd.DataFrame, devices: list[str], in_row: int
) -> None:
    """A panel for each scheme of a setting: a stacked bar for each device."""
    schemes = setting.schemes
    columns = min(in_row, len(schemes))
    rows = math.ceil(len(schemes) / columns)
    grid = part.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    panels = list(grid.flat)
    for axes, scheme in zip(panels, schemes, strict=False):
        own = table[table["scheme"] == scheme].set_index("device").reindex(devices)
        left = np.zeros(len(devices))
        places = np.arange(len(devices))
        for name in _components(table):
            colour, hatch = ENERGIES[name]
            joules = own[name].fillna(0.0).to_numpy(float)
            axes.barh(
                places,
                joules,
                0.76,
                left,
                label=name,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.2,
            )
            left += joules
        known = np.flatnonzero(np.isfinite(own["budget"].to_numpy(float)))
        if len(known):
            budgets = own["budget"].to_numpy(float)[known]
            axes.vlines(budgets, known - 0.45, known + 0.45, colors=BLACK, lw=1.6, label="budget")
        axes.set_title(shortened(scheme, 22), loc="left", fontsize=7)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(devices)), devices, fontsize=5.5 if len(devices) > 12 else 7)
    panels[0].set_ylim(len(devices) - 0.5, -0.5)
    panels[0].set_xlim(left=0)
    panels[0].xaxis.set_major_locator(MaxNLocator(8 if columns == 1 else 4))
    for axes in panels[len(schemes) :]:
        axes.remove()
    for axes in panels[max(0, len(schemes) - columns) : len(schemes)]:
        axes.tick_params("x", labelbottom=True)
        axes.set_xlabel("energy (J a round)")
    more = table["device"].nunique() - len(devices)
    which = f"{len(devices)} of {len(devices) + more} devices, those that use most" if more else ""
    title = ": ".join(filter(None, [setting.label, which]))
    if title:
        part.suptitle(wrapped(title, 48 if in_row == 2 else 100), fontsize=8)


def _draw_run(part: SubFigure, run: Runs, width: Width) -> None:
    """One run over rounds: all devices together by component, and each by its queue or energy."""
    rows = _device_rows(run)
    together, each = part.subplots(*((1, 2) if width == "page" else (2, 1)))
    part.suptitle(f"run {shortened(run.runs[0].name, 40)}", fontsize=8)
    _draw_components(together, rows)
    queues = run.table("devices", ["round", "device", "energy_queue"]).astype({"device": str})
    queues = queues[np.isfinite(queues["energy_queue"])]
    if len(queues):
        _draw_nodes(each, queues.pivot(index="round", columns="device", values="energy_queue"))
        each.set_ylabel("virtual queue (budgets)")
    else:
        total = rows.assign(total=rows[list(_COLUMNS)].sum(axis=1))
        _draw_nodes(each, total.pivot(index="round", columns="device", values="total"))
        each.set_ylabel("energy of a device (J)")
    for axes in (together, each):
        number_rounds(axes)


def _draw_components(axes: Axes, rows: pd.DataFrame) -> None:
    """The energy of all devices together, stacked by component, and the sum of their budgets."""
    of_round = rows.groupby("round")[list(_COLUMNS)].sum()
    base = np.zeros(len(of_round))
    few = len(of_round) <= 40
    for name in _components(of_round):
        colour, hatch = ENERGIES[name]
        joules = of_round[name].to_numpy(float)
        axes.bar(
            of_round.index,
            joules,
            0.8 if few else 1.0,
            base,
            label=name,
            color=colour,
            hatch=hatch if few else "",
            edgecolor="white",
            linewidth=0.2 if few else 0.0,
        )
        base += joules
    budget = rows.groupby("round")["budget"].sum(min_count=1)
    if rows["budget"].notna().all() and len(budget):
        edges = np.append(budget.index.to_numpy(float) - 0.5, budget.index[-1] + 0.5)
        axes.stairs(budget.to_numpy(float), edges, baseline=None, color=BLACK, lw=1.6)
    axes.set_ylabel("energy of all devices (J)")
    axes.grid(visible=False, axis="x")


def _draw_nodes(axes: Axes, values: pd.DataFrame) -> None:
    """A line for each node over rounds; those with the largest values have names."""
    largest = values.max().sort_values(ascending=False, kind="stable")
    outstanding = [str(node) for node in largest.index[: len(_LINES)]]
    for node in values.columns:
        if node not in outstanding:
            axes.plot(values.index, values[node], ".-", color=GREY, lw=0.5, ms=1.5, alpha=0.6)
    for node, (line, marker) in zip(by_number(outstanding), _LINES, strict=False):
        axes.plot(
            values.index,
            values[node],
            color=BLACK,
            linestyle=line,
            marker=marker,
            markevery=max(1, len(values) // 8),
            markersize=3,
            lw=0.9,
            label=node,
        )
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=6, handlelength=2.5)


def _legend(figure: Figure) -> tuple[list[object], list[str]]:
    """The components, then the budget."""
    found: dict[str, object] = {}
    for part in figure.subfigs[:-1]:
        for axes in part.axes:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                found.setdefault(str(label), handle)
    names = [name for name in (*_COLUMNS, "budget") if name in found]
    return [found[name] for name in names], names
