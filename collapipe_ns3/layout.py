"""The network of a study as ns-3 builds it: every node's place, power and radio."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from collapipe_ns3.config import Cluster, Node, StudyConfig
from collapipe_ns3.devices import DeviceProfile
from collapipe_ns3.nodes import SERVER, control_unit, device
from collapipe_ns3.streams import number, stream
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, ScenarioSpec

_HEAD_HEIGHT_M = 1.5
_CLEARANCE_M = 1.0  # nodes are not drawn nearer than this to the centre of their disc

Point = tuple[float, float, float]


def device_names(config: StudyConfig) -> tuple[tuple[str, ...], ...]:
    """Each cluster's devices in the study's order."""
    return tuple(
        tuple(device(n, k) for k in range(len(cluster.devices)))
        for n, cluster in enumerate(config.clusters)
    )


def profiles(config: StudyConfig) -> dict[str, DeviceProfile]:
    """Every node's profile by name, the base station first."""
    found = {SERVER: config.server.device_profile()}
    for n, cluster in enumerate(config.clusters):
        found[control_unit(n)] = cluster.cu.device_profile()
        for k, node in enumerate(cluster.devices):
            found[device(n, k)] = node.device_profile()
    return found


def scenario(config: StudyConfig, seed: int, round: int) -> ScenarioSpec:
    """The network of one round. Places are drawn from the seed, and are the same every round.

    ns-3's RngSeed stays 1, and its RngRun is a number drawn from the study's seed and the round.
    """
    mast = _point(config.server.position or (0.0, 0.0, 10.0))
    d2d, d2e = config.radio.d2d.spec(), config.radio.d2e.spec()
    if config.propagation.d2d is not None:
        d2d = replace(d2d, propagation=config.propagation.d2d.over(d2d.propagation))
    if config.propagation.d2e is not None:
        d2e = replace(d2e, propagation=config.propagation.d2e.over(d2e.propagation))
    return ScenarioSpec(
        bs=_node(SERVER, config.server, mast),
        clusters=tuple(
            _cluster(config, seed, n, cluster, mast) for n, cluster in enumerate(config.clusters)
        ),
        d2d=d2d,
        d2e=d2e,
        run=number(seed, "ns-3", round),
        ns3_defaults=config.ns3,
        fidelity=config.fidelity,
    )


def _cluster(config: StudyConfig, seed: int, n: int, cluster: Cluster, mast: Point) -> ClusterSpec:
    random = stream(seed, "places", n)
    drawn = _drawn(random, mast, config.placement.cell_radius_m)
    centre = _point(cluster.cu.position or cluster.position or drawn)
    devices = []
    for k, node in enumerate(cluster.devices):
        # Drawn even where it is given, so that one given place doesn't move the others.
        drawn = _drawn(random, centre, config.placement.cluster_radius_m)
        devices.append(_node(device(n, k), node, _point(node.position or drawn)))
    return ClusterSpec(_node(control_unit(n), cluster.cu, centre), tuple(devices), cluster.channel)


def _node(name: str, node: Node, point: Point) -> NodeSpec:
    profile = node.device_profile()
    return NodeSpec(name, point, profile.max_tx_power_w, profile.rx_power_w)


def _point(position: tuple[float, ...]) -> Point:
    east, north, *height = position
    return (east, north, height[0] if height else _HEAD_HEIGHT_M)


def _drawn(random: np.random.Generator, centre: Point, radius_m: float) -> Point:
    """Uniform over the disc around `centre`, at head height."""
    distance = max(radius_m * math.sqrt(random.random()), _CLEARANCE_M)
    angle = 2 * math.pi * random.random()
    east, north = distance * math.cos(angle), distance * math.sin(angle)
    return (centre[0] + east, centre[1] + north, _HEAD_HEIGHT_M)
