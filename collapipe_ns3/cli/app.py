"""The command line: `collapipe-ns3 COMMAND …`.

Progress and messages go to stderr, results to stdout. With `--json` a command prints one JSON
object on stdout and nothing else, errors of usage included. Exit codes: 0 when all went well, 1
where a simulation failed, 2 for bad input, 130 after Ctrl-C.

A command imports what it needs when it is called: pandas, torch and ns-3 take seconds to import,
which `--help` should not wait for.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.text import Text

import collapipe_ns3
from collapipe_ns3.cli import run_view
from collapipe_ns3.cli.check import check
from collapipe_ns3.cli.compare import compare
from collapipe_ns3.cli.listings import profiles, schemes, studies
from collapipe_ns3.cli.options import JsonOption, SchemeOption, SeedOption, SetOption, StudyArgument
from collapipe_ns3.cli.tables import print_table, print_text
from collapipe_ns3.cli.terminal import err, failures, out, print_json, problems_json, warn
from collapipe_ns3.cli.usage_errors import JsonErrorGroup

if TYPE_CHECKING:
    from collapipe_ns3.config.study import StudyConfig
    from collapipe_ns3.problems import Problem
    from ns3_scenarios.traces import TraceKind

app = typer.Typer(
    name="collapipe-ns3",
    cls=JsonErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        out.print(version("collapipe-ns3"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Collaborative pipeline training of Transformers over ns-3 wireless networks."""


@app.command()
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
        path = loaded.directory(out_dir, resume=resume, other_code=other_code)
        warnings = [*loaded.warnings, *trace_warnings(loaded.config, traces)]
        warn(warnings)
        try:
            with shown(loaded.config.rounds, err) as on_progress:
                result = loaded.run(
                    out=path,
                    resume=resume,
                    other_code=other_code,
                    device=device,
                    watchdog_s=watchdog,
                    on_progress=on_progress,
                    traces=traces,
                )
        except KeyboardInterrupt:
            again = ["run", study, *(f"--set={each}" for each in sets or ())]
            again += [f"--scheme={scheme}"] * (scheme is not None)
            again += [f"--seed={seed}"] * (seed is not None)
            again += [f"--rounds={rounds}"] * (rounds is not None)
            again += ["--other-code"] * other_code
            again += [f"--{kind}" for kind in traces]
            _interrupted(loaded.config, path, again, as_json)
        warn(result.warnings)
        _show_result(loaded.config, result, [*warnings, *result.warnings], as_json)
        if result.rounds["loss"].isna().any():  # every cluster was abandoned, or training diverged
            raise typer.Exit(1)


app.command()(compare)
app.command()(check)


