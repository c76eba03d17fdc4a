"""What the links of a plan are used for, as the program that divides their bands."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.radio.interior import Program
from collapipe_ns3.prediction.arrays import Array, Mask
from collapipe_ns3.prediction.energy import heard, listening
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import RadioSetting, SecondsPerByte
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.stage_times import backward_s, forward_s
from collapipe_ns3.schedule import one_f_one_b_window

#: Links by number, and what a second a byte on each adds to a sum.
Terms = list[tuple[int, float]]

#: A row of a maximum: its group, its constant, its terms.
Row = tuple[int, float, Terms]


@dataclass(frozen=True)
class Delays:
    """How a cluster's time follows from the time of a byte on each of its links.

    Σ fill·y + Σ_g beat_g·max over the rows of g of (least + Σ R·y); `interior` has the shapes.
    """

    fill: Array
    beat: Array
    rows: Array
    least: Array
    group: Mask

    def theta(self, held: Array) -> Array:
        """The highest of the rows' values (P, r) in every group, (P, G)."""
        highest: Array = np.where(self.group, held[..., None], -np.inf).max(1)
        return highest


class Layout:
    """Numbers the links that each cluster's segments use, and says what they are used for."""

    def __init__(
        self, fleet: Fleet, work: Workload, radio: RadioSetting, segments: Segments, loads: Loads
    ) -> None:
        self.fleet, self.work, self.given, self.segments = fleet, work, radio, segments
        self.loads = loads
        self.pace = SecondsPerByte.of(fleet, radio)
        self.clusters = [_Cluster(segments, n) for n in range(fleet.clusters)]
        self.links = max(len(cluster.pairs) for cluster in self.clusters) + 2
        shape = (fleet.clusters, self.links)
        self.src, self.dst = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
        self.used = np.zeros(shape, dtype=bool)
        for n, cluster in enumerate(self.clusters):
            count = len(cluster.pairs)
            self.src[n, :count], self.dst[n, :count] = zip(*cluster.pairs, strict=True)
            self.used[n, :count] = True
        self.rows_at = np.arange(fleet.clusters)[:, None]

    def joined(self, sidelink: Array, uplink: Array, downlink: Array) -> Array:
        """Values of all links (P, L), from those of each direction as `PerDirection` has them."""
        return self.with_edge(self.inside(sidelink), uplink, downlink)

    def with_edge(self, inside: Array, uplink: Array, downlink: Array) -> Array:
        """Values of all links (P, L), from those inside the clusters (P, L), up and down (P,)."""
        found = inside.copy()
        found[:, -2], found[:, -1] = uplink, downlink
        return found

    def inside(self, matrix: Array) -> Array:
        """Values (P, L) of the links inside the clusters, from those of all sidelinks."""
        values: Array = matrix[self.rows_at, self.src, self.dst]
        return values

    def program(self, energy_price: Array, time_price: float, times: Array) -> Program:
        fleet, radio = self.fleet, self.given
        d2d, up, down = fleet.links.sidelink, fleet.links.uplink, fleet.links.downlink
        capacity = self.joined(
            radio.sidelink.power_w * d2d.snr,
            radio.uplink.power_w * up.snr,
            fleet.server_power_w * down.snr,
        )
        rate = self.joined(d2d.efficiency, up.efficiency, down.efficiency)
        # The base station spreads its power over its whole band.
        band_down = np.where(np.isfinite(down.band_hz), down.band_hz, 1.0)
        rate[:, -1] *= np.log2(1 + fleet.server_power_w * down.snr / band_down)
        flat = np.zeros(rate.shape, dtype=bool)
        flat[:, -1] = True
        free = self.used & d2d.grants
        free[:, -2], free[:, -1] = up.grants, down.grants
        band = self.with_edge(
            np.broadcast_to(d2d.band_hz[:, None], rate.shape), up.band_hz, down.band_hz
        )
        pace = self.seconds_per_byte()
        start = self.joined(
            radio.sidelink.bandwidth_hz, radio.uplink.bandwidth_hz, radio.downlink.bandwidth_hz
        )
        own = self.used & d2d.grants
        delays = self.delays()
        busy = np.where(free, pace, 0.0)
        # What is fixed in this program is part of its constants.
        stuck = np.where(free, 0.0, pace)
        least = delays.least + (delays.rows * stuck[:, None]).sum(-1)
        theta = delays.theta((delays.rows * busy[:, None]).sum(-1) + least)
        modelled = (delays.fill * busy).sum(-1) + (delays.beat * theta).sum(-1)
        seconds, _ = self.prices(energy_price)
        return Program(
            capacity=capacity,
            rate=rate,
            flat=flat,
            free=free,
            band=np.where(free, band, 1.0),
            own=own,
            start=np.where(free, start, 1.0),
            fixed=times - modelled,
            fill=delays.fill,
            beat=delays.beat,
            rows=delays.rows,
            least=least,
            group=delays.group,
            price=time_price,
            energy=seconds,
        )

    def seconds_per_byte(self) -> Array:
        """y of every link that there is, zero behind them."""
        inside = np.where(self.used, self.inside(self.pace.sidelink), 0.0)
        return self.with_edge(inside, self.pace.uplink, self.pace.downlink)

    def delays(self) -> Delays:
        """What each link adds to its cluster's time."""
        m = self.segments.micro_batches.astype(float)
        beats = np.maximum(m - 1, 0.0) * self.work.local_steps
        # What costs nothing is left without rows, and its least of 0 may cost anything.
        one = np.where(beats > 0, beats, 1.0)
        uses = _Uses(self, self.work.batch_size / m)
        rows, least, group = uses.rows(beats > 0)
        beat = np.stack([one, one, np.ones_like(one), np.ones_like(one)], -1)
        return Delays(uses.fill, beat, rows, least, group)

    def prices(self, energy: Array) -> tuple[Array, Array]:
        """What a second a byte on each link costs as the radio is set, and of that a sent watt."""
        fleet, work, radio = self.fleet, self.work, self.given
        carried = np.zeros(self.src.shape)
        sizes = {
            "F": float(work.local_steps * work.batch_size * work.activation_bytes),
            "B": float(work.local_steps * work.batch_size * work.gradient_bytes),
        }
        for n, cluster in enumerate(self.clusters):
            sizes["W"] = work.block.parameter_bytes * float(fleet.links.sidelink.bulk[n])
            for link, kind, count in cluster.carried:
                carried[n, link] += count * sizes[kind]
        air = carried * self.inside(fleet.links.sidelink.duty)
        sent = energy * fleet.tx_ratio
        watt = air * sent[self.rows_at, self.src]
        others = heard(fleet, energy, listening(fleet, energy), radio.sidelink.power_w)
        total = watt * self.inside(radio.sidelink.power_w) + air * self.inside(others)
        steps = work.local_steps * work.batch_size
        stream = steps * (work.activation_bytes + work.labels_bytes)
        uplink, downlink = fleet.links.uplink, fleet.links.downlink
        bulk = work.upload_bytes * uplink.bulk * uplink.together
        up = (stream + bulk) * uplink.duty
        bulk = work.upload_bytes * downlink.bulk * downlink.together
        down = (steps * work.gradient_bytes + bulk) * downlink.duty
        received = energy[:, 0] * fleet.rx_power_w[:, 0]
        watt[:, -2], watt[:, -1] = up * sent[:, 0], 0.0
        total[:, -2] = watt[:, -2] * radio.uplink.power_w + up * uplink.replies * received
        total[:, -1] = down * (received + downlink.replies * sent[:, 0] * radio.uplink.power_w)
        return total, watt

    def radio(self, hz: Array) -> RadioSetting:
        """The radio as it was, with these bandwidths; links that are not used get none."""
        fleet, given = self.fleet, self.given
        radio, links = given, fleet.links
        if links.sidelink.grants:
            granted = np.zeros_like(given.sidelink.bandwidth_hz)
            granted[self.rows_at, self.src, self.dst] = np.where(self.used, hz, 0.0)
            granted[:, 0, 0] = 0.0
            radio = radio.with_bandwidth_hz(sidelink=granted)
        if links.uplink.grants:
            radio = radio.with_bandwidth_hz(uplink=hz[:, -2])
        if links.downlink.grants:
            downlink_w = fleet.server_power_w * hz[:, -1] / links.downlink.band_hz
            radio = radio.with_bandwidth_hz(downlink=hz[:, -1]).with_power_w(downlink=downlink_w)
        return radio


