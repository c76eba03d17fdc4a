"""How nodes move: random waypoints and given ways; and what can be wrong with a motion.

A place is a function of the run's own time and its seed, so that a motion goes on from round to
round, and any round can be had alone. Plain data; nothing here needs ns-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

Point = tuple[float, float, float]

#: The longest of a way, in metres and in seconds.
FARTHEST = 1e7

#: A time in seconds and a place.
Corner = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RandomWaypoint:
    """Pauses, walks to a place drawn uniformly from a disc, pauses, and so on, from time 0.

    Speeds and pauses are drawn uniformly between two bounds; the height stays. The disc lies around
    `centre_m`, or where the node is at time 0. As with every random waypoint model, the mean speed
    falls at first, since slow walks last longer (Yoon, Liu, Noble: Random waypoint considered
    harmful, INFOCOM 2003): keep the lower bound well above 0.
    """

    radius_m: float
    speed_m_s: tuple[float, float] = (0.5, 1.5)
    pause_s: tuple[float, float] = (0.0, 0.0)
    centre_m: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A given way: (time in seconds, x, y, z) of each corner, times rising, lines between them.

    The node stands at the first corner until its time, and at the last from then on.
    """

    corners: tuple[Corner, ...]

    def at_0(self) -> Point:
        """Where it begins, at the run's time 0 or before; a way from later on begins there too."""
        before = self.corners[0]
        for corner in self.corners:
            if corner[0] > 0:
                return between(before, corner, 0.0) if corner is not before else corner[1:]
            before = corner
        return before[1:]


def between(before: Corner, after: Corner, time_s: float) -> Point:
    """The place on the line between two corners at a time."""
    share = (time_s - before[0]) / (after[0] - before[0])
    x, y, z = (a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True))
    return (x, y, z)


Motion = RandomWaypoint | Way


def motion_problems(path: str, motion: Motion) -> Iterator[tuple[str, str]]:
    """Everything wrong with a motion, as `checks.problems` lists it."""
    if isinstance(motion, Way):
        yield from _way_problems(path, motion)
        return
    if not 0 < motion.radius_m <= FARTHEST:
        yield f"{path}.radius_m", f"expected metres above 0, not {motion.radius_m}"
    slowest, fastest = motion.speed_m_s
    if not 0 < slowest <= fastest <= 1e4:
        yield f"{path}.speed_m_s", f"expected two speeds above 0, rising, not {motion.speed_m_s}"
    shortest, longest = motion.pause_s
    if not 0 <= shortest <= longest <= FARTHEST:
        yield f"{path}.pause_s", f"expected two times from 0 up, rising, not {motion.pause_s}"
    if motion.centre_m is not None and not all(map(math.isfinite, motion.centre_m)):
        yield f"{path}.centre_m", f"expected two finite metres, not {motion.centre_m}"


def _way_problems(path: str, way: Way) -> Iterator[tuple[str, str]]:
    if not way.corners:
        yield f"{path}.corners", "expected one corner at least"
    for n, corner in enumerate(way.corners):
        if not all(map(math.isfinite, corner)):
            yield f"{path}.corners[{n}]", f"expected finite seconds and metres, not {corner}"
        elif max(map(abs, corner)) > FARTHEST:
            yield f"{path}.corners[{n}]", f"expected at most {FARTHEST:g} s and m, not {corner}"
        elif n and round(corner[0] * 1e9) <= round(way.corners[n - 1][0] * 1e9):
            yield f"{path}.corners[{n}]", f"expected a time after {way.corners[n - 1][0]} s"
