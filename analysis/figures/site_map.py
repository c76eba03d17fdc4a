"""Draws where the nodes of a run are, how they move, and the links and plan of a round."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from analysis.figures.labels import place_labels
from analysis.figures.settings import chosen, shortened
from analysis.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTHS_IN,
    CannotDraw,
    Width,
    new_figure,
    styled,
)
from analysis.load import Runs

#: The colours of the clusters in turn; their numbers are written beside them.
_CLUSTERS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)

#: The marker and its size of each role.
_MARKERS = {
    "base station": ("^", 8),
    "control unit": ("s", 6),
    "device": ("o", 7),
    "interferer": ("X", 6),
}

#: The SINR (dB) between which links are coloured, in every figure.
_SINR_DB = (0.0, 40.0)

#: How far the arrows of links bend, relative to their length, so that both directions are seen.
_BEND = 0.15

#: A node that moves less than this in a round has no arrow.
_STILL_M = 0.05

#: With more clusters than this, their details are below the map.
_MOST_BESIDE = 4

#: A detail with more nodes than this needs half of the page.
_CROWDED = 6

#: Joins the receivers of a multicast in a plan's links.
_GROUP_SIGN = "+"

#: Metres east and north.
_Place: TypeAlias = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class _Round:
    """One round of a run: its nodes, its plan, and the links that it used with their SINR (dB).

    `nodes` has the columns of the table, by the names of the nodes; `plan` has a row for each
    stage. The SINR of a link is nan where it was not measured.
    """

    name: str
    number: int
    nodes: pd.DataFrame
    plan: pd.DataFrame
    links: Mapping[tuple[str, str], float]

    @property
    def clusters(self) -> list[int]:
        return sorted(number for number in self.nodes["cluster"].unique() if number >= 0)

    @cached_property
    def places(self) -> dict[str, tuple[float, float]]:
        """Where each node is when the round begins, in metres."""
        rows = self.nodes[["x_m", "y_m"]].to_numpy(float).tolist()
        return {str(node): (x, y) for node, (x, y) in zip(self.nodes.index, rows, strict=True)}

    @cached_property
    def used(self) -> set[str]:
        """The nodes that the plan uses, for computing or by a link."""
        return {*self.plan["device"].astype(str), *(node for pair in self.links for node in pair)}

    def of_cluster(self, number: int) -> pd.DataFrame:
        return self.nodes[self.nodes["cluster"] == number]


@styled
def site_map(
    runs: Runs,
    *,
    width: Width = "page",
    run: str | None = None,
    round_number: int | None = None,
) -> Figure:
    """A map of the nodes with the plan of a round, and a detail of each cluster.

    The run is the one named `run`, by default the first; the round is `round_number`, by default
    the last. Nodes are where they were when the round began. The map shows all nodes in metres east
    and north of the first base station's mast, the ways of the control units over all rounds, and
    the links with base stations. The detail of a cluster shows its links, the number of each
    stage of its plan with the blocks of the stage (and as p0, p1, … the pipeline, where the cluster
    has several), and as thin lines how the nodes moved during the
    round. Links are coloured by the mean SINR of their transfers in the round, weighted by airtime;
    where they had none, by the SINR that was last measured. Links without any are grey. A node that
    the plan does not use is hollow.

    Raises `CannotDraw` for a run or round that is not there, and for runs of earlier versions,
    which did not record places.
    """
    one = chosen(runs, run)
    nodes = one.table("nodes")
    if not len(nodes):
        raise CannotDraw(f"run {one.runs[0].name} has no places of nodes: its version is earlier")
    shown = _round(one, nodes, round_number)
    scale = _scale()
    figure, site, details = _panels(width, shown)
    _draw_site(site, shown, nodes, scale)
    for axes, cluster in zip(details, shown.clusters, strict=True):
        _draw_cluster(axes, shown, cluster, scale)
    name = shortened(shown.name, int(WIDTHS_IN[width] / 0.075) - 12)
    figure.suptitle(f"{name}, round {shown.number}", fontsize=8)
    if shown.links:
        figure.colorbar(
            scale,
            ax=[site, *details],
            location="bottom",
            label="mean SINR of a link (dB)",
            fraction=0.04,
            aspect=50,
            extend="both",
        )
    handles = list(_legend(shown, nodes))
    columns = len(handles) if width == "page" else 3
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    figure.draw_without_rendering()  # positions the axes
    figure.set_layout_engine("none")  # they stay where they are, so that labels stay apart
    _write_labels(site, details, shown)
    return figure


def _round(one: Runs, nodes: pd.DataFrame, number: int | None) -> _Round:
    """What is drawn of a round, by default the last."""
    last = int(nodes["round"].max())
    number = last if number is None else number
    at = nodes[nodes["round"] == number]
    name = one.runs[0].name
    if not len(at):
        raise CannotDraw(f"run {name} has no round {number}; there are 0 to {last}")
    plan = one.table("plans", where={"round": number})
    planned = one.plans[number].get("links", [])
    measured = _sinr_db(one, number)
    # The receivers of a multicast are joined by a sign.
    pairs = [(link["src"], dst) for link in planned for dst in link["dst"].split(_GROUP_SIGN)]
    links = {pair: measured.get(pair, math.nan) for pair in pairs}
    return _Round(name, number, at.set_index(at["node"].astype(str)), plan, links)


def _sinr_db(one: Runs, number: int) -> dict[tuple[str, str], float]:
    """The SINR of each link in a round: of its transfers, else as it was last measured."""
    where = {"round": number}
    last = one.table("links", ["src", "dst", "sinr_db"], where)
    found = {(str(src), str(dst)): float(sinr) for src, dst, sinr in last.itertuples(index=False)}
    columns = ["src", "dst", "bytes", "sinr_db", "airtime_s"]
    sent = one.table("transfers", columns, where)
    sent = sent[(sent["bytes"] > 0) & (sent["airtime_s"] > 0) & np.isfinite(sent["sinr_db"])]
    for (src, dst), of in sent.groupby(["src", "dst"], observed=True):
        found[str(src), str(dst)] = float(np.average(of["sinr_db"], weights=of["airtime_s"]))
    return found


def _scale() -> ScalarMappable:
    """The colours of links: the lower the SINR, the darker; none is too light for white paper."""
    colours = mpl.colormaps["inferno"](np.linspace(0.0, 0.8, 256))
    return ScalarMappable(Normalize(*_SINR_DB), LinearSegmentedColormap.from_list("sinr", colours))


def _panels(width: Width, shown: _Round) -> tuple[Figure, Axes, list[Axes]]:
    """The axes of the map, and those of the details: beside the map, or below it."""
    clusters = len(shown.clusters)
    sizes = [len(shown.of_cluster(number)) for number in shown.clusters]
    crowded = max(sizes, default=0) > _CROWDED
    if width == "page" and clusters <= _MOST_BESIDE and not crowded:
        figure = new_figure(width, 5.0)
        figure.set_layout_engine("compressed")  # leaves no gaps between panels of a fixed shape
        if clusters <= 2:
            spec = figure.add_gridspec(max(1, clusters), 2, width_ratios=[max(1, clusters), 1])
            site = figure.add_subplot(spec[:, 0])
            cells = [spec[number, 1] for number in range(clusters)]
        else:
            spec = figure.add_gridspec(2, 4)
            site = figure.add_subplot(spec[:, :2])
            cells = [spec[number // 2, 2 + number % 2] for number in range(clusters)]
    else:
        columns = (2 if crowded else 4) if width == "page" else (1 if crowded else 2)
        columns = max(1, min(columns, clusters))
        rows = math.ceil(clusters / columns)
        side = min(WIDTHS_IN[width] / columns, 3.5)
        first = 4.2 if width == "page" else 3.2
        figure = new_figure(width, first + side * rows + 0.9)
        spec = figure.add_gridspec(rows + 1, columns, height_ratios=[first, *[side] * rows])
        site = figure.add_subplot(spec[0, :])
        cells = [spec[1 + number // columns, number % columns] for number in range(clusters)]
    return figure, site, [figure.add_subplot(cell) for cell in cells]


def _draw_site(axes: Axes, shown: _Round, nodes: pd.DataFrame, scale: ScalarMappable) -> None:
    """All nodes, the ways of the control units, and the links between clusters and stations."""
    places = np.vstack([nodes[["x_m", "y_m"]], nodes[["end_x_m", "end_y_m"]]]).astype(float)
    _square(axes, places, 0.08)
    for number in shown.clusters:
        of = shown.of_cluster(number)
        colour = _colour(number)
        around = of[["x_m", "y_m"]].to_numpy(float)
        centre = around.mean(axis=0)
        radius = float(np.hypot(*(around - centre).T).max()) + _side(axes) * 0.015
        axes.add_patch(Circle((centre[0], centre[1]), radius, color=colour, alpha=0.15, lw=0))
        for node in of.index[of["role"] == "control unit"]:
            of_node = nodes[nodes["node"] == node].sort_values("round")
            starts = of_node[["x_m", "y_m"]].to_numpy(float)
            end = of_node[["end_x_m", "end_y_m"]].to_numpy(float)[-1:]
            _draw_way(axes, np.vstack([starts, end]), colour)
    _draw_nodes(axes, shown, shown.nodes, 0.6)
    _draw_links(axes, shown, _to_stations(shown), scale)
    axes.set(xlabel="east (m)", ylabel="north (m)")


def _draw_way(axes: Axes, way: np.ndarray, colour: str) -> None:
    """The way (N, 2) of a node as a thin line with an arrow at its end, unless it stays."""
    before = way[np.hypot(*(way - way[-1]).T) >= _STILL_M]
    if len(before):
        axes.plot(*way.T, color=colour, linewidth=0.6)
        _arrow(axes, before[-1], way[-1], colour, shrink=0.0)


def _draw_cluster(axes: Axes, shown: _Round, number: int, scale: ScalarMappable) -> None:
    """The nodes of a cluster with their links, the stages of the plan, and a bar of metres."""
    of = shown.of_cluster(number)
    places = np.vstack([of[["x_m", "y_m"]], of[["end_x_m", "end_y_m"]]]).astype(float)
    _square(axes, places, 0.15)
    for start_end in of[["x_m", "y_m", "end_x_m", "end_y_m"]].to_numpy(float):
        _draw_way(axes, start_end.reshape(2, 2), _colour(number))
    _draw_nodes(axes, shown, of, 1.0)
    _draw_links(axes, shown, _within(shown, number), scale)
    stages = shown.plan[shown.plan["cluster"] == number]
    for held in stages.itertuples():
        x, y = shown.places[str(held.device)]
        style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 5}
        axes.text(x, y, str(held.stage), zorder=4, color="white", **style)
    title = f"cluster {number}"
    if len(stages):
        first = stages.iloc[0]
        count = int(first["micro_batches"])
        title += f"\n{first['schedule']}, {count} micro-batch{'es' * (count > 1)}"
    axes.set_title(title, fontsize=6)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=_colour(number))
    _draw_bar(axes)


def _draw_bar(axes: Axes) -> None:
    """A bar of a round number of metres, in a strip of its own below all nodes."""
    side = _side(axes)
    length = max(n * 10**e for e in range(-2, 6) for n in (1, 2, 5) if n * 10**e <= side / 3)
    left, (bottom, top) = axes.get_xlim()[0], axes.get_ylim()
    bottom -= 0.14 * side
    axes.set_ylim(bottom, top)
    x, y = left + 0.04 * side, bottom + 0.04 * side
    axes.plot([x, x + length], [y, y], color=BLACK, linewidth=1.5, solid_capstyle="butt")
    axes.text(x, y + 0.02 * side, f"{length:g} m", fontsize=6)


def _draw_nodes(axes: Axes, shown: _Round, nodes: pd.DataFrame, size: float) -> None:
    for node, row in nodes.iterrows():
        marker, points = _MARKERS[str(row["role"])]
        cluster = int(row["cluster"])
        colour = _colour(cluster) if cluster >= 0 else BLACK
        if row["role"] == "interferer":
            colour = GREY
        is_used = node in shown.used or cluster < 0
        axes.plot(
            row["x_m"],
            row["y_m"],
            marker,
            color=colour,
            markerfacecolor=colour if is_used else "white",
            markersize=points * size if cluster >= 0 else points,
            markeredgewidth=0.8,
            zorder=3,
        )


def _draw_links(
    axes: Axes, shown: _Round, pairs: Sequence[tuple[str, str]], scale: ScalarMappable
) -> None:
    for src, dst in pairs:
        sinr = shown.links[src, dst]
        colour = scale.to_rgba(np.array([sinr]))[0] if math.isfinite(sinr) else GREY
        _arrow(axes, shown.places[src], shown.places[dst], colour, bend=_BEND, linewidth=0.9)


def _arrow(
    axes: Axes,
    start: _Place,
    end: _Place,
    colour: object,
    *,
    bend: float = 0.0,
    linewidth: float = 0.6,
    shrink: float = 3.5,
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            (start[0], start[1]),
            (end[0], end[1]),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=6,
            shrinkA=shrink,
            shrinkB=shrink,
            color=colour,
            linewidth=linewidth,
            zorder=2,
        )
    )


def _along(start: _Place, end: _Place) -> np.ndarray:
    """Points along the arrow of a link, as matplotlib's connection style `arc3` bends it."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    middle = (a + b) / 2 + _BEND * np.array([b[1] - a[1], a[0] - b[0]])
    t = np.linspace(0.1, 0.9, 9)[:, None]
    points: np.ndarray = (1 - t) ** 2 * a + 2 * t * (1 - t) * middle + t**2 * b
    return points


