"""What a plan costs, by the closed forms: time, energy and divergence of every cluster.

Arrays have a row a cluster (or a candidate of one). `Segments` and `Radio` are the decisions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.costs.predicted import StageCost
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.delay import (
    Array,
    Sharing,
    Way,
    evenly_s,
    gpipe_step_s,
    one_f_one_b_step_s,
)
from collapipe_ns3.prediction.energy import Energy, Transfers, spent
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import Ints, Mask


@dataclass(frozen=True)
class Segments:
    """Which devices hold how many blocks, in order, and how batches run through them.

    `order` (R, K) has node numbers, the first `size` (R,) of which are used, zeros behind; `counts`
    (R, K) their blocks. `one_f` marks 1F1B, the others run GPipe.
    """

    order: Ints
    counts: Ints
    micro_batches: Ints
    one_f: Mask

    @property
    def size(self) -> Ints:
        sizes: Ints = (self.counts > 0).sum(-1)
        return sizes

    def take(self, rows: Ints) -> Segments:
        return Segments(
            self.order[rows], self.counts[rows], self.micro_batches[rows], self.one_f[rows]
        )

    def put(self, rows: Mask, other: Segments) -> Segments:
        """These, with the marked rows from another."""
        return Segments(
            np.where(rows[:, None], other.order, self.order),
            np.where(rows[:, None], other.counts, self.counts),
            np.where(rows, other.micro_batches, self.micro_batches),
            np.where(rows, other.one_f, self.one_f),
        )


@dataclass(frozen=True)
class Radio:
    """Power and bandwidth of every link: (P, n, n) inside the clusters, (P,) up and down."""

    d2d_w: Array
    d2d_hz: Array
    up_w: Array
    up_hz: Array
    down_w: Array
    down_hz: Array

    @property
    def parts(self) -> tuple[Array, ...]:
        """All arrays, in order."""
        return self.d2d_w, self.d2d_hz, self.up_w, self.up_hz, self.down_w, self.down_hz

    def take(self, rows: Ints) -> Radio:
        return Radio(*(part[rows] for part in self.parts))

    def with_(self, **changes: Array) -> Radio:
        return replace(self, **changes)


@dataclass(frozen=True)
class Pace:
    """Seconds that each byte holds each link, as the radio has been set."""

    d2d: Array
    up: Array
    down: Array

    @staticmethod
    def of(fleet: Fleet, radio: Radio) -> Pace:
        return Pace(
            fleet.d2d.seconds_per_byte(radio.d2d_w, radio.d2d_hz),
            fleet.up.seconds_per_byte(radio.up_w, radio.up_hz),
            fleet.down.seconds_per_byte(radio.down_w, radio.down_hz),
        )


@dataclass(frozen=True)
class Loads:
    """Seconds a step for which all clusters together ask what they share, forward and backward.

    (2, P): each row of it is the same number for all clusters on one medium.
    """

    server: Array
    edge: Array
    d2d: Array

    def floor(self) -> Array:
        """What a step takes at least, forward and backward, for the busiest of these (2, P)."""
        return np.maximum(np.maximum(self.server, self.edge), self.d2d)


@dataclass(frozen=True)
class Costs:
    """What each row costs in a round, apart from what it waits for others.

    Times in seconds: `down` and `up` are holds of the hop to the base station. `spent` has every
    node's joules. `distortion` is Σ ε over the hops of a micro-batch.
    """

    down: Array
    spread: Array
    step: Array
    gather: Array
    up: Array
    spent: Energy
    distortion: Array

    @property
    def energy(self) -> Array:
        """Joules by node, (R, n)."""
        return self.spent.total


def costs(
    fleet: Fleet, work: Workload, pace: Pace, radio: Radio, segments: Segments
) -> tuple[Costs, Loads]:
    """Everything by the closed forms of `delay`, for clusters that run side by side."""
    forward, backward, sharing = ways(fleet, work, pace, segments)
    asked = _loads(fleet, work, pace, segments, forward, backward)
    m = segments.micro_batches.astype(float)
    floor = asked.floor() / m
    forward, backward = replace(forward, floor=floor[0]), replace(backward, floor=floor[1])
    u = work.batch_size / m
    steps = stage_seconds(fleet, work, segments, None, u)
    label = u * work.labels_bytes * pace.up
    step = np.zeros(len(m))
    if not segments.one_f.all():
        step = gpipe_step_s(forward, backward, sharing, steps, label, m)
    if segments.one_f.any():
        other = one_f_one_b_step_s(forward, backward, sharing, steps, m)
        step = np.where(segments.one_f, other, step)
    out, back = _star_seconds(fleet, work, pace, segments)
    used = segments.counts > 0
    zero = np.zeros_like(segments.order)
    latencies_out = _at(fleet.d2d.latency, zero, segments.order) * used
    latencies_back = _at(fleet.d2d.latency, segments.order, zero) * used
    found = Costs(
        down=work.upload_bytes * fleet.down.bulk * pace.down,
        spread=_together(out, latencies_out, fleet.d2d.shared),
        step=step,
        gather=_together(back, latencies_back, fleet.d2d.shared),
        up=work.upload_bytes * fleet.up.bulk * pace.up * fleet.up.crowded,
        spent=_energy(fleet, work, pace, radio, segments, forward, backward, steps, out, back),
        distortion=_distortion(fleet, segments),
    )
    return found, asked


def ways(fleet: Fleet, work: Workload, pace: Pace, segments: Segments) -> tuple[Way, Way, Sharing]:
    """The forward and the backward line of each row's pipeline, with no floor to their beats."""
    m = segments.micro_batches.astype(float)
    u = work.batch_size / m
    a, b = _hops(segments)
    there, back = (u * size for size in (work.activation_bytes, work.gradient_bytes))
    none = np.zeros(len(m))
    forward = Way(
        stages=stage_seconds(fleet, work, segments, "forward", u),
        hops=_held(there[:, None] * _at(pace.d2d, a, b), a, b),
        hop_latency=_held(_at(fleet.d2d.latency, a, b), a, b),
        edge=there * pace.up,
        edge_latency=fleet.up.latency,
        floor=none,
    )
    backward = Way(
        stages=stage_seconds(fleet, work, segments, "backward", u),
        hops=_held(back[:, None] * _at(pace.d2d, b, a), a, b),
        hop_latency=_held(_at(fleet.d2d.latency, b, a), a, b),
        edge=back * pace.down,
        edge_latency=fleet.down.latency,
        floor=none,
    )
    rows = len(segments.order)
    sharing = Sharing(
        np.full(rows, fleet.d2d.shared), np.full(rows, fleet.d2d.half_duplex), segments.size
    )
    return forward, backward, sharing


