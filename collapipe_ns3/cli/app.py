"""The command line: `collapipe-ns3 COMMAND …`.

Progress and messages go to stderr, results to stdout. With `--json` a command prints one JSON
object on stdout and nothing else, errors of usage included. Exit codes: 0 when all went well, 1
where a simulation failed, 2 for bad input, 130 after Ctrl-C.

A command imports what it needs when it is called: pandas, torch and ns-3 take seconds to import,
which `--help` should not wait for.
"""

from __future__ import annotations

from typing import Annotated

import typer

from collapipe_ns3.cli.check import check
from collapipe_ns3.cli.compare import compare
from collapipe_ns3.cli.doctor import doctor
from collapipe_ns3.cli.figure import CONTEXT as FIGURE_CONTEXT
from collapipe_ns3.cli.figure import figure
from collapipe_ns3.cli.listings import profiles, schemes, studies, tasks
from collapipe_ns3.cli.replay import replay
from collapipe_ns3.cli.report import report
from collapipe_ns3.cli.run import run
from collapipe_ns3.cli.study_commands import plan, schema, show, validate
from collapipe_ns3.cli.tensorboard import tensorboard
from collapipe_ns3.cli.terminal import out
from collapipe_ns3.cli.trace import trace
from collapipe_ns3.cli.usage_errors import JsonErrorGroup

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


#: In the order of `--help`.
COMMANDS = (
    run, compare, report, figure, trace, tensorboard, check, replay, show, validate, plan, schema,
    studies, profiles, schemes, tasks, doctor,
)  # fmt: skip

for command in COMMANDS:
    app.command(context_settings=FIGURE_CONTEXT if command is figure else None)(command)
