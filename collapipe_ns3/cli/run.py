"""The command `run`: one study, with its progress, its rounds and what failed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.markup import escape
from rich.text import Text

import collapipe_ns3
from collapipe_ns3.cli import run_view
from collapipe_ns3.cli.options import JsonOption, SchemeOption, SeedOption, SetOption, StudyArgument
from collapipe_ns3.cli.tables import print_table, print_text
from collapipe_ns3.cli.tensorboard import (
    EventFiles,
    TensorBoardOption,
    expect_tensorboard,
    how_to_look,
)
from collapipe_ns3.cli.terminal import err, failures, out, print_json, problems_json, warn

if TYPE_CHECKING:
    import pandas as pd

    from collapipe_ns3.config.study import StudyConfig
    from collapipe_ns3.problems import Problem
    from ns3_scenarios.traces import TraceKind


def run(
    study: StudyArgument,
    scheme: SchemeOption = None,
    rounds: Annotated[int | None, typer.Option(metavar="N", help="How many rounds.")] = None,
    seed: SeedOption = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the run is written.")
    ] = None,
    sets: SetOption = None,
    resume: Annotated[bool, typer.Option(help="Continue the run in DIR.")] = False,
    other_code: Annotated[
        bool, typer.Option("--other-code", help="Resume even if other code made its rounds.")
    ] = False,
    device: Annotated[str, typer.Option(help="The torch device of all tensors.")] = "cpu",
    watchdog: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=1.0, help="End after this wall time without progress."),
    ] = 3600.0,
    pcap: Annotated[bool, typer.Option("--pcap", help="Write pcap files of every node.")] = False,
    ascii_: Annotated[bool, typer.Option("--ascii", help="Write every IP packet as text.")] = False,
    flowmon: Annotated[bool, typer.Option("--flowmon", help="Write FlowMonitor's XML.")] = False,
    netanim: Annotated[bool, typer.Option("--netanim", help="Write NetAnim's XML.")] = False,
    tensorboard: TensorBoardOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one study, and print its rounds."""
    options: dict[TraceKind, bool] = {
        "pcap": pcap, "ascii": ascii_, "flowmon": flowmon, "netanim": netanim
    }  # fmt: skip
    traces = [kind for kind, on in options.items() if on]
    with failures(study, as_json):
        from collapipe_ns3.problems import Problem, StudyError
        from collapipe_ns3.reading.warnings import trace_warnings
        from collapipe_ns3.run.progress import shown

        loaded = collapipe_ns3.Study.load(study, sets or (), scheme=scheme)
        loaded = loaded.with_(seed=seed, rounds=rounds)
        if other_code and not resume:
            raise StudyError(study, [Problem("--other-code", "expected only with --resume")])
        if tensorboard is not None:
            expect_tensorboard(study, "--tensorboard")
        path = loaded.directory(out_dir, resume=resume, other_code=other_code)
        warnings = [*loaded.warnings, *trace_warnings(loaded.config, traces)]
        warn(warnings)
        events = EventFiles(study, tensorboard, [path]) if tensorboard is not None else None
        try:
            with shown(loaded.config.rounds, err) as on_progress:
                result = loaded.run(
                    out=path,
                    resume=resume,
                    other_code=other_code,
                    device=device,
                    watchdog_s=watchdog,
                    on_progress=on_progress,
                    on_round=partial(events.update, path) if events else lambda: None,
                    traces=traces,
                )
        except KeyboardInterrupt:
            again = ["run", study, *(f"--set={each}" for each in sets or ())]
            again += [f"--scheme={scheme}"] * (scheme is not None)
            again += [f"--seed={seed}"] * (seed is not None)
            again += [f"--rounds={rounds}"] * (rounds is not None)
            again += ["--other-code"] * other_code
            again += [f"--{kind}" for kind in traces]
            again += [f"--tensorboard={tensorboard}"] * (tensorboard is not None)
            _interrupted(loaded.config, path, again, as_json)
        warn(result.warnings)
        if events:
            events.update(path)  # where nothing was left to run, no round called it
        _show_result(loaded.config, result, [*warnings, *result.warnings], as_json)
        if tensorboard is not None and not as_json:
            print_text(out, how_to_look(tensorboard))
        if not _without_loss(result.rounds).empty:  # every cluster was abandoned, or it diverged
            raise typer.Exit(1)


def _show_result(
    config: StudyConfig, result: collapipe_ns3.Result, warnings: Sequence[Problem], as_json: bool
) -> None:
    """Prints the result as a table, or as JSON."""
    rounds = result.rounds
    metric = result.manifest.get("task", {}).get("metric")  # not recorded by earlier versions
    if as_json:
        print_json(
            {
                "ok": _without_loss(rounds).empty,
                "study": config.name,
                "scheme": config.scheme.name,
                "seed": config.seed,
                "directory": str(result.directory),
                "metric": metric,
                "warnings": problems_json(warnings),
                "rounds": rounds.to_dict("records"),
                "failed_pipelines": result.pipelines.query("fate == 'failed'").to_dict("records"),
            }
        )
        return
    named = f", metric: {escape(metric['name'])}" if metric else ""
    out.print(
        f"[bold]{config.name}[/]: {config.scheme.name}, seed {config.seed}, "
        f"{rounds['duration_s'].sum():.2f} s simulated{named}",
        soft_wrap=True,
    )
    print_table(out, run_view.rounds_table(rounds))
    lossless = _without_loss(rounds)
    if diverged := lossless.loc[lossless["abandoned"] == "", "round"].to_list():
        out.print(f"[yellow]training diverged[/]: the loss of round {diverged[0]} is not a number")
    for line in (*run_view.waiting_lines(rounds), *run_view.failure_lines(result.pipelines)):
        print_text(out, Text.from_markup(line))
    absent = result.devices.query("sits_out != ''").groupby("device", observed=True)["sits_out"]
    for device, why in absent.last().items():
        print_text(out, Text.assemble((f"{device} sat out", "yellow"), f": {why}"))
    out.print(f"tables, plans and checkpoint: {result.directory}", soft_wrap=True)


def _without_loss(rounds: pd.DataFrame) -> pd.DataFrame:
    """The rounds whose loss is not a number, although they did not only wait for nodes."""
    return rounds[rounds["loss"].isna() & ~(rounds["waited_s"] > 0)]


def _interrupted(config: StudyConfig, path: Path, again: Sequence[str], as_json: bool) -> NoReturn:
    """Reports the rounds that are kept, and the command that continues the run; ends with 130."""
    from run_directory.whole import rounds_done

    done = rounds_done(path)
    if as_json:
        facts = {"ok": False, "error": "interrupted", "directory": str(path)}
        print_json({**facts, "rounds_done": done})
    command = shlex.join(["collapipe-ns3", *again, f"--out={path}", "--resume"])
    kept = f"{path} holds them; continue with:\n  {command}" if done else "nothing is left of it"
    err.print(
        f"stopped after {done} of {config.rounds} rounds; {kept}", soft_wrap=True, markup=False
    )
    raise typer.Exit(130)
