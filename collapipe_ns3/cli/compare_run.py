"""The work of the command `compare`: executes the missing runs, then answers its questions."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from analysis import compare as comparing
from analysis import comparison_files
from analysis.compare import ComparedRun
from analysis.fronts import fronts
from analysis.load import Runs
from collapipe_ns3 import campaign
from collapipe_ns3.campaign import Campaign, CampaignRun, stale_runs, workers
from collapipe_ns3.campaign.workers import EndedRun
from collapipe_ns3.cli import compare_questions
from collapipe_ns3.cli.compare_questions import SAME_EXCHANGE, Question, Schemes
from collapipe_ns3.cli.compare_view import print_comparison, print_fronts
from collapipe_ns3.cli.tables import print_text
from collapipe_ns3.cli.tensorboard import EventFiles, how_to_look
from collapipe_ns3.cli.terminal import err, out, print_json, problems_json, warn
from collapipe_ns3.config.study import StudyConfig
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
    questions: Sequence[str]
    jobs: int | None
    scheduler: str | None
    target_loss: float | None
    reference: str | None
    budgets_of: str | None
    out_dir: Path | None
    fresh: bool
    keep_stale: bool
    tensorboard: Path | None
    as_json: bool

    def chosen(self) -> Schemes:
        """The schemes, with the one that the others are compared with."""
        names = list(dict.fromkeys(name.strip() for name in self.schemes.split(",")))
        return Schemes.of(names, self.reference, self.budgets_of)


@dataclass(frozen=True, slots=True)
class Executed:
    """A campaign after all of its runs have ended; `already_there` had nothing left to be done."""

    campaign: Campaign
    failed: tuple[EndedRun, ...]
    stale: stale_runs.StaleRuns
    already_there: int

    def finished(self, *schemes: str) -> list[tuple[CampaignRun, ComparedRun]]:
        """The finished runs, by default of all schemes; raises `StudyError` for a damaged one."""
        unfinished = {each.run for each in self.failed}
        runs = [
            run
            for run in self.campaign.runs
            if run not in unfinished and (not schemes or run.scheme in schemes)
        ]
        try:
            loaded = comparing.load_campaign(
                self.campaign.directory,
                {run.name: ", ".join(run.sets) for run in runs},
                {run.name: "; ".join(changed) for run, changed in self.stale.items()},
            )
        except (NotARun, NotWhole) as error:  # a run was changed after it was checked
            raise StudyError(str(self.campaign.directory), of_run_directory(error)) from None
        return list(zip(runs, loaded, strict=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question: its comparison, None where no run has finished, and its files.

    `fronts` is the table of `analysis.fronts`, None where there is only one point of a grid.
    `derived` has the budget of each run that got it from another run, by its name.
    """

    question: Question
    heading: str
    executed: Executed
    compared: comparing.Comparison | None
    fronts: pd.DataFrame | None
    files: Sequence[Path]
    derived: Mapping[str, float]


def compare(options: CompareOptions) -> bool:
    """Whether all runs succeeded. Raises `StudyError`; on Ctrl-C the command ends."""
    runs, questions = _plan(options)
    warnings = _warnings(runs)
    warn(warnings)
    answers = list(_answers(options, runs, questions))
    executed = {id(each.executed): each.executed for each in answers}
    if options.as_json:
        print_json(_facts(answers, warnings))
    else:
        for number, answer in enumerate(answers):
            if number:
                out.print()
            _print_answer(answer)
        if options.tensorboard is not None:
            print_text(out, how_to_look(options.tensorboard))
    failed = [ended for each in executed.values() for ended in each.failed]
    for ended in failed:
        print_text(err, Text.assemble((f"{ended.run.name} failed", "bold red"), f": {ended.error}"))
    return not failed


