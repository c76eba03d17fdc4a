"""The keys of a study for energy: what nodes and the network get of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import studies

from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.power import RadioPower
from collapipe_ns3.problems import StudyError
from collapipe_ns3.reading import study_file
from collapipe_ns3.topology import layout


def read(tmp_path: Path, **keys: Any) -> StudyConfig:
    return study_file.read(studies.write(tmp_path, **keys))


def clusters(**cu: Any) -> list[dict[str, Any]]:
    return [{"cu": {"profile": "jetson-nano", **cu}, "devices": ["raspberry-pi-4"] * 2}]


def test_a_nodes_own_values_replace_those_of_its_profile(tmp_path: Path) -> None:
    own = {
        "idle_power_w": "500 mW",
        "radio_idle_power_w": 0.2,
        "radio_sleep_power_w": 0.05,
        "rx_power_w": 0.3,
        "tx_static_power_w": 0.4,
        "pa_efficiency": 0.5,
    }
    config = read(tmp_path, energy="socket", clusters=clusters(**own))
    known = layout.profiles(config)
    assert known["c0.cu"].radio == RadioPower(0.05, 0.2, 0.3, 0.4, 0.5)
    # A control unit has a radio for its devices and one for the base station.
    assert known["c0.cu"].power.idle_w == pytest.approx(0.5 + 2 * 0.2)
    assert known["c0.d0"].power.idle_w == pytest.approx(2.7 + 0.82)
    assert known["bs"].power.idle_w == pytest.approx(9.0 + 130.0)
    spec = layout.scenario(config, 1, 0)
    assert spec.clusters[0].cu.rx_power_w == pytest.approx(0.3 - 0.2)
    assert spec.clusters[0].devices[0].rx_power_w == pytest.approx(0.94 - 0.82)


def test_radios_may_sleep(tmp_path: Path) -> None:
    energy = {"model": "socket", "radio_rest": "sleep"}
    known = layout.profiles(read(tmp_path, energy=energy, clusters=clusters()))
    assert known["c0.d0"].power.idle_w == pytest.approx(2.7 + 0.10)
    assert known["c0.d0"].power.rx_w == pytest.approx(0.94 - 0.10)
    assert known["bs"].power.idle_w == pytest.approx(9.0 + 75.0)


def test_each_base_station_has_a_radio(tmp_path: Path) -> None:
    two = [{"position": [500, 0]}, {"position": [0, 500]}]
    config = read(tmp_path, energy="socket", clusters=clusters(), stations=two)
    assert layout.profiles(config)["bs"].power.idle_w == pytest.approx(9.0 + 3 * 130.0)


def test_the_radiated_model_has_nothing_at_idle(tmp_path: Path) -> None:
    config = read(tmp_path, energy="radiated", clusters=clusters(rx_power_w=0.3))
    power = layout.profiles(config)["c0.cu"].power
    assert (power.idle_w, power.computing_w, power.rx_w) == (0.0, 10.0, 0.3)
    assert layout.scenario(config, 1, 0).clusters[0].cu.rx_power_w == 0.3


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        ({"idle_power_w": 11.0}, "idle_power_w", "at most 10 W, its active_power_w, not 11 W"),
        ({"rx_power_w": 0.5}, "rx_power_w", "at least the 0.82 W of its radio at rest (idle)"),
        ({"tx_static_power_w": 0.5}, "tx_static_power_w", "not 0.5 W"),
    ],
)
def test_a_state_may_not_take_less_than_rest(
    tmp_path: Path, keys: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(StudyError) as raised:
        read(tmp_path, energy="socket", clusters=clusters(**keys))
    (problem,) = raised.value.problems
    assert problem.path == f"clusters[0].cu.{path}"
    assert words in problem.message
    read(tmp_path, energy="radiated", clusters=clusters(**keys))


def test_what_the_radiated_model_does_not_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="radio_rest"):
        read(tmp_path, energy={"model": "radiated", "radio_rest": "sleep"}, clusters=clusters())
    with pytest.raises(StudyError, match="did you mean socket"):
        read(tmp_path, energy="sockets", clusters=clusters())
