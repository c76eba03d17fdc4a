"""The option `--tensorboard` and the command: what is written, when, and what is answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import studies
from synthetic_runs import write_campaign, write_run
from typer.testing import CliRunner, Result

import analysis
from collapipe_ns3.cli.app import app
from collapipe_ns3.cli.tensorboard import EventFiles
from collapipe_ns3.problems import StudyError
from run_directory.whole import rounds_done

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from analysis.tensorboard_events import EVENT_FILE, LiveEvents


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture
def study(tmp_path: Path) -> str:
    return studies.write(tmp_path)


def losses(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(each.step, each.wall_time) for each in events.Scalars("training/loss")]


def expected(run: Path) -> list[tuple[int, float]]:
    rounds = analysis.load(run).rounds
    return list(zip(rounds["round"].tolist(), rounds["end_s"].tolist(), strict=True))


def test_a_run_writes_each_round_when_it_is_finished(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, seen = LiveEvents.update, []

    def observed(events: LiveEvents) -> None:
        update(events)
        seen.append([step for step, _ in losses(events.folder)])

    monkeypatch.setattr(LiveEvents, "update", observed)
    place, board = tmp_path / "run", tmp_path / "board"
    done = call("run", study, "--out", str(place), "--tensorboard", str(board))
    assert done.exit_code == 0, done.stderr
    assert f"tensorboard --logdir {board}" in " ".join(done.stdout.split())
    assert seen == [[0], [0, 1], [0, 1]]
    assert losses(board / "run") == expected(place)


def test_a_run_that_is_resumed_has_each_round_once_with_the_bytes_of_an_unbroken_one(
    study: str, tmp_path: Path
) -> None:
    whole, broken, board = tmp_path / "whole", tmp_path / "broken", str(tmp_path / "board")
    assert call("run", study, "--out", str(whole), "--tensorboard", board).exit_code == 0
    started = ["run", study, "--out", str(broken), "--tensorboard", board]
    assert call(*started, "--rounds", "1").exit_code == 0
    file = tmp_path / "board" / "broken" / EVENT_FILE
    file.write_bytes(file.read_bytes()[:-5])  # as if it had been killed while it wrote
    assert call(*started, "--resume").exit_code == 0
    assert losses(file.parent) == expected(broken)
    assert file.read_bytes() == (tmp_path / "board" / "whole" / EVENT_FILE).read_bytes()
    file.unlink()
    assert call(*started, "--resume").exit_code == 0  # nothing is left to run
    assert losses(file.parent) == expected(broken)


def test_a_board_that_can_not_be_written_stops_no_run(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(events: LiveEvents) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LiveEvents, "update", fails)
    place = tmp_path / "run"
    done = call("run", study, "--out", str(place), "--tensorboard", str(tmp_path / "board"))
    assert done.exit_code == 0
    assert done.stderr.count("No space left on device") == 1
    assert rounds_done(place) == 2


def test_a_folder_that_can_not_be_made_is_reported_before_the_run(
    study: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    board = str(tmp_path / "file" / "board")
    done = call("run", study, "--out", str(tmp_path / "run"), "--tensorboard", board)
    assert done.exit_code == 2
    assert "--tensorboard" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["run", "compare", "tensorboard"])
def test_without_the_extra_the_answer_is_how_to_install_it(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    place, board = str(tmp_path / "run"), str(tmp_path / "board")
    options = ["--out", place] + ["--tensorboard", board] * (command != "tensorboard")
    done = call(command, study, *options, "--json")
    assert done.exit_code == 2
    [problem] = json.loads(done.stdout)["problems"]
    assert "pip install 'collapipe-ns3[tensorboard]'" in problem["message"]
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "board").exists()


@pytest.mark.slow
def test_a_campaign_has_a_folder_for_each_run(study: str, tmp_path: Path) -> None:
    campaign, board, later = tmp_path / "both", tmp_path / "board", tmp_path / "later"
    compared = ["compare", study, "--schemes", "pipeline", "--seeds", "0-1", "--jobs", "2"]
    compared += ["--out", str(campaign), "--tensorboard"]
    assert call(*compared, str(board)).exit_code == 0
    names = ["pipeline-seed0", "pipeline-seed1"]
    assert sorted(each.name for each in (board / "both").iterdir()) == names
    for name in names:
        assert losses(board / "both" / name) == expected(campaign / "cells" / name)
    assert call(*compared, str(later)).exit_code == 0  # all runs are already there
    assert call("tensorboard", str(campaign), "--out", str(tmp_path / "read")).exit_code == 0
    for name in names:
        written = (board / "both" / name / EVENT_FILE).read_bytes()
        assert (later / "both" / name / EVENT_FILE).read_bytes() == written
        assert (tmp_path / "read" / "both" / name / EVENT_FILE).read_bytes() == written


def test_the_command_writes_runs_that_exist(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "campaign" / "cells" / name, rounds=2)
    write_campaign(tmp_path / "campaign", ["a", "b"])
    single, out = write_run(tmp_path / "single", rounds=3), tmp_path / "out"
    done = call("tensorboard", str(single), str(tmp_path / "campaign"), "--out", str(out), "--json")
    folders = [out / "single", out / "campaign" / "a", out / "campaign" / "b"]
    assert json.loads(done.stdout) == {
        "ok": True,
        "directory": str(out),
        "folders": list(map(str, folders)),
    }
    assert [[step for step, _ in losses(each)] for each in folders] == [[0, 1, 2], [0, 1], [0, 1]]


def test_two_runs_for_one_folder_are_refused(tmp_path: Path) -> None:
    places = [str(write_run(tmp_path / each / "run")) for each in ("one", "other")]
    done = call("tensorboard", *places, "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert "several runs would be written to" in said
    assert "give each its own --out" in said
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"--tensorboard: .*file: is no directory"):
        EventFiles("quickstart", tmp_path / "file", [])
