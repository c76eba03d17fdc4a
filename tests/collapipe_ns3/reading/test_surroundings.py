"""Study keys of radios and surroundings: their effect, and the errors of wrong ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import studies
import yaml

from collapipe_ns3 import Study, schemes
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.problems import StudyError
from collapipe_ns3.reading import study_file
from collapipe_ns3.reading.study_file import check
from collapipe_ns3.topology import layout
from ns3_scenarios.channel import Fading, Multipath, Shadowing
from ns3_scenarios.interferers import Background, Jammer
from ns3_scenarios.mobility import RandomWaypoint, Trajectory
from ns3_scenarios.power import FixedPower, OpenLoop
from ns3_scenarios.scenario import LteSpec, ScenarioSpec, WifiSpec

DEVICES = ["raspberry-pi-4", "phone-midrange"]


def scenario(start_ns: int = 0, **changes: Any) -> ScenarioSpec:
    return layout.scenario(studies.config(**changes), 1, 0, start_ns)


def problems_of(**changes: Any) -> dict[str, str]:
    _, found = check(studies.tiny(**changes))
    return {problem.path: problem.message for problem in found}


def test_channels_have_shadowing_and_fading_and_a_shorthand_without() -> None:
    spec = scenario(
        propagation={
            "d2d": "p1411",
            "d2e": {
                "model": "umi",
                "shadowing": {"sigma_db": 5},
                "fading": {"kind": "nakagami", "m": 3},
            },
        }
    )
    assert (spec.d2d.propagation.kind, spec.d2d.propagation.fading) == ("p1411", None)
    assert spec.d2d.propagation.shadowing == Shadowing()
    assert spec.d2e.propagation.shadowing == Shadowing(5.0, None)
    assert spec.d2e.propagation.fading == Fading(3.0)
    rayleigh = scenario(propagation={"d2d": {"fading": "rayleigh"}})
    assert rayleigh.d2d.propagation.fading == Fading(1.0)
    tapped = {"kind": "tdl-a", "delay_spread_s": "30 ns", "doppler_hz": "5 Hz"}
    over_time = scenario(propagation={"d2d": {"fading": "clarke"}, "d2e": {"fading": tapped}})
    assert over_time.d2d.propagation.fading == Multipath("clarke")
    assert over_time.d2e.propagation.fading == Multipath("tdl-a", 30e-9, 5.0)
    own = scenario().d2d.propagation
    assert rayleigh.d2d.propagation.attributes == own.attributes  # the stack's own model stays


def test_power_noise_figures_and_antennas_reach_every_stack() -> None:
    fixed = {"kind": "fixed", "tx_power_dbm": "50 mW"}
    front = {"noise_figure_db": 6, "antenna_gain_db": 2}
    spec = scenario(
        radio={
            "d2d": {"stack": "wifi", "power": fixed, **front},
            "d2e": {"stack": "lte", "power": "fractional", "station_antenna_gain_db": 8, **front},
        }
    )
    assert isinstance(spec.d2d, WifiSpec)
    assert isinstance(spec.d2e, LteSpec)
    assert spec.d2d.power == FixedPower(pytest.approx(0.05))
    assert (spec.d2d.noise_figure_db, spec.d2d.antenna_gain_db) == (6.0, 2.0)
    assert (spec.d2e.noise_figure_db, spec.d2e.station_antenna_gain_db) == (6.0, 8.0)
    assert spec.d2e.power == OpenLoop()
    steep = {"kind": "fractional", "p0_dbm": -90, "alpha": 1.0}
    assert scenario(radio={"d2e": {"power": steep}}).d2e.power == OpenLoop(-90.0, 1.0)


def test_interferers_are_as_written() -> None:
    spec = scenario(
        interferers=[
            {"kind": "jammer", "tx_power_dbm": 30, "position": [9, 9], "duty_cycle": 0.2,
             "on_s": "5 s", "off_s": 9, "band": "uplink"},
            {"kind": "background", "tx_power_dbm": 0, "src": [1, 2], "dst": [3, 4, 5],
             "rate_bps": "2 Mbit/s", "name": "others"},
        ]
    )  # fmt: skip
    jammer, background = spec.interferers
    assert jammer == Jammer("jammer0", (9.0, 9.0, 1.5), pytest.approx(1.0), "uplink",
                            duty_cycle=0.2, on_s=5.0, off_s=9.0)  # fmt: skip
    assert background == Background("others", (1.0, 2.0, 1.5), (3.0, 4.0, 5.0), 1e-3, 2e6)


def test_clusters_wander_and_their_devices_go_along_from_where_they_were() -> None:
    cluster = {"cu": "jetson-nano", "devices": DEVICES}
    still = layout.scenario(studies.config(clusters=[cluster]), 1, 0)
    moving = scenario(clusters=[{**cluster, "motion": {"radius_m": 9, "pause_s": [1, 2]}}])
    assert moving.clusters[0].cu.motion == RandomWaypoint(9.0, pause_s=(1.0, 2.0))
    assert [n.position for n in moving.nodes] == [n.position for n in still.nodes]
    assert moving.clusters[0].together


def test_a_way_begins_where_it_says_and_keeps_the_nodes_height() -> None:
    corners = [[0, 5, 6], [10, 7, 8, 30]]
    way = {"kind": "way", "corners": corners}
    node = {"profile": "phone-midrange", "position": [1, 1, 2], "motion": way}
    spec = scenario(clusters=[{"cu": "jetson-nano", "devices": [DEVICES[0], node]}])
    device = spec.clusters[0].devices[1]
    assert device.position == (5.0, 6.0, 2.0)
    assert device.motion == Trajectory(((0.0, 5.0, 6.0, 2.0), (10.0, 7.0, 8.0, 30.0)))


def test_a_trace_is_read_beside_the_study_and_kept_in_it(tmp_path: Path) -> None:
    rows = "time_s,node,x_m,y_m\n0,c0.cu,3,4\n60,c0.cu,30,40\n5,c0.d1,1,1\n"
    (tmp_path / "ways.csv").write_text(rows)
    config = study_file.read(studies.write(tmp_path, mobility="ways.csv"))
    spec = layout.scenario(config, 1, 0)
    assert spec.clusters[0].cu.motion == Trajectory(((0.0, 3.0, 4.0, 1.5), (60.0, 30.0, 40.0, 1.5)))
    assert spec.clusters[0].devices[1].motion == Trajectory(((5.0, 1.0, 1.0, 1.5),))
    (tmp_path / "ways.csv").unlink()
    (tmp_path / "kept.yaml").write_text(study_file.dump(config))
    assert study_file.read(str(tmp_path / "kept.yaml")) == config


def test_a_trace_that_cannot_be_read_is_reported_with_all_else(tmp_path: Path) -> None:
    (tmp_path / "ways.csv").write_text("time_s,node,x_m,y_m\n0,c7.cu,3,4\n")
    study = studies.write(tmp_path, mobility={"trace": "ways.csv"}, seed=-1)
    with pytest.raises(StudyError) as caught:
        study_file.read(study)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert found.keys() == {"seed", "mobility.trace"}
    assert "line 2: no node 'c7.cu'" in found["mobility.trace"]


def test_all_that_is_wrong_is_reported_at_once_with_its_place() -> None:
    wrong = yaml.safe_load(
        """
        clusters:
          - cu: jetson-nano
            motion: {radius_m: -15, corners: [[0, 0, 0]]}
            devices:
              - raspberry-pi-4
              - {profile: jetson-nano, motion: {kind: wey, corners: [[0, 3, 4]]}}
              - {profile: jetson-nano, motion: way}
            station: bs7
        stations: [{}]
        radio:
          d2d: {stack: wifi, power: fractional, reuse: 2, noise_figure_db: 77}
          d2e: {power: {kind: fixed, alpha: 3}, engine: spektrum}
        propagation:
          d2d: {model: p1412, fading: raylegh}
          d2e: {model: umi, shadowing: {sigma_db: -6}, fading: nakagami}
        interferers:
          - {kind: jamer, tx_power_dbm: 20, src: [5, 5], on_s: 3}
          - {kind: background, tx_power_dbm: 17, src: [5, 5], rate_bps: 5 Mbits/s, duty_cycle: 2}
          - {kind: jammer, tx_power_dbm: 1, position: [7, 7], duty_cycle: 2, off_s: 4, on_s: 6}
        """
    )
    expected = {
        "clusters[0].motion.corners": "random-waypoint has no such key, way has",
        "clusters[0].motion.radius_m": "above 0",
        "clusters[0].devices[1].motion.kind": "did you mean way?",
        "clusters[0].devices[2].motion.corners": "is missing: way needs it",
        "clusters[0].station": "expected one of bs, bs1",
        "stations[0].position": "is missing",
        "radio.d2d.power": "Wi-Fi has no open loop",
        "radio.d2d.reuse": "wifi has no such key, ofdma has",
        "radio.d2d.noise_figure_db": "expected 0 to 50",
        "radio.d2e.power.alpha": "fixed has no such key",
        "radio.d2e.power.tx_power_dbm": "is missing: fixed needs it",
        "radio.d2e.engine": "did you mean spectrum?",
        "propagation.d2d.model": "did you mean 'p1411'?",
        "propagation.d2d.fading.kind": "did you mean rayleigh?",
        "propagation.d2e.shadowing.sigma_db": "0 to 50 dB",
        "propagation.d2e.fading.m": "is missing: nakagami needs it",
        "interferers[0].kind": "did you mean jammer?",
        "interferers[1].rate_bps": "Mbit/s",
        "interferers[1].duty_cycle": "background has no such key, jammer has",
        "interferers[1].dst": "is missing: background needs it",
        "interferers[2].duty_cycle": "up to 1",
        "interferers[2].off_s": "after on_s",
    }
    found = problems_of(**wrong)
    assert found.keys() == expected.keys()
    assert {path: w for path, w in expected.items() if w not in found[path]} == {}


def test_time_and_what_is_lasting_go_on_over_rounds() -> None:
    config = studies.config()
    specs = [layout.scenario(config, 1, n, n * 10**9) for n in range(3)]
    assert [spec.start_ns for spec in specs] == [0, 10**9, 2 * 10**9]
    assert len({spec.lasting_run for spec in specs}) == 1
    assert len({spec.run for spec in specs}) == 3
    assert layout.scenario(config, 2, 0).lasting_run != specs[0].lasting_run


WALKING: dict[str, Any] = {
    "rounds": 4,
    "clusters": [
        {
            "cu": "jetson-nano",
            "position": [40, 10],
            "motion": {"radius_m": 60, "speed_m_s": [15, 20]},
            "devices": DEVICES,
        }
    ],
    "propagation": {"d2e": {"model": "umi", "shadowing": {"sigma_db": 3}}},
    "interferers": [
        {"kind": "jammer", "tx_power_dbm": -20, "position": [0, 9], "band": "uplink", "on_s": 0.1}
    ],
}


def test_motion_and_jammers_go_on_where_a_run_is_resumed(tmp_path: Path) -> None:
    study = Study(studies.config(**WALKING))
    whole = study.run(out=tmp_path / "whole")
    study.run(out=tmp_path / "resumed", rounds=2)
    resumed = study.run(out=tmp_path / "resumed", resume=True)
    for table in ("transfers", "links"):
        assert getattr(whole, table).equals(getattr(resumed, table)), table
    up = whole.transfers.query("src == 'c0.cu' and dst == 'bs'")
    # It walks on over the rounds, and the jammer comes on in the middle of the run.
    sinr_db = up.groupby("round", observed=True)["sinr_db"].mean()
    assert sinr_db.nunique() == 4
    links = whole.links.query("src == 'c0.cu' and dst == 'bs'").set_index("round")
    starts_s = whole.rounds.set_index("round")["start_s"]
    assert starts_s[1] < 0.1 < starts_s[2]
    assert links.loc[3, "interference_dbm_hz"] > links.loc[1, "interference_dbm_hz"] + 3


def test_control_units_reach_the_server_by_their_stations(tmp_path: Path) -> None:
    far = {"cu": "jetson-nano", "position": [900, 0], "station": "bs1", "devices": DEVICES}
    config = studies.config(
        clusters=[*studies.TINY["clusters"], far], stations=[{"position": [905, 0]}], rounds=1
    )
    result = Study(config).run(out=tmp_path / "run")
    assert result.rounds["abandoned"].tolist() == [""]
    transfers = result.transfers
    assert set(transfers["src"]) == {
        "bs",
        *(f"c{n}.{x}" for n in (0, 1) for x in ("cu", "d0", "d1")),
    }
    # By the base station itself, 900 m off, it would be 30 dB or more below.
    up = transfers.query("src == 'c1.cu' and dst == 'bs'")["sinr_db"].mean()
    assert up > transfers.query("src == 'c0.cu' and dst == 'bs'")["sinr_db"].mean() - 10
    energy = result.devices.set_index("device")["radio_energy_j"]
    assert energy["bs"] > 0


Gains = dict[tuple[str, str], float]


def gains_seen(config: StudyConfig, scheme: str, folder: Path) -> list[Gains]:
    """The gains of each round, as measured in that round alone."""
    made, seen = schemes.make, []

    def watched(name: str, settings: Mapping[str, Any]) -> schemes.Scheme:
        found = made(name, settings)
        learn = found.learn

        def learn_and_tell(outcome: RoundOutcome) -> None:
            seen.append({(link.src, link.dst): link.gain for link in outcome.links})
            learn(outcome)

        patch.setattr(found, "learn", learn_and_tell)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemes, "make", watched)
        Study(config).run(scheme=scheme, out=folder / scheme)
    return seen


@pytest.fixture(scope="module", params=[("ofdma", "ofdma"), ("wifi", "lte")], ids="-".join)
def faded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyConfig, list[Gains]]:
    """A study over channels that fade, and the gains that PipeLine sees in it."""
    channel = {"fading": "rayleigh", "shadowing": {"sigma_db": 6, "distance_m": 10}}
    config = studies.config(
        rounds=3,
        propagation={"d2d": channel, "d2e": channel},
        radio=dict(zip(("d2d", "d2e"), request.param, strict=True)),
    )
    return config, gains_seen(config, "pipeline", tmp_path_factory.mktemp("faded"))


@pytest.mark.parametrize("other", ["vanilla_fl", "titanic", "collapipe"])
def test_two_schemes_see_the_same_gains_in_the_same_round(
    other: str, faded: tuple[StudyConfig, list[Gains]], tmp_path: Path
) -> None:
    """Common random numbers: the fading of a round does not depend on the transmissions."""
    config, one = faded
    two = gains_seen(config, other, tmp_path)
    assert len(one) == len(two) == 3
    for ours, theirs in zip(one, two, strict=True):
        both = ours.keys() & theirs.keys()
        assert len(both) >= 4
        for link in both:
            assert math.isclose(ours[link], theirs[link], rel_tol=1e-6), link
    assert all(before[link] != after[link] for before, after in pairwise(one) for link in before)


def test_what_the_documents_show_is_sound(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "studies.md").read_text()
    (tmp_path / "ways.csv").write_text("time_s,node,x_m,y_m\n0,c0.cu,3,4\n")
    places = [f"$node_({n}) set {axis}_ {n}" for n in (3, 4, 12) for axis in "XYZ"]
    (tmp_path / "ways.tcl").write_text("\n".join(places))
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        keys = {key: value for key, value in yaml.safe_load(block).items() if key != "scenario"}
        task = {**studies.TINY["task"], "cluster_size": 64}  # a batch of the default size
        config, found = check(studies.tiny(**{"task": task, **keys}), tmp_path)
        assert config is not None, found
        assert not found
