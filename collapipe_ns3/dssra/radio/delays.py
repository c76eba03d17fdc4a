"""How a cluster's time follows from the time that a byte takes on each of its links.

It is a sum and several maxima, all linear in y, the seconds per byte of the links:

  Σ_ℓ fill_ℓ·y_ℓ + Σ_g beat_g · max over the rows r of g of (least_r + Σ_ℓ R_rℓ·y_ℓ)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from collapipe_ns3.dssra.radio.used_links import UsedLinks
from collapipe_ns3.prediction.arrays import Array, Mask
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.stage_times import backward_s, forward_s
from collapipe_ns3.schedule import one_f_one_b_window

#: Links by number, and the bytes that each carries in a sum of delays.
LinkBytes = list[tuple[int, float]]


class Group(IntEnum):
    """The maxima of a cluster's time."""

    FORWARD = 0  # The beat of the forward pass, or of both passes under 1F1B.
    BACKWARD = 1  # The beat of the backward pass under GPipe.
    OUT = 2  # The last device to get its segment.
    BACK = 3  # The last device to send its segment back.


@dataclass(frozen=True)
class Delays:
    """See the module: P clusters of L links, with G groups and r rows.

    `group` (P, r, G) marks which group a row belongs to.
    """

    fill: Array  # (P, L)
    beat: Array  # (P, G)
    rows: Array  # (P, r, L): R
    least: Array  # (P, r)
    group: Mask  # (P, r, G)

    def highest(self, values: Array) -> Array:
        """The highest of the rows' values (P, r) in every group, (P, G)."""
        highest: Array = np.where(self.group, values[..., None], -np.inf).max(1)
        return highest

    def values(self, per_byte: Array) -> Array:
        """The values of the rows (P, r), where links take so many seconds per byte (P, L)."""
        values: Array = self.least + (self.rows * per_byte[:, None]).sum(-1)
        return values


def delays(links: UsedLinks, loads: Loads) -> Delays:
    """The delays of the clusters. `loads` are those of shared resources, by all clusters."""
    m = links.segments.micro_batches.astype(float)
    beats = np.maximum(m - 1, 0.0) * links.work.local_steps
    # A group that costs nothing has a single row of zero, and may have any price.
    prices = np.where(beats > 0, beats, 1.0)
    ones = np.ones_like(prices)
    terms = _Terms(links, loads)
    rows = [terms.rows(n, bool(beats[n] > 0)) for n in range(len(links.clusters))]
    return _as_arrays(rows, terms.fill(), np.stack([prices, prices, ones, ones], -1))


@dataclass(frozen=True)
class _Row:
    """One of the values of which a group takes the highest."""

    group: Group
    least: float
    terms: LinkBytes


def _as_arrays(rows: list[list[_Row]], fill: Array, beat: Array) -> Delays:
    """Rows by cluster as arrays. Clusters with fewer rows repeat their last."""
    shape = (len(rows), max(map(len, rows)))
    weights = np.zeros((*shape, fill.shape[-1]))
    least = np.zeros(shape)
    group = np.zeros((*shape, len(Group)), dtype=bool)
    for n, of_cluster in enumerate(rows):
        for r in range(shape[1]):
            row = of_cluster[min(r, len(of_cluster) - 1)]
            least[n, r], group[n, r, row.group] = row.least, True
            for link, weight in row.terms:
                weights[n, r, link] += weight
    return Delays(fill, beat, weights, least, group)