def _to_stations(shown: _Round) -> list[tuple[str, str]]:
    """The links whose ends are in different clusters, or in none."""
    of = dict(zip(shown.nodes.index, shown.nodes["cluster"].astype(int), strict=True))
    return [(a, b) for a, b in shown.links if of[a] != of[b] or of[a] < 0]


def _write_labels(site: Axes, details: Sequence[Axes], shown: _Round) -> None:
    """The names of stations, interferers and clusters on the map; of all nodes in the details."""
    outside = shown.nodes[shown.nodes["cluster"] < 0]
    labels = [(*shown.places[str(node)], str(node)) for node in outside.index]
    for number in shown.clusters:
        of = shown.of_cluster(number)
        centre = of[["x_m", "y_m"]].to_numpy(float).mean(axis=0)
        labels.append((centre[0], centre[1], f"cluster {number}"))
    inside = shown.nodes[shown.nodes["cluster"] >= 0]
    nodes = [shown.places[str(node)] for node in inside.index]
    place_labels(site, labels, [*nodes, *_on_links(shown, _to_stations(shown))])
    for axes, number in zip(details, shown.clusters, strict=True):
        blocks = _blocks(shown.plan[shown.plan["cluster"] == number])
        names = [str(node) for node in shown.of_cluster(number).index]
        labels = [(*shown.places[name], _described(name, blocks)) for name in names]
        ways = shown.of_cluster(number)[["x_m", "y_m", "end_x_m", "end_y_m"]].to_numpy(float)
        avoid = [*_on_links(shown, _within(shown, number)), *_on_ways(ways)]
        place_labels(axes, labels, avoid)


