"""The faults of a study: whose they are, how they combine, and what they depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import studies

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.faults import Faults, Signal
from collapipe_ns3.reading import study_file
from collapipe_ns3.topology.faults import links_of, make_faults

SECOND = 1_000_000_000
CLUSTERS = [
    {"cu": "jetson-nano", "devices": ["raspberry-pi-4", "phone-midrange"]},
    {"cu": "jetson-nano", "devices": ["raspberry-pi-4", "raspberry-pi-4"]},
]


def study(folder: Path, faults: Any, **changes: Any) -> StudyConfig:
    clusters = changes.pop("clusters", CLUSTERS)
    return study_file.read(studies.write(folder, faults=faults, clusters=clusters, **changes))


def made(folder: Path, faults: Any, seed: int = 1, **changes: Any) -> Faults:
    return make_faults(study(folder, faults, **changes), seed)


def at_seconds(signal: Signal, times_s: list[float]) -> list[float]:
    return [signal.at(round(time_s * SECOND)) for time_s in times_s]


def test_a_study_without_faults_has_none(tmp_path: Path) -> None:
    assert not make_faults(study_file.read(studies.write(tmp_path)), 1)


@pytest.mark.parametrize(
    ("entry", "nodes"),
    [
        ({}, {"c0.d0", "c0.d1", "c1.d0", "c1.d1"}),
        ({"cluster": 1}, {"c1.d0", "c1.d1"}),
        ({"profile": "raspberry-pi-4"}, {"c0.d0", "c1.d0", "c1.d1"}),
        ({"profile": "raspberry-pi-4", "cluster": 0}, {"c0.d0"}),
        ({"nodes": ["bs", "c1.cu"]}, {"bs", "c1.cu"}),
    ],
)
def test_an_entry_selects_nodes(tmp_path: Path, entry: Any, nodes: set[str]) -> None:
    faults = made(tmp_path, {"nodes": [{**entry, "away_s": [[1, 2]]}]})
    assert set(faults.up) == nodes
    assert not faults.slowness


def test_given_absences_are_in_the_unit_of_their_key(tmp_path: Path) -> None:
    away = [["500 ms", 2], [1.5, 3], [10, None]]
    faults = made(tmp_path, {"nodes": [{"nodes": ["c0.d1"], "away_s": away}]})
    up = faults.up["c0.d1"]
    assert at_seconds(up, [0, 0.4999, 0.5, 2, 2.9999, 3, 9.9999, 10, 1e6]) == [
        1, 1, 0, 0, 0, 1, 1, 0, 0,
    ]  # fmt: skip
    assert faults.away(SECOND) == {"c0.d1"}
    assert up.next_change_ns(0) == SECOND // 2
    assert up.next_change_ns(SECOND // 2) == 3 * SECOND
    assert up.next_change_ns(10 * SECOND) is None


def test_slowdowns_multiply_and_absences_combine(tmp_path: Path) -> None:
    faults = made(
        tmp_path,
        {
            "nodes": [
                {"slow": [{"from_s": 1, "to_s": 5, "factor": 2}]},
                {"nodes": ["c0.d0"], "slow": [{"from_s": 4, "factor": 3}], "away_s": [[2, 3]]},
                {"nodes": ["c0.d0"], "mtbf_s": 7, "mttr_s": 2},
            ]
        },
    )
    alone = made(tmp_path, {"nodes": [{"nodes": ["c0.d0"], "mtbf_s": 7, "mttr_s": 2}]})
    assert at_seconds(faults.slowness["c0.d0"], [0, 1, 4, 5]) == [1, 2, 6, 3]
    assert at_seconds(faults.slowness["c1.d1"], [0, 1, 4, 5]) == [1, 2, 2, 1]
    for time_s in range(100):
        both = alone.is_up("c0.d0", time_s * SECOND) and time_s != 2
        assert faults.is_up("c0.d0", time_s * SECOND) == both


def test_random_faults_are_a_nodes_own_and_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """Another scheme, other rounds, and faults of other nodes change nothing."""
    entry = {"mtbf_s": 5, "mttr_s": 1, "slow": [{"mean_between_s": 3, "mean_lasting_s": 2,
                                                   "factor": 4}]}  # fmt: skip
    faults = made(tmp_path, {"nodes": [entry]})
    other = made(
        tmp_path,
        {"nodes": [{"nodes": ["c1.d0"], "away_s": [[90, 91]]}, {"nodes": ["c0.d1"], **entry}]},
        scheme="titanic",
        rounds=7,
    )
    times_s = [n / 4 for n in range(800)]

    def course(of: Faults, node: str) -> list[float]:
        return [*at_seconds(of.up[node], times_s), *at_seconds(of.slowness[node], times_s)]

    assert course(faults, "c0.d1") == course(other, "c0.d1")
    assert course(faults, "c0.d0") != course(faults, "c0.d1")
    assert course(made(tmp_path, {"nodes": [entry]}, seed=2), "c0.d1") != course(faults, "c0.d1")
    assert set(at_seconds(faults.slowness["c0.d0"], times_s)) == {1.0, 4.0}


def test_a_given_absence_does_not_change_the_random_ones(tmp_path: Path) -> None:
    random = {"nodes": ["c0.d0"], "mtbf_s": 5, "mttr_s": 1}
    one = made(tmp_path, {"nodes": [random]}).up["c0.d0"]
    two = made(tmp_path, {"nodes": [{**random, "away_s": [[1000, 1001]]}]}).up["c0.d0"]
    times_s = [n / 4 for n in range(3000)]
    assert at_seconds(one, times_s) == at_seconds(two, times_s)


def test_a_link_is_out_both_ways_unless_one_is_named(tmp_path: Path) -> None:
    faults = made(
        tmp_path,
        {
            "links": [
                {"src": "c0.cu", "dst": "bs", "out_s": [[1, 2]]},
                {"src": "c1.d0", "dst": "c1.d1", "both": False, "mtbf_s": 5, "mttr_s": 5},
            ],
            "on_outage": "fail",
        },
    )
    assert set(faults.links) == {("c0.cu", "bs"), ("bs", "c0.cu"), ("c1.d0", "c1.d1")}
    assert faults.on_outage == "fail"
    assert [faults.is_usable("bs", "c0.cu", n * SECOND) for n in (0, 1, 2)] == [True, False, True]


def test_a_base_station_among_several_takes_only_its_clusters_links_away(tmp_path: Path) -> None:
    clusters = [dict(CLUSTERS[0]), {**CLUSTERS[1], "station": "bs1"}]
    faults = made(
        tmp_path,
        {"nodes": [{"nodes": ["bs1"], "away_s": [[1, 2]]}]},
        clusters=clusters,
        stations=[{"position": [400, 0]}],
    )
    assert faults.is_usable("bs", "c0.cu", SECOND)
    assert not faults.is_usable("bs", "c1.cu", SECOND)
    assert not faults.is_usable("c1.cu", "bs", SECOND)
    assert faults.away(SECOND) == frozenset()


def test_hazards_are_those_of_random_absences_where_they_are_known(tmp_path: Path) -> None:
    """Two causes: rates add; the time away is their mean, weighted by how often each is."""
    nodes = [
        {"nodes": ["c0.d0"], "mtbf_s": 10, "mttr_s": 1},
        {"nodes": ["c0.d0"], "mtbf_s": 30, "mttr_s": 5, "away_s": [[1, 2]]},
    ]
    faults = made(tmp_path, {"nodes": nodes, "known": True})
    assert faults.hazards == pytest.approx({"c0.d0": 4 / 30})
    assert faults.repair_s == pytest.approx({"c0.d0": 2.0})
    assert not made(tmp_path, {"nodes": nodes}).hazards


def test_links_are_within_clusters_and_to_the_server(tmp_path: Path) -> None:
    pairs = links_of(study(tmp_path, {}))
    assert ("c0.d0", "c0.d1") in pairs
    assert ("c1.cu", "bs") in pairs
    assert ("c0.d0", "c1.d0") not in pairs
    assert ("c0.d0", "bs") not in pairs
    assert len(pairs) == 2 * (6 + 2)
