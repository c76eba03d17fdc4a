"""Segment scheduling: which devices hold which blocks, in what order, and how batches are cut.

For every cluster the number of segments, the devices and their order, the blocks on each, the
number of micro-batches among the divisors of the batch, and the schedule that cost least with the
radio as it is (`dssra.segments.tables`); exactly in clusters of up to `EXACT_DEVICES` devices,
by search in larger ones. Memory is a limit, never a price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.segments import exact, search
from collapipe_ns3.dssra.segments.tables import Cases, Prices, Tables, nominal_pace, rooms, tables
from collapipe_ns3.plan import Pipeline
from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import RadioSetting, SecondsPerByte
from collapipe_ns3.prediction.round_costs import Loads, pass_times
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.step_time import one_f_one_b_beat_s, window_beat_s

EXACT_DEVICES = 6

#: So many devices are solved without a first plan to compare with.
_AT_ONCE_DEVICES = 4

#: Numbers of micro-batches that larger clusters look at, once roughly compared.
_CLOSER = 2

_CLOSELY = 12  # sets that a search improves in each pass, for a few clusters
_MANY = 100  # with so many clusters it is only the best one

_MIB = 2**20


@dataclass(frozen=True)
class Choices:
    """Ways to cut a batch: the numbers of micro-batches, and whether schedules are open."""

    micro_batches: tuple[int, ...]
    gpipe: bool = True
    one_f_one_b: bool = True

    def modes(self) -> tuple[Ints, Mask]:
        """Micro-batches and schedule of every combination."""
        schedules = [False] * self.gpipe + [True] * self.one_f_one_b
        pairs = [(m, one_f) for one_f in schedules for m in self.micro_batches]
        return np.array([m for m, _ in pairs]), np.array([one_f for _, one_f in pairs])


def divisors(batch: int, most: int | None = None) -> tuple[int, ...]:
    """The numbers of equal micro-batches that a batch can be cut into."""
    return tuple(m for m in range(1, batch + 1) if batch % m == 0 and m <= (most or batch))


@dataclass(frozen=True)
class SegmentProblem:
    """What segments are scheduled for: all clusters, with the radio and the prices as they are.

    The tables leave 1F1B's windows out. With `windows`, the best by the tables of every number of
    micro-batches and of segments are compared with them.
    """

    fleet: Fleet
    work: Workload
    radio: RadioSetting
    prices: Prices
    loads: Loads
    noise: GradientNoise
    choices: Choices
    windows: bool = False


def schedule(
    problem: SegmentProblem, start: Segments | None = None
) -> list[tuple[Array, Segments]]:
    """For each schedule that is open, every cluster's best segments and their J.

    J is infinite, and there are no counts, where no plan fits the cluster's memory. Larger
    clusters are searched, or, where there is a plan to start from, go on from it by single moves.
    """
    _, schedules = problem.choices.modes()
    found: list[tuple[Array, Segments]] = []
    small = problem.fleet.size <= EXACT_DEVICES
    for one_f in np.unique(schedules):
        value = np.full(problem.fleet.clusters, np.inf)
        segments = _nothing(problem.fleet, bool(one_f))
        if small.any():
            those = np.flatnonzero(small)
            value[those], part = _exactly(problem, those, bool(one_f))
            segments = _placed(segments, those, part)
        if not small.all():
            those = np.flatnonzero(~small)
            # Where GPipe has a plan, that of 1F1B differs little.
            near = start or (found[0][1] if found else None)
            value[those], part = _nearly(
                problem, those, bool(one_f), near.take(those) if near else None
            )
            segments = _placed(segments, those, part)
        found.append((value, segments))
    return found


def _nothing(fleet: Fleet, one_f: bool) -> Segments:
    shape = (fleet.clusters, fleet.nodes - 1)
    return Segments(
        np.zeros(shape, dtype=np.intp),
        np.zeros(shape, dtype=np.intp),
        np.ones(fleet.clusters, dtype=np.intp),
        np.full(fleet.clusters, one_f),
    )


def _placed(segments: Segments, rows: Ints, part: Segments) -> Segments:
    """Segments with some rows from those of smaller clusters."""
    order, counts = segments.order.copy(), segments.counts.copy()
    width = part.order.shape[1]
    order[rows, :width], counts[rows, :width] = part.order, part.counts
    m = segments.micro_batches.copy()
    m[rows] = part.micro_batches
    return Segments(order, counts, m, segments.one_f)


def _modes(problem: SegmentProblem, one_f: bool) -> Ints:
    micro_batches, schedules = problem.choices.modes()
    open_: Ints = micro_batches[schedules == one_f]
    return open_


def _exactly(problem: SegmentProblem, clusters: Ints, one_f: bool) -> tuple[Array, Segments]:
    m = _modes(problem, one_f)
    devices = int(problem.fleet.size[clusters].max())
    narrow = _Narrowed(problem, clusters, np.tile(np.arange(devices), (len(clusters), 1)))
    cluster, modes = np.repeat(clusters, len(m)), np.tile(m, len(clusters))
    every = np.arange(len(cluster)).reshape(len(clusters), len(m))
    limit = np.full(len(clusters), np.inf)
    if devices > _AT_ONCE_DEVICES:
        # A good plan shows early what need not be looked at.
        limit, near = _by_search(problem, clusters, one_f, closely=1)
        if one_f and problem.windows:  # what the tables put above it may lose less to windows
            limit = limit + _held_up(problem, clusters, near, limit)
        limit = limit * (1 + 1e-9)
    value = np.full(len(clusters), np.inf)
    shape = (len(clusters), devices)
    order, counts = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
    best_m = np.ones(len(clusters), dtype=np.intp)
    sizes = np.arange(1, min(devices, problem.work.blocks) + 1)
    rows = len(cluster)
    all_cases = Cases(
        np.tile(cluster, len(sizes)),
        np.tile(modes, len(sizes)),
        np.full(rows * len(sizes), one_f),
        np.repeat(sizes, rows),
    )
    all_tables = narrow.build(all_cases)
    for at_size, size in enumerate(sizes):
        made = all_tables.take(slice(at_size * rows, (at_size + 1) * rows))
        below = np.repeat(np.minimum(limit, value), len(m))
        found, way, split = exact.best(made, int(size), below)
        if one_f and problem.windows:
            found = found + _held_up(problem, cluster, _segments(way, split, modes, one_f), found)
        at = every[np.arange(len(clusters)), found[every].argmin(-1)]
        better = found[at] < value
        value = np.where(better, found[at], value)
        order = np.where(better[:, None], way[at], order)
        counts = np.where(better[:, None], split[at], counts)
        best_m = np.where(better, modes[at], best_m)
    return value, _segments(order, counts, best_m, one_f)


def _held_up(problem: SegmentProblem, clusters: Ints, segments: Segments, value: Array) -> Array:
    """What 1F1B's windows add to the J of these rows, each of one of the clusters."""
    extra = np.zeros(len(clusters))
    rows = np.flatnonzero(np.isfinite(value))
    if not len(rows):
        return extra
    segs, at = segments.take(rows), clusters[rows]
    width = problem.fleet.nodes - 1
    room = ((0, 0), (0, width - segs.order.shape[1]))
    segs = replace(segs, order=np.pad(segs.order, room), counts=np.pad(segs.counts, room))
    fleet = problem.fleet.take(at)
    cases = Cases(at, segs.micro_batches, segs.one_f, segs.size)
    radio = problem.radio.take(at)
    per_byte = replace(
        SecondsPerByte.of(fleet, radio), sidelink=nominal_pace(problem.fleet, problem.radio, cases)
    )
    passes = pass_times(fleet, problem.work, per_byte, segs)
    passes = passes.with_floor(problem.loads.floor()[:, at] / segs.micro_batches)
    more = np.maximum(window_beat_s(passes) - one_f_one_b_beat_s(passes), 0.0)
    extra[rows] = (
        problem.prices.time[at] * problem.work.local_steps * (segs.micro_batches - 1) * more
    )
    return extra


