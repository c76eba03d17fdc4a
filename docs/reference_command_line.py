"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click
from typer.core import TyperGroup

from collapipe_ns3.cli.app import app

PROGRAM = "collapipe-ns3"


def command_line() -> str:
    """A table of the commands, and a section for each, as Markdown."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    context = typer.Context(group, info_name=PROGRAM)
    table = ["| command | what it does |", "| --- | --- |"]
    sections = []
    for name, command in group.commands.items():
        summary, *_ = (command.help or "").strip().split("\n\n")
        table.append(f"| [`{name}`](#{PROGRAM}-{name}) | {' '.join(summary.split())} |")
        sections.append(
            get_docs_for_click(obj=command, ctx=context, name=name, indent=1, call_prefix=PROGRAM)
        )
    return "\n\n".join(["\n".join(table), *sections])
