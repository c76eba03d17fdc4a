"""What a round costs by closed forms: time, energy and distortion of every cluster.

Arrays have a row for each cluster, or for each candidate of a cluster. The decisions are `Segments`
and `RadioSetting`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.energy import Energy, Transfers, round_energy
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import RadioSetting, SecondsPerByte
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.stage_times import backward_s, forward_s, optimizer_s
from collapipe_ns3.prediction.step_time import (
    Passes,
    PassTimes,
    Sharing,
    TrainingStep,
    gpipe_step_s,
    one_f_one_b_step_s,
)


@dataclass(frozen=True)
class Loads:
    """How many seconds of each shared resource all clusters together use in a training step.

    Forward and backward, (2, P), for the edge server, the links to and from the base station, and
    the sidelinks. The values are equal for all clusters on the same medium.
    """

    server: Array
    edge: Array
    sidelink: Array

    @classmethod
    def none(cls, clusters: int) -> Loads:
        """No load of other clusters."""
        zero = np.zeros((2, clusters))
        return cls(zero, zero, zero)

    def floor(self) -> Array:
        """The least time of a step for the busiest of these, forward and backward, (2, P)."""
        return np.maximum(np.maximum(self.server, self.edge), self.sidelink)


@dataclass(frozen=True)
class SegmentTimes:
    """What a streamed exchange depends on, by the place of a device in its pipeline, (R, K).

    `size` is the segment's parameters in bytes, `out` and `back` how many seconds they hold the
    link from the control unit and back to it, with their latencies. `head` is how long after a
    training step began the device's first forward pass may begin, and `tail` how long before the
    step's end its optimizer step has ended, if nothing else is waited for. All are zero where no
    device is.
    """

    size: Array
    out: Array
    back: Array
    out_latency: Array
    back_latency: Array
    head: Array
    tail: Array


@dataclass(frozen=True)
class RoundCosts:
    """What each row costs in a round, without the time that it waits for others.

    Times are in seconds. `download` and `upload` are how long the model holds the downlink and the
    uplink, `distribute` and `gather` how long its segments take to the devices and back, `step` is
    one training step, and `segments` has the parts of these by device. `spent` has every node's
    energy. `distortion` is Σ ε over the hops of a micro-batch.
    """

    download: Array
    distribute: Array
    step: Array
    gather: Array
    upload: Array
    segments: SegmentTimes
    spent: Energy
    distortion: Array

    @property
    def energy(self) -> Array:
        """Energy of every node in joules, (R, n)."""
        return self.spent.total


@dataclass(frozen=True)
class _Candidate:
    """Decisions, and what they are applied to."""

    fleet: Fleet
    work: Workload
    radio: RadioSetting
    segments: Segments
    per_byte: SecondsPerByte

    @property
    def micro_batches(self) -> Array:
        return self.segments.micro_batches.astype(float)


@dataclass(frozen=True)
class _Star:
    """How long segments hold the links from the control unit to each device and back, (R, K)."""

    out: Array
    back: Array


def round_costs(
    fleet: Fleet, work: Workload, radio: RadioSetting, segments: Segments
) -> tuple[RoundCosts, Loads]:
    """The costs of a round of clusters that run at the same time, and what they share."""
    candidate = _Candidate(fleet, work, radio, segments, SecondsPerByte.of(fleet, radio))
    per_byte, sidelink = candidate.per_byte, fleet.links.sidelink
    uplink, downlink = fleet.links.uplink, fleet.links.downlink
    passes = pass_times(fleet, work, per_byte, segments)
    loads = _loads(candidate, passes)
    m = candidate.micro_batches
    passes = passes.with_floor(loads.floor() / m)
    u = work.batch_size / m
    label = u * work.labels_bytes * per_byte.uplink
    step = TrainingStep(passes, optimizer_s(fleet, work, segments), label, m)
    step_s = np.zeros(len(m))
    if not segments.one_f.all():
        step_s = gpipe_step_s(step)
    if segments.one_f.any():
        step_s = np.where(segments.one_f, one_f_one_b_step_s(step), step_s)
    star = _star(candidate)
    size = segments.counts.astype(float) * work.block_bytes
    used = segments.counts > 0
    zero = np.zeros_like(segments.order)
    latencies_out = _at(sidelink.latency, zero, segments.order) * used
    latencies_back = _at(sidelink.latency, segments.order, zero) * used
    found = RoundCosts(
        download=work.upload_bytes * downlink.bulk * per_byte.downlink,
        distribute=_all_ended(star.out, latencies_out, sidelink.shared),
        step=step_s,
        gather=_all_ended(star.back, latencies_back, sidelink.shared),
        upload=work.upload_bytes * uplink.bulk * per_byte.uplink * uplink.crowded_hold,
        segments=SegmentTimes(
            size=size,
            out=star.out,
            back=star.back,
            out_latency=latencies_out,
            back_latency=latencies_back,
            head=_heads(passes.forward) * used,
            tail=_tails(passes.backward, step.optimizer) * used,
        ),
        spent=_energy(candidate, step, star),
        distortion=_distortion(fleet, segments),
    )
    return found, loads


def pass_times(
    fleet: Fleet, work: Workload, per_byte: SecondsPerByte, segments: Segments
) -> Passes:
    """The forward and the backward pass of each row's pipeline, with a floor of 0.

    The load of other clusters is not included.
    """
    m = segments.micro_batches.astype(float)
    u = work.batch_size / m
    a, b = _hops(segments)
    there, back = (u * size for size in (work.activation_bytes, work.gradient_bytes))
    none = np.zeros(len(m))
    links, sidelink = fleet.links, fleet.links.sidelink
    forward = PassTimes(
        stages=forward_s(fleet, work, segments, u),
        hops=_held(there[:, None] * _at(per_byte.sidelink, a, b), a, b),
        hop_latency=_held(_at(sidelink.latency, a, b), a, b),
        edge=there * per_byte.uplink,
        edge_latency=links.uplink.latency,
        floor=none,
    )
    backward = PassTimes(
        stages=backward_s(fleet, work, segments, u),
        hops=_held(back[:, None] * _at(per_byte.sidelink, b, a), a, b),
        hop_latency=_held(_at(sidelink.latency, b, a), a, b),
        edge=u * work.edge_gradient_bytes * per_byte.downlink,
        edge_latency=links.downlink.latency,
        floor=none,
    )
    rows = len(segments.order)
    sharing = Sharing(
        np.full(rows, sidelink.shared), np.full(rows, sidelink.half_duplex), segments.size
    )
    return Passes(forward, backward, sharing)


def _loads(candidate: _Candidate, passes: Passes) -> Loads:
    """What all clusters' steps need of the edge server and of shared media."""
    fleet, work, m = candidate.fleet, candidate.work, candidate.micro_batches
    forward, backward, links = passes.forward, passes.backward, candidate.fleet.links
    label = work.batch_size * work.labels_bytes * candidate.per_byte.uplink
    server = np.stack([m * forward.decoder, m * backward.decoder])
    edge = np.stack(
        [
            (m * forward.edge + label) * links.uplink.shared,
            m * backward.edge * links.downlink.shared,
        ]
    )
    inside = np.stack([m * forward.hops.sum(-1), m * backward.hops.sum(-1)])
    inside = inside * links.sidelink.shared
    same = fleet.medium[:, None] == fleet.medium[None, :]
    everyone = np.ones((len(m), len(m)))
    return Loads(server @ everyone, edge @ everyone, inside @ same)


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


