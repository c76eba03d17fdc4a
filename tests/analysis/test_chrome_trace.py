"""Traces: events of a thread nest, flows join both ends of a transfer, nanoseconds are kept."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import studies
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import write_run

import analysis
from analysis.chrome_trace import chrome_trace, lanes
from analysis.round_timeline import round_bars, round_phases

Event = dict[str, Any]

NODES = ("bs", "c0.cu", "c0.d0", "c0.d1", "c1.cu")

#: Nanoseconds up to a month.
TIMES = st.one_of(st.integers(0, 20), st.integers(0, 30 * 86_400 * 10**9))


@st.composite
def transfer_rows(draw: st.DrawFn) -> dict[str, Any]:
    src, dst = draw(st.permutations(NODES))[:2]
    start = draw(TIMES)
    return {
        "src": src,
        "dst": dst,
        "radio": draw(st.sampled_from(["ofdma", "lte"])),
        "kind": draw(st.sampled_from(["model", "activation"])),
        "start_s": start / 1e9,
        "end_s": (start + draw(TIMES)) / 1e9,
        "bytes": draw(st.integers(0, 10**9)),
        "sinr_db": draw(st.one_of(st.floats(-20, 60), st.just(float("nan")))),
    }


@st.composite
def compute_rows(draw: st.DrawFn) -> dict[str, Any]:
    start = draw(TIMES)
    return {
        "node": draw(st.sampled_from(NODES)),
        "cluster": 0,
        "pipeline": 0,
        "start_s": start / 1e9,
        "end_s": (start + draw(TIMES)) / 1e9,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Runs:
    from collapipe_ns3 import Study

    folder = tmp_path_factory.mktemp("runs")
    return analysis.load(Study.load(studies.write(folder)).run(out=folder / "run").directory)


def events_of(run: analysis.Runs, rounds: Sequence[int] = (0,)) -> list[Event]:
    """The events of a trace, with exact times in integer nanoseconds."""
    events: list[Event] = json.loads(chrome_trace(run, rounds), parse_float=Decimal)["traceEvents"]
    for event in events:
        for key in {"ts", "dur"} & event.keys():
            time_ns = event[key] * 1000
            assert time_ns == int(time_ns)
            event[key] = int(time_ns)
    return events


def nodes_of(events: Sequence[Event]) -> dict[int, str]:
    named = [event for event in events if event["name"] == "process_name"]
    return {event["pid"]: event["args"]["name"] for event in named}


def complete(events: Sequence[Event], *categories: str) -> list[Event]:
    found = [event for event in events if event["ph"] == "X"]
    return [event for event in found if not categories or event["cat"] in categories]


def expect_well_formed(events: Sequence[Event]) -> None:
    """What Perfetto and chrome://tracing need to show all of the events on their tracks."""
    required = {
        "M": {"name", "pid", "tid", "args"},
        "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
        "s": {"name", "cat", "pid", "tid", "ts", "id"},
        "f": {"name", "cat", "pid", "tid", "ts", "id", "bp"},
    }
    for event in events:
        assert event.keys() == required[event["ph"]] | {"ph"}
        assert event.get("dur", 0) >= 0
    threads = {(event["pid"], event["tid"]) for event in events}
    tids = [tid for _, tid in threads]
    assert len(tids) == len(set(tids)), "a thread belongs to one process"
    assert not {pid for pid, _ in threads} & set(tids)
    for what in ("thread_name", "thread_sort_index"):
        named = [(each["pid"], each["tid"]) for each in events if each["name"] == what]
        assert sorted(named) == sorted(threads)
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    expect_nested(complete(events))
    expect_flows(events)


def expect_nested(events: Sequence[Event]) -> None:
    """Events of a thread, in the order of the file, begin within the last or after its end."""
    open_until: dict[int, list[int]] = defaultdict(list)
    for event in events:
        start, end, ends = event["ts"], event["ts"] + event["dur"], open_until[event["tid"]]
        while ends and ends[-1] <= start and not (ends[-1] == start == end):
            ends.pop()
        assert not ends or end <= ends[-1], f"{event} overlaps the one before it"
        ends.append(end)


def expect_flows(events: Sequence[Event]) -> None:
    """Each flow begins at a transfer that was sent and ends at the same one when received."""
    pairs: dict[int, list[tuple[Event, Event]]] = defaultdict(list)
    for before, event in pairwise(events):
        if event["ph"] in "sf":
            pairs[event["id"]].append((before, event))
    nodes = nodes_of(events)
    for (sent, begin), (received, end) in pairs.values():  # two of each
        assert (begin["ph"], end["ph"]) == ("s", "f")
        assert (begin["name"], begin["cat"]) == (end["name"], end["cat"])
        for transfer, flow in ((sent, begin), (received, end)):
            assert transfer["ph"] == "X"
            assert {k: transfer[k] for k in ("ts", "pid", "tid")} == {
                k: flow[k] for k in ("ts", "pid", "tid")
            }
        assert (sent["ts"], sent["dur"]) == (received["ts"], received["dur"])
        peers = [event["args"].pop("peer") for event in (sent, received)]
        assert peers == [nodes[received["pid"]], nodes[sent["pid"]]]
        assert sent["args"] == received["args"]
    assert 2 * len(pairs) == len(complete(events, "transfer"))


