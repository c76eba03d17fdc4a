"""A measured link has the same figures in every package."""

from __future__ import annotations

import dataclasses

import ns3_scenarios.readings
from bridge.fixed import FixedLinkState
from bridge.network import LinkState
from collapipe_ns3.observed import MeasuredLink


def test_a_measured_link_has_all_that_networks_measure() -> None:
    declared = {name for name, value in vars(LinkState).items() if isinstance(value, property)}
    for kind in (MeasuredLink, FixedLinkState, ns3_scenarios.readings.RadioLinkState):
        assert {field.name for field in dataclasses.fields(kind)} == declared
