"""How long a training step takes, in closed form: what plans are ranked by.

M micro-batches pass a line: control unit, hop, device, hop, …, device, hop to the control unit,
hop to the base station, decoder; gradients come back the same way. A line whose positions are
resources of their own, each with room to queue, takes

  T = Σ(x + latency) + (M-1)·max x    (its fill, and M-1 beats of the busiest position)

where a hop holds its link for x and arrives a latency later. That is exact. Where hops share a
resource, the beat is that of all that the resource does for one micro-batch, which is an estimate:
only the event graph (`collapipe_ns3.eventgraph.timeline`) knows the order in which they take turns.

Arrays have any leading axes and the pipeline along the last one. With room for S devices, a
pipeline of fewer fills the rest with zeros: stages are [control unit, d1 … dS, decoder], hops
[into d1, …, into dS or the control unit, …], so that hop i lies between stages i and i + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the hops inside a cluster share: one medium, or half-duplex radios, or nothing.

    Booleans (...); `last` is the number of the hop into the control unit, which is that of devices.
    """

    medium: NDArray[np.bool_]
    half_duplex: NDArray[np.bool_]
    last: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of a pipeline in seconds a micro-batch; see the module for the axes.

    `edge` is the hop between control unit and base station, `floor` the least beat for reasons
    outside the pipeline (what other clusters ask of the base station and of shared radios).
    """

    stages: Array
    hops: Array
    hop_latency: Array
    edge: Array
    edge_latency: Array
    floor: Array


def fill_s(way: Way) -> Array:
    """How long a micro-batch alone takes from end to end."""
    total: Array = way.stages.sum(-1) + way.hops.sum(-1) + way.edge + _latency_s(way)
    return total


def beat_s(way: Way, sharing: Sharing) -> Array:
    """The least time between two micro-batches: the busiest resource's."""
    beats: Array = np.maximum.reduce(
        [way.stages.max(-1), way.edge, way.floor, hops_beat_s(way.hops, sharing)]
    )
    return beats


def hops_beat_s(hops: Array, sharing: Sharing) -> Array:
    """What the hops contribute: the longest, all on one medium, or all of one radio."""
    longest = hops.max(-1)
    at_devices = (hops[..., :-1] + hops[..., 1:]).max(-1)
    last = np.take_along_axis(hops, sharing.last[..., None], -1)[..., 0]
    at_control = hops[..., 0] + last
    half = np.where(sharing.half_duplex, np.maximum(at_devices, at_control), longest)
    beat: Array = np.where(sharing.medium, hops.sum(-1), half)
    return beat


def gpipe_step_s(
    forward: Way, backward: Way, sharing: Sharing, steps: Array, label: Array, micro_batches: Array
) -> Array:
    """A training step under GPipe: the forward line, then the backward line.

    `steps` are the optimizer steps by stage: each begins where its stage's last backward ends, the
    last to end ends the training step. `label` is how long the labels of a micro-batch hold the
    hop to the base station, which they all take before any activation.
    """
    more = micro_batches - 1
    line = fill_s(forward) + more * beat_s(forward, sharing)
    decoder = forward.stages[..., -1]
    edge_beat = np.maximum(np.maximum(forward.edge, decoder), forward.floor)
    behind = forward.edge + forward.edge_latency + decoder + more * edge_beat
    there = np.maximum(line, micro_batches * label + behind)
    fills, beats = _back(backward, sharing)
    ends: Array = (fills + more[..., None] * beats + steps).max(-1)
    return there + ends


def one_f_one_b_step_s(
    forward: Way, backward: Way, sharing: Sharing, steps: Array, micro_batches: Array
) -> Array:
    """An estimate of a training step under 1F1B, where both directions run side by side.

    The beat is that of the busiest resource with both directions to do, and no shorter than what
    `window_beat_s` allows.
    """
    beat = np.maximum(
        one_f_one_b_beat_s(forward, backward, sharing), window_beat_s(forward, backward, sharing)
    )
    back, _ = _back(backward, sharing)
    total: Array = fill_s(forward) + (micro_batches - 1) * beat + (back + steps).max(-1)
    return total


def one_f_one_b_beat_s(forward: Way, backward: Way, sharing: Sharing) -> Array:
    """The least time between two micro-batches under 1F1B: the busiest resource's, both ways."""
    both = forward.hops + backward.hops
    half = np.where(sharing.half_duplex, hops_beat_s(both, sharing), 0.0)
    shared = np.where(sharing.medium, both.sum(-1), half)
    own = np.maximum(beat_s(forward, sharing), beat_s(backward, sharing))
    computed = (forward.stages + backward.stages).max(-1)
    beat: Array = np.maximum.reduce([own, computed, forward.floor + backward.floor, shared])
    return beat


