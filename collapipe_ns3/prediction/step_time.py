"""How long a training step takes, in closed form: what plans are ranked by.

M micro-batches pass through a line of stages and hops: control unit, hop, device, hop, …, device,
hop to the control unit, hop to the base station, decoder. Gradients return the same way. Where each
stage and each hop is a resource of its own with an unlimited queue, the line takes

  T = Σ(x + latency) + (M-1)·max x

seconds: its fill, and M-1 beats of the busiest resource. A hop holds its link for x seconds and
arrives a latency later. That is exact. Where hops share a resource, the beat is the sum of all that
this resource does for one micro-batch. That is an estimate: only the event graph
(`collapipe_ns3.eventgraph.timeline`) knows the order in which they take turns.

The last axis of an array runs along the pipeline; the axes before it are arbitrary. With room for
S devices, a shorter pipeline fills the rest with zeros: stages are [control unit, d1 … dS,
decoder], hops are [into d1, …, into dS or the control unit, …], so that hop i lies between stages i
and i + 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.schedule import one_f_one_b_window


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the hops inside a cluster share: one medium, or half-duplex radios, or nothing.

    `medium` and `half_duplex` (...) mark pipelines of either kind. `devices` (...) is the number of
    devices in each pipeline, which is also the number of the hop back into the control unit.
    """

    medium: Mask
    half_duplex: Mask
    devices: Ints


@dataclass(frozen=True, slots=True)
class PassTimes:
    """The times of one micro-batch's forward or backward pass, in seconds; see the module.

    `edge` is the hop between control unit and base station, `floor` the least beat that other
    clusters impose (their use of the base station and of shared media).
    """

    stages: Array
    hops: Array
    hop_latency: Array
    edge: Array
    edge_latency: Array
    floor: Array

    @property
    def decoder(self) -> Array:
        """The time of the last stage."""
        return self.stages[..., -1]

    @property
    def before_decoder(self) -> Array:
        """The times of the other stages: control unit and devices."""
        return self.stages[..., :-1]


@dataclass(frozen=True, slots=True)
class Passes:
    """Forward and backward pass of every pipeline, and what their hops share."""

    forward: PassTimes
    backward: PassTimes
    sharing: Sharing

    def with_floor(self, floor: Array) -> Passes:
        """These passes with other least beats (2, ...), forward and backward."""
        return Passes(
            replace(self.forward, floor=floor[0]),
            replace(self.backward, floor=floor[1]),
            self.sharing,
        )


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """All that a training step's time depends on.

    `optimizer` is the optimizer step of each stage, which begins when its last backward pass has
    ended; `label` is how long the labels of one micro-batch hold the hop to the base station, which
    they all take before any activation. Both are in seconds.
    """

    passes: Passes
    optimizer: Array
    label: Array
    micro_batches: Array


def fill_s(times: PassTimes) -> Array:
    """How long a single micro-batch takes from end to end."""
    latency = times.hop_latency.sum(-1) + times.edge_latency
    total: Array = times.stages.sum(-1) + times.hops.sum(-1) + times.edge + latency
    return total


def beat_s(times: PassTimes, sharing: Sharing) -> Array:
    """The least time between two micro-batches: what the busiest resource takes for one."""
    beats: Array = np.maximum.reduce(
        [times.stages.max(-1), times.edge, times.floor, hops_beat_s(times.hops, sharing)]
    )
    return beats


def hops_beat_s(hops: Array, sharing: Sharing) -> Array:
    """The hops' part of the beat: the longest hop.

    On a shared medium it is the sum of all hops; with half-duplex radios, the largest sum of the
    hops at one radio.
    """
    longest = hops.max(-1)
    at_devices = (hops[..., :-1] + hops[..., 1:]).max(-1)
    last = np.take_along_axis(hops, sharing.devices[..., None], -1)[..., 0]
    at_control = hops[..., 0] + last
    half = np.where(sharing.half_duplex, np.maximum(at_devices, at_control), longest)
    beat: Array = np.where(sharing.medium, hops.sum(-1), half)
    return beat


