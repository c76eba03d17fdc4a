"""Campaigns: one study under many schemes, seeds and settings, a run directory a cell.

A cell that fails is reported and stops no other; a campaign that was killed goes on with what is
missing, and ends with the same tables.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapipe_ns3.paths import NOT_UTF8, is_utf8
from collapipe_ns3.problems import Problem, StudyError, of_run_directory
from collapipe_ns3.schemes import SchemeFailed, UnknownScheme, failing_as, settings_model
from collapipe_ns3.study import Study
from run_directory.files import make_folder, replace
from run_directory.whole import CHECKPOINT, NotWhole, examine, is_begun

#: What a grid varies: keys of the study, and the values that each takes.
Grid = Mapping[str, Sequence[str]]

#: What has an option of its own, which would go before the grid's value.
_ELSEWHERE = {"seed": "--seeds", "scheme": "--schemes", "scheme.name": "--schemes"}

_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a campaign. `sets` are the grid's settings here, as `--set` takes them."""

    scheme: str
    seed: int
    sets: tuple[str, ...]
    study: str  # YAML, resolved

    @property
    def name(self) -> str:
        """A directory's name: readable, and different for different cells.

        Where a name has to leave something out to be readable, a digest of all makes it unique.
        """
        parts = [self.scheme, f"seed{self.seed}", *self.sets]
        shown = re.sub(r"[^A-Za-z0-9_.=+-]", "", "-".join(parts))[:_LONGEST_NAME]
        # Joined by dashes, values with a further = in them could be read in two ways.
        is_clear = all(each.count("=") == 1 for each in self.sets) and self.scheme[:1].isalnum()
        if is_clear and shown == "-".join(parts):
            return shown
        return f"{shown.lstrip('.')}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Campaign:
    """The cells of a study in a directory."""

    directory: Path
    cells: tuple[Cell, ...]

    def place(self, cell: Cell) -> Path:
        return self.directory / "cells" / cell.name

    def missing(self) -> list[Cell]:
        """Cells that have not all of their rounds yet.

        Raises `StudyError` with every file of any cell that is missing or damaged.
        """
        missing: list[Cell] = []
        problems: list[Problem] = []
        for cell in self.cells:
            try:
                if not is_complete(self.place(cell), cell):
                    missing.append(cell)
            except NotWhole as error:
                problems += of_run_directory(error)
        if problems:
            what = "remove the directories of these cells to have them run again"
            raise StudyError(str(self.directory), [*problems, Problem("", what)])
        return missing


def cells(
    study: str,
    sets: Sequence[str],
    *,
    schemes: Sequence[str],
    seeds: Sequence[int],
    grid: Grid,
    rounds: int | None,
) -> tuple[Cell, ...]:
    """Every scheme with every seed at every point of the grid.

    Settings of a scheme go to the schemes that have them. Raises `StudyError` for all wrong cells.
    """
    made: list[Cell] = []
    problems: list[Problem] = []
    known = {scheme: _settings_of(scheme) for scheme in schemes}
    everyone = set().union(*known.values())
    for values in itertools.product(*grid.values()):
        point = tuple(f"{key}={value}" for key, value in zip(grid, values, strict=True))
        for scheme, seed in itertools.product(schemes, seeds):
            others = everyone - known[scheme]
            own = [each for each in (*sets, *point) if _setting(each) not in others]
            try:
                loaded = Study.load(study, own, scheme=scheme)
                chosen = loaded.with_(seed=seed, rounds=rounds)
            except StudyError as error:
                problems += error.problems
            else:
                made.append(Cell(scheme, seed, point, chosen.to_yaml()))
    if problems:
        raise StudyError(study, dict.fromkeys(problems))
    return tuple(made)


def _settings_of(scheme: str) -> set[str]:
    try:
        with failing_as(scheme, "being loaded"):
            return set(settings_model(scheme).model_fields)
    except (UnknownScheme, SchemeFailed):  # which the study says of itself
        return set()


