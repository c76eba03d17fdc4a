"""Segments of small clusters, exactly: the best of all orders and all ways to divide the blocks.

What the order of a set of devices costs and how the blocks are divided among them meet in the
maxima alone. So both are listed apart, the orders that another beats in everything are dropped, and
what is left is combined: far fewer than all plans, and none of them missed.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, permutations
from math import comb

import numpy as np

from collapipe_ns3.dssra.segments.tables import Tables
from collapipe_ns3.prediction.arrays import Array, Ints, Mask

#: Combined cases held at once, so that memory stays bounded.
_AT_ONCE = 2_000_000

#: So few orders are not worth thinning out.
_FEW_ORDERS = 24


def best(tables: Tables, size: int, below: Array) -> tuple[Array, Ints, Ints]:
    """The least J of every row over pipelines of `size` devices, its order and counts (R, K).

    Infinite where memory allows none, and where none is less than `below` (R,): what is known to
    cost more is not looked at.
    """
    rows, devices, blocks = tables.device.shape
    parts = compositions(blocks - 1, size)
    if rows > 1 and rows * len(parts) * len(arrangements(size)) > _AT_ONCE:
        singly = [
            best(tables.take(slice(row, row + 1)), size, below[row : row + 1])
            for row in range(rows)
        ]
        value, order, counts = map(np.concatenate, zip(*singly, strict=True))
        return value, order, counts
    value = np.full(rows, np.inf)
    order = np.zeros((rows, devices), dtype=np.intp)
    counts = np.zeros((rows, devices), dtype=np.intp)
    affordable = _affordable(tables, below)
    for members in combinations(range(devices), size) if len(parts) else ():
        limit = np.minimum(value, below)
        found, way, split = _best_of_set(tables, np.array(members), parts, affordable, limit)
        better = found < value
        value = np.where(better, found, value)
        order[better, :size] = np.array(members)[way[better]]
        counts[better, :size] = np.take_along_axis(split[better], way[better], -1)
    return value, order, counts


def _affordable(tables: Tables, below: Array) -> Mask:
    """Where a device with so many blocks (R, K, N+1) does not alone cost `below` or more."""
    alone = tables.device + tables.time[:, None, None] * tables.star.sum(1)
    slowest = np.maximum(tables.beat, tables.floor[..., None, None])
    alone = alone + (tables.weight[..., None, None] * slowest).sum(1)
    cheap: Mask = alone + tables.constant[:, None, None] < below[:, None, None]
    return cheap


@cache
def compositions(blocks: int, parts: int) -> Ints:
    """All ways to write a number as a sum of so many positive ones, a row each."""
    if parts > blocks:
        return np.zeros((0, parts), dtype=np.intp)
    count = comb(blocks - 1, parts - 1)
    cuts = np.array(list(combinations(range(1, blocks), parts - 1)), dtype=np.intp)
    bounds = np.zeros((count, 1), np.intp), cuts.reshape(count, -1), np.full((count, 1), blocks)
    return np.diff(np.concatenate(bounds, -1), axis=-1)


@cache
def arrangements(size: int) -> Ints:
    """All orders of so many things, a row each."""
    return np.array(list(permutations(range(size))), dtype=np.intp)


def _best_of_set(
    tables: Tables, members: Ints, parts: Ints, affordable: Mask, below: Array
) -> tuple[Array, Ints, Ints]:
    """Least J (R,) for this set if below the limit, and its members' arrangement and counts."""
    rows = len(tables.constant)
    place, size = np.arange(1, len(members) + 1), np.array(len(members))
    least = tables.kept(np.broadcast_to(place, (rows, len(place))), size)  # (R, s), falling
    holds = (affordable & (tables.room >= least[:, -1:, None]))[:, members]
    most = np.where(holds, np.arange(holds.shape[-1]), 0).max(-1)
    possible = np.repeat(most.sum(-1, keepdims=True) >= parts[0].sum(), len(parts), -1)
    for member in range(len(members)):
        possible = possible & holds[:, member, parts[:, member]]
    some = possible.any(0)
    parts, possible = parts[some], possible[:, some]
    if not len(parts):
        nothing = np.zeros((rows, len(members)), dtype=np.intp)
        return np.full(rows, np.inf), nothing, nothing
    orders = arrangements(len(members))
    added, beats = tables.paths(members[orders])
    # Where each device may stand at any place, an order that another beats is never needed.
    room = tables.room[:, members, parts]
    anywhere = bool((room >= least[:, None, :1])[possible].all())
    if anywhere and len(orders) > _FEW_ORDERS:
        kept = _undominated(added, beats)
        orders, added, beats = orders[kept], added[:, kept], beats[:, :, kept]
    share = tables.device[:, members, parts].sum(-1)
    share += tables.time[:, None] * tables.star[:, :, members, parts].max(-1).sum(1)
    share[~possible] = np.inf
    own = np.maximum(tables.beat[:, :, members, parts].max(-1), tables.floor[:, :, None])
    lowest = np.maximum(own, beats.min(-1)[..., None])
    bound = share + added.min(-1)[:, None] + (tables.weight[..., None] * lowest).sum(1)
    some = (bound + tables.constant[:, None] < below[:, None]).any(0)
    parts, share, own, room = parts[some], share[:, some], own[:, :, some], room[:, some]
    value = np.full(rows, np.inf)
    which = np.zeros(rows, dtype=np.intp)
    step = max(_AT_ONCE // (rows * len(orders)), 1)
    for first in range(0, len(parts), step):
        chunk = slice(first, first + step)
        total = share[:, chunk, None] + added[:, None, :]
        for g in range(2):
            slowest = np.maximum(own[:, g, chunk, None], beats[:, g, None, :])
            total += tables.weight[:, g, None, None] * slowest
        if not anywhere:
            total[~_fits(room[:, chunk], least, orders)] = np.inf
        flat = total.reshape(rows, -1)
        here = flat.argmin(-1)
        least = flat[np.arange(rows), here]
        which = np.where(least < value, first * len(orders) + here, which)
        value = np.minimum(value, least)
    split, way = np.divmod(which, len(orders))
    value = np.where(value + tables.constant < below, value + tables.constant, np.inf)
    return value, orders[way], parts[split] if len(parts) else orders[way]


def _undominated(added: Array, beats: Array) -> Mask:
    """Orders that for some row no other order equals or beats in added cost and both beats."""
    kept = np.zeros(added.shape[-1], dtype=bool)
    for row in np.concatenate([added[:, None], beats], 1):
        left = np.argsort(row[0], kind="stable")
        while len(left):
            first, left = left[0], left[1:]
            kept[first] = True
            left = left[(row[:, left] < row[:, first, None]).any(0)]
    return kept


def _fits(room: Array, kept: Array, orders: Ints) -> Mask:
    """Whether every device has room for what is kept at its place in an order, (R, A, O).

    `room` (R, A, s) is by member, `kept` (R, s) by place.
    """
    places = np.argsort(orders, -1)  # of each member, by order
    fits: Mask = np.all(room[:, :, None, :] >= kept[:, places][:, None], axis=-1)
    return fits
