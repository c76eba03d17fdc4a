"""What the command `compare` does: makes the runs that are missing, and compares them all."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from analysis import compare as comparing
from analysis import comparison_files
from collapipe_ns3 import campaign
from collapipe_ns3.campaign import Campaign, Cell, workers
from collapipe_ns3.campaign import code as campaign_code
from collapipe_ns3.campaign.workers import Ended
from collapipe_ns3.cli.compare_view import print_comparison
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.terminal import err, listed, out, print_json, warn
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.problems import Problem, StudyError, of_run_directory
from collapipe_ns3.reading.warnings import warnings_of
from collapipe_ns3.run.code_identity import CodeIdentity
from collapipe_ns3.study import RUNS, Study
from run_directory.whole import NotARun, NotWhole


@dataclass(frozen=True, slots=True)
class Wanted:
    """The command's options, as they were given."""

    study: str
    schemes: str
    seeds: str
    rounds: int | None
    grid: Sequence[str]
    sets: Sequence[str]
    jobs: int | None
    scheduler: str | None
    target_loss: float | None
    reference: str | None
    out_dir: Path | None
    fresh: bool
    keep_stale: bool
    as_json: bool

    def scheme_names(self) -> list[str]:
        return list(dict.fromkeys(name.strip() for name in self.schemes.split(",")))


def compare(wanted: Wanted) -> bool:
    """Whether all went well. Raises `StudyError`; Ctrl-C ends the command."""
    planned = _plan(wanted)
    warnings = _warnings(planned.cells)
    warn(warnings)
    present = campaign_code.present_code(planned.cells)
    with campaign.held(planned, wanted.study):
        missing = planned.missing()  # raises where a cell is damaged
        stale = campaign_code.stale_cells(planned, present)
        if wanted.fresh:
            campaign_code.discard(planned, stale)
            missing = [cell for cell in planned.cells if cell in stale or cell in missing]
        elif not wanted.keep_stale:
            campaign_code.refuse(wanted.study, planned, stale)
        try:
            with closing(_run(wanted, planned, missing, present)) as ended:
                failed = [each for each in ended if each.error]
        except KeyboardInterrupt:
            _interrupted(wanted, planned)
    there = len(planned.cells) - len(missing)
    compared = _compared(wanted, planned, failed, campaign_code.stale_cells(planned, present))
    files: list[Path] = []
    if compared is not None:
        heading = f"{_name_of(planned.cells)}: {', '.join(wanted.scheme_names())}"
        try:
            files = comparison_files.write(compared, planned.directory, heading, _command())
        except OSError as error:
            where = f"{planned.directory}: {error.strerror or error}"
            raise StudyError(wanted.study, [Problem("--out", where)]) from None
    if wanted.as_json:
        print_json(_facts(planned, compared, failed, warnings, there))
    else:
        if compared is not None:
            print_comparison(out, compared)
        out.print(f"{len(planned.cells)} runs, of which {there} were already there")
        if files:
            out.print(f"written: {', '.join(map(str, files))}", soft_wrap=True)
    for each in failed:
        print_text(err, Text.assemble((f"{each.cell.name} failed", "bold red"), f": {each.error}"))
    return not failed


def _plan(wanted: Wanted) -> Campaign:
    """The campaign that these options describe; what is wrong with any is told at once."""
    problems: list[Problem] = []
    kept: dict[str, Any] = {"seeds": [0], "grid": {}}
    for option, read in (
        ("seeds", lambda: campaign.parse_seeds(wanted.seeds)),
        ("grid", lambda: campaign.parse_grid(wanted.grid)),
    ):
        try:
            kept[option] = read()
        except ValueError as error:
            problems.append(Problem(f"--{option}", str(error)))
    if "rounds" in kept["grid"] and wanted.rounds is not None:
        problems.append(Problem("--grid", "expected rounds here or in --rounds, not in both"))
    schemes, reference = wanted.scheme_names(), wanted.reference
    if reference is not None and reference not in schemes:
        hint = did_you_mean(reference, schemes)
        problems.append(Problem("--reference", f"no scheme {reference!r} among them; {hint}"))
    if wanted.target_loss is not None and not math.isfinite(wanted.target_loss):
        problems.append(Problem("--target-loss", f"expected a number, not {wanted.target_loss}"))
    if wanted.fresh and wanted.keep_stale:
        problems.append(Problem("--fresh", "expected this or --keep-stale, not both"))
    try:
        cells = campaign.cells(
            wanted.study, wanted.sets, schemes=schemes, rounds=wanted.rounds, **kept
        )
    except StudyError as error:
        raise StudyError(wanted.study, [*problems, *error.problems]) from None
    if problems:
        raise StudyError(wanted.study, problems)
    return campaign.claimed(
        wanted.study, cells, wanted.out_dir or RUNS / f"compare-{_name_of(cells)}"
    )


def _warnings(cells: Sequence[Cell]) -> list[Problem]:
    """What is doubtful in any cell: of each place what is said of the first cell that has it.

    Another scheme changes nothing of it; another seed may change figures in it.
    """
    found: list[Problem] = []
    for cell in {(cell.seed, cell.sets): cell for cell in cells}.values():
        known = {warning.path for warning in found}
        config = Study.from_yaml(cell.study).config  # whose lines are in no file of the user's
        found += [each for each in warnings_of(config) if each.path not in known]
    return found


