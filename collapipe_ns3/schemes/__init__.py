"""Schemes, which plan the rounds of a run from measurements alone.

A scheme is a class that is found by the entry point group `collapipe_ns3.schemes`, so a scheme of a
user's own needs no change here. The keywords of its constructor are the scheme's settings in the
study. `docs/own-scheme.md` explains how to write one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from collapipe_ns3.keywords import model_of
from collapipe_ns3.observed import Medium as Medium
from collapipe_ns3.observed import Observation as Observation
from collapipe_ns3.outcome import RoundOutcome as Outcome
from collapipe_ns3.plan import PlanError, RoundPlan
from collapipe_ns3.plugins import RAISED, PluginFailed, PluginGroup, described


class Scheme(Protocol):
    """What every scheme has: it plans each round and learns from its outcome."""

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The plan of a round; raises `PlanError` if there is none."""
        ...

    def learn(self, outcome: Outcome) -> None:
        """Called after each round with its outcome."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """Also implemented by a scheme with a memory, which is saved in checkpoints."""

    def memory(self) -> dict[str, Any]:
        """Everything that its next plans depend on, as plain data."""
        ...

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Restores what `memory` returned, in a scheme with the same settings."""
        ...


@runtime_checkable
class Sounding(Protocol):
    """Also implemented by a scheme that has links measured before it plans."""

    def sounding(self, observation: Observation) -> Sequence[tuple[str, str]]:
        """The links to sound at the beginning of the next round, which takes time and energy."""
        ...


@runtime_checkable
class Explaining(Protocol):
    """Also implemented by a scheme that reports how it made its plans."""

    def explain(self, outcome: Outcome | None) -> dict[str, Any]:
        """How the last plan was made and, if it was executed, how it performed, as plain data.

        `warnings` may be a list of doubtful settings of the study, which commands print: mappings
        with the `path` of a key and a `message`.
        """
        ...

    def energy_queues(self) -> Mapping[str, float]:
        """The virtual energy queue of each node, in multiples of its budget of a round."""
        ...


@runtime_checkable
class Budgeting(Protocol):
    """Also implemented by a scheme that keeps budgets of energy."""

    def energy_budgets_j(self, observation: Observation) -> Mapping[str, float]:
        """The budget of a round in joules, for every node that has one."""
        ...


class SchemeFailed(PluginFailed):
    """A scheme's own code raised an exception, or returned something invalid."""


@contextmanager
def failing_as(name: str, doing: str) -> Iterator[None]:
    """Turns exceptions of a scheme's code into `SchemeFailed`, except those that refuse a plan."""
    try:
        yield
    except (PlanError, UnknownScheme, SchemeFailed):
        raise
    except RAISED as error:
        raise SchemeFailed(f"scheme {name}, {doing}: {described(error)}") from error


class UnknownScheme(ValueError):
    """No scheme of this name is installed; the message has the most similar name."""


SCHEMES = PluginGroup("collapipe_ns3.schemes", "scheme", UnknownScheme)


def factory(name: str) -> Callable[..., Scheme]:
    """The class of an installed scheme; raises `UnknownScheme`."""
    found: Callable[..., Scheme] = SCHEMES.entry_point(name).load()
    return found


def make(name: str, settings: Mapping[str, Any]) -> Scheme:
    """Makes a scheme with these settings, checked against the types of its constructor.

    Raises `UnknownScheme`, and pydantic's `ValidationError` for invalid settings.
    """
    with failing_as(name, "being loaded"):
        model = settings_model(name)
    checked = model.model_validate(dict(settings))
    with failing_as(name, "being made"):
        return factory(name)(**{key: getattr(checked, key) for key in settings})


def settings_model(name: str) -> type[BaseModel]:
    """The settings of a scheme, which are the parameters of its constructor."""
    return model_of(factory(name), name)
