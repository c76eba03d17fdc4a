"""Runs that other code began are resumed only on request, and the manifest records it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3 import Study, StudyError
from collapipe_ns3.campaign import workers
from collapipe_ns3.cli.app import app
from collapipe_ns3.run import code_identity


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def change_code(monkeypatch: pytest.MonkeyPatch, torch: str) -> None:
    versions = {**code_identity.of_plug_ins({}).versions, "torch": torch}
    monkeypatch.setattr(code_identity, "_versions", lambda libraries: versions)


def manifest(place: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((place / "manifest.json").read_text())
    return read


def test_a_run_is_resumed_by_the_same_code_or_by_another_that_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, study = tmp_path / "run", studies.write(tmp_path)
    change_code(monkeypatch, "1.0")
    Study.load(study).run(out=place)
    code = manifest(place)["code"]
    change_code(monkeypatch, "2.0")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    resume = ["run", study, "--rounds", "3", "--out", str(place), "--resume"]
    refused = call(*resume)
    assert refused.exit_code == 2
    message = " ".join(refused.stderr.split())
    assert "its rounds were made by other code than the present: torch 1.0 → 2.0" in message
    assert "--other-code continues with the present code, and the manifest records it" in message
    assert {path: path.read_bytes() for path in before} == before

    taken = call(*resume, "--other-code")
    assert taken.exit_code == 0, taken.stderr
    now = manifest(place)
    assert now["code"] == code
    (later,) = now["other_code"]
    assert (later["from_round"], later["code"]["versions"]["torch"]) == (2, "2.0")

    resume[resume.index("3")] = "4"
    assert call(*resume).exit_code == 0  # the code that made the last round
    assert manifest(place)["other_code"] == now["other_code"]
    assert pd.read_parquet(place / "rounds")["round"].tolist() == [0, 1, 2, 3]

    for number, changed in ((1, ["torch 1.0 → 2.0"]), (2, [])):
        again = call("replay", str(place), "--round", str(number), "--json")
        assert json.loads(again.stdout)["other_code"] == changed
    replayed = call("replay", str(place), "--round", "1")
    assert replayed.exit_code == 0
    assert "other code than the round was made by: torch 1.0 → 2.0" in replayed.stdout


def test_a_finished_run_of_other_code_is_not_shown_as_if_it_were_of_this(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(studies.config(rounds=1))
    study.run(out=tmp_path / "run")
    change_code(monkeypatch, "2.0")
    with pytest.raises(StudyError, match="made by other code than the present"):
        study.run(out=tmp_path / "run", resume=True)
    study.run(out=tmp_path / "run", resume=True, other_code=True)


def test_other_code_is_an_option_of_resuming(tmp_path: Path) -> None:
    done = call("run", studies.write(tmp_path), "--other-code", "--out", str(tmp_path / "run"))
    assert done.exit_code == 2
    assert "--other-code: expected only with --resume" in " ".join(done.stderr.split())


class _Stopped(Exception):
    pass


def test_a_run_that_other_code_began_continues_where_stale_ones_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, place = Study(studies.config()).to_yaml(), tmp_path / "cell"

    def stop() -> None:
        raise _Stopped

    with pytest.raises(_Stopped):
        workers.execute(study, place, stop)
    change_code(monkeypatch, "2.0")
    with pytest.raises(StudyError, match="made by other code"):
        workers.execute(study, place)
    workers.execute(study, place, other_code=True)
    assert pd.read_parquet(place / "rounds")["round"].tolist() == [0, 1]
    (later,) = manifest(place)["other_code"]
    assert later["from_round"] == 1
