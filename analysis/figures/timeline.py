"""The Gantt chart of one round: what each node computes, sends and receives, and when it waits."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.figures.settings import chosen
from analysis.figures.style import (
    BLACK,
    COMPUTATIONS,
    TRANSFERS,
    WIDTHS_IN,
    CannotDraw,
    Width,
    new_figure,
    styled,
)
from analysis.load import Runs
from analysis.round_timeline import (
    COMPUTE,
    WAIT,
    bubble_shares,
    merged,
    nanoseconds,
    nodes_in_order,
    round_bars,
    round_phases,
    slowest_round,
)

#: The colour of waiting, and those of local steps in turn.
_WAITING: Final = "#ebebeb"
_STEPS: Final = ("#d4d4d4", "white")

#: The place of each lane within a node's row of height 1: its upper edge and its height.
_LANES: Final = {"compute": (0.06, 0.5), "sent": (0.60, 0.14), "received": (0.78, 0.14)}

#: With more nodes than this, the detail shows one cluster.
_MANY_NODES: Final = 12

#: The points that one character of the smallest text is wide, with its margin.
_CHARACTER_PT: Final = 3.4
_SMALL_PT: Final = 5


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a panel from the top: `tops` of the nodes, and of the headings of pipelines."""

    nodes: Mapping[str, int]
    headings: Mapping[tuple[int, int], int]

    @property
    def count(self) -> int:
        return len(self.nodes) + len(self.headings)


@styled
def timeline(
    runs: Runs,
    *,
    width: Width = "page",
    run: str | None = None,
    round_number: int | None = None,
    cluster: int | None = None,
    step: int = 0,
    window_s: tuple[float, float] | None = None,
) -> Figure:
    """The Gantt chart of one round: an overview of the whole round, and one part in detail.

    The round is `round_number` of the run named `run`: by default of the first run, its slowest
    round. The detail shows the local step `step`, or `window_s`, a start and an end in seconds
    since the round began. With more than 12 nodes it shows the nodes of one cluster and the base
    station: those of `cluster`, by default the one that trained last.

    Each node is a row with three lanes: computations with the numbers of their micro-batches,
    transfers that it sends, and transfers that it receives. Nodes that do nothing but sounding are
    left out. At the right margin is each node's bubble share over the round,

        1 - computing time / length of the pipeline phase,

    where the pipeline phase lasts from the first forward to the last step of the node's pipelines
    (`analysis.round_timeline.bubble_shares`). Raises `CannotDraw` for a run, a round, a cluster or
    a step that isn't there, and for a window outside the round.
    """
    one = chosen(runs, run)
    number = slowest_round(one) if round_number is None else round_number
    try:
        bars, phases = round_bars(one, number), round_phases(one, number)
    except ValueError as error:
        raise CannotDraw(str(error)) from None
    bars, left_out = _without_idle(bars)
    if bars.empty:
        raise CannotDraw(f"in round {number} of run {one.runs[0].name} no node did anything")
    rounds = one.rounds
    duration_s = float(rounds.loc[rounds["round"] == number, "duration_s"].iloc[0])
    shown = _shown_cluster(bars, cluster)
    detail = bars if shown is None else _of_cluster(bars, shown)
    window, what = _window(detail, shown, step, window_s, duration_s)
    whole, rows = _rows(bars, None), _rows(detail, shown)
    heights = [0.35 + max(0.085 * whole.count, 0.7), 0.3 + 0.24 * rows.count]
    figure = new_figure(width, sum(heights) + 1.15)
    upper, lower = figure.subplots(2, 1, height_ratios=heights)
    upper.set_xlim(0, duration_s)
    width_pt = (WIDTHS_IN[width] - 1.1) * 72
    _overview(upper, bars, whole, phases, window, width_pt / duration_s)
    _draw_detail(lower, detail, rows, window, width_pt / (window[1] - window[0]))
    _write_shares(lower, bubble_shares(bars), rows)
    lower.set_title(f"{what} (thick line above)", loc="left")
    slowest = ", the slowest" if number == slowest_round(one) and one.runs[0].rounds > 1 else ""
    title = f"round {number}{slowest}, {duration_s:.4g} s"
    name = "\n".join(textwrap.wrap(one.runs[0].name, 48 if width == "column" else 100))
    figure.suptitle(f"{name}\n{title}", fontsize=8)
    figure.legend(
        handles=list(_legend(bars)),
        loc="outside lower center",
        ncols=3 if width == "column" else 6,
        title="in each row, below computing: sent, then received",
        title_fontsize=7,
        columnspacing=1.0,
        handlelength=1.4,
    )
    if left_out:
        lower.annotate(
            f"not shown: {left_out} devices that only took part in the sounding"
            if left_out > 1
            else "not shown: a device that only took part in the sounding",
            (1, 0),
            (0, -24),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=6,
        )
    return figure