def _nearly(
    problem: SegmentProblem, clusters: Ints, one_f: bool, start: Segments | None
) -> tuple[Array, Segments]:
    """By search; or, where there is a plan under the other schedule, from that by single moves."""
    if start is None:
        closely = max(min(_MANY // len(clusters), _CLOSELY), 1)
        return _by_search(problem, clusters, one_f, closely)
    value, segments = _improved(problem, clusters, one_f, start)
    lacking = ~np.isfinite(value)
    if lacking.any():
        rows = np.flatnonzero(lacking)
        value[rows], part = _by_search(problem, clusters[rows], one_f, closely=1)
        segments = _placed(segments, rows, part)
    return value, segments


def _improved(
    problem: SegmentProblem, clusters: Ints, one_f: bool, start: Segments
) -> tuple[Array, Segments]:
    """The best single moves from plans that may have been made for the other schedule."""
    devices = problem.fleet.nodes - 1
    narrow = _Narrowed(problem, clusters, np.tile(np.arange(devices), (len(clusters), 1)))
    schedule = np.full(len(clusters), one_f)
    cases = Cases(clusters, start.micro_batches, schedule, np.maximum(start.size, 1))
    used = start.counts > 0
    order = np.where(used, start.order - 1, 0)
    for row in range(len(clusters)):
        free = np.setdiff1d(np.arange(devices), order[row, used[row]])
        order[row, ~used[row]] = free
    value, order, counts = search.polish(narrow.build(cases), order, start.counts)
    return value, _segments(order, counts, start.micro_batches, one_f)


def _by_search(
    problem: SegmentProblem, clusters: Ints, one_f: bool, closely: int
) -> tuple[Array, Segments]:
    m = _modes(problem, one_f)
    fleet = problem.fleet
    chosen = _promising(problem, clusters, one_f)
    narrow = _Narrowed(problem, clusters, chosen)
    size = np.full(len(clusters) * len(m), max(chosen.shape[1] // 2, 1))
    cluster, modes = np.repeat(clusters, len(m)), np.tile(m, len(clusters))
    cases = Cases(cluster, modes, np.full(len(cluster), one_f), size)
    rough = search.quick(narrow.build(cases)).reshape(len(clusters), len(m))
    few = min(_CLOSER, len(m))
    closer = np.argsort(rough, -1, kind="stable")[:, :few]
    cluster, modes = np.repeat(clusters, few), m[closer].ravel()
    guess = np.full(len(cluster), size[0])

    def build(rows: Ints, sizes: Ints) -> Tables:
        schedule = np.full(len(rows), one_f)
        return narrow.build(Cases(cluster[rows], modes[rows], schedule, sizes))

    value, order, counts = search.best(build, guess, closely)
    every = np.arange(len(cluster)).reshape(len(clusters), few)
    at = every[np.arange(len(clusters)), value[every].argmin(-1)]
    order = np.take_along_axis(chosen, order[at], -1)
    room = np.zeros((len(clusters), fleet.nodes - 1), dtype=np.intp)
    width = order.shape[1]
    ways, splits = room.copy(), room.copy()
    ways[:, :width], splits[:, :width] = order, counts[at]
    return value[at], _segments(ways, splits, modes[at], one_f)


def _segments(order: Ints, counts: Ints, m: Ints, one_f: bool) -> Segments:
    """Devices by their node numbers, which start at 1."""
    return Segments(np.where(counts > 0, order + 1, 0), counts, m, np.full(len(m), one_f))


class _Narrowed:
    """The problem with some devices of each cluster in place of all."""

    def __init__(self, problem: SegmentProblem, clusters: Ints, chosen: Ints) -> None:
        self.problem = problem
        fleet = problem.fleet
        nodes = np.zeros((fleet.clusters, chosen.shape[1] + 1), dtype=np.intp)
        nodes[clusters, 1:] = chosen + 1
        self.fleet = fleet.pick(nodes)
        rows = np.arange(fleet.clusters)[:, None, None]
        power = problem.radio.sidelink.power_w[rows, nodes[:, :, None], nodes[:, None, :]]
        self.radio = problem.radio.with_power_w(sidelink=power)
        energy = np.take_along_axis(problem.prices.energy, nodes, -1)
        self.prices = replace(problem.prices, energy=energy)

    def build(self, cases: Cases) -> Tables:
        p = self.problem
        return tables(self.fleet, p.work, self.radio, cases, self.prices, p.loads, p.noise)


def _promising(problem: SegmentProblem, clusters: Ints, one_f: bool) -> Ints:
    """The devices of each cluster that a search looks at, (P, ≤ `search.MOST_DEVICES`).

    All where there are no more. Else the fastest; or those with most memory, where the fastest
    together have too little.
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
    """Blocks for which each device has memory in the best of cases, (P, K)."""
    m = _modes(problem, one_f)
    most = np.zeros((len(clusters), problem.fleet.nodes - 1), dtype=np.intp)
    for micro_batches in m:
        many = np.full(len(clusters), micro_batches)
        cases = Cases(clusters, many, np.full(len(clusters), one_f), many)
        room = rooms(problem.fleet, problem.work, cases)
        # The last of a pipeline keeps two micro-batches under 1F1B, which is the least there is.
        kept = min(2, int(micro_batches)) if one_f else micro_batches
        blocks = (room >= kept).sum(-1) - 1
        most = np.maximum(most, blocks)
    return most


def shortages(problem: SegmentProblem, cluster: int, devices: tuple[str, ...]) -> list[str]:
    """Why no plan fits a cluster's memory: what its devices have, hold at best, and lack."""
    work, fleet = problem.work, problem.fleet
    _, schedules = problem.choices.modes()
    only = np.array([cluster])
    room = np.max([_most_blocks(problem, only, bool(s))[0] for s in np.unique(schedules)], axis=0)
    least = min(
        (2 if one_f and m > 2 else m) * (work.batch_size // m)
        for m, one_f in zip(*problem.choices.modes(), strict=True)
    )
    block = work.held_bytes + least * work.saved_bytes
    lines = [
        f"expected room for {work.blocks} encoder blocks of {block / _MIB:.2f} MiB each in "
        f"training (parameters, gradients, optimizer states: {work.held_bytes / _MIB:.2f} MiB; "
        f"activations of {least} sequences: {least * work.saved_bytes / _MIB:.2f} MiB), "
        f"and there is room for {room.sum()}"
    ]
    for k, name in enumerate(devices):
        has = fleet.memory_bytes[cluster, k + 1]
        lacks = (room[k] + 1) * block - has
        lines.append(
            f"{name} has {has / _MIB:.2f} MiB, room for {room[k]} blocks; "
            f"it lacks {lacks / _MIB:.2f} MiB ({int(np.ceil(lacks))} bytes) for one more"
        )
    return lines


def fits(fleet: Fleet, work: Workload, segments: Segments) -> Mask:
    """Whether each cluster's devices have the memory for its segments, (P,)."""
    rows, width = segments.order.shape
    each = np.arange(rows)
    cases = Cases(each, segments.micro_batches, segments.one_f, np.maximum(segments.size, 1))
    room = rooms(fleet, work, cases)[each[:, None], segments.order - 1, segments.counts]
    place = np.arange(1, width + 1)
    ahead = np.minimum(segments.size[:, None] + 2 - place, segments.micro_batches[:, None])
    kept = np.where(segments.one_f[:, None], ahead, segments.micro_batches[:, None])
    enough: Mask = np.all((segments.counts == 0) | (room >= kept), axis=-1)
    return enough


def segments_of(pipelines: Sequence[Pipeline], devices: Sequence[tuple[str, ...]]) -> Segments:
    """Pipelines by name as arrays, a row a cluster."""
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
