"""The nodes of a study, interferers included, and what is known of each before any round."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.nodes import SERVER, Role, control_unit, device, station


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node: its role, its cluster (-1 for none), the name of its device profile.

    `station` is the base station that serves the node's cluster. Profile and station are empty, and
    `memory_limit_bytes` is nan, where there is none: interferers have neither of them, and further
    base stations compute nothing.
    """

    node: str
    role: Role
    cluster: int = -1
    profile: str = ""
    station: str = ""
    memory_limit_bytes: float = math.nan


def node_facts(config: StudyConfig) -> tuple[NodeFacts, ...]:
    """Every node of a study: base stations, then cluster by cluster, then interferers."""
    return tuple(_node_facts(config))


def _node_facts(config: StudyConfig) -> Iterator[NodeFacts]:
    server = config.server.device_profile()
    limit = float(server.memory_bytes)
    yield NodeFacts(SERVER, Role.BASE_STATION, profile=server.name, memory_limit_bytes=limit)
    for n, _ in enumerate(config.stations, 1):
        yield NodeFacts(station(n), Role.BASE_STATION, profile=server.name)
    for n, cluster in enumerate(config.clusters):
        served = cluster.station or SERVER
        named = [(control_unit(n), Role.CONTROL_UNIT, cluster.cu)]
        named += [(device(n, k), Role.DEVICE, node) for k, node in enumerate(cluster.devices)]
        for name, role, node in named:
            profile = node.device_profile()
            yield NodeFacts(name, role, n, profile.name, served, float(profile.memory_bytes))
    for n, interferer in enumerate(config.interferers):
        for name in interferer.interferer(n).places:
            yield NodeFacts(name, Role.INTERFERER)
