"""ns-2 movement files, as setdest, SUMO and BonnMotion write them, read as ns-3 reads them.

A file that is accepted here puts every node where ns-3's `Ns2MobilityHelper` puts it; tests compare
both. What the helper would skip silently is an error here, except blank lines, comments and
`$god_`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from ns3_scenarios.mobility import FARTHEST, Corner, Point
from ns3_scenarios.recording import BadTrace, Recording, number_in

_NODE = r"\$node_\((\d{1,9})\)"
_SET = re.compile(rf"{_NODE}\s+set\s+([XYZ])_\s+(\S+)", re.ASCII)
_AT = re.compile(
    rf'\$ns_\s+at\s+(\S+)\s+"?{_NODE}\s+'
    # The helper ignores a coordinate with a blank before the quotation mark.
    r'(?:set\s+([XYZ])_\s+(\S+?)|setdest\s+(\S+)\s+(\S+)\s+(\S+?)\s*)"?',
    re.ASCII,
)
_IGNORED = re.compile(r'(\$ns_\s+at\s+\S+\s+"?)?\$god_\s.*')

_EXPECTED = (
    'expected `$node_(k) set X_ value`, `$ns_ at time "$node_(k) setdest x y speed"` or '
    '`$ns_ at time "$node_(k) set X_ value"`'
)


@dataclass(frozen=True, slots=True)
class _Order:
    """At a time: go to a destination at a speed, or move along one axis at once."""

    line: int
    time_s: float
    x: float = 0.0
    y: float = 0.0
    speed_m_s: float = 0.0
    axis: int | None = None
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class _Leg:
    """A straight walk, in the helper's own figures."""

    order: _Order
    start: Point
    velocity: tuple[float, float]
    takes_s: float

    @property
    def arrival_s(self) -> float:
        return self.order.time_s + self.takes_s


@dataclass(slots=True)
class _Orders:
    """A node in a file: its initial position, None where not given, and its orders by line."""

    place: list[float | None] = field(default_factory=lambda: [None, None, None])
    orders: list[_Order] = field(default_factory=list)
    line: int = 0  # the first of the node


def read_ns2(text: str) -> Recording:
    """The corners of every `$node_(k)`, named k; heights are nan if the file has none.

    Raises `BadTrace`.
    """
    nodes: dict[str, _Orders] = {}
    for line, raw in enumerate(text.split("\n"), 1):
        said = raw.partition("#")[0].strip().rstrip("; \t")
        if not said or _IGNORED.fullmatch(said):
            continue
        if placed := _SET.fullmatch(said):
            node = nodes.setdefault(str(int(placed[1])), _Orders(line=line))
            node.place["XYZ".index(placed[2])] = number_in(placed[3], line)
        elif order := _AT.fullmatch(said):
            node = nodes.setdefault(str(int(order[2])), _Orders(line=line))
            _give(node, _order(order, line), order[2])
        else:
            raise BadTrace(f"line {line}: {_EXPECTED}, not `{said[:60]}`")
    corners = {name: tuple(_corners(name, node)) for name, node in nodes.items()}
    return Recording(corners, {name: node.line for name, node in nodes.items()}, numbered=True)


def _order(found: re.Match[str], line: int) -> _Order:
    time_s = number_in(found[1], line)
    if not 0 <= time_s <= FARTHEST:
        raise BadTrace(
            f"line {line}: expected a time from 0 up, at most {FARTHEST:g} s, not {time_s:g} s"
        )
    if found[3]:
        return _Order(line, time_s, axis="XYZ".index(found[3]), value=number_in(found[4], line))
    x, y, speed = (number_in(found[k], line) for k in (5, 6, 7))
    if speed < 0:
        raise BadTrace(f"line {line}: expected a speed from 0 up, not {speed:g}")
    return _Order(line, time_s, x, y, speed)


def _give(node: _Orders, order: _Order, name: str) -> None:
    if node.orders and order.time_s < node.orders[-1].time_s:
        raise BadTrace(
            f"line {order.line}: expected the orders of $node_({name}) in order of time, from "
            f"{node.orders[-1].time_s:g} s on, not {order.time_s:g} s"
        )
    node.orders.append(order)


