"""The contract of plug-ins, as checks that `collapipe-ns3 check` makes.

A plug-in is a scheme or a learning task, by its name or as `module:Class`, or a scenario, as
`module:function`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from bridge.loop import EndlessWait
from collapipe_ns3.plan import PlanError
from collapipe_ns3.plugins import RAISED, PluginFailed, described
from ns3_scenarios.runtime import SimulationError

State = Literal["ok", "failed", "not run"]


class Violation(Exception):
    """A plug-in does not do what its contract requires."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check; `note` says what failed, or has a remark."""

    name: str
    state: State
    note: str = ""


#: The name of a check, and the check itself, which returns a note or None, and raises on failure.
Step = tuple[str, Callable[[], str | None]]


def run_checks(stages: Iterable[Iterable[Step]]) -> Iterator[Check]:
    """Makes all checks of each stage, and those of later stages only if all earlier ones passed."""
    passed = True
    for stage in stages:
        checks: list[Check] = []
        for name, check in stage:
            checks.append(_run_check(name, check) if passed else Check(name, "not run"))
            yield checks[-1]
        passed = all(each.state == "ok" for each in checks)


def _run_check(name: str, check: Callable[[], str | None]) -> Check:
    try:
        return Check(name, "ok", check() or "")
    except (Violation, PluginFailed, PlanError, SimulationError, EndlessWait) as error:
        return Check(name, "failed", str(error))
    except RAISED as error:  # from a call that no guard wraps
        return Check(name, "failed", described(error))
