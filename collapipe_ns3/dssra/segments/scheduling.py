"""Segment scheduling: which devices hold which blocks, in what order, and how batches are cut.

For every cluster this chooses the number of segments, the devices and their order, the blocks on
each, the number of micro-batches among the divisors of the batch, and the schedule. With the radio
as it is, their cost (`dssra.segments.tables`) is the lowest in clusters of up to `EXACT_DEVICES`
devices; larger clusters are searched. Memory is a limit and has no price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.segments import exact, search
from collapipe_ns3.dssra.segments.problem import Cases, RowPlans, SegmentProblem
from collapipe_ns3.dssra.segments.tables import (
    Tables,
    kept_micro_batches,
    rooms,
    seconds_per_byte,
)
from collapipe_ns3.plan import Pipeline
from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import SecondsPerByte
from collapipe_ns3.prediction.round_costs import pass_times
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.step_time import one_f_one_b_beat_s, window_beat_s
from collapipe_ns3.schedule import one_f_one_b_window

#: Clusters of up to so many devices are solved exactly.
EXACT_DEVICES = 6

#: Up to so many devices, the exact solver is not given the cost of a first plan as a limit.
_AT_ONCE_DEVICES = 4

#: How many numbers of micro-batches are searched, after a rough comparison of all.
_CLOSER = 2

_CLOSELY = 12  # The sets that a search improves in each pass, for a few clusters.
_MANY = 100  # With so many clusters, only the best set is improved.

_MIB = 2**20


@dataclass(frozen=True)
class Scheduled:
    """The best segments of every cluster under one schedule, and their J, (P,).

    J is infinite, and the counts are zero, where no plan fits the cluster's memory.
    """

    cost: Array
    segments: Segments

    @property
    def exists(self) -> Mask:
        """The clusters for which there is a plan, (P,)."""
        return np.isfinite(self.cost)

    @classmethod
    def none(cls, fleet: Fleet, one_f: bool) -> Scheduled:
        """No plan for any cluster of this fleet."""
        nothing = np.zeros((fleet.clusters, fleet.nodes - 1), dtype=np.intp)
        micro_batches = np.ones(fleet.clusters, dtype=np.intp)
        schedules = np.full(fleet.clusters, one_f)
        segments = Segments(nothing, nothing.copy(), micro_batches, schedules)
        return cls(np.full(fleet.clusters, np.inf), segments)

    def with_rows(self, rows: Ints, part: Scheduled) -> Scheduled:
        """This, with some rows replaced by those of `part`, which may have fewer devices."""
        cost, micro_batches = self.cost.copy(), self.segments.micro_batches.copy()
        order, counts = self.segments.order.copy(), self.segments.counts.copy()
        width = part.segments.order.shape[1]
        cost[rows], micro_batches[rows] = part.cost, part.segments.micro_batches
        order[rows, :width], counts[rows, :width] = part.segments.order, part.segments.counts
        return Scheduled(cost, Segments(order, counts, micro_batches, self.segments.one_f))


def schedule(problem: SegmentProblem, start: Segments | None = None) -> list[Scheduled]:
    """For each allowed schedule, every cluster's best segments.

    Larger clusters are searched, or, where there is a plan to start from, improved by single moves.
    """
    found: list[Scheduled] = []
    small = problem.fleet.size <= EXACT_DEVICES
    for one_f in problem.choices.schedules:
        best = Scheduled.none(problem.fleet, one_f)
        if small.any():
            those = np.flatnonzero(small)
            best = best.with_rows(those, _exactly(problem, those, one_f))
        if not small.all():
            those = np.flatnonzero(~small)
            # Where there is a plan under GPipe, that under 1F1B differs little.
            near = start or (found[0].segments if found else None)
            part = _nearly(problem, those, one_f, near.take(those) if near else None)
            best = best.with_rows(those, part)
        found.append(best)
    return found


def _exactly(problem: SegmentProblem, clusters: Ints, one_f: bool) -> Scheduled:
    """The best plans of these clusters (C,), which have few devices each."""
    devices = int(problem.fleet.size[clusters].max())
    narrow = problem.narrowed(clusters, np.tile(np.arange(devices), (len(clusters), 1)))
    cases = Cases.every(clusters, np.array(problem.choices.micro_batches), one_f, devices)
    limit = np.full(len(clusters), np.inf)
    if devices > _AT_ONCE_DEVICES:
        # The cost of a good plan lets the solver discard worse ones early.
        near = _by_search(problem, clusters, one_f, closely=1)
        limit = near.cost
        if (
            one_f and problem.windows
        ):  # Plans that cost more by the tables may lose less to windows.
            limit = limit + _window_cost(problem, clusters, near)
        limit = limit * (1 + 1e-9)
    found = RowPlans.none(len(clusters), devices)
    micro_batches = np.ones(len(clusters), dtype=np.intp)
    sizes = np.arange(1, min(devices, problem.work.blocks) + 1)
    rows = len(cases)
    # All sizes at once: one after another the tables would take longer to make.
    every_size = Cases(
        np.tile(cases.cluster, len(sizes)),
        np.tile(cases.micro_batches, len(sizes)),
        np.tile(cases.one_f, len(sizes)),
        np.repeat(sizes, rows),
    )
    made = Tables.of(narrow, every_size)
    for number, size in enumerate(sizes):
        below = np.repeat(np.minimum(limit, found.cost), rows // len(clusters))
        plans = exact.best(made.take(slice(number * rows, (number + 1) * rows)), int(size), below)
        if one_f and problem.windows:
            windows = _window_cost(problem, cases.cluster, _scheduled(plans, cases))
            plans = replace(plans, cost=plans.cost + windows)
        at = _best_case(plans, len(clusters))
        better = plans.cost[at] < found.cost
        micro_batches = np.where(better, cases.micro_batches[at], micro_batches)
        found = found.or_better(plans.take(at))
    best = Cases(clusters, micro_batches, np.full(len(clusters), one_f), found.size)
    return _scheduled(found, best)


def _window_cost(problem: SegmentProblem, clusters: Ints, plans: Scheduled) -> Array:
    """What 1F1B's windows add to the J of plans (R,), each for one of these clusters (R,)."""
    extra = np.zeros(len(clusters))
    rows = np.flatnonzero(plans.exists)
    if not len(rows):
        return extra
    segments, at = plans.segments.take(rows), clusters[rows]
    unused = ((0, 0), (0, problem.fleet.nodes - 1 - segments.order.shape[1]))
    segments = replace(
        segments, order=np.pad(segments.order, unused), counts=np.pad(segments.counts, unused)
    )
    fleet, radio = problem.fleet.take(at), problem.radio.take(at)
    cases = Cases(at, segments.micro_batches, segments.one_f, segments.size)
    per_byte = SecondsPerByte(
        sidelink=seconds_per_byte(problem.fleet, problem.radio, cases),
        uplink=fleet.links.uplink.seconds_per_byte(radio.uplink),
        downlink=fleet.links.downlink.seconds_per_byte(radio.downlink),
    )
    passes = pass_times(fleet, problem.work, per_byte, segments)
    passes = passes.with_floor(problem.loads.floor()[:, at] / segments.micro_batches)
    more = np.maximum(window_beat_s(passes) - one_f_one_b_beat_s(passes), 0.0)
    step_price = problem.prices.time[at] * problem.work.local_steps
    extra[rows] = step_price * (segments.micro_batches - 1) * more
    return extra


