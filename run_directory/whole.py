"""The one check of a run directory: what is in it, and whether that is what was written.

Resuming, replaying, comparing and loading all begin with `examine`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_directory.digests import BadDigestsError, Digests, sha256
from run_directory.files import part_of

TABLES = ("rounds", "computes", "transfers", "links", "pipelines", "devices")

#: The tables of every version that wrote no digests.
_FIRST_TABLES = ("rounds", "computes", "transfers", "links", "devices")

STUDY = "study.yaml"
MANIFEST = "manifest.json"
PLANS = "plans.jsonl"
CHECKPOINT = "checkpoint.pt"
DIGESTS = "digests.json"

_MISSING = "is missing"
_CHANGED = f"was changed or damaged after it was written: {DIGESTS} has another SHA-256"


class NotARun(ValueError):
    """A path that is no run directory, or one without a finished round where one is needed."""


class NotWhole(ValueError):
    """A run directory with files that are missing, damaged or unreadable.

    `problems` has each file's name within `directory`, and what is wrong with it.
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

    `digests` is None for one that an earlier version wrote without them: there only the number of
    files and plans was checked.
    """

    directory: Path
    digests: Digests | None
    study: str
    manifest: Mapping[str, Any]
    plans: Sequence[Mapping[str, Any]]
    plans_bytes: int

    @property
    def rounds(self) -> int:
        """How many rounds are there; they are numbered from 0."""
        return len(self.plans)

    @property
    def is_closed(self) -> bool:
        """Whether its checkpoint was deleted, so that it can't be made longer."""
        return self.digests is not None and self.digests.checkpoint_deleted

    def table(self, name: str) -> list[Path]:
        """The files of a table, a round each; none of one that the run's version didn't know."""
        if self.digests is None:
            files = [self.directory / table_file(name, number) for number in range(self.rounds)]
            return [file for file in files if file.exists()]
        listed = enumerate(self.digests.rounds)
        return [self.directory / table_file(name, n) for n, each in listed if name in each.tables]


@dataclass(frozen=True, slots=True)
class RunHead:
    """What a run is and how many rounds it lists; of these nothing was looked at."""

    study: str
    manifest: Mapping[str, Any]
    rounds: int


def table_file(table: str, number: int) -> str:
    """The name of a round's file of a table, within the run directory."""
    return f"{table}/{number:05}.parquet"


def is_begun(directory: Path) -> bool:
    """Whether a run was written there, if without any round yet."""
    return any((directory / name).exists() for name in (DIGESTS, STUDY, PLANS))


def rounds_done(directory: Path) -> int:
    """How many rounds a run directory lists, unchecked; 0 where it lists none."""
    try:
        return len(Digests.from_bytes((directory / DIGESTS).read_bytes()).rounds)
    except (OSError, BadDigestsError):
        return 0


def head(directory: Path) -> RunHead:
    """What the run in this directory is, without a look at its rounds.

    Raises `NotARun`, and `NotWhole` where study or manifest is missing or damaged.
    """
    look, study, manifest, digests = _begin(directory)
    if look.problems:
        raise NotWhole(directory, look.problems)
    written = (directory / "rounds").glob("[0-9]*.parquet")
    rounds = len(digests.rounds if digests else list(written))
    return RunHead(study.decode(errors="replace"), manifest, rounds)


def examine(directory: Path) -> WholeRun:
    """The run in this directory, all its files but the checkpoint checked against their digests.

    A round that was being written when the process ended does not count, whatever is left of it.
    Raises `NotARun`, and `NotWhole` with everything that is missing or damaged.
    """
    look, study, manifest, digests = _begin(directory)
    if digests is None:
        if "format" in manifest:  # as in all manifests since there are digests
            look.problems.insert(0, (DIGESTS, _MISSING))
        lines = look.plans_without_digests()
    else:
        lines = look.plans([each.plan for each in digests.rounds])
        for number, listed in enumerate(digests.rounds):
            for table, digest in listed.tables.items():
                look.file(table_file(table, number), digest)
    if look.problems:
        raise NotWhole(directory, look.problems)
    try:
        text = study.decode()
    except UnicodeDecodeError:
        raise NotWhole(directory, [(STUDY, "is not UTF-8")]) from None
    plans = [json.loads(line) for line in lines]
    return WholeRun(directory, digests, text, manifest, plans, sum(map(len, lines)))


def _begin(directory: Path) -> tuple[_Look, bytes, Mapping[str, Any], Digests | None]:
    """Study and manifest as they were read, and the digests; `NotARun` where there are none."""
    if not is_begun(directory):
        reason = "it has no study.yaml" if directory.is_dir() else "there is no such directory"
        raise NotARun(f"{directory} is no run directory: {reason}")
    look = _Look(directory)
    digests = look.digests()
    study = look.content(STUDY, digests.study if digests else None)
    manifest = look.manifest(digests.manifest if digests else None)
    return look, study, manifest, digests


def checkpoint_of(run: WholeRun) -> tuple[int, Path]:
    """How many rounds the run's checkpoint has behind it, and its file.

    It may be one of an earlier round, from which the later ones follow again; under its temporary
    name it is that of a process that was killed as it was about to rename it. Raises `NotWhole`
    where there is none that was written after a round of this run.
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


class _Look:
    """Reads a directory's files, and collects what is wrong with them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.problems: list[tuple[str, str]] = []

    def digests(self) -> Digests | None:
        """None where there is no such file, or it is damaged."""
        if not (self.directory / DIGESTS).exists():
            return None
        try:
            return Digests.from_bytes(self.content(DIGESTS, None))
        except BadDigestsError as error:  # nothing else can then be checked
            raise NotWhole(self.directory, self.problems or [(DIGESTS, str(error))]) from None

    def content(self, name: str, digest: str | None) -> bytes:
        """A file's bytes; none where they are not there, or not those of the digest."""
        place, what = self.directory / name, ""
        # It may be under its temporary name still, and be renamed while it is looked for there.
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
        """Checks a file that is too large, or of no use, to be kept in memory."""
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

    def plans(self, digests: Sequence[str]) -> list[bytes]:
        """The line of each round; what a round that never ended left behind them is ignored."""
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
        """The same where nothing but their number and form can be checked, and the files'."""
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
    """A file's SHA-256, None where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