def window_beat_s(forward: Way, backward: Way, sharing: Sharing) -> Array:
    """What 1F1B's windows allow: stage i of N keeps N - i micro-batches in flight at most, so that
    a beat is no shorter than the round trip from stage i to the end and back divided by N - i."""
    back, _ = _back(backward, sharing)
    ahead = _from_end(forward.stages[..., :-1] + forward.hops + forward.hop_latency)
    rest = forward.edge + forward.edge_latency + forward.stages[..., -1]
    trips = np.concatenate([ahead + rest[..., None], forward.stages[..., -1:]], -1) + back
    devices = sharing.last[..., None]
    stages = np.arange(forward.stages.shape[-1])
    # Stages beyond the last device are empty; the decoder's place is the last in every row.
    window = np.maximum(devices + 2 - stages, 1)
    window[..., -1] = 1
    used = (stages <= devices) | (stages == stages[-1])
    allowed: Array = np.where(used, trips / window, 0.0).max(-1)
    return allowed


def evenly_s(ready_s: Array, holds_s: Array) -> Array:
    """When each of n transfers ends that share one resource evenly, each ready at its own time.

    Between two events every one of k under way gets on at 1/k of its speed. Shape (n,). One that
    would hold the resource for ever never ends, and the others share with it all the same.
    """
    left = holds_s.astype(float).copy()
    ends = np.array(ready_s, dtype=float)
    coming = [int(n) for n in np.argsort(ready_s, kind="stable")]
    active: list[int] = []
    now_s = 0.0
    # Every turn takes in one that comes, or ends one that is active.
    for _ in range(2 * len(ends)):
        if not (coming or active):
            break
        if not active:
            now_s = float(ready_s[coming[0]])
        while coming and ready_s[coming[0]] <= now_s:
            active.append(coming.pop(0))
        first = left[active].min()
        until_s = now_s + first * len(active)
        if coming and ready_s[coming[0]] < until_s:
            left[active] -= (ready_s[coming[0]] - now_s) / len(active)
            now_s = float(ready_s[coming[0]])
            continue
        if not np.isfinite(until_s):
            ends[active + coming] = np.inf
            break
        left[active] -= first
        now_s = until_s
        # What is nearly done is done: fractions that rounding leaves would never be.
        done = [n for n in active if np.isfinite(left[n]) and left[n] <= 1e-12 * holds_s[n]]
        ends[done] = now_s
        active = [n for n in active if n not in done]
    return ends


def _latency_s(way: Way) -> Array:
    total: Array = way.hop_latency.sum(-1) + way.edge_latency
    return total


def _back(way: Way, sharing: Sharing) -> tuple[Array, Array]:
    """For every stage the fill and the beat of the backward line up to it, decoder included."""
    decoder, edge = way.stages[..., -1], way.edge
    start = (decoder + edge + way.edge_latency)[..., None]
    steps = way.stages[..., :-1] + way.hops + way.hop_latency
    fills = np.concatenate([start + _from_end(steps), decoder[..., None]], -1)
    pairs = way.hops + np.concatenate([way.hops[..., 1:], 0 * way.hops[..., :1]], -1)
    last = np.take_along_axis(way.hops, sharing.last[..., None], -1)
    half = _highest_from_end(pairs)  # of two hops at a device, or the last alone
    half[..., :1] = np.maximum(half[..., :1], way.hops[..., :1] + last)
    hops = np.where(sharing.half_duplex[..., None], half, _highest_from_end(way.hops))
    hops = np.where(sharing.medium[..., None], _from_end(way.hops), hops)
    first = np.maximum(np.maximum(decoder, edge), way.floor)[..., None]
    beats = np.maximum(np.maximum(_highest_from_end(way.stages[..., :-1]), hops), first)
    at_decoder = np.maximum(decoder, way.floor)[..., None]
    return fills, np.concatenate([beats, at_decoder], -1)


def _from_end(values: Array) -> Array:
    """Σ over this place and all behind it."""
    return np.cumsum(values[..., ::-1], -1)[..., ::-1]


def _highest_from_end(values: Array) -> Array:
    return np.maximum.accumulate(values[..., ::-1], -1)[..., ::-1]
