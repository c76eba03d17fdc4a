"""Heat and charge: closed forms against numerical integration, and the hysteresis of both."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.faults import Steps
from collapipe_ns3.node_state import Battery, Cooling, NodeModel, NodeState

SECOND = 1_000_000_000
COOLING = Cooling(25.0, k_per_w=8.0, tau_s=40.0, limit_c=70.0, resume_c=60.0, factor=2.0)


def integrated(temperature_c: float, power_w: float, seconds: float) -> float:
    """The differential equation by Runge's and Kutta's method of fourth order."""
    steps = 2000
    h = seconds / steps

    def slope(t: float) -> float:
        return (power_w * COOLING.k_per_w - (t - COOLING.ambient_c)) / COOLING.tau_s

    t = temperature_c
    for _ in range(steps):
        a = slope(t)
        b = slope(t + h * a / 2)
        c = slope(t + h * b / 2)
        t += h * (a + 2 * b + 2 * c + slope(t + h * c)) / 6
    return t


@pytest.mark.parametrize("power_w", [0.0, 3.0, 9.5])
@pytest.mark.parametrize("begin_c", [25.0, 66.0, 110.0])
@pytest.mark.parametrize("seconds", [0.1, 17.0, 300.0])
def test_heat_is_what_the_differential_equation_gives(
    begin_c: float, power_w: float, seconds: float
) -> None:
    expected = integrated(begin_c, power_w, seconds)
    assert COOLING.after(begin_c, power_w, seconds) == pytest.approx(expected, rel=1e-9)


temperatures = st.floats(0, 120)


@given(temperatures, st.floats(0, 12), temperatures)
@settings(max_examples=200, deadline=None)
def test_a_temperature_is_reached_when_the_closed_form_says(
    begin_c: float, power_w: float, target_c: float
) -> None:
    seconds = COOLING.reaches_s(begin_c, power_w, target_c)
    if seconds < 1e4:
        assert seconds >= 0
        assert COOLING.after(begin_c, power_w, seconds) == pytest.approx(target_c, abs=1e-6)
    elif seconds == math.inf:
        end_c = COOLING.end_c(power_w)
        assert (target_c - begin_c) * (end_c - target_c) <= 0 or math.isclose(target_c, end_c)


def test_a_hot_node_throttles_until_it_has_cooled_down() -> None:
    """It warms to 105 °C at 10 W: it throttles above 70 °C and resumes below 60 °C."""
    model = NodeModel(COOLING)
    state, now_ns, changes = model.first(), 0, []
    for tick in range(4000):
        power_w = 10.0 if tick < 2000 else 0.0
        after = state.after(model, power_w * 0.1, None, now_ns, now_ns + SECOND // 10)
        now_ns += SECOND // 10
        if after.throttled != state.throttled:
            changes.append((now_ns / SECOND, after.throttled))
        state = after
    hot_s = COOLING.reaches_s(25.0, 10.0, 70.0)
    top_c = COOLING.after(25.0, 10.0, 200.0)
    cool_s = 200.0 + COOLING.reaches_s(top_c, 0.0, 60.0)
    assert [throttled for _, throttled in changes] == [True, False]
    assert [at for at, _ in changes] == pytest.approx([hot_s, cool_s], abs=0.1)


CHARGING = Steps(0.0, (10 * SECOND, 20 * SECOND, 50 * SECOND), (4.0, 0.0, 1.5))
BATTERY = Battery(capacity_j=60.0, return_j=15.0)


def stepped(charge_j: float, power_w: float, begin_s: float, end_s: float) -> float:
    """The charge in steps of a millisecond."""
    for step in range(round((end_s - begin_s) * 1000)):
        now_ns = round((begin_s + step / 1000) * SECOND)
        charge_j += (CHARGING.at(now_ns) - power_w) / 1000
        charge_j = min(max(charge_j, 0.0), BATTERY.capacity_j)
    return charge_j


@pytest.mark.parametrize("power_w", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("charge_j", [0.0, 20.0, 59.0])
@pytest.mark.parametrize(("begin_s", "end_s"), [(0.0, 5.0), (5.0, 25.0), (0.0, 100.0)])
def test_charge_is_what_small_steps_give(
    charge_j: float, power_w: float, begin_s: float, end_s: float
) -> None:
    used_j = power_w * (end_s - begin_s)
    times_ns = (round(begin_s * SECOND), round(end_s * SECOND))
    found = BATTERY.after(charge_j, used_j, CHARGING, *times_ns)
    assert found == pytest.approx(stepped(charge_j, power_w, begin_s, end_s), abs=0.02)


def test_a_node_returns_when_its_battery_is_charged_enough() -> None:
    """From 10 s at 4 W: 15 J after 3.75 s. From 18 s: 8 J by 20 s, the rest from 50 s at 1.5 W."""
    assert BATTERY.returns_ns(0.0, CHARGING, 0) == round(13.75 * SECOND)
    assert BATTERY.returns_ns(0.0, CHARGING, 18 * SECOND) == math.ceil((50 + 7 / 1.5) * SECOND)
    assert BATTERY.returns_ns(16.0, CHARGING, 5) == 5
    assert BATTERY.returns_ns(0.0, None, 0) is None
    assert BATTERY.returns_ns(0.0, Steps(4.0, (SECOND,), (0.0,)), 0) is None


def test_an_empty_node_stays_empty_until_it_may_return() -> None:
    model = NodeModel(battery=BATTERY, first_charge_j=1.0)
    state = model.first()
    assert not state.empty
    state = state.after(model, 2.0, CHARGING, 0, SECOND)
    assert state == NodeState(charge_j=0.0, empty=True)
    state = state.after(model, 0.0, CHARGING, SECOND, 12 * SECOND)
    assert (state.charge_j, state.empty) == (8.0, True)
    state = state.after(model, 0.0, CHARGING, 12 * SECOND, 14 * SECOND)
    assert (state.charge_j, state.empty) == (16.0, False)
    assert NodeModel(battery=BATTERY, first_charge_j=0.0).first().empty