@app.command()
def replay(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    number: Annotated[int, typer.Option("--round", metavar="N", help="The round, from 0.")],
    pcap: Annotated[
        Path | None, typer.Option("--pcap", metavar="DIR", help="Write pcap files of every node.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run one round of a run again, alone, and compare it with the records."""
    with failures(str(run_dir), as_json):
        from collapipe_ns3.problems import Problem, StudyError
        from collapipe_ns3.run.replay import replay
        from ns3_scenarios.traces import TraceFiles

        try:
            again = replay(run_dir, number, TraceFiles(pcap, ["pcap"]) if pcap else None)
        except OSError as error:
            problem = Problem("--pcap", f"{pcap}: {error.strerror or error}")
            raise StudyError(str(run_dir), [problem]) from None
        facts = {
            "ok": not again.different,
            "round": number,
            "duration_s": again.outcome.duration_ns / 1e9,
            "transfers": len(again.outcome.deliveries),
            "different": list(again.different),
            "other_code": list(again.other_code),
            "warnings": problems_json(again.warnings),
        }
        warn(again.warnings)
        if as_json:
            print_json(facts)
        else:
            print_text(out, str(again.plan))
            result = ", ".join(again.different) + " differ" if again.different else "as recorded"
            out.print(
                f"{facts['duration_s']:.6f} s simulated, {facts['transfers']} transfers: {result}"
            )
            for changed in again.other_code:
                line = f"other code than the round was made by: {changed}"
                out.print(line, markup=False, soft_wrap=True)
        raise typer.Exit(1 if again.different else 0)


@app.command()
def show(study: StudyArgument, sets: SetOption = None, as_json: JsonOption = False) -> None:
    """Show a study as resolved, with all defaults."""
    with failures(study, as_json):
        from rich.syntax import Syntax

        from collapipe_ns3.cli.study_view import nodes_table
        from collapipe_ns3.reading import study_file

        config = study_file.resolved(collapipe_ns3.Study.load(study, sets or ()).config)
        if as_json:
            print_json(config.model_dump(mode="json"))
        else:
            text = study_file.dump(config)
            if out.is_terminal:
                out.print(Syntax(text, "yaml", background_color="default", word_wrap=True))
            else:  # unformatted, so that it can be saved as a study file
                print(text, end="", file=out.file)
            print_table(err, nodes_table(config))


@app.command()
def validate(study: StudyArgument, sets: SetOption = None, as_json: JsonOption = False) -> None:
    """Find all errors of a study: in its keys, its first plan, and its network in ns-3."""
    with failures(study, as_json):
        loaded = collapipe_ns3.Study.load(study, sets or ())
        first, found = loaded.try_out()
        warnings = [*loaded.warnings, *found]
        warn(warnings)
        if as_json:
            facts = {
                "ok": True,
                "study": study,
                "problems": [],
                "warnings": problems_json(warnings),
            }
            print_json(facts)
        else:
            out.print(f"[green]ok[/]: {study} can be run; its first plan:\n")
            print_text(out, str(first))


@app.command()
def plan(
    study: StudyArgument,
    scheme: SchemeOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the links, plan one round, and show the plan and its predicted timeline."""
    with failures(study, as_json):
        from collapipe_ns3.cli.plan_view import print_preview

        loaded = collapipe_ns3.Study.load(study, sets or (), scheme=scheme).with_(seed=seed)
        shown = loaded.preview()
        warnings = [*loaded.warnings, *shown.warnings]
        warn(warnings)
        if as_json:
            print_json({**shown.to_json(), "warnings": problems_json(warnings)})
        else:
            print_preview(out, shown)


@app.command()
def schema() -> None:
    """Print the JSON schema of study files."""
    from collapipe_ns3.config.study import StudyConfig

    print_json(StudyConfig.model_json_schema())


for command in (studies, profiles, schemes):
    app.command()(command)


@app.command(name="doctor")
def doctor_command(as_json: JsonOption = False) -> None:
    """Check whether this machine can run studies, including a second of simulation."""
    from collapipe_ns3.cli import doctor

    results = list(doctor.run_checks())
    ok = all(each.ok for each in results)
    if as_json:
        details = {each.name: {"ok": each.ok, "detail": each.detail} for each in results}
        print_json({"ok": ok, "findings": details})
    else:
        print_table(out, doctor.results_table(results))
    raise typer.Exit(0 if ok else 1)


def _show_result(
    config: StudyConfig, result: collapipe_ns3.Result, warnings: Sequence[Problem], as_json: bool
) -> None:
    rounds = result.rounds
    if as_json:
        print_json(
            {
                "ok": bool(rounds["loss"].notna().all()),
                "study": config.name,
                "scheme": config.scheme.name,
                "seed": config.seed,
                "directory": str(result.directory),
                "warnings": problems_json(warnings),
                "rounds": rounds.to_dict("records"),
                "failed_pipelines": result.pipelines.query("fate == 'failed'").to_dict("records"),
            }
        )
        return
    out.print(
        f"[bold]{config.name}[/]: {config.scheme.name}, seed {config.seed}, "
        f"{rounds['duration_s'].sum():.2f} s simulated"
    )
    print_table(out, run_view.rounds_table(rounds))
    if diverged := rounds.loc[
        rounds["loss"].isna() & (rounds["abandoned"] == ""), "round"
    ].to_list():
        out.print(f"[yellow]training diverged[/]: the loss of round {diverged[0]} is not a number")
    for line in run_view.failure_lines(result.pipelines):
        print_text(out, Text.from_markup(line))
    absent = result.devices.query("sits_out != ''").groupby("device", observed=True)["sits_out"]
    for device, why in absent.last().items():
        print_text(out, Text.assemble((f"{device} sat out", "yellow"), f": {why}"))
    out.print(f"tables, plans and checkpoint: {result.directory}", soft_wrap=True)


def _interrupted(config: StudyConfig, path: Path, again: Sequence[str], as_json: bool) -> NoReturn:
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
