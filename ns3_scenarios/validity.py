"""The ranges in which propagation models are valid: heights, distances and carriers, with sources.

Terminals outside a model's heights are an error, as its results are wrong by many dB, or not
numbers. Masts, distances and carriers outside its ranges are a warning, as its formula is
extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ns3_scenarios.channel import AttributeValue, Channel, kind_of
from ns3_scenarios.problem import Problem
from ns3_scenarios.radios.registry import stacks
from ns3_scenarios.scenario import ScenarioSpec
from ns3_scenarios.surroundings import interferer_nodes
from ns3_scenarios.tracks import (
    Extremes,
    Seen,
    Track,
    cluster_pairs,
    cluster_tracks,
    extremes,
    track,
)

_Range = tuple[float, float]
_ANY = (-math.inf, math.inf)
_ABOVE_GROUND = (math.ulp(0.0), math.inf)


@dataclass(frozen=True, slots=True)
class Validity:
    """Where a model is valid. The lower end of a link is a terminal to ns-3, the other a mast.

    Leaving `terminal_m` and `needed_hz` is an error, the others are warnings. `flat`: distances are
    on the ground. `above_m` names an attribute that is added to heights, and `own_m` has the
    attributes that are heights which the model uses instead of the nodes'.
    """

    source: str
    terminal_m: _Range = _ANY
    mast_m: _Range = _ANY
    distance_m: _Range = _ANY
    carrier_hz: _Range = _ANY
    needed_hz: _Range = _ANY
    flat: bool = False
    above_m: str = ""
    own_m: Mapping[str, _Range] = field(default_factory=dict)


_TR_38901 = "3GPP TR 38.901, table 7.4.1-1"
_TR_38901_HZ = (0.5e9, 100e9)  # clause 1
_ENFORCED = (".EnforceParameterRanges", "::EnforceParameterRanges")
_HATA = "Hata 1980; COST 231 final report, 4.4.1"

#: By the model's type in ns-3.
VALIDITY: Mapping[str, Validity] = {
    "ns3::ThreeGppUmiStreetCanyonPropagationLossModel": Validity(
        _TR_38901, (1.5, 22.5), (10.0, 10.0), (10.0, 5e3), needed_hz=_TR_38901_HZ, flat=True
    ),
    "ns3::ThreeGppUmaPropagationLossModel": Validity(
        _TR_38901, (1.5, 22.5), (25.0, 25.0), (10.0, 5e3), needed_hz=_TR_38901_HZ, flat=True
    ),
    # Without sight to 5 km; with it to 10 km.
    "ns3::ThreeGppRmaPropagationLossModel": Validity(
        _TR_38901, (1.0, 10.0), (10.0, 150.0), (10.0, 5e3), needed_hz=(0.5e9, 30e9), flat=True
    ),
    "ns3::ThreeGppIndoorOfficePropagationLossModel": Validity(
        _TR_38901, distance_m=(1.0, 150.0), needed_hz=_TR_38901_HZ
    ),
    "ns3::ItuR1411LosPropagationLossModel": Validity(
        "ITU-R P.1411, scope and 4.1.1",
        _ABOVE_GROUND,
        distance_m=(0.0, 1e3),
        needed_hz=(0.3e9, 100e9),
    ),
    "ns3::ItuR1411NlosOverRooftopPropagationLossModel": Validity(
        "ITU-R P.1411, 4.2.1", (1.0, 3.0), (4.0, 50.0), (20.0, 5e3), (0.8e9, 5e9), (0.3e9, 100e9)
    ),
    # Hata's own formula to 1.5 GHz, COST 231's from there on.
    "ns3::OkumuraHataPropagationLossModel": Validity(
        _HATA, (1.0, 10.0), (30.0, 200.0), (1e3, 20e3), (150e6, 2e9)
    ),
    "ns3::Cost231PropagationLossModel": Validity(
        _HATA,
        distance_m=(1e3, 20e3),
        carrier_hz=(1.5e9, 2e9),
        own_m={"BSAntennaHeight": (30.0, 200.0), "SSAntennaHeight": (1.0, 10.0)},
    ),
    "ns3::Kun2600MhzPropagationLossModel": Validity(
        "Sun, Wang, Li: Path loss models for suburban scenario at 2.3, 2.6 and 3.5 GHz, ISAPE 2008",
        carrier_hz=(2.5e9, 2.7e9),
    ),
    "ns3::TwoRayGroundPropagationLossModel": Validity(
        "Rappaport: Wireless communications, 4.6", _ABOVE_GROUND, above_m="HeightAboveZ"
    ),
}

#: Models that are valid everywhere, or for which no range has been stated.
UNLIMITED = frozenset(
    {
        "ns3::FriisPropagationLossModel",
        "ns3::JakesPropagationLossModel",
        "ns3::LogDistancePropagationLossModel",
        "ns3::MatrixPropagationLossModel",
        "ns3::NakagamiPropagationLossModel",
        "ns3::RandomPropagationLossModel",
        "ns3::RangePropagationLossModel",
        "ns3::ThreeLogDistancePropagationLossModel",
    }
)


@dataclass(frozen=True, slots=True)
class _Use:
    """A model that a tier's channel uses, with and without sight."""

    tier: str
    channel: Channel
    carrier_hz: float
    loss: str
    holds: Validity
    defaults: Mapping[str, AttributeValue]  # of ns-3's attributes, by type and name

    @property
    def path(self) -> str:
        return f"{self.tier}.propagation.kind"

    @property
    def name(self) -> str:
        kind = kind_of(self.channel)
        hidden = bool(kind.nlos_loss) and self.loss == kind.nlos_loss != kind.loss
        return f"{self.channel.kind} out of sight" if hidden else self.channel.kind

    @property
    def above_m(self) -> float:
        return self.number(self.holds.above_m, 0.0)

    @property
    def frequency_hz(self) -> float:
        return _number(self.channel.attributes.get("Frequency"), self.carrier_hz)

    @property
    def distance_m(self) -> _Range:
        """Without a minimum for a model of links out of sight, as near nodes see each other."""
        nearest, farthest = self.holds.distance_m
        kind = kind_of(self.channel)
        return (-math.inf if kind.condition and self.loss != kind.loss else nearest, farthest)

    def number(self, attribute: str, usual: float) -> float:
        """An attribute's value if the channel or the defaults have it, else `usual`."""
        default = self.defaults.get(f"{self.loss}::{attribute}")
        return _number(self.channel.attributes.get(attribute, default), usual)