def _star(candidate: _Candidate) -> _Star:
    """How long the segments hold their links, out from the control unit and back to it."""
    segments, per_byte = candidate.segments, candidate.per_byte.sidelink
    bulk = candidate.fleet.links.sidelink.bulk[:, None]
    size: Array = segments.counts * candidate.work.block_bytes * bulk
    zero = np.zeros_like(segments.order)
    out = _at(per_byte, zero, segments.order)
    back = _at(per_byte, segments.order, zero)
    used = segments.counts > 0
    return _Star(size * np.where(used, out, 0.0), size * np.where(used, back, 0.0))


def _heads(forward: PassTimes) -> Array:
    """How long a micro-batch takes to each device, (R, K)."""
    before = forward.stages[:, :-2] + (forward.hops + forward.hop_latency)[:, :-1]
    heads: Array = before.cumsum(-1)
    return heads


def _tails(backward: PassTimes, optimizer: Array) -> Array:
    """How long after each device's optimizer step that of the control unit ends, (R, K)."""
    after = backward.stages[:, :-2] + (backward.hops + backward.hop_latency)[:, :-1]
    tails: Array = after.cumsum(-1) + optimizer[:, :1] - optimizer[:, 1:-1]
    return np.maximum(tails, 0.0)


def _all_ended(holds: Array, latencies: Array, shared: bool) -> Array:
    """When transfers that begin at the same time have all ended."""
    if shared:
        total: Array = holds.sum(-1) + latencies.max(-1)
        return total
    longest: Array = (holds + latencies).max(-1)
    return longest


