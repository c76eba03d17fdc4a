"""Ranges of propagation models, and the extremes of distances and heights of nodes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_lab import scenario

from ns3_scenarios import runtime
from ns3_scenarios.channel import Channel
from ns3_scenarios.checks import problems
from ns3_scenarios.interferers import Jammer
from ns3_scenarios.mobility import RandomWaypoint, Trajectory
from ns3_scenarios.propagation import known_loss
from ns3_scenarios.runtime import UnknownName
from ns3_scenarios.scenario import OfdmaSpec, ScenarioSpec
from ns3_scenarios.tracks import cluster_pairs, extremes, track
from ns3_scenarios.validity import UNLIMITED, VALIDITY, validity_warnings

#: Models of buildings, streets or satellites, and abstract ones.
UNUSABLE = {
    "Buildings",
    "HybridBuildings",
    "ItuR1238",
    "OhBuildings",
    "ThreeGpp",
    "ThreeGppNTNDenseUrban",
    "ThreeGppNTNRural",
    "ThreeGppNTNSuburban",
    "ThreeGppNTNUrban",
    "ThreeGppV2vHighway",
    "ThreeGppV2vUrban",
    "",
}


def network(
    kind: str, tier: str = "d2e", *, mast_m: float = 10.0, **attributes: Any
) -> ScenarioSpec:
    """A control unit 50 m from a mast, a device 5 m from the unit, both at 1.5 m."""
    base = scenario()
    radio = OfdmaSpec(propagation=Channel(kind, attributes))
    bs = replace(base.bs, position=(0.0, 0.0, mast_m))
    return replace(replace(base, bs=bs, d2d=OfdmaSpec(), d2e=OfdmaSpec()), **{tier: radio})


def moved(spec: ScenarioSpec, who: str, **changes: Any) -> ScenarioSpec:
    cluster = spec.clusters[0]
    if who == "cu":
        return replace(spec, clusters=(replace(cluster, cu=replace(cluster.cu, **changes)),))
    device = replace(cluster.devices[0], **changes)
    return replace(spec, clusters=(replace(cluster, devices=(device,)),))


def test_every_model_that_a_study_may_name_has_its_range_stated() -> None:
    stated, known = {*VALIDITY, *UNLIMITED}, set()
    for name in runtime.type_names():
        if not (name.startswith("ns3::") and name.endswith("PropagationLossModel")):
            continue
        try:
            known_loss(name)
        except UnknownName:
            continue
        known.add(name)
        unusable = name.removeprefix("ns3::").removesuffix("PropagationLossModel") in UNUSABLE
        assert (name in stated) != unusable, name
    assert stated & known == {name for name in stated if name.startswith("ns3::")}


@pytest.mark.parametrize(
    ("kind", "height_m", "is_sound"),
    [
        ("umi", 0.0, False), ("umi", 1.0, False), ("umi", 1.5, True), ("umi", 23.0, False),
        ("uma", 0.0, False), ("uma", 22.5, True), ("uma", 22.6, False),
        ("indoor", 0.0, True), ("log-distance", 0.0, True),
        ("ns3::ThreeGppRmaPropagationLossModel", 0.9, False),
        ("ns3::ThreeGppRmaPropagationLossModel", 1.0, True),
        ("ns3::ThreeGppRmaPropagationLossModel", 11.0, False),
        ("ns3::OkumuraHataPropagationLossModel", 0.0, False),
        ("ns3::ItuR1411LosPropagationLossModel", 0.0, False),
        ("ns3::ItuR1411LosPropagationLossModel", 0.1, True),
        ("ns3::TwoRayGroundPropagationLossModel", 0.0, False),
    ],
)  # fmt: skip
def test_heights_of_terminals_have_to_be_those_of_the_model(
    kind: str, height_m: float, is_sound: bool
) -> None:
    still = moved(network(kind), "cu", position=(0.0, 50.0, height_m))
    way = Trajectory(((0.0, 0.0, 50.0, 1.5), (99.0, 0.0, 50.0, height_m)))
    rising = moved(network(kind), "cu", motion=way)
    for spec in (still, rising):
        found = problems(spec)
        assert {path for path, _ in found} == (set() if is_sound else {"d2e.propagation.kind"})
        assert all(f"c0.cu at {height_m:g} m" in message for _, message in found)


def test_heights_count_from_where_the_model_has_them() -> None:
    two_ray = network("ns3::TwoRayGroundPropagationLossModel", HeightAboveZ=1.5)
    assert problems(moved(two_ray, "cu", position=(0.0, 50.0, 0.0))) == []
    two_ray = network("ns3::TwoRayGroundPropagationLossModel")
    raised = {"ns3::TwoRayGroundPropagationLossModel::HeightAboveZ": 1.5}
    by_default = replace(two_ray, ns3_defaults=raised)
    assert problems(moved(by_default, "cu", position=(0.0, 50.0, 0.0))) == []


def test_heights_of_all_that_are_on_a_channel_count_and_of_nobody_else() -> None:
    umi = network("umi")
    assert problems(moved(umi, "device", position=(0.0, 55.0, 0.0))) == []  # it is not on D2E
    jammer = Jammer("jam", (9.0, 9.0, 0.0), 1.0, "uplink")
    ((path, message),) = problems(replace(umi, interferers=(jammer,)))
    assert (path, "jam at 0 m" in message) == ("d2e.propagation.kind", True)
    assert problems(replace(umi, interferers=(replace(jammer, band="d2d"),))) == []
    d2d = network("umi", "d2d")
    ((path, message),) = problems(moved(d2d, "device", position=(0.0, 55.0, 0.0)))
    assert (path, "c0.d0 at 0 m" in message) == ("d2d.propagation.kind", True)
    assert problems(replace(d2d, bs=replace(d2d.bs, position=(0.0, 0.0, 0.0)))) == []


def test_a_device_that_goes_along_rises_with_its_control_unit() -> None:
    way = Trajectory(((0.0, 0.0, 50.0, 1.5), (9.0, 0.0, 50.0, 31.5)))
    spec = moved(network("umi", "d2d"), "cu", motion=way)
    ((_, message),) = problems(spec)
    assert "c0.cu and c0.d0 at 31.5 m" in message


def said(spec: ScenarioSpec) -> str:
    assert problems(spec) == []
    return "\n".join(f"{path}: {message}" for path, message in validity_warnings(spec))


def test_what_is_extrapolated_is_said_with_its_source() -> None:
    assert said(network("umi")) == ""
    assert said(network("uma", mast_m=25.0)) == ""
    assert said(network("indoor")) == ""
    assert "masts 25 m above ground, and the higher of c0.cu and bs is at 10 m (3GPP TR 38.901" in (
        said(network("uma"))
    )
    near, far = ((0.0, 5.0, 1.5), (0.0, 6e3, 1.5))
    assert "links of 10 to 5000 m, and c0.cu and bs come as near as 5 m" in (
        said(moved(network("umi"), "cu", position=near))
    )
    assert "c0.cu and bs get as far apart as 6000 m (" in (
        said(moved(network("umi"), "cu", position=far))
    )
    away = Trajectory(((0.0, 0.0, 50.0, 1.5), (60.0, 0.0, 6e3, 1.5)))
    assert "get as far apart as 6000 m, after 60 s (" in said(
        moved(network("umi"), "cu", motion=away)
    )
    hata = said(network("ns3::OkumuraHataPropagationLossModel", mast_m=20.0))
    assert "carriers of 0.15 to 2 GHz, not 2.1 GHz" in hata
    assert "masts 30 to 200 m above ground" in hata
    assert "links of 1000 to 20000 m" in hata
    cost = said(network("ns3::Cost231PropagationLossModel", BSAntennaHeight=10, Frequency=1.8e9))
    assert "a BSAntennaHeight of 30 to 200 m, not 10 m" in cost
    assert "GHz" not in cost
    assert "not 2.1 GHz" in said(network("ns3::Kun2600MhzPropagationLossModel"))


def test_out_of_sight_p1411_needs_one_end_up_and_does_not_care_who_is_near() -> None:
    low = said(network("p1411", "d2d"))
    assert "p1411 out of sight is extrapolated: it holds for masts 4 to 50 m above ground" in low
    assert "links" not in low
    assert said(network("p1411")) == ""


def test_carriers_have_to_be_those_of_the_model() -> None:
    for kind, hertz in (("umi", 0.4e9), ("ns3::ThreeGppRmaPropagationLossModel", 31e9)):
        spec = network(kind)
        spec = replace(spec, d2e=replace(spec.d2e, carrier_hz=hertz))
        ((path, message),) = problems(spec)
        assert (path, f"not {hertz:g} Hz" in message) == ("d2e.propagation.kind", True)
    # The model uses its own attribute if it is given.
    assert problems(network("ns3::ThreeGppRmaPropagationLossModel", Frequency=31e9))


def test_ns3_may_not_be_told_to_end_the_process() -> None:
    name = "EnforceParameterRanges"
    ((path, _),) = problems(network("umi", **{name: True}))
    assert path == f"d2e.propagation.attributes.{name}"
    default = {f"ns3::ThreeGppPropagationLossModel::{name}": "true"}
    ((path, _),) = problems(replace(network("umi"), ns3_defaults=default))
    assert path == f"ns3_defaults.ns3::ThreeGppPropagationLossModel::{name}"


CORNERS = st.lists(
    st.tuples(st.floats(0.1, 9), *[st.floats(-100, 100)] * 3), min_size=1, max_size=5
).map(
    lambda legs: tuple(
        (time_s - 5.0, *leg[1:])
        for time_s, leg in zip(itertools.accumulate(leg[0] for leg in legs), legs, strict=True)
    )
)


@settings(max_examples=100, deadline=None)
@given(st.lists(CORNERS, min_size=2, max_size=4), st.booleans())
def test_extremes_of_ways_are_those_of_a_thousand_looks(ways: Any, flat: bool) -> None:
    nodes = [
        replace(scenario().bs, name=f"n{n}", motion=Trajectory(corners))
        for n, corners in enumerate(ways)
    ]
    found = extremes([track(node) for node in nodes], flat=flat)
    assert found is not None
    times = np.linspace(0.0, 50.0, 5001)
    places = [
        np.stack([np.interp(times, [c[0] for c in w], [c[k] for c in w]) for k in (1, 2, 3)], 1)
        for w in ways
    ]
    pairs = list(itertools.combinations(places, 2))
    axes = 2 if flat else 3
    apart = [np.linalg.norm((a - b)[:, :axes], axis=1) for a, b in pairs]
    lower = [np.minimum(a[:, 2], b[:, 2]) for a, b in pairs]
    higher = [np.maximum(a[:, 2], b[:, 2]) for a, b in pairs]
    for seen, looked, most_is_exact in (
        (found.distance, apart, True),
        (found.lower, lower, False),  # not where the two ends' heights cross
        (found.higher, higher, True),
    ):
        least, most = min(each.min() for each in looked), max(each.max() for each in looked)
        step = max(float(np.abs(np.diff(each)).max()) for each in looked) + 1e-9
        assert seen[0].value >= least - step
        assert seen[0].value <= least + step or looked is higher
        assert seen[1].value <= most + step
        assert seen[1].value >= most - step or not most_is_exact
    # The distances are valid bounds.
    assert found.distance[0].value <= min(each.min() for each in apart) + 1e-9
    assert found.distance[1].value >= max(each.max() for each in apart) - 1e-9


def test_wanderers_come_as_near_as_their_discs() -> None:
    base = scenario(devices=2)
    cluster = base.clusters[0]
    wide, small = RandomWaypoint(100.0, centre_m=(0.0, 300.0)), RandomWaypoint(3.0)
    group = replace(
        cluster,
        cu=replace(cluster.cu, motion=wide),
        devices=(replace(cluster.devices[0], motion=small), cluster.devices[1]),
    )
    unit = extremes([track(group.cu), track(base.bs)], flat=True)
    assert unit is not None
    assert [seen.value for seen in unit.distance] == [200.0, 400.0]
    # Devices that are carried move only by themselves, relative to each other.
    (pairs,) = [extremes(each, flat=True) for each in cluster_pairs(group)]
    assert pairs is not None
    assert pairs.distance[0].value == 0.0
    assert pairs.distance[1].value == pytest.approx(8.0)
    apart = replace(
        group, devices=(replace(cluster.devices[0], motion=Trajectory(((0.0, 0, 0, 1.5),))),)
    )
    found = [extremes(each, flat=True) for each in cluster_pairs(apart)]
    assert found[0] is None
    assert found[1] is not None
    assert found[1].distance[1].value == 400.0
    assert math.isclose(found[1].distance[0].value, 200.0)
