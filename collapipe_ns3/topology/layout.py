"""The scenario that ns-3 builds for a study: positions, powers and radios of all nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from collapipe_ns3.config.study import MAST_M, Cluster, Node, StudyConfig
from collapipe_ns3.config.surroundings import HEAD_HEIGHT_M, Motion, point
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.power import EnergyModel
from collapipe_ns3.nodes import SERVER, control_unit, device, station
from collapipe_ns3.random_streams import number, stream
from ns3_scenarios.handover import Attachment
from ns3_scenarios.mobility import Point, Trajectory
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, ScenarioSpec

_CLEARANCE_M = 1.0  # the least distance of drawn nodes from the centre of their disc


def device_names(config: StudyConfig) -> tuple[tuple[str, ...], ...]:
    """Each cluster's devices in the study's order."""
    return tuple(
        tuple(device(n, k) for k in range(len(cluster.devices)))
        for n, cluster in enumerate(config.clusters)
    )


def profiles(config: StudyConfig) -> dict[str, DeviceProfile]:
    """Every node's profile by name, with its speed in training; the base station first.

    A control unit has a radio for its devices and one for the base station. The server's profile
    is that of all base stations together.
    """
    found = {SERVER: replace(config.server.device_profile(), radios=1 + len(config.stations))}
    for n, cluster in enumerate(config.clusters):
        found[control_unit(n)] = replace(cluster.cu.device_profile(), radios=2)
        for k, node in enumerate(cluster.devices):
            found[device(n, k)] = node.device_profile()
    precision, energy = config.training.precision, config.energy.energy_model()
    return {
        name: replace(each, energy=energy).computing_in(precision) for name, each in found.items()
    }


def scenario(
    config: StudyConfig,
    seed: int,
    round: int,
    start_ns: int = 0,
    attachments: Mapping[str, Attachment] = MappingProxyType({}),
) -> ScenarioSpec:
    """The network of one round, which begins at `start_ns` of the run's time.

    Positions are drawn from the seed, and in every round they are those of the run's time 0. ns-3's
    RngSeed is 1, and its RngRun is drawn from the study's seed and the round. `lasting_run`, for
    draws that stay the same in all rounds, is drawn from the seed alone. `attachments` are those of
    control units that have changed their base station, or are about to.
    """
    mast = point(config.server.position or (0.0, 0.0, MAST_M))
    bs = _node(SERVER, config.server, mast, config.energy.energy_model())
    return ScenarioSpec(
        bs=bs,
        clusters=tuple(
            _attached(_cluster(config, seed, n, cluster, mast), attachments)
            for n, cluster in enumerate(config.clusters)
        ),
        d2d=config.radio.d2d.spec(config.propagation.d2d),
        d2e=config.radio.d2e.spec(config.propagation.d2e),
        run=number(seed, "ns-3", round),
        lasting_run=number(seed, "ns-3 over all rounds"),
        start_ns=start_ns,
        ns3_defaults=config.ns3,
        stations=tuple(
            _moved(replace(bs, name=station(n)), point(each.position, MAST_M), each.motion)
            for n, each in enumerate(config.stations, 1)
        ),
        interferers=tuple(each.interferer(n) for n, each in enumerate(config.interferers)),
        fidelity=config.fidelity,
        handover=config.radio.handover.handover() if config.radio.handover else None,
    )


def _attached(cluster: ClusterSpec, attachments: Mapping[str, Attachment]) -> ClusterSpec:
    """The cluster with the station that serves its control unit now."""
    attachment = attachments.get(cluster.cu.name)
    if attachment is None:
        return cluster
    return replace(cluster, station=attachment.station, attachment=attachment)


def _cluster(config: StudyConfig, seed: int, n: int, cluster: Cluster, mast: Point) -> ClusterSpec:
    random = stream(seed, "places", n)
    drawn = _drawn(random, mast, config.placement.cell_radius_m)
    around = point(cluster.cu.position or cluster.position or drawn)
    energy = config.energy.energy_model()
    cu = _node(control_unit(n), cluster.cu, around, energy, cluster.motion)
    devices = []
    for k, node in enumerate(cluster.devices):
        # Drawn even if a position is given, so that one given position doesn't move other nodes.
        drawn = _drawn(random, cu.position, config.placement.cluster_radius_m)
        devices.append(_node(device(n, k), node, point(node.position or drawn), energy))
    return ClusterSpec(cu, tuple(devices), cluster.channel, cluster.station, cluster.together)


def _node(
    name: str, node: Node, place: Point, energy: EnergyModel, motion: Motion | None = None
) -> NodeSpec:
    profile = replace(node.device_profile(), energy=energy)
    standing = NodeSpec(name, place, profile.max_tx_power_w, profile.power.rx_w)
    return _moved(standing, place, node.motion or motion)


def _moved(node: NodeSpec, place: Point, motion: Motion | None) -> NodeSpec:
    """The node at a position, or at the beginning of its trajectory."""
    if motion is None:
        return replace(node, position=place, motion=None)
    its = motion.motion(place[2])
    begins = its.initial_position() if isinstance(its, Trajectory) and its.corners else place
    return replace(node, position=begins, motion=its)


def _drawn(random: np.random.Generator, centre: Point, radius_m: float) -> Point:
    """A position drawn uniformly from the disc around `centre`, at head height."""
    distance = max(radius_m * math.sqrt(random.random()), _CLEARANCE_M)
    angle = 2 * math.pi * random.random()
    east, north = distance * math.cos(angle), distance * math.sin(angle)
    return (centre[0] + east, centre[1] + north, HEAD_HEIGHT_M)
