"""The segment problem as tables: what each device, hop and order of devices adds to J.

With the radio fixed, a cluster pays for an order of devices and the blocks on each

  J = constant + Σ_k device[k, blocks] + Σ_hops hop[i, j]
      + Σ_g weight_g · max(floor_g, max_k beat_g[k, blocks], path_g)
      + v · (max_k star_0[k, blocks] + max_k star_1[k, blocks])

A beat is the time between two micro-batches (`collapipe_ns3.prediction.step_time`): under GPipe
g = 0 is the forward pass and g = 1 the backward pass, under 1F1B g = 0 is both passes together and
g = 1 is not used. `path_g` depends on the order alone: it is the longest hop, the sum of all hops
on a shared medium, or the hops of the busiest half-duplex radio. The last term is the distribution
of the segments to the devices and their gathering, where each device has a link of its own; on a
shared medium these are sums, which are in `device`, and in a streamed exchange nothing. Optimizer
steps, labels and the limits of 1F1B's windows are left out: they are equal or small for all
candidates. `objective.value` and the event graph include them.

A row is a case (`Cases`): a cluster, a number of micro-batches, a schedule and a pipeline size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.segments.problem import Cases, SegmentProblem, sidelinks_used
from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.energy import airtime_price
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import LinkSetting
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.schedule import one_f_one_b_window


@dataclass(frozen=True)
class Tables:
    """The terms of J for every row; see the module.

    Devices are numbered 0 … K-1 and hops lead between nodes 0 … K, of which 0 is the control unit.
    `device`, `beat`, `star` and `room` have the number of blocks, 0 … N, along their last axis.
    `room` is how many micro-batches a device has memory to keep. `scale` is by how much transfers
    inside the cluster take longer in a pipeline of 0 … K devices than in one of the row's size:
    with more links, each has less of the band.
    """

    constant: Array  # (R,)
    device: Array  # (R, K, N+1)
    beat: Array  # (R, 2, K, N+1)
    star: Array  # (R, 2, K, N+1)
    hop: Array  # (R, n, n)
    path: Array  # (R, 2, n, n)
    floor: Array  # (R, 2)
    weight: Array  # (R, 2)
    time: Array  # (R,)
    room: Array  # (R, K, N+1)
    scale: Array  # (R, K+1)
    cases: Cases
    shared: bool
    half_duplex: bool

    @classmethod
    def of(cls, problem: SegmentProblem, cases: Cases) -> Self:
        """The tables of these cases, at the radio's powers and equal bandwidths."""
        rows = _Rows(problem, cases)
        prices, sidelink = rows.prices, rows.sidelink
        passes, star, hops, ends = _passes(rows), _star(rows), _hops(rows), _ends(rows)
        device = _computing_cost(rows, passes)
        device = device + _charged(rows.air_price[:, 0, 1:, None], star.out_s)
        device = device + _charged(rows.air_price[:, 1:, 0, None], star.back_s)
        if sidelink.shared and not problem.streamed:
            device = device + prices.time[:, None, None] * (star.out_s + star.back_s)
        if prices.use is not None:
            device = device + prices.use[:, 1:, None] * (rows.blocks > 0)
        weight = rows.by_pass(*(rows.step_price * (rows.micro_batches - 1),) * 3)
        # A beat without weight costs nothing, even where it takes for ever.
        counts = weight > 0
        return cls(
            constant=_constant(rows, ends.fill_s),
            device=device,
            beat=rows.by_pass(passes.both_s, passes.forward_s, passes.backward_s),
            star=_star_ends(rows, star),
            hop=hops.cost,
            path=np.where(counts[..., None, None] | np.isfinite(hops.path), hops.path, 0.0),
            floor=np.where(counts | np.isfinite(ends.floor), ends.floor, 0.0),
            weight=weight,
            time=prices.time,
            room=rooms(problem.fleet, problem.work, cases),
            scale=_scale(rows),
            cases=cases,
            shared=sidelink.shared,
            half_duplex=sidelink.half_duplex,
        )

    def take(self, rows: slice | Ints) -> Tables:
        """The tables of these rows."""
        return replace(
            self,
            constant=self.constant[rows],
            device=self.device[rows],
            beat=self.beat[rows],
            star=self.star[rows],
            hop=self.hop[rows],
            path=self.path[rows],
            floor=self.floor[rows],
            weight=self.weight[rows],
            time=self.time[rows],
            room=self.room[rows],
            scale=self.scale[rows],
            cases=self.cases.take(rows),
        )

    def paths(self, orders: Ints) -> tuple[Array, Array]:
        """The cost of the hops (R, O) and the beats of the paths (R, 2, O) of orders (O, s)."""
        ends = np.zeros((len(orders), 1), dtype=np.intp)
        nodes = np.concatenate([ends, orders + 1, ends], -1)
        a, b = nodes[:, :-1], nodes[:, 1:]
        held = self.path[:, :, a, b]
        if self.shared:
            beats = held.sum(-1)
        elif self.half_duplex:
            at_devices = (held[..., :-1] + held[..., 1:]).max(-1)
            beats = np.maximum(at_devices, held[..., 0] + held[..., -1])
        else:
            beats = held.max(-1)
        return self.hop[:, a, b].sum(-1), beats


