"""The command `trace`: its file, its rounds, and what it answers to mistakes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from synthetic_runs import write_campaign, write_run
from typer.testing import CliRunner, Result

import analysis
from analysis.chrome_trace import chrome_trace
from collapipe_ns3.cli.app import app


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["trace", *arguments], env={"COLUMNS": "80"})


@pytest.fixture
def run(tmp_path: Path) -> str:
    transfers = [{"round": number, "start_s": float(number)} for number in range(4)]
    return str(write_run(tmp_path / "run", rounds=4, transfers=transfers))


def test_the_file_has_the_rounds_asked_for(run: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    for text, rounds in [("2", [2]), ("0-2", [0, 1, 2]), ("3,1", [1, 3]), ("0-1,3", [0, 1, 3])]:
        done = call(run, "--round", text, "-o", str(file))
        assert done.exit_code == 0, done.stderr
        assert str(file) in done.stdout
        assert file.read_bytes() == chrome_trace(analysis.load(run), rounds)
    printed = json.loads(call(run, "--round", "3,1", "-o", str(file), "--json").stdout)
    assert printed == {"ok": True, "file": str(file), "rounds": [1, 3]}


def test_a_file_that_ends_in_gz_is_compressed_with_the_same_bytes_each_time(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, one, other = (tmp_path / name for name in ("t.json", "one.json.gz", "other.json.gz"))
    call(run, "--round", "1", "-o", str(plain))
    call(run, "--round", "1", "-o", str(one))
    monkeypatch.setattr("time.time", lambda: 1e9)
    call(run, "--round", "1", "-o", str(other))
    assert gzip.decompress(one.read_bytes()) == plain.read_bytes()
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["RUN", "--round", "4", "-o", "t.json"], "no round 4; its rounds are 0 to 3"),
        (["RUN", "--round", "2-9", "-o", "t.json"], "no round 4; its rounds are 0 to 3"),
        (["RUN", "--round", "0-999999999", "-o", "t.json"], "so the nearest is 3"),
        (["RUN", "--round", "two", "-o", "t.json"], "rounds as in 3, 0-4 or 1,5, not 'two'"),
        (["RUN", "--round", "3-1", "-o", "t.json"], "the smaller number first"),
        (["RUN", "--round", "-1", "-o", "t.json"], "not '-1'"),
        (["RUN", "-o", "t.json"], "--round"),
        (["RUN", "--round", "1"], "-o"),
        (["RUN", "--round", "1", "-o", "."], ". is a directory; expected a file"),
        (["RUN", "--round", "1", "-o", "no/t.json"], "the directory no does not exist"),
        (["no", "--round", "1", "-o", "t.json"], "there is no such directory"),
        (["CAMPAIGN", "--round", "1", "-o", "t.json"], "expected one run, not the 2"),
    ],
)
def test_a_mistake_is_answered_and_no_file_is_written(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "campaign" / "cells" / name)
    places = {"RUN": run, "CAMPAIGN": str(write_campaign(tmp_path / "campaign", ["a", "b"]))}
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    given = [places.get(each, each) for each in arguments]
    done = call(*given)
    assert done.exit_code == 2, done.stdout
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert list(Path().iterdir()) == []
    assert json.loads(call(*given, "--json").stdout)["ok"] is False