def _number(value: AttributeValue | None, usual: float) -> float:
    try:
        return usual if value is None else float(value)
    except ValueError:  # which is reported for the attribute itself
        return usual


def validity_problems(spec: ScenarioSpec) -> Iterator[Problem]:
    """Models that are invalid at a scenario's heights or carriers; its positions must be valid."""
    for use in _uses(spec):
        low_hz, high_hz = use.holds.needed_hz
        if not low_hz <= use.frequency_hz <= high_hz:
            yield (
                use.path,
                f"{use.name} holds for carriers of {low_hz:g} to {high_hz:g} Hz "
                f"({use.holds.source}), not {use.frequency_hz:g} Hz",
            )
        yield from _terminal_problems(use, spec)
    yield from _enforced(spec)


def _enforced(spec: ScenarioSpec) -> Iterator[Problem]:
    """Attributes that make ns-3 end the process outside a range of 3GPP's."""
    given = [(f"ns3_defaults.{path}", value) for path, value in spec.ns3_defaults.items()]
    for tier, radio in spec.radios.items():
        attributes = radio.propagation.attributes.items()
        given += [(f"{tier}.propagation.attributes.{name}", value) for name, value in attributes]
    for path, value in given:
        if path.endswith(_ENFORCED) and str(value).lower() in ("true", "1", "t"):
            yield path, "expected false: ns-3 would end the process, and ranges are checked anyway"


def _terminal_problems(use: _Use, spec: ScenarioSpec) -> Iterator[Problem]:
    low_m, high_m = use.holds.terminal_m
    if (low_m, high_m) == _ANY:
        return
    low = [each for each in _members(spec, use.tier) if each.lowest_m + use.above_m < low_m]
    if low:
        lowest = min(low, key=lambda each: each.lowest_m)
        others = f" and {len(low) - 1} more" if len(low) > 1 else ""
        yield use.path, _unfit(use, f"{lowest.name}{others} at {lowest.lowest_m:g} m")
    for who, highest_m in _terminals(spec, use):
        if highest_m + use.above_m > high_m:
            yield use.path, _unfit(use, f"{who} at {highest_m:g} m")
            return


def _terminals(spec: ScenarioSpec, use: _Use) -> Iterator[tuple[str, float]]:
    """The terminals and their greatest heights: control units, and the lower of two devices."""
    if use.tier == "d2e":
        for cluster in spec.clusters:
            yield cluster.cu.name, track(cluster.cu).highest_m
        return
    for reached in _reached(spec, use):
        yield " and ".join(reached.lower[1].pair), reached.lower[1].value


def _unfit(use: _Use, found: str) -> str:
    return (
        f"{use.name} holds for terminals {_shown(use.holds.terminal_m, 'm')} above ground "
        f"({use.holds.source}), not for {found}; heights are a position's third figure, and "
        "height_m of a file of movements"
    )


