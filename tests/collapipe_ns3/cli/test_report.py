"""The command `report`: where its page is written, and what it answers to mistakes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from synthetic_runs import write_campaign, write_run
from typer.testing import CliRunner, Result

import analysis
from analysis.report.page import page
from collapipe_ns3.cli.app import app


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": "80"})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", rounds=4)


def test_the_page_is_written_into_the_directory_that_it_is_about(run: Path) -> None:
    done = call(run)
    assert done.exit_code == 0, done.stderr
    assert "report.html" in done.stdout
    assert (run / "report.html").read_text() == page(analysis.load(run)).html


def test_it_says_what_it_wrote_and_left_out(run: Path, tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "campaign", ["there", "lost"])
    write_run(campaign / "cells" / "there")
    done = call(campaign, run, "--out", tmp_path / "a" / "b", "--json")
    assert done.exit_code == 0, done.stderr
    facts, path = json.loads(done.stdout), tmp_path / "a" / "b" / "report.html"
    assert facts["path"] == str(path)
    assert facts["bytes"] == path.stat().st_size
    assert len(facts["runs"]) == 2
    assert any("lost" in line for line in facts["left_out"])
    assert "lost" in path.read_text()
    assert done.stderr.count("cells/lost") == 1, "loading warns of it"


def test_every_round_has_a_timeline_where_all_are_asked_for(run: Path) -> None:
    sizes = []
    for rounds in ("some", "all"):
        assert call(run, "--rounds", rounds).exit_code == 0
        sizes.append((run / "report.html").read_text().count('{"run":"run","round":'))
    assert sizes == [2, 4]


def test_mistakes_are_answered_with_exit_code_2(tmp_path: Path, run: Path) -> None:
    nothing = call(tmp_path / "nowhere")
    assert nothing.exit_code == 2
    assert "no run directory" in nothing.stderr
    (tmp_path / "file").write_text("")
    blocked = call(run, "--out", tmp_path / "file")
    assert "is no directory" in blocked.stderr
    assert blocked.exit_code == 2
    assert "--out" in blocked.stderr
    assert "Traceback" not in blocked.stderr


def test_without_the_extra_it_says_how_to_install_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> object:
        return None if name == "bokeh" else find_spec(name)

    monkeypatch.setattr("importlib.util.find_spec", find)
    done = call(run)
    assert done.exit_code == 2
    assert "needs bokeh: pip install 'collapipe-ns3[report]'" in done.stderr
    assert not (run / "report.html").exists()
