"""What every node held and spent in a round."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from bridge.loop import simulated_loop
from collapipe_ns3.costs.power import radio_joules
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.stage_worker import StageWorker
from collapipe_ns3.nodes import Role, cluster_of, role
from collapipe_ns3.outcome import DeviceUse


@dataclass(frozen=True, slots=True)
class RoundStart:
    """A site's counters at the beginning of a round, which may be before its plan was made.

    `radio_j` are the joules above idle that each node's radios had spent on sending and receiving.
    """

    start_ns: int
    computations: int
    deliveries: int
    radio_j: Mapping[str, tuple[float, float]]

    @classmethod
    def now(cls, site: Site) -> Self:
        """The site's present counters; called in the simulated loop."""
        return cls(
            simulated_loop().now_ns(),
            len(site.computations),
            len(site.network.deliveries),
            _radio_j(site),
        )

    def radio_since_j(self, site: Site) -> dict[str, tuple[float, float]]:
        """The joules that each node's radios have spent since, on sending and on receiving."""
        none = (0.0, 0.0)
        return {
            node: (sent - self.radio_j.get(node, none)[0], heard - self.radio_j.get(node, none)[1])
            for node, (sent, heard) in _radio_j(site).items()
        }


def _radio_j(site: Site) -> dict[str, tuple[float, float]]:
    return radio_joules(site.network.usage(), site.profiles)


def _idle_j(site: Site, node: str, since_ns: int) -> float:
    """What a node has taken at idle since an instant.

    The server of base stations whose radios are off computes on.
    """
    power, presence = site.profiles[node].power, site.presence
    if role(node) is not Role.BASE_STATION:
        return power.idle_w * presence.up_s(node, since_ns)
    lasting_s = (simulated_loop().now_ns() - since_ns) / 1e9
    stations = [name for name in presence.faults.up if role(name) is Role.BASE_STATION]
    off_s = math.fsum(lasting_s - presence.up_s(name, since_ns) for name in stations)
    return power.idle_w * lasting_s - power.radio_rest_w * off_s


def device_uses(
    site: Site,
    lines: Iterable[Sequence[Sequence[StageWorker]]],
    start: RoundStart,
    kept_bytes: Mapping[str, int],
) -> list[DeviceUse]:
    """A row for every node since the round's start, the base station last.

    `lines` are the stages of each pipeline: those with which it began, and those after each loss of
    a device, of which a node has one set at a time. `kept_bytes` is what nodes keep besides them
    for the formats of the exchange and for the recovery. A node without a stage may have relayed
    transfers or been sounded, which takes energy too, and every node takes its idle power while it
    is there.
    """
    blocks, peak_bytes = Counter[str](), Counter[str](kept_bytes)
    for own in lines:
        last, most = dict[str, int](), Counter[str]()
        for line in own:
            held: dict[str, list[StageWorker]] = {}
            for worker in line:
                held.setdefault(worker.node, []).append(worker)
            for node, stages in held.items():
                last[node] = sum(worker.blocks for worker in stages)
                most[node] = max(most[node], sum(worker.memory_bytes() for worker in stages))
        blocks.update(last)
        peak_bytes.update(most)
    radio_j = start.radio_since_j(site)
    lasting_s = (simulated_loop().now_ns() - start.start_ns) / 1e9
    busy: dict[str, list[float]] = {}
    for done in site.computations[start.computations :]:
        busy.setdefault(done.node, []).append((done.end_ns - done.start_ns) / 1e9)
    rows = [
        DeviceUse(
            device=node,
            cluster=cluster_of(node),
            blocks=blocks[node],
            peak_memory_bytes=peak_bytes[node],
            compute_energy_j=site.profiles[node].power.computing_w * math.fsum(busy.get(node, [])),
            tx_energy_j=radio_j.get(node, (0.0, 0.0))[0],
            rx_energy_j=radio_j.get(node, (0.0, 0.0))[1],
            idle_energy_j=_idle_j(site, node, start.start_ns),
            away_s=lasting_s - site.presence.up_s(node, start.start_ns),
        )
        for node in site.profiles
    ]
    return sorted(rows, key=lambda row: (row.role is Role.BASE_STATION, row.cluster, row.device))
