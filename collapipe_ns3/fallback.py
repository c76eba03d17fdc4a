"""The pipeline that goes on where another one has lost devices: a pure function of the survivors.

Its number of micro-batches, its schedule and its share of the data are those of the pipeline before
it, so that it computes the same in every local step.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

from collapipe_ns3.nodes import SERVER
from collapipe_ns3.plan import Pipeline, Stage

#: The most orders of devices that are compared.
_MOST_LINES = 256


class Hosts(Protocol):
    """What the nodes of a pipeline's cluster can hold of it, and how long they compute."""

    def has_room(self, pipeline: Pipeline, number: int) -> bool:
        """Whether the device of segment `number` has the memory for its part of a pipeline.

        It depends on that segment, on the number of segments, and on what else of the pipeline is
        on the device; not on the blocks of other segments.
        """
        ...

    def stage_s(self, pipeline: Pipeline, number: int) -> float:
        """Seconds in which segment `number` computes a micro-batch, forward and backward.

        It depends on that segment alone.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class AnyHosts:
    """Devices that are all equally fast, and have room for everything."""

    def has_room(self, pipeline: Pipeline, number: int) -> bool:
        return True

    def stage_s(self, pipeline: Pipeline, number: int) -> float:
        return float(pipeline.stages[number].blocks)


def is_replaceable(pipeline: Pipeline) -> bool:
    """Whether a pipeline can go on without any of its devices: see `fallback` for its inputs."""
    return any(stage.device not in (pipeline.embedding, SERVER) for stage in pipeline.stages)


class NoFallback(ValueError):
    """A pipeline can't go on without the devices that it has lost; the message says why."""


def fallback(
    pipeline: Pipeline, lost: Collection[str], hosts: Hosts, idle: Sequence[str] = ()
) -> Pipeline:
    """The pipeline without the devices `lost`; raises `NoFallback` if there is none.

    The devices that are left keep their order and at least one block each. A device of `idle`,
    which has no segment of any pipeline, may take the place of a lost one. Of all divisions of the
    blocks that fit the devices' memory, the one with the least time of the slowest segment is
    taken. Of several, it is the one that moves the fewest blocks to other devices, then the one
    with the fewest new devices, in the order of `idle`, and then the one with more blocks on
    earlier devices.

    At most 256 orders of devices are compared, which are all unless many devices are lost at once.

    Decisions of this project:

    - The inputs of a batch enter a pipeline where its embedding is. A device with the embedding has
      its data itself, and nobody else has it: without that device there is no fallback. So a
      pipeline of a single device that trains the whole model fails, and the cluster's others go on.
    - A decoder on a lost device goes to the base station, which has the parameters of all units.
    """
    if pipeline.embedding in lost:
        raise NoFallback(f"{pipeline.embedding} has the data of the pipeline, and nobody else does")
    if pipeline.decoder in lost:
        pipeline = dataclasses.replace(pipeline, decoder=None)
    known: _Known = {}
    found = [
        _divided(line, pipeline, hosts, known)
        for line in itertools.islice(_lines(pipeline, lost, idle), _MOST_LINES)
    ]
    best = min((each for each in found if each is not None), default=None)
    if best is None:
        left = [stage.device for stage in pipeline.stages if stage.device not in lost]
        named = ", ".join(dict.fromkeys([*left, *idle]))
        what = f"{named} lack the memory for its segments" if named else "no device is left"
        raise NoFallback(what)
    return dataclasses.replace(pipeline, stages=_stages(best.line, best.counts))


#: The stages of a line of devices, whose blocks are to be divided anew.
_Line = tuple[Stage, ...]


class _Division(NamedTuple):
    """A division of the blocks over a line; the better of two is the smaller one."""

    slowest_s: float
    moved: int
    added: int
    order: int
    fewer_first: tuple[int, ...]  # the negative numbers of blocks
    line: _Line

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(-blocks for blocks in self.fewer_first)


