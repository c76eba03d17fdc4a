"""Budgets that no plan can keep: every command that plans warns once, with device and joules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3.cli.app import app
from collapipe_ns3.dssra.budgets import unkeepable
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.prediction.timeline_energy import NodeEnergy

ROWS = (("c0.d0", "c0.d1"), ("c1.d0",))
JOULES = {
    "c0.cu": NodeEnergy(0.8, 0.1, 0.4, 1.2),
    "c0.d0": NodeEnergy(2.0, 0.1, 0.5, 0.3),
    "c0.d1": NodeEnergy(0.0, 0.0, 0.35, 0.35),
    "c1.d0": NodeEnergy(1.0, 0.1, 0.2, 0.01),
}
COMMON = "scheme.settings.energy_budget_j"


def test_a_budget_is_named_where_it_is_below_what_is_used_with_no_part_in_the_round() -> None:
    found = dict(unkeepable(Settings(energy_budget_j=0.32), ROWS, JOULES))
    assert found.keys() == {COMMON}
    assert "0.32 J a round is less than" in found[COMMON]
    assert "(c0.d1 0.35 J)" in found[COMMON]
    own = Settings(energy_budget_j=0.2, energy_budgets_j={"c0.d1": 0.1, "c0.cu": 1.3, "bs": 0.1})
    found = dict(unkeepable(own, ROWS, JOULES))
    assert found.keys() == {COMMON, "scheme.settings.energy_budgets_j.c0.d1"}
    assert "(c0.d0 0.3 J)" in found[COMMON]
    assert not list(unkeepable(Settings(energy_budget_j=0.4), ROWS, JOULES))
    assert not list(unkeepable(Settings(), ROWS, JOULES))


def test_of_many_devices_the_hungriest_are_named() -> None:
    joules = {f"c0.d{k}": NodeEnergy(0.0, 0.0, float(k), float(k)) for k in range(10)}
    ((_, message),) = unkeepable(Settings(energy_budget_j=0.5), (tuple(joules),), joules)
    assert "(c0.d9 9 J, c0.d8 8 J, c0.d7 7 J, c0.d6 6 J and 5 more)" in message


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_it_is_reported_once_on_stderr_and_with_json(tmp_path: Path, command: str) -> None:
    radio = {"d2d": "wifi", "d2e": "lte"}
    study = studies.write(tmp_path, rounds=2, scheme="collapipe", radio=radio)
    small = ["--set", "scheme.settings.energy_budget_j=0.003"]
    out = ["--out", str(tmp_path / "run")] if command == "run" else []
    done = call(command, study, *small, *out, "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("warning") == 1
    assert f"{COMMON}: 0.003 J a round is less than" in done.stderr
    (warning,) = json.loads(done.stdout)["warnings"]
    assert warning["path"] == COMMON
    assert "c0.d0" in warning["message"]
    assert "c0.d1" in warning["message"]
    if command == "run":
        lines = (tmp_path / "run" / "plans.jsonl").read_text().splitlines()
        first: dict[str, Any] = json.loads(lines[0])["explanation"]
        assert first["warnings"] == [{key: warning[key] for key in ("path", "message")}]
        idle = first["prediction"]["least_energy_j"]
        assert min(idle["c0.d0"], idle["c0.d1"]) > 0.003
    ample = ["--set", "scheme.settings.energy_budget_j=100"]
    if command == "validate":
        assert json.loads(call(command, study, *ample, "--json").stdout)["warnings"] == []
