"""Paths that are not UTF-8: a study file may have one; a directory of results is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3.cli.app import app

ODD = os.fsdecode(b"od\xff")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture
def study(tmp_path: Path) -> str:
    """The tiny study in a folder whose name is not UTF-8."""
    folder = tmp_path / ODD
    folder.mkdir()
    return studies.write(folder, rounds=1)


@pytest.mark.parametrize("command", ["run", "compare"])
def test_results_go_to_no_such_place_and_it_says_so(
    command: str, study: str, tmp_path: Path
) -> None:
    done = call(command, study, "--out", str(tmp_path / f"out{ODD}"))
    assert done.exit_code == 2
    assert "expected a path in UTF-8" in done.stderr
    assert not (tmp_path / f"out{ODD}").exists()


def test_a_study_file_may_have_such_a_path(study: str, tmp_path: Path) -> None:
    done = call("compare", study, "--schemes=pipeline", "--seeds=0", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "out" / "comparison.md").exists()
    cell = tmp_path / "out" / "cells" / "pipeline-seed0"
    for arguments in (["--pcap", str(tmp_path / ODD)], []):
        again = call("replay", str(cell), "--round=0", *arguments)
        assert again.exit_code == (2 if arguments else 0)
        assert ("expected a path in UTF-8" in again.stderr) == bool(arguments)
    renamed = cell.rename(tmp_path / f"run{ODD}")
    assert "expected a path in UTF-8" in call("replay", str(renamed), "--round=0").stderr
