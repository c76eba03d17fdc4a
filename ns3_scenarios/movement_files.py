"""Trajectories from files of movements, for the nodes of a scenario."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ns3_scenarios.mobility import Corner, Point, Trajectory
from ns3_scenarios.movement_csv import read_csv
from ns3_scenarios.movement_ns2 import read_ns2
from ns3_scenarios.recording import BadTrace, Recording
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, ScenarioSpec

MOST_BYTES = 256 * 2**20  # of a file, which is read whole


@dataclass(frozen=True, slots=True)
class TraceMapping:
    """Which node of a file each node of a scenario is, and how its positions are converted.

    `nodes` maps the scenario's names to the file's; other nodes of the file are ignored. With None,
    a CSV file has the scenario's own names, and `$node_(k)` of an ns-2 file is the k-th control
    unit or device, from 0, by clusters. A base station moves only if `nodes` names it.

    East and north are multiplied by `scale`, then shifted by `offset_m`; `time_shift_s` is added to
    times. Heights are, in this order, those of `heights_m`, `height_m`, the file, or the node.
    """

    nodes: Mapping[str, str] | None = None
    offset_m: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    time_shift_s: float = 0.0
    height_m: float | None = None
    heights_m: Mapping[str, float] = field(default_factory=dict)


def read_trace(path: Path) -> Recording:
    """The contents of a file of movements; raises `BadTrace`.

    A file whose name ends in `.csv` has the header `time_s,node,x_m,y_m[,z_m]` and a line for each
    corner; any other is an ns-2 movement file.
    """
    try:
        if path.exists() and not path.is_file():  # a device or a pipe may never end
            raise BadTrace(f"{path}: can't be read: is no file")
        if path.stat().st_size > MOST_BYTES:
            raise BadTrace(f"{path}: expected at most {MOST_BYTES // 2**20} MiB")
        text = path.read_text("utf-8-sig")
    except BadTrace:
        raise
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or an invalid file name
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise BadTrace(f"{path}: can't be read: {reason}") from None
    try:
        return read_csv(text) if path.suffix.lower() == ".csv" else read_ns2(text)
    except BadTrace as error:
        raise BadTrace(f"{path}: {error}") from None


def mapped(
    recording: Recording, spec: ScenarioSpec, mapping: TraceMapping
) -> dict[str, Trajectory]:
    """The trajectories of a scenario's nodes, by name; `mapping` may name no other nodes."""
    own_m = {node.name: node.position[2] for node in spec.nodes}
    found = {}
    for name, theirs in file_names(recording, spec, mapping.nodes).items():
        height_m = mapping.heights_m.get(name, mapping.height_m)
        corners = [_taken(c, mapping, height_m, own_m[name]) for c in recording.corners[theirs]]
        passed = sum(corner[0] <= 0 for corner in corners)  # only the last of these still matters
        found[name] = Trajectory(tuple(corners[max(passed - 1, 0) :]))
    return found


def file_names(
    recording: Recording, spec: ScenarioSpec, nodes: Mapping[str, str] | None
) -> Mapping[str, str]:
    """The file's name of each of the scenario's nodes that it moves, or that `nodes` names."""
    if nodes is not None:
        return nodes
    if not recording.numbered:
        return {name: name for name in recording.corners}
    numbered = {name: str(k) for k, name in enumerate(walkers(spec))}
    return {name: theirs for name, theirs in numbered.items() if theirs in recording.corners}


def walkers(spec: ScenarioSpec) -> Sequence[str]:
    """The nodes that `$node_(k)` is by default, from 0: all but base stations, by clusters."""
    return [node.name for cluster in spec.clusters for node in cluster.nodes]


def _taken(corner: Corner, mapping: TraceMapping, height_m: float | None, own_m: float) -> Corner:
    time_s, x, y, z = corner
    east, north = mapping.offset_m
    if height_m is None:
        height_m = own_m if math.isnan(z) else z
    place = (mapping.scale * x + east, mapping.scale * y + north, height_m)
    return (time_s + mapping.time_shift_s, *place)


def with_trajectories(spec: ScenarioSpec, trajectories: Mapping[str, Trajectory]) -> ScenarioSpec:
    """The scenario with these nodes on their trajectories, at their positions of time 0.

    Devices that move together with a control unit keep their positions relative to it.
    """

    def placed(node: NodeSpec) -> NodeSpec:
        trajectory = trajectories.get(node.name)
        if trajectory is None:
            return node
        return replace(node, position=trajectory.initial_position(), motion=trajectory)

    def placed_cluster(cluster: ClusterSpec) -> ClusterSpec:
        cu = placed(cluster.cu)
        moved = [b - a for a, b in zip(cluster.cu.position, cu.position, strict=True)]
        devices = cluster.devices
        if cluster.together:
            devices = tuple(replace(d, position=_shifted(d.position, moved)) for d in devices)
        return replace(cluster, cu=cu, devices=tuple(map(placed, devices)))

    return replace(
        spec,
        bs=placed(spec.bs),
        stations=tuple(map(placed, spec.stations)),
        clusters=tuple(map(placed_cluster, spec.clusters)),
    )


def _shifted(place: Point, by: Sequence[float]) -> Point:
    x, y, z = (a + b for a, b in zip(place, by, strict=True))
    return (x, y, z)
