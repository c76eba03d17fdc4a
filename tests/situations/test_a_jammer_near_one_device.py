"""A jammer is switched on beside a device: its blocks go to another one, and rounds are shorter."""

from __future__ import annotations

from dataclasses import replace

import adapting
import pytest

from ns3_scenarios.interferers import Jammer
from ns3_scenarios.scenario import ScenarioSpec

SINCE, ROUNDS = 2, 7


def jammed(spec: ScenarioSpec) -> ScenarioSpec:
    """A milliwatt of noise two metres from c0.d1, which holds the first cluster's blocks."""
    (device,) = (node for node in spec.clusters[0].devices if node.name == "c0.d1")
    east, north, height = device.position
    return replace(spec, interferers=(Jammer("jammer", (east + 2, north, height), 1e-3),))


@pytest.mark.slow
def test_a_jammed_devices_blocks_go_elsewhere() -> None:
    planned, frozen = (
        adapting.course(ROUNDS, SINCE, scenario=jammed, memory="all", frozen=frozen)
        for frozen in (False, True)
    )
    assert planned.devices(SINCE, 0) == {"c0.d1"}  # the round in which it is switched on
    assert "c0.d1" not in planned.devices(SINCE + 2, 0)
    # Two rounds later at most; moving states costs one of them.
    assert max(planned.seconds[SINCE + 2 :]) < 0.85 * min(frozen.seconds[SINCE + 2 :])
