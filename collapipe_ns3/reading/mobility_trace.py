"""Reads the mobility trace that a study names, and gives the study's nodes their trajectories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from collapipe_ns3.config.study import Node, Station, StudyConfig
from collapipe_ns3.config.surroundings import Mobility, Motion
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.nodes import SERVER, control_unit, device, station
from collapipe_ns3.problems import Problem
from collapipe_ns3.topology import layout
from ns3_scenarios.mobility import Trajectory
from ns3_scenarios.movement_files import TraceMapping, file_names, mapped, read_trace, walkers
from ns3_scenarios.recording import BadTrace, Recording
from ns3_scenarios.scenario import ScenarioSpec

#: The most corners of all trajectories: they become part of the resolved study, which must stay
#: readable.
MOST_CORNERS = 100_000

_N = TypeVar("_N", Node, Station)


def with_trajectories(config: StudyConfig, folder: Path) -> tuple[StudyConfig, list[Problem]]:
    """The study with the trajectories of its trace in it, so that it no longer needs the file.

    The file's path is relative to `folder`; one that isn't there may be a bundled study's. Where
    the file can't be read, or its nodes do not match the study's, the study is returned unchanged
    with the problems.
    """
    mobility = config.mobility
    if mobility.trace is None:
        return config, list(_without_file(mobility))
    path = _found(folder, mobility.trace)
    try:
        recording = read_trace(path)
    except BadTrace as error:
        return config, [Problem("mobility.trace", str(error))]
    scenario = layout.scenario(config, config.seed, 0)
    mapping = mobility.mapping()
    if found := list(_name_problems(path, recording, scenario, mapping)):
        return config, found
    trajectories = mapped(recording, scenario, mapping)
    if (corners := sum(len(each.corners) for each in trajectories.values())) > MOST_CORNERS:
        what = f"expected at most {MOST_CORNERS} corners of this study's nodes, not {corners}"
        return config, [Problem("mobility.trace", f"{path}: {what}")]
    return _on_trajectories(config, trajectories), []


def _found(folder: Path, trace: str) -> Path:
    """The file in the folder, else the one of a bundled study."""
    path = folder / trace
    bundled = Path(str(files("collapipe_ns3") / "studies")) / trace
    return bundled if not path.exists() and bundled.is_file() else path


def _without_file(mobility: Mobility) -> Iterator[Problem]:
    if mobility != Mobility():
        yield Problem("mobility.trace", "is missing: the other keys of mobility describe a file")


def _name_problems(
    path: Path, recording: Recording, scenario: ScenarioSpec, mapping: TraceMapping
) -> Iterator[Problem]:
    """Problems with names that the study or the file does not have."""
    names = [node.name for node in scenario.nodes]
    moved = file_names(recording, scenario, mapping.nodes)
    for name in mapping.heights_m:
        if name not in moved:
            what = f"no node {name!r} that the file moves; {did_you_mean(name, moved)}"
            yield Problem("mobility.heights_m", what)
    if mapping.nodes is None:
        yield from _own_name_problems(path, recording, scenario)
        return
    taken: dict[str, str] = {}  # the study's node, by the file's node
    for name, theirs in mapping.nodes.items():
        if name not in names:
            what = f"no node {name!r} in the study; {did_you_mean(name, names)}"
            yield Problem("mobility.nodes", what)
        if theirs not in recording.corners:
            hint = did_you_mean(theirs, recording.corners)
            yield Problem("mobility.nodes", f"{name}: no node {theirs} in {path}; {hint}")
        elif (first := taken.setdefault(theirs, name)) != name:
            what = f"{name}: expected another node of the file: {theirs} is {first}"
            yield Problem("mobility.nodes", what)


def _own_name_problems(
    path: Path, recording: Recording, scenario: ScenarioSpec
) -> Iterator[Problem]:
    """Problems of names without `mobility.nodes`: names of the study, or numbers from 0."""
    if not file_names(recording, scenario, None):
        what = (
            f"is missing: without it, nodes of the file are 0 to {len(walkers(scenario)) - 1}, "
            f"and {path} has none of those"
        )
        yield Problem("mobility.nodes", what)
    names = [node.name for node in scenario.nodes]
    for name, line in recording.lines.items():
        if not recording.numbered and name not in names:
            what = f"{path}: line {line}: no node {name!r}; {did_you_mean(name, names)}"
            yield Problem("mobility.trace", what)


def _on_trajectories(config: StudyConfig, trajectories: Mapping[str, Trajectory]) -> StudyConfig:
    def moved(node: _N, name: str) -> _N:
        if name not in trajectories:
            return node
        motion = Motion(kind="way", corners=trajectories[name].corners)
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
