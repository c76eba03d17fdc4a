"""Writes a run directory round by round, so that a run can be resumed whatever happens.

The steps of adding a round have a fixed order, and each is on disk before the next: its tables; its
line in `plans.jsonl`; its checkpoint under a temporary name; `digests.json`, after which the round
counts; the renaming of the checkpoint. Study, manifest and task files change in the same way.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from run_directory.digests import FORMAT, Digests, RoundDigests, sha256
from run_directory.files import (
    append,
    make_folder,
    part_of,
    place_parts,
    replace,
    sync_folder,
    write_parts,
)
from run_directory.whole import (
    CHECKPOINT,
    DIGESTS,
    MANIFEST,
    MEDIA,
    PLANS,
    STUDY,
    TABLES,
    TASK_FOLDER,
    WholeRun,
    checkpoint_of,
    table_file,
    task_file,
)

LOCK = ".lock"


class InUse(OSError):
    """Another process is writing this run directory."""


class RunDirectory:
    """Writes the files of a run, locked for this process. Use as a context manager.

    Raises `OSError` where the directory can't be created or written, and `InUse` where another
    process holds the lock; with `wait` it waits for that process. After an `OSError` of any method
    the directory holds what it held before, and a new `RunDirectory` can continue it.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self.path = path
        self._digests = Digests("", "")
        self._plans_bytes = 0
        make_folder(path)
        self._lock = (path / LOCK).open("w")  # the kernel releases it when the process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            self._lock.close()
            raise InUse(errno.EBUSY, "another process is writing a run there") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    def describe(
        self,
        study: str,
        manifest: Mapping[str, Any],
        task_files: Mapping[str, bytes] | None = None,
        media: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Writes the study (YAML), the manifest, the task's files by their names, and the media.

        It is called at the beginning of a run, and when any of them changes.
        """
        text = json.dumps({"format": FORMAT, **manifest}, indent=2) + "\n"
        of_media = (json.dumps(list(media)) + "\n").encode()
        of_task = dict(task_files or {})
        files = {
            self.path / STUDY: study.encode(),
            self.path / MANIFEST: text.encode(),
            self.path / MEDIA: of_media,
            **{task_file(self.path, name): content for name, content in of_task.items()},
        }
        if of_task:
            make_folder(self.path / TASK_FOLDER)
        write_parts(files)
        if of_task:
            sync_folder(self.path / TASK_FOLDER)
        digests = Digests(
            sha256(study.encode()),
            sha256(text.encode()),
            self._digests.rounds,
            task_files={name: sha256(content) for name, content in of_task.items()},
            media=sha256(of_media),
        )
        self._commit(digests, files)

    def add(self, tables: Mapping[str, bytes], plan: str, checkpoint: bytes) -> None:
        """Adds a round: its file of each table, its plan as a line of JSON, its checkpoint."""
        number = len(self._digests.rounds)
        files = {self.path / table_file(name, number): file for name, file in tables.items()}
        line = f"{plan}\n".encode()
        for file in files:
            make_folder(file.parent)
        write_parts({**files, self._checkpoint: checkpoint})
        place_parts(files)
        append(self.path / PLANS, self._plans_bytes, line)
        of_tables = {name: sha256(file) for name, file in tables.items()}
        added = RoundDigests(sha256(line), of_tables, sha256(checkpoint))
        rounds = (*self._digests.rounds, added)
        self._commit(dataclasses.replace(self._digests, rounds=rounds), [self._checkpoint])
        self._plans_bytes += len(line)

    def resume(self, run: WholeRun) -> Path | None:
        """Continues a run that was checked; the checkpoint to continue from, None before any round.

        Steps that a killed process had begun are completed or undone. Raises `NotWhole` where the
        checkpoint is missing or damaged.
        """
        assert run.digests is not None, "a run without digests can't be changed"
        rounds, checkpoint = checkpoint_of(run) if run.rounds else (0, None)
        sizes = [len(line) for line in self._plan_lines(rounds)]
        self._plans_bytes = sum(sizes)
        self._digests = dataclasses.replace(
            run.digests, rounds=run.digests.rounds[:rounds], checkpoint_deleted=False
        )
        if self._digests != run.digests:
            self._commit(self._digests, [])
        if checkpoint == part_of(self._checkpoint):
            place_parts([self._checkpoint])
        self._place_described()
        self._delete_leftovers()
        return self._checkpoint if checkpoint else None

    def delete_checkpoint(self, run: WholeRun) -> None:
        """Deletes the checkpoint of a finished run, to which no round will be added."""
        assert run.digests is not None, "a run without digests can't be changed"
        self._commit(dataclasses.replace(run.digests, checkpoint_deleted=True), [])
        for path in (self._checkpoint, part_of(self._checkpoint)):
            path.unlink(missing_ok=True)

    @property
    def _checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    def _plan_lines(self, rounds: int) -> list[bytes]:
        if not rounds:
            return []
        with (self.path / PLANS).open("rb") as plans:
            return plans.readlines()[:rounds]

    def _commit(self, digests: Digests, files: Iterable[Path]) -> None:
        """Writes these digests, then renames the files that have temporary names."""
        sync_folder(self.path)
        replace(self.path / DIGESTS, digests.to_bytes())
        self._digests = digests
        place_parts(files)

    def _place_described(self) -> None:
        """Renames study, manifest, media and files of the task from their temporary names.

        Only those files are renamed that the digests list.
        """
        of_task = self._digests.task_files.items()
        kept = {
            self.path / STUDY: self._digests.study,
            self.path / MANIFEST: self._digests.manifest,
            self.path / MEDIA: self._digests.media,
            **{task_file(self.path, name): digest for name, digest in of_task},
        }
        for path, digest in kept.items():
            part = part_of(path)
            if part.exists() and sha256(part.read_bytes()) == digest:
                place_parts([path])

    def _delete_leftovers(self) -> None:
        """Deletes the files of rounds that are not listed, and partly written files."""
        rounds = range(len(self._digests.rounds))
        kept = {self.path / table_file(table, n) for table in TABLES for n in rounds}
        folders = [self.path, *(self.path / name for name in (*TABLES, TASK_FOLDER))]
        parts = [part for folder in folders for part in folder.glob(".*.part")]
        files = [file for table in TABLES for file in (self.path / table).glob("*.parquet")]
        for path in {*parts, *files} - kept:
            path.unlink()
        if (self.path / PLANS).exists():
            append(self.path / PLANS, self._plans_bytes, b"")