def validity_warnings(spec: ScenarioSpec) -> Iterator[Problem]:
    """Models that are extrapolated in a scenario that can be run."""
    for use in _uses(spec):
        holds = use.holds
        low_hz, high_hz = holds.carrier_hz
        if not low_hz <= use.frequency_hz <= high_hz:
            carriers = _shown((low_hz / 1e9, high_hz / 1e9), "GHz")
            yield _extrapolated(use, f"carriers of {carriers}, not {use.frequency_hz / 1e9:g} GHz")
        for attribute, (low_m, high_m) in holds.own_m.items():
            value = use.number(attribute, low_m)
            if not low_m <= value <= high_m:
                shown = _shown((low_m, high_m), "m")
                yield _extrapolated(use, f"a {attribute} of {shown}, not {value:g} m")
        if (holds.mast_m, use.distance_m) == (_ANY, _ANY):
            continue
        if seen := list(_reached(spec, use)):
            yield from _mast_warnings(use, seen)
            yield from _distance_warnings(use, seen)


def _mast_warnings(use: _Use, seen: Sequence[Extremes]) -> Iterator[Problem]:
    low_m, high_m = use.holds.mast_m
    least = min((each.higher[0] for each in seen), key=_value)
    most = max((each.higher[1] for each in seen), key=_value)
    for extreme, is_beyond in ((least, least.value < low_m), (most, most.value > high_m)):
        if is_beyond:
            heights = f"{_shown((low_m, high_m), 'm')} above ground"
            who = " and ".join(extreme.pair)
            found = f"the higher of {who} is at {extreme.value:g} m{_when(extreme)}"
            yield _extrapolated(use, f"masts {heights}, and {found}")


def _distance_warnings(use: _Use, seen: Sequence[Extremes]) -> Iterator[Problem]:
    low_m, high_m = use.distance_m
    nearest = min((each.distance[0] for each in seen), key=_value)
    farthest = max((each.distance[1] for each in seen), key=_value)
    for extreme, is_beyond, how in (
        (nearest, nearest.value < low_m, "come as near as"),
        (farthest, farthest.value > high_m, "get as far apart as"),
    ):
        if is_beyond:
            who = " and ".join(extreme.pair)
            found = f"{who} {how} {extreme.value:.4g} m{_when(extreme)}"
            yield _extrapolated(use, f"links of {_shown((low_m, high_m), 'm')}, and {found}")


def _when(seen: Seen) -> str:
    return f", after {seen.time_s:g} s" if seen.time_s > 0 else ""


def _value(seen: Seen) -> float:
    return seen.value


def _extrapolated(use: _Use, what: str) -> Problem:
    return use.path, f"{use.name} is extrapolated: it holds for {what} ({use.holds.source})"


def _shown(holds: _Range, unit: str) -> str:
    low, high = holds
    if low == high:
        return f"{low:g} {unit}"
    if high == math.inf:
        return f"more than 0 {unit}"
    return f"{low:g} to {high:g} {unit}" if low > 0 else f"up to {high:g} {unit}"


def _uses(spec: ScenarioSpec) -> Iterator[_Use]:
    for tier, radio in spec.radios.items():
        kind = kind_of(radio.propagation)
        for loss in dict.fromkeys((kind.loss, kind.nlos_loss)):
            if loss in VALIDITY:
                channel, holds = radio.propagation, VALIDITY[loss]
                yield _Use(tier, channel, radio.carrier_hz, loss, holds, spec.ns3_defaults)


def _members(spec: ScenarioSpec, tier: str) -> Iterator[Track]:
    """The tracks of all nodes on the tier's channel, including interferers."""
    joined = any(stack.joins_tiers for stack in stacks(spec))
    if tier == "d2e":
        yield from map(track, (spec.bs, *spec.stations))
    for cluster in spec.clusters:
        yield from cluster_tracks(cluster) if tier == "d2d" or joined else [track(cluster.cu)]
    on_it = [i for i in spec.interferers if joined or (i.band == "d2d") == (tier == "d2d")]
    yield from map(track, interferer_nodes(replace(spec, interferers=tuple(on_it))))


def _reached(spec: ScenarioSpec, use: _Use) -> Iterator[Extremes]:
    """Extremes of the links with the study's data: in clusters, and from units to stations."""
    stations = {each.name: track(each) for each in (spec.bs, *spec.stations)}
    for cluster in spec.clusters:
        if use.tier == "d2d":
            groups = list(cluster_pairs(cluster))
        else:
            station = stations.get(cluster.station or spec.bs.name)
            groups = [[track(cluster.cu), station]] if station is not None else []
        for group in groups:
            if (found := extremes(group, flat=use.holds.flat)) is not None:
                yield found
