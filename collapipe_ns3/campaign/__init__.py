"""Campaigns: one study run under many schemes, seeds and settings, each run in its own directory.

A run that fails is reported and stops no other. A campaign that was stopped or killed continues
with the runs that are missing, and ends with the same tables.
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

from collapipe_ns3.paths import NOT_UTF8, is_utf8
from collapipe_ns3.problems import Problem, StudyError, of_run_directory
from collapipe_ns3.schemes import SchemeFailed, UnknownScheme, failing_as, settings_model
from collapipe_ns3.study import Study
from run_directory.files import make_folder, replace
from run_directory.whole import CHECKPOINT, NotWhole, examine, is_begun

#: The keys of the study that a grid varies, with the values that each takes.
Grid = Mapping[str, Sequence[str]]

#: Keys that an option of their own sets; it would override the grid's values.
_OPTIONS_INSTEAD = {"seed": "--seeds", "scheme": "--schemes", "scheme.name": "--schemes"}

_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class CampaignRun:
    """One run of a campaign.

    `sets` are its settings at this point of the grid, in the form that `--set` takes, and `study`
    is the resolved study as YAML.
    """

    scheme: str
    seed: int
    sets: tuple[str, ...]
    study: str

    @property
    def point(self) -> dict[str, str]:
        """The settings of the grid at which the run is made: the text of each key's value."""
        return {key: value for key, _, value in (each.partition("=") for each in self.sets)}

    @property
    def name(self) -> str:
        """The name of the run's directory: readable, and unique within the campaign.

        A name that would be ambiguous or too long is shortened, and a digest of all its parts makes
        it unique.
        """
        parts = [self.scheme, f"seed{self.seed}", *self.sets]
        readable = re.sub(r"[^A-Za-z0-9_.=+-]", "", "-".join(parts))[:_LONGEST_NAME]
        # The parts are joined by dashes, so values with a second = in them would be ambiguous.
        is_unambiguous = (
            all(each.count("=") == 1 for each in self.sets) and self.scheme[:1].isalnum()
        )
        if is_unambiguous and readable == "-".join(parts):
            return readable
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        return f"{readable.lstrip('.')}-{digest}"


@dataclass(frozen=True, slots=True)
class Campaign:
    """The runs of a campaign, and the directory that they are written to."""

    directory: Path
    runs: tuple[CampaignRun, ...]

    def directory_of(self, run: CampaignRun) -> Path:
        return self.directory / "cells" / run.name

    def missing(self) -> list[CampaignRun]:
        """The runs that do not have all of their rounds yet.

        Raises `StudyError` with every file of any run that is missing or damaged.
        """
        missing: list[CampaignRun] = []
        problems: list[Problem] = []
        for run in self.runs:
            try:
                if not is_complete(self.directory_of(run), run):
                    missing.append(run)
            except NotWhole as error:
                problems += of_run_directory(error)
        if problems:
            hint = "remove the directories of these runs to have them made again"
            raise StudyError(str(self.directory), [*problems, Problem("", hint)])
        return missing


def plan_runs(
    study: str,
    sets: Sequence[str],
    *,
    schemes: Sequence[str],
    seeds: Sequence[int],
    grid: Grid,
    rounds: int | None,
) -> tuple[CampaignRun, ...]:
    """A run of every scheme with every seed at every point of the grid.

    A setting of a scheme (`scheme.settings.…`) is given only to the schemes that have it. Raises
    `StudyError` with the problems of all runs.
    """
    planned: list[CampaignRun] = []
    problems: list[Problem] = []
    settings_of = {scheme: _settings_of(scheme) for scheme in schemes}
    all_settings = set().union(*settings_of.values())
    for values in itertools.product(*grid.values()):
        point = tuple(f"{key}={value}" for key, value in zip(grid, values, strict=True))
        for scheme, seed in itertools.product(schemes, seeds):
            of_others = all_settings - settings_of[scheme]
            own = [each for each in (*sets, *point) if _scheme_setting(each) not in of_others]
            try:
                loaded = Study.load(study, own, scheme=scheme)
                chosen = loaded.with_(seed=seed, rounds=rounds)
            except StudyError as error:
                problems += error.problems
            else:
                planned.append(CampaignRun(scheme, seed, point, chosen.to_yaml()))
    if problems:
        raise StudyError(study, dict.fromkeys(problems))
    return tuple(planned)


