"""Heat and charge during a round: when nodes leave and return, against closed forms."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork
from bridge.loop import simulated_loop, sleep_ns
from collapipe_ns3.engine.node_states import NodeStates
from collapipe_ns3.engine.presence import Presence
from collapipe_ns3.engine.site import Site
from collapipe_ns3.faults import Faults, Steps
from collapipe_ns3.node_state import Battery, Cooling, NodeModel, NodeState

SECOND = 1_000_000_000
COOLING = Cooling(25.0, k_per_w=10.0, tau_s=5.0, limit_c=60.0, resume_c=40.0, factor=3.0)


@dataclass
class Power:
    idle_w: float


@dataclass
class Profile:
    power: Power


class SteadySite:
    """A site whose nodes take constant powers: at idle, and above that for the first seconds."""

    def __init__(self, idle_w: float, active_w: float, active_s: float = math.inf) -> None:
        self.profiles = {"c0.d0": Profile(Power(idle_w))}
        self.active_w, self.active_s = active_w, active_s

    def used_j(self) -> Mapping[str, float]:
        return {"c0.d0": self.active_w * min(simulated_loop().now_ns() / 1e9, self.active_s)}


def follow(states: NodeStates, site: SteadySite, seconds: float, began_ns: int = 0) -> list[int]:
    """Follows the states for some seconds; when watchers of the node were woken, in loop's ns."""
    woken: list[int] = []
    presence = Presence(states.faults, began_ns, states)

    async def watch() -> None:
        while await presence.changes(["c0.d0"]):
            woken.append(simulated_loop().now_ns())

    async def main() -> None:
        watching = asyncio.get_running_loop().create_task(watch())
        async with states.followed(cast(Site, site)):
            await sleep_ns(round(seconds * SECOND))
        watching.cancel()

    network = FixedRateNetwork(["c0.d0"], None)
    simulated.run(network, main())
    return woken


def battery(capacity_j: float, faults: Faults, **state: Any) -> NodeStates:
    model = NodeModel(battery=Battery(capacity_j, 0.2 * capacity_j), first_charge_j=capacity_j)
    return NodeStates({"c0.d0": model}, {"c0.d0": NodeState(**state)}, faults, 0)


def test_a_node_goes_at_the_reading_after_its_battery_is_empty_and_returns_when_charged() -> None:
    """10 J at 4 W, of which 1 W is charged: empty after 10/3 s, found at 3.4 s; 2 J take 2 s."""
    charging = Faults(charging_w={"c0.d0": Steps(1.0)})
    states = battery(10.0, charging, charge_j=10.0)
    site = SteadySite(idle_w=1.0, active_w=3.0, active_s=3.4)
    woken = follow(states, site, 8.0)
    up = states.faults.up["c0.d0"]
    assert woken == [round(3.4 * SECOND), round(5.4 * SECOND)]
    assert [up.at(round(t * SECOND)) for t in (0, 3.3, 3.4, 5.3, 5.4, 8)] == [1, 1, 0, 0, 1, 1]
    # From its return on it takes as much at idle as is charged.
    assert states.states["c0.d0"] == NodeState(charge_j=pytest.approx(2.0), empty=False)
    assert states.faults.up_ns("c0.d0", 0, 8 * SECOND) == 6 * SECOND


def test_an_empty_node_that_is_never_charged_stays_away() -> None:
    states = battery(10.0, Faults(), charge_j=0.5)
    follow(states, SteadySite(idle_w=1.0, active_w=0.0), 3.0)
    assert states.states["c0.d0"].empty
    assert states.faults.up["c0.d0"].next_change_ns(SECOND) is None
    assert states.faults.away_within(0, 3 * SECOND) == {"c0.d0"}


def test_a_round_that_begins_with_an_empty_battery_knows_when_the_node_returns() -> None:
    model = NodeModel(battery=Battery(10.0, 4.0), first_charge_j=1.0)
    charging = Faults(charging_w={"c0.d0": Steps(2.0)})
    state = NodeState(charge_j=1.0, empty=True)
    states = NodeStates({"c0.d0": model}, {"c0.d0": state}, charging, 7 * SECOND)
    up = states.faults.up["c0.d0"]
    assert up.at(7 * SECOND) == 0
    assert up.next_change_ns(7 * SECOND) == round(8.5 * SECOND)
    follow(states, SteadySite(idle_w=1.0, active_w=0.0), 4.0, 7 * SECOND)
    # 1 W more than it takes for the 2.5 s after its return at 4 J.
    assert states.states["c0.d0"].charge_j == pytest.approx(6.5)


def test_a_node_warms_by_the_closed_form_and_throttles() -> None:
    """25 °C to 75 °C in the end at 5 W: above 60 °C after 5·ln(50/15) = 6.02 s."""
    state = NodeState(temperature_c=25.0)
    states = NodeStates({"c0.d0": NodeModel(COOLING)}, {"c0.d0": state}, Faults(), 0)
    follow(states, SteadySite(idle_w=2.0, active_w=3.0), 9.97)
    slowness = states.faults.slowness["c0.d0"]
    assert slowness.next_change_ns(0) == round(6.1 * SECOND)
    assert [slowness.at(round(t * SECOND)) for t in (0, 6.0, 6.1, 9)] == [1, 1, 3, 3]
    found = states.states["c0.d0"]
    assert found.temperature_c == pytest.approx(COOLING.after(25.0, 5.0, 9.97), rel=1e-9)
    assert found.throttled
    # A computation takes three times as long from then on.
    assert states.faults.end_ns("c0.d0", 7 * SECOND, SECOND) == 10 * SECOND


def test_given_faults_and_heat_multiply_and_a_node_away_takes_nothing() -> None:
    given = Faults(up={"c0.d0": Steps(1.0, (SECOND,), (0.0,))}, slowness={"c0.d0": Steps(2.0)})
    state = NodeState(temperature_c=70.0, throttled=True)
    states = NodeStates({"c0.d0": NodeModel(COOLING)}, {"c0.d0": state}, given, 0)
    assert states.faults.slowness["c0.d0"].at(0) == 6.0
    follow(states, SteadySite(idle_w=2.0, active_w=0.0), 4.0)
    warm_c = COOLING.after(70.0, 2.0, 1.0)
    expected_c = COOLING.after(warm_c, 0.0, 3.0)
    assert states.states["c0.d0"].temperature_c == pytest.approx(expected_c, rel=1e-9)


def test_without_models_nothing_is_followed() -> None:
    states = NodeStates({}, {})
    assert not states
    assert not states.faults
    assert follow(states, SteadySite(1.0, 1.0), 1.0) == []
