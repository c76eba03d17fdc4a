"""Vehicles on a road grid: they keep to the streets, turn as often as they should, and are read."""

from __future__ import annotations

import random
from collections import Counter
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest

from ns3_scenarios.movement_ns2 import read_ns2
from ns3_scenarios.road_grid import RoadGrid, drives, main, movement_file

WIDE = RoadGrid(blocks=200)  # so that no vehicle comes to its edge


def way(grid: RoadGrid, seed: int, lasting_s: float) -> list[tuple[float, float]]:
    """The crossings that a vehicle passes."""
    begin, made = drives(grid, random.Random(seed), lasting_s)
    return [begin, *((each.x_m, each.y_m) for each in made)]


def headings(places: list[tuple[float, float]]) -> list[tuple[int, int]]:
    steps = [np.subtract(b, a) for a, b in pairwise(places)]
    return [(int(np.sign(step[0])), int(np.sign(step[1]))) for step in steps]


def test_turns_have_their_probabilities() -> None:
    """Straight on 1/2, to either side 1/4, never back; within four standard deviations."""
    turns: Counter[int] = Counter()
    for seed in range(20):
        ahead = headings(way(WIDE, seed, 2_000.0))
        for (a, b), (c, d) in pairwise(ahead):
            assert (a * c + b * d) >= 0  # not back
            turns[a * d - b * c] += 1  # 1: left, 0: straight on, -1: right
    count = sum(turns.values())
    assert count > 3_000
    for turn, chance in ((0, 0.5), (1, 0.25), (-1, 0.25)):
        deviation = (chance * (1 - chance) / count) ** 0.5
        assert turns[turn] / count == pytest.approx(chance, abs=4 * deviation)


def test_speeds_are_uniform_between_their_bounds() -> None:
    _, made = drives(WIDE, random.Random(3), 30_000.0)
    speeds = np.array([each.speed_m_s for each in made])
    assert speeds.min() >= 8.0
    assert speeds.max() <= 16.0
    assert speeds.mean() == pytest.approx(12.0, abs=4 * (8 / 12**0.5) / len(speeds) ** 0.5)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_vehicles_stay_on_the_streets_of_the_grid(blocks: int) -> None:
    grid = RoadGrid(blocks, block_m=50.0)
    recording = read_ns2(movement_file(grid, 8, 200.0, seed=5))
    assert list(recording.corners) == [str(n) for n in range(8)]
    for corners in recording.corners.values():
        assert corners[-1][0] >= 200.0
        for _, x, y, z in corners:  # at a crossing: the reader's figures differ by roundings
            assert max(abs(x), abs(y)) <= 50 * blocks + 1e-6
            assert x / 50 == pytest.approx(round(x / 50), abs=1e-6)
            assert y / 50 == pytest.approx(round(y / 50), abs=1e-6)
            assert z == 1.5
        for (t0, x0, y0, _), (t1, x1, y1, _) in pairwise(corners):
            driven_m = abs(x1 - x0) + abs(y1 - y0)
            assert driven_m < 1e-6 or driven_m == pytest.approx(50.0)
            if driven_m > 1:
                assert 8.0 - 1e-6 <= driven_m / (t1 - t0) <= 16.0 + 1e-6
            else:
                assert t1 - t0 < 3e-3  # no stops


def test_vehicles_have_streams_of_their_own() -> None:
    few, many = (movement_file(RoadGrid(), n, 60.0, 7).splitlines()[3:] for n in (2, 4))
    assert many[: len(few)] == few
    other = movement_file(RoadGrid(), 2, 60.0, 8).splitlines()[3:]
    assert other != few


def test_the_trace_of_the_bundled_study_is_what_the_generator_prints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--seconds", "300"])
    bundled = files("collapipe_ns3") / "studies" / "vehicular.tcl"
    assert capsys.readouterr().out == bundled.read_text("utf-8")


def test_wrong_figures_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--vehicles", "0"], ["--speed-m-s", "9", "3"]):
        with pytest.raises(SystemExit):
            main(wrong)
        assert "expected positive numbers" in capsys.readouterr().err