def _name_of(cells: Sequence[Cell]) -> str:
    """The study's own name, which all cells have."""
    return Study.from_yaml(cells[0].study).config.name


def _run(
    wanted: Wanted,
    planned: Campaign,
    missing: Sequence[Cell],
    present: Mapping[Cell, CodeIdentity],
) -> Generator[Ended, None, None]:
    """Runs what is missing, and shows on stderr how far it is; see `campaign_workers`."""
    with _bar(planned, missing) as on_round:
        if wanted.scheduler is None:
            jobs = wanted.jobs or os.cpu_count() or 1
            ended = workers.run_here(planned, jobs, on_round, other_code=wanted.keep_stale)
        else:
            expected = None if wanted.keep_stale else present
            ended = _run_on_dask(wanted.study, planned, wanted.scheduler, expected)
        with closing(ended):
            for number, each in enumerate(ended, 1):
                if not err.is_terminal:
                    how = "failed" if each.error else "done"
                    _say(f"{number} of {len(missing)}: {each.cell.name} {how}")
                yield each


def _run_on_dask(
    study: str,
    planned: Campaign,
    scheduler: str,
    expected: Mapping[Cell, CodeIdentity] | None,
) -> Generator[Ended, None, None]:
    try:
        yield from workers.run_on_dask(planned, scheduler, expected)
    except (OSError, ValueError) as error:  # nobody there, or no address
        raise StudyError(study, [Problem("--scheduler", f"{scheduler}: {error}")]) from None
    except ImportError:
        missing_extra = "needs the extra: pip install 'collapipe-ns3[dask]'"
        raise StudyError(study, [Problem("--scheduler", missing_extra)]) from None


@contextmanager
def _bar(planned: Campaign, missing: Sequence[Cell]) -> Iterator[Any]:
    """A bar on stderr; where that is no terminal, a line."""
    runs = f"{len(missing)} runs; {len(planned.cells) - len(missing)} were already there"
    bar = Progress(
        TextColumn("rounds"),
        *([BarColumn(bar_width=30)] if err.width >= 80 else []),
        MofNCompleteColumn(),
        TextColumn(f"of {runs}"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    if not err.is_terminal:
        _say(runs)
    rounds = sum(Study.from_yaml(cell.study).config.rounds for cell in missing)
    with bar:
        task = bar.add_task("", total=rounds)
        yield lambda cell: bar.advance(task)


def _say(line: str) -> None:
    err.print(line, markup=False, soft_wrap=True)


def _interrupted(wanted: Wanted, planned: Campaign) -> NoReturn:
    """Ends as `run` does: what is kept, and how to go on."""
    missing = planned.missing()
    total, done = len(planned.cells), len(planned.cells) - len(missing)
    begun = sum(campaign_code.has_rounds(planned, cell) for cell in missing)
    if wanted.as_json:
        facts = {"ok": False, "study": wanted.study, "error": "interrupted"}
        counts = {"cells": total, "cells_done": done, "cells_begun": begun}
        print_json({**facts, "directory": str(planned.directory), **counts})
    partly = f" and the rounds so far of {begun} more" if begun else ""
    kept = f"{planned.directory} holds them{partly}" if done or begun else "nothing is left of it"
    _say(f"stopped after {done} of {total} runs; {kept}; go on with:\n  {_command()}")
    raise typer.Exit(130)


def _compared(
    wanted: Wanted,
    planned: Campaign,
    failed: Sequence[Ended],
    stale: campaign_code.Stale,
) -> comparing.Comparison | None:
    """What came out, None where no run is finished."""
    without = {each.cell for each in failed}
    try:
        cells = comparing.load_campaign(
            planned.directory,
            {cell.name: ", ".join(cell.sets) for cell in planned.cells if cell not in without},
            {cell.name: "; ".join(changed) for cell, changed in stale.items()},
        )
    except (NotARun, NotWhole) as error:  # something wrote to a cell after it was looked at
        raise StudyError(str(planned.directory), of_run_directory(error)) from None
    if not cells:
        return None
    try:
        return comparing.compare(cells, wanted.reference, wanted.target_loss)
    except ValueError as error:
        raise StudyError(wanted.study, [Problem("--reference", str(error))]) from None


def _facts(
    planned: Campaign,
    compared: comparing.Comparison | None,
    failed: Sequence[Ended],
    warnings: Sequence[Problem],
    there: int,
) -> dict[str, Any]:
    return {
        "ok": not failed,
        "directory": str(planned.directory),
        "reference": compared.reference if compared else None,
        "cells": len(planned.cells),
        "already_there": there,
        "failed": {ended.cell.name: ended.error for ended in failed},
        "warnings": listed(warnings),
        "summary": compared.summary.to_dict("records") if compared else [],
        "runs": compared.runs.to_dict("records") if compared else [],
    }


def _command() -> str:
    words = shlex.join(["collapipe-ns3", *sys.argv[1:]])
    return os.fsencode(words).decode("utf-8", "backslashreplace")  # a path may not be UTF-8
