"""All that a plan depends on, as arrays: processors, memory, links as measured.

There are P clusters. The nodes of a cluster are 0, its control unit, and 1 … K, its devices.
Smaller clusters are filled up with devices that have no memory. A cluster without devices sits out
and has no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from collapipe_ns3.costs.power import NodePower
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Observation
from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.directions import PerDirection, Places
from collapipe_ns3.prediction.divergence import wire_epsilon
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.links import Links
from collapipe_ns3.prediction.measured_links import LinkReader


@dataclass(frozen=True)
class _NodeTable:
    """Puts figures of nodes into arrays of a shape, each node in its place."""

    places: Places
    shape: tuple[int, int]

    def column(self, values: Mapping[str, float], fill: float) -> Array:
        """An array of one figure, `fill` where there is no node."""
        found = np.full(self.shape, fill)
        for name, at in self.places.items():
            found[at] = values[name]
        return found


@dataclass(frozen=True, slots=True)
class EdgeServer:
    """The base station and its edge server: processor and radio, as `Fleet` has those of nodes."""

    flops_per_s: float
    overhead_s: float
    max_power_w: float
    power: NodePower
    rx_power_w: float
    tx_ratio: float

    def sending_w(self, radiated_w: float) -> float:
        """What it takes above idle while it radiates so many watts."""
        return self.power.tx_static_w + self.power.tx_per_w * radiated_w


@dataclass(frozen=True)
class Fleet:
    """Processors, memory and links of all clusters; arrays are (P, n), by cluster and node.

    `size` (P,) is the number of real devices, `share` (P,) the clusters' parts of the data,
    `medium` (P,) numbers the medium of a cluster's sidelinks. `fair_bytes` (P,) bounds the memory
    that training takes of a device on batches of usual length, and `fair_longest_bytes` (P,) on
    batches of the greatest length, both without what formats of the exchange need. `overhears`
    marks nodes that receive whatever is sent on their cluster's medium. `tx_ratio` and
    `rx_power_w`, and those of the base station, are as found in earlier rounds
    (`Knowledge.spending`).

    `idle_w` is what nodes take whenever they are up; `computing_w`, `rx_power_w`, and what sending
    takes, `tx_static_w` and `tx_per_w` for each radiated watt, are on top of that
    (`collapipe_ns3.costs.power`).
    """

    size: Ints
    share: Array
    flops_per_s: Array
    overhead_s: Array
    memory_bytes: Array
    idle_w: Array
    computing_w: Array
    rx_power_w: Array
    tx_static_w: Array
    tx_per_w: Array
    tx_ratio: Array
    overhears: Mask
    max_power_w: Array
    links: PerDirection[Links]
    medium: Ints
    fair_bytes: Array
    fair_longest_bytes: Array
    server: EdgeServer

    def opened(self, *, sidelink: bool, edge: bool) -> Fleet:
        """The fleet without grants on its sidelinks, or on its links to and from the base station.

        These links then take turns at their whole band (`Links.opened`).
        """
        links = self.links
        opened = PerDirection(
            links.sidelink.opened() if sidelink else links.sidelink,
            links.uplink.opened() if edge else links.uplink,
            links.downlink.opened() if edge else links.downlink,
        )
        return replace(self, links=opened)

    @property
    def clusters(self) -> int:
        return len(self.size)

    @property
    def nodes(self) -> int:
        """Nodes of the largest cluster: its control unit and devices."""
        return int(self.flops_per_s.shape[1])

    def sending_w(self, radiated_w: Array) -> Array:
        """What each node's links (P, n, n) take above idle while they radiate so many watts."""
        drawn: Array = self.tx_static_w[:, :, None] + self.tx_per_w[:, :, None] * radiated_w
        return drawn

    def on_air(self, seconds: Array) -> Array:
        """Sums (P,) over all clusters on each one's medium."""
        same = self.medium[:, None] == self.medium[None, :]
        total: Array = same @ seconds
        return total

    @classmethod
    def of(cls, observation: Observation, knowledge: Knowledge) -> Self:
        """The fleet as observed, corrected by what was learned from earlier rounds."""
        taking_part = participants(observation.devices)
        controls = [control_unit(n) for n in taking_part]
        names = [(control_unit(n), *observation.devices[n]) for n in taking_part]
        places = node_places(observation.devices)
        nodes = _NodeTable(places, (len(names), max(map(len, names))))
        profiles, server = observation.profiles, observation.profiles[SERVER]
        powers = {node: each.power for node, each in profiles.items()}
        spending = {node: knowledge.spending.get(node, (1.0, 1.0)) for node in profiles}
        tx_ratio = {node: sent for node, (sent, _) in spending.items()}
        rx_ratio = {node: received for node, (_, received) in spending.items()}
        speed = {node: knowledge.speeds.get(node, p.flops_per_s) for node, p in profiles.items()}
        power = nodes.column({n: p.max_tx_power_w for n, p in profiles.items()}, 1.0)
        epsilon = wire_epsilon(observation.wire, observation.model.width)
        reader = LinkReader(observation, knowledge, places, epsilon)
        medium_names = [reader.medium_of(row[0], row[1]) for row in names]
        numbers = {name: at for at, name in enumerate(dict.fromkeys(medium_names))}
        return cls(
            size=np.array([len(row) - 1 for row in names]),
            share=_shares(observation, taking_part),
            flops_per_s=nodes.column(speed, 1.0),
            overhead_s=nodes.column({n: p.overhead_s for n, p in profiles.items()}, 0.0),
            memory_bytes=nodes.column({n: float(p.memory_bytes) for n, p in profiles.items()}, 0.0),
            idle_w=nodes.column({n: p.idle_w for n, p in powers.items()}, 0.0),
            computing_w=nodes.column({n: p.computing_w for n, p in powers.items()}, 0.0),
            rx_power_w=nodes.column({n: p.rx_w * rx_ratio[n] for n, p in powers.items()}, 0.0),
            tx_static_w=nodes.column({n: p.tx_static_w for n, p in powers.items()}, 0.0),
            tx_per_w=nodes.column({n: p.tx_per_w for n, p in powers.items()}, 1.0),
            tx_ratio=nodes.column(tx_ratio, 1.0),
            overhears=reader.overhears(names, nodes.shape),
            max_power_w=power,
            links=PerDirection(
                sidelink=reader.sidelinks(names, power),
                uplink=reader.uplinks(controls, power[:, 0]),
                downlink=reader.downlinks(controls, server.max_tx_power_w),
            ),
            medium=np.array([numbers[name] for name in medium_names]),
            fair_bytes=np.full(len(names), np.inf),
            fair_longest_bytes=np.full(len(names), np.inf),
            server=EdgeServer(
                flops_per_s=speed[SERVER],
                overhead_s=server.overhead_s,
                max_power_w=server.max_tx_power_w,
                power=powers[SERVER],
                rx_power_w=powers[SERVER].rx_w * rx_ratio[SERVER],
                tx_ratio=tx_ratio[SERVER],
            ),
        )

    def take(self, rows: Ints) -> Fleet:
        """The fleet of the clusters with these row numbers, which may repeat."""
        return replace(
            self,
            size=self.size[rows],
            share=self.share[rows],
            flops_per_s=self.flops_per_s[rows],
            overhead_s=self.overhead_s[rows],
            memory_bytes=self.memory_bytes[rows],
            idle_w=self.idle_w[rows],
            computing_w=self.computing_w[rows],
            rx_power_w=self.rx_power_w[rows],
            tx_static_w=self.tx_static_w[rows],
            tx_per_w=self.tx_per_w[rows],
            tx_ratio=self.tx_ratio[rows],
            overhears=self.overhears[rows],
            max_power_w=self.max_power_w[rows],
            medium=self.medium[rows],
            fair_bytes=self.fair_bytes[rows],
            fair_longest_bytes=self.fair_longest_bytes[rows],
            links=self.links.map(lambda links: links.take(rows)),
        )

    def pick(self, nodes: Ints) -> Fleet:
        """The fleet of only these nodes of each cluster; `nodes` (P, n) are their numbers."""
        rows = np.arange(self.clusters)[:, None]
        return replace(
            self,
            flops_per_s=self.flops_per_s[rows, nodes],
            overhead_s=self.overhead_s[rows, nodes],
            memory_bytes=self.memory_bytes[rows, nodes],
            idle_w=self.idle_w[rows, nodes],
            computing_w=self.computing_w[rows, nodes],
            rx_power_w=self.rx_power_w[rows, nodes],
            tx_static_w=self.tx_static_w[rows, nodes],
            tx_per_w=self.tx_per_w[rows, nodes],
            tx_ratio=self.tx_ratio[rows, nodes],
            overhears=self.overhears[rows, nodes],
            max_power_w=self.max_power_w[rows, nodes],
            links=replace(self.links, sidelink=self.links.sidelink.pick(nodes)),
        )


def participants(devices: Sequence[Sequence[str]]) -> list[int]:
    """The numbers of the clusters that have devices to take part, in the order of their rows."""
    return [number for number, names in enumerate(devices) if names]


def node_places(devices: Sequence[Sequence[str]]) -> dict[str, tuple[int, int]]:
    """Row and number of every control unit and device of the clusters that take part.

    A cluster's control unit has the number 0, its devices 1 … K.
    """
    return {
        name: (row, number)
        for row, cluster in enumerate(participants(devices))
        for number, name in enumerate([control_unit(cluster), *devices[cluster]])
    }


def _shares(observation: Observation, taking_part: Sequence[int]) -> Array:
    """Each cluster's share of the data of all clusters that take part."""
    count = len(observation.devices)
    shares = np.array(observation.shares or [1 / count] * count)
    part = shares[list(taking_part)]
    return part if len(part) == count else part / part.sum()
