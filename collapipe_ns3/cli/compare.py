"""The command `compare`: a campaign, and its comparison as a table, files and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collapipe_ns3.cli.options import JsonOption, SetOption, StudyArgument
from collapipe_ns3.cli.tensorboard import TensorBoardOption, expect_tensorboard
from collapipe_ns3.cli.terminal import failures

SCHEMES = "vanilla_fl,pipeline,titanic,collapipe"


def compare(
    study: StudyArgument,
    schemes: Annotated[str, typer.Option(metavar="A,B", help="The schemes to compare.")] = SCHEMES,
    seeds: Annotated[str, typer.Option(metavar="0-4", help="Seeds, as a range or a list.")] = "0-4",
    rounds: Annotated[int | None, typer.Option(metavar="N", help="How many rounds.")] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="A.B=1,2", help="A key of the study to vary; repeatable."),
    ] = None,
    sets: SetOption = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            metavar="papers|exchange|memory|energy|all",
            help="What to compare; repeatable. papers (unless given): each scheme as its paper has "
            "it. exchange: all schemes with the same exchange of parameters. memory, energy: the "
            "reference with the memory or the energy that the scheme of --budgets-of takes.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes at a time.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://…", help="Execute the runs on this Dask cluster.")
    ] = None,
    target_loss: Annotated[
        float | None, typer.Option(metavar="X", help="Compare the time until this loss.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="S", help="The scheme that the others are compared with.")
    ] = None,
    budgets_of: Annotated[
        str | None,
        typer.Option(metavar="S", help="The scheme that takes them; by default titanic."),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where everything is written.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make runs again that other code made.")
    ] = False,
    keep_stale: Annotated[
        bool, typer.Option("--keep-stale", help="Use runs that other code made, and mark them.")
    ] = False,
    tensorboard: TensorBoardOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a study under several schemes and seeds, and compare them.

    After a stop, the same command continues the campaign where it was. Each question other than
    papers has a directory of its own beside that of papers.
    """
    with failures(study, as_json):
        # Imported here: pandas, scipy and matplotlib take seconds to import.
        from collapipe_ns3.cli import compare_run

        if tensorboard is not None:
            expect_tensorboard(study, "--tensorboard")
        options = compare_run.CompareOptions(
            study=study,
            schemes=schemes,
            seeds=seeds,
            rounds=rounds,
            grid=grid or (),
            sets=sets or (),
            questions=question or (),
            jobs=jobs,
            scheduler=scheduler,
            target_loss=target_loss,
            reference=reference,
            budgets_of=budgets_of,
            out_dir=out_dir,
            fresh=fresh,
            keep_stale=keep_stale,
            tensorboard=tensorboard,
            as_json=as_json,
        )
        raise typer.Exit(0 if compare_run.compare(options) else 1)
