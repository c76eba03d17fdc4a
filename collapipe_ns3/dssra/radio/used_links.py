"""The links that a plan uses, numbered, and what is sent on them.

Arrays over links are (P, L): a row for each cluster, its sidelinks first, then unused columns up to
the number of the cluster with the most, and last the uplink and the downlink.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from collapipe_ns3.dssra.objective import Objective, State
from collapipe_ns3.dssra.radio.interior import DOWNLINK, UPLINK
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.energy import airtime_price, overhearing_price
from collapipe_ns3.prediction.radio_setting import RadioSetting, SecondsPerByte
from collapipe_ns3.prediction.segments import Segments


@dataclass(frozen=True)
class EnergyPrices:
    """What a second per byte on each link costs by the energy that is used, (P, L).

    `total` is at the present powers. `per_watt` is what each watt adds that the sender radiates;
    the static part of sending is in the total only.
    """

    total: Array
    per_watt: Array


class ClusterLinks:
    """The sidelinks of one cluster's segments, each numbered once, and what runs over them.

    `forward` and `backward` are the links of the hops in order, `out` and `back` the links between
    the control unit and each device.
    """

    def __init__(self, segments: Segments, cluster: int) -> None:
        size = int((segments.counts[cluster] > 0).sum())
        self.order = [int(node) for node in segments.order[cluster, :size]]
        self.blocks = [int(count) for count in segments.counts[cluster, :size]]
        self._numbers: dict[tuple[int, int], int] = {}
        self.hops = list(pairwise([0, *self.order, 0]))
        self.forward = [self._number(a, b) for a, b in self.hops]
        self.backward = [self._number(b, a) for a, b in self.hops]
        self.out = [self._number(0, node) for node in self.order]
        self.back = [self._number(node, 0) for node in self.order]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Sender and receiver of each link, by its number."""
        return list(self._numbers)

    def _number(self, src: int, dst: int) -> int:
        return self._numbers.setdefault((src, dst), len(self._numbers))


