"""Runs that were killed or damaged can be resumed, or an error names the file."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import studies
from typer.testing import CliRunner, Result

import analysis
from analysis.load import TABLES, NotWhole
from collapipe_ns3 import Study, StudyError, campaign
from collapipe_ns3.campaign import workers
from collapipe_ns3.cli.app import app
from collapipe_ns3.result import Result as RunResult
from collapipe_ns3.run.replay import replay
from run_directory.whole import examine, rounds_done
from run_directory.writing import RunDirectory

PER_ROUND = [f"{table}/{number:05}.parquet" for table in TABLES for number in range(2)]
FILES = ["study.yaml", "manifest.json", "digests.json", "plans.jsonl", *PER_ROUND]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = [cut, flip, None]


def damage(file: Path, how: Callable[[bytes], bytes] | None) -> None:
    if how is None:
        file.unlink()
    else:
        file.write_bytes(how(file.read_bytes()))


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.load(studies.write(tmp_path_factory.mktemp("study"), rounds=3))


@pytest.fixture(scope="module")
def begun() -> Path:
    """Two of its three rounds."""
    return studies.finished(2).directory


@pytest.fixture
def run_dir(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "run"))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_one_error_that_names_it_for_everyone(
    study: Study, run_dir: Path, name: str, how: Callable[[bytes], bytes] | None
) -> None:
    damage(run_dir / name, how)
    before = contents(run_dir)
    with pytest.raises(NotWhole) as unloaded:
        analysis.load(run_dir)
    assert [named for named, _ in unloaded.value.problems] == [name]
    with pytest.raises(NotWhole):
        _ = RunResult(run_dir).rounds
    for attempt in (lambda: study.run(out=run_dir, resume=True), lambda: replay(run_dir, 1)):
        with pytest.raises(StudyError) as caught:
            attempt()
        assert [problem.path for problem in caught.value.problems] == [str(run_dir / name)]
    assert contents(run_dir) == before


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_stops_resuming_alone(
    study: Study, run_dir: Path, how: Callable[[bytes], bytes] | None
) -> None:
    damage(run_dir / "checkpoint.pt", how)
    assert len(analysis.load(run_dir).rounds) == 2
    assert replay(run_dir, 1).different == ()
    with pytest.raises(StudyError) as caught:
        study.run(out=run_dir, resume=True)
    assert [each.path for each in caught.value.problems] == [str(run_dir / "checkpoint.pt")]


def test_the_command_line_answers_without_a_traceback(study: Study, run_dir: Path) -> None:
    (run_dir / "transfers" / "00001.parquet").unlink()
    done = call("replay", str(run_dir), "--round", "0", "--json")
    assert done.exit_code == 2
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["path"], problem["message"]) == (
        str(run_dir / "transfers" / "00001.parquet"), "is missing",
    )  # fmt: skip
    (run_dir.parent / "tiny.yaml").write_text(study.to_yaml())
    tiny = str(run_dir.parent / "tiny.yaml")
    done = call("run", tiny, "--out", str(run_dir), "--resume")
    assert done.exit_code == 2
    assert "transfers/00001.parquet: is missing" in done.stderr
    for missing in ("nothing", "run/links"):
        done = call("replay", str(run_dir.parent / missing), "--round", "0")
        assert done.exit_code == 2
        assert "no run directory" in done.stderr


def test_a_run_killed_in_its_first_round_can_be_resumed(study: Study, tmp_path: Path) -> None:
    """Killed when only the lock existed, and while the first checkpoint was written."""
    whole = studies.finished(1)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / ".lock").touch()
    for command in ({"resume": True}, {}):
        path = Path(shutil.copytree(empty, tmp_path / f"locked-{len(command)}"))
        study.run(rounds=1, out=path, **command)  # type: ignore[arg-type]  # or none
        pd.testing.assert_frame_equal(RunResult(path).transfers, whole.transfers)

    class StoppedError(Exception):
        pass

    def stop(progress: object) -> None:
        raise StoppedError

    with pytest.raises(BaseException):  # noqa: B017, PT011  # a group, or what is in it
        study.run(rounds=1, out=tmp_path / "first", on_progress=stop)
    for name in TABLES:
        (tmp_path / "first" / name).mkdir()
        (tmp_path / "first" / name / "00000.parquet").write_bytes(b"whole, but not counted")
    (tmp_path / "first" / "plans.jsonl").write_text('{"round": 0, "sch')
    (tmp_path / "first" / ".checkpoint.pt.part").write_bytes(b"half")
    with pytest.raises(analysis.NotARun, match="holds no finished round"):
        analysis.load(tmp_path / "first")
    resumed = study.run(rounds=1, out=tmp_path / "first", resume=True)
    pd.testing.assert_frame_equal(resumed.transfers, whole.transfers)
    assert {each.name for each in resumed.directory.iterdir()} == {
        each.name for each in whole.directory.iterdir()
    }


def test_a_run_never_overwrites_one_that_ended_while_it_was_prepared(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found the directory free; the one that gets the lock later checks again."""
    prepare = Study.prepare

    def prepare_slowly(self: Study, **how: Any) -> Any:
        run = prepare(self, **how)
        monkeypatch.setattr(Study, "prepare", prepare)
        study.run(rounds=1, out=tmp_path / "run")
        return run

    monkeypatch.setattr(Study, "prepare", prepare_slowly)
    with pytest.raises(StudyError, match="is not empty"):
        study.run(seed=2, rounds=1, out=tmp_path / "run")
    assert analysis.load(tmp_path / "run").manifest["seed"] == 1


