"""Loads run directories and campaigns as one set of tidy pandas frames."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from analysis.places import Place, places_in, unique_names
from analysis.run import Run
from analysis.runs import Runs
from analysis.selection import Where
from run_directory.whole import MANIFEST, TABLES, NotARun, NotWhole, examine, is_begun

__all__ = ["TABLES", "NotARun", "NotWhole", "Run", "Runs", "Where", "load", "load_all"]

#: How many messages a warning has; the others are in `Runs.skipped`.
_SHOWN = 10


def load(*directories: str | Path) -> Runs:
    """The finished rounds of these runs and campaigns, as one set of tables.

    Each directory is a run, a campaign, or a folder that holds runs and campaigns, such as `runs`.
    A run that is found more than once is taken once.

    A part of a round, as of a run under way or killed, is left out. Runs that can't be loaded are
    skipped with one warning, and are described in `Runs.skipped`: those that have no finished
    round, and those with a file that is missing, damaged or of a later version. Where none can be
    loaded, raises `NotWhole` with every wrong file of the only run, else `NotARun`.

    Warns of runs that have fewer rounds than their study asks for, and of runs that an earlier
    version wrote without digests, so that damage to a file's content may go unnoticed.
    """
    found = _find(directories)
    if not found.runs:
        raise found.error()
    skipped = tuple(map(str, found.errors))
    if skipped:
        were = "was" if len(skipped) == 1 else "were"
        _warn(f"{len(skipped)} of {len(skipped) + len(found.runs)} runs {were} skipped", skipped)
    without_digests = [str(run.directory) for run in found.runs if run.whole.digests is None]
    if without_digests:
        what = "written by an earlier version, without digests: only the number of files could be "
        _warn(f"{what}checked, not their content", without_digests)
    unfinished = [
        f"{run.directory} has {run.rounds} of {run.planned_rounds} rounds"
        for run in found.runs
        if not run.is_finished
    ]
    if unfinished:
        _warn("not finished; the rounds so far were loaded", unfinished)
    return Runs(found.runs, skipped)


def load_all(directories: Iterable[str | Path]) -> Runs:
    """As `load`, without warnings; raises `NotARun` or `NotWhole` where any can't be loaded."""
    found = _find(directories)
    if found.errors:
        raise found.errors[0]
    return Runs(found.runs)


@dataclass(frozen=True, slots=True)
class _Found:
    """The runs that can be loaded, and why others can't be."""

    runs: tuple[Run, ...]
    errors: tuple[NotARun | NotWhole, ...]

    def error(self) -> NotARun | NotWhole:
        """The error where there is no run."""
        if len(self.errors) == 1:
            return self.errors[0]
        if not self.errors:
            return NotARun("no directory was given")
        return NotARun("\n  ".join(["none of these runs can be loaded:", *map(str, self.errors)]))


def _find(directories: Iterable[str | Path]) -> _Found:
    places, not_found = places_in(map(Path, directories))
    names = unique_names(place.directory for place in places)
    # Most of the time is spent on digests, which other threads compute at the same time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        opened = list(pool.map(_open, names, places))
    runs = tuple(each for each in opened if isinstance(each, Run))
    return _Found(runs, (*not_found, *(each for each in opened if not isinstance(each, Run))))


def _open(name: str, place: Place) -> Run | NotARun | NotWhole:
    """The checked run, or why it can't be loaded."""
    try:
        if not is_begun(place.directory):
            raise NotARun(f"{place.directory} was not begun")
        run = Run(name, examine(place.directory), place.point)
        _check(run)
    except (NotARun, NotWhole) as error:
        return error
    except OSError as error:
        return NotARun(f"{place.directory} can't be read: {error.strerror or error}")
    return run


def _check(run: Run) -> None:
    """Checks what `examine` doesn't; raises `NotARun` and `NotWhole`."""
    if not run.rounds:
        raise NotARun(f"{run.directory} holds no finished round")
    try:
        _ = run.labels
    except (LookupError, ValueError, TypeError):
        problem = MANIFEST, "has no scheme, or no seed that is an integer"
        raise NotWhole(run.directory, [problem]) from None
    _ = run.study  # raises where it can't be parsed
    if run.whole.digests is None:
        run.check_files(TABLES, pq.read_schema)


def _warn(what: str, lines: Sequence[str]) -> None:
    """Warns the caller of `load`."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    text = "\n  ".join([f"{what}:", *lines[:_SHOWN], *more])
    warnings.warn(text, stacklevel=3)
