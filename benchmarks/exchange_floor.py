"""The floor of a round: the least time of any plan, however its parameters are exchanged.

A round takes at least

    D / C_down + t + U / C_up

- D are the bytes of the global model that every cluster needs: the embedding and all encoder
  blocks, as the base station has the decoder. They travel over the downlink at least once, so that
  no control unit has all of them before D / C_down.
- t is the least time from the arrival of the last of these bytes at a control unit until the first
  segment of any cluster is trained (`Training`). The forward pass of the first local step needs all
  parameters, so no segment is trained before D / C_down + t.
- U are the bytes that all clusters have trained. Nothing of them can be sent before the first
  segment is trained, and from then on all of them travel over the uplink.

The activations of all clusters travel over the uplink too, after the last byte and not at the same
time as the parameters. If their airtime A / C_up is longer than t, it takes the place of t, which
makes the floor a bit higher (`Floor.with_activations_s`).

A capacity C is the goodput of the best code over the whole band, as `Medium` describes the radio.
Clusters at different base stations have a downlink and an uplink of their own for each station, and
the floor is that of the station that needs the longest.

The floor holds for plans in which every cluster trains with one pipeline, with the embedding on its
control unit and the decoder on the base station. It counts batches of the usual length. Sounding,
the average at the base station, and latencies of the radio are left out, which only makes it lower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations, pairwise, permutations
from typing import Self

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.exchange import Blocks, Units
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Medium, Observation
from collapipe_ns3.plan import micro_batch_sizes

#: With more devices in a cluster, trying out all segments takes too long.
MOST_DEVICES = 6


class NoFloor(ValueError):
    """The floor of a study is not known; the message says why."""


#: The devices of a pipeline in order, each with its number of blocks.
Division = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Segments:
    """A division of the encoder, and the number of micro-batches."""

    blocks: Division
    micro_batches: int

    def __str__(self) -> str:
        line = " → ".join(f"{name}[{count}]" for name, count in self.blocks)
        return f"{line}, {self.micro_batches} micro-batches"


@dataclass(frozen=True, slots=True)
class Floor:
    """The three terms of the floor in seconds, with the bytes and the capacities behind them.

    `down_bytes` is what every cluster needs, and `up_bytes` what all clusters of the station send.
    `segments` are those with which the second term was found. `activation_bytes` are those of all
    local steps of the station's clusters.
    """

    down_bytes: int
    down_bps: float
    training_s: float
    segments: Segments
    up_bytes: int
    up_bps: float
    activation_bytes: int

    @property
    def down_s(self) -> float:
        """The least time in which the global model comes down."""
        return 8 * self.down_bytes / self.down_bps

    @property
    def up_s(self) -> float:
        """The least time in which the trained models go up."""
        return 8 * self.up_bytes / self.up_bps

    @property
    def total_s(self) -> float:
        """The floor of the round."""
        return self.down_s + self.training_s + self.up_s

    @property
    def with_activations_s(self) -> float:
        """The floor of the round, with the activations' airtime on the uplink if it is longer."""
        airtime_s = 8 * self.activation_bytes / self.up_bps
        return self.down_s + max(self.training_s, airtime_s) + self.up_s


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The bytes of a round's parameters: what each cluster receives, and what it sends."""

    down: Mapping[int, int]
    up: Mapping[int, int]


