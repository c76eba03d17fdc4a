"""Shortest paths from the control unit through every set of devices (Held & Karp 1962).

The shortest path through a set to one of its members is the shortest path through the set without
it, to one of the others, and one more hop. So a table over sets and last members is filled in the
order of the sets' sizes.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from collapipe_ns3.prediction.arrays import Array, Ints, Mask


def shortest(hop: Array) -> tuple[Array, Array]:
    """Costs of the shortest paths through every set to each last member, and of round trips.

    The paths are (2^K, K, R), the round trips (R, 2^K). `hop` (R, n, n) are the costs of hops; node
    0 is the control unit. Bit k of a set's number is device k. The empty set costs nothing.
    """
    rows, nodes, _ = hop.shape
    devices = nodes - 1
    # Rows are the last axis, so that every step goes along contiguous memory.
    inner = np.ascontiguousarray(hop[:, 1:, 1:].transpose(1, 2, 0))
    paths = np.full((1 << devices, devices, rows), np.inf)
    one = 1 << np.arange(devices)
    paths[one, np.arange(devices)] = hop[:, 0, 1:].T
    for mask, last, before in _layers(devices):
        least = np.full((len(mask), rows), np.inf)
        for previous in range(devices):
            np.minimum(least, paths[before, previous] + inner[previous, last], out=least)
        paths[mask, last] = least
    home = np.ascontiguousarray(hop[:, 1:, 0].T)
    closed = (paths + home).min(1).T
    closed[:, 0] = 0.0
    return paths, closed


def order(paths: Array, hop: Array, members: Mask) -> Ints:
    """The devices of the shortest path through `members` in order, then the others, (R, K)."""
    rows, devices = members.shape
    at = np.arange(rows)
    mask = members @ (1 << np.arange(devices))
    size = members.sum(-1)
    found = np.argsort(members, -1, kind="stable")[:, ::-1].copy()  # members in front
    after = np.zeros(rows, dtype=np.intp)
    for back in range(devices):
        going = back < size
        last = (paths[mask, :, at] + hop[at, 1:, after]).argmin(-1)
        found[at[going], (size - 1 - back)[going]] = last[going]
        mask = np.where(going, mask & ~(1 << last), mask)
        after = np.where(going, last + 1, after)
    return found


@cache
def _layers(devices: int) -> list[tuple[Ints, Ints, Ints]]:
    """For every size from 2 on: sets, a last member of each, and the set without it."""
    masks, last = np.meshgrid(np.arange(1 << devices), np.arange(devices), indexing="ij")
    inside = (masks >> last) & 1 == 1
    mask, end = masks[inside], last[inside]
    sizes = sum((mask >> k) & 1 for k in range(devices))
    return [
        (mask[sizes == size], end[sizes == size], (mask ^ (1 << end))[sizes == size])
        for size in range(2, devices + 1)
    ]
