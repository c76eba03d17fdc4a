"""Checks a run directory: whether its files are all there, and as they were written.

Resuming, replaying, comparing and loading all begin with `examine`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_directory.digests import BadDigestsError, Digests, sha256
from run_directory.files import part_of

TABLES = (
    "rounds",
    "computes",
    "transfers",
    "links",
    "pipelines",
    "devices",
    "encodings",
    "nodes",
    "handovers",
)

#: The tables that all versions without digests wrote.
_FIRST_TABLES = ("rounds", "computes", "transfers", "links", "devices")

STUDY = "study.yaml"
MANIFEST = "manifest.json"
MEDIA = "media.json"
PLANS = "plans.jsonl"
CHECKPOINT = "checkpoint.pt"
DIGESTS = "digests.json"

#: The folder with files of the task, and the names that these may have.
TASK_FOLDER = "task"
TASK_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_MISSING = "is missing"
_CHANGED = f"was changed or damaged after it was written: {DIGESTS} has another SHA-256"
_UNREADABLE = "was changed or damaged after it was checked"


class NotARun(ValueError):
    """A path that is not a run directory, or has no finished round where one is needed."""


class NotWhole(ValueError):
    """A run directory with files that are missing, damaged or unreadable.

    `problems` has the name of each such file within `directory`, and a description of the problem.
    """

    def __init__(self, directory: Path, problems: Iterable[tuple[str, str]]) -> None:
        self.directory = directory
        self.problems = tuple(problems)
        lines = (f"{name}: {what}" for name, what in self.problems)
        super().__init__("\n  ".join([f"run directory {directory} is not whole:", *lines]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.directory, self.problems)


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run directory in which every file of every round is as it was written.

    `digests` is None where an earlier version wrote the directory without them; then only the
    number of files and plans was checked. `media` is the content of `media.json`, empty where an
    earlier version wrote none. `rounds` is the number of rounds, which are numbered from 0, and
    `plans_bytes` the size of their plans.
    """

    directory: Path
    digests: Digests | None
    study: str
    manifest: Mapping[str, Any]
    media: Sequence[Mapping[str, Any]]
    rounds: int
    plans_bytes: int

    @property
    def plans(self) -> list[dict[str, Any]]:
        """The plan of each round, read from the file each time, as all plans may be large.

        Raises `NotWhole` where the file has changed so much that it can't be read any more.
        """
        try:
            with (self.directory / PLANS).open("rb") as file:
                lines = file.read(self.plans_bytes).splitlines()
            return [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError):
            raise NotWhole(self.directory, [(PLANS, _UNREADABLE)]) from None

    @property
    def is_closed(self) -> bool:
        """Whether its checkpoint was deleted on purpose, so that no round can be added."""
        return self.digests is not None and self.digests.checkpoint_deleted

    def table(self, name: str) -> list[Path]:
        """A table's file of each round; none where an earlier version had no such table."""
        if self.digests is None:
            files = [self.directory / table_file(name, number) for number in range(self.rounds)]
            return [file for file in files if file.exists()]
        listed = enumerate(self.digests.rounds)
        return [self.directory / table_file(name, n) for n, each in listed if name in each.tables]


@dataclass(frozen=True, slots=True)
class RunHead:
    """The study and manifest of a run, and its number of rounds, whose files were not checked."""

    study: str
    manifest: Mapping[str, Any]
    rounds: int


def table_file(table: str, number: int) -> str:
    """The name of a table's file of one round, relative to the run directory."""
    return f"{table}/{number:05}.parquet"


def task_file(directory: Path, name: str) -> Path:
    """The path of a file of the task, such as its tokenizer."""
    return directory / TASK_FOLDER / name


def is_begun(directory: Path) -> bool:
    """Whether a run was begun in this directory, possibly without any round yet."""
    return any((directory / name).exists() for name in (DIGESTS, STUDY, PLANS))


def rounds_done(directory: Path) -> int:
    """The number of rounds that a run directory lists, without a check of their files."""
    try:
        return len(Digests.from_bytes((directory / DIGESTS).read_bytes()).rounds)
    except (OSError, BadDigestsError):
        return 0


def head(directory: Path) -> RunHead:
    """The study, manifest and number of rounds of a run, without a check of its rounds.

    Raises `NotARun`, and `NotWhole` where study or manifest is missing or damaged.
    """
    checker, study, manifest, digests = _begin(directory)
    if checker.problems:
        raise NotWhole(directory, checker.problems)
    written = (directory / "rounds").glob("[0-9]*.parquet")
    rounds = len(digests.rounds if digests else list(written))
    return RunHead(study.decode(errors="replace"), manifest, rounds)


def examine(directory: Path) -> WholeRun:
    """The run in this directory, after all its files but the checkpoint were checked.

    Each file must have its listed digest. Files of a round that was being written when the process
    ended are ignored. Raises `NotARun`, and `NotWhole` with everything that is missing or damaged.
    """
    checker, study, manifest, digests = _begin(directory)
    media = checker.media(digests.media if digests else None)
    if digests is None:
        if "format" in manifest:  # in every manifest since digests were introduced
            checker.problems.insert(0, (DIGESTS, _MISSING))
        lines = checker.plans_without_digests()
    else:
        lines = checker.plans([each.plan for each in digests.rounds])
        for number, listed in enumerate(digests.rounds):
            for table, digest in listed.tables.items():
                checker.file(table_file(table, number), digest)
    if checker.problems:
        raise NotWhole(directory, checker.problems)
    try:
        text = study.decode()
    except UnicodeDecodeError:
        raise NotWhole(directory, [(STUDY, "is not UTF-8")]) from None
    size = sum(map(len, lines))
    return WholeRun(directory, digests, text, manifest, media, len(lines), size)


