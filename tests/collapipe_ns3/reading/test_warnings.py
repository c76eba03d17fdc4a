"""Warnings about a study are printed once by every command that runs or plans it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3 import Study
from collapipe_ns3.cli.app import app
from collapipe_ns3.reading import study_file

LOUD: dict[str, Any] = {
    "rounds": 1,
    "clusters": [
        {
            "cu": "jetson-nano",
            "position": [20, 10],
            "devices": ["raspberry-pi-4", {"profile": "phone-midrange", "tx_power_dbm": 60}],
        }
    ],
}
AT = "clusters[0].devices[1].tx_power_dbm"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def warned(**changes: Any) -> dict[str, str]:
    return {each.path: each.message for each in Study(studies.config(**changes)).warnings}


def test_a_phone_that_radiates_a_kilowatt_is_doubtful() -> None:
    found = warned(**LOUD)
    assert found.keys() == {AT}
    assert "60 dBm is 40 dB more than the 20 dBm of the profile phone-midrange" in found[AT]
    power_class_1: dict[str, Any] = json.loads(json.dumps(LOUD).replace("60", "30"))
    assert warned(**power_class_1) == {}
    assert warned(server={"tx_power_dbm": 46}) == {}  # a macro base station
    assert warned(server={"tx_power_dbm": 80}).keys() == {"server.tx_power_dbm"}


def test_a_fixed_power_that_no_node_can_radiate_is_doubtful() -> None:
    fixed = {"kind": "fixed", "tx_power_dbm": 40}
    found = warned(radio={"d2d": {"power": fixed}})
    assert found.keys() == {"radio.d2d.power.tx_power_dbm"}
    assert "no node can radiate 40 dBm" in found["radio.d2d.power.tx_power_dbm"]
    assert warned(radio={"d2d": {"power": {**fixed, "tx_power_dbm": 20}}}) == {}


def test_nodes_whose_speed_in_bfloat16_is_not_known_are_named() -> None:
    training = {**studies.TINY["training"], "precision": "bfloat16"}
    (found,) = warned(training=training).items()
    assert found[0] == "training.precision"
    assert "edge-server, jetson-nano, raspberry-pi-4, phone-midrange: no flops" in found[1]
    known = {"profile": "edge-server", "flops_per_s_bf16": 6e12}
    (message,) = warned(training=training, server=known).values()
    assert message.startswith("jetson-nano, raspberry-pi-4, phone-midrange: no")
    assert warned(server=known) == {}


def test_other_peoples_traffic_of_a_kilowatt_is_doubtful_and_a_jammers_is_not() -> None:
    pair = {"kind": "background", "src": [1, 2], "dst": [3, 4], "rate_bps": 1e6}
    jammer = {"kind": "jammer", "position": [9, 9], "tx_power_dbm": 60}
    found = warned(interferers=[jammer, {**pair, "tx_power_dbm": 60}])
    assert found.keys() == {"interferers[1].tx_power_dbm"}


def test_of_the_bundled_studies_only_what_is_known_to_be_doubtful_is() -> None:
    """Moving clusters come close to a mast, and P.1411 has no model for two low antennas."""
    found = {
        name: [str(each) for each in Study.load(name).warnings] for name in study_file.bundled()
    }
    d2d, d2e = found.pop("mobile")
    assert "propagation.d2d.model: p1411 out of sight is extrapolated: it holds for" in d2d
    assert "masts 4 to 50 m above ground, and the higher of c0.cu and c0.d0 is at 1.5 m" in d2d
    assert "links of 10 to 5000 m, and c0.cu and bs come as near as 0 m" in d2e
    assert not any(found.values())


def test_a_model_outside_what_it_holds_for_is_doubtful() -> None:
    found = warned(propagation={"d2e": "uma"})
    assert found.keys() == {"propagation.d2e.model"}
    assert "masts 25 m above ground" in found["propagation.d2e.model"]
    own = {"scenario": "a_module:a_function", "propagation": {"d2e": "uma"}}
    checked, _ = study_file.check(studies.tiny(**own))
    assert checked is not None
    assert Study(checked).warnings == ()  # whatever that has as propagation


@pytest.mark.parametrize("command", ["run", "validate", "plan", "compare"])
def test_every_command_warns_once_and_lists_its_warnings(command: str, tmp_path: Path) -> None:
    study = studies.write(tmp_path, **LOUD)
    out = ["--out", str(tmp_path / "out")] if command in ("run", "compare") else []
    campaign = ["--schemes", "pipeline", "--seeds", "0-1"] if command == "compare" else []
    done = call(command, study, *out, *campaign, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count(f"{AT}: 60 dBm") == 1
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning["path"] == AT
    assert "profile phone-midrange" in warning["message"]