class _Walk:
    """A node that follows its orders as in the helper.

    At time 0 the helper sets a node's coordinates to the last values that any order gives them, but
    plans its walks from the initial position: until the first such order the node is displaced from
    the plan by `off`.
    """

    def __init__(self, start: Point, sets: Iterable[_Order]) -> None:
        self._here = start  # as planned, at the last order or the end of the walk before
        self._spot = start  # position by the next order that sets a coordinate
        final = start
        for order in sets:
            final = _with(final, order)
        self._off = _minus(final, start)
        self._walk: _Leg | None = None
        self.corners: list[tuple[int, Point]] = [(0, final)]

    def obey(self, order: _Order, name: str) -> None:
        """Raises `BadTrace` for an order after which the helper lets the node walk on forever."""
        under_way = self._walk is not None and self._walk.arrival_s > order.time_s
        self._interrupt(order.time_s)
        if order.axis is not None:
            self._spot = self._here = _with(self._spot, order)
            self._off = (0.0, 0.0, 0.0)
            self._jump(_ns(order.time_s))
        elif order.speed_m_s > 0:
            east, north = order.x - self._here[0], order.y - self._here[1]
            # Calculated as in the helper: the last bit decides whether it is at its destination.
            takes_s = math.sqrt(east * east + north * north) / order.speed_m_s
            if takes_s > 0:
                self._put(_ns(order.time_s), self._here)
                velocity = (east / takes_s, north / takes_s)
                self._walk = _Leg(order, self._here, velocity, takes_s)
            elif under_way:
                raise BadTrace(
                    f"line {order.line}: $node_({name}) is under way and ordered to where it just "
                    "is, after which ns-3 has it walk on for ever: expected speed 0, which stops it"
                )

    def end(self, name: str) -> None:
        """Ends the last walk; raises `BadTrace` if it takes too long."""
        if self._walk is not None and self._walk.arrival_s > FARTHEST:
            raise BadTrace(
                f"line {self._walk.order.line}: $node_({name}) would be on its way until "
                f"{self._walk.arrival_s:g} s; expected at most {FARTHEST:g} s"
            )
        self._interrupt(math.inf)

    def _interrupt(self, time_s: float) -> None:
        """Ends the walk at this time, unless it ended before."""
        leg, self._walk = self._walk, None
        if leg is None:
            return
        x, y, z = leg.start
        if time_s < leg.arrival_s:
            walked_s = time_s - leg.order.time_s
            self._here = (x + leg.velocity[0] * walked_s, y + leg.velocity[1] * walked_s, z)
            self._put(_ns(time_s), self._here)
            return
        self._here = (x + leg.velocity[0] * leg.takes_s, y + leg.velocity[1] * leg.takes_s, z)
        self._put(_ns(leg.arrival_s), (leg.order.x, leg.order.y, z))

    def _put(self, time_ns: int, planned: Point) -> None:
        """Adds a corner, or replaces the last one if that is at the same time."""
        if time_ns <= self.corners[-1][0]:
            time_ns, _ = self.corners.pop()
        self.corners.append((time_ns, _plus(planned, self._off)))

    def _jump(self, time_ns: int) -> None:
        """Moves from the present position to the one that was set, within a nanosecond."""
        was = self.corners[-1][1]
        if time_ns <= self.corners[-1][0]:
            self.corners.pop()
        if self.corners and self.corners[-1][0] < time_ns - 1:
            self.corners.append((time_ns - 1, was))
        self.corners.append((time_ns, self._here))


def _corners(name: str, node: _Orders) -> Iterator[Corner]:
    """The corners of a node's path; times differ by at least 1 ns."""
    sets = [order for order in node.orders if order.axis is not None]
    walk = _Walk(_start(name, node, {order.axis for order in sets}), sets)
    for order in node.orders:
        walk.obey(order, name)
    walk.end(name)
    return ((time_ns / 1e9, *place) for time_ns, place in walk.corners)


def _start(name: str, node: _Orders, later: Collection[int | None]) -> Point:
    """A node's initial position; coordinates that are only set later start at 0, as in ns-3."""
    x, y, z = (
        0.0 if given is None and axis in later else given for axis, given in enumerate(node.place)
    )
    if x is None or y is None:
        missing = "X_" if x is None else "Y_"
        raise BadTrace(
            f"line {node.line}: expected `$node_({name}) set {missing} value` in the file: without "
            "it ns-3 would have the node at 0"
        )
    return (x, y, math.nan if z is None else z)


def _with(place: Point, order: _Order) -> Point:
    x, y, z = (order.value if axis == order.axis else at for axis, at in enumerate(place))
    return (x, y, z)


def _plus(place: Point, off: Point) -> Point:
    x, y, z = (a + b for a, b in zip(place, off, strict=True))
    return (x, y, z)


def _minus(place: Point, off: Point) -> Point:
    x, y, z = (a - b for a, b in zip(place, off, strict=True))
    return (x, y, z)


def _ns(time_s: float) -> int:
    return round(time_s * 1e9)