@dataclass(frozen=True)
class FloorOf:
    """The floor of the rounds of a study, for any sizes of the parameters that travel.

    With `evenly`, no device has more blocks than an even division among its cluster's devices gives
    the first of them, which is roughly what the setting `memory: fair` of CollaPipe allows.
    """

    seen: Observation
    work: Workload
    evenly: bool = False

    def whole(self, format: ParameterFormat = FP32) -> Exchanged:
        """All parameters of the embedding and the encoder in a format, both down and up."""
        blocks = (Blocks(0, self.work.blocks - 1),)
        size = self.work.model.units_bytes(Units(embedding=True, blocks=blocks), format)
        clusters = range(len(self.seen.devices))
        return Exchanged(dict.fromkeys(clusters, size), dict.fromkeys(clusters, size))

    def of(self, exchanged: Exchanged) -> Floor:
        """The floor of a round in which these bytes are exchanged.

        What the clusters of a station receive of different sizes counts as the largest of them,
        since they may have received it together.
        """
        floors = (self._of_station(each, exchanged) for each in self._stations)
        return max(floors, key=lambda floor: floor.total_s)

    def _of_station(self, clusters: Sequence[int], exchanged: Exchanged) -> Floor:
        control = control_unit(clusters[0])
        least = min((self._training[n] for n in clusters), key=lambda found: found[0])
        return Floor(
            down_bytes=max(exchanged.down.get(n, 0) for n in clusters),
            down_bps=capacity_bps(medium_of(self.seen, SERVER, control)),
            training_s=least[0],
            segments=least[1],
            up_bytes=sum(exchanged.up.get(n, 0) for n in clusters),
            up_bps=capacity_bps(medium_of(self.seen, control, SERVER)),
            activation_bytes=len(clusters) * self._activation_bytes,
        )

    @cached_property
    def _activation_bytes(self) -> int:
        """What a cluster sends to the base station in all local steps, the labels left out."""
        output = self.work.model.blocks[-1].output
        batch = output.bytes_on_air(self.work.wire, self.work.shape(self.work.batch_size))
        return self.work.local_steps * batch

    @cached_property
    def _stations(self) -> list[list[int]]:
        """The clusters of each base station: those whose uplinks share a medium."""
        found: dict[str, list[int]] = {}
        for n in range(len(self.seen.devices)):
            medium = medium_of(self.seen, control_unit(n), SERVER)
            found.setdefault(medium.name, []).append(n)
        return list(found.values())

    @cached_property
    def _training(self) -> list[tuple[float, Segments]]:
        """Of each cluster, the least time until a segment is trained, and the segments."""
        found, blocks = [], self.work.blocks
        for n, devices in enumerate(self.seen.devices):
            most = math.ceil(blocks / len(devices)) if self.evenly else blocks
            found.append(Training(self.seen, self.work, n, most).least())
        return found


def medium_of(seen: Observation, src: str, dst: str) -> Medium:
    """The medium of a link; raises `NoFloor` where it is not known."""
    for medium in seen.media:
        if (src, dst) in medium.links:
            return medium
    raise NoFloor(f"nothing is known of the radio between {src} and {dst}")


def capacity_bps(medium: Medium) -> float:
    """Payload in bit/s that a medium carries with its best code over its whole band."""
    if not medium.densities:
        raise NoFloor(f"no codes are known of {medium.name}")
    return medium.goodput_bps(math.inf)


@dataclass(frozen=True, slots=True)
class _Task:
    """What a micro-batch takes on its way: `hold_s` of a resource, and `least_s` of time."""

    resource: str
    hold_s: float
    least_s: float


#: The tasks of a micro-batch in a local step, in order.
_Way = Sequence[_Task]


@dataclass(frozen=True)
class _Sizes:
    """What a micro-batch of some size takes: FLOPs before each block, and bytes between blocks.

    `forward` and `backward` are sums over the blocks before each, so that a segment's FLOPs are a
    difference. `outputs` and `gradients` are those of the embedding, and then of each block. `ends`
    has the FLOPs of embedding and decoder, ahead and back.
    """

    forward: Sequence[int]
    backward: Sequence[int]
    outputs: Sequence[int]
    gradients: Sequence[int]
    ends: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def of(cls, work: Workload, sequences: int) -> Self:
        shape, model = work.shape(sequences), work.model
        blocks, sending = model.blocks, [model.first, *model.blocks]
        embedding, decoder = (
            (part.forward_flops(shape), part.backward_flops(shape))
            for part in (model.first, model.last)
        )
        return cls(
            list(accumulate((each.forward_flops(shape) for each in blocks), initial=0)),
            list(accumulate((each.backward_flops(shape) for each in blocks), initial=0)),
            [each.output.bytes_on_air(work.wire, shape) for each in sending],
            [each.gradient.bytes_on_air(work.wire, shape) for each in sending],
            (embedding, decoder),
        )