def _plan(options: CompareOptions) -> tuple[tuple[CampaignRun, ...], tuple[Question, ...]]:
    """The runs of the schemes as the study has them, and the questions.

    Raises `StudyError` with all problems of the options.
    """
    problems: list[Problem] = []
    parsed: dict[str, Any] = {"seeds": [0], "grid": {}, "question": ()}
    for option, parse in (
        ("seeds", lambda: campaign.parse_seeds(options.seeds)),
        ("grid", lambda: campaign.parse_grid(options.grid)),
        ("question", lambda: compare_questions.asked(options.questions)),
    ):
        try:
            parsed[option] = parse()
        except ValueError as error:
            problems.append(Problem(f"--{option}", str(error)))
    questions = parsed.pop("question")
    if "rounds" in parsed["grid"] and options.rounds is not None:
        problems.append(Problem("--grid", "expected rounds here or in --rounds, not in both"))
    schemes = options.chosen()
    for option, name in (("reference", options.reference), ("budgets-of", options.budgets_of)):
        if name is not None and name not in schemes.names:
            hint = did_you_mean(name, schemes.names)
            problems.append(Problem(f"--{option}", f"no scheme {name!r} among them; {hint}"))
    if options.target_loss is not None and not math.isfinite(options.target_loss):
        problems.append(Problem("--target-loss", f"expected a number, not {options.target_loss}"))
    if options.fresh and options.keep_stale:
        problems.append(Problem("--fresh", "expected this or --keep-stale, not both"))
    try:
        runs = campaign.plan_runs(
            options.study, options.sets, schemes=schemes.names, rounds=options.rounds, **parsed
        )
    except StudyError as error:
        raise StudyError(options.study, [*problems, *error.problems]) from None
    settings = [*parsed["grid"], *(each.partition("=")[0].strip() for each in options.sets)]
    studies = map(_config, {run.study: run for run in runs}.values())
    problems += compare_questions.problems(questions, schemes, settings, studies)
    if problems:
        raise StudyError(options.study, problems)
    return runs, questions


def _answers(
    options: CompareOptions, runs: Sequence[CampaignRun], questions: Sequence[Question]
) -> Iterator[Answer]:
    """Answers each question; budgets are taken from the runs of the question `papers`."""
    papers: Executed | None = None
    for question in questions:
        if question is Question.EXCHANGE:
            executed = _executed(options, _with_same_exchange(options, runs), question)
            yield _answer(options, question, executed, (), {})
            continue
        papers = papers or _executed(options, runs, Question.PAPERS)
        if question is Question.PAPERS:
            yield _answer(options, question, papers, (), {})
            continue
        measured = papers.finished(options.chosen().measured)
        budgeted = _with_budgets(options, question, measured)
        executed = papers  # where nothing was measured, its failures are the answer
        if budgeted:
            executed = _executed(options, [run for run, _ in budgeted], question)
        derived = {run.name: value for run, value in budgeted}
        yield _answer(options, question, executed, [each for _, each in measured], derived)


def _with_same_exchange(options: CompareOptions, runs: Sequence[CampaignRun]) -> list[CampaignRun]:
    """The runs with the exchange of the study, or the default one where it has none."""
    return [
        run
        if _config(run).training.exchange is not None
        else _changed(options, run, run.scheme, [SAME_EXCHANGE])
        for run in runs
    ]


def _with_budgets(
    options: CompareOptions,
    question: Question,
    measured: Sequence[tuple[CampaignRun, ComparedRun]],
) -> list[tuple[CampaignRun, float]]:
    """A run of the reference with what each measured run took, and its budget."""
    made, scheme = [], options.chosen().reference
    for run, compared in measured:
        value = compare_questions.budget(question, compared.run)
        sets = compare_questions.as_sets(question, scheme, value)
        made.append((_changed(options, run, scheme, sets), value))
    return made


def _changed(
    options: CompareOptions, run: CampaignRun, scheme: str, sets: Sequence[str]
) -> CampaignRun:
    """A run of this scheme at the same point and seed, with further settings."""
    (changed,) = campaign.plan_runs(
        options.study,
        [*options.sets, *sets],
        schemes=[scheme],
        seeds=[run.seed],
        grid={key: [value] for key, value in run.point.items()},
        rounds=options.rounds,
    )
    return changed


