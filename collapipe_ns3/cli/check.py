"""The command `check`: whether a user's scheme, task or scenario fulfils its contract."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from collapipe_ns3.cli.terminal import err, failures, out, print_json

if TYPE_CHECKING:
    from collapipe_ns3.contract.scenario import ScenarioContract
    from collapipe_ns3.contract.scheme import SchemeContract
    from collapipe_ns3.contract.task import TaskContract

    Contract = SchemeContract | TaskContract | ScenarioContract

_COLOURS = {"ok": "green", "failed": "bold red", "not run": "yellow"}


def check(
    plugin: Annotated[
        str,
        typer.Argument(
            metavar="SCHEME|TASK|SCENARIO",
            help="A scheme's or task's name, or module:Class; or a scenario's module:function.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check whether a scheme, a learning task or a scenario of your own fulfils its contract.

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


def _contract_of(plugin: str, as_json: bool) -> Contract:
    """The contract to check the plug-in against; exits with code 2 where there is no plug-in."""
    from collapipe_ns3 import schemes
    from collapipe_ns3.learning import registry
    from collapipe_ns3.topology import own_scenario

    try:
        return _named(plugin) if ":" not in plugin else _found(plugin)
    except (schemes.UnknownScheme, registry.UnknownTask, own_scenario.BadScenario) as error:
        if as_json:
            print_json({"ok": False, "plugin": plugin, "error": str(error)})
        err.print(f"[bold red]{escape(plugin)}[/]: {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None


def _named(name: str) -> Contract:
    """The contract of an installed scheme or task; a scheme where both have the name."""
    from collapipe_ns3 import schemes
    from collapipe_ns3.contract.scheme import SchemeContract
    from collapipe_ns3.contract.task import TaskContract
    from collapipe_ns3.learning import registry
    from collapipe_ns3.names import did_you_mean

    known = schemes.SCHEMES.names()
    if name in known:
        with schemes.failing_as(name, "being loaded"):
            return SchemeContract(name, schemes.factory(name))
    if name in registry.TASKS.names():
        return TaskContract(name, registry.factory(name))
    hint = did_you_mean(name, [*known, *registry.TASKS.names()])
    raise schemes.UnknownScheme(f"no scheme or task {name!r}; {hint}")


def _found(place: str) -> Contract:
    """The contract of a class or function at `module:name`.

    A class with the method `batches` or `evaluate` is a task, any other class a scheme.
    """
    from collapipe_ns3.contract.scenario import ScenarioContract
    from collapipe_ns3.contract.scheme import SchemeContract
    from collapipe_ns3.contract.task import TaskContract
    from collapipe_ns3.topology import own_scenario

    found = own_scenario.find(place)
    if not isinstance(found, type):
        return ScenarioContract(place, found)
    if hasattr(found, "batches") or hasattr(found, "evaluate"):
        return TaskContract(place, found)
    return SchemeContract(place, found)
