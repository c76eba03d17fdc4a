"""Positions as functions of a run's time: continuous, drawn, read from files, and measured."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_lab import run, scenario
from scipy import stats

from ns3_scenarios import network, runtime
from ns3_scenarios.checks import problems
from ns3_scenarios.mobility import Point, RandomWaypoint, Trajectory
from ns3_scenarios.movement_files import with_trajectories
from ns3_scenarios.placing import add_nodes
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

S = 1_000_000_000


class Walk:
    """The nodes of a scenario in motion, without radios."""

    def __init__(self, spec: ScenarioSpec) -> None:
        runtime.reset(spec.seed, spec.run)
        native = runtime.native()
        self.episode = native.Episode(spec.start_ns, spec.lasting_run)
        self.numbers = add_nodes(spec, self.episode, native)
        assert self.episode.Start(0)

    def until(self, ns: int) -> None:
        """Simulates up to this time of the episode."""
        self.episode.Advance(ns)

    def at(self, name: str) -> Point:
        """Where a node is."""
        place = self.episode.Place(self.numbers[name]).GetPosition()
        return (place.x, place.y, place.z)

    def velocity(self, name: str) -> tuple[float, float]:
        """How fast it goes east and north."""
        velocity = self.episode.Place(self.numbers[name]).GetVelocity()
        return (velocity.x, velocity.y)

    def all(self) -> list[Point]:
        """Where all are."""
        return [self.at(name) for name in self.numbers]


@contextmanager
def walking(spec: ScenarioSpec) -> Iterator[Walk]:
    walk = Walk(spec)
    try:
        yield walk
    finally:
        walk.episode.__destruct__()
        runtime.load().Simulator.Destroy()


WANDER = RandomWaypoint(radius_m=120.0, speed_m_s=(0.5, 3.0), pause_s=(0.0, 20.0))
STROLL = RandomWaypoint(radius_m=4.0, speed_m_s=(0.3, 0.6))


def wandering(*, start_ns: int = 0, lasting_run: int = 1) -> ScenarioSpec:
    """Two clusters: one moves as a group, with a moving device; in the other one device moves."""
    base = scenario(clusters=2, devices=2)
    first, second = base.clusters
    first = replace(
        first,
        cu=replace(first.cu, motion=WANDER),
        devices=(replace(first.devices[0], motion=STROLL), first.devices[1]),
    )
    second = replace(second, devices=(second.devices[0], replace(second.devices[1], motion=STROLL)))
    return replace(base, clusters=(first, second), start_ns=start_ns, lasting_run=lasting_run)


@settings(max_examples=30)
@given(st.integers(0, 5_000 * S), st.integers(0, 300 * S))
def test_a_round_begins_where_the_last_one_ended(start_ns: int, duration_ns: int) -> None:
    with walking(wandering(start_ns=start_ns)) as walk:
        walk.until(duration_ns)
        ended = walk.all()
    with walking(wandering(start_ns=start_ns + duration_ns)) as walk:
        assert walk.all() == ended


def test_positions_do_not_depend_on_how_often_they_are_queried() -> None:
    with walking(wandering()) as walk:
        for second in range(400):
            walk.until(second * S)
            walk.all()
        often = walk.all()
    with walking(wandering()) as walk:
        walk.until(399 * S)
        assert walk.all() == often


def test_a_cluster_moves_as_a_group_and_its_devices_within_it() -> None:
    with walking(wandering()) as walk:
        for second in range(0, 3000, 50):
            walk.until(second * S)
            x, y, z = walk.at("c0.cu")
            # Sums of floats: equal up to the last bits.
            assert walk.at("c0.d1") == pytest.approx((x + 0.5, y + 5.0, z))
            east, north, _ = walk.at("c0.d0")
            assert math.hypot(east - x, north - y - 5.0) <= 4.0 + 1e-9
            assert walk.at("c1.cu") == (20.0, 50.0, 1.5)
            assert math.dist(walk.at("c1.d1"), (20.5, 55.0, 1.5)) <= 4.0 + 1e-9
        assert walk.at("bs") == (0.0, 0.0, 1.5)


def test_motion_depends_on_the_seed_and_not_on_the_round() -> None:
    ways = []
    for spec in (wandering(), wandering(lasting_run=2), replace(wandering(), run=9)):
        with walking(spec) as walk:
            walk.until(100 * S)
            ways.append(walk.at("c0.cu"))
    assert ways[0] != ways[1]
    assert ways[0] == ways[2]


def test_random_waypoints_are_drawn_as_they_should_be() -> None:
    """Uniform speeds and pauses, targets uniform over the disc."""
    base = scenario()
    cu = replace(base.clusters[0].cu, motion=replace(WANDER, centre_m=(30.0, -40.0)))
    spec = replace(base, clusters=(replace(base.clusters[0], cu=cu),))
    legs: list[tuple[float, float]] = []
    corners: list[Point] = []
    pauses, stood = [], 0
    with walking(spec) as walk:
        for tenth in range(600_000):
            walk.until(tenth * S // 10)
            velocity = walk.velocity("c0.cu")
            if velocity == (0.0, 0.0):
                stood += 1
            elif not legs or velocity != legs[-1]:
                if legs:
                    corners.append(walk.at("c0.cu"))
                    pauses.append(stood / 10)
                legs.append(velocity)
                stood = 0
    assert len(legs) > 500
    speeds = [math.hypot(*leg) for leg in legs]
    assert stats.kstest(speeds, stats.uniform(0.5, 2.5).cdf).pvalue > 0.01
    assert stats.kstest(pauses, stats.uniform(0, 20).cdf).pvalue > 0.01
    off = np.array([math.hypot(x - 30.0, y + 40.0) for x, y, _ in corners]) / 120.0
    assert off.max() <= 1 + 0.01  # a corner is seen up to a tenth of a second late
    assert stats.kstest(off**2, "uniform").pvalue > 0.01


CORNERS = st.lists(st.tuples(*[st.floats(-500, 500)] * 3), min_size=1, max_size=6).map(
    lambda places: tuple((3.5 * n + 1.0, *place) for n, place in enumerate(places))
)


@settings(max_examples=30)
@given(CORNERS, st.integers(0, 25 * S), st.integers(0, 10 * S))
def test_a_trajectory_is_lines_between_its_corners(
    corners: Any, start_ns: int, later_ns: int
) -> None:
    way = Trajectory(corners)
    spec = replace(with_trajectories(scenario(), {"c0.cu": way, "bs": way}), start_ns=start_ns)
    with walking(spec) as walk:
        walk.until(later_ns)
        got, mast = walk.at("c0.cu"), walk.at("bs")
    times = [corner[0] for corner in corners]
    now_s = (start_ns + later_ns) * 1e-9
    expected = [np.interp(now_s, times, [corner[k] for corner in corners]) for k in (1, 2, 3)]
    assert got == pytest.approx(expected, abs=1e-6)
    assert mast == got


STACKS = {
    "wifi": (WifiSpec(), "c0.cu", "c0.d0", 46.7),
    "ofdma": (OfdmaSpec(), "c0.cu", "c0.d0", 38.9),
    "spectrum": (OfdmaSpec(engine="spectrum"), "c0.cu", "c0.d0", 38.9),
    "lte": (LteSpec(), "c0.cu", "bs", 38.9),
    "edge": (OfdmaSpec(), "c0.cu", "bs", 38.9),
}


@pytest.mark.parametrize("stack", STACKS)
def test_radios_measure_from_where_the_nodes_are(stack: str) -> None:
    """A device walks away from its control unit, and that from the station, as a trace says."""
    radio, src, dst, reference_db = STACKS[stack]
    base = scenario(cu_distance_m=30.0)
    tier = "d2e" if dst == "bs" else "d2d"
    ways = {
        "c0.cu": Trajectory(((100.0, 0.0, 30.0, 1.5), (110.0, 0.0, 80.0, 1.5))),
        "c0.d0": Trajectory(((100.0, 0.0, 35.0, 1.5), (110.0, 0.0, 115.0, 1.5))),
    }
    spec = with_trajectories(replace(base, **{tier: radio}), ways)
    for start_s, until_s in ((90.0, 0.3), (102.0, 1.0), (108.0, 0.3)):
        with closing(network.build(replace(spec, start_ns=round(start_s * 1e9)))) as net:

            async def main(net: network.Ns3Network = net, until_s: float = until_s) -> None:
                while net.now_ns() < until_s * 1e9:
                    await net.transfer(src, dst, 3_000)
                    await asyncio.sleep(0.005)

            run(net, main())
            link = next(x for x in net.link_state() if (x.src, x.dst) == (src, dst))
            now_s = start_s + net.now_ns() * 1e-9 - link.age_s
        walked = min(max(now_s - 100.0, 0.0), 10.0)
        distance_m = {"d2e": 30.0 + 5.0 * walked, "d2d": 5.0 + 3.0 * walked}[tier]
        expected_db = -(reference_db + 30.0 * math.log10(distance_m))
        # Measurements are averages over some frames, in which it walks half a metre or less.
        assert 10 * math.log10(link.gain) == pytest.approx(expected_db, abs=0.4)


def test_every_problem_of_a_motion_is_listed_with_its_place() -> None:
    base = scenario(devices=4)
    cluster = base.clusters[0]
    motions = (
        RandomWaypoint(0.0, (0.0, 1.0), (3.0, 2.0), (math.nan, 0.0)),
        Trajectory(()),
        Trajectory(((1.0, 0.0, 0.0, 0.0), (1.0, 1.0, math.inf, 0.0), (0.5, 0.0, 0.0, 0.0))),
        Trajectory(((0.0, 1e300, 0.0, 0.0),)),
    )
    devices = tuple(
        replace(device, motion=motion)
        for device, motion in zip(cluster.devices, motions, strict=True)
    )
    spec = replace(base, clusters=(replace(cluster, devices=devices),), start_ns=-1)
    at = "clusters[0].devices"
    assert {path for path, _ in problems(spec)} == {
        f"{at}[0].motion.radius_m",
        f"{at}[0].motion.speed_m_s",
        f"{at}[0].motion.pause_s",
        f"{at}[0].motion.centre_m",
        f"{at}[1].motion.corners",
        f"{at}[2].motion.corners[1]",
        f"{at}[2].motion.corners[2]",
        f"{at}[3].motion.corners[0]",
        "start_ns",
    }
