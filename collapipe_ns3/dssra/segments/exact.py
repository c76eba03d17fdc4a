"""The exact solver for small clusters: the best of all orders and all divisions of the blocks.

The order of a set of devices and the division of the blocks among them affect each other only in
the maxima of J. So they are listed separately, orders that another one beats in every term are
dropped, and the rest are combined. These are far fewer than all plans, and the best one is among
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations
from math import comb

import numpy as np

from collapipe_ns3.dssra.segments.problem import RowPlans
from collapipe_ns3.dssra.segments.tables import Tables, kept_micro_batches
from collapipe_ns3.prediction.arrays import Array, Ints, Mask

#: Combinations that are computed at once, so that memory stays bounded.
_AT_ONCE = 2_000_000

#: Up to so many orders, dropping some takes longer than it saves.
_FEW_ORDERS = 24


def best(tables: Tables, size: int, below: Array) -> RowPlans:
    """The best plan of every row in pipelines of `size` devices.

    There is none where memory allows none, and where none costs less than `below` (R,): plans that
    are known to cost more are not looked at.
    """
    rows, devices, blocks = tables.device.shape
    divisions = compositions(blocks - 1, size)
    if rows > 1 and rows * len(divisions) * len(arrangements(size)) > _AT_ONCE:
        return RowPlans.concatenated(
            [
                best(tables.take(slice(row, row + 1)), size, below[row : row + 1])
                for row in range(rows)
            ]
        )
    found = RowPlans.none(rows, devices)
    affordable = _affordable(tables, below)
    for members in combinations(range(devices), size) if len(divisions) else ():
        limit = np.minimum(found.cost, below)
        found = found.or_better(
            _best_of_set(tables, np.array(members), divisions, affordable, limit)
        )
    return found


def _affordable(tables: Tables, below: Array) -> Mask:
    """Where a device with so many blocks costs less than `below` on its own, (R, K, N+1)."""
    alone = tables.device + tables.time[:, None, None] * tables.star.sum(1)
    slowest = np.maximum(tables.beat, tables.floor[..., None, None])
    alone = alone + (tables.weight[..., None, None] * slowest).sum(1)
    cheap: Mask = alone + tables.constant[:, None, None] < below[:, None, None]
    return cheap


@cache
def compositions(blocks: int, parts: int) -> Ints:
    """All ways to divide blocks into so many parts of at least one, a row for each."""
    if parts > blocks:
        return np.zeros((0, parts), dtype=np.intp)
    count = comb(blocks - 1, parts - 1)
    cuts = np.array(list(combinations(range(1, blocks), parts - 1)), dtype=np.intp)
    bounds = np.zeros((count, 1), np.intp), cuts.reshape(count, -1), np.full((count, 1), blocks)
    return np.diff(np.concatenate(bounds, -1), axis=-1)


@cache
def arrangements(size: int) -> Ints:
    """All orders of so many devices, a row for each."""
    return np.array(list(permutations(range(size))), dtype=np.intp)


@dataclass(frozen=True)
class _Divisions:
    """Divisions of the blocks among the members of a set, without an order.

    `counts` (A, s) are the members' blocks, `cost` (R, A) all terms of J that do not depend on the
    order, `beats` (R, 2, A) those of the stages, `room` (R, A, s) how many micro-batches each
    member can keep. The cost is infinite where memory does not allow the division.
    """

    counts: Ints
    cost: Array
    beats: Array
    room: Array

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, which: slice | Mask) -> _Divisions:
        """These of the divisions."""
        return _Divisions(
            self.counts[which], self.cost[:, which], self.beats[:, :, which], self.room[:, which]
        )


@dataclass(frozen=True)
class _Orders:
    """Orders of the members of a set.

    `places` (O, s) are the members' numbers in the set by place, `cost` (R, O) is that of the hops,
    `beats` (R, 2, O) are those of the path.
    """

    places: Ints
    cost: Array
    beats: Array

    def __len__(self) -> int:
        return len(self.places)

    def take(self, which: Mask) -> _Orders:
        """These of the orders."""
        return _Orders(self.places[which], self.cost[:, which], self.beats[:, :, which])


def _best_of_set(
    tables: Tables, members: Ints, counts: Ints, affordable: Mask, below: Array
) -> RowPlans:
    """The best plan of every row with this set of devices, where one costs less than `below`.

    `counts` (A, s) are all divisions of the blocks among so many devices.
    """
    rows, devices, _ = tables.device.shape
    nothing = RowPlans.none(rows, devices)
    place = np.broadcast_to(np.arange(1, len(members) + 1), (rows, len(members)))
    kept = kept_micro_batches(tables.cases, place, np.array(len(members)))  # (R, s), falling
    possible = _possible(tables, members, counts, affordable, kept[:, -1])
    some = possible.any(0)
    if not some.any():
        return nothing
    possible = possible[:, some]
    divisions = _divisions(tables, members, counts[some], possible)
    orders = _Orders(arrangements(len(members)), *tables.paths(members[arrangements(len(members))]))
    # Where each device may stand at any place, an order that another one beats is never needed.
    anywhere = bool((divisions.room >= kept[:, None, :1])[possible].all())
    if anywhere and len(orders) > _FEW_ORDERS:
        orders = orders.take(_undominated(orders))
    lowest = np.maximum(divisions.beats, orders.beats.min(-1)[..., None])
    bound = divisions.cost + orders.cost.min(-1)[:, None]
    bound = bound + (tables.weight[..., None] * lowest).sum(1)
    divisions = divisions.take((bound + tables.constant[:, None] < below[:, None]).any(0))
    if not len(divisions):
        return nothing
    least, which = _least(tables, divisions, orders, None if anywhere else kept)
    division, number = np.divmod(which, len(orders))
    order = orders.places[number]
    cost = np.where(least + tables.constant < below, least + tables.constant, np.inf)
    plans = RowPlans(cost, nothing.order, nothing.counts)
    plans.order[:, : len(members)] = members[order]
    plans.counts[:, : len(members)] = np.take_along_axis(divisions.counts[division], order, -1)
    return plans


def _divisions(tables: Tables, members: Ints, counts: Ints, possible: Mask) -> _Divisions:
    cost = tables.device[:, members, counts].sum(-1)
    cost += tables.time[:, None] * tables.star[:, :, members, counts].max(-1).sum(1)
    cost[~possible] = np.inf
    beats = np.maximum(tables.beat[:, :, members, counts].max(-1), tables.floor[:, :, None])
    return _Divisions(counts, cost, beats, tables.room[:, members, counts])


def _least(
    tables: Tables, divisions: _Divisions, orders: _Orders, kept: Ints | None
) -> tuple[Array, Ints]:
    """The least J of every row without its constant, and the number of its combination, (R,).

    Combinations are numbered in one sequence, all orders of the first division first. `kept` (R, s)
    are the micro-batches that a device keeps by its place; none where memory does not matter.
    """
    rows = len(divisions.cost)
    least = np.full(rows, np.inf)
    which = np.zeros(rows, dtype=np.intp)
    step = max(_AT_ONCE // (rows * len(orders)), 1)
    for first in range(0, len(divisions), step):
        part = divisions.take(slice(first, first + step))
        total = part.cost[:, :, None] + orders.cost[:, None, :]
        for g in range(2):
            slowest = np.maximum(part.beats[:, g, :, None], orders.beats[:, g, None, :])
            total += tables.weight[:, g, None, None] * slowest
        if kept is not None:
            total[~_fits(part.room, kept, orders.places)] = np.inf
        flat = total.reshape(rows, -1)
        here = flat.argmin(-1)
        lowest = flat[np.arange(rows), here]
        which = np.where(lowest < least, first * len(orders) + here, which)
        least = np.minimum(least, lowest)
    return least, which


def _possible(tables: Tables, members: Ints, counts: Ints, affordable: Mask, least: Ints) -> Mask:
    """Which divisions each row's devices have the memory for, keeping `least` (R,), (R, A)."""
    holds = (affordable & (tables.room >= least[:, None, None]))[:, members]
    most = np.where(holds, np.arange(holds.shape[-1]), 0).max(-1)
    enough = most.sum(-1, keepdims=True) >= counts[0].sum()
    possible = np.repeat(enough, len(counts), -1)
    for member in range(len(members)):
        possible = possible & holds[:, member, counts[:, member]]
    return possible


def _undominated(orders: _Orders) -> Mask:
    """Orders that, for some row, no other order equals or beats in cost and both beats, (O,)."""
    kept = np.zeros(len(orders), dtype=bool)
    for row in np.concatenate([orders.cost[:, None], orders.beats], 1):
        left = np.argsort(row[0], kind="stable")
        while len(left):
            first, left = left[0], left[1:]
            kept[first] = True
            left = left[(row[:, left] < row[:, first, None]).any(0)]
    return kept


def _fits(room: Array, kept: Ints, orders: Ints) -> Mask:
    """Whether every device has room for the micro-batches kept at its place in an order, (R, A, O).

    `room` (R, A, s) is by member, `kept` (R, s) by place.
    """
    places = np.argsort(orders, -1)  # of each member, by order
    fits: Mask = np.all(room[:, :, None, :] >= kept[:, places][:, None], axis=-1)
    return fits
