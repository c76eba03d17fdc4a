"""The command `check`: whether a user's scheme or scenario fulfils its contract."""

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
    """Check whether a scheme or scenario of your own fulfils its contract.

    It is called in small test situations, and runs a tiny study of two rounds.
    """
    with failures(plugin, as_json):
        # Imported here: torch takes seconds to import, and a plug-in's module is executed.
        from collapipe_ns3.contract import run_checks

        contract = _contract_of(plugin, as_json)
        checks = []
        for each in run_checks(contract.stages()):
            checks.append(each)
            if not as_json:
                note = f": {escape(each.note)}" if each.note else ""
                mark = f"[{_COLOURS[each.state]}]{each.state:8}[/]"
                out.print(f"{mark}{escape(each.name)}{note}", soft_wrap=True)
        ok = all(each.state == "ok" for each in checks)
        if as_json:
            as_data = [dataclasses.asdict(each) for each in checks]
            print_json({"ok": ok, "plugin": plugin, "checks": as_data})
        raise typer.Exit(0 if ok else 1)


def _contract_of(plugin: str, as_json: bool) -> SchemeContract | ScenarioContract:
    """The contract to check the plug-in against; exits with code 2 where there is no plug-in."""
    from collapipe_ns3 import schemes
    from collapipe_ns3.contract.scenario import ScenarioContract
    from collapipe_ns3.contract.scheme import SchemeContract
    from collapipe_ns3.topology import own_scenario

    try:
        if ":" not in plugin:
            with schemes.failing_as(plugin, "being loaded"):
                return SchemeContract(plugin, schemes.factory(plugin))
        found = own_scenario.find(plugin)
    except (schemes.UnknownScheme, own_scenario.BadScenario) as error:
        if as_json:
            print_json({"ok": False, "plugin": plugin, "error": str(error)})
        err.print(f"[bold red]{escape(plugin)}[/]: {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    if isinstance(found, type):
        return SchemeContract(plugin, found)
    return ScenarioContract(plugin, found)
