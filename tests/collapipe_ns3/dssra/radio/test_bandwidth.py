"""Bandwidth: the inverse rate in closed form, and the interior-point method against SLSQP."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from collapipe_ns3.dssra.radio.bandwidth import bandwidths_for_equal_ends, required_hz
from collapipe_ns3.dssra.radio.interior import Program, airtime, solve

CAPACITIES = st.floats(1e3, 1e11)


@given(st.floats(1e-9, 0.9999), CAPACITIES)
def test_the_required_bandwidth_carries_the_rate(beta: float, capacity: float) -> None:
    rate = beta * capacity / np.log(2)
    hz = float(required_hz(np.array(rate), np.array(capacity)))
    assert hz * np.log1p(capacity / hz) / np.log(2) == pytest.approx(rate, rel=1e-12)


@given(st.floats(0.3, 0.95), CAPACITIES)
def test_closed_form_and_newton_are_the_root_that_brent_finds(beta: float, capacity: float) -> None:
    rate = beta * capacity / np.log(2)
    hz = float(required_hz(np.array(rate), np.array(capacity)))
    root = brentq(
        lambda z: np.exp(z) * np.log1p(1 / np.exp(z)) - beta, -10, 10, xtol=1e-14, rtol=1e-14
    )
    assert hz == pytest.approx(np.exp(root) * capacity, rel=1e-9)


def test_no_bandwidth_is_enough_for_more_than_the_limit_and_none_is_for_nothing() -> None:
    found = required_hz(np.array([0.0, 1.0, 1.5]), np.full(3, 1.0))
    assert found[0] == 0
    assert np.isfinite(found[1])
    assert found[2] == np.inf


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_the_fastest_division_ends_all_at_once_and_fills_the_band(seed: int, links: int) -> None:
    rng = np.random.default_rng(seed)
    offset, bits = rng.uniform(0, 1, links), 10 ** rng.uniform(4, 8, links)
    efficiency, capacity = rng.uniform(0.2, 1, links), 10 ** rng.uniform(5, 9, links)
    time, hz = bandwidths_for_equal_ends(offset, bits, efficiency, capacity, 2e7)
    ends = offset + bits / (efficiency * hz * np.log2(1 + capacity / hz))
    assert hz.sum() == pytest.approx(2e7, rel=1e-6)
    assert ends == pytest.approx(np.full(links, time), rel=1e-6)


def test_identical_clusters_get_equal_parts() -> None:
    program = drawn(0, clusters=3, hops=2)
    alike = Program(
        **{
            key: np.repeat(getattr(program, key)[:1], 3, 0)
            for key in ("capacity", "rate", "flat", "free", "band", "own", "start", "fixed",
                        "fill", "beat", "rows", "least", "group", "energy")
        },
        price=1.0,
    )  # fmt: skip
    found = solve(alike, 1e-9).bandwidth
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-5)


def drawn(seed: int, clusters: int, hops: int) -> Program:
    """Pipelines of some hops, with a band for each cluster and one up and one down for all."""
    rng = np.random.default_rng(seed)
    links, rows = 2 * hops + 2, 2 * hops + 4
    shape = (clusters, links)
    size = rng.uniform(1e4, 1e5, shape)
    matrix, group = np.zeros((clusters, rows, links)), np.zeros((clusters, rows, 2), dtype=bool)
    least = np.zeros((clusters, rows))
    for row, (link, which) in enumerate(
        [*((i, 0) for i in range(hops)), *((hops + i, 1) for i in range(hops)), (-2, 0), (-1, 1)]
    ):
        matrix[:, row, link], group[:, row, which] = size[:, link], True
    for which in range(2):
        least[:, -1 - which], group[:, -1 - which, which] = rng.uniform(0, 0.05, clusters), True
    own = np.ones(shape, dtype=bool)
    own[:, -2:] = False
    flat = np.zeros(shape, dtype=bool)
    flat[:, -1] = True
    return Program(
        capacity=10 ** rng.uniform(6, 9, shape),
        rate=rng.uniform(0.3, 0.9, shape),
        flat=flat,
        free=np.ones(shape, dtype=bool),
        band=np.full(shape, 2e7),
        own=own,
        start=np.where(own, 2e7 / (2 * hops), 2e7 / clusters),
        fixed=rng.uniform(0, 0.5, clusters),
        fill=size * rng.uniform(1, 3, shape),
        beat=np.full((clusters, 2), float(rng.integers(1, 8))),
        rows=matrix,
        least=least,
        group=group,
        price=1.0,
        energy=rng.uniform(0, 1e4, shape),
    )


def objective(program: Program, hz: np.ndarray) -> float:
    y, _, _ = airtime(program, hz)
    held = program.least + (program.rows @ y[..., None])[..., 0]
    theta = np.where(program.group, held[..., None], -np.inf).max(1)
    times = program.fixed + (program.fill * y).sum(-1) + (program.beat * theta).sum(-1)
    return float(program.price * times.max() + (program.energy * y).sum())


def by_slsqp(program: Program) -> float:
    """The optimum of the same program by SLSQP, with the beats and T as variables."""
    shape = program.start.shape
    count = program.start.size

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        w = x[:count].reshape(shape)
        y, _, _ = airtime(program, w * program.band)
        return w, y, x[count:-1].reshape(len(w), -1), x[-1]

    def cost(x: np.ndarray) -> float:
        _, y, _, time = parts(x)
        return float(program.price * time + (program.energy * y).sum())

    def slack(x: np.ndarray) -> np.ndarray:
        w, y, theta, time = parts(x)
        rows = (program.group * theta[:, None]).sum(-1) - program.least
        rows = rows - (program.rows @ y[..., None])[..., 0]
        times = program.fixed + (program.fill * y).sum(-1) + (program.beat * theta).sum(-1)
        bands = [1 - (w * program.own).sum(-1), np.array([1 - w[:, k].sum() for k in (-2, -1)])]
        return np.concatenate([rows.ravel(), time - times, *bands])

    y, _, _ = airtime(program, program.start)
    held = program.least + (program.rows @ y[..., None])[..., 0]
    theta = np.where(program.group, held[..., None], -np.inf).max(1)
    x = np.concatenate(
        [0.99 * (program.start / program.band).ravel(), 1.1 * theta.ravel(),
         [1.2 * objective(program, program.start)]]
    )  # fmt: skip
    bounds = [(1e-4, 1.0)] * count + [(0, None)] * (len(x) - count)
    found = minimize(
        cost, x, bounds=bounds, constraints=[{"type": "ineq", "fun": slack}], method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )  # fmt: skip
    return objective(program, found.x[:count].reshape(shape) * program.band)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 2), st.integers(1, 2))
def test_bands_are_divided_as_slsqp_divides_them(seed: int, clusters: int, hops: int) -> None:
    program = drawn(seed, clusters, hops)
    solution = solve(program, 1e-9)
    found, other = objective(program, solution.bandwidth), by_slsqp(program)
    assert found <= other * (1 + 1e-6)
    assert found >= other * (1 - 1e-4)
    assert (solution.bandwidth * program.own).sum(-1) == pytest.approx(np.full(clusters, 2e7))
    assert solution.bandwidth[:, -2:].sum(0) == pytest.approx([2e7, 2e7])
    assert solution.worth.sum() == pytest.approx(1.0, rel=1e-3)
    assert solution.gap < 1e-8


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_without_energy_and_beats_it_is_the_fastest_division(seed: int, clusters: int) -> None:
    """For uplinks alone the search for T and the interior-point method agree."""
    rng = np.random.default_rng(seed)
    offset, bits = rng.uniform(0, 1, clusters), 10 ** rng.uniform(6, 8, clusters)
    efficiency, capacity = rng.uniform(0.2, 1, clusters), 10 ** rng.uniform(6, 9, clusters)
    time, hz = bandwidths_for_equal_ends(offset, bits, efficiency, capacity, 2e7)
    assume((hz / 2e7).min() > 1e-3)
    shape = (clusters, 2)
    up = np.broadcast_to([True, False], shape)
    program = Program(
        capacity=np.stack([capacity, capacity], -1),
        rate=np.stack([efficiency, efficiency], -1),
        flat=np.zeros(shape, dtype=bool),
        free=up,
        band=np.full(shape, 2e7),
        own=np.zeros(shape, dtype=bool),
        start=np.full(shape, 2e7 / clusters),
        fixed=offset,
        fill=np.where(up, bits[:, None] / 8, 0.0),
        beat=np.ones((clusters, 1)),
        rows=np.zeros((clusters, 1, 2)),
        least=np.zeros((clusters, 1)),
        group=np.ones((clusters, 1, 1), dtype=bool),
        price=1.0,
        energy=np.zeros(shape),
    )
    found = solve(program, 1e-9)
    assert found.bandwidth[:, 0] == pytest.approx(hz, rel=1e-4)
    assert found.time == pytest.approx(time, rel=1e-6)
