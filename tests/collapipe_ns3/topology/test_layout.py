"""Where nodes are: drawn within their discs from the seed, and nothing else moves them."""

from __future__ import annotations

import math

import studies
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.topology import layout
from ns3_scenarios.scenario import ScenarioSpec

CLUSTER = {"cu": "jetson-nano", "devices": ["raspberry-pi-4"] * 3}


def many(**changes: object) -> StudyConfig:
    return studies.config(clusters=[CLUSTER] * 4, **changes)


def places(spec: ScenarioSpec) -> dict[str, tuple[float, float, float]]:
    return {node.name: node.position for node in spec.nodes}


@given(st.integers(0, 2**63))
def test_nodes_lie_within_their_discs_at_head_height(seed: int) -> None:
    config = many(placement={"cell_radius_m": 40, "cluster_radius_m": 5})
    spec = layout.scenario(config, seed, 0)
    for cluster in spec.clusters:
        assert 1 - 1e-9 <= math.dist(cluster.cu.position[:2], spec.bs.position[:2]) <= 40 + 1e-9
        for device in cluster.devices:
            assert 1 - 1e-9 <= math.dist(device.position, cluster.cu.position) <= 5 + 1e-9
            assert device.position[2] == 1.5


def test_places_depend_on_the_seed_and_the_simulations_run_on_the_round_too() -> None:
    config = many()
    first, second, other = (layout.scenario(config, *at) for at in ((1, 0), (1, 1), (2, 0)))
    assert places(first) == places(second) != places(other)
    assert len({first.run, second.run, other.run}) == 3


def test_a_place_that_is_given_moves_nobody_else() -> None:
    drawn = places(layout.scenario(many(), 1, 0))
    given_place = [*CLUSTER["devices"][:2], {"profile": "raspberry-pi-4", "position": [3, 4]}]
    clusters = [{**CLUSTER, "devices": given_place}, *[CLUSTER] * 3]
    placed = places(layout.scenario(studies.config(clusters=clusters), 1, 0))
    assert placed.pop("c0.d2") == (3.0, 4.0, 1.5)
    del drawn["c0.d2"]
    assert placed == drawn


def test_a_nodes_own_figures_replace_its_profiles() -> None:
    node = {"profile": "raspberry-pi-4", "flops_per_s": "7 GFLOP/s", "tx_power_dbm": 10}
    config = studies.config(clusters=[{"cu": "jetson-nano", "devices": [node]}])
    profile = layout.profiles(config)["c0.d0"]
    assert profile.flops_per_s == 7e9
    assert profile.max_tx_power_w == 0.01
    assert profile.memory_bytes == 3 * 2**30
    assert layout.scenario(config, 1, 0).clusters[0].devices[0].max_tx_power_w == 0.01
