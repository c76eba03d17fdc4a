"""The command `check`: whether a scheme or a scenario of the user's own keeps its contract."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from collapipe_ns3.cli.terminal import err, failures, out, print_json

if TYPE_CHECKING:
    from collapipe_ns3.contract.scenario import ScenarioContract
    from collapipe_ns3.contract.scheme import SchemeContract

_COLOURS = {"ok": "green", "failed": "bold red", "not run": "yellow"}


def check(
    plugin: Annotated[
        str,
        typer.Argument(
            metavar="SCHEME|SCENARIO",
            help="A scheme's name, or module:Class; or a scenario's module:function.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check whether a scheme or a scenario of your own keeps its contract.

    It is tried in small situations, and in a tiny study of two rounds.
    """
    with failures(plugin, as_json):
        # Only now: torch takes seconds to import, and finding the plug-in runs its module.
        from collapipe_ns3.contract import made

        found = _found(plugin, as_json)
        checks = []
        for each in made(found.stages()):
            checks.append(each)
            if not as_json:
                note = f": {escape(each.note)}" if each.note else ""
                mark = f"[{_COLOURS[each.state]}]{each.state:8}[/]"
                out.print(f"{mark}{escape(each.name)}{note}", soft_wrap=True)
        ok = all(each.state == "ok" for each in checks)
        if as_json:
            listed = [dataclasses.asdict(each) for each in checks]
            print_json({"ok": ok, "plugin": plugin, "checks": listed})
        raise typer.Exit(0 if ok else 1)


def _found(plugin: str, as_json: bool) -> SchemeContract | ScenarioContract:
    """The contract that the plug-in is held against; exit code 2 where there is no such plug-in."""
    from collapipe_ns3 import schemes
    from collapipe_ns3.contract.scenario import ScenarioContract
    from collapipe_ns3.contract.scheme import SchemeContract
    from collapipe_ns3.topology import own_scenario

    try:
        if ":" not in plugin:
            with schemes.failing_as(plugin, "being loaded"):
                return SchemeContract(plugin, schemes.factory(plugin))
        made = own_scenario.find(plugin)
    except (schemes.UnknownScheme, own_scenario.BadScenario) as error:
        if as_json:
            print_json({"ok": False, "plugin": plugin, "error": str(error)})
        err.print(f"[bold red]{escape(plugin)}[/]: {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    if isinstance(made, type):
        return SchemeContract(plugin, made)
    return ScenarioContract(plugin, made)
