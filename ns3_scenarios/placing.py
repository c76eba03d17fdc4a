"""Adds the nodes of a scenario to ns-3, with their positions and motions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from ns3_scenarios.mobility import RandomWaypoint, Trajectory
from ns3_scenarios.scenario import NodeSpec, ScenarioSpec


def add_nodes(spec: ScenarioSpec, episode: Any, native: Any) -> dict[str, int]:
    """Adds every node; returns the episode's number of each node by its name."""
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
    """Adds the nodes of interferers; returns the episode's number of each node by its name."""
    return {
        node.name: int(episode.AddNode(node.name, *node.position, _motion(node, native)))
        for node in nodes
    }


def _with_leaders(spec: ScenarioSpec) -> Iterator[tuple[NodeSpec, str | None]]:
    """Every node, and the control unit that carries it, which comes before it."""
    for station in (spec.bs, *spec.stations):
        yield station, None
    for cluster in spec.clusters:
        yield cluster.cu, None
        for device in cluster.devices:
            yield device, cluster.cu.name if cluster.carries(device) else None


def _motion(node: NodeSpec, native: Any) -> Any:
    motion = native.Motion()
    if isinstance(node.motion, RandomWaypoint):
        motion.radius = node.motion.radius_m
        motion.x, motion.y = node.motion.centre_m or node.position[:2]
        motion.slowest, motion.fastest = node.motion.speed_m_s
        motion.shortestPause, motion.longestPause = node.motion.pause_s
    elif isinstance(node.motion, Trajectory):
        motion.corners = list(chain.from_iterable(node.motion.corners))
    return motion