class _Cluster:
    """The links of one cluster's segments, each once, and what runs over them."""

    def __init__(self, segments: Segments, n: int) -> None:
        size = int((segments.counts[n] > 0).sum())
        order = [int(node) for node in segments.order[n, :size]]
        counts = [int(count) for count in segments.counts[n, :size]]
        line = [0, *order, 0]
        self.pairs: list[tuple[int, int]] = []
        numbers: dict[tuple[int, int], int] = {}

        def link(src: int, dst: int) -> int:
            if (src, dst) not in numbers:
                numbers[src, dst] = len(self.pairs)
                self.pairs.append((src, dst))
            return numbers[src, dst]

        self.forward = [link(a, b) for a, b in pairwise(line)]
        self.backward = [link(b, a) for a, b in pairwise(line)]
        self.out = [(link(0, k), k, blocks) for k, blocks in zip(order, counts, strict=True)]
        self.back = [(link(k, 0), k, blocks) for k, blocks in zip(order, counts, strict=True)]
        self.carried = [(each, "F", 1) for each in self.forward]
        self.carried += [(each, "B", 1) for each in self.backward]
        self.carried += [(each, "W", blocks) for each, _, blocks in [*self.out, *self.back]]


class _Uses:
    """What each link adds to a cluster's time: to its fill, and to the rows of its maxima."""

    def __init__(self, layout: Layout, u: Array) -> None:
        self.layout, self.u = layout, u
        work = layout.work
        self.there, self.home = u * work.activation_bytes, u * work.gradient_bytes
        self.fill = np.zeros(layout.src.shape)
        for n, cluster in enumerate(layout.clusters):
            for link in cluster.forward:
                self.fill[n, link] += work.local_steps * self.there[n]
            for link in cluster.backward:
                self.fill[n, link] += work.local_steps * self.home[n]
        links = layout.fleet.links
        self.fill[:, -2] = work.local_steps * self.there + work.upload_bytes * links.uplink.bulk
        self.fill[:, -1] = work.local_steps * self.home + work.upload_bytes * links.downlink.bulk
        if links.sidelink.shared:
            bulk = links.sidelink.bulk
            for n, cluster in enumerate(layout.clusters):
                for link, _, blocks in [*cluster.out, *cluster.back]:
                    self.fill[n, link] += blocks * work.block.parameter_bytes * bulk[n]

    def rows(self, open_: Mask) -> tuple[Array, Array, Mask]:
        """Rows (P, r, L), constants (P, r) and groups (P, r, 4): beats there and back, star.

        Beats that cost nothing (`open_` (P,) is false) get a row of zero.
        """
        layout = self.layout
        ahead = forward_s(layout.fleet, layout.work, layout.segments, self.u)
        behind = backward_s(layout.fleet, layout.work, layout.segments, self.u)
        lists = [
            self._of(n, cluster, ahead[n], behind[n], bool(open_[n]))
            for n, cluster in enumerate(layout.clusters)
        ]
        most = max(map(len, lists))
        shape = (len(lists), most)
        rows = np.zeros((*shape, layout.links))
        least = np.zeros(shape)
        group = np.zeros((*shape, 4), dtype=bool)
        for n, found in enumerate(lists):
            for r in range(most):
                # Clusters with fewer repeat their last.
                which, constant, terms = found[min(r, len(found) - 1)]
                least[n, r], group[n, r, which] = constant, True
                for link, weight in terms:
                    rows[n, r, link] += weight
        return rows, least, group

    def _of(self, n: int, cluster: _Cluster, ahead: Array, behind: Array, open_: bool) -> list[Row]:
        """(group, constant, terms) of one cluster's rows."""
        layout = self.layout
        fleet, m = layout.fleet, int(layout.segments.micro_batches[n])
        asked = layout.loads.floor()[:, n] / m
        there, home = float(self.there[n]), float(self.home[n])
        forward = [(link, there) for link in cluster.forward]
        backward = [(link, home) for link in cluster.backward]
        up, down = [(layout.links - 2, there)], [(layout.links - 1, home)]
        found: list[Row] = []
        if layout.segments.one_f[n] and open_:
            both = float(max((ahead + behind).max(), asked.sum()))
            hops = self._beats(forward, backward)
            found += [(0, 0.0, terms) for terms in [*hops, up, down]]
            found.append((0, both, []))
            found += self._windows(n, forward, backward, ahead, behind)
        elif open_:
            found += [(0, 0.0, terms) for terms in [*self._beats(forward), up]]
            found += [(1, 0.0, terms) for terms in [*self._beats(backward), down]]
            found.append((0, float(max(ahead.max(), asked[0])), []))
            found.append((1, float(max(behind.max(), asked[1])), []))
        size = layout.work.block.parameter_bytes * float(fleet.links.sidelink.bulk[n])
        for g, star in ((2, cluster.out), (3, cluster.back)):
            for link, node, blocks in [] if fleet.links.sidelink.shared else star:
                src, dst = (0, node) if g == 2 else (node, 0)
                latency = float(fleet.links.sidelink.latency[n, src, dst])
                found.append((g, latency, [(link, float(blocks * size))]))
        present = {which for which, _, _ in found}
        return found + [(g, 0.0, []) for g in range(4) if g not in present]

    def _beats(self, *ways: Terms) -> list[Terms]:
        """What each resource inside the cluster does for one micro-batch."""
        d2d = self.layout.fleet.links.sidelink
        if d2d.shared:
            return [[term for way in ways for term in way]]
        if d2d.half_duplex:
            count = len(ways[0])
            nodes = [(count - 1, 0), *((i, i + 1) for i in range(count - 1))]
            return [[way[i] for way in ways for i in pair] for pair in nodes]
        return [[term] for way in ways for term in way]

    def _windows(
        self,
        n: int,
        forward: Terms,
        backward: Terms,
        ahead: Array,
        behind: Array,
    ) -> list[Row]:
        """1F1B's limit: a round trip from each stage over what it may have in flight."""
        layout = self.layout
        fleet, size = layout.fleet, len(forward) - 1
        line = [0, *(int(k) for k in layout.segments.order[n, :size]), 0]
        latency = fleet.links.sidelink.latency[n]
        ends = [(layout.links - 2, float(self.there[n])), (layout.links - 1, float(self.home[n]))]
        edge = float(fleet.links.uplink.latency[n] + fleet.links.downlink.latency[n])
        found = []
        for i in range(size + 1):
            window = one_f_one_b_window(size + 2, i)
            computed = (ahead + behind)[i : size + 1].sum() + ahead[-1] + behind[-1]
            waits = sum(latency[a, b] + latency[b, a] for a, b in zip(line[i:], line[i + 1 :],
                        strict=False)) + edge  # fmt: skip
            terms = [*forward[i:], *backward[i:], *ends]
            scaled = [(link, weight / window) for link, weight in terms]
            found.append((0, float(computed + waits) / window, scaled))
        return found