def test_a_full_disk_keeps_the_rounds_before(
    study: Study, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = studies.finished(3)
    before, real = contents(run_dir), os.write

    def write(descriptor: int, content: Any) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == ".checkpoint.pt.part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(StudyError, match="No space left on device; the 2 rounds before"):
            study.run(out=run_dir, resume=True)
    after = contents(run_dir)
    assert {file for file in before if after[file] != before[file]} <= {
        run_dir / name for name in ("study.yaml", "manifest.json", "digests.json")
    }
    assert len(analysis.load(run_dir).rounds) == 2
    resumed = study.run(out=run_dir, resume=True)
    pd.testing.assert_frame_equal(resumed.transfers, whole.transfers)


def test_resuming_what_has_all_its_rounds_changes_nothing(study: Study, run_dir: Path) -> None:
    before = contents(run_dir)
    assert len(study.run(rounds=2, out=run_dir, resume=True).rounds) == 2
    assert len(study.run(rounds=1, out=run_dir, resume=True).rounds) == 2
    assert contents(run_dir) == before


@pytest.fixture
def old(run_dir: Path) -> Path:
    """Versions without digests wrote it so; the first of them had no table `pipelines`."""
    (run_dir / "digests.json").unlink()
    manifest = json.loads((run_dir / "manifest.json").read_text())
    del manifest["format"]
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(run_dir / "pipelines")
    return run_dir


def test_a_directory_without_digests_is_read_with_a_warning_and_not_resumed(
    study: Study, begun: Path, old: Path
) -> None:
    with pytest.warns(UserWarning, match="without digests"):
        run = analysis.load(old)
    pd.testing.assert_frame_equal(run.transfers, analysis.load(begun).transfers)
    assert run.pipelines.empty
    assert replay(old, 1).different == ()
    before = contents(old)
    with pytest.raises(StudyError, match="earlier version, without the digests"):
        study.run(out=old, resume=True)
    assert contents(old) == before


@pytest.mark.parametrize("name", ["study.yaml", "links/00000.parquet", "plans.jsonl"])
@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff\xfe", b"{a: b"])
def test_what_cannot_be_read_without_digests_is_named_too(
    old: Path, name: str, content: bytes
) -> None:
    (old / name).write_bytes(content)
    with pytest.raises(NotWhole) as caught:
        analysis.load(old)
    assert [named for named, _ in caught.value.problems] == [name]
    if not name.startswith("links"):  # of which replaying has no need
        with pytest.raises(StudyError, match=name.replace(".", r"\.")):
            replay(old, 1)


def test_a_damaged_run_of_a_campaign_is_refused(tmp_path: Path) -> None:
    how: dict[str, Any] = {"schemes": ["pipeline", "titanic"], "seeds": [1], "grid": {}}
    tiny, out = studies.write(tmp_path, rounds=1), tmp_path / "out"
    made = campaign.create(tiny, campaign.plan_runs(tiny, (), rounds=None, **how), out)
    for run in made.runs:
        workers.execute(run.study, made.directory_of(run))
    one, other = map(made.directory_of, made.runs)
    assert made.missing() == []
    (one / "transfers" / "00000.parquet").unlink()
    damage(other / "devices" / "00000.parquet", flip)
    before = contents(out / "cells")
    command = ["compare", tiny, "--schemes", "pipeline,titanic", "--seeds", "1"]
    done = call(*command, "--out", str(out), "--json")
    assert done.exit_code == 2, done.output
    problems = json.loads(done.stdout)["problems"]
    assert [each["path"] for each in problems] == [
        str(one / "transfers" / "00000.parquet"), str(other / "devices" / "00000.parquet"), "",
    ]  # fmt: skip
    assert "remove the directories of these runs" in problems[-1]["message"]
    assert contents(out / "cells") == before
    shutil.rmtree(one)
    with pytest.raises(StudyError, match=r"titanic-seed1/devices/00000\.parquet"):
        made.missing()
    shutil.rmtree(other)
    assert made.missing() == list(made.runs)


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}"])
def test_a_damaged_campaign_file_is_named(tmp_path: Path, content: bytes) -> None:
    how: dict[str, Any] = {"schemes": ["pipeline"], "seeds": [1], "grid": {}, "rounds": None}
    tiny, out = studies.write(tmp_path), tmp_path / "out"
    runs = campaign.plan_runs(tiny, (), **how)
    out.mkdir()
    (out / ".campaign.json.part").write_bytes(b"{")  # of a process that was killed
    campaign.create(tiny, runs, out)
    campaign.create(tiny, runs, out)
    (out / "campaign.json").write_bytes(content)
    with pytest.raises(StudyError, match=r"its campaign\.json was changed or damaged"):
        campaign.create(tiny, runs, out)
    (out / "campaign.json").unlink()
    (out / "cells").mkdir()
    with pytest.raises(StudyError, match=r"holds no campaign\.json"):
        campaign.create(tiny, runs, out)


def test_a_killed_run_is_resumed_wherever_it_was(tmp_path: Path) -> None:
    how: dict[str, Any] = {"schemes": ["pipeline"], "seeds": [1], "grid": {}, "rounds": None}
    tiny = studies.write(tmp_path, rounds=1)
    made = campaign.create(tiny, campaign.plan_runs(tiny, (), **how), tmp_path / "out")
    (run,) = made.runs
    made.directory_of(run).mkdir(parents=True)
    (made.directory_of(run) / ".lock").touch()
    (made.directory_of(run) / ".study.yaml.part").write_bytes(b"ha")
    workers.execute(run.study, made.directory_of(run))
    assert made.missing() == []
    assert rounds_done(made.directory_of(run)) == 1
    workers.execute(run.study, made.directory_of(run))  # its checkpoint is no more


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_run_that_was_killed_as_it_deleted_its_checkpoint_deletes_it(
    tmp_path: Path, is_closed: bool
) -> None:
    how: dict[str, Any] = {"schemes": ["pipeline"], "seeds": [1], "grid": {}, "rounds": None}
    tiny = studies.write(tmp_path, rounds=1)
    made = campaign.create(tiny, campaign.plan_runs(tiny, (), **how), tmp_path / "out")
    (run,) = made.runs
    place = made.directory_of(run)
    Study.from_yaml(run.study).run(out=place)
    checkpoint = (place / "checkpoint.pt").read_bytes()
    if is_closed:
        with RunDirectory(place) as directory:
            directory.delete_checkpoint(examine(place))
        (place / "checkpoint.pt").write_bytes(checkpoint)
    (place / ".digests.json.part").write_bytes(b"{")
    assert made.missing() == [run]
    transfers = (place / "transfers" / "00000.parquet").stat().st_mtime_ns
    workers.execute(run.study, place)
    assert made.missing() == []
    assert not list(place.glob("*checkpoint*"))
    assert (place / "transfers" / "00000.parquet").stat().st_mtime_ns == transfers


def test_a_run_with_a_schedule_is_resumed_with_its_number_of_rounds(tmp_path: Path) -> None:
    """With others, the learning rates of the rounds that it has would have been different."""
    training = {**studies.TINY["training"], "schedule": "linear"}
    study = Study.load(studies.write(tmp_path, training=training, rounds=1))
    place = tmp_path / "run"
    study.run(out=place)
    with pytest.raises(StudyError, match="scheduled for 1 rounds; resume it with those"):
        study.run(rounds=2, out=place, resume=True)
    assert len(study.run(out=place, resume=True).rounds) == 1