class _Terms:
    """What each link adds to the sum and to the maxima of a cluster's time."""

    def __init__(self, links: UsedLinks, loads: Loads) -> None:
        self.links, self.work, self.floor = links, links.work, loads.floor()
        self.sidelink = links.fleet.links.sidelink
        sequences = links.work.batch_size / links.segments.micro_batches.astype(float)
        self.activation_bytes = sequences * links.work.activation_bytes
        self.gradient_bytes = sequences * links.work.gradient_bytes
        self.edge_gradient_bytes = sequences * links.work.edge_gradient_bytes
        self.forward_s = forward_s(links.fleet, links.work, links.segments, sequences)
        self.backward_s = backward_s(links.fleet, links.work, links.segments, sequences)

    def fill(self) -> Array:
        """The bytes that each link carries one after another, (P, L)."""
        work, fleet_links = self.work, self.links.fleet.links
        fill = np.zeros(self.links.src.shape)
        for n, cluster in enumerate(self.links.clusters):
            for link in cluster.forward:
                fill[n, link] += work.local_steps * self.activation_bytes[n]
            for link in cluster.backward:
                fill[n, link] += work.local_steps * self.gradient_bytes[n]
        upload = work.upload_bytes
        up = work.local_steps * self.activation_bytes + upload * fleet_links.uplink.bulk
        down = work.local_steps * self.edge_gradient_bytes + upload * fleet_links.downlink.bulk
        fill = self.links.with_edge(fill, up, down)
        if self.sidelink.shared:
            for n, cluster in enumerate(self.links.clusters):
                for star in (cluster.out, cluster.back):
                    for link, blocks in zip(star, cluster.blocks, strict=True):
                        block = blocks * work.block_bytes
                        fill[n, link] += block * self.sidelink.bulk[n]
        return fill

    def rows(self, n: int, has_beats: bool) -> list[_Row]:
        """The rows of a cluster's maxima; those of groups without any are zero.

        `has_beats` is false where beats cost nothing, with a single micro-batch.
        """
        found: list[_Row] = []
        if has_beats:
            one_f = self.links.segments.one_f[n]
            found += self._one_f_one_b(n) if one_f else self._gpipe(n)
        if not self.sidelink.shared:
            found += self._star(n)
        present = {row.group for row in found}
        return found + [_Row(group, 0.0, []) for group in Group if group not in present]

    def _gpipe(self, n: int) -> list[_Row]:
        forward, backward, up, down = self._hops(n)
        floor = self._floor(n)
        least = float(max(self.forward_s[n].max(), floor[0]))
        least_back = float(max(self.backward_s[n].max(), floor[1]))
        return [
            *(_Row(Group.FORWARD, 0.0, terms) for terms in [*self._resources(forward), up]),
            *(_Row(Group.BACKWARD, 0.0, terms) for terms in [*self._resources(backward), down]),
            _Row(Group.FORWARD, least, []),
            _Row(Group.BACKWARD, least_back, []),
        ]

    def _one_f_one_b(self, n: int) -> list[_Row]:
        forward, backward, up, down = self._hops(n)
        least = float(max((self.forward_s[n] + self.backward_s[n]).max(), self._floor(n).sum()))
        resources = self._resources(forward, backward)
        return [
            *(_Row(Group.FORWARD, 0.0, terms) for terms in [*resources, up, down]),
            _Row(Group.FORWARD, least, []),
            *self._windows(n),
        ]

    def _floor(self, n: int) -> Array:
        """The least beats that the loads of all clusters allow, forward and backward, (2,)."""
        floor: Array = self.floor[:, n] / int(self.links.segments.micro_batches[n])
        return floor

    def _hops(self, n: int) -> tuple[LinkBytes, LinkBytes, LinkBytes, LinkBytes]:
        """What a micro-batch sends: by hop forward and backward, on the uplink, the downlink."""
        cluster, last = self.links.clusters[n], self.links.count
        there, back = float(self.activation_bytes[n]), float(self.gradient_bytes[n])
        forward = [(link, there) for link in cluster.forward]
        backward = [(link, back) for link in cluster.backward]
        down = float(self.edge_gradient_bytes[n])
        return forward, backward, [(last - 2, there)], [(last - 1, down)]

    def _resources(self, *passes: LinkBytes) -> list[LinkBytes]:
        """What each resource inside the cluster carries for one micro-batch.

        A resource is the shared medium, the radio of a node if radios are half-duplex, or a link.
        """
        if self.sidelink.shared:
            return [[term for hops in passes for term in hops]]
        if self.sidelink.half_duplex:
            count = len(passes[0])
            nodes = [(count - 1, 0), *((i, i + 1) for i in range(count - 1))]
            return [[hops[i] for hops in passes for i in pair] for pair in nodes]
        return [[term] for hops in passes for term in hops]

    def _windows(self, n: int) -> list[_Row]:
        """1F1B's windows: the round trip from each stage over how many may be in flight there."""
        forward, backward, up, down = self._hops(n)
        computing = self.forward_s[n] + self.backward_s[n]
        ends_s = (self.forward_s[n][-1], self.backward_s[n][-1])
        edge_s = self._edge_latency_s(n)
        latency = self.sidelink.latency[n]
        hops = self.links.clusters[n].hops
        size = len(hops) - 1
        found = []
        for stage in range(size + 1):
            window = one_f_one_b_window(size + 2, stage)
            computed_s = computing[stage : size + 1].sum() + ends_s[0] + ends_s[1]
            waits_s = sum(latency[a, b] + latency[b, a] for a, b in hops[stage:]) + edge_s
            terms = [*forward[stage:], *backward[stage:], *up, *down]
            scaled = [(link, weight / window) for link, weight in terms]
            found.append(_Row(Group.FORWARD, float(computed_s + waits_s) / window, scaled))
        return found

    def _edge_latency_s(self, n: int) -> float:
        links = self.links.fleet.links
        return float(links.uplink.latency[n] + links.downlink.latency[n])

    def _star(self, n: int) -> list[_Row]:
        """When each device has its segment, and when the control unit has it back."""
        cluster = self.links.clusters[n]
        latency = self.sidelink.latency[n]
        size = self.work.block_bytes * float(self.sidelink.bulk[n])
        out = zip(cluster.out, cluster.order, cluster.blocks, strict=True)
        back = zip(cluster.back, cluster.order, cluster.blocks, strict=True)
        return [
            *(
                _Row(Group.OUT, float(latency[0, node]), [(link, float(blocks * size))])
                for link, node, blocks in out
            ),
            *(
                _Row(Group.BACK, float(latency[node, 0]), [(link, float(blocks * size))])
                for link, node, blocks in back
            ),
        ]
