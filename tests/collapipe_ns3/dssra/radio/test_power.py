"""The best power in closed form against numerical minima."""

from __future__ import annotations

from dataclasses import replace

import fleets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import lambertw

from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.objective import Objective, value
from collapipe_ns3.dssra.planner import optimise
from collapipe_ns3.dssra.radio import power
from collapipe_ns3.dssra.radio.power import best_w, needed_w
from collapipe_ns3.dssra.segments.problem import Choices
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge


def best(
    second: float, joule: float, gamma: float, least: float = 1e-9, most: float = 1e9
) -> float:
    arrays = (np.array([each]) for each in (second, joule, gamma, least, most))
    return float(best_w(*arrays)[0])


@settings(max_examples=500)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-2, 1e6))
def test_the_best_power_is_the_numeric_minimum(second: float, joule: float, gamma: float) -> None:
    def cost(log_power: float) -> float:
        watts = np.exp(log_power)
        return float((second + joule * watts) / np.log2(1 + gamma * watts))

    found = best(second, joule, gamma)
    numeric = minimize_scalar(cost, bounds=(-20, 20), method="bounded", options={"xatol": 1e-10})
    assert cost(np.log(found)) <= numeric.fun * (1 + 1e-9)


@settings(max_examples=300)
@given(
    st.floats(1e-2, 1e2),
    st.floats(1e-2, 1e2),
    st.floats(1.0, 1e5),
    st.floats(0.02, 0.9),
    st.floats(0.0, 5.0),
)
def test_with_a_static_part_and_an_efficiency_it_is_the_minimum_of_delay_and_energy(
    second: float, joule: float, gamma: float, efficiency: float, static_w: float
) -> None:
    """κ = γ·η·(Vλ + Q·P_static)/Q - 1, against the minimum of (Vλ + Q·(P_static + p/η))·D/r(p)."""

    def cost(log_power: float) -> float:
        watts = np.exp(log_power)
        per_second = second + joule * (static_w + watts / efficiency)
        return float(per_second / np.log2(1 + gamma * watts))

    kappa = gamma * efficiency * (second + joule * static_w) / joule - 1
    closed = float(np.expm1(1 + lambertw(kappa / np.e).real) / gamma)
    numeric = minimize_scalar(cost, bounds=(-25, 25), method="bounded", options={"xatol": 1e-10})
    assert cost(np.log(closed)) <= numeric.fun * (1 + 1e-9)
    # `best_w` is given what a second costs in all, and what a radiated joule adds to that.
    found = best(second + joule * static_w, joule / efficiency, gamma, least=1e-12)
    assert found == pytest.approx(closed, rel=1e-9)


def test_of_a_whole_plan_at_the_socket_the_uplinks_power_is_the_numeric_minimum() -> None:
    """One cluster, whose uplink is in no beat with a single micro-batch: J over its power alone."""
    seen = fleets.observation(np.random.default_rng(8), 1, 3, radio="own", batch_size=4)
    fleet = Fleet.of(fleets.at_socket(seen), Knowledge())
    work = Workload.of(
        seen.model,
        batch_size=4,
        local_steps=2,
        optimizer=OPTIMIZERS["adamw"],
        source_length=9,
        target_length=10,
    )
    joule = np.array([[40.0, 0.1, 0.2, 0.05]])
    idle_price = float((joule * fleet.idle_w).sum())
    objective = Objective(
        fleet,
        work,
        GradientNoise(),
        0.1 + idle_price,
        joule,
        0.0,
        Choices((1,), one_f_one_b=False),
        1e-3,
        idle_price=idle_price,
    )
    start = optimise(objective, 1).state
    now = value(objective, start)

    def total(log_power: float) -> float:
        radio = start.radio.with_power_w(uplink=np.array([np.exp(log_power)]))
        return value(objective, replace(start, radio=radio)).total

    most_w = float(fleet.max_power_w[0, 0])
    bounds = (np.log(1e-4 * most_w), np.log(most_w))
    numeric = minimize_scalar(total, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    made = power.cases(objective, start, now, power.Trials([1.0], [(100.0, 100.0)]))
    chosen_w = float(made.watts[-1, 0, -2])  # the uplink is the last but one
    assert 1e-3 * most_w < chosen_w < 0.99 * most_w
    assert chosen_w == pytest.approx(float(np.exp(numeric.x)), rel=1e-4)
    assert total(np.log(chosen_w)) <= numeric.fun * (1 + 1e-12)


def test_free_energy_asks_for_full_power_and_a_free_second_for_the_least() -> None:
    assert best(1.0, 0.0, 10.0, most=0.1) == 0.1
    assert best(0.0, 1.0, 10.0, least=1e-4) == 1e-4
    assert best(1e9, 1.0, 10.0, most=0.1) == 0.1


@given(st.floats(1e-9, 1e-5), st.floats(1e5, 1e8), st.floats(1.0, 1e6))
def test_the_needed_power_takes_just_so_long(seconds: float, hz: float, gamma: float) -> None:
    watts = float(needed_w(np.array([seconds]), np.array([hz]), np.array([gamma]))[0])
    if np.isfinite(watts) and watts > 0:
        assert 1 / (hz * np.log1p(gamma * watts) / np.log(2)) == pytest.approx(seconds, rel=1e-6)


@pytest.mark.parametrize("model", ["socket", "radiated"])
@pytest.mark.parametrize("radio", ["own", "ofdma", "shared"])
def test_the_cases_of_a_plan_come_to_what_the_closed_forms_say(radio: str, model: str) -> None:
    """The linear model of airtimes against the value of the whole plan, for each case."""
    rng = np.random.default_rng(4)
    seen = fleets.observation(rng, 2, 3, radio=radio, batch_size=16, memory=0.6)
    seen = fleets.at_socket(seen) if model == "socket" else seen
    fleet = Fleet.of(seen, Knowledge())
    work = Workload.of(
        seen.model,
        batch_size=16,
        local_steps=2,
        optimizer=OPTIMIZERS["adamw"],
        source_length=9,
        target_length=10,
    )
    joule = rng.uniform(0, 2, (2, 4))
    objective = Objective(
        fleet, work, GradientNoise(), 1.0, joule, 0.0, Choices((4,), one_f_one_b=False), 1.0
    )
    planned = optimise(objective, 2)
    trials = power.Trials([1.0, 0.1], [(1.0, 1.0), (2.0, 2.0)])
    made = power.cases(objective, planned.state, planned.value, trials)
    assert made.times[0] == pytest.approx(planned.value.times)
    # Computing costs the rest, whatever the powers.
    assert (made.joules[0] <= planned.value.energy).all()
    for case in range(1, len(made.times)):
        which = np.full(2, case)
        state = replace(planned.state, radio=made.radio(which))
        now = value(objective, state)
        before = planned.value.energy - made.joules[0]
        assert now.energy == pytest.approx(before + made.joules[case], rel=1e-6)
        if radio != "shared":  # where clusters keep each other waiting, times are not their own
            assert now.times == pytest.approx(made.times[case], rel=1e-6)