def gpipe_step_s(step: TrainingStep) -> Array:
    """A training step under GPipe: all forward passes, then all backward passes.

    It ends when the last of the stages has ended its optimizer step.
    """
    forward, sharing = step.passes.forward, step.passes.sharing
    more = step.micro_batches - 1
    line = fill_s(forward) + more * beat_s(forward, sharing)
    edge_beat = np.maximum(np.maximum(forward.edge, forward.decoder), forward.floor)
    behind = forward.edge + forward.edge_latency + forward.decoder + more * edge_beat
    there = np.maximum(line, step.micro_batches * step.label + behind)
    fills, beats = _backward_to_stages(step.passes.backward, sharing)
    ends: Array = (fills + more[..., None] * beats + step.optimizer).max(-1)
    return there + ends


def one_f_one_b_step_s(step: TrainingStep) -> Array:
    """An estimate of a training step under 1F1B, where both passes run at the same time.

    The beat is that of the busiest resource with both passes to do, and no shorter than
    `window_beat_s` allows.
    """
    passes = step.passes
    beat = np.maximum(one_f_one_b_beat_s(passes), window_beat_s(passes))
    back, _ = _backward_to_stages(passes.backward, passes.sharing)
    fill = fill_s(passes.forward)
    total: Array = fill + (step.micro_batches - 1) * beat + (back + step.optimizer).max(-1)
    return total


def one_f_one_b_beat_s(passes: Passes) -> Array:
    """The least time between two micro-batches under 1F1B: the busiest resource, both passes."""
    forward, backward, sharing = passes.forward, passes.backward, passes.sharing
    both = forward.hops + backward.hops
    half = np.where(sharing.half_duplex, hops_beat_s(both, sharing), 0.0)
    shared = np.where(sharing.medium, both.sum(-1), half)
    own = np.maximum(beat_s(forward, sharing), beat_s(backward, sharing))
    computed = (forward.stages + backward.stages).max(-1)
    beat: Array = np.maximum.reduce([own, computed, forward.floor + backward.floor, shared])
    return beat


def window_beat_s(passes: Passes) -> Array:
    """The least beat that 1F1B's windows allow.

    A stage has at most `one_f_one_b_window` micro-batches in flight. So a beat is no shorter than
    the round trip from the stage to the decoder and back, divided by that number.
    """
    forward, sharing = passes.forward, passes.sharing
    back, _ = _backward_to_stages(passes.backward, sharing)
    ahead = _sum_from_end(forward.before_decoder + forward.hops + forward.hop_latency)
    rest = forward.edge + forward.edge_latency + forward.decoder
    trips = np.concatenate([ahead + rest[..., None], forward.decoder[..., None]], -1) + back
    devices = sharing.devices[..., None]
    stages = np.arange(forward.stages.shape[-1])
    # Stages after the last device are empty; the decoder has the last place in every row.
    window = np.maximum(one_f_one_b_window(devices + 2, stages), 1)
    window[..., -1] = 1
    used = (stages <= devices) | (stages == stages[-1])
    allowed: Array = np.where(used, trips / window, 0.0).max(-1)
    return allowed


def _backward_to_stages(times: PassTimes, sharing: Sharing) -> tuple[Array, Array]:
    """For every stage, decoder included, the fill and the beat of the backward pass up to it."""
    decoder, edge = times.decoder, times.edge
    start = (decoder + edge + times.edge_latency)[..., None]
    steps = times.before_decoder + times.hops + times.hop_latency
    fills = np.concatenate([start + _sum_from_end(steps), decoder[..., None]], -1)
    pairs = times.hops + np.concatenate([times.hops[..., 1:], 0 * times.hops[..., :1]], -1)
    last = np.take_along_axis(times.hops, sharing.devices[..., None], -1)
    half = _highest_from_end(pairs)  # of two hops at a device, or the last alone
    half[..., :1] = np.maximum(half[..., :1], times.hops[..., :1] + last)
    hops = np.where(sharing.half_duplex[..., None], half, _highest_from_end(times.hops))
    hops = np.where(sharing.medium[..., None], _sum_from_end(times.hops), hops)
    first = np.maximum(np.maximum(decoder, edge), times.floor)[..., None]
    beats = np.maximum(np.maximum(_highest_from_end(times.before_decoder), hops), first)
    at_decoder = np.maximum(decoder, times.floor)[..., None]
    return fills, np.concatenate([beats, at_decoder], -1)


def _sum_from_end(values: Array) -> Array:
    """Σ over this place and all after it."""
    return np.cumsum(values[..., ::-1], -1)[..., ::-1]


def _highest_from_end(values: Array) -> Array:
    """The highest of this place and all after it."""
    return np.maximum.accumulate(values[..., ::-1], -1)[..., ::-1]
