"""The search for segments of larger clusters, near the optimum.

The cheapest order of a set of devices is a shortest path (`dssra.segments.paths`), and its blocks
are divided by filling the devices up to a level (`dssra.segments.filling`). Then the orders are
searched again, with a surcharge on hops that are slower than the slowest stage, and the best plan
is improved by single moves. Tests measure how near this comes to the exact optimum.

All rows of the tables are computed at once.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from collapipe_ns3.dssra.segments import filling, paths
from collapipe_ns3.dssra.segments.filling import Slopes
from collapipe_ns3.dssra.segments.problem import Cases, RowPlans, SegmentProblem
from collapipe_ns3.dssra.segments.tables import Tables, kept_micro_batches, over
from collapipe_ns3.prediction.arrays import Array, Ints, Mask

#: The most devices that are searched: shortest paths are computed for all their subsets.
MOST_DEVICES = 10

_MOVES = 8  # The most single moves by which a plan is improved.
_PASSES = 2
_AT_ONCE = 50  # Rows that are computed together, so that their arrays fit the processor's cache.


def best(problem: SegmentProblem, cases: Cases, closely: int) -> RowPlans:
    """A good plan of every case, not always the best; none where memory allows none.

    The sizes of the cases are guesses of how many devices will take part. In each pass `closely`
    sets are improved by single moves; if that is 1, only the last plan is improved.
    """
    every = np.arange(len(cases))
    return RowPlans.concatenated(
        [
            _best(problem, cases.take(every[first : first + _AT_ONCE]), closely)
            for first in range(0, len(every), _AT_ONCE)
        ]
    )


def _best(problem: SegmentProblem, cases: Cases, closely: int) -> RowPlans:
    made = Tables.of(problem, cases)
    found = RowPlans.none(len(cases), made.device.shape[1])
    hop = made.hop
    for _ in range(_PASSES):
        for order, counts in _best_sets(made, hop, closely + 1):
            sized = Tables.of(problem, cases.with_size(np.maximum((counts > 0).sum(-1), 1)))
            if closely > 1:
                found = found.or_better(polish(sized, order, counts))
            else:
                found = found.or_better(RowPlans(evaluate(sized, order, counts), order, counts))
        made = Tables.of(problem, cases.with_size(np.maximum(found.size, 1)))
        hop = _surcharged(made, found.order, found.counts)
    return polish(made, found.order, found.counts)


def quick(tables: Tables) -> Array:
    """A rough J of every row, to compare rows: a lower bound if every hop costs the mean one."""
    return filling.least(Slopes.of(tables), tables.hop[:, 1:, 1:].mean((1, 2)))


def evaluate(tables: Tables, order: Ints, counts: Ints) -> Array:
    """J of plans with this `order` and these `counts` (R, …, K); see `RowPlans`.

    It is infinite where memory does not allow the plan, and where no device holds blocks.
    """
    devices, blocks = tables.device.shape[1:]
    # The axis of places comes first: all that follows are sums or maxima over it.
    order, counts = np.moveaxis(order, -1, 0), np.moveaxis(counts, -1, 0)
    rows = np.arange(order.shape[1]).reshape(-1, *(1,) * (order.ndim - 2))
    used = counts > 0
    size = used.sum(0)
    at = (rows * devices + order) * blocks + counts

    total: Array = _taken_at(at, tables.device).sum(0)
    total = np.add(total, over(tables.constant, total))
    end = np.zeros((1, *order.shape[1:]), dtype=np.intp)
    nodes = np.where(used, order + 1, 0)
    a, b = np.concatenate([end, nodes]), np.concatenate([nodes, end])
    hops = (rows * (devices + 1) + a) * (devices + 1) + b
    on_path = np.arange(devices + 1).reshape(-1, *(1,) * (order.ndim - 1)) <= size
    total += np.where(on_path, _taken_at(hops, tables.hop), 0.0).sum(0)
    for g in range(2):
        if tables.weight[:, g].any():
            held = _taken_at(hops, tables.path[:, g])
            path = _path_beat(tables, np.where(on_path, held, 0.0), size)
            beat = np.where(used, _taken_at(at, tables.beat[:, g]), 0.0).max(0)
            slowest = np.maximum(np.maximum(beat, path), over(tables.floor[:, g], total))
            total += over(tables.weight[:, g], total) * slowest
        if not tables.shared:
            star = np.where(used, _taken_at(at, tables.star[:, g]), 0.0).max(0)
            total += over(tables.time, total) * star
    place = np.arange(1, devices + 1).reshape(-1, *(1,) * (order.ndim - 1))
    place = np.moveaxis(np.broadcast_to(place, order.shape), 0, -1)
    kept = kept_micro_batches(tables.cases, place, size[..., None])
    fits = (~used | (_taken_at(at, tables.room) >= np.moveaxis(kept, -1, 0))).all(0) & (size > 0)
    return np.where(fits, total, np.inf)


def _taken_at(at: Ints, values: Array) -> Array:
    """The values at these indices of the flat array."""
    taken: Array = np.take(np.ascontiguousarray(values), at)
    return taken


def _path_beat(tables: Tables, held: Array, size: Ints) -> Array:
    """The beat of the hops, which are along the first axis, zero after the last."""
    if tables.shared:
        total: Array = held.sum(0)
        return total
    if tables.half_duplex:
        last = np.take_along_axis(held, size[None], 0)[0]
        busiest: Array = np.maximum((held[:-1] + held[1:]).max(0), held[0] + last)
        return busiest
    longest: Array = held.max(0)
    return longest


def _best_sets(tables: Tables, hop: Array, sets: int) -> list[tuple[Ints, Ints]]:
    """Orders and counts (R, K) of the `sets` best sets, where hops cost `hop` (R, n, n).

    Counts are zero where no plan fits.
    """
    devices = tables.device.shape[1]
    slopes = Slopes.of(tables)
    to_last, closed = paths.shortest(hop)
    members, by_rank = filling.best_sets(slopes, closed, sets)
    found = []
    for c in range(members.shape[1]):
        by_device, counts = np.zeros_like(members[:, c]), np.zeros_like(by_rank[:, c])
        np.put_along_axis(by_device, slopes.ranks, members[:, c], -1)
        np.put_along_axis(counts, slopes.ranks, by_rank[:, c], -1)
        order = paths.order(to_last, hop, by_device)
        used = np.arange(devices) < by_device.sum(-1, keepdims=True)
        found.append((order, np.where(used, np.take_along_axis(counts, order, -1), 0)))
    return found


def _surcharged(tables: Tables, order: Ints, counts: Ints) -> Array:
    """The costs of hops (R, n, n), increased by what a hop slower than the slowest stage adds."""
    rows = np.arange(len(order))[:, None]
    hop = tables.hop
    a, b = _hops(order, counts)
    # On a half-duplex radio two hops make a beat.
    part = 0.5 if tables.half_duplex else 1.0
    for g in range(2):
        beat = np.where(counts > 0, tables.beat[rows, g, order, counts], 0.0).max(-1)
        level = np.maximum(beat, tables.floor[:, g])[:, None, None]
        if tables.shared:
            held = np.where((a > 0) | (b > 0), tables.path[rows, g, a, b], 0.0).sum(-1)
            extra = np.where(held[:, None, None] > level, tables.path[:, g], 0.0)
        else:
            extra = np.maximum(tables.path[:, g] - part * level, 0.0)
        hop = hop + tables.weight[:, g, None, None] * extra
    return hop


def _hops(order: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Senders and receivers of the hops; node 0 at both ends and after the last device."""
    end = np.zeros((*order.shape[:-1], 1), dtype=np.intp)
    nodes = np.where(counts > 0, order + 1, 0)
    return np.concatenate([end, nodes], -1), np.concatenate([nodes, end], -1)


