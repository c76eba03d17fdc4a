"""A study with the ways of its nodes read from the file that it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from collapipe_ns3 import layout
from collapipe_ns3.config import Node, Station, StudyConfig
from collapipe_ns3.config_surroundings import Mobility, Motion
from collapipe_ns3.nodes import SERVER, control_unit, device, station
from collapipe_ns3.problems import Problem
from ns3_scenarios.mobility import Way
from ns3_scenarios.movement_files import BadTrace, read_trace

_N = TypeVar("_N", Node, Station)


def with_ways(config: StudyConfig, folder: Path) -> tuple[StudyConfig, list[Problem]]:
    """The study with its nodes on their ways, so that it no longer needs the file.

    The file's path is relative to `folder`. Where it can't be read the study stays as it is.
    """
    if config.mobility.trace is None:
        return config, []
    nodes = layout.scenario(config, config.seed, 0).nodes
    try:
        path = folder / config.mobility.trace
        ways = read_trace(path, {node.name: node.position for node in nodes})
    except BadTrace as error:
        return config, [Problem("mobility.trace", str(error))]
    return _on_ways(config, ways), []


def _on_ways(config: StudyConfig, ways: Mapping[str, Way]) -> StudyConfig:
    def moved(node: _N, name: str) -> _N:
        if name not in ways:
            return node
        motion = Motion(kind="way", corners=ways[name].corners)
        return node.model_copy(update={"motion": motion})

    clusters = tuple(
        cluster.model_copy(
            update={
                "cu": moved(cluster.cu, control_unit(n)),
                "devices": tuple(moved(d, device(n, k)) for k, d in enumerate(cluster.devices)),
            }
        )
        for n, cluster in enumerate(config.clusters)
    )
    return config.model_copy(
        update={
            "clusters": clusters,
            "server": moved(config.server, SERVER),
            "stations": tuple(moved(s, station(n)) for n, s in enumerate(config.stations, 1)),
            "mobility": Mobility(),
        }
    )
