"""Vehicles on a road grid, as an ns-2 movement file: `python -m ns3_scenarios.road_grid --help`.

The Manhattan grid of 3GPP TR 36.885, annex A, and ETSI TR 101 112 (UMTS 30.03), annex B, without
traffic lights and without an influence of vehicles on each other: a vehicle drives from crossing to
crossing, at a speed that it draws anew for each block, and goes straight on with a probability of
1/2 and to either side with 1/4 each; a way that would leave the grid is not taken. It never turns
back.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: To the east, north, west and south: a turn to the left is one further.
_HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))
_TURNS = ((0, 0.5), (1, 0.25), (-1, 0.25))  # and their probabilities


@dataclass(frozen=True, slots=True)
class RoadGrid:
    """Streets `block_m` apart, `blocks` of them to either side of the one through the origin.

    Speeds are drawn uniformly between the two of `speed_m_s`.
    """

    blocks: int = 2
    block_m: float = 120.0
    speed_m_s: tuple[float, float] = (8.0, 16.0)


@dataclass(frozen=True, slots=True)
class Drive:
    """A drive along a block: it begins at `start_s`, at the crossing where the last one ended."""

    start_s: float
    x_m: float
    y_m: float
    speed_m_s: float


def drives(
    grid: RoadGrid, rng: random.Random, lasting_s: float
) -> tuple[tuple[float, float], list[Drive]]:
    """Where a vehicle begins, and its drives until it has driven so long."""
    at = (rng.randint(-grid.blocks, grid.blocks), rng.randint(-grid.blocks, grid.blocks))
    begin = (at[0] * grid.block_m, at[1] * grid.block_m)
    heading = rng.choice([h for h in range(4) if _inside(grid, _ahead(at, h))])
    made, now_s = [], 0.0
    while now_s < lasting_s:
        at = _ahead(at, heading)
        # As they are written; a drive ends before the next begins.
        speed_m_s = round(rng.uniform(*grid.speed_m_s), 2)
        made.append(Drive(now_s, at[0] * grid.block_m, at[1] * grid.block_m, speed_m_s))
        now_s = round(now_s + grid.block_m / speed_m_s + 1e-3, 3)
        heading = _next_heading(grid, rng, at, heading)
    return begin, made


def movement_file(
    grid: RoadGrid, vehicles: int, lasting_s: float, seed: int, height_m: float = 1.5
) -> str:
    """The movements of so many vehicles in ns-2's format; each has a random stream of its own."""
    low, high = grid.speed_m_s
    lines = [
        f"# {vehicles} vehicles on a road grid for {lasting_s:g} s, seed {seed}: streets",
        f"# {grid.block_m:g} m apart, {2 * grid.blocks + 1} in each direction, {low:g} to "
        f"{high:g} m/s. Made by",
        "# python -m ns3_scenarios.road_grid, the Manhattan grid of 3GPP TR 36.885, annex A.",
    ]
    for vehicle in range(vehicles):
        rng = random.Random(f"road grid {seed} {vehicle}")
        lines += _lines(vehicle, height_m, *drives(grid, rng, lasting_s))
    return "\n".join(lines) + "\n"


def _ahead(at: tuple[int, int], heading: int) -> tuple[int, int]:
    east, north = _HEADINGS[heading]
    return (at[0] + east, at[1] + north)


def _inside(grid: RoadGrid, at: tuple[int, int]) -> bool:
    return max(abs(at[0]), abs(at[1])) <= grid.blocks


def _next_heading(grid: RoadGrid, rng: random.Random, at: tuple[int, int], heading: int) -> int:
    ways = [((heading + turn) % 4, chance) for turn, chance in _TURNS]
    open_ways = [(way, chance) for way, chance in ways if _inside(grid, _ahead(at, way))]
    chosen = rng.choices([way for way, _ in open_ways], [chance for _, chance in open_ways])
    return chosen[0]


def _lines(
    vehicle: int, height_m: float, begin: tuple[float, float], made: Sequence[Drive]
) -> Iterator[str]:
    for axis, value in zip("XYZ", (*begin, height_m), strict=True):
        yield f"$node_({vehicle}) set {axis}_ {value:g}"
    for each in made:
        order = f"setdest {each.x_m:g} {each.y_m:g} {each.speed_m_s:.2f}"
        yield f'$ns_ at {each.start_s:.3f} "$node_({vehicle}) {order}"'


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a movement file."""
    usual = RoadGrid()
    parser = argparse.ArgumentParser(
        prog="python -m ns3_scenarios.road_grid",
        description="Prints the movements of vehicles on a road grid in ns-2's format.",
    )
    parser.add_argument("--vehicles", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=usual.blocks)
    parser.add_argument("--block-m", type=float, default=usual.block_m)
    parser.add_argument("--speed-m-s", type=float, nargs=2, default=usual.speed_m_s)
    given = parser.parse_args(arguments)
    low, high = given.speed_m_s
    if min(given.vehicles, given.blocks, given.seconds, given.block_m, low) <= 0 or high < low:
        parser.error("expected positive numbers, and the lower speed first")
    grid = RoadGrid(given.blocks, given.block_m, (low, high))
    sys.stdout.write(movement_file(grid, given.vehicles, given.seconds, given.seed))


if __name__ == "__main__":
    main()