def _lines(
    pipeline: Pipeline, lost: Collection[str], idle: Sequence[str]
) -> Iterator[tuple[int, int, _Line]]:
    """Orders of devices, those with fewer new devices first: (its place, new devices, stages)."""
    gaps = [stage for stage in pipeline.stages if stage.device in lost]
    order = itertools.count()
    for added in range(min(len(gaps), len(idle)) + 1):
        for places in itertools.combinations(gaps, added):
            for devices in itertools.permutations(idle, added):
                new = dict(zip((stage.device for stage in places), devices, strict=True))
                line = tuple(
                    dataclasses.replace(stage, device=new.get(stage.device, stage.device))
                    for stage in pipeline.stages
                    if stage.device not in lost or stage.device in new
                )
                if line:
                    yield next(order), added, line


def _divided(
    numbered: tuple[int, int, _Line], pipeline: Pipeline, hosts: Hosts, known: _Known
) -> _Division | None:
    """The best division over a line, by dynamic programming; None if nothing fits.

    `best[b]` is the best division of the first b blocks over the stages so far.
    """
    order, added, line = numbered
    blocks = sum(stage.blocks for stage in pipeline.stages)
    had = {
        block: stage.device
        for stage in pipeline.stages
        for block in range(stage.first, stage.last + 1)
    }
    seconds = _times(line, blocks, pipeline, hosts, known)
    slowest_s = _least_slowest(seconds, len(line), blocks)
    if slowest_s is None:
        return None
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for number, stage in enumerate(line):
        reached: dict[int, tuple[int, tuple[int, ...]]] = {}
        for (at, first, end), lasting_s in seconds.items():
            if at != number or first not in best or lasting_s > slowest_s:
                continue
            moved, fewer = best[first]
            moved += sum(had[block] != stage.device for block in range(first, end))
            candidate = moved, (*fewer, first - end)
            reached[end] = min(reached.get(end, candidate), candidate)
        best = reached
    moved, fewer = best[blocks]
    return _Division(slowest_s, moved, added, order, fewer, line)


#: Seconds of the segment with these blocks, by (number of the stage, first block, end), where the
#: device has room for it.
_Times = dict[tuple[int, int, int], float]


#: Seconds of a segment by its number, their number, and the segment; None where it lacks room.
_Known = dict[tuple[int, int, Stage], float | None]


def _times(line: _Line, blocks: int, pipeline: Pipeline, hosts: Hosts, known: _Known) -> _Times:
    """The segments that fit; `known` has those of other lines, to which these are added."""
    seconds: _Times = {}
    for number, stage in enumerate(line):
        for first in range(number, blocks - len(line) + number + 1):
            for end in range(first + 1, blocks - len(line) + number + 2):
                own = dataclasses.replace(stage, first=first, last=end - 1)
                key = number, len(line), own
                if key not in known:
                    stages = (*line[:number], own, *line[number + 1 :])
                    tried = dataclasses.replace(pipeline, stages=stages)
                    fits = hosts.has_room(tried, number)
                    known[key] = hosts.stage_s(tried, number) if fits else None
                lasting_s = known[key]
                if lasting_s is None:
                    break  # nor has it room for more blocks
                seconds[number, first, end] = lasting_s
    return seconds


def _least_slowest(seconds: _Times, stages: int, blocks: int) -> float | None:
    """The least time of the slowest segment; None if no division fits."""
    best = {0: 0.0}
    for number in range(stages):
        reached: dict[int, float] = {}
        for (at, first, end), lasting_s in seconds.items():
            if at == number and first in best:
                slowest_s = max(best[first], lasting_s)
                reached[end] = min(reached.get(end, slowest_s), slowest_s)
        best = reached
    return best.get(blocks)


def _stages(line: _Line, counts: Sequence[int]) -> tuple[Stage, ...]:
    ends = list(itertools.accumulate(counts))
    return tuple(
        dataclasses.replace(stage, first=end - count, last=end - 1)
        for stage, count, end in zip(line, counts, ends, strict=True)
    )