def polish(tables: Tables, order: Ints, counts: Ints) -> RowPlans:
    """The plans (R, K), changed by the best single move as long as one helps.

    A move takes a block from one stage to another or a stage to another place in the pipeline, or
    it exchanges two stages, or two devices without their blocks, of which one may have none.
    """
    value = evaluate(tables, order, counts)
    order, counts = order.copy(), counts.copy()
    # The rows that still improve; rows without a plan have none to start from.
    rows = np.flatnonzero(counts.any(-1))
    for _ in range(_MOVES if order.shape[1] > 1 else 0):
        if not len(rows):
            break
        orders, divisions = _moved(order[rows], counts[rows])
        each = evaluate(tables.take(rows), orders, divisions)
        at, which = np.arange(len(rows)), each.argmin(-1)
        better = each[at, which] < value[rows]
        at, which, rows = at[better], which[better], rows[better]
        value[rows] = each[at, which]
        order[rows], counts[rows] = orders[at, which], divisions[at, which]
    return RowPlans(value, order, counts)


def _moved(order: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """All C single moves of plans (R, K), as (R, C, K); impossible ones have no blocks."""
    rows, devices = order.shape
    steps, places = _moves(devices)
    exchanges = places[_exchanges(devices)]
    used = (counts > 0).sum(-1)[:, None]
    moved = counts[:, None] + steps
    kept = np.broadcast_to(order[:, None], moved.shape)
    same = np.broadcast_to(counts[:, None], (rows, *exchanges.shape))
    orders = np.concatenate([kept, order[:, places], order[:, exchanges]], 1)
    divisions = np.concatenate([moved, counts[:, places], same], 1)
    # There must be as many stages as before, in the first places.
    first_free = (divisions > 0).argmin(-1)  # 0 where all devices are in use
    possible = (divisions >= 0).all(-1) & ((divisions > 0).sum(-1) == used)
    possible &= first_free == np.where(used == devices, 0, used)
    return orders, np.where(possible[..., None], divisions, 0)


def _exchanges(devices: int) -> Mask:
    """The rearrangements that exchange two stages, (B,)."""
    places = _moves(devices)[1]
    moved: Ints = np.sum(places != np.arange(devices), axis=-1)
    return np.equal(moved, 2)


@cache
def _moves(devices: int) -> tuple[Ints, Ints]:
    """Changes of counts (A, K) that move a block, and rearrangements (B, K) that move a stage."""
    pairs = [(i, j) for i in range(devices) for j in range(devices) if i != j]
    one = np.eye(devices, dtype=np.intp)
    steps = np.array([one[j] - one[i] for i, j in pairs], dtype=np.intp).reshape(-1, devices)
    places = []
    for i, j in pairs:
        moved = [k for k in range(devices) if k != i]
        moved.insert(j, i)
        places.append(moved)
        if i < j:
            exchanged = list(range(devices))
            exchanged[i], exchanged[j] = j, i
            places.append(exchanged)
    return steps, np.array(places, dtype=np.intp).reshape(-1, devices)