def _nearly(
    problem: SegmentProblem, clusters: Ints, one_f: bool, start: Segments | None
) -> Scheduled:
    """Good plans of these clusters, by search or by single moves from `start`."""
    if start is None:
        closely = max(min(_MANY // len(clusters), _CLOSELY), 1)
        return _by_search(problem, clusters, one_f, closely)
    found = _improved(problem, clusters, one_f, start)
    if not found.exists.all():
        rows = np.flatnonzero(~found.exists)
        found = found.with_rows(rows, _by_search(problem, clusters[rows], one_f, closely=1))
    return found


def _improved(problem: SegmentProblem, clusters: Ints, one_f: bool, start: Segments) -> Scheduled:
    """The best single moves from plans that may have been made for the other schedule."""
    devices = problem.fleet.nodes - 1
    narrow = problem.narrowed(clusters, np.tile(np.arange(devices), (len(clusters), 1)))
    schedules = np.full(len(clusters), one_f)
    cases = Cases(clusters, start.micro_batches, schedules, np.maximum(start.size, 1))
    used = start.counts > 0
    order = np.where(used, start.order - 1, 0)
    for row in range(len(clusters)):
        free = np.setdiff1d(np.arange(devices), order[row, used[row]])
        order[row, ~used[row]] = free
    return _scheduled(search.polish(Tables.of(narrow, cases), order, start.counts), cases)


def _by_search(problem: SegmentProblem, clusters: Ints, one_f: bool, closely: int) -> Scheduled:
    """Good plans of these clusters (C,), by `search.best`.

    Only the numbers of micro-batches that are best by a rough estimate are searched.
    """
    m = np.array(problem.choices.micro_batches)
    chosen = _promising(problem, clusters, one_f)
    narrow = problem.narrowed(clusters, chosen)
    guess = max(chosen.shape[1] // 2, 1)
    rough = search.quick(Tables.of(narrow, Cases.every(clusters, m, one_f, guess)))
    few = min(_CLOSER, len(m))
    closer = np.argsort(rough.reshape(len(clusters), len(m)), -1, kind="stable")[:, :few]
    cases = replace(
        Cases.every(clusters, np.arange(few), one_f, guess), micro_batches=m[closer].ravel()
    )
    plans = search.best(narrow, cases, closely)
    at = _best_case(plans, len(clusters))
    best = plans.take(at)
    # Replaces devices' numbers among the chosen ones by their numbers among all.
    unused = ((0, 0), (0, problem.fleet.nodes - 1 - chosen.shape[1]))
    best = replace(
        best,
        order=np.pad(np.take_along_axis(chosen, best.order, -1), unused),
        counts=np.pad(best.counts, unused),
    )
    return _scheduled(best, cases.take(at))


def _best_case(plans: RowPlans, clusters: int) -> Ints:
    """The row of each cluster's cheapest case, (C,); a cluster's cases are consecutive rows."""
    every = np.arange(len(plans.cost)).reshape(clusters, -1)
    best: Ints = every[np.arange(clusters), plans.cost[every].argmin(-1)]
    return best


def _scheduled(plans: RowPlans, cases: Cases) -> Scheduled:
    """Plans of these cases, with devices by their node numbers, which start at 1."""
    order = np.where(plans.counts > 0, plans.order + 1, 0)
    return Scheduled(plans.cost, Segments(order, plans.counts, cases.micro_batches, cases.one_f))


def _promising(problem: SegmentProblem, clusters: Ints, one_f: bool) -> Ints:
    """The devices of each cluster that are searched, (C, ≤ `search.MOST_DEVICES`), from 0 on.

    These are all devices if there are no more than that; otherwise the fastest, or those with the
    most memory where the fastest have too little together.
    """
    fleet, work = problem.fleet, problem.work
    devices = fleet.nodes - 1
    if devices <= search.MOST_DEVICES:
        return np.broadcast_to(np.arange(devices), (len(clusters), devices))
    room = _most_blocks(problem, clusters, one_f)
    speed = np.where(room > 0, fleet.flops_per_s[clusters, 1:], 0.0)
    fastest = np.argsort(-speed, -1, kind="stable")[:, : search.MOST_DEVICES]
    roomiest = np.argsort(-room, -1, kind="stable")[:, : search.MOST_DEVICES]
    enough = np.take_along_axis(room, fastest, -1).sum(-1) >= work.blocks
    chosen: Ints = np.where(enough[:, None], fastest, roomiest)
    return chosen


def _most_blocks(problem: SegmentProblem, clusters: Ints, one_f: bool) -> Ints:
    """For how many blocks each device has memory at most, over all micro-batch numbers, (C, K)."""
    most = np.zeros((len(clusters), problem.fleet.nodes - 1), dtype=np.intp)
    for micro_batches in problem.choices.micro_batches:
        cases = Cases.every(clusters, np.array([micro_batches]), one_f, 1)
        room = rooms(problem.fleet, problem.work, cases)
        kept = _least_kept(micro_batches, one_f)
        most = np.maximum(most, (room >= kept).sum(-1) - 1)
    return most


def _least_kept(micro_batches: int, one_f: bool) -> int:
    """The fewest micro-batches that a device keeps: under 1F1B those of the last device."""
    window = one_f_one_b_window(stages=3, stage=1)  # only the decoder follows it
    return min(window, micro_batches) if one_f else micro_batches


def shortages(problem: SegmentProblem, cluster: int, devices: tuple[str, ...]) -> list[str]:
    """Why no plan fits a cluster's memory: what its devices have, hold at most, and lack."""
    work, fleet, choices = problem.work, problem.fleet, problem.choices
    only = np.array([cluster])
    room = np.max([_most_blocks(problem, only, one_f)[0] for one_f in choices.schedules], axis=0)
    least = min(
        _least_kept(m, one_f) * (work.batch_size // m)
        for one_f in choices.schedules
        for m in choices.micro_batches
    )
    block = work.held_bytes + work.format_bytes + least * work.saved_bytes
    formats = f"formats of the exchange: {work.format_bytes / _MIB:.2f} MiB; "
    lines = [
        f"expected room for {work.blocks} encoder blocks of {block / _MIB:.2f} MiB each in "
        f"training (parameters, gradients, optimizer states: {work.held_bytes / _MIB:.2f} MiB; "
        f"{formats if work.format_bytes else ''}"
        f"activations of {least} sequences: {least * work.saved_bytes / _MIB:.2f} MiB), "
        f"and there is room for {room.sum()}"
    ]
    for k, name in enumerate(devices):
        has = fleet.memory_bytes[cluster, k + 1]
        lacks = (room[k] + 1) * block - has
        line = f"{name} has {has / _MIB:.2f} MiB, room for {room[k]} blocks"
        if lacks > 0:
            line += f"; it lacks {lacks / _MIB:.2f} MiB ({int(np.ceil(lacks))} bytes) for one more"
        lines.append(line)
    return lines


def fits(fleet: Fleet, work: Workload, segments: Segments) -> Mask:
    """Whether each cluster's devices have the memory for its segments, (P,)."""
    rows, width = segments.order.shape
    each = np.arange(rows)
    cases = Cases(each, segments.micro_batches, segments.one_f, np.maximum(segments.size, 1))
    room = rooms(fleet, work, cases)[each[:, None], segments.order - 1, segments.counts]
    place = np.broadcast_to(np.arange(1, width + 1), (rows, width))
    enough = room >= kept_micro_batches(cases, place, segments.size[:, None])
    fitting: Mask = np.all((segments.counts == 0) | enough, axis=-1)
    return fitting


def segments_of(pipelines: Sequence[Pipeline], devices: Sequence[tuple[str, ...]]) -> Segments:
    """Pipelines by name as arrays, with a row for each cluster."""
    width = max(map(len, devices))
    shape = (len(pipelines), width)
    order, counts = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
    for row, (pipe, names) in enumerate(zip(pipelines, devices, strict=True)):
        for place, stage in enumerate(pipe.stages):
            order[row, place] = names.index(stage.device) + 1
            counts[row, place] = stage.blocks
    return Segments(
        order,
        counts,
        np.array([pipe.micro_batches for pipe in pipelines]),
        np.array([pipe.schedule == "1f1b" for pipe in pipelines]),
    )
