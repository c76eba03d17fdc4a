"""What is doubtful in a study: reported once by every command that runs or plans it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3 import Study, reading
from collapipe_ns3.cli import app

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
    said = warned(**LOUD)
    assert said.keys() == {AT}
    assert "60 dBm is 40 dB more than the 20 dBm of the profile phone-midrange" in said[AT]
    power_class_1: dict[str, Any] = json.loads(json.dumps(LOUD).replace("60", "30"))
    assert warned(**power_class_1) == {}
    assert warned(server={"tx_power_dbm": 46}) == {}  # a macro base station
    assert warned(server={"tx_power_dbm": 80}).keys() == {"server.tx_power_dbm"}


def test_a_fixed_power_that_no_node_can_radiate_is_doubtful() -> None:
    fixed = {"kind": "fixed", "tx_power_dbm": 40}
    said = warned(radio={"d2d": {"power": fixed}})
    assert said.keys() == {"radio.d2d.power.tx_power_dbm"}
    assert "no node can radiate 40 dBm" in said["radio.d2d.power.tx_power_dbm"]
    assert warned(radio={"d2d": {"power": {**fixed, "tx_power_dbm": 20}}}) == {}


def test_other_peoples_traffic_of_a_kilowatt_is_doubtful_and_a_jammers_is_not() -> None:
    pair = {"kind": "background", "src": [1, 2], "dst": [3, 4], "rate_bps": 1e6}
    jammer = {"kind": "jammer", "position": [9, 9], "tx_power_dbm": 60}
    said = warned(interferers=[jammer, {**pair, "tx_power_dbm": 60}])
    assert said.keys() == {"interferers[1].tx_power_dbm"}


@pytest.mark.parametrize("name", reading.bundled())
def test_nothing_in_a_bundled_study_is_doubtful(name: str) -> None:
    assert Study.load(name).warnings == ()


@pytest.mark.parametrize("command", ["run", "validate", "plan", "compare"])
def test_every_command_warns_once_and_lists_its_warnings(command: str, tmp_path: Path) -> None:
    study = studies.write(tmp_path, **LOUD)
    out = ["--out", str(tmp_path / "out")] if command in ("run", "compare") else []
    campaign = ["--schemes", "pipeline,local", "--seeds", "0-1"] if command == "compare" else []
    done = call(command, study, *out, *campaign, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count(f"warning: {AT}: 60 dBm") == 1
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning["path"] == AT
    assert "profile phone-midrange" in warning["message"]
