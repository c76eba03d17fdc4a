"""Deliveries as what their senders sent at once: transfers to one node, and multicasts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bridge.network import Delivery, group_name
from collapipe_ns3.prediction.directions import Pair


@dataclass(frozen=True, slots=True)
class Transmission:
    """A transfer to one node, or a multicast with a delivery for each of its receivers.

    Deliveries are in the order in which they ended. Airtime in seconds and bandwidth in hertz are
    those of the sender: airtime is the sum over deliveries, among which it is divided.
    """

    deliveries: tuple[Delivery, ...]

    @property
    def src(self) -> str:
        return self.deliveries[0].src

    @property
    def receivers(self) -> tuple[str, ...]:
        """In the order of their names."""
        return tuple(sorted(each.dst for each in self.deliveries))

    @property
    def way(self) -> Pair:
        """The sender, and the node or the `bridge.network.group_name` of the receivers."""
        return self.src, group_name(self.receivers)

    @property
    def kind(self) -> str:
        return self.deliveries[0].kind

    @property
    def start_ns(self) -> int:
        return self.deliveries[0].start_ns

    @property
    def end_ns(self) -> int:
        """When the last receiver had it."""
        return self.deliveries[-1].end_ns

    @property
    def airtime_s(self) -> float:
        return math.fsum(each.airtime_s for each in self.deliveries)

    @property
    def bandwidth_hz(self) -> float:
        """The mean over the time on the air; 0 where it was never there."""
        if len(self.deliveries) == 1:
            return self.deliveries[0].bandwidth_hz
        used = math.fsum(each.airtime_s * each.bandwidth_hz for each in self.deliveries)
        return used / self.airtime_s if self.airtime_s else 0.0

    def arrived(self, *, whole: bool) -> bool:
        """Whether every receiver has got it, `whole` or with gaps as well."""
        got = ("delivered",) if whole else ("delivered", "partial")
        return all(each.outcome in got for each in self.deliveries)


def transmissions(deliveries: Iterable[Delivery]) -> list[Transmission]:
    """The transmissions of an episode's deliveries, in the order of the first that ended."""
    found: dict[int | tuple[int], list[Delivery]] = {}
    for number, each in enumerate(deliveries):
        found.setdefault(each.group or (number,), []).append(each)
    return [Transmission(tuple(each)) for each in found.values()]
