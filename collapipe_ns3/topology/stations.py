"""Several base stations of one edge server, which control units reach by their own station.

With handover it is the station at the beginning of the episode that a link is known by in
`ns3_scenarios`, whichever serves it later.

Transfers between the stations and the server take no time, as in the LTE core network of
`ns3_scenarios`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.network import (
    GROUP_SIGN,
    Advance,
    Delivery,
    Grant,
    LinkState,
    Multicast,
    Network,
    NodeUsage,
    Position,
    Transfer,
    positions,
)
from collapipe_ns3.nodes import SERVER
from ns3_scenarios.handover import Cells, Handing
from ns3_scenarios.scenario import Pair, ScenarioSpec


def by_station(spec: ScenarioSpec) -> dict[Pair, Pair]:
    """Maps each link between a control unit and the server to the link with the unit's station.

    It has both directions of every link.
    """
    links: dict[Pair, Pair] = {}
    for cluster in spec.clusters:
        if cluster.station not in (None, SERVER):
            cu, station = cluster.cu.name, str(cluster.station)
            links[cu, SERVER], links[SERVER, cu] = (cu, station), (station, cu)
    return links


def cells(network: Network) -> Cells:
    """The cells of a network's control units, and their changes so far; none without handover."""
    return network.cells() if isinstance(network, Handing) else Cells()


@dataclass(frozen=True, slots=True)
class _Used:
    tx_airtime_s: float
    rx_airtime_s: float
    tx_energy_j: float
    rx_energy_j: float


class StationNetwork:
    """A network whose links with the server are those of the control units' stations."""

    def __init__(
        self, network: Network, links: Mapping[Pair, Pair], stations: Sequence[str]
    ) -> None:
        """`stations` are the further base stations, and `links` those of `by_station`."""
        self._network = network
        self._links = links
        self._known_as = {ends: pair for pair, ends in links.items()}
        self._stations = stations

    @property
    def deliveries(self) -> Sequence[Delivery]:
        return [self._renamed(delivery) for delivery in self._network.deliveries]

    def now_ns(self) -> int:
        return self._network.now_ns()

    def advance(self, until_ns: int | None) -> Advance:
        return self._network.advance(until_ns)

    def interrupt(self) -> None:
        self._network.interrupt()

    def in_flight(self) -> int:
        return self._network.in_flight()

    def describe_in_flight(self) -> list[str]:
        return self._network.describe_in_flight()

    def transfer(self, src: str, dst: str, size_bytes: int, kind: str = "") -> Transfer:
        return self._network.transfer(*self._links.get((src, dst), (src, dst)), size_bytes, kind)

    def multicast(
        self, src: str, receivers: Sequence[str], size_bytes: int, kind: str = ""
    ) -> Sequence[Transfer]:
        """As `bridge.network.Multicast` has it, to control units of one station."""
        station, nodes = self._reached(src, receivers)
        if isinstance(self._network, Multicast):
            return self._network.multicast(station, nodes, size_bytes, kind)
        raise ValueError(f"{src} → {', '.join(receivers)}: the stations' network can't multicast")

    def apply(self, grants: Sequence[Grant]) -> None:
        self._network.apply([self._granted(grant) for grant in grants])

    async def sound(self, pairs: Iterable[Pair]) -> None:
        await self._network.sound([self._links.get(pair, pair) for pair in pairs])

    def link_state(self) -> Sequence[LinkState]:
        return [self._renamed(link) for link in self._network.link_state()]

    def usage(self) -> Mapping[str, NodeUsage]:
        """The use of all nodes; the server's is the sum over all stations."""
        used = dict(self._network.usage())
        ours = [used.pop(name) for name in (SERVER, *sorted(self._stations)) if name in used]
        if ours:
            used[SERVER] = _Used(
                *(
                    sum(getattr(each, field.name) for each in ours)
                    for field in dataclasses.fields(_Used)
                )
            )
        return used

    def cells(self) -> Cells:
        """The cells of the control units, and their changes so far; see `Handing`."""
        return cells(self._network)

    def positions(self) -> Mapping[str, Position]:
        return positions(self._network)

    def close(self) -> None:
        self._network.close()

    def _granted(self, grant: Any) -> Any:
        src, nodes = self._reached(grant.src, grant.dst.split(GROUP_SIGN))
        return dataclasses.replace(grant, src=src, dst=GROUP_SIGN.join(nodes))

    def _reached(self, src: str, receivers: Sequence[str]) -> tuple[str, list[str]]:
        """The sender and the receivers as the network has them; `ValueError` for two stations."""
        ends = [self._links.get((src, dst), (src, dst)) for dst in receivers]
        stations = list(dict.fromkeys(station for station, _ in ends)) or [src]
        if len(stations) > 1:
            raise ValueError(
                f"{src} → {', '.join(receivers)}: expected the control units of one station, "
                f"not of {' and '.join(stations)}; send a multicast from each"
            )
        return stations[0], [dst for _, dst in ends]

    def _renamed(self, of: Any) -> Any:
        src, dst = self._known_as.get((of.src, of.dst), (of.src, of.dst))
        return of if (src, dst) == (of.src, of.dst) else dataclasses.replace(of, src=src, dst=dst)
