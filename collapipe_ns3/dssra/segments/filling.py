"""The division of blocks among a set of devices, by filling them up to a level.

The maxima in J are over devices: the beats, and the distribution and gathering of segments. Each
term rises linearly with a device's blocks. A level is an upper bound of the weighted sum of these
terms at every device, so it limits each device's blocks. Since costs are linear in blocks, it is
then best to give each device one block and to fill the cheapest devices first. Several levels are
tried, between the lowest that is possible and the one at which a single device holds all blocks.

The lowest level, the slope of the cheapest device and the shortest path together bound J from
below. So only the most promising of all sets are filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from collapipe_ns3.dssra.segments.tables import Tables, kept_micro_batches
from collapipe_ns3.prediction.arrays import Array, Ints, Mask

_LEVELS = 16  # The levels that are tried for each set.
_FILLED = 32  # The sets that are filled, of all.
_FLAT = 1e-200  # The least slope: quotients by it are still finite.


@dataclass(frozen=True)
class Slopes:
    """The tables as straight lines over the number of blocks, devices in order of their slopes.

    `first` and `more` (R, 5, K) are what the first block and each further one add to five lines:
    the device's cost, the two beats, and the two ends of the star (`Tables.star`). `weights` (R, 4)
    are those of the last four lines in J. `ranks` (R, K) are the devices' numbers, the device whose
    further blocks cost least first. `room` (R, K+1, K) is the number of blocks that a device has
    memory for at each place in the pipeline, for each size of the set.
    """

    tables: Tables
    first: Array
    more: Array
    weights: Array
    ranks: Ints
    room: Array

    @classmethod
    def of(cls, tables: Tables) -> Slopes:
        lines = np.concatenate([tables.device[:, None], tables.beat, tables.star], 1)
        first = lines[..., 1]
        more = lines[..., 2] - first if lines.shape[-1] > 2 else np.zeros_like(first)
        rows, devices, _ = tables.room.shape
        sizes = np.broadcast_to(np.arange(devices + 1), (rows, devices + 1))
        kept = kept_micro_batches(tables.cases, np.ones_like(sizes), sizes)
        room = (tables.room[:, None] >= kept[..., None, None]).sum(-1) - 1.0
        ranks = np.argsort(more[:, 0], -1, kind="stable")
        return cls(
            tables=tables,
            first=np.take_along_axis(first, ranks[:, None], -1),
            more=np.take_along_axis(more, ranks[:, None], -1),
            weights=np.stack([*tables.weight.T, tables.time, tables.time], -1),
            ranks=ranks,
            room=np.take_along_axis(room, ranks[:, None], -1),
        )

    def levels(self, size: Ints) -> tuple[Array, Array]:
        """What the first block and each further one add to the level, each (R, C, K).

        `size` (R, C) are the sizes of the sets.
        """
        scale = np.take_along_axis(self.tables.scale, size, -1)[..., None]
        first, more = (
            (self.weights[:, :2, None] * lines[:, 1:3]).sum(1)[:, None]
            + scale * (self.weights[:, 2:, None] * lines[:, 3:]).sum(1)[:, None]
            for lines in (self.first, self.more)
        )
        return first, more


def best_sets(slopes: Slopes, closed: Array, count: int) -> tuple[Mask, Ints]:
    """The best sets and their counts by rank, (R, C, K); counts are zero where no plan fits.

    `closed` (R, 2^K) is the cost of the hops of each set; bit k of a set's number is device k.
    """
    sets = _all_sets(slopes.ranks.shape[1])
    number = (1 << slopes.ranks) @ sets.T
    path = np.take_along_axis(closed, number, -1) * slopes.tables.scale[:, sets.sum(-1)]
    bound = _bounds(slopes, sets) + path
    few = min(_FILLED, len(sets))
    promising = np.argpartition(bound, few - 1, -1)[:, :few]
    chosen = sets[promising]
    levels = _heights(slopes, chosen)
    total = fill(slopes, chosen, levels)
    value = total.min(-1) + np.take_along_axis(path, promising, -1)
    best = np.argsort(value, -1, kind="stable")[:, :count]
    members = np.take_along_axis(chosen, best[..., None], 1)
    at = np.take_along_axis(total.argmin(-1), best, -1)[..., None]
    level = np.take_along_axis(np.take_along_axis(levels, best[..., None], 1), at, -1)
    taken = np.zeros(members.shape)
    fits = np.isfinite(fill(slopes, members, level, taken))
    return members, np.where(fits & members, taken, 0).astype(np.intp)


def least(slopes: Slopes, hop: Array) -> Array:
    """A lower bound of J (R,) if every hop costs at least `hop` (R,)."""
    sets = _all_sets(slopes.ranks.shape[1])
    size = sets.sum(-1)
    path = hop[:, None] * (size + 1) * slopes.tables.scale[:, size]
    lowest: Array = (_bounds(slopes, sets) + path).min(-1)
    return lowest


def _bounds(slopes: Slopes, sets: Mask) -> Array:
    """Lower bounds of J without hops, (R, C) for sets (C, K) by rank; infinite without memory."""
    tables = slopes.tables
    blocks = tables.device.shape[-1] - 1
    size = sets.sum(-1)
    bound = np.full((len(slopes.ranks), len(sets)), np.inf)
    for s in range(1, min(sets.shape[1], blocks) + 1):
        those = sets[size == s]
        members = those.T.astype(float)
        first, more = (each[:, 0] for each in slopes.levels(np.full((len(bound), 1), s)))
        # Sorted by cost a block, the first member is where all further blocks would be cheapest.
        share = slopes.first[:, 0] @ members
        share += (blocks - s) * slopes.more[:, 0, those.argmax(-1)]
        inverse = 1 / np.maximum(more, _FLAT)
        low = (blocks - s + (first * inverse) @ members) / (inverse @ members)
        own = np.where(those, first[:, None], 0.0).max(-1)
        room = slopes.room[:, s]
        enough = (room @ members >= blocks) & ((room < 1) @ members == 0)
        bound[:, size == s] = np.where(enough, share + np.maximum(low, own), np.inf)
    return bound + tables.constant[:, None]


@cache
def _all_sets(devices: int) -> Mask:
    """Every set but the empty one, (2^K - 1, K)."""
    numbers = np.arange(1, 1 << devices)
    sets: Mask = (numbers[:, None] >> np.arange(devices)) & 1 == 1
    return sets


def _heights(slopes: Slopes, sets: Mask) -> Array:
    """Levels to try for every set, (R, C, L)."""
    first, more = slopes.levels(sets.sum(-1))
    blocks = slopes.tables.device.shape[-1] - 1
    speed = np.where(sets, 1 / np.maximum(more, _FLAT), 0.0)
    low = (blocks - sets.sum(-1) + (speed * first).sum(-1)) / speed.sum(-1)
    low = np.maximum(low, np.where(sets, first, 0.0).max(-1))
    top = np.where(sets, first + (blocks - 1) * more, 0.0).max(-1)
    steps = np.linspace(0, 1, _LEVELS) ** 2  # closer together near the lowest
    levels: Array = low[..., None] + np.maximum(top - low, 0.0)[..., None] * steps
    return levels


def fill(slopes: Slopes, sets: Mask, levels: Array, taken: Array | None = None) -> Array:
    """J without hops of sets (R, C, K) filled up to levels (R, C, L).

    It is infinite where not all blocks fit. With one level for each set, the blocks of its members
    are written to `taken` (R, C, K).
    """
    tables = slopes.tables
    size = sets.sum(-1)
    scale = np.take_along_axis(tables.scale, size, -1)[..., None]
    left = np.broadcast_to((tables.device.shape[-1] - 1 - size)[..., None], levels.shape) + 0.0
    share = np.zeros(levels.shape)
    weights = slopes.weights
    # Lines 0 and 1 are the beats, which have a floor; 2 and 3 the star's ends, which are scaled.
    lines = [line for line in range(4) if np.any(weights[:, line] * slopes.first[:, line + 1].T)]
    level_first, level_more = slopes.levels(size)
    highest = {line: np.zeros(levels.shape) for line in lines}
    rows = np.arange(len(sets))[:, None]
    inverse = 1 / np.maximum(level_more, _FLAT)
    for k in range(sets.shape[-1]):
        member = sets[:, :, k, None]
        first = slopes.first[:, :, k, None, None] * member[:, None]
        more = slopes.more[:, :, k, None, None]
        room = np.where(member, slopes.room[rows, size, k][..., None] - 1, 0.0)
        extra = np.floor((levels - level_first[..., k, None]) * inverse[..., k, None] + 1e-9)
        extra[level_more[..., k] == 0] = np.inf
        np.minimum(extra, np.maximum(room, 0.0), out=extra)
        np.clip(extra, 0.0, left, out=extra)
        left -= extra
        left[np.broadcast_to(room < 0, left.shape)] = np.inf
        share += first[:, 0] + extra * more[:, 0]
        for line in lines:
            high = first[:, line + 1] + extra * more[:, line + 1]
            np.maximum(highest[line], high, out=highest[line])
        if taken is not None:
            taken[..., k] = (extra + 1)[..., 0]
    total = share + tables.constant[:, None, None]
    for line, high in highest.items():
        lowest = tables.floor[:, line, None, None] if line < 2 else 0.0
        total += weights[:, line, None, None] * np.maximum(
            high * (scale if line > 1 else 1), lowest
        )
    return np.where(left == 0, total, np.inf)