def _setting(assignment: str) -> str:
    """The scheme's setting that `a.b=value` is for, empty where it is for something else."""
    key, _, _ = assignment.partition("=")
    head, _, name = key.strip().partition("scheme.settings.")
    return "" if head else name.partition(".")[0]


def claimed(study: str, cells: tuple[Cell, ...], directory: Path) -> Campaign:
    """These cells in a directory, which must be new or hold the same; raises `StudyError`."""
    campaign = Campaign(directory, cells)
    _claim(campaign, study)
    return campaign


def _claim(campaign: Campaign, study: str) -> None:
    """Writes the campaign down, or checks that the same is there already."""
    if not is_utf8(campaign.directory):
        raise _out_error(study, campaign.directory, NOT_UTF8)
    cells = {cell.name: cell.study for cell in campaign.cells}
    text = json.dumps({"study": study, "cells": cells}, indent=2)
    file = campaign.directory / "campaign.json"
    try:
        make_folder(campaign.directory)
        if file.exists():
            if file.read_bytes() != text.encode():
                what = "holds another campaign, or its campaign.json was changed or damaged"
                raise _out_error(study, campaign.directory, what)
        elif any(campaign.directory.glob("[!.]*")):
            what = "is not empty and holds no campaign.json"
            raise _out_error(study, campaign.directory, what)
        else:
            replace(file, text.encode())
    except OSError as error:
        reason = error.strerror or str(error)
        raise _out_error(study, campaign.directory, reason) from None


@contextlib.contextmanager
def held(campaign: Campaign, study: str) -> Iterator[None]:
    """The campaign's directory for this process alone; raises `StudyError` where another has it.

    Two that ran the same cells would write one over the other. The kernel lets go of the lock when
    the process dies.
    """
    try:
        lock = (campaign.directory / ".lock").open("w")
    except OSError as error:
        reason = error.strerror or str(error)
        raise _out_error(study, campaign.directory, reason) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "another process is running this campaign"
            raise _out_error(study, campaign.directory, what) from None
        yield


def _out_error(study: str, directory: Path, what: str) -> StudyError:
    return StudyError(study, [Problem("--out", f"{directory}: {what}")])


def is_complete(place: Path, cell: Cell) -> bool:
    """Whether a cell's directory has all its rounds, and its study is the cell's.

    One that was killed before its checkpoint was deleted has that still to do. Raises `NotWhole`
    where any of its files is missing or damaged.
    """
    if not is_begun(place):
        return False
    there = examine(place)
    if there.digests is not None and (place / CHECKPOINT).exists():
        return False
    return there.study == cell.study and there.rounds >= Study.from_yaml(cell.study).config.rounds


def parse_seeds(text: str) -> list[int]:
    """`0-4`, `1,2,5` or both mixed; raises `ValueError`."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None:
            raise ValueError(f"expected seeds as in 0-4 or 1,2,5, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"expected the smaller seed first, not {part!r}")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def parse_grid(options: Sequence[str]) -> dict[str, list[str]]:
    """`a.b=1,2,3` an option; raises `ValueError`."""
    grid: dict[str, list[str]] = {}
    for option in options:
        key, given, values = option.partition("=")
        key = key.strip()
        if key in _ELSEWHERE:
            raise ValueError(f"expected {_ELSEWHERE[key]} for {key}, not a grid")
        if key in grid:
            raise ValueError(f"expected all values of {key} in one grid, not in two")
        if not given or not key or not all(each.strip() for each in values.split(",")):
            raise ValueError(
                f"expected a grid as in radio.d2e.bandwidth_hz=5e6,10e6, not {option!r}"
            )
        grid[key] = list(dict.fromkeys(each.strip() for each in values.split(",")))
    return grid


def campaign_facts(campaign: Campaign) -> dict[str, Any]:
    """What `--json` says of a campaign."""
    return {"directory": str(campaign.directory), "cells": [c.name for c in campaign.cells]}
