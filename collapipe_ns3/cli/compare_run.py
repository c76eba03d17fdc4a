"""The work of the command `compare`: executes the missing runs, then compares all of them."""

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
from collapipe_ns3.campaign import Campaign, CampaignRun, stale_runs, workers
from collapipe_ns3.campaign.workers import EndedRun
from collapipe_ns3.cli.compare_view import print_comparison
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.tensorboard import EventFiles, how_to_look
from collapipe_ns3.cli.terminal import err, out, print_json, problems_json, warn
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.problems import Problem, StudyError, of_run_directory
from collapipe_ns3.reading.warnings import warnings_of
from collapipe_ns3.run.code_identity import CodeIdentity
from collapipe_ns3.study import RUNS, Study
from run_directory.whole import NotARun, NotWhole


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """The command's argument and options, as the user gave them."""

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
    tensorboard: Path | None
    as_json: bool

    def scheme_names(self) -> list[str]:
        return list(dict.fromkeys(name.strip() for name in self.schemes.split(",")))


def compare(options: CompareOptions) -> bool:
    """Whether all runs succeeded. Raises `StudyError`; on Ctrl-C the command ends."""
    planned = _plan(options)
    warnings = _warnings(planned.runs)
    warn(warnings)
    present = stale_runs.present_code(planned.runs)
    with campaign.locked(planned, options.study):
        missing = planned.missing()  # raises where a run is damaged
        stale = stale_runs.find(planned, present)
        if options.fresh:
            stale_runs.discard(planned, stale)
            missing = [run for run in planned.runs if run in stale or run in missing]
        elif not options.keep_stale:
            stale_runs.refuse(options.study, planned, stale)
        try:
            with closing(_execute(options, planned, missing, present)) as ended:
                failed = [each for each in ended if each.error]
        except KeyboardInterrupt:
            _interrupted(options, planned)
    already_there = len(planned.runs) - len(missing)
    compared = _compared(options, planned, failed, stale_runs.find(planned, present))
    files: list[Path] = []
    if compared is not None:
        heading = f"{_study_name(planned.runs)}: {', '.join(options.scheme_names())}"
        try:
            files = comparison_files.write(compared, planned.directory, heading, _command())
        except OSError as error:
            what = f"{planned.directory}: {error.strerror or error}"
            raise StudyError(options.study, [Problem("--out", what)]) from None
    if options.as_json:
        print_json(_facts(planned, compared, failed, warnings, already_there))
    else:
        if compared is not None:
            print_comparison(out, compared)
        out.print(f"{len(planned.runs)} runs, of which {already_there} were already there")
        if options.tensorboard is not None:
            print_text(out, how_to_look(options.tensorboard))
        if files:
            out.print(f"written: {', '.join(map(str, files))}", soft_wrap=True)
    for each in failed:
        print_text(err, Text.assemble((f"{each.run.name} failed", "bold red"), f": {each.error}"))
    return not failed


def _plan(options: CompareOptions) -> Campaign:
    """The campaign that the options describe; raises `StudyError` with all of their problems."""
    problems: list[Problem] = []
    parsed: dict[str, Any] = {"seeds": [0], "grid": {}}
    for option, parse in (
        ("seeds", lambda: campaign.parse_seeds(options.seeds)),
        ("grid", lambda: campaign.parse_grid(options.grid)),
    ):
        try:
            parsed[option] = parse()
        except ValueError as error:
            problems.append(Problem(f"--{option}", str(error)))
    if "rounds" in parsed["grid"] and options.rounds is not None:
        problems.append(Problem("--grid", "expected rounds here or in --rounds, not in both"))
    schemes, reference = options.scheme_names(), options.reference
    if reference is not None and reference not in schemes:
        hint = did_you_mean(reference, schemes)
        problems.append(Problem("--reference", f"no scheme {reference!r} among them; {hint}"))
    if options.target_loss is not None and not math.isfinite(options.target_loss):
        problems.append(Problem("--target-loss", f"expected a number, not {options.target_loss}"))
    if options.fresh and options.keep_stale:
        problems.append(Problem("--fresh", "expected this or --keep-stale, not both"))
    try:
        runs = campaign.plan_runs(
            options.study, options.sets, schemes=schemes, rounds=options.rounds, **parsed
        )
    except StudyError as error:
        raise StudyError(options.study, [*problems, *error.problems]) from None
    if problems:
        raise StudyError(options.study, problems)
    return campaign.create(
        options.study, runs, options.out_dir or RUNS / f"compare-{_study_name(runs)}"
    )


def _warnings(runs: Sequence[CampaignRun]) -> list[Problem]:
    """The warnings of all runs; of each key only those of the first run that has any.

    The scheme changes none of them, and another seed may change no more than their numbers.
    """
    found: list[Problem] = []
    for run in {(run.seed, run.sets): run for run in runs}.values():
        reported = {warning.path for warning in found}
        config = Study.from_yaml(run.study).config  # not from the user's file: no line numbers
        found += [each for each in warnings_of(config) if each.path not in reported]
    return found


def _study_name(runs: Sequence[CampaignRun]) -> str:
    """The `name` of the study, the same for all runs."""
    return Study.from_yaml(runs[0].study).config.name


