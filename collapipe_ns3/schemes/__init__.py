"""Schemes: what decides, from what was measured and nothing else, how a round is run.

A scheme is a class found by the entry point group `collapipe_ns3.schemes`, so that a user's own
needs no change here. Its constructor takes the study's scheme settings as keywords.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from collapipe_ns3.keywords import model_of
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.observed import Medium as Medium
from collapipe_ns3.observed import Observation as Observation
from collapipe_ns3.outcome import RoundOutcome as Outcome
from collapipe_ns3.plan import PlanError, RoundPlan
from collapipe_ns3.plugins import RAISED, PluginFailed, described

GROUP = "collapipe_ns3.schemes"


class Scheme(Protocol):
    """Plans each round, and learns from how the last one went."""

    def plan(self, round: int, observation: Observation) -> RoundPlan: ...
    def learn(self, outcome: Outcome) -> None: ...


@runtime_checkable
class Remembering(Protocol):
    """What a scheme has beside that learns: its memory, as plain data for the checkpoint."""

    def memory(self) -> dict[str, Any]: ...
    def remember(self, memory: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Sounding(Protocol):
    """What a scheme has beside that wants links measured before it plans."""

    def sounding(self, observation: Observation) -> Sequence[tuple[str, str]]:
        """The links to sound at the beginning of the next round; that takes time and energy."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """What a scheme has beside that can say how its plans come about."""

    def explain(self, outcome: Outcome | None) -> dict[str, Any]:
        """How the last plan came about, and how it went if it was executed: plain data.

        Under `warnings` it may list what is doubtful in the study, mappings of a `path` in it and a
        `message`, which commands print.
        """
        ...

    def energy_queues(self) -> Mapping[str, float]:
        """Virtual energy queues by node, in budgets of a round, after what was learned last."""
        ...


class SchemeFailed(PluginFailed):
    """A scheme's own code raised, or handed back what it may not; the message says where."""


@contextmanager
def failing_as(name: str, doing: str) -> Iterator[None]:
    """Turns what a scheme's code raises into `SchemeFailed`, but for refused plans."""
    try:
        yield
    except (PlanError, UnknownScheme, SchemeFailed):
        raise
    except RAISED as error:
        raise SchemeFailed(f"scheme {name}, {doing}: {described(error)}") from error


class UnknownScheme(ValueError):
    """No scheme of this name is installed; the message names the nearest."""


def names() -> list[str]:
    """The names of all installed schemes, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def factory(name: str) -> Callable[..., Scheme]:
    """The class of an installed scheme; raises `UnknownScheme`."""
    found: Callable[..., Scheme] = _entry_point(name).load()
    return found


def target(name: str) -> str:
    """Where an installed scheme is, as `module:Class`; raises `UnknownScheme`."""
    return _entry_point(name).value


def _entry_point(name: str) -> EntryPoint:
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point
    raise UnknownScheme(f"no scheme {name!r}; {did_you_mean(name, names())}")


def make(name: str, settings: Mapping[str, Any]) -> Scheme:
    """A scheme with these settings, checked against the types of its constructor.

    Raises `UnknownScheme`, and pydantic's `ValidationError` for settings it can't take.
    """
    with failing_as(name, "being loaded"):
        model = settings_model(name)
    checked = model.model_validate(dict(settings))
    with failing_as(name, "being made"):
        return factory(name)(**{key: getattr(checked, key) for key in settings})


def settings_model(name: str) -> type[BaseModel]:
    """The settings that a scheme takes, as its constructor's parameters have them."""
    return model_of(factory(name), name)
