"""Heights of nodes and distances between them, over all the time for which motion is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ns3_scenarios.mobility import RandomWaypoint, Trajectory
from ns3_scenarios.scenario import ClusterSpec, NodeSpec

_Floats = npt.NDArray[np.float64]

_AT_ONCE = 1_000_000  # pairs of positions compared in one step


@dataclass(frozen=True, slots=True)
class Track:
    """A node's path from time 0 on: lines between positions, or within `about_m` of those lines."""

    name: str
    times_s: _Floats
    places_m: _Floats  # a row for each time: east, north, height
    about_m: float = 0.0

    @property
    def lowest_m(self) -> float:
        return float(self.places_m[:, 2].min())

    @property
    def highest_m(self) -> float:
        return float(self.places_m[:, 2].max())

    def at(self, times_s: _Floats) -> _Floats:
        """Its positions at these times, a row for each."""
        columns = [np.interp(times_s, self.times_s, self.places_m[:, k]) for k in range(3)]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A value of a pair of nodes, and the first time at which it occurs, in seconds."""

    value: float
    pair: tuple[str, str]
    time_s: float


@dataclass(frozen=True, slots=True)
class Extremes:
    """Minimum and maximum over all pairs and times: of the lower and higher ends, and the distance.

    With random motion, distances are bounds. Heights are evaluated at the corners of all paths.
    """

    lower: tuple[Seen, Seen]
    higher: tuple[Seen, Seen]
    distance: tuple[Seen, Seen]


def track(node: NodeSpec) -> Track:
    """The track of a node by itself."""
    place = np.array([node.position])
    if isinstance(node.motion, RandomWaypoint):
        if node.motion.centre_m is not None:
            place[0, :2] = node.motion.centre_m
        return Track(node.name, np.zeros(1), place, node.motion.radius_m)
    if isinstance(node.motion, Trajectory):
        corners = [
            (0.0, *node.motion.initial_position()),
            *(c for c in node.motion.corners if c[0] > 0),
        ]
        table = np.array(corners)
        return Track(node.name, table[:, 0], table[:, 1:])
    return Track(node.name, np.zeros(1), place)


def cluster_tracks(cluster: ClusterSpec) -> Sequence[Track]:
    """The tracks of a cluster's nodes, including those that their control unit carries."""
    leader = track(cluster.cu)
    moved = leader.places_m - np.array(cluster.cu.position)

    def along(own: Track) -> Track:
        places = own.places_m[0] + moved
        return Track(own.name, leader.times_s, places, own.about_m + leader.about_m)

    devices = [track(device) for device in cluster.devices]
    rides = [cluster.carries(device) for device in cluster.devices]
    return [leader, *(along(t) if r else t for t, r in zip(devices, rides, strict=True))]


def cluster_pairs(cluster: ClusterSpec) -> Iterator[Sequence[Track]]:
    """Groups of tracks that together have every pair of a cluster.

    Nodes that a control unit in random motion carries have tracks relative to it.
    """
    tracks = cluster_tracks(cluster)
    if not cluster.together or not isinstance(cluster.cu.motion, RandomWaypoint):
        yield tracks
        return
    standing = track(replace(cluster.cu, motion=None))
    riding = [track(each) for each in cluster.devices if cluster.carries(each)]
    yield [standing, *riding]
    names = {each.name for each in (standing, *riding)}
    beside = [each for each in tracks if each.name not in names]
    for each in tracks if beside else []:
        if each.name in names:
            yield [each, *beside]


def extremes(group: Sequence[Track], *, flat: bool) -> Extremes | None:
    """The extremes over every pair of a group, None for none; `flat`: distances on the ground."""
    if len(group) < 2:
        return None
    times = np.unique(np.concatenate([each.times_s for each in group]))
    places = np.stack([each.at(times) for each in group], axis=1)
    one, other = np.triu_indices(len(group), 1)
    about = np.array([each.about_m for each in group])
    slack = about[one] + about[other]
    found: list[list[Seen]] = [[], [], [], [], [], []]

    def note(values: _Floats, first: int, *, most: bool, into: list[Seen]) -> None:
        row, pair = np.unravel_index(values.argmax() if most else values.argmin(), values.shape)
        names = (group[one[pair]].name, group[other[pair]].name)
        into.append(Seen(float(values[row, pair]), names, float(times[first + row])))

    rows = max(_AT_ONCE // len(one), 1)
    for first in range(0, len(times), rows):
        here = places[first : first + rows + 1]  # one more: the end of the last line
        a, b = here[:, one], here[:, other]
        lower, higher = np.minimum(a[..., 2], b[..., 2]), np.maximum(a[..., 2], b[..., 2])
        apart = (a - b)[..., : 2 if flat else 3]
        far = np.linalg.norm(apart, axis=2)
        near = np.minimum(far, _nearest_until_the_next(apart))
        for k, values in enumerate((lower, higher)):
            note(values, first, most=False, into=found[2 * k])
            note(values, first, most=True, into=found[2 * k + 1])
        note(np.maximum(near - slack, 0.0), first, most=False, into=found[4])
        note(far + slack, first, most=True, into=found[5])
    least = [min(seen, key=_value) for seen in found[::2]]
    most = [max(seen, key=_value) for seen in found[1::2]]
    return Extremes(*zip(least, most, strict=True))


def _nearest_until_the_next(apart: _Floats) -> _Floats:
    """The least distance of pairs between each row and the next, as both move linearly."""
    change = np.diff(apart, axis=0, append=apart[-1:])
    squared = np.sum(change * change, axis=2)
    share = -np.sum(apart * change, axis=2) / np.where(squared > 0, squared, 1.0)
    on_the_way = apart + np.clip(share, 0.0, 1.0)[..., None] * change
    return np.asarray(np.linalg.norm(on_the_way, axis=2))


def _value(seen: Seen) -> float:
    return seen.value