def _begin(directory: Path) -> tuple[_Checker, bytes, Mapping[str, Any], Digests | None]:
    """A checker with the study, the manifest and the digests read; raises `NotARun`."""
    if not is_begun(directory):
        reason = "it has no study.yaml" if directory.is_dir() else "there is no such directory"
        raise NotARun(f"{directory} is no run directory: {reason}")
    checker = _Checker(directory)
    digests = checker.digests()
    study = checker.content(STUDY, digests.study if digests else None)
    manifest = checker.manifest(digests.manifest if digests else None)
    for name, digest in (digests.task_files if digests else {}).items():
        checker.content(f"{TASK_FOLDER}/{name}", digest)
    return checker, study, manifest, digests


def checkpoint_of(run: WholeRun) -> tuple[int, Path]:
    """The number of rounds before the run's checkpoint, and the checkpoint's file.

    The checkpoint may be of an earlier round, after which the later ones are computed again. It has
    its temporary name where the process was killed before it could rename the file. Raises
    `NotWhole` where no checkpoint of this run is there.
    """
    place = run.directory / CHECKPOINT
    known = {
        listed.checkpoint: number
        for number, listed in enumerate(run.digests.rounds if run.digests else (), start=1)
    }
    found = [
        (known[digest], path)
        for path in (place, part_of(place))
        if (digest := _digest(path)) in known
    ]
    if found:
        return max(found, key=lambda each: each[0])
    what = _CHANGED if place.exists() else _MISSING
    if run.is_closed:
        what = "was deleted when the run had ended, so it can't be made longer"
    raise NotWhole(run.directory, [(CHECKPOINT, what)])


class _Checker:
    """Reads the files of a directory, and collects their problems."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problems: list[tuple[str, str]] = []

    def digests(self) -> Digests | None:
        """The digests; None where there is no such file. Raises `NotWhole` where it is damaged."""
        if not (self.directory / DIGESTS).exists():
            return None
        try:
            return Digests.from_bytes(self.content(DIGESTS, None))
        except BadDigestsError as error:  # without it, nothing else can be checked
            raise NotWhole(self.directory, self.problems or [(DIGESTS, str(error))]) from None

    def content(self, name: str, digest: str | None) -> bytes:
        """A file's content; where it is missing or has another digest, empty and a problem."""
        place, what = self.directory / name, ""
        # It may still have its temporary name, and be renamed while this reads.
        for path in (place, part_of(place), place) if digest else (place,):
            try:
                read = path.read_bytes()
            except FileNotFoundError:
                what = what or _MISSING
            except OSError as error:
                what = what or f"can't be read: {error.strerror or error}"
            else:
                if digest in (None, sha256(read)):
                    return read
                what = _CHANGED
        self.problems.append((name, what))
        return b""

    def file(self, name: str, digest: str) -> None:
        """Checks a file without keeping its content."""
        try:
            found = _digest(self.directory / name)
        except OSError as error:
            self.problems.append((name, f"can't be read: {error.strerror or error}"))
        else:
            if found != digest:
                self.problems.append((name, _CHANGED if found else _MISSING))

    def manifest(self, digest: str | None) -> Mapping[str, Any]:
        before = len(self.problems)
        content = self.content(MANIFEST, digest)
        try:
            read = json.loads(content)
        except (ValueError, RecursionError):
            read = None
        if isinstance(read, dict):
            return read
        if len(self.problems) == before:
            self.problems.append((MANIFEST, "can't be read: it is no JSON object"))
        return {}

    def media(self, digest: str | None) -> Sequence[Mapping[str, Any]]:
        if digest is None:
            return []
        before = len(self.problems)
        content = self.content(MEDIA, digest)
        try:
            read = json.loads(content)
        except (ValueError, RecursionError):
            read = None
        if isinstance(read, list):
            return read
        if len(self.problems) == before:
            self.problems.append((MEDIA, "can't be read: it is no JSON list"))
        return []

    def plans(self, digests: Sequence[str]) -> list[bytes]:
        """The line of each round; further lines, of a round that never ended, are ignored."""
        if not digests:
            return []
        before = len(self.problems)
        lines = io.BytesIO(self.content(PLANS, None)).readlines()[: len(digests)]
        if len(self.problems) > before:
            return []
        changed = [str(n) for n, d in enumerate(digests[: len(lines)]) if sha256(lines[n]) != d]
        if changed:
            self.problems.append((PLANS, f"round {', '.join(changed)}: {_CHANGED}"))
        elif len(lines) < len(digests):
            count = f"{len(lines)} of {len(digests)}"
            self.problems.append((PLANS, f"has lost lines: {count} are there, one a round"))
        return lines

    def plans_without_digests(self) -> list[bytes]:
        """The line of each round where there are no digests: checks numbers and form only."""
        written = sorted((self.directory / "rounds").glob("[0-9]*.parquet"))
        self.problems += [
            (name, _MISSING)
            for number in range(len(written))
            for name in (table_file(table, number) for table in _FIRST_TABLES)
            if not (self.directory / name).exists()
        ]
        if not written:
            return []
        before = len(self.problems)
        lines = io.BytesIO(self.content(PLANS, None)).readlines()[: len(written)]
        for number in range(len(written) if len(self.problems) == before else 0):
            try:
                right = json.loads(lines[number])["round"] == number
            except (ValueError, LookupError, TypeError, RecursionError):
                right = False
            if not right:
                self.problems.append((PLANS, f"has no readable line for round {number}"))
                break
        return lines


def _digest(path: Path) -> str | None:
    """A file's SHA-256; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
