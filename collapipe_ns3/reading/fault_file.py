"""Reads the file of faults that a study names, and puts its events into the study."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collapipe_ns3.config.faults import LATEST_S, Faults, LinkFaults, NodeFaults, Slowdown
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.problems import Problem
from collapipe_ns3.topology.faults import links_of, nodes_of
from ns3_scenarios.recording import BadTrace, number_in

#: The most events of a file: they become part of the resolved study, which must stay readable.
MOST_EVENTS = 100_000
_MOST_BYTES = 64 * 2**20

_COLUMNS = ("time_s", "node", "src", "dst", "event", "value")
_OF_NODES = ("leave", "return", "slow")
_OF_LINKS = ("out", "back")


@dataclass(frozen=True, slots=True)
class _Event:
    """A line of the file: an event of a node (`src` alone) or of a directed link."""

    line: int
    time_s: float
    name: str
    ends: tuple[str, ...]
    value: str


def with_file(config: StudyConfig, folder: Path) -> tuple[StudyConfig, list[Problem]]:
    """The study with the events of its file of faults in it, so that it no longer needs the file.

    The file's path is relative to `folder`. Where the file can't be read, or its nodes are not the
    study's, the study is returned unchanged with the problems, each with its line.
    """
    if config.faults.file is None:
        return config, []
    path = folder / config.faults.file
    try:
        events = list(_events(_text(path)))
        if len(events) > MOST_EVENTS:
            raise BadTrace(f"expected at most {MOST_EVENTS} events, not {len(events)}")
    except BadTrace as error:
        return config, [Problem("faults.file", f"{path}: {error}")]
    found: list[str] = []
    faults = _with_events(config, events, found.append)
    problems = [Problem("faults.file", f"{path}: {what}") for what in found]
    return (config, problems) if problems else (config.model_copy(update={"faults": faults}), [])


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may never end
            raise BadTrace("can't be read: is no file")
        if path.stat().st_size > _MOST_BYTES:
            raise BadTrace(f"expected at most {_MOST_BYTES // 2**20} MiB")
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or an invalid file name
        if isinstance(error, BadTrace):
            raise
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise BadTrace(f"can't be read: {reason}") from None


def _events(text: str) -> Iterator[_Event]:
    """The events of a file; raises `BadTrace` for the first line in another form."""
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        _check_header(header)
        reader.fieldnames = header
        for row in reader:
            line = reader.line_num
            if "" in row:
                raise BadTrace(f"line {line}: expected {len(header)} values, as in the header")
            given = {key: value.strip() for key, value in row.items()}
            node, src, dst = (given.get(key, "") for key in ("node", "src", "dst"))
            if bool(node) == bool(src or dst) or bool(src) != bool(dst):
                raise BadTrace(f"line {line}: expected a node, or src and dst of a link")
            time_s = number_in(given["time_s"], line)
            if not 0 <= time_s <= LATEST_S:
                what = f"expected a time of 0 to {LATEST_S:g} s, not {time_s:g}"
                raise BadTrace(f"line {line}: {what}")
            ends = (node,) if node else (src, dst)
            yield _Event(line, time_s, given["event"], ends, given.get("value", ""))
    except csv.Error as error:
        raise BadTrace(f"line {reader.line_num}: {error}") from None


def _check_header(header: Sequence[str]) -> None:
    for name in header:
        if name not in _COLUMNS:
            raise BadTrace(f"line 1: no column {name[:60]!r}; {did_you_mean(name, _COLUMNS)}")
    if len(set(header)) < len(header):
        raise BadTrace("line 1: expected every column once")
    known = {*header}
    if not {"time_s", "event"} <= known or not ({"node"} <= known or {"src", "dst"} <= known):
        raise BadTrace("line 1: expected the columns time_s, event, and node or src and dst")


def _with_events(
    config: StudyConfig, events: Iterable[_Event], wrong: Callable[[str], None]
) -> Faults:
    """The faults of the study and those of the events; problems are given to `wrong`."""
    nodes, links = nodes_of(config), links_of(config)
    of_nodes: dict[str, list[_Event]] = {}
    of_links: dict[tuple[str, str], list[_Event]] = {}
    for each in events:
        kinds = _OF_NODES if len(each.ends) == 1 else _OF_LINKS
        if each.name not in kinds:
            wrong(
                f"line {each.line}: no event {each.name[:60]!r}; {did_you_mean(each.name, kinds)}"
            )
        elif len(each.ends) == 1 and each.ends[0] not in nodes:
            near = did_you_mean(each.ends[0], nodes)
            wrong(f"line {each.line}: no node {each.ends[0][:60]!r}; {near}")
        elif len(each.ends) == 2 and each.ends not in links:
            what = " → ".join(each.ends)[:60]
            near = did_you_mean(what, (" → ".join(pair) for pair in links))
            wrong(f"line {each.line}: no link {what}; {near}")
        elif len(each.ends) == 1:
            of_nodes.setdefault(each.ends[0], []).append(each)
        else:
            of_links.setdefault((each.ends[0], each.ends[1]), []).append(each)
    made = [
        NodeFaults(
            nodes=(node,),
            away_s=_spans(own, "leave", "return", wrong),
            slow=_slowdowns([each for each in own if each.name == "slow"], wrong),
        )
        for node, own in of_nodes.items()
    ]
    cut = [
        LinkFaults(src=src, dst=dst, both=False, out_s=_spans(own, "out", "back", wrong))
        for (src, dst), own in of_links.items()
    ]
    faults, changed = config.faults, [each for each in made if each.away_s or each.slow]
    return faults.model_copy(
        update={"nodes": (*faults.nodes, *changed), "links": (*faults.links, *cut), "file": None}
    )


def _spans(
    events: Sequence[_Event], begins: str, ends: str, wrong: Callable[[str], None]
) -> tuple[tuple[float | None, ...], ...]:
    """The spans between two kinds of events, which take turns."""
    spans: list[tuple[float | None, ...]] = []
    since_s: float | None = None
    for each in _in_order([each for each in events if each.name in (begins, ends)], wrong):
        if (each.name == begins) == (since_s is not None):
            expected = ends if each.name == begins else begins
            wrong(f"line {each.line}: expected {expected} before another {each.name}")
        elif each.name == begins:
            since_s = each.time_s
        else:
            spans.append((since_s, each.time_s))
            since_s = None
    return (*spans, *([] if since_s is None else [(since_s, None)]))


def _slowdowns(events: Sequence[_Event], wrong: Callable[[str], None]) -> tuple[Slowdown, ...]:
    """The slow-downs of a node: each lasts until the next."""
    found: list[Slowdown] = []
    ordered = list(_in_order(events, wrong))
    for number, each in enumerate(ordered, 1):
        try:
            factor = number_in(each.value, each.line)
        except BadTrace as error:
            wrong(str(error))
            continue
        if not 1 <= factor <= 1e6:
            wrong(f"line {each.line}: expected a factor of 1 to 1e6, not {factor:g}")
        elif factor > 1:
            to_s = ordered[number].time_s if number < len(ordered) else None
            found.append(Slowdown(factor=factor, from_s=each.time_s, to_s=to_s))
    return tuple(found)


def _in_order(events: Sequence[_Event], wrong: Callable[[str], None]) -> Iterator[_Event]:
    """The events that are later than those before them."""
    latest_s = -1.0
    for each in events:
        if each.time_s <= latest_s:
            what = f"expected a time after {latest_s:g} s, not {each.time_s:g} s"
            wrong(f"line {each.line}: {what}")
        else:
            latest_s = each.time_s
            yield each
