"""A cluster moves away and leaves a device behind: the plan goes on without it."""

from __future__ import annotations

from dataclasses import replace

import adapting
import pytest

from ns3_scenarios.scenario import NodeSpec, ScenarioSpec

SINCE, ROUNDS = 2, 6


def moved(spec: ScenarioSpec) -> ScenarioSpec:
    """The first cluster eighty metres on, all but c0.d1, which holds its blocks."""

    def on(node: NodeSpec) -> NodeSpec:
        east, north, height = node.position
        return replace(node, position=(east + 80, north, height))

    cluster = spec.clusters[0]
    devices = tuple(node if node.name == "c0.d1" else on(node) for node in cluster.devices)
    first = replace(cluster, cu=on(cluster.cu), devices=devices)
    return replace(spec, clusters=(first, *spec.clusters[1:]))


@pytest.mark.slow
def test_a_device_left_behind_is_left_out() -> None:
    planned, frozen = (
        adapting.course(ROUNDS, SINCE, scenario=moved, memory="all", frozen=frozen)
        for frozen in (False, True)
    )
    assert planned.devices(SINCE, 0) == {"c0.d1"}
    assert "c0.d1" not in planned.devices(SINCE + 2, 0)
    assert max(planned.seconds[SINCE + 2 :]) < 0.9 * min(frozen.seconds[SINCE + 2 :])
