"""Ways read from files: CSV, and the movement files of ns-2 that ns-3's users have."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ns3_scenarios.mobility import Corner, Point, Way, between
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, ScenarioSpec

#: The first line of a trace file in CSV; the last column may be left out.
CSV_HEADER = ("time_s", "node", "x_m", "y_m", "z_m")


class BadTrace(ValueError):
    """A trace file that can't be read; the message says where and why."""


def read_trace(path: Path, starts: Mapping[str, Point]) -> dict[str, Way]:
    """The ways in a trace file, by the names of their nodes.

    `starts` has every node of the scenario and where it is at time 0, base stations first and then
    cluster by cluster: a node whose height the file doesn't give keeps its own. A file that ends in
    `.csv` has a line `time_s,node,x_m,y_m[,z_m]` a corner, behind that header; any other is an
    ns-2 movement file (`setdest`), whose `$node_(k)` is the k-th node of `starts`, from 0. Raises
    `BadTrace`.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise BadTrace(f"{path}: can't be read: {reason}") from None
    try:
        corners = _csv(text, starts) if path.suffix == ".csv" else _ns2(text, starts)
    except BadTrace as error:
        raise BadTrace(f"{path}: {error}") from None
    return {name: Way(tuple(of_node)) for name, of_node in corners.items()}


def with_ways(spec: ScenarioSpec, ways: Mapping[str, Way]) -> ScenarioSpec:
    """The scenario with these nodes on their ways, from where a way has them at time 0.

    Devices that move together with a control unit keep their places relative to it.
    """

    def on_its_way(node: NodeSpec) -> NodeSpec:
        way = ways.get(node.name)
        return node if way is None else replace(node, position=way.at_0(), motion=way)

    def cluster_on_its_way(cluster: ClusterSpec) -> ClusterSpec:
        cu = on_its_way(cluster.cu)
        moved = [b - a for a, b in zip(cluster.cu.position, cu.position, strict=True)]
        devices = cluster.devices
        if cluster.together:
            devices = tuple(replace(d, position=_shifted(d.position, moved)) for d in devices)
        return replace(cluster, cu=cu, devices=tuple(map(on_its_way, devices)))

    return replace(
        spec,
        bs=on_its_way(spec.bs),
        stations=tuple(map(on_its_way, spec.stations)),
        clusters=tuple(map(cluster_on_its_way, spec.clusters)),
    )


def _shifted(place: Point, by: Sequence[float]) -> Point:
    x, y, z = (a + b for a, b in zip(place, by, strict=True))
    return (x, y, z)


_Corners = dict[str, list[Corner]]


def _csv(text: str, starts: Mapping[str, Point]) -> _Corners:
    rows = list(csv.reader(text.splitlines()))
    header = tuple(cell.strip() for cell in rows[0]) if rows else ()
    if header not in (CSV_HEADER, CSV_HEADER[:-1]):
        raise BadTrace(f"expected {','.join(CSV_HEADER)} in the first line (z_m may be left out)")
    corners: _Corners = {}
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            raise BadTrace(f"line {line}: expected {len(header)} values, not {len(row)}")
        time_s, x, y, *height = (_number(row[i], line) for i in range(len(row)) if i != 1)
        name = row[1].strip()
        if name not in starts:
            raise BadTrace(f"line {line}: no node {name!r}; there are {', '.join(starts)}")
        _add(corners, name, (time_s, x, y, height[0] if height else starts[name][2]), line)
    return corners


_NS2_AT = re.compile(
    r'\$ns_\s+at\s+(\S+)\s+"\$node_\((\d+)\)\s+setdest\s+(\S+)\s+(\S+)\s+(\S+)\s*"'
)
_NS2_SET = re.compile(r"\$node_\((\d+)\)\s+set\s+([XYZ])_\s+(\S+)")


def _ns2(text: str, starts: Mapping[str, Point]) -> _Corners:
    names = list(starts)
    places: dict[str, list[float]] = {}
    orders: dict[str, list[tuple[float, float, float, float, int]]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if placed := _NS2_SET.fullmatch(line):
            place = places.setdefault(_name(placed[1], names, number), [math.nan] * 3)
            place["XYZ".index(placed[2])] = _number(placed[3], number)
        elif order := _NS2_AT.fullmatch(line):
            time_s, x, y, speed = (_number(order[k], number) for k in (1, 3, 4, 5))
            if speed < 0:
                raise BadTrace(f"line {number}: expected a speed from 0 up, not {speed:g}")
            of_node = orders.setdefault(_name(order[2], names, number), [])
            of_node.append((time_s, x, y, speed, number))
        else:
            raise BadTrace(
                f'line {number}: expected `$node_(k) set X_ value` or `$ns_ at time "$node_(k) '
                f'setdest x y speed"`, not `{line[:60]}`'
            )
    return {
        name: _walked(_start(places.get(name), starts[name]), sorted(orders.get(name, [])))
        for name in names
        if name in places or name in orders
    }


def _start(given: Sequence[float] | None, usual: Point) -> Point:
    if given is None:
        return usual
    x, y, z = (own if math.isnan(g) else g for g, own in zip(given, usual, strict=True))
    return (x, y, z)


def _walked(start: Point, orders: Sequence[tuple[float, float, float, float, int]]) -> list[Corner]:
    """The corners of a node that walks where it was last told to, from wherever that finds it."""
    corners: list[Corner] = [(0.0, *start)]
    for time_s, x, y, speed, number in orders:
        if time_s < 0:
            raise BadTrace(f"line {number}: expected a time from 0 up, not {time_s:g} s")
        here = corners[-1][1:]
        if corners[-1][0] >= time_s:  # still walking
            last = corners.pop()
            here = between(corners[-1], last, time_s) if corners else last[1:]
        if not corners or time_s > corners[-1][0]:
            corners.append((time_s, *here))
        far_m = math.hypot(x - here[0], y - here[1])
        if speed > 0 and far_m > 0:
            corners.append((time_s + far_m / speed, x, y, here[2]))
    return corners


def _name(index: str, names: Sequence[str], line: int) -> str:
    if int(index) >= len(names):
        raise BadTrace(f"line {line}: no node {index}; there are {len(names)}, from 0")
    return names[int(index)]


def _number(text: str, line: int) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadTrace(f"line {line}: expected a finite number, not {text.strip()!r}")
    return number


def _add(corners: _Corners, name: str, corner: Corner, line: int) -> None:
    of_node = corners.setdefault(name, [])
    if of_node and round(corner[0] * 1e9) <= round(of_node[-1][0] * 1e9):
        raise BadTrace(
            f"line {line}: expected a time after {of_node[-1][0]:g} s, {name}'s last, "
            f"not {corner[0]:g} s"
        )
    of_node.append(corner)