def _loads(
    fleet: Fleet, work: Workload, pace: Pace, segments: Segments, forward: Way, backward: Way
) -> Loads:
    """What all clusters' steps ask of the base station's processor and of shared media."""
    m = segments.micro_batches.astype(float)
    label = work.batch_size * work.labels_bytes * pace.up
    server = np.stack([m * forward.stages[:, -1], m * backward.stages[:, -1]])
    edge = np.stack(
        [(m * forward.edge + label) * fleet.up.shared, m * backward.edge * fleet.down.shared]
    )
    d2d = np.stack([m * forward.hops.sum(-1), m * backward.hops.sum(-1)]) * fleet.d2d.shared
    same = fleet.medium[:, None] == fleet.medium[None, :]
    everyone = np.ones((len(m), len(m)))
    return Loads(server @ everyone, edge @ everyone, d2d @ same)


def round_ends(fleet: Fleet, work: Workload, costs: Costs) -> tuple[Array, Array, Array, Array]:
    """When each cluster has the model, has its segments, has gathered, and has uploaded."""
    rows = len(costs.step)
    everyone, media = np.zeros(rows, dtype=np.intp), fleet.medium
    down = _ended(np.zeros(rows), costs.down, everyone, fleet.down.shared) + fleet.down.latency
    begun = _ended(down, costs.spread, media, fleet.d2d.shared)
    trained = begun + work.local_steps * costs.step
    gathered = _ended(trained, costs.gather, media, fleet.d2d.shared)
    up = _ended(gathered, costs.up, everyone, fleet.up.shared) + fleet.up.latency
    return down, begun, gathered, up


def _ended(ready: Array, holds: Array, media: Ints, shared: bool) -> Array:
    """When transfers that clusters begin at these times have ended, on shared media or alone."""
    if not shared:
        return ready + holds
    ends = ready.copy()
    for medium in np.unique(media):
        those = media == medium
        ends[those] = evenly_s(ready[those], holds[those])
    return ends


def aggregate_s(fleet: Fleet, work: Workload) -> float:
    """The federated average at the base station."""
    flops = 2 * fleet.clusters * work.model_parameters
    return fleet.server_overhead_s + flops / fleet.server_flops_per_s


def _hops(segments: Segments) -> tuple[Ints, Ints]:
    """Senders and receivers of the forward hops: from the control unit round to it again."""
    before = np.zeros((len(segments.order), 1), dtype=np.intp)
    order = np.where(segments.counts > 0, segments.order, 0)
    return np.concatenate([before, order], -1), np.concatenate([order, before], -1)