@dataclass(frozen=True)
class Training:
    """The least time from the last byte's arrival at a control unit to the first trained segment.

    In a local step every micro-batch goes from the control unit through all segments to the base
    station, and its gradients go back the same way. Segment S, the last before the base station, is
    trained first, as every other segment has its last gradients from it. The control unit begins a
    local step only when it has ended the one before, since its embedding is trained last.

    The last byte is best one of segment S: all that is done before a micro-batch reaches it may
    have been done before, and nothing after. It takes one more hop, of a slot at least. For τ local
    steps, t is therefore at least the sum of

    - the hop of the last byte,
    - the first step, from the first computation of segment S on,
    - τ − 2 whole steps,
    - the last step, up to the last backward pass of segment S and an optimizer step.

    With τ = 1 first and last step are one, from the first to the last computation of segment S.

    Each of these parts takes at least as long as the largest micro-batch needs to go through it
    alone. And for every resource (a processor, the band of the sidelinks, of the uplink, of the
    downlink) it takes at least

        head + Σ_m hold_m + tail,

    with `hold_m` the time for which micro-batch m has the resource to itself, `head` the time
    before any micro-batch can reach it, and `tail` the time of any micro-batch after its last use,
    both of the smallest micro-batch. This holds for any order of computations and transfers, thus
    for any schedule. t is the least sum over all numbers of micro-batches, all choices of devices
    in any order, and all divisions of the blocks among them. No segment has more than `most_blocks`
    blocks; the memory of devices is not asked otherwise.
    """

    seen: Observation
    work: Workload
    cluster: int
    most_blocks: int

    def least(self) -> tuple[float, Segments]:
        """The least time in seconds, and the segments and micro-batches that have it."""
        if self.work.model.local_head is not None:
            raise NoFloor("training.mode: expected end_to_end, as a local head needs no gradients")
        names = self.seen.devices[self.cluster]
        if len(names) > MOST_DEVICES:
            raise NoFloor(
                f"cluster {self.cluster} has {len(names)} devices, and all orders of at most "
                f"{MOST_DEVICES} can be tried"
            )
        best = (math.inf, Segments((), 0))
        # Most divisions need not be tried, as a resource alone takes longer than the best one.
        alone = ((self._alone_s(each, 1), each) for each in self.divisions())
        ordered = sorted(alone, key=lambda each: each[0])
        for alone_s, blocks in ordered:
            if alone_s >= best[0]:
                break
            for micro_batches in range(1, self.work.batch_size + 1):
                if self._alone_s(blocks, micro_batches) < best[0]:
                    segments = Segments(blocks, micro_batches)
                    best = min(best, (self.least_s(segments), segments), key=lambda each: each[0])
        return best

    def divisions(self) -> Iterator[Division]:
        """All ways to divide the blocks among some of the cluster's devices, in any order."""
        names, blocks = self.seen.devices[self.cluster], self.work.blocks
        for stages in range(1, min(len(names), blocks) + 1):
            cuts = (pairwise((0, *at, blocks)) for at in combinations(range(1, blocks), stages - 1))
            counts = [tuple(end - begin for begin, end in cut) for cut in cuts]
            for order in permutations(names, stages):
                for each in counts:
                    if max(each) <= self.most_blocks:
                        yield tuple(zip(order, each, strict=True))

    def least_s(self, segments: Segments) -> float:
        """The bound for these segments."""
        sizes = micro_batch_sizes(self.work.batch_size, segments.micro_batches)
        counted = [
            (sizes.count(size), self._way(segments.blocks, self._sizes[size]))
            for size in dict.fromkeys(sizes)
        ]
        stages = len(segments.blocks)
        enter, leave, end = 2 * stages, 2 * stages + 8, 4 * stages + 8
        hop_s = self._sidelink.slot_s
        smallest = min(block.parameter_bytes for block in self.work.model.blocks)
        trained_s = min(self._step_s(name, n * smallest) for name, n in segments.blocks)
        if self.work.local_steps == 1:
            return hop_s + _part_s(counted, enter, leave) + trained_s
        step_s = self._step_s(self._control, self.work.model.first.parameter_bytes)
        more = self.work.local_steps - 2
        whole_s = _part_s(counted, 0, end) + step_s if more else 0.0
        first_s = _part_s(counted, enter, end) + step_s
        last_s = _part_s(counted, 0, leave) + trained_s
        return hop_s + first_s + more * whole_s + last_s

    def _alone_s(self, blocks: Division, micro_batches: int) -> float:
        """A lower bound of `least_s` that takes less time: the most that one resource is in use."""
        sizes = self._sizes[self.work.batch_size]
        steps, stages = self.work.local_steps, len(blocks)
        # Once ahead and back over each of the hops in a whole step; less in the first and the last.
        hops = 2 if steps == 1 else 2 * (stages + 1) * (steps - 2) + 2 * (stages + 2)
        message = min(*sizes.outputs, *sizes.gradients)
        most_s = hops * self._hop(self._sidelink, message).hold_s
        first = 0
        for name, count in blocks:
            last = first + count
            flops = sizes.forward[last] - sizes.forward[first]
            flops += sizes.backward[last] - sizes.backward[first]
            times = steps if last == self.work.blocks else steps - 1
            profile = self.seen.profiles[name]
            once_s = 2 * micro_batches * profile.overhead_s + flops / profile.flops_per_s
            most_s = max(most_s, times * once_s)
            first = last
        return most_s

    def _way(self, blocks: Division, sizes: _Sizes) -> _Way:
        """What a micro-batch takes from the control unit to the base station and back.

        Its labels are left out: they may be sent before.
        """
        embedding, decoder = sizes.ends
        forward = [self._compute(self._control, embedding[0])]
        backward = [self._compute(self._control, embedding[1])]  # from the control unit on
        first = 0
        for name, count in blocks:
            last = first + count
            forward.append(self._hop(self._sidelink, sizes.outputs[first]))
            forward.append(self._compute(name, sizes.forward[last] - sizes.forward[first]))
            backward.append(self._hop(self._sidelink, sizes.gradients[first]))
            backward.append(self._compute(name, sizes.backward[last] - sizes.backward[first]))
            first = last
        edge = [
            self._hop(self._sidelink, sizes.outputs[first]),
            self._hop(self._uplink, sizes.outputs[first]),
            self._compute(SERVER, decoder[0]),
            self._compute(SERVER, decoder[1]),
            self._hop(self._downlink, sizes.gradients[first]),
            self._hop(self._sidelink, sizes.gradients[first]),
        ]
        return [*forward, *edge, *reversed(backward)]

    def _compute(self, node: str, flops: float) -> _Task:
        profile = self.seen.profiles[node]
        seconds = profile.overhead_s + flops / profile.flops_per_s
        return _Task(node, seconds, seconds)

    def _hop(self, medium: Medium, size_bytes: int) -> _Task:
        """A transfer over the whole band, which takes no part of a band that nobody else uses."""
        seconds = 8 * size_bytes / capacity_bps(medium)
        hold_s = seconds if medium.shared or medium.grants else 0.0
        return _Task(medium.name, hold_s, max(seconds, medium.slot_s) + medium.latency_s)

    def _step_s(self, node: str, parameter_bytes: int) -> float:
        """An optimizer step on parameters of this size."""
        return self._compute(node, self.work.step_flops(parameter_bytes)).least_s

    @cached_property
    def _sizes(self) -> Mapping[int, _Sizes]:
        """What a micro-batch takes, by its number of sequences."""
        return {n: _Sizes.of(self.work, n) for n in range(1, self.work.batch_size + 1)}

    @property
    def _control(self) -> str:
        return control_unit(self.cluster)

    @cached_property
    def _sidelink(self) -> Medium:
        return medium_of(self.seen, self._control, self.seen.devices[self.cluster][0])

    @cached_property
    def _uplink(self) -> Medium:
        return medium_of(self.seen, self._control, SERVER)

    @cached_property
    def _downlink(self) -> Medium:
        return medium_of(self.seen, SERVER, self._control)


def _part_s(counted: Sequence[tuple[int, _Way]], begin: int, end: int) -> float:
    """The least time in which all micro-batches go through this part of their way.

    `counted` are the ways of micro-batches, largest first, and how many there are of each.
    """
    parts = [(count, way[begin:end]) for count, way in counted]
    largest, smallest = parts[0][1], parts[-1][1]
    most_s = sum(task.least_s for task in largest)
    for resource in dict.fromkeys(task.resource for task in smallest):
        uses = [n for n, task in enumerate(smallest) if task.resource == resource]
        head_s = sum(task.least_s for task in smallest[: uses[0]])
        tail_s = sum(task.least_s for task in smallest[uses[-1] + 1 :])
        held_s = sum(count * sum(way[n].hold_s for n in uses) for count, way in parts)
        most_s = max(most_s, head_s + held_s + tail_s)
    return most_s
