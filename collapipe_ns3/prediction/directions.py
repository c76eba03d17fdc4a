"""The three directions of links: uplink, downlink and sidelink.

A cluster has one uplink from its control unit to the base station, one downlink back, and a
sidelink from each of its nodes to each other one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from collapipe_ns3.nodes import SERVER

T = TypeVar("T")
U = TypeVar("U")

#: A directed link by the names of its ends.
Pair = tuple[str, str]

#: By node name, the row of its cluster and its number in the cluster.
Places = Mapping[str, tuple[int, int]]


class Direction(Enum):
    """Which way a link leads."""

    SIDELINK = "sidelink"
    UPLINK = "uplink"
    DOWNLINK = "downlink"

    @classmethod
    def of(cls, src: str, dst: str) -> Direction:
        """The direction of the link between these nodes."""
        if dst == SERVER:
            return cls.UPLINK
        return cls.DOWNLINK if src == SERVER else cls.SIDELINK


@dataclass(frozen=True)
class PerDirection(Generic[T]):
    """One value for each direction."""

    sidelink: T
    uplink: T
    downlink: T

    def __getitem__(self, direction: Direction) -> T:
        if direction is Direction.SIDELINK:
            return self.sidelink
        return self.uplink if direction is Direction.UPLINK else self.downlink

    def map(self, function: Callable[[T], U]) -> PerDirection[U]:
        """What a function makes of each value."""
        return PerDirection(function(self.sidelink), function(self.uplink), function(self.downlink))


def place_of_link(places: Places, src: str, dst: str) -> tuple[Direction, tuple[int, ...]]:
    """A link's direction, and its index in the arrays of that direction.

    Arrays are (P, n, n) for sidelinks, by cluster, sender and receiver, and (P,) for uplinks and
    downlinks, by cluster.
    """
    direction = Direction.of(src, dst)
    if direction is Direction.UPLINK:
        return direction, places[src][:1]
    if direction is Direction.DOWNLINK:
        return direction, places[dst][:1]
    return direction, (*places[src], places[dst][1])