def _without_idle(bars: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The bars of all nodes that do more than sounding, and the number of the other nodes."""
    busy = set(bars.loc[bars["kind"] != "sounding", "node"])
    kept = bars[bars["node"].isin(busy)]
    return kept, bars["node"].nunique() - len(busy)


def _shown_cluster(bars: pd.DataFrame, cluster: int | None) -> int | None:
    """The cluster that the detail is limited to; None where it shows all nodes."""
    in_cluster = bars[bars["cluster"] >= 0]
    if cluster is not None:
        there = sorted(set(in_cluster["cluster"]))
        if cluster not in there:
            names = ", ".join(map(str, there)) or "none"
            raise CannotDraw(f"no cluster {cluster} took part in the round; there are: {names}")
        return cluster
    if bars["node"].nunique() <= _MANY_NODES or in_cluster.empty:
        return None
    trained = in_cluster[in_cluster["track"] == COMPUTE]
    last = (in_cluster if trained.empty else trained).sort_values("end_s", kind="stable")
    return int(last["cluster"].iloc[-1])


def _of_cluster(bars: pd.DataFrame, cluster: int) -> pd.DataFrame:
    """The bars of all nodes that did anything for a cluster: also those for other clusters."""
    return bars[bars["node"].isin(set(bars.loc[bars["cluster"] == cluster, "node"]))]


def _window(
    detail: pd.DataFrame,
    cluster: int | None,
    step: int,
    window_s: tuple[float, float] | None,
    duration_s: float,
) -> tuple[tuple[float, float], str]:
    """The part of the round that the detail shows, in seconds since it began, and its title."""
    if window_s is not None:
        start_s, end_s = max(window_s[0], 0.0), min(window_s[1], duration_s)
        if not start_s < end_s:  # nan too
            raise CannotDraw(
                f"the window from {window_s[0]:g} s to {window_s[1]:g} s has no part of the "
                f"round, which takes {duration_s:g} s"
            )
        return (start_s, end_s), f"{start_s:.4g} s to {end_s:.4g} s"
    trained = detail[(detail["track"] == COMPUTE) & (detail["cluster"] >= 0)]
    of = ""
    if cluster is not None:
        trained, of = trained[trained["cluster"] == cluster], f" of cluster {cluster}"
    if trained.empty:
        return (0.0, duration_s), "The whole round"
    steps = sorted(set(trained["step"]) - {-1})
    if steps and step not in steps:
        raise CannotDraw(f"there is no local step {step}; there are {steps[0]} to {steps[-1]}")
    shown = trained[trained["step"] == step] if steps else trained
    what = f"Local step {step}{of}" if steps else f"Pipeline phase{of}"
    return (shown["start_in_round_s"].min(), shown["end_in_round_s"].max()), what


def _rows(bars: pd.DataFrame, cluster: int | None) -> _Rows:
    """The rows of these bars' nodes, with each pipeline's heading above its first node.

    With `cluster`, only pipelines of this cluster have headings.
    """
    trained = bars[(bars["track"] == COMPUTE) & (bars["cluster"] >= 0)]
    if cluster is not None:
        trained = trained[trained["cluster"] == cluster]
    first: dict[str, list[tuple[int, int]]] = {}
    order = nodes_in_order(bars)
    places = trained[["cluster", "pipeline"]].drop_duplicates().sort_values(["cluster", "pipeline"])
    for place in zip(places["cluster"].tolist(), places["pipeline"].tolist(), strict=True):
        own = trained[(trained["cluster"] == place[0]) & (trained["pipeline"] == place[1])]
        members = set(own["node"])
        first.setdefault(next(node for node in order if node in members), []).append(place)
    nodes: dict[str, int] = {}
    headings: dict[tuple[int, int], int] = {}
    for node in order:
        for key in first.get(node, []):
            headings[key] = len(nodes) + len(headings)
        nodes[node] = len(nodes) + len(headings)
    return _Rows(nodes, headings)


def _overview(
    axes: Axes,
    bars: pd.DataFrame,
    rows: _Rows,
    phases: pd.DataFrame,
    window: tuple[float, float],
    points_per_s: float,
) -> None:
    """All bars of the round, those closer than a line's width as one, and the phases above.

    The axes must have their limits in time already.
    """
    duration_s = axes.get_xlim()[1]
    _draw_bars(axes, bars, rows, points_per_s=0, closer_s=duration_s / 1500)
    _draw_steps(axes, bars, rows, points_per_s=0)
    _set_rows(axes, rows, 5 if rows.count > 20 else 6)
    axes.set_ylim(rows.count + 0.6, 0)
    axes.plot(window, [rows.count + 0.3] * 2, color=BLACK, lw=2.5, solid_capstyle="butt")
    axes.set_xlabel("time since the round began (s)", labelpad=1)
    names = axes.secondary_xaxis("top")
    needed_s = phases["phase"].str.len() * 1.2 * _CHARACTER_PT / points_per_s
    long = phases[phases["end_s"] - phases["start_s"] > needed_s]
    names.set_xticks((long["start_s"] + long["end_s"]) / 2, long["phase"].tolist(), fontsize=6)
    names.tick_params(length=0, pad=0)
    names.spines["top"].set_visible(False)
    for end_s in phases["end_s"].iloc[:-1]:  # the last phase ends with the round
        axes.axvline(end_s, color=BLACK, lw=0.5, ls=":")


def _draw_detail(
    axes: Axes,
    bars: pd.DataFrame,
    rows: _Rows,
    window: tuple[float, float],
    points_per_s: float,
) -> None:
    start_s, end_s = window
    inside = bars[(bars["end_in_round_s"] > start_s) & (bars["start_in_round_s"] < end_s)]
    _draw_bars(axes, inside, rows, points_per_s, closer_s=0)
    _draw_steps(axes, inside, rows, points_per_s)
    computes = inside[(inside["track"] == COMPUTE) & (inside["micro_batch"] >= 0)]
    top, height = _LANES["compute"]
    for node, kind, number, from_s, to_s in zip(
        computes["node"],
        computes["kind"],
        computes["micro_batch"],
        computes["start_in_round_s"].clip(start_s, end_s),
        computes["end_in_round_s"].clip(start_s, end_s),
        strict=True,
    ):
        if (to_s - from_s) * points_per_s >= _CHARACTER_PT * len(str(number)):
            axes.text(
                (from_s + to_s) / 2,
                rows.nodes[node] + top + height / 2,
                str(number),
                fontsize=_SMALL_PT,
                color="white" if kind == "F" else BLACK,
                ha="center",
                va="center_baseline",
            )
    _set_rows(axes, rows, 6)
    axes.set_xlim(start_s, end_s)
    axes.set_xlabel("time since the round began (s)", labelpad=1)


def _write_shares(axes: Axes, shares: pd.DataFrame, rows: _Rows) -> None:
    """The bubble share of each node that has a row, at its right end."""
    known = shares[shares["node"].isin(rows.nodes) & shares["bubble_share"].notna()]
    right = axes.secondary_yaxis("right")
    right.set_yticks(
        [rows.nodes[node] + 0.5 for node in known["node"]],
        [f"{100 * share:.0f} %" for share in known["bubble_share"]],
        fontsize=6,
    )
    right.tick_params(length=0, pad=1)
    right.spines["right"].set_visible(False)
    right.set_ylabel("bubble share", fontsize=7)


def _draw_bars(
    axes: Axes, bars: pd.DataFrame, rows: _Rows, points_per_s: float, closer_s: float
) -> None:
    """Bars in the lanes of their nodes; those of a kind closer than `closer_s` become one.

    Wide bars get white edges, which keep neighbours apart; at narrow ones nothing else would be
    seen.
    """
    lane = bars["track"].str.split().str[-1].replace(WAIT, COMPUTE)
    lengths_s = (bars["end_s"] - bars["start_s"]).groupby([lane, bars["kind"]]).max()
    # Long kinds first, so that short bars lie above the long ones that they overlap.
    order = lengths_s.sort_values(ascending=False, kind="stable").index
    kinds = sorted(order, key=lambda each: each[1] != WAIT)
    for lane_name, kind in kinds:
        top, height = _LANES[lane_name]
        of_kind = bars[(lane == lane_name) & (bars["kind"] == kind)]
        for node, own in of_kind.groupby("node"):
            spans = _spans(own, closer_s)
            colour, hatch = _appearance(kind)
            axes.broken_barh(
                spans,
                (rows.nodes[str(node)] + top, height),
                facecolors=colour,
                hatch=hatch,
                edgecolors=["white" if s * points_per_s > 2 else colour for _, s in spans],
                linewidth=0.3,
                label=f"{node} {lane_name} {kind}",
            )


def _spans(bars: pd.DataFrame, closer_s: float) -> list[tuple[float, float]]:
    """The starts and lengths of bars in seconds since the round began."""
    starts, ends = bars["start_in_round_s"], bars["end_in_round_s"]
    if closer_s == 0:
        return list(zip(starts, ends - starts, strict=True))
    reach_ns = round(closer_s * 1e9)
    pairs = zip(nanoseconds(starts).tolist(), nanoseconds(ends).tolist(), strict=True)
    union = merged((start, end + reach_ns) for start, end in pairs)
    return [(start / 1e9, (end - reach_ns - start) / 1e9) for start, end in union]


def _appearance(kind: str) -> tuple[str, str]:
    """The colour and the hatching of a kind of bar."""
    if kind == WAIT:
        return _WAITING, ""
    if kind in COMPUTATIONS:
        return COMPUTATIONS[kind]
    return TRANSFERS.get(kind, BLACK), ""


def _draw_steps(axes: Axes, bars: pd.DataFrame, rows: _Rows, points_per_s: float) -> None:
    """The local steps of each pipeline in its heading, with their numbers where they fit."""
    trained = bars[(bars["track"] == COMPUTE) & (bars["step"] >= 0) & (bars["cluster"] >= 0)]
    steps = trained.groupby(["cluster", "pipeline", "step"], as_index=False).agg(
        start_s=("start_in_round_s", "min"), end_s=("end_in_round_s", "max")
    )
    for cluster, pipeline, step, start_s, end_s in zip(
        *(steps[key] for key in ("cluster", "pipeline", "step", "start_s", "end_s")), strict=True
    ):
        if (cluster, pipeline) not in rows.headings:
            continue
        top = rows.headings[cluster, pipeline]
        span = [(start_s, end_s - start_s)]
        colour = _STEPS[int(step) % 2]
        axes.broken_barh(span, (top + 0.25, 0.6), facecolor=colour, edgecolor=BLACK, lw=0.4)
        text = f"step {step}"
        if (end_s - start_s) * points_per_s >= _CHARACTER_PT * len(text):
            axes.text(
                (start_s + end_s) / 2,
                top + 0.55,
                text,
                fontsize=_SMALL_PT,
                ha="center",
                va="center_baseline",
                clip_on=True,
            )


def _set_rows(axes: Axes, rows: _Rows, size_pt: float) -> None:
    """The names of nodes and pipelines at the left."""
    clusters = [cluster for cluster, _ in rows.headings]
    names = {
        top: f"cluster {cluster}" + (f".{pipeline}" if clusters.count(cluster) > 1 else "")
        for (cluster, pipeline), top in rows.headings.items()
    } | {top: node for node, top in rows.nodes.items()}
    axes.set_ylim(rows.count, 0)
    axes.set_yticks([top + 0.5 for top in names], list(names.values()), fontsize=size_pt)
    axes.tick_params("y", length=0, pad=2)
    axes.grid(visible=False)


def _legend(bars: pd.DataFrame) -> Iterator[Patch]:
    """A patch for each kind of bar that there is."""
    kinds: Sequence[str] = list(dict.fromkeys([*COMPUTATIONS, WAIT, *TRANSFERS]))
    there = set(bars["kind"])
    names = {"F": "forward (F)", "B": "backward (B)", "step": "optimizer step", WAIT: "waiting"}
    for kind in [*kinds, *sorted(there - set(kinds))]:
        if kind in there:
            colour, hatch = _appearance(kind)
            yield Patch(
                facecolor=colour, hatch=hatch, edgecolor="white", label=names.get(kind, kind)
            )
