"""The contract of plug-ins, as checks that their authors run: `collapipe-ns3 check`.

A plug-in is a scheme, by its name or as `module:Class`, or a scenario, as `module:function`.
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


class Breach(Exception):
    """What a plug-in does otherwise than the contract says."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check that was made: `note` says what failed, or what else there is to say."""

    name: str
    state: State
    note: str = ""


#: A check's name, and the check itself: it hands back a note, and raises where it fails.
Step = tuple[str, Callable[[], str | None]]


def run_checks(stages: Iterable[Iterable[Step]]) -> Iterator[Check]:
    """Makes every check of a stage; those of later stages only where all before are ok."""
    sound = True
    for stage in stages:
        checks: list[Check] = []
        for name, check in stage:
            checks.append(_made(name, check) if sound else Check(name, "not run"))
            yield checks[-1]
        sound = all(each.state == "ok" for each in checks)


def _made(name: str, check: Callable[[], str | None]) -> Check:
    try:
        return Check(name, "ok", check() or "")
    except (Breach, PluginFailed, PlanError, SimulationError, EndlessWait) as error:
        return Check(name, "failed", str(error))
    except RAISED as error:  # amid a call that nothing else looks after
        return Check(name, "failed", described(error))
