"""A scenario's nodes put into ns-3, standing or moving."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from ns3_scenarios.mobility import RandomWaypoint, Way
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, ScenarioSpec


def add_nodes(spec: ScenarioSpec, episode: Any, native: Any) -> dict[str, int]:
    """Adds every node; the episode's number of each by its name."""
    numbers: dict[str, int] = {}
    for node, leader in _with_leaders(spec):
        place = (node.name, *node.position)
        if node.motion is None and leader is None:
            numbers[node.name] = int(episode.AddNode(*place))
            continue
        motion = _motion(node, native)
        if leader is not None:
            motion.leader = numbers[leader]
        numbers[node.name] = int(episode.AddNode(*place, motion))
    return numbers


def add_interferers(nodes: Iterable[NodeSpec], episode: Any, native: Any) -> dict[str, int]:
    """Adds nodes that are no part of the study; the episode's number of each by its name."""
    return {
        node.name: int(episode.AddNode(node.name, *node.position, _motion(node, native)))
        for node in nodes
    }


def _with_leaders(spec: ScenarioSpec) -> Iterator[tuple[NodeSpec, str | None]]:
    """Every node, and the one that it goes along with: that one comes first."""
    for station in (spec.bs, *spec.stations):
        yield station, None
    for cluster in spec.clusters:
        yield cluster.cu, None
        for device in cluster.devices:
            yield device, cluster.cu.name if _goes_along(cluster, device) else None


def _goes_along(cluster: ClusterSpec, device: NodeSpec) -> bool:
    moves = cluster.together and cluster.cu.motion is not None
    return moves and not isinstance(device.motion, Way)


def _motion(node: NodeSpec, native: Any) -> Any:
    motion = native.Motion()
    if isinstance(node.motion, RandomWaypoint):
        motion.radius = node.motion.radius_m
        motion.x, motion.y = node.motion.centre_m or node.position[:2]
        motion.slowest, motion.fastest = node.motion.speed_m_s
        motion.shortestPause, motion.longestPause = node.motion.pause_s
    elif isinstance(node.motion, Way):
        motion.corners = list(chain.from_iterable(node.motion.corners))
    return motion