def _energy(candidate: _Candidate, step: TrainingStep, star: _Star) -> Energy:
    """Joules by node.

    On a slotted band a transfer is charged half a slot more, since on average half of its last slot
    is unused.
    """
    fleet, work, segments = candidate.fleet, candidate.work, candidate.segments
    forward, backward = step.passes.forward, step.passes.backward
    radio, per_byte, sidelink = candidate.radio, candidate.per_byte, fleet.links.sidelink
    uplink, downlink = fleet.links.uplink, fleet.links.downlink
    rows = np.arange(len(segments.order))[:, None]
    m = segments.micro_batches[:, None].astype(float)
    a, b = _hops(segments)
    computing = np.zeros_like(fleet.flops_per_s)
    # The control unit, then the devices in order: all stages but the decoder.
    stages = work.local_steps * (m * (forward.stages + backward.stages) + step.optimizer)[:, :-1]
    np.add.at(computing, (rows, a), stages)
    zero, times = np.zeros_like(segments.order), work.local_steps * m
    rest = sidelink.slot_s / 2
    transfers = []
    for src, dst, hold, count in (
        (a, b, forward.hops, times),
        (b, a, backward.hops, times),
        (zero, segments.order, star.out, 1.0),
        (segments.order, zero, star.back, 1.0),
    ):
        air_s = count * (hold + rest * (hold > 0)) * _at(sidelink.duty, src, dst)
        watts = [_at(radio.sidelink.power_w, *ends) for ends in ((src, dst), (dst, src))]
        transfers.append(Transfers(src, dst, air_s, *watts))
    count = times[:, 0]
    labels = work.batch_size * work.labels_bytes * per_byte.uplink
    up = count * (forward.edge + uplink.slot_s / 2) + work.local_steps * labels
    up = up + work.upload_bytes * uplink.bulk * per_byte.uplink * uplink.crowded_airtime
    down = count * (backward.edge + downlink.slot_s / 2)
    down = down + work.upload_bytes * downlink.bulk * per_byte.downlink * downlink.crowded_airtime
    up_s, down_s = up * uplink.duty, down * downlink.duty
    return round_energy(fleet, computing, transfers, up_s, radio.uplink.power_w, down_s)


def _distortion(fleet: Fleet, segments: Segments) -> Array:
    """E = Σ ε over all hops of a micro-batch, forward and backward."""
    a, b = _hops(segments)
    links, epsilon = fleet.links, fleet.links.sidelink.epsilon
    hops = _held(_at(epsilon, a, b) + _at(epsilon, b, a), a, b)
    total: Array = hops.sum(-1) + links.uplink.epsilon + links.downlink.epsilon
    return total
