"""The command `compare`: a campaign, and what came out of it as a table, files and a figure."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import collapipe_ns3
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.terminal import err, failures, listed, out, print_json, warn

if TYPE_CHECKING:
    from analysis.compare import Cell as ComparedCell
    from analysis.compare import Comparison
    from collapipe_ns3.campaign import Campaign, Cell, Ended
    from collapipe_ns3.problems import Problem

SCHEMES = "vanilla_fl,pipeline,titanic,collapipe"


def compare(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A bundled study's name, or a YAML file.")
    ],
    schemes: Annotated[str, typer.Option(metavar="A,B", help="What to compare.")] = SCHEMES,
    seeds: Annotated[str, typer.Option(metavar="0-4", help="Seeds, as a range or a list.")] = "0-4",
    rounds: Annotated[int | None, typer.Option(metavar="N", help="How many rounds.")] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="A.B=1,2", help="A key of the study to vary; repeatable."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=VALUE", help="Overrides a key; repeatable."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes at a time.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://…", help="Run the cells on this Dask cluster.")
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option(metavar="X", help="The loss whose time is compared.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="S", help="What the differences are from.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where everything is written.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a study under several schemes and seeds, and compare them.

    A campaign that was stopped goes on where it was when the same command is given again.
    """
    # Only now: pandas, scipy and matplotlib take seconds to import.
    from analysis import comparison_files
    from analysis.compare import load_campaign
    from collapipe_ns3 import campaign
    from collapipe_ns3.display_compare import print_comparison

    with failures(study, as_json):
        names = list(dict.fromkeys(name.strip() for name in schemes.split(",")))
        planned = _plan(
            study,
            names,
            seeds,
            grid or (),
            sets or (),
            rounds,
            out_dir,
            reference,
            target_loss,
        )
        warnings = _warnings(planned.cells)
        warn(warnings)
        with campaign.held(planned, study):
            failed = [ended for ended in _run(study, planned, jobs, scheduler) if ended.error]
        done = [cell for cell in planned.cells if cell not in {each.cell for each in failed}]
        points = {cell.name: ", ".join(cell.sets) for cell in done}
        cells = load_campaign(planned.directory, points)
        if cells:
            compared = _compared(study, cells, reference, target_loss)
            heading = f"{_name_of(planned.cells)}: {', '.join(names)}"
            files = comparison_files.write(compared, planned.directory, heading, _command())
            if as_json:
                print_json(_facts(planned, compared, failed, warnings))
            else:
                print_comparison(out, compared)
                out.print(f"written: {', '.join(map(str, files))}", soft_wrap=True)
        for ended in failed:
            err.print(f"[bold red]{ended.cell.name} failed[/]: ", end="")
            err.print(ended.error, markup=False, soft_wrap=True)
        raise typer.Exit(1 if failed else 0)


def _plan(
    study: str,
    schemes: Sequence[str],
    seeds: str,
    grid: Sequence[str],
    sets: Sequence[str],
    rounds: int | None,
    out_dir: Path | None,
    reference: str | None,
    target_loss: float | None,
) -> Campaign:
    """The campaign that these options describe; what is wrong with any is told at once."""
    from collapipe_ns3 import campaign
    from collapipe_ns3.problems import Problem, StudyError
    from collapipe_ns3.study import RUNS

    problems: list[Problem] = []
    kept: dict[str, Any] = {"seeds": [0], "grid": {}}
    for option, read in (
        ("seeds", lambda: campaign.parse_seeds(seeds)),
        ("grid", lambda: campaign.parse_grid(grid)),
    ):
        try:
            kept[option] = read()
        except ValueError as error:
            problems.append(Problem(f"--{option}", str(error)))
    if "rounds" in kept["grid"] and rounds is not None:
        problems.append(Problem("--grid", "expected rounds here or in --rounds, not in both"))
    if reference is not None and reference not in schemes:
        hint = did_you_mean(reference, schemes)
        problems.append(Problem("--reference", f"no scheme {reference!r} among them; {hint}"))
    if target_loss is not None and not math.isfinite(target_loss):
        problems.append(Problem("--target-loss", f"expected a number, not {target_loss}"))
    try:
        cells = campaign.cells(study, sets, schemes=schemes, rounds=rounds, **kept)
    except StudyError as error:
        raise StudyError(study, [*problems, *error.problems]) from None
    if problems:
        raise StudyError(study, problems)
    return campaign.claimed(study, cells, out_dir or RUNS / f"compare-{_name_of(cells)}")


def _warnings(cells: Sequence[Cell]) -> list[Problem]:
    """What is doubtful in any cell: of each place what is said of the first cell that has it.

    Another scheme changes nothing of it; another seed may change figures in it.
    """
    found: list[Problem] = []
    for cell in {(cell.seed, cell.sets): cell for cell in cells}.values():
        known = {warning.path for warning in found}
        found += [
            each
            for each in collapipe_ns3.Study.from_yaml(cell.study).warnings
            if each.path not in known
        ]
    return found


def _name_of(cells: Sequence[Cell]) -> str:
    """The study's own name, which all cells have."""
    return collapipe_ns3.Study.from_yaml(cells[0].study).config.name


def _run(study: str, planned: Campaign, jobs: int | None, scheduler: str | None) -> Iterator[Ended]:
    """Runs what is missing, with a bar on stderr."""
    from collapipe_ns3 import campaign
    from collapipe_ns3.problems import Problem, StudyError

    missing = planned.missing()
    with _bar(planned, missing) as on_round:
        if scheduler is None:
            yield from campaign.run_here(planned, jobs or os.cpu_count() or 1, on_round)
            return
        try:
            yield from campaign.run_on_dask(planned, scheduler)
        except (OSError, ValueError) as error:  # nobody there, or no address
            raise StudyError(study, [Problem("--scheduler", f"{scheduler}: {error}")]) from None
        except ImportError:
            missing_extra = "needs the extra: pip install 'collapipe-ns3[dask]'"
            raise StudyError(study, [Problem("--scheduler", missing_extra)]) from None


@contextmanager
def _bar(planned: Campaign, missing: Sequence[Cell]) -> Iterator[Any]:
    bar = Progress(
        TextColumn("rounds"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(f"of {len(missing)} runs; {len(planned.cells) - len(missing)} were there"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    rounds = sum(collapipe_ns3.Study.from_yaml(cell.study).config.rounds for cell in missing)
    with bar:
        task = bar.add_task("", total=rounds)
        yield lambda cell: bar.advance(task)


def _compared(
    study: str,
    cells: Sequence[ComparedCell],
    reference: str | None,
    target_loss: float | None,
) -> Comparison:
    from analysis.compare import compare as compared
    from collapipe_ns3.problems import Problem, StudyError

    try:
        return compared(cells, reference, target_loss)
    except ValueError as error:
        raise StudyError(study, [Problem("--reference", str(error))]) from None


def _facts(
    planned: Campaign,
    compared: Comparison,
    failed: Sequence[Ended],
    warnings: Sequence[Problem],
) -> dict[str, Any]:
    return {
        "ok": not failed,
        "directory": str(planned.directory),
        "reference": compared.reference,
        "failed": {ended.cell.name: ended.error for ended in failed},
        "warnings": listed(warnings),
        "summary": compared.summary.to_dict("records"),
        "runs": compared.runs.to_dict("records"),
    }


def _command() -> str:
    return shlex.join(["collapipe-ns3", *sys.argv[1:]])