def _on_links(shown: _Round, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, float]]:
    """Points on the arrows of links, which labels should not cover."""
    return [
        (float(x), float(y))
        for src, dst in pairs
        for x, y in _along(shown.places[src], shown.places[dst])
    ]


def _on_ways(ways: np.ndarray) -> list[tuple[float, float]]:
    """Points on the ways of nodes during a round: rows of a start and an end, (N, 4)."""
    parts = np.linspace(0, 1, 5)[1:, None, None]
    points = (1 - parts) * ways[None, :, :2] + parts * ways[None, :, 2:]
    return [(float(x), float(y)) for x, y in points.reshape(-1, 2)]


def _within(shown: _Round, number: int) -> list[tuple[str, str]]:
    """The links between nodes of a cluster."""
    inside = set(shown.of_cluster(number).index)
    return [pair for pair in shown.links if inside.issuperset(pair)]


def _blocks(plan: pd.DataFrame) -> dict[str, str]:
    """The blocks that each device holds, with the pipeline's number where there are several."""
    several = plan["pipeline"].nunique() > 1
    found: dict[str, list[str]] = {}
    for row in plan.itertuples():
        ends = dict.fromkeys([str(row.first_block), str(row.last_block)])
        blocks = "–".join(ends)  # one number where it is one block
        text = f"{blocks} (p{row.pipeline})" if several else blocks
        found.setdefault(str(row.device), []).append(text)
    return {device: ", ".join(texts) for device, texts in found.items()}


