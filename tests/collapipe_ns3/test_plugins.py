"""Plug-ins that fail amid a run: words that name them, exit code 1, and the rounds before."""

from __future__ import annotations

import json
from pathlib import Path

import plugging
import pytest
import studies
from typer.testing import CliRunner, Result

import analysis
from collapipe_ns3.cli.app import app


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the run goes; schemes in its parent folder are found."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "run"


LATER = {
    "learning from round 1: SystemExit: 0 (": """\
    def learn(self, outcome):
        if outcome.round: sys.exit(0)
""",
    "planning round 1: the plan: expected a RoundPlan, not None": """\
    def plan(self, round, observation):
        return None if round else super().plan(round, observation)
""",
    "saving its memory before round 2: ['seen']: expected plain data, not {1} (set)": """\
    rounds = 0
    def learn(self, outcome):
        self.rounds += 1
    def memory(self):
        return {"seen": {1} if self.rounds > 1 else [1]}
    def remember(self, memory): ...
""",
    "choosing links to sound before round 1: c0.d0 and bs share no radio; ": """\
    plans = 0
    def sounding(self, observation):
        return [("c0.d0", "bs")] if self.plans > 1 else []
    def plan(self, round, observation):
        self.plans += 1
        return super().plan(round, observation)
""",
}


@pytest.mark.parametrize("says", LATER)
def test_a_scheme_that_fails_later_leaves_the_rounds_before(
    says: str, run: Path, tmp_path: Path
) -> None:
    plugging.install(tmp_path, LATER[says])
    study = studies.write(tmp_path, scheme="mine")
    done = call("run", study, "--json", "--out", str(run))
    assert done.exit_code == 1, done.output
    error = json.loads(done.stdout)["error"]
    assert error.startswith(f"scheme mine, {says}")
    assert error in done.stderr
    assert analysis.load(run).rounds["round"].tolist() == [0]


@pytest.mark.parametrize("command", ["run", "validate", "plan"])
def test_a_scheme_that_fails_at_once_leaves_nothing(
    command: str, run: Path, tmp_path: Path
) -> None:
    code = "    def plan(self, round, observation):\n        sys.exit('enough')\n"
    plugging.install(tmp_path, code)
    study = studies.write(tmp_path, scheme="mine")
    done = call(command, study, "--json", *(["--out", str(run)] if command == "run" else []))
    assert done.exit_code == 1
    error = json.loads(done.stdout)["error"]
    assert error.startswith("scheme mine, planning round 0: SystemExit: enough (plugged_mine")
    assert not run.exists()


def test_a_memory_that_cannot_be_taken_up_names_the_scheme(run: Path, tmp_path: Path) -> None:
    code = """\
    def memory(self):
        return {"seen": 1}
    def remember(self, memory):
        memory["sean"]
"""
    plugging.install(tmp_path, code)
    study = studies.write(tmp_path, scheme="mine")
    assert call("run", study, "--rounds=1", "--out", str(run)).exit_code == 0
    done = call("run", study, "--resume", "--out", str(run))
    assert done.exit_code == 1
    assert "scheme mine, restoring its memory before round 1: KeyError: 'sean'" in done.stderr
    assert analysis.load(run).rounds["round"].tolist() == [0]


def test_a_module_that_exits_is_an_error_of_the_study(run: Path, tmp_path: Path) -> None:
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(0)\n")
    for key in ({"scheme": "mine"}, {"scenario": "leaving:build"}):
        if "scheme" in key:
            plugging.install(tmp_path, "    sys.exit(0)\n")
        done = call("validate", studies.write(tmp_path, **key))
        assert done.exit_code == 2
        assert "SystemExit: 0 (" in done.stderr