def _executed(options: CompareOptions, runs: Sequence[CampaignRun], question: Question) -> Executed:
    """Executes the runs of a question's campaign that are missing."""
    directory = options.out_dir or RUNS / f"compare-{_config(runs[0]).name}"
    if question is not Question.PAPERS:
        whole = directory if directory.name not in ("", "..") else directory.resolve()
        directory = whole.with_name(f"{whole.name}-{question}")
    planned = campaign.create(options.study, tuple(runs), directory)
    if compare_questions.asked(options.questions) != (Question.PAPERS,):
        _print_line(f"runs for the question {question}")
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
                failed = tuple(each for each in ended if each.error)
        except KeyboardInterrupt:
            _interrupted(options, planned)
    already_there = len(planned.runs) - len(missing)
    return Executed(planned, failed, stale_runs.find(planned, present), already_there)


def _answer(
    options: CompareOptions,
    question: Question,
    executed: Executed,
    baselines: Sequence[ComparedRun],
    derived: Mapping[str, float],
) -> Answer:
    """Compares the finished runs of a campaign, and the baselines from another one."""
    own = [] if question.of_budgets and not derived else executed.finished()
    runs = [*baselines, *(each for _, each in own)]
    study = _config(executed.campaign.runs[0])
    schemes = options.chosen()
    heading = compare_questions.heading(question, schemes, study, derived.values())
    if not runs:
        return Answer(question, heading, executed, None, None, (), derived)
    reference = schemes.reference if question.of_budgets else options.reference
    try:
        compared = comparing.compare(runs, reference, options.target_loss)
    except ValueError as error:
        raise StudyError(options.study, [Problem("--reference", str(error))]) from None
    unkept = compare_questions.unkept(question, schemes, compared.runs)
    compared = replace(compared, notes=(*compared.notes, *unkept))
    names = dict.fromkeys(comparing.scheme_of(each.run) for each in runs)
    title = f"{study.name}: {', '.join(names)}"
    try:
        files = comparison_files.write(
            compared, executed.campaign.directory, title, heading, _command()
        )
    except OSError as error:
        what = f"{executed.campaign.directory}: {error.strerror or error}"
        raise StudyError(options.study, [Problem("--out", what)]) from None
    together = Runs(tuple(run for each in runs for run in each.run.runs))
    several = compared.runs["point"].nunique() > 1
    return Answer(
        question,
        heading,
        executed,
        compared,
        fronts(together) if several else None,
        files,
        derived,
    )


def _print_answer(answer: Answer) -> None:
    if answer.compared is not None:
        print_text(out, Text.assemble((f"{answer.question}", "bold"), f": {answer.heading}"))
        print_comparison(out, answer.compared)
    if answer.fronts is not None:
        print_fronts(out, answer.fronts)
    executed = answer.executed
    counts = f"{len(executed.campaign.runs)} runs, of which {executed.already_there}"
    out.print(f"{counts} were already there")
    if answer.files:
        out.print(f"written: {', '.join(map(str, answer.files))}", soft_wrap=True)


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


def _config(run: CampaignRun) -> StudyConfig:
    """The study of a run."""
    return Study.from_yaml(run.study).config


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


def _facts(answers: Sequence[Answer], warnings: Sequence[Problem]) -> dict[str, Any]:
    """The JSON object of the command: of one question its answer, of several a list of them."""
    facts = [{**_facts_of(each), "warnings": problems_json(warnings)} for each in answers]
    if len(facts) == 1:
        return facts[0]
    return {"ok": all(each["ok"] for each in facts), "questions": facts}


def _facts_of(answer: Answer) -> dict[str, Any]:
    executed, compared = answer.executed, answer.compared
    return {
        "ok": not executed.failed,
        "question": str(answer.question),
        "heading": answer.heading,
        "derived": answer.derived,
        "directory": str(executed.campaign.directory),
        "reference": compared.reference if compared else None,
        "cells": len(executed.campaign.runs),
        "already_there": executed.already_there,
        "failed": {ended.run.name: ended.error for ended in executed.failed},
        "notes": list(compared.notes) if compared else [],
        "summary": compared.summary.to_dict("records") if compared else [],
        "runs": compared.runs.to_dict("records") if compared else [],
        "fronts": [] if answer.fronts is None else answer.fronts.to_dict("records"),
    }


def _command() -> str:
    words = shlex.join(["collapipe-ns3", *sys.argv[1:]])
    return os.fsencode(words).decode("utf-8", "backslashreplace")  # a path may not be UTF-8