def _described(node: str, blocks: Mapping[str, str]) -> str:
    """The node's name within its cluster, and its blocks."""
    name = node.rpartition(".")[2]
    return f"{name}: {blocks[node]}" if node in blocks else name


def _legend(shown: _Round, nodes: pd.DataFrame) -> Iterator[Artist]:
    """What the markers and lines mean, of those that are drawn."""
    roles = set(shown.nodes["role"].astype(str))
    for role, (marker, size) in _MARKERS.items():
        if role in roles:
            colour = GREY if role == "interferer" else BLACK
            yield Line2D(
                [], [], color=colour, marker=marker, markersize=size - 1, ls="", label=role
            )
    devices = shown.nodes.index[shown.nodes["role"] == "device"]
    if not shown.used.issuperset(devices):
        yield Line2D(
            [],
            [],
            color=BLACK,
            marker="o",
            markersize=5,
            mfc="white",
            ls="",
            label="not in the plan",
        )
    if any(math.isnan(sinr) for sinr in shown.links.values()):
        yield Line2D([], [], color=GREY, linewidth=0.9, label="link without transfers")
    moved = np.hypot(nodes["end_x_m"] - nodes["x_m"], nodes["end_y_m"] - nodes["y_m"])
    if (moved >= _STILL_M).any():
        yield Line2D([], [], color=BLACK, linewidth=0.6, label="way")


def _colour(cluster: int) -> str:
    return _CLUSTERS[cluster % len(_CLUSTERS)]


def _square(axes: Axes, places: np.ndarray, margin: float) -> None:
    """Limits of a square around the places, with a margin relative to its side."""
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(float((high - low).max()) / 2, 0.5) * (1 + 2 * margin)
    centre = (low + high) / 2
    axes.set(
        xlim=(centre[0] - half, centre[0] + half),
        ylim=(centre[1] - half, centre[1] + half),
        aspect="equal",
    )


def _side(axes: Axes) -> float:
    """The side of square axes, in metres."""
    left, right = axes.get_xlim()
    return right - left