def _execute(
    options: CompareOptions,
    planned: Campaign,
    missing: Sequence[CampaignRun],
    present: Mapping[CampaignRun, CodeIdentity],
) -> Generator[EndedRun, None, None]:
    """Executes the missing runs with their progress on stderr; yields each as it ends."""
    events = _event_files(options, planned)
    with _progress_bar(planned, missing) as advance:

        def on_round(run: CampaignRun) -> None:
            advance(run)
            if events:
                events.update(planned.directory_of(run))

        if options.scheduler is None:
            jobs = options.jobs or os.cpu_count() or 1
            ended = workers.run_here(planned, jobs, on_round, other_code=options.keep_stale)
        else:
            expected = None if options.keep_stale else present
            ended = _run_on_dask(options.study, planned, options.scheduler, expected)
        with closing(ended):
            for number, each in enumerate(ended, 1):
                if not err.is_terminal:
                    state = "failed" if each.error else "done"
                    _print_line(f"{number} of {len(missing)}: {each.run.name} {state}")
                if events:  # no round of a run on a cluster is reported
                    events.update(planned.directory_of(each.run))
                yield each


def _event_files(options: CompareOptions, planned: Campaign) -> EventFiles | None:
    """The event files of all runs, with the rounds that are there; None where not asked for."""
    if options.tensorboard is None:
        return None
    directories = [planned.directory_of(run) for run in planned.runs]
    events = EventFiles(options.study, options.tensorboard, directories)
    events.update_all()
    return events


def _run_on_dask(
    study: str,
    planned: Campaign,
    scheduler: str,
    expected: Mapping[CampaignRun, CodeIdentity] | None,
) -> Generator[EndedRun, None, None]:
    try:
        yield from workers.run_on_dask(planned, scheduler, expected)
    except (OSError, ValueError) as error:  # no answer, or not an address
        raise StudyError(study, [Problem("--scheduler", f"{scheduler}: {error}")]) from None
    except ImportError:
        missing_extra = "needs the extra: pip install 'collapipe-ns3[dask]'"
        raise StudyError(study, [Problem("--scheduler", missing_extra)]) from None


@contextmanager
def _progress_bar(planned: Campaign, missing: Sequence[CampaignRun]) -> Iterator[Any]:
    """A progress bar on stderr, or one line where that is not a terminal; yields its `on_round`."""
    runs = f"{len(missing)} runs; {len(planned.runs) - len(missing)} were already there"
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
        _print_line(runs)
    rounds = sum(Study.from_yaml(run.study).config.rounds for run in missing)
    with bar:
        task = bar.add_task("", total=rounds)
        yield lambda run: bar.advance(task)


def _print_line(line: str) -> None:
    err.print(line, markup=False, soft_wrap=True)


def _interrupted(options: CompareOptions, planned: Campaign) -> NoReturn:
    """Reports which runs are kept and how to continue, as `run` does, and ends the command."""
    missing = planned.missing()
    total, done = len(planned.runs), len(planned.runs) - len(missing)
    begun = sum(stale_runs.has_rounds(planned, run) for run in missing)
    if options.as_json:
        facts = {"ok": False, "study": options.study, "error": "interrupted"}
        counts = {"cells": total, "cells_done": done, "cells_begun": begun}
        print_json({**facts, "directory": str(planned.directory), **counts})
    partly = f" and the rounds so far of {begun} more" if begun else ""
    kept = f"{planned.directory} holds them{partly}" if done or begun else "nothing is left of it"
    _print_line(f"stopped after {done} of {total} runs; {kept}; continue with:\n  {_command()}")
    raise typer.Exit(130)


def _compared(
    options: CompareOptions,
    planned: Campaign,
    failed: Sequence[EndedRun],
    stale: stale_runs.StaleRuns,
) -> comparing.Comparison | None:
    """The comparison of the finished runs, None where there are none."""
    unfinished = {each.run for each in failed}
    try:
        runs = comparing.load_campaign(
            planned.directory,
            {run.name: ", ".join(run.sets) for run in planned.runs if run not in unfinished},
            {run.name: "; ".join(changed) for run, changed in stale.items()},
        )
    except (NotARun, NotWhole) as error:  # a run was changed after it was checked
        raise StudyError(str(planned.directory), of_run_directory(error)) from None
    if not runs:
        return None
    try:
        return comparing.compare(runs, options.reference, options.target_loss)
    except ValueError as error:
        raise StudyError(options.study, [Problem("--reference", str(error))]) from None


def _facts(
    planned: Campaign,
    compared: comparing.Comparison | None,
    failed: Sequence[EndedRun],
    warnings: Sequence[Problem],
    already_there: int,
) -> dict[str, Any]:
    """The JSON object of the command."""
    return {
        "ok": not failed,
        "directory": str(planned.directory),
        "reference": compared.reference if compared else None,
        "cells": len(planned.runs),
        "already_there": already_there,
        "failed": {ended.run.name: ended.error for ended in failed},
        "warnings": problems_json(warnings),
        "notes": list(compared.notes) if compared else [],
        "summary": compared.summary.to_dict("records") if compared else [],
        "runs": compared.runs.to_dict("records") if compared else [],
    }


def _command() -> str:
    words = shlex.join(["collapipe-ns3", *sys.argv[1:]])
    return os.fsencode(words).decode("utf-8", "backslashreplace")  # a path may not be UTF-8
