"""Uplinks, downlinks and sidelinks: each link has one place in the arrays of its direction."""

from __future__ import annotations

import fleets
import numpy as np

from bridge.network import group_name
from collapipe_ns3.dssra.planner import start_radio
from collapipe_ns3.dssra.planning_problem import workload
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import LinkPlan
from collapipe_ns3.prediction.directions import Direction, place_of_link
from collapipe_ns3.prediction.fleet import Fleet, node_places
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.plan_timeline import radio_of_plan


def seen(radio: str) -> Observation:
    return fleets.observation(np.random.default_rng(3), 2, 3, radio=radio)


def test_a_link_lies_in_the_arrays_of_its_direction() -> None:
    places = node_places([["c0.d0"], [], ["c2.d0", "c2.d1"]])
    assert place_of_link(places, "c2.cu", "bs") == (Direction.UPLINK, (1,))
    assert place_of_link(places, "bs", "c0.cu") == (Direction.DOWNLINK, (0,))
    assert place_of_link(places, "c2.cu", "c2.d1") == (Direction.SIDELINK, (1, 0, 2))
    assert place_of_link(places, "c2.d1", "c2.d0") == (Direction.SIDELINK, (1, 2, 1))


def test_what_was_measured_of_a_link_lies_in_its_place() -> None:
    observation = seen("own")
    places, fleet = node_places(observation.devices), Fleet.of(observation, Knowledge())
    for link in observation.links:
        direction, at = place_of_link(places, link.src, link.dst)
        assert fleet.links[direction].snr[at] == link.gain / link.interference_w_hz
        assert fleet.links[direction].measured[at]


def test_power_and_bandwidth_of_a_plan_are_set_for_its_links_alone() -> None:
    observation = seen("ofdma")
    fleet = Fleet.of(observation, Knowledge())
    start = start_radio(fleet, workload(observation, Settings()))
    places = node_places(observation.devices)
    plans = [
        LinkPlan(link.src, link.dst, 1e-3 * number, 1e3 * number)
        for number, link in enumerate(observation.links, start=1)
        if number % 2
    ]
    radio = radio_of_plan(plans, observation.devices, fleet, start)
    planned = {(plan.src, plan.dst): plan for plan in plans}
    for link in observation.links:
        direction, at = place_of_link(places, link.src, link.dst)
        power_w, hz = radio[direction].power_w[at], radio[direction].bandwidth_hz[at]
        if (plan := planned.get((link.src, link.dst))) is not None:
            assert (power_w, hz) == (plan.tx_power_w, plan.bandwidth_hz)
        else:
            assert power_w == start[direction].power_w[at]
            assert hz == start[direction].bandwidth_hz[at]


def test_a_grant_to_a_group_changes_nothing_for_its_links() -> None:
    observation = seen("ofdma")
    fleet = Fleet.of(observation, Knowledge())
    start = start_radio(fleet, workload(observation, Settings()))
    control = observation.devices[0][0].split(".")[0] + ".cu"
    group = LinkPlan(control, group_name(observation.devices[0][:2]), 1e-3, 1e3)
    radio = radio_of_plan([group], observation.devices, fleet, start)
    for direction in Direction:
        assert (radio[direction].power_w == start[direction].power_w).all()
        assert (radio[direction].bandwidth_hz == start[direction].bandwidth_hz).all()


def test_a_bandwidth_is_not_set_where_the_radio_takes_no_grants() -> None:
    observation = seen("shared")
    fleet = Fleet.of(observation, Knowledge())
    start = start_radio(fleet, workload(observation, Settings()))
    plans = [LinkPlan(link.src, link.dst, None, 1e3) for link in observation.links]
    radio = radio_of_plan(plans, observation.devices, fleet, start)
    for direction in Direction:
        assert (radio[direction].bandwidth_hz == start[direction].bandwidth_hz).all()
