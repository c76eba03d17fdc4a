"""What each node does in one round, as bars on tracks, and how long it waits.

`round_bars` gives a frame with a row a bar, which the timeline figure, the report and the trace
draw. All times are exact to the nanosecond: they are recorded as seconds in 64-bit floats, which
hold the whole nanoseconds of 97 days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from analysis.load import Runs
from analysis.multicasts import group_of
from run_directory.roles import Role, role_or_none

__all__ = [
    "BAR_COLUMNS",
    "COMPUTE",
    "TRANSFERS",
    "WAIT",
    "bubble_shares",
    "merged",
    "nanoseconds",
    "nodes_in_order",
    "pipeline_phases",
    "round_bars",
    "round_phases",
    "slowest_round",
]

#: The track of a node's computations, and that of its waiting.
COMPUTE: Final = "compute"
WAIT: Final = "wait"

#: The kinds of transfers, in the order in which a round has them.
TRANSFERS: Final = ("sounding", "model", "activation", "labels", "gradient", "parameters")

#: The phases of a round, in their order.
PHASES: Final = ("sounding", "broadcast", "pipeline", "gather", "upload", "aggregate")

#: The columns of `round_bars`.
BAR_COLUMNS: Final = (
    "node",
    "track",
    "start_s",
    "end_s",
    "start_in_round_s",
    "end_in_round_s",
    "label",
    "kind",
    "cluster",
    "pipeline",
    "stage",
    "micro_batch",
    "step",
    "bytes",
    "sinr_db",
    "peer",
    "outcome",
    "retransmissions",
    "transfer",
    "group",
)

#: Where a bar belongs; each is -1 where it does not apply or was not recorded.
_PLACE: Final = ("cluster", "pipeline", "stage", "micro_batch", "step")

#: A half-open interval of time in nanoseconds.
_Interval = tuple[int, int]


def round_bars(run: Runs, round_number: int) -> pd.DataFrame:
    """Everything that the nodes did in one round of one run: a row for each bar.

    The columns are `BAR_COLUMNS`:

    - `node`, and `track`: "compute", "<radio> sent", "<radio> received" or "wait". A transfer is
      two bars, one at its sender and one at its receiver. Bars of one radio may overlap in time,
      those of the tracks "compute" and "wait" don't.
    - `start_s` and `end_s`: simulated time since the run began; `start_in_round_s` and
      `end_in_round_s`: since the round began.
    - `kind`: "F", "B", "step" or "aggregate" of a computation; "sounding", "model", "activation",
      "labels", "gradient" or "parameters" of a transfer; "wait".
    - `label`: a short text for people, such as "F 3" for the forward of micro-batch 3.
    - `cluster`, `pipeline`, `stage`, `micro_batch` and `step` (the local step): numbers from 0, and
      -1 where they do not apply. In directories of earlier versions, those of transfers are -1
      except `cluster`; those of computations are derived from the plan and the order, and -1
      where a node serves several pipelines of a cluster.
    - `bytes`, `sinr_db` (nan where unknown), `peer` (the other node) and `outcome` of a transfer;
      0, nan and empty texts elsewhere.
    - `retransmissions` of a transfer, 0 elsewhere; and `transfer`, the row of the round's table of
      transfers, which the bars at its sender and its receiver share, -1 elsewhere.
    - `group`: the number of a multicast, 0 elsewhere. It has a bar at each receiver, and one at its
      sender, whose `peer` names all of them; the rest of that bar is as for the last to receive it.

    A node waits while it does not compute within the pipeline phase of its pipelines
    (`pipeline_phases`). Rows are in order of node (`nodes_in_order`), track and start. Raises
    `ValueError` where the run has no such round, or `run` holds several runs.
    """
    start_ns = _start_ns(run, round_number)
    computes = _with_place(_computes(run, round_number), run, round_number)
    transfers = _transfers(run, round_number)
    bars = pd.concat([computes, *_at_both_ends(transfers)], ignore_index=True)
    order = nodes_in_order(bars)
    waits = _waits(bars)
    bars = pd.concat([bars, waits], ignore_index=True) if len(waits) else bars
    for end in ("start", "end"):
        in_ns = nanoseconds(bars[f"{end}_s"])
        bars[f"{end}_in_round_s"] = (in_ns - start_ns) / 1e9
    rank = bars["node"].map({node: number for number, node in enumerate(order)})
    bars = bars.assign(rank=rank).sort_values(["rank", "track", "start_s"], kind="stable")
    of_transfers = {"retransmissions": 0, "transfer": -1, "group": 0}
    bars = bars.fillna(of_transfers).astype(dict.fromkeys(of_transfers, "int64"))
    return bars[list(BAR_COLUMNS)].reset_index(drop=True)


def slowest_round(run: Runs) -> int:
    """The number of the round that took longest; the first of equally slow ones."""
    rounds = run.rounds.sort_values("round")
    return int(rounds["round"].iloc[int(np.argmax(rounds["duration_s"].to_numpy()))])


def round_phases(run: Runs, round_number: int) -> pd.DataFrame:
    """The phases of a round, as the pipeline that finished last went through them.

    The columns are `phase`, `start_s` and `end_s`; the latter two are seconds since the round
    began. Other pipelines go through the same phases earlier.
    """
    row = _round(run, round_number)
    phases = [phase for phase in PHASES if pd.notna(row.get(f"{phase}_s"))]
    durations_s = np.array([float(row[f"{phase}_s"]) for phase in phases])
    ends_s = np.cumsum(durations_s)
    return pd.DataFrame({"phase": phases, "start_s": ends_s - durations_s, "end_s": ends_s})


def pipeline_phases(bars: pd.DataFrame) -> pd.DataFrame:
    """When each pipeline trained: from its first forward to the end of its last step.

    A row for each pipeline, with the columns `cluster`, `pipeline`, `start_s` and `end_s` (since
    the run began). A failed pipeline trained until the end of its last computation. Pipelines of
    the same cluster that were not told apart are one row, with `pipeline` -1.
    """
    trained = bars[(bars["track"] == COMPUTE) & (bars["cluster"] >= 0)]
    phases = trained.groupby(["cluster", "pipeline"], as_index=False)
    return phases.agg(start_s=("start_s", "min"), end_s=("end_s", "max"))


def bubble_shares(bars: pd.DataFrame) -> pd.DataFrame:
    """The fraction of the pipeline phase in which each node of a pipeline does not compute.

    bubble share = 1 - computing time / length of the pipeline phase

    The pipeline phase of a node is that of its pipeline (`pipeline_phases`), or the union of the
    phases of its pipelines where it has several, as a base station does. So a bubble contains all
    that keeps a node from computing: filling and draining the pipeline, as in the literature on
    pipeline schedules, and waiting for transfers.

    A row for each node that computed for a pipeline, in the order of `nodes_in_order`, with the
    columns `node`, `cluster` (-1 where it serves several), `computing_s`, `phase_s` and
    `bubble_share`.
    """
    rows = []
    for each in _computing_nodes(bars):
        computing_s, phase_s = _length_ns(each.computing) / 1e9, _length_ns(each.phase) / 1e9
        share = 1 - computing_s / phase_s if phase_s else np.nan
        rows.append((each.node, each.cluster, computing_s, phase_s, share))
    columns = ["node", "cluster", "computing_s", "phase_s", "bubble_share"]
    return pd.DataFrame(rows, columns=columns)


def nodes_in_order(bars: pd.DataFrame) -> list[str]:
    """The nodes of the bars: cluster by cluster, and the base stations last.

    Within a cluster the control unit is first, then the devices of each pipeline in the order of
    their stages, then the other devices.
    """
    computes = bars[(bars["track"] == COMPUTE) & (bars["stage"] >= 0)]
    first = computes.groupby("node")[["pipeline", "stage"]].min()
    pairs = zip(first["pipeline"].tolist(), first["stage"].tolist(), strict=True)
    places = dict(zip(map(str, first.index), pairs, strict=True))

    def position(node: str) -> tuple[int, int, int, int, tuple[int, ...], str]:
        what = role_or_none(node)
        group = 1 if what is None else 2 if what is Role.BASE_STATION else 0
        member = 0 if what is Role.CONTROL_UNIT else 1 if node in places else 2
        pipeline, stage = places.get(node, (0, 0)) if member == 1 else (0, 0)
        numbers = tuple(int(text) for text in _digits(node))
        return group, numbers[0] if group == 0 else 0, member, pipeline, (stage, *numbers), node

    return sorted({str(node) for node in bars["node"]}, key=position)


def nanoseconds(seconds: pd.Series) -> pd.Series:
    """Recorded seconds as the whole nanoseconds that they stand for."""
    return (seconds * 1e9).round().astype("int64")


def merged(intervals: Iterable[_Interval]) -> list[_Interval]:
    """The union of intervals, as disjoint intervals in order; empty intervals are left out."""
    union: list[_Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((start, end))
    return union


def _round(run: Runs, round_number: int) -> pd.Series:
    if len(run) != 1:
        names = ", ".join(each.name for each in run.runs)
        raise ValueError(f"expected one run, not {len(run)}: {names}")
    rows = run.rounds[run.rounds["round"] == round_number]
    if rows.empty:
        numbers = run.rounds["round"]
        raise ValueError(
            f"run {run.runs[0].name} has no round {round_number}; "
            f"it has the rounds {numbers.min()} to {numbers.max()}"
        )
    row: pd.Series = rows.iloc[0]
    return row


def _start_ns(run: Runs, round_number: int) -> int:
    return round(float(_round(run, round_number)["start_s"]) * 1e9)


def _computes(run: Runs, round_number: int) -> pd.DataFrame:
    computes = run.table("computes", where={"round": round_number})
    frame = pd.DataFrame(
        {
            "node": computes["node"].astype(str),
            "track": COMPUTE,
            "start_s": computes["start_s"],
            "end_s": computes["end_s"],
            "kind": computes["action"].astype(str),
            **_places(computes),
            "bytes": 0,
            "sinr_db": np.nan,
            "peer": "",
            "outcome": "",
        }
    )
    with_number = frame["kind"] + " " + frame["micro_batch"].astype(str)
    frame["label"] = with_number.where(frame["micro_batch"] >= 0, frame["kind"])
    return frame


def _transfers(run: Runs, round_number: int) -> pd.DataFrame:
    transfers = run.table("transfers", where={"round": round_number})
    frame = pd.DataFrame(
        {
            "src": transfers["src"].astype(str),
            "dst": transfers["dst"].astype(str),
            "radio": transfers["radio"].astype(str),
            "start_s": transfers["start_s"],
            "end_s": transfers["end_s"],
            "kind": transfers["kind"].astype(str),
            **_places(transfers),
            "bytes": transfers["bytes"],
            "sinr_db": transfers["sinr_db"],
            "outcome": transfers["outcome"].astype(str),
            "retransmissions": transfers["retransmissions"],
            "transfer": np.arange(len(transfers)),
            "group": group_of(transfers),
        }
    )
    if "cluster" not in transfers or transfers["cluster"].isna().any():
        ends = frame["src"].map(_cluster), frame["dst"].map(_cluster)
        frame["cluster"] = ends[0].where(ends[0] >= 0, ends[1])
    return frame


def _places(table: pd.DataFrame) -> Mapping[str, pd.Series | int]:
    """Where rows belong; -1 where an earlier version did not record it, which loads as nan."""
    return {key: table[key].fillna(-1).astype("int64") if key in table else -1 for key in _PLACE}


def _at_both_ends(transfers: pd.DataFrame) -> list[pd.DataFrame]:
    """The transfers as bars of their senders, and as bars of their receivers."""
    ends = []
    for each, node, peer, direction, arrow in (
        (_transmissions(transfers), "src", "dst", "sent", "→"),
        (transfers, "dst", "src", "received", "←"),
    ):
        bars = each.rename(columns={node: "node", peer: "peer"})
        bars["track"] = bars["radio"] + f" {direction}"
        bars["label"] = bars["kind"] + f" {arrow} " + bars["peer"]
        ends.append(bars.drop(columns="radio"))
    return ends


def _transmissions(transfers: pd.DataFrame) -> pd.DataFrame:
    """The transfers, those of a multicast as one to all of its receivers, until the last has it."""
    several = transfers[transfers["group"] > 0]
    if several.empty:
        return transfers
    together = several.groupby("group")["dst"].agg(lambda names: ", ".join(sorted(names)))
    last = several.sort_values("end_s", kind="stable").drop_duplicates("group", keep="last")
    sent = last.assign(dst=last["group"].map(together))
    return pd.concat([transfers[transfers["group"] == 0], sent]).sort_index()


def _with_place(computes: pd.DataFrame, run: Runs, round_number: int) -> pd.DataFrame:
    """Computations with pipeline and step, which earlier versions did not record."""
    if (computes["pipeline"] >= 0).any() or computes.empty:
        return computes
    plan = next(plan for plan in run.plans if plan["round"] == round_number)
    pipelines = {each["cluster"]: each["pipelines"] for each in plan["clusters"]}
    only = {cluster: 0 for cluster, members in pipelines.items() if len(members) == 1}
    of_device = {
        stage["device"]: number
        for members in pipelines.values()
        for number, pipeline in enumerate(members)
        for stage in pipeline["stages"]
    }
    number = computes["cluster"].map(only).fillna(computes["node"].map(of_device)).fillna(-1)
    computes = computes.assign(pipeline=number.where(computes["cluster"] >= 0, -1).astype("int64"))
    computes = computes.sort_values("start_s", kind="stable")
    ended = (computes["kind"] == "step").astype("int64")
    place = [computes[key] for key in ("node", "cluster", "pipeline", "stage")]
    before = ended.groupby(place).cumsum() - ended
    return computes.assign(step=before.where(computes["pipeline"] >= 0, -1))


def _waits(bars: pd.DataFrame) -> pd.DataFrame:
    """A bar for each time in which a node of a pipeline does not compute in its phase."""
    rows = [
        {
            "node": each.node,
            "track": WAIT,
            "start_s": start / 1e9,
            "end_s": end / 1e9,
            "label": WAIT,
            "kind": WAIT,
            **dict.fromkeys(_PLACE, -1),
            "cluster": each.cluster,
            "bytes": 0,
            "sinr_db": np.nan,
            "peer": "",
            "outcome": "",
        }
        for each in _computing_nodes(bars)
        for start, end in _without(each.phase, each.computing)
    ]
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class _ComputingNode:
    """When a node of a pipeline computed, and its pipeline phase, as disjoint intervals in order.

    `cluster` is -1 where it served several.
    """

    node: str
    cluster: int
    computing: Sequence[_Interval]
    phase: Sequence[_Interval]


def _computing_nodes(bars: pd.DataFrame) -> list[_ComputingNode]:
    """The nodes that computed for a pipeline; the aggregation belongs to none."""
    trains = pipeline_phases(bars)
    when = zip(nanoseconds(trains["start_s"]), nanoseconds(trains["end_s"]), strict=True)
    phases = dict(zip(zip(trains["cluster"], trains["pipeline"], strict=True), when, strict=True))
    trained = bars[(bars["track"] == COMPUTE) & (bars["cluster"] >= 0)]
    found = []
    for node in nodes_in_order(trained):
        own = trained[trained["node"] == node]
        starts, ends = nanoseconds(own["start_s"]).tolist(), nanoseconds(own["end_s"]).tolist()
        places = set(zip(own["cluster"], own["pipeline"], strict=True))
        computing = merged(zip(starts, ends, strict=True))
        clusters = {int(cluster) for cluster, _ in places}
        cluster = clusters.pop() if len(clusters) == 1 else -1
        phase = merged(phases[place] for place in places)
        found.append(_ComputingNode(node, cluster, computing, phase))
    return found


def _without(phase: Sequence[_Interval], computing: Sequence[_Interval]) -> list[_Interval]:
    """The times of a phase that are not in `computing`; both are disjoint intervals in order."""
    gaps = []
    for start, end in phase:
        reached = start
        for begin, finish in computing:
            if finish <= start or begin >= end:
                continue
            gaps.append((reached, begin))
            reached = finish
        gaps.append((reached, end))
    return [(start, end) for start, end in gaps if end > start]


def _length_ns(intervals: Iterable[_Interval]) -> int:
    return sum(end - start for start, end in intervals)


def _cluster(node: str) -> int:
    """The number of a node's cluster; -1 for a node outside clusters."""
    in_cluster = role_or_none(node) in (Role.CONTROL_UNIT, Role.DEVICE)
    return int(_digits(node)[0]) if in_cluster else -1


def _digits(node: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in node).split()