@settings(max_examples=40)
@given(st.lists(transfer_rows(), max_size=12), st.lists(compute_rows(), max_size=5))
def test_any_round_gives_a_well_formed_trace_with_its_nanoseconds(
    transfers: list[dict[str, Any]], computes: list[dict[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_run(Path(folder, "run"), transfers=transfers, computes=computes)
        run = analysis.load(path)
        events = events_of(run)
    moved, done = complete(events, "transfer"), complete(events, "compute")
    nodes = nodes_of(events)
    expected = sorted(
        (node, *(round(row[key] * 1e9) for key in ("start_s", "end_s")), row["bytes"])
        for row in transfers
        for node in (row["src"], row["dst"])
    )
    assert expected == sorted(
        (nodes[e["pid"]], e["ts"], e["ts"] + e["dur"], e["args"]["bytes"]) for e in moved
    )
    assert sorted((row["node"], round(row["start_s"] * 1e9)) for row in computes) == sorted(
        (nodes[event["pid"]], event["ts"]) for event in done
    )
    expect_well_formed(events)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8))))
def test_lanes_are_free_of_overlap_and_as_few_as_possible(pairs: list[tuple[int, int]]) -> None:
    intervals = [(start, start + length) for start, length in pairs]
    found = lanes(intervals)
    for lane in set(found):
        own = sorted(each for each, its in zip(intervals, found, strict=True) if its == lane)
        assert all(end <= start for (_, end), (start, _) in pairwise(own))
    at_once = [
        sum(start <= time < end for start, end in intervals if end > start) for time in range(30)
    ]
    lengths = [end > start for start, end in intervals]
    used = {lane for lane, is_long in zip(found, lengths, strict=True) if is_long}
    assert len(used) >= max(at_once)
    if all(lengths):
        assert len(used) == max(at_once)


def test_times_are_exact_where_floats_would_round(tmp_path: Path) -> None:
    transfers = [{"src": "bs", "dst": "c0.cu", "start_s": 86_400.000000029, "end_s": 86_400.1}]
    text = chrome_trace(analysis.load(write_run(tmp_path / "run", transfers=transfers)), [0])
    assert text.count(b'"ts":86400000000.029,"dur":99999.971,') == 2


def test_a_trace_of_a_run_has_all_that_happened(run: analysis.Runs) -> None:
    events = events_of(run, [0, 1])
    expect_well_formed(events)
    bars = [round_bars(run, number) for number in (0, 1)]
    for category, chosen in (
        ("compute", lambda each: each["track"] == "compute"),
        ("wait", lambda each: each["track"] == "wait"),
        ("transfer", lambda each: each["transfer"] >= 0),
    ):
        assert len(complete(events, category)) == sum(chosen(each).sum() for each in bars)
    nodes = nodes_of(events)
    assert next(iter(nodes.values())) == "run: pipeline, seed 1"
    assert list(nodes.values())[1] == "bs"
    steps = {e["args"]["step"] for e in complete(events, "compute") if "step" in e["args"]}
    assert steps == set(run.computes["step"]) - {-1}


def test_rounds_enclose_their_phases(run: analysis.Runs) -> None:
    events = events_of(run, [1])
    [row] = run.rounds.query("round == 1").to_dict("records")
    [of_round] = complete(events, "round")
    assert of_round["name"] == "round 1"
    assert of_round["ts"] == round(row["start_s"] * 1e9)
    assert of_round["dur"] == round(row["duration_s"] * 1e9)
    phases = round_phases(run, 1)
    lengths = {p.phase: round((p.end_s - p.start_s) * 1e9) for p in phases.itertuples()}
    shown = {event["name"]: event["dur"] for event in complete(events, "phase")}
    assert shown == {phase: length for phase, length in lengths.items() if length}


def threads(events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    nodes = nodes_of(events)
    for event in events:
        if event["name"] == "thread_name":
            yield nodes[event["pid"]], event["args"]["name"]


def test_transfers_that_overlap_get_further_threads(tmp_path: Path) -> None:
    spans = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)]
    ends = {"src": "bs", "dst": "c0.cu", "radio": "lte"}
    rows = [{**ends, "start_s": start, "end_s": end} for start, end in spans]
    events = events_of(analysis.load(write_run(tmp_path / "run", transfers=rows)))
    assert [each for each in threads(events) if each[0] == "bs"] == [
        ("bs", "lte sent"),
        ("bs", "lte sent 2"),
    ]
    assert list(threads(events))[-2:] == [("c0.cu", "lte received"), ("c0.cu", "lte received 2")]


def test_the_same_rounds_give_the_same_bytes(run: analysis.Runs) -> None:
    again = analysis.load(run.directory)
    assert chrome_trace(run, [0, 1]) == chrome_trace(again, [1, 0, 0])


def test_a_round_that_is_not_there_is_an_error(run: analysis.Runs) -> None:
    with pytest.raises(ValueError, match="no round 2; it has the rounds 0 to 1"):
        chrome_trace(run, [1, 2])
    with pytest.raises(ValueError, match="at least one round"):
        chrome_trace(run, [])