def _settings_of(scheme: str) -> set[str]:
    try:
        with failing_as(scheme, "being loaded"):
            return set(settings_model(scheme).model_fields)
    except (UnknownScheme, SchemeFailed):  # loading the study reports it
        return set()


def _scheme_setting(assignment: str) -> str:
    """The name of the scheme's setting that `a.b=value` sets; empty for any other key."""
    key, _, _ = assignment.partition("=")
    head, _, name = key.strip().partition("scheme.settings.")
    return "" if head else name.partition(".")[0]


def create(study: str, runs: tuple[CampaignRun, ...], directory: Path) -> Campaign:
    """A campaign of these runs in a directory that is new or holds the same campaign.

    Writes `campaign.json` where it is missing, and adds the points of the grid where an earlier
    version wrote it without them. Raises `StudyError` for any other directory.
    """
    if not is_utf8(directory):
        raise _out_error(study, directory, NOT_UTF8)
    content: dict[str, object] = {"study": study, "cells": {run.name: run.study for run in runs}}
    earlier = _json(content)
    present = _json({**content, "points": {run.name: run.point for run in runs}})
    file = directory / "campaign.json"
    try:
        make_folder(directory)
        if file.exists():
            if (written := file.read_bytes()) not in (present, earlier):
                what = "holds another campaign, or its campaign.json was changed or damaged"
                raise _out_error(study, directory, what)
            if written == earlier:
                replace(file, present)
        elif any(directory.glob("[!.]*")):
            raise _out_error(study, directory, "is not empty and holds no campaign.json")
        else:
            replace(file, present)
    except OSError as error:
        raise _out_error(study, directory, error.strerror or str(error)) from None
    return Campaign(directory, runs)


def _json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, indent=2).encode()


@contextlib.contextmanager
def locked(campaign: Campaign, study: str) -> Iterator[None]:
    """Locks the campaign's directory; raises `StudyError` where another process holds the lock.

    Two processes that made the same runs would overwrite each other's files. The kernel releases
    the lock when the process ends.
    """
    try:
        lock = (campaign.directory / ".lock").open("w")
    except OSError as error:
        raise _out_error(study, campaign.directory, error.strerror or str(error)) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "another process is running this campaign"
            raise _out_error(study, campaign.directory, what) from None
        yield


def _out_error(study: str, directory: Path, what: str) -> StudyError:
    return StudyError(study, [Problem("--out", f"{directory}: {what}")])


def is_complete(directory: Path, run: CampaignRun) -> bool:
    """Whether this directory holds all rounds of the run, or all until faults have ended it.

    A run whose process was killed before it deleted the checkpoint is not complete: deleting it is
    still to be done. Raises `NotWhole` where any of the run's files is missing or damaged.
    """
    if not is_begun(directory):
        return False
    found = examine(directory)
    if found.digests is not None and (directory / CHECKPOINT).exists():
        return False
    ended = found.manifest.get("ended", {}).get("rounds") == found.rounds
    whole = ended or found.rounds >= Study.from_yaml(run.study).config.rounds
    return found.study == run.study and whole


def parse_seeds(text: str) -> list[int]:
    """Seeds written as `0-4`, as `1,2,5`, or as a mixture of both; raises `ValueError`."""
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
    """The grid that options of the form `a.b=1,2,3` describe; raises `ValueError`."""
    grid: dict[str, list[str]] = {}
    for option in options:
        key, equals, values = option.partition("=")
        key = key.strip()
        if key in _OPTIONS_INSTEAD:
            raise ValueError(f"expected {_OPTIONS_INSTEAD[key]} for {key}, not a grid")
        if key in grid:
            raise ValueError(f"expected all values of {key} in one grid, not in two")
        if not equals or not key or not all(each.strip() for each in values.split(",")):
            raise ValueError(
                f"expected a grid as in radio.d2e.bandwidth_hz=5e6,10e6, not {option!r}"
            )
        grid[key] = list(dict.fromkeys(each.strip() for each in values.split(",")))
    return grid
