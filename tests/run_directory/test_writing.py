"""Runs can be resumed after a kill, a loss of power or a full disk at any point."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from crash import Recorder, after_a_crash

from run_directory.digests import Digests, sha256
from run_directory.whole import TABLES, NotWhole, examine, is_begun, rounds_done, task_file
from run_directory.writing import InUse, RunDirectory

ROUNDS = 3


def describe(directory: RunDirectory) -> None:
    files = {"tokenizer.json": b"words " * 9, "labels.txt": b"labels"}
    directory.describe("name: tiny\n", {"seed": 7}, files)


def add(directory: RunDirectory, number: int) -> None:
    tables = {name: f"{name} {number} ".encode() * 9 for name in TABLES}
    directory.add(tables, f'{{"round": {number}}}', f"state {number}".encode())


def go_on(path: Path, until: int = ROUNDS) -> None:
    """Adds rounds after those in the directory, as a study does."""
    with RunDirectory(path) as directory:
        begin = 0
        if is_begun(path):
            checkpoint = directory.resume(examine(path))
            begin = int(checkpoint.read_text().split()[1]) + 1 if checkpoint else 0
        describe(directory)
        for number in range(begin, until):
            add(directory, number)


def files(path: Path) -> dict[str, bytes]:
    found = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in found.items() if name != ".lock"}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recorder, list[int]]:
    """The steps of a run on disk, and their number at the end of each round."""
    recorder, ends = Recorder(tmp_path / "run", monkeypatch), []
    with RunDirectory(tmp_path / "run") as directory:
        describe(directory)
        for number in range(ROUNDS):
            add(directory, number)
            ends.append(len(recorder.steps))
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return recorder, ends


@pytest.mark.parametrize("lost", [None, 1, 2], ids=["killed", "power-1", "power-2"])
def test_after_a_crash_at_any_step_a_run_continues_to_the_same_files(
    recorded: tuple[Recorder, list[int]], tmp_path: Path, lost: int | None
) -> None:
    recorder, ends = recorded
    root, whole = tmp_path / "run", files(tmp_path / "run")
    assert len(recorder.steps) > 100
    for count in range(len(recorder.steps) + 1):
        target = tmp_path / f"crash-{count}"
        steps = recorder.steps[:count]
        after_a_crash(steps, root, target, None if lost is None else Random(1000 * lost + count))
        ended = sum(end <= count for end in ends)
        there = examine(target).rounds if is_begun(target) else 0
        assert ended <= there <= ended + 1, count
        go_on(target)
        assert files(target) == whole, count


def test_study_manifest_and_files_of_the_task_change_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    with monkeypatch.context() as patch:
        recorder = Recorder(root, patch)
        go_on(root, 1)
        begun = len(recorder.steps)
        with RunDirectory(root) as directory:
            directory.resume(examine(root))
            directory.describe("name: longer\n", {"seed": 8}, {"tokenizer.json": b"others"})
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    seen = set()
    for count in range(begun, len(recorder.steps) + 1):
        target = tmp_path / f"crash-{count}"
        after_a_crash(recorder.steps[:count], root, target, Random(count))
        there = examine(target)
        with RunDirectory(target) as directory:
            directory.resume(there)
        assert examine(target) == there
        words = task_file(target, "tokenizer.json").read_bytes()[:5]
        seen.add((there.study, there.manifest["seed"], words))
        go_on(target)
        assert examine(target).rounds == ROUNDS
    assert seen == {("name: tiny\n", 7, b"words"), ("name: longer\n", 8, b"other")}


@pytest.mark.parametrize("full_at", range(0, 60, 3))
def test_a_full_disk_leaves_a_run_that_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: int
) -> None:
    go_on(tmp_path / "whole")
    real, left = os.write, [60 * full_at]

    def write(descriptor: int, data: Any) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(descriptor, data[: left[0]])
        left[0] -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            go_on(tmp_path / "run")
    if rounds_done(tmp_path / "run"):
        assert examine(tmp_path / "run").rounds == rounds_done(tmp_path / "run") < ROUNDS
    go_on(tmp_path / "run")
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_lost_or_changed_file_of_the_task_is_reported(tmp_path: Path) -> None:
    go_on(tmp_path, 1)
    task_file(tmp_path, "labels.txt").write_bytes(b"others")
    task_file(tmp_path, "tokenizer.json").unlink()
    with pytest.raises(
        NotWhole, match=r"task/tokenizer\.json: is missing\n.*task/labels\.txt: was"
    ):
        examine(tmp_path)


def test_a_directory_of_the_format_without_files_of_the_task_is_read(tmp_path: Path) -> None:
    digests = json.loads(Digests("a", "b").to_bytes())
    del digests["sha256"], digests["task_files"]
    digests["format"] = 2
    digests["sha256"] = sha256(json.dumps(digests, sort_keys=True).encode())
    assert Digests.from_bytes(json.dumps(digests).encode()) == Digests("a", "b")


def test_an_earlier_checkpoint_is_resumed_from(tmp_path: Path) -> None:
    go_on(tmp_path / "whole")
    go_on(tmp_path / "run", 1)
    earlier = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    go_on(tmp_path / "run")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(earlier)
    with RunDirectory(tmp_path / "run") as directory:
        directory.resume(examine(tmp_path / "run"))
    assert rounds_done(tmp_path / "run") == 1
    go_on(tmp_path / "run")
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_checkpoint_that_was_deleted_on_purpose_is_not_a_lost_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run"
    go_on(path)
    with RunDirectory(path) as directory:
        directory.delete_checkpoint(examine(path))
    assert not (path / "checkpoint.pt").exists()
    there = examine(path)
    assert (there.is_closed, there.rounds) == (True, ROUNDS)
    with pytest.raises(NotWhole, match="deleted when the run had ended"):
        go_on(path, ROUNDS + 1)
    go_on(tmp_path / "other")
    (tmp_path / "other" / "checkpoint.pt").unlink()
    assert not examine(tmp_path / "other").is_closed
    with pytest.raises(NotWhole, match=r"checkpoint\.pt: is missing"):
        go_on(tmp_path / "other", ROUNDS + 1)


def test_a_directory_is_one_processes_at_a_time(tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path / "run") as directory,
        pytest.raises(InUse, match="another process"),
    ):
        RunDirectory(directory.path)