def _at(matrix: Array, rows: Ints, columns: Ints) -> Array:
    """matrix[r, rows[r, j], columns[r, j]] for every r and j."""
    values: Array = matrix[np.arange(len(matrix))[:, None], rows, columns]
    return values


def _held(values: Array, a: Ints, b: Ints) -> Array:
    """Zero where a hop leads from the control unit to itself: places that no device fills."""
    return np.where((a == 0) & (b == 0), 0.0, values)


def stage_seconds(
    fleet: Fleet, work: Workload, segments: Segments, way: str | None, u: Array
) -> Array:
    """Seconds a micro-batch by stage, forward or backward; of the optimizer's step for None."""

    def flops(cost: StageCost) -> float | Array:
        if way is None:
            return work.step_flops(cost.parameter_bytes)
        return u * (cost.forward_flops if way == "forward" else cost.backward_flops)

    order, used = segments.order, segments.counts > 0
    speed = np.take_along_axis(fleet.flops_per_s, order, -1)
    fixed = np.take_along_axis(fleet.overhead_s, order, -1)
    block = np.broadcast_to(flops(work.block), u.shape)[:, None]
    devices = np.where(used, fixed + segments.counts * block / speed, 0.0)
    control = fleet.overhead_s[:, 0] + flops(work.embedding) / fleet.flops_per_s[:, 0]
    server = fleet.server_overhead_s + flops(work.decoder) / fleet.server_flops_per_s
    ends = np.broadcast_to(server, u.shape)[:, None]
    return np.concatenate([np.broadcast_to(control, u.shape)[:, None], devices, ends], -1)


def _star_seconds(
    fleet: Fleet, work: Workload, pace: Pace, segments: Segments
) -> tuple[Array, Array]:
    """Holds of the segments' way out from the control unit, and back to it."""
    size: Array = segments.counts * work.block.parameter_bytes * fleet.d2d.bulk[:, None]
    zero = np.zeros_like(segments.order)
    out = _at(pace.d2d, zero, segments.order)
    back = _at(pace.d2d, segments.order, zero)
    used = segments.counts > 0
    return size * np.where(used, out, 0.0), size * np.where(used, back, 0.0)


def _together(holds: Array, latencies: Array, shared: bool) -> Array:
    """When transfers that start at once have all ended."""
    if shared:
        total: Array = holds.sum(-1) + latencies.max(-1)
        return total
    longest: Array = (holds + latencies).max(-1)
    return longest


def _energy(
    fleet: Fleet,
    work: Workload,
    pace: Pace,
    radio: Radio,
    segments: Segments,
    forward: Way,
    backward: Way,
    steps: Array,
    out: Array,
    back: Array,
) -> Energy:
    """Joules by node. In slots a transfer takes half of one more: that of its last, on average."""
    rows = np.arange(len(segments.order))[:, None]
    m = segments.micro_batches[:, None].astype(float)
    a, b = _hops(segments)
    computing = np.zeros_like(fleet.flops_per_s)
    # Control unit, then the devices in order: the stages without the decoder.
    stages = work.local_steps * (m * (forward.stages + backward.stages) + steps)[:, :-1]
    np.add.at(computing, (rows, a), stages)
    zero, times = np.zeros_like(segments.order), work.local_steps * m
    rest = fleet.d2d.slot_s / 2
    transfers = []
    for src, dst, hold, count in (
        (a, b, forward.hops, times),
        (b, a, backward.hops, times),
        (zero, segments.order, out, 1.0),
        (segments.order, zero, back, 1.0),
    ):
        air_s = count * (hold + rest * (hold > 0)) * _at(fleet.d2d.duty, src, dst)
        watts = [_at(radio.d2d_w, *ends) for ends in ((src, dst), (dst, src))]
        transfers.append(Transfers(src, dst, air_s, *watts))
    count = times[:, 0]
    labels = work.batch_size * work.labels_bytes * pace.up
    up = count * (forward.edge + fleet.up.slot_s / 2) + work.local_steps * labels
    up = up + work.upload_bytes * fleet.up.bulk * pace.up * fleet.up.together
    down = count * (backward.edge + fleet.down.slot_s / 2)
    down = down + work.upload_bytes * fleet.down.bulk * pace.down * fleet.down.together
    up_s, down_s = up * fleet.up.duty, down * fleet.down.duty
    return spent(fleet, computing, transfers, up_s, radio.up_w, down_s)


def _distortion(fleet: Fleet, segments: Segments) -> Array:
    """E = Σ ε over all hops of a micro-batch, there and back."""
    a, b = _hops(segments)
    hops = _held(_at(fleet.d2d.epsilon, a, b) + _at(fleet.d2d.epsilon, b, a), a, b)
    total: Array = hops.sum(-1) + fleet.up.epsilon + fleet.down.epsilon
    return total
