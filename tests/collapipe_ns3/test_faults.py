"""Faults as data: signals against their definition, and when a slowed computation ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.faults import Alternating, Faults, Product, Signal, Steps

SECOND = 1_000_000_000


def random_signal(seed: int, up_s: float = 10.0, away_s: float = 2.0) -> Alternating:
    return Alternating(up_s, away_s, np.random.default_rng(seed))


def changes(signal: Signal, until_ns: int) -> list[tuple[int, float]]:
    """Every change up to an instant, with the value from then on."""
    found, now_ns = [], 0
    while (after := signal.next_change_ns(now_ns)) is not None and after <= until_ns:
        found.append((after, signal.at(after)))
        now_ns = after
    return found


@pytest.mark.parametrize(("up_s", "away_s"), [(10.0, 2.0), (1.0, 9.0), (3.0, 3.0)])
def test_a_random_node_is_up_for_mtbf_of_mtbf_and_mttr(up_s: float, away_s: float) -> None:
    """Mean availability over 400 nodes, within four standard errors; so are the mean times."""
    until_ns = round(200 * (up_s + away_s) * SECOND)
    shares, ups = [], []
    for seed in range(400):
        signal = random_signal(seed, up_s, away_s)
        instants = [0, *(at for at, _ in changes(signal, until_ns)), until_ns]
        lasting = np.diff(instants)
        shares.append(lasting[::2].sum() / until_ns)
        ups.append(lasting[0])
    expected = up_s / (up_s + away_s)
    # It starts up, which adds (1 - availability) times the relaxation time over the horizon.
    bias = (1 - expected) / (1 / up_s + 1 / away_s) / (until_ns / SECOND)
    error = np.std(shares) / math.sqrt(len(shares))
    assert np.mean(shares) == pytest.approx(expected + bias, abs=4 * error)
    first_s = np.array(ups) / SECOND
    assert first_s.mean() == pytest.approx(up_s, abs=4 * up_s / math.sqrt(len(ups)))
    assert first_s.std() == pytest.approx(up_s, rel=0.25)  # that of an exponential time is its mean


def test_a_random_node_starts_up_and_takes_turns() -> None:
    signal = random_signal(3)
    values = [value for _, value in changes(signal, 500 * SECOND)]
    assert signal.at(0) == signal.at(-5) == 1.0
    assert values == [float(n % 2) for n in range(len(values))]
    assert len(values) > 64  # more than are drawn at once


def test_times_of_a_random_signal_are_at_least_one_nanosecond() -> None:
    signal = Alternating(1e-12, 1e-12, np.random.default_rng(1))
    assert [at for at, _ in changes(signal, 200)] == list(range(1, 201))


instants = st.lists(st.integers(0, 2000 * SECOND), min_size=1, max_size=40)


@given(instants, st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_random_signal_does_not_depend_on_the_order_of_calls(asked: list[int], seed: int) -> None:
    whole = changes(random_signal(seed), 4000 * SECOND)
    signal = random_signal(seed)
    for now_ns in asked:
        before = [value for at, value in whole if at <= now_ns]
        assert signal.at(now_ns) == (before[-1] if before else 1.0)
        assert signal.next_change_ns(now_ns) == next(at for at, _ in whole if at > now_ns)


steps = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from([0.0, 1.0, 2.0, 3.0])), max_size=12
).map(
    lambda found: Steps(
        1.0,
        tuple(sorted({at for at, _ in found})),
        tuple(dict(sorted(found)).values()),
    )
)


@given(st.lists(steps, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_a_product_is_the_product_at_every_instant(factors: Sequence[Steps]) -> None:
    """Its next change is the first later instant at which the product is another."""
    product = Product(tuple(factors))
    values = [math.prod(each.at(now) for each in factors) for now in range(70)]
    for now in range(70):
        assert product.at(now) == values[now]
        later = [n for n in range(now + 1, 70) if values[n] != values[now]]
        assert product.next_change_ns(now) == (later[0] if later else None)


def test_a_node_that_has_left_for_good_never_changes_whatever_else_it_does() -> None:
    product = Product((Steps(1.0, (5,), (0.0,)), random_signal(1)))
    assert product.next_change_ns(6) is None
    assert product.next_change_ns(0) == 5


def test_a_slowed_computation_ends_when_its_work_is_done() -> None:
    """2 s at half the speed, then full speed: 1 s of the 3 s of work is done by then."""
    faults = Faults(slowness={"c0.d0": Steps(1.0, (SECOND, 3 * SECOND), (2.0, 1.0))})
    assert faults.end_ns("c0.d0", SECOND, 3 * SECOND) == 5 * SECOND
    assert faults.end_ns("c0.d0", 0, SECOND) == SECOND
    assert faults.end_ns("c0.d1", 7, 3) == 10