def over(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Values by row (R,), with as many axes as `like` has."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def kept_micro_batches(cases: Cases, place: Ints, size: Ints) -> Ints:
    """How many micro-batches a device keeps at place 1 … s of a pipeline of s devices.

    All M under GPipe; at most its window under 1F1B. Arrays (R, …), row by row.
    """
    m = over(cases.micro_batches, place)
    ahead = np.minimum(one_f_one_b_window(size + 2, place), m)
    kept: Ints = np.where(over(cases.one_f, place), ahead, m)
    return kept


def seconds_per_byte(fleet: Fleet, radio: RadioSetting, cases: Cases) -> Array:
    """Seconds per byte on every sidelink, (R, n, n).

    Where there are grants, all sidelinks that a pipeline uses share the band equally.
    """
    links, rows = fleet.links.sidelink, cases.cluster
    hz = links.natural_hz[rows]
    if links.grants:
        each_hz = links.band_hz[rows] / sidelinks_used(cases.size)
        hz = np.broadcast_to(each_hz[:, None, None], hz.shape)
    return links.take(rows).seconds_per_byte(LinkSetting(radio.sidelink.power_w[rows], hz))


class _Rows:
    """What the tables are computed from, with a row for each case."""

    def __init__(self, problem: SegmentProblem, cases: Cases) -> None:
        self.problem, self.cases = problem, cases
        self.work, self.fleet = problem.work, problem.fleet.take(cases.cluster)
        self.prices = problem.prices.take(cases.cluster)
        self.sidelink = self.fleet.links.sidelink
        self.micro_batches = cases.micro_batches.astype(float)
        self.sequences = problem.work.batch_size / self.micro_batches
        self.step_price = self.prices.time * problem.work.local_steps
        self.seconds_per_byte = seconds_per_byte(problem.fleet, problem.radio, cases)

    @cached_property
    def air_price(self) -> Array:
        """What a second on each sidelink costs, by sender and receiver, (R, n, n)."""
        power_w = self.problem.radio.sidelink.power_w[self.cases.cluster]
        prices = self.prices
        sent = (prices.energy * self.fleet.tx_ratio)[:, :, None] * self.fleet.sending_w(power_w)
        received = airtime_price(self.fleet, prices.energy, prices.listening, power_w)
        price: Array = self.sidelink.duty * (sent + received)
        return price

    @property
    def blocks(self) -> Ints:
        """Every number of blocks that a device may hold, (N+1,)."""
        return np.arange(self.work.blocks + 1)

    @cached_property
    def distortion_price(self) -> Array:
        """What a unit of ε on a hop costs, (R,)."""
        m = self.micro_batches
        noise = self.problem.noise.divergence(self.work.batch_size, m, np.ones(len(m))) - 1
        price: Array = self.prices.divergence * noise
        return price

    def by_pass(self, both: Array, forward: Array, backward: Array) -> Array:
        """Values (R, 2, …) for the two beats g: both passes together, or each on its own."""
        one_f = over(self.cases.one_f, both)
        return np.stack([np.where(one_f, both, forward), np.where(one_f, 0, backward)], 1)


@dataclass(frozen=True)
class _Passes:
    """Seconds that so many blocks compute: a micro-batch, or the optimizer's step, (R, K, N+1)."""

    forward_s: Array
    backward_s: Array
    optimizer_s: Array

    @property
    def both_s(self) -> Array:
        """Forward and backward together."""
        return self.forward_s + self.backward_s


def _passes(rows: _Rows) -> _Passes:
    work, blocks = rows.work, rows.blocks
    sequences = rows.sequences[:, None, None]
    speed = rows.fleet.flops_per_s[:, 1:, None]
    fixed = rows.fleet.overhead_s[:, 1:, None] * (blocks > 0)
    return _Passes(
        fixed + blocks * sequences * work.block.forward_flops / speed,
        fixed + blocks * sequences * work.block.backward_flops / speed,
        fixed + blocks * work.step_flops(work.block.parameter_bytes) / speed,
    )


def _computing_cost(rows: _Rows, passes: _Passes) -> Array:
    """What computing costs each device by time and energy, (R, K, N+1)."""
    both = passes.both_s
    watt_price = (rows.prices.energy * rows.fleet.computing_w)[:, 1:, None]
    per_round = rows.micro_batches[:, None, None] * both + passes.optimizer_s
    cost: Array = rows.step_price[:, None, None] * both
    return cost + watt_price * rows.work.local_steps * per_round


@dataclass(frozen=True)
class _Star:
    """Seconds that so many blocks hold a device's links to the control unit, (R, K, N+1)."""

    out_s: Array
    back_s: Array


def _star(rows: _Rows) -> _Star:
    per_byte, blocks = rows.seconds_per_byte, rows.blocks
    size = blocks * rows.work.block_bytes * rows.sidelink.bulk[:, None, None]
    return _Star(
        size * np.where(blocks > 0, per_byte[:, 0, 1:, None], 0.0),
        size * np.where(blocks > 0, per_byte[:, 1:, 0, None], 0.0),
    )


def _star_ends(rows: _Rows, star: _Star) -> Array:
    """When each device has its blocks, and has sent them back, where no medium is shared."""
    if rows.sidelink.shared or rows.problem.streamed:
        return np.zeros((len(rows.cases), 2, *star.out_s.shape[1:]))
    latency, used = rows.sidelink.latency, rows.blocks > 0
    return np.stack(
        [
            star.out_s + latency[:, 0, 1:, None] * used,
            star.back_s + latency[:, 1:, 0, None] * used,
        ],
        1,
    )


@dataclass(frozen=True)
class _Hops:
    """What hops add to J, `cost` (R, n, n), and how long they hold, `path` (R, 2, n, n)."""

    cost: Array
    path: Array


def _hops(rows: _Rows) -> _Hops:
    work, sidelink = rows.work, rows.sidelink
    m, sequences = rows.micro_batches[:, None, None], rows.sequences[:, None, None]
    air_price = rows.air_price
    forward_s = sequences * work.activation_bytes * rows.seconds_per_byte
    backward_s = (sequences * work.gradient_bytes * rows.seconds_per_byte).swapaxes(1, 2)
    latency, slot_s = sidelink.latency + sidelink.latency.swapaxes(1, 2), sidelink.slot_s / 2
    cost = (
        rows.step_price[:, None, None] * (forward_s + backward_s + latency)
        + work.local_steps
        * m
        * (
            _charged(air_price, forward_s + slot_s)
            + _charged(air_price.swapaxes(1, 2), backward_s + slot_s)
        )
        + rows.distortion_price[:, None, None]
        * (sidelink.epsilon + sidelink.epsilon.swapaxes(1, 2))
    )
    one_resource = sidelink.shared or sidelink.half_duplex
    both = forward_s + backward_s if one_resource else np.maximum(forward_s, backward_s)
    return _Hops(cost, rows.by_pass(both, forward_s, backward_s))


@dataclass(frozen=True)
class _Ends:
    """What the control unit, the edge server and the links between them add to each row.

    `floor` (R, 2) are the least beats, `fill_s` (R,) how long a micro-batch alone takes there and
    back.
    """

    floor: Array
    fill_s: Array


def _ends(rows: _Rows) -> _Ends:
    work, sequences, cluster = rows.work, rows.sequences, rows.cases.cluster
    links, radio = rows.problem.fleet.links, rows.problem.radio
    up = links.uplink.seconds_per_byte(radio.uplink)[cluster]
    down = links.downlink.seconds_per_byte(radio.downlink)[cluster]
    edge = np.stack(
        [sequences * work.activation_bytes * up, sequences * work.edge_gradient_bytes * down], -1
    )
    flops = np.stack(
        [sequences * work.decoder.forward_flops, sequences * work.decoder.backward_flops], -1
    )
    decoder = rows.fleet.server.overhead_s + flops / rows.fleet.server.flops_per_s
    embedding = np.array([work.embedding.forward_flops, work.embedding.backward_flops])
    control = sequences[:, None] * embedding / rows.fleet.flops_per_s[:, :1]
    control = work.control_stages * rows.fleet.overhead_s[:, :1] + control
    loads = rows.problem.loads.floor()[:, cluster].T / rows.micro_batches[:, None]
    gpipe = np.maximum.reduce([decoder, control, edge, loads])
    computing = np.maximum(decoder.sum(-1), control.sum(-1))
    both = np.maximum.reduce([computing, edge[:, 0], edge[:, 1], loads.sum(-1)])
    return _Ends(
        rows.by_pass(both, gpipe[:, 0], gpipe[:, 1]),
        (control + decoder + edge).sum(-1)
        + (links.uplink.latency + links.downlink.latency)[cluster],
    )


def _constant(rows: _Rows, fill_s: Array) -> Array:
    """What does not depend on the segments, (R,)."""
    prices, links = rows.prices, rows.fleet.links
    computations = rows.work.control_stages * (2 * rows.micro_batches + 1)
    control_s = rows.fleet.overhead_s[:, 0] * computations
    watt_price = (prices.energy * rows.fleet.computing_w)[:, 0]
    constant: Array = (
        rows.step_price * fill_s
        + watt_price * rows.work.local_steps * control_s
        + prices.divergence
        + rows.distortion_price * (links.uplink.epsilon + links.downlink.epsilon)
    )
    return constant


def _scale(rows: _Rows) -> Array:
    """See `Tables.scale`."""
    fleet, radio, cases = rows.problem.fleet, rows.problem.radio, rows.cases
    nodes = fleet.nodes
    if not rows.sidelink.grants:
        return np.ones((len(cases), nodes))
    off_diagonal = ~np.eye(nodes, dtype=bool)
    usual = rows.seconds_per_byte[:, off_diagonal].mean(-1)
    by_size = [
        seconds_per_byte(fleet, radio, cases.with_size(size))[:, off_diagonal].mean(-1)
        for size in range(1, nodes)
    ]
    scale: Array = np.stack([usual, *by_size], -1) / usual[:, None]
    return scale


def _charged(price: Array, amount: Array) -> Array:
    """Price times amount; what is free costs nothing, even where it takes for ever."""
    with np.errstate(invalid="ignore"):
        return np.where(price > 0, price * amount, 0.0)


def rooms(fleet: Fleet, work: Workload, cases: Cases) -> Array:
    """How many micro-batches a device has memory to keep in training, by its blocks, (R, K, N+1).

    Negative where not even the blocks fit; infinite without blocks. The device's memory is compared
    with batches of the greatest length and what formats of the exchange need, its fair parts
    (`Fleet.fair_longest_bytes`, `Fleet.fair_bytes`) with batches of the greatest and usual length.
    """
    memory = fleet.memory_bytes[cases.cluster][:, 1:, None]
    fair, usual = fleet.fair_bytes[cases.cluster][:, None, None], work.block.kept_bytes
    fair_longest = fleet.fair_longest_bytes[cases.cluster][:, None, None]
    blocks = np.arange(work.blocks + 1)
    sequences = (work.batch_size // cases.micro_batches)[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.minimum(memory / blocks - work.format_bytes, fair_longest / blocks)
        longest = (each - work.held_bytes) / (work.saved_bytes * sequences)
        room = np.floor(
            np.minimum(longest, (fair / blocks - work.held_bytes) / (usual * sequences)) + 1e-9
        )
    return np.where(blocks > 0, room, np.inf)