class UsedLinks:
    """The links that the segments of a plan use, under its radio setting.

    `src` and `dst` (P, L) are the nodes that sidelinks connect. `used` marks the columns that hold
    a sidelink: not the unused ones, nor the last two, which are uplink and downlink.
    """

    def __init__(self, objective: Objective, state: State) -> None:
        self.objective, self.radio, self.segments = objective, state.radio, state.segments
        self.fleet, self.work = objective.fleet, objective.work
        self.clusters = [ClusterLinks(state.segments, n) for n in range(self.fleet.clusters)]
        self.count = max(len(cluster.pairs) for cluster in self.clusters) + 2
        shape = (self.fleet.clusters, self.count)
        self.src, self.dst = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
        self.used = np.zeros(shape, dtype=bool)
        for n, cluster in enumerate(self.clusters):
            count = len(cluster.pairs)
            self.src[n, :count], self.dst[n, :count] = zip(*cluster.pairs, strict=True)
            self.used[n, :count] = True
        self.rows = np.arange(self.fleet.clusters)[:, None]

    def joined(self, sidelink: Array, uplink: Array, downlink: Array) -> Array:
        """Values of all links (P, L), from those of each direction as `PerDirection` has them."""
        return self.with_edge(self.of_sidelinks(sidelink), uplink, downlink)

    def with_edge(self, sidelinks: Array, uplink: Array, downlink: Array) -> Array:
        """Values of all links (P, L), with those of uplinks and downlinks (P,) replaced."""
        found = sidelinks.copy()
        found[:, UPLINK], found[:, DOWNLINK] = uplink, downlink
        return found

    def of_sidelinks(self, matrix: Array) -> Array:
        """Values (P, L) of the used sidelinks, from those of all (P, n, n)."""
        values: Array = matrix[self.rows, self.src, self.dst]
        return values

    def of_senders(self, values: Array) -> Array:
        """Values (P, L) of the links' senders, from those of all nodes (P, n)."""
        found: Array = values[self.rows, self.src]
        return found

    def power_w(self) -> Array:
        """The power of every link."""
        radio = self.radio
        return self.joined(radio.sidelink.power_w, radio.uplink.power_w, radio.downlink.power_w)

    def bandwidth_hz(self) -> Array:
        """The bandwidth of every link."""
        radio = self.radio
        return self.joined(
            radio.sidelink.bandwidth_hz, radio.uplink.bandwidth_hz, radio.downlink.bandwidth_hz
        )

    def efficiency(self) -> Array:
        """η of every link."""
        links = self.fleet.links
        return self.joined(
            links.sidelink.efficiency, links.uplink.efficiency, links.downlink.efficiency
        )

    def seconds_per_byte(self) -> Array:
        """y of every link; zero in unused columns."""
        per_byte = SecondsPerByte.of(self.fleet, self.radio)
        inside = np.where(self.used, self.of_sidelinks(per_byte.sidelink), 0.0)
        return self.with_edge(inside, per_byte.uplink, per_byte.downlink)

    def energy_prices(self) -> EnergyPrices:
        """What a second per byte on each link costs at the objective's prices of energy."""
        fleet, work, radio, energy = self.fleet, self.work, self.radio, self.objective.energy_prices
        uplink, downlink = fleet.links.uplink, fleet.links.downlink
        air = self._bytes() * self.of_sidelinks(fleet.links.sidelink.duty)
        sent = energy * fleet.tx_ratio
        static, watt = (
            air * self.of_senders(sent * w) for w in (fleet.tx_static_w, fleet.tx_per_w)
        )
        others = airtime_price(
            fleet, energy, overhearing_price(fleet, energy), radio.sidelink.power_w
        )
        total = watt * self.of_sidelinks(radio.sidelink.power_w) + air * self.of_sidelinks(others)
        total = total + static
        sequences = work.local_steps * work.batch_size
        stream = sequences * (work.activation_bytes + work.labels_bytes)
        bulk = work.upload_bytes * uplink.bulk * uplink.crowded_airtime
        up = (stream + bulk) * uplink.duty
        bulk = work.upload_bytes * downlink.bulk * downlink.crowded_airtime
        down = (sequences * work.edge_gradient_bytes + bulk) * downlink.duty
        received = energy[:, 0] * fleet.rx_power_w[:, 0]
        watt[:, UPLINK], watt[:, DOWNLINK] = up * sent[:, 0] * fleet.tx_per_w[:, 0], 0.0
        power_w = fleet.tx_static_w[:, 0] + fleet.tx_per_w[:, 0] * radio.uplink.power_w
        total[:, UPLINK] = up * sent[:, 0] * power_w + up * uplink.replies * received
        total[:, DOWNLINK] = down * (received + downlink.replies * sent[:, 0] * power_w)
        return EnergyPrices(total, watt)

    def _bytes(self) -> Array:
        """The bytes that each sidelink carries in a round, parameters as bulk, (P, L)."""
        work = self.work
        carried = np.zeros(self.src.shape)
        activations = float(work.local_steps * work.batch_size * work.activation_bytes)
        gradients = float(work.local_steps * work.batch_size * work.gradient_bytes)
        for n, cluster in enumerate(self.clusters):
            block = work.block_bytes * float(self.fleet.links.sidelink.bulk[n])
            for link in cluster.forward:
                carried[n, link] += activations
            for link in cluster.backward:
                carried[n, link] += gradients
            for star in (cluster.out, cluster.back):
                for link, blocks in zip(star, cluster.blocks, strict=True):
                    carried[n, link] += blocks * block
        return carried

    def with_bandwidths(self, hz: Array) -> RadioSetting:
        """The radio setting with these bandwidths (P, L) where links have grants.

        Sidelinks that are not used get none.
        """
        radio, links = self.radio, self.fleet.links
        if links.sidelink.grants:
            granted = np.zeros_like(radio.sidelink.bandwidth_hz)
            granted[self.rows, self.src, self.dst] = np.where(self.used, hz, 0.0)
            granted[:, 0, 0] = 0.0
            radio = radio.with_bandwidth_hz(sidelink=granted)
        if links.uplink.grants:
            radio = radio.with_bandwidth_hz(uplink=hz[:, UPLINK])
        if links.downlink.grants:
            downlink_w = self.fleet.server.max_power_w * hz[:, DOWNLINK] / links.downlink.band_hz
            radio = radio.with_bandwidth_hz(downlink=hz[:, DOWNLINK])
            radio = radio.with_power_w(downlink=downlink_w)
        return radio

    def with_powers(self, watts: Array) -> RadioSetting:
        """The radio setting with these powers (P, L).

        Without grants a sender's power holds for all its sidelinks.
        """
        sidelink_w = self.radio.sidelink.power_w.copy()
        rows = np.broadcast_to(self.rows, self.src.shape)[self.used]
        src, dst = self.src[self.used], self.dst[self.used]
        if self.fleet.links.sidelink.grants:
            sidelink_w[rows, src, dst] = watts[self.used]
        else:
            sidelink_w[rows, src] = watts[self.used][:, None]
        return self.radio.with_power_w(sidelink=sidelink_w, uplink=watts[:, UPLINK])
