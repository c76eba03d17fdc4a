"""Rounds of a run as Chrome trace events, which Perfetto and chrome://tracing open.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.load import Runs
from analysis.round_timeline import (
    COMPUTE,
    WAIT,
    nanoseconds,
    nodes_in_order,
    round_bars,
    round_phases,
)
from run_directory.roles import Role, role_or_none

__all__ = ["chrome_trace", "lanes"]

#: The arguments of an event that are left out where they do not apply, and are then -1.
_PLACE = ("cluster", "pipeline", "stage", "micro_batch", "step")

#: The process with the rounds and their phases; the nodes are the processes after it.
_ROUNDS_PROCESS = 1

#: Perfetto finds threads by `tid` alone, so each is unique among all processes; and a thread whose
#: `tid` is a `pid` would be the main thread of that process.
_ROUNDS_THREAD = 1_000_000


def chrome_trace(run: Runs, rounds: Sequence[int]) -> bytes:
    """The content of a trace file (JSON) with these rounds of one run.

    A process is a node, base stations first, then cluster by cluster; the first process has the
    rounds and, within them, their phases. A node's threads are `compute`, `RADIO sent` and
    `RADIO received` of each of its radios, and `wait`; transfers of one radio that overlap in time
    are on further threads with numbers from 2 (`lanes`). So the events of a thread nest or do not
    overlap. Flow events lead from a transfer at its sender to the same transfer at its receiver.

    Times are simulated time since the run began, in µs with three decimals, which are the
    nanoseconds that were recorded. The arguments of an event are those columns of
    `analysis.round_timeline.round_bars` that apply to it. The same rounds give the same bytes.

    Raises `ValueError` where the run has none of these rounds or lacks one of them, or where `run`
    holds several runs.
    """
    numbers = sorted(set(rounds))
    if not numbers:
        raise ValueError("expected at least one round")
    bars = _with_threads(pd.concat([round_bars(run, n).assign(round=n) for n in numbers]))
    lines = [*_names(run, bars), *_timed(run, bars, numbers)]
    head = {"run": run.runs[0].name, "scheme": run.runs[0].scheme, "seed": run.runs[0].seed}
    begin = f'{{"displayTimeUnit":"ns","otherData":{_json(head)},"traceEvents":[\n'
    return (begin + ",\n".join(lines) + "\n]}\n").encode()


def lanes(intervals: Sequence[tuple[int, int]]) -> list[int]:
    """The number of a lane for each interval, so that the intervals of a lane do not overlap.

    Each interval, in order of start and end, is placed on the first lane that is free. Where one
    ends when the other starts they do not overlap.
    """
    found = [0] * len(intervals)
    ends: list[int] = []
    for place in sorted(range(len(intervals)), key=lambda place: (*intervals[place], place)):
        start, end = intervals[place]
        lane = next((lane for lane, reached in enumerate(ends) if reached <= start), len(ends))
        ends[lane : lane + 1] = [end]
        found[place] = lane
    return found


@dataclass(frozen=True, slots=True)
class _Thread:
    """A track of a node; `lane` is 0, and more on further tracks of transfers that overlap."""

    pid: int
    node: str
    track: str
    lane: int

    @property
    def name(self) -> str:
        return f"{self.track} {self.lane + 1}" if self.lane else self.track

    @property
    def rank(self) -> tuple[int, int, str, bool, int]:
        """The order of threads: computing, each radio with what it sent first, and waiting."""
        kind = {COMPUTE: 0, WAIT: 2}.get(self.track, 1)
        radio, _, direction = self.track.rpartition(" ")
        return self.pid, kind, radio, direction != "sent", self.lane


def _with_threads(bars: pd.DataFrame) -> pd.DataFrame:
    """The bars with `start_ns`, `end_ns`, and the `thread`, `pid` and `tid` of each."""
    bars = bars.reset_index(drop=True)
    bars["start_ns"], bars["end_ns"] = nanoseconds(bars["start_s"]), nanoseconds(bars["end_s"])
    nodes = sorted(
        nodes_in_order(bars), key=lambda node: role_or_none(node) is not Role.BASE_STATION
    )
    pids = {node: pid for pid, node in enumerate(nodes, _ROUNDS_PROCESS + 1)}
    threads: dict[Any, _Thread] = {}
    for (node, track), own in bars.groupby(["node", "track"], sort=False):
        of_each = lanes(list(zip(own["start_ns"], own["end_ns"], strict=True)))
        for place, lane in zip(own.index, of_each, strict=True):
            threads[place] = _Thread(pids[str(node)], str(node), str(track), lane)
    in_order = sorted(set(threads.values()), key=lambda thread: thread.rank)
    tids = {thread: tid for tid, thread in enumerate(in_order, _ROUNDS_THREAD + 1)}
    bars["thread"] = pd.Series(threads, index=bars.index, dtype=object)
    bars["pid"] = [thread.pid for thread in bars["thread"]]
    bars["tid"] = [tids[thread] for thread in bars["thread"]]
    return bars


def _names(run: Runs, bars: pd.DataFrame) -> Iterator[str]:
    """The metadata events: names and order of processes and threads."""
    only = run.runs[0]
    title = f"{only.name}: {only.scheme}, seed {only.seed}"
    yield from _named("process", title, _ROUNDS_PROCESS, _ROUNDS_THREAD, 0)
    yield from _named("thread", "rounds", _ROUNDS_PROCESS, _ROUNDS_THREAD, 0)
    threads = bars[["pid", "tid", "thread"]].drop_duplicates("tid").sort_values("tid")
    for pid, own in threads.groupby("pid"):
        for number, (tid, thread) in enumerate(zip(own["tid"], own["thread"], strict=True)):
            if number == 0:
                yield from _named("process", thread.node, int(str(pid)), tid, int(str(pid)))
            yield from _named("thread", thread.name, int(str(pid)), tid, number)


def _named(what: str, name: str, pid: int, tid: int, order: int) -> Iterator[str]:
    place = {"ph": "M", "pid": pid, "tid": tid}
    yield _json({"name": f"{what}_name", **place, "args": {"name": name}})
    yield _json({"name": f"{what}_sort_index", **place, "args": {"sort_index": order}})


def _timed(run: Runs, bars: pd.DataFrame, rounds: Sequence[int]) -> Iterator[str]:
    """The complete events in order of time, each followed by the flow that begins or ends there.

    Of events that start together, those that end last come first, so that they enclose the others;
    then what was sent comes before what was received, so that each flow begins before it ends.
    """
    timed: list[tuple[tuple[int, int, bool], list[str]]] = []
    where = _ROUNDS_PROCESS, _ROUNDS_THREAD
    for name, category, start, end, arguments in _rounds(run, rounds):
        event = _complete((start, end), where, name, category, arguments)
        timed.append(((start, -end, False), [event]))
    flows = bars.groupby(["round", "transfer"]).ngroup()
    bars = bars.assign(flow=flows).drop(columns="thread")
    # The one bar of a multicast at its sender begins a flow to each of its receivers.
    heard = bars[(bars["group"] > 0) & bars["track"].str.endswith(" received")]
    to_group = heard.groupby(["round", "group"])["flow"].agg(list).to_dict()
    for bar in bars.to_dict("records"):
        span, where = (bar["start_ns"], bar["end_ns"]), (bar["pid"], bar["tid"])
        events = [_complete(span, where, bar["label"], _category(bar), _arguments(bar))]
        is_transfer, is_sent = bar["transfer"] >= 0, bar["track"].endswith(" sent")
        if is_transfer:
            of_bar = to_group.get((bar["round"], bar["group"])) if is_sent else None
            events += [
                _flow(span[0], where, bar["kind"], flow, begins=is_sent)
                for flow in of_bar or [bar["flow"]]
            ]
        timed.append(((span[0], -span[1], is_transfer and not is_sent), events))
    for _, events in sorted(timed, key=lambda each: each[0]):
        yield from events


def _rounds(
    run: Runs, rounds: Sequence[int]
) -> Iterator[tuple[str, str, int, int, dict[str, Any]]]:
    """Name, category, start, end (ns) and arguments of each round and of its phases."""
    for row in run.rounds[run.rounds["round"].isin(rounds)].to_dict("records"):
        number, start, end = (row["round"], round(row["start_s"] * 1e9), round(row["end_s"] * 1e9))
        metrics = {key: row[key] for key in ("loss", "metric", "device_energy_j")}
        yield f"round {number}", "round", start, end, {"round": number, **_known(metrics)}
        for phase in round_phases(run, number).itertuples():
            begun = min(start + round(float(str(phase.start_s)) * 1e9), end)
            ended = min(start + round(float(str(phase.end_s)) * 1e9), end)
            if ended > begun:
                yield str(phase.phase), "phase", begun, ended, {"round": number}


def _complete(
    span: tuple[int, int], where: tuple[int, int], name: str, category: str, arguments: Any
) -> str:
    start, end = span
    return (
        f'{{"ph":"X","ts":{_microseconds(start)},"dur":{_microseconds(end - start)},'
        f'"pid":{where[0]},"tid":{where[1]},"name":{_json(name)},"cat":{_json(category)},'
        f'"args":{_json(arguments)}}}'
    )


def _flow(time: int, where: tuple[int, int], name: str, number: int, *, begins: bool) -> str:
    """A flow event, which belongs to the complete event before it."""
    phase = '"ph":"s"' if begins else '"ph":"f","bp":"e"'
    return (
        f'{{{phase},"ts":{_microseconds(time)},"pid":{where[0]},"tid":{where[1]},'
        f'"name":{_json(name)},"cat":"transfer","id":{number}}}'
    )


def _microseconds(time_ns: int) -> str:
    """Nanoseconds as a number of µs with three decimals, without the rounding of a float."""
    return f"{time_ns // 1000}.{time_ns % 1000:03}"


def _category(bar: dict[Hashable, Any]) -> str:
    return "transfer" if bar["transfer"] >= 0 else str(bar["track"])


def _arguments(bar: dict[Hashable, Any]) -> dict[str, Any]:
    """The columns of a bar that apply to it."""
    arguments = {"round": bar["round"], "kind": bar["kind"]}
    arguments |= {key: bar[key] for key in _PLACE if bar[key] >= 0}
    if bar["transfer"] >= 0:
        keys = ("peer", "bytes", "sinr_db", "outcome", "retransmissions")
        arguments |= _known({key: bar[key] for key in keys})
    return arguments


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """The values without nan and infinity, which JSON does not have."""
    return {k: v for k, v in values.items() if not isinstance(v, float) or math.isfinite(v)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
