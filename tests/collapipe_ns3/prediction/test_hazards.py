"""Expected times under hazards: against draws, against limits, and the interval of copies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collapipe_ns3.prediction.hazards import Parts, attempts, copies_apart, expected_maximum

DRAWS = 200_000
UNLIMITED = 400  # so many losses are never reached where E[T] is compared with its closed form


def drawn(
    rng: np.random.Generator, hazard: float, lengths: list[float], loss_s: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """(time, whether it succeeded) of every draw: losses are simulated one by one."""
    time, losses = np.zeros(DRAWS), np.zeros(DRAWS, dtype=int)
    alive = np.ones(DRAWS, dtype=bool)
    for length in lengths:
        busy = alive.copy()
        while busy.any():
            left = rng.exponential(1 / hazard, DRAWS)
            done, lost = busy & (left >= length), busy & (left < length)
            time[done] += length
            time[lost] += left[lost]
            losses[lost] += 1
            failed = lost & (losses > most)
            time[lost & ~failed] += loss_s
            alive &= ~failed
            busy = lost & ~failed
    return time, alive


def one_row(lengths: list[float], loss_s: float) -> Parts:
    counts = np.ones((1, len(lengths)), dtype=np.intp)
    return Parts(np.array([lengths]), counts, np.full((1, len(lengths)), loss_s))


def near(drawn: np.ndarray, expected: float) -> bool:
    """Whether a mean of draws is within four standard errors."""
    error = drawn.std() / math.sqrt(len(drawn)) + 1 / len(drawn)
    return bool(abs(drawn.mean() - expected) < 4 * error)


@pytest.mark.parametrize("most", [0, 1, 3, 50])
@pytest.mark.parametrize("lengths", [[10.0], [4.0] * 5, [1.0, 6.0, 6.0, 3.0]])
@pytest.mark.parametrize("hazard", [0.003, 0.05, 0.2])
def test_means_and_chances_are_those_of_draws(
    hazard: float, lengths: list[float], most: int
) -> None:
    rng = np.random.default_rng(7)
    time, succeeded = drawn(rng, hazard, lengths, 2.5, most)
    row = np.array([hazard]), one_row(lengths, 2.5), np.array([most])
    found = attempts(*row)
    assert near(time, float(found.expected_s[0]))
    assert near(succeeded.astype(float), float(found.success[0]))
    if len(set(lengths)) == 1 and 0.001 < succeeded.mean() < 0.999:
        assert near(time[~succeeded], float(found.failing_s[0]))


def test_without_a_limit_the_time_is_the_closed_form() -> None:
    hazard, length, loss_s = np.array([0.001, 0.02, 0.1]), 30.0, np.array([0.0, 4.0, 4.0])
    many = np.full(3, UNLIMITED)
    once = Parts(np.full((3, 1), length), np.ones((3, 1), dtype=np.intp), loss_s[:, None])
    assert attempts(hazard, once, many).expected_s == pytest.approx(
        np.expm1(hazard * length) * (1 / hazard + loss_s)
    )
    five = Parts(np.full((3, 1), length / 5), np.full((3, 1), 5), loss_s[:, None])
    assert attempts(hazard, five, many).expected_s == pytest.approx(
        5 * np.expm1(hazard * length / 5) * (1 / hazard + loss_s)
    )


def test_parts_that_are_counted_are_parts_one_by_one() -> None:
    hazard, most = np.array([0.05]), np.array([3])
    counted = Parts(np.array([[1.0, 6.0, 3.0]]), np.array([[1, 2, 1]]), np.ones((1, 3)))
    together = attempts(hazard, counted, most)
    apart = attempts(hazard, one_row([1.0, 6.0, 6.0, 3.0], 1.0), most)
    assert together.chances == pytest.approx(apart.chances)
    assert together.expected_s == pytest.approx(apart.expected_s)


def test_limits_without_hazard_and_the_first_order() -> None:
    parts = one_row([12.0], 3.0)
    for most in (0, 2):
        none = attempts(np.zeros(1), parts, np.array([most]))
        assert none.expected_s == pytest.approx(12.0, rel=1e-15)
        assert none.success == pytest.approx(1.0, rel=1e-15)
    for hazard in (1e-12, 1e-9, 1e-7, 1e-5):
        again = attempts(np.array([hazard]), parts, np.array([3]))
        first = 12.0 + hazard * 12.0 * (6.0 + 3.0)
        assert again.expected_s[0] - 12 == pytest.approx(first - 12, rel=1e-3, abs=1e-14)
        gone = attempts(np.array([hazard]), parts, np.array([0]))
        assert gone.success[0] == pytest.approx(math.exp(-hazard * 12), rel=1e-15)
        assert gone.expected_s[0] == pytest.approx(12 - hazard * 72, rel=1e-8)
    # Abandoned rounds that are repeated until one succeeds take as long as restarts without R.
    one = attempts(np.array([0.1]), parts, np.array([0]))
    assert one.expected_s / one.success == pytest.approx(np.expm1(1.2) / 0.1)


def test_the_expected_maximum_is_that_of_draws_and_of_all_combinations() -> None:
    rng = np.random.default_rng(3)
    values, chances = rng.uniform(0, 10, (3, 4)), rng.dirichlet(np.ones(4), 3)
    values[1, 2] = values[0, 1]  # a tie
    every = sum(
        chances[0, a]
        * chances[1, b]
        * chances[2, c]
        * max(values[0, a], values[1, b], values[2, c])
        for a in range(4)
        for b in range(4)
        for c in range(4)
    )
    assert expected_maximum(values, chances) == pytest.approx(every)
    assert expected_maximum(values[:1], chances[:1]) == pytest.approx((values * chances)[0].sum())


def expected_s(hazard: float, step_s: float, copy_s: float, steps: int, apart: int) -> float:
    whole, rest = divmod(steps - 1, apart)
    parts = Parts(
        np.array([[apart * step_s + copy_s, (rest + 1) * step_s]]),
        np.array([[whole, 1]]),
        np.zeros((1, 2)),
    )
    return float(attempts(np.array([hazard]), parts, np.array([300])).expected_s[0])


@pytest.mark.parametrize("hazard", [1e-4, 1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("copy_s", [1e-4, 0.05, 0.5, 5.0])
def test_the_best_interval_of_copies_is_among_those_compared(hazard: float, copy_s: float) -> None:
    step_s, steps = 0.7, 60
    every = {r: expected_s(hazard, step_s, copy_s, steps, r) for r in range(1, steps + 1)}
    compared = copies_apart(hazard, step_s, copy_s, steps)
    assert len(compared) <= 7
    best = min(compared, key=every.__getitem__)
    assert every[best] <= 1.005 * min(every.values())


def test_the_interval_of_copies_is_youngs_where_losses_are_rare() -> None:
    young = math.sqrt(2 * 0.5 / 1e-5) / 0.1
    assert copies_apart(1e-5, 0.1, 0.5, 10**6)[1] == pytest.approx(young, rel=2e-3)
    assert copies_apart(1e-5, 0.1, 0.0, 50)[0] == 1
    assert copies_apart(0.0, 0.1, 0.5, 50) == [50]
