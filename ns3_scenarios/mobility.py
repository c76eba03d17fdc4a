"""How nodes move: by random waypoints or along given trajectories, and the checks of both.

A position is a function of the run's time and seed, so a motion continues from round to round, and
any round can be simulated alone. Plain data; nothing here needs ns-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ns3_scenarios.problem import Problem

Point = tuple[float, float, float]

#: The largest coordinate of a corner in metres, and its largest time in seconds.
FARTHEST = 1e7

#: A time in seconds and a position in metres: (time, x, y, z).
Corner = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class RandomWaypoint:
    """From time 0 on, the node repeatedly pauses and walks to a position drawn from a disc.

    Positions, speeds and pauses are drawn uniformly, the latter two between bounds; the height is
    constant. The centre of the disc is `centre_m`, or the node's position at time 0. As with every
    random waypoint model, the mean speed decreases at first, since slow walks last longer (Yoon,
    Liu, Noble: Random waypoint considered harmful, INFOCOM 2003): keep the lower bound well above
    0.
    """

    radius_m: float
    speed_m_s: tuple[float, float] = (0.5, 1.5)
    pause_s: tuple[float, float] = (0.0, 0.0)
    centre_m: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A given path: straight lines between corners, whose times increase.

    The node stays at the first corner until that corner's time, and at the last corner after that
    corner's time.
    """

    corners: tuple[Corner, ...]

    def initial_position(self) -> Point:
        """The position at the run's time 0; the first corner if its time is later."""
        before = self.corners[0]
        for corner in self.corners:
            if corner[0] > 0:
                return between(before, corner, 0.0) if corner is not before else corner[1:]
            before = corner
        return before[1:]


def between(before: Corner, after: Corner, time_s: float) -> Point:
    """The position at a time, on the line between two corners."""
    share = (time_s - before[0]) / (after[0] - before[0])
    x, y, z = (a + share * (b - a) for a, b in zip(before[1:], after[1:], strict=True))
    return (x, y, z)


Motion = RandomWaypoint | Trajectory


def motion_problems(path: str, motion: Motion) -> Iterator[Problem]:
    """Everything wrong with a motion, in the form of `checks.problems`."""
    if isinstance(motion, Trajectory):
        yield from _trajectory_problems(path, motion)
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


def _trajectory_problems(path: str, trajectory: Trajectory) -> Iterator[Problem]:
    if not trajectory.corners:
        yield f"{path}.corners", "expected one corner at least"
    for n, corner in enumerate(trajectory.corners):
        if not all(map(math.isfinite, corner)):
            yield f"{path}.corners[{n}]", f"expected finite seconds and metres, not {corner}"
        elif max(map(abs, corner)) > FARTHEST:
            yield f"{path}.corners[{n}]", f"expected at most {FARTHEST:g} s and m, not {corner}"
        elif n and round(corner[0] * 1e9) <= round(trajectory.corners[n - 1][0] * 1e9):
            before_s = trajectory.corners[n - 1][0]
            yield f"{path}.corners[{n}]", f"expected a time after {before_s} s"
