"""Calls a scheme safely: it is given copies, and what it returns is checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bridge.watched import watched
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.schemes import Scheme, SchemeFailed, failing_as
from collapipe_ns3.schemes.read_plain import (
    NotPlain,
    read_figures,
    read_json,
    read_memory,
    read_pairs,
    read_plan,
)

T = TypeVar("T")


class GuardedScheme:
    """A scheme under its name in the study, all of whose calls are checked.

    A call raises `SchemeFailed` if the scheme's code raises an exception (including `SystemExit`)
    or returns something other than the protocols in `collapipe_ns3.schemes` say. The scheme is
    given copies of collections, so that changing them has no effect elsewhere. Optional calls that
    a scheme lacks return an empty result. The constructor raises `SchemeFailed` if a required call
    is missing, or one of `memory` and `remember`.

    Every call raises `WatchdogExpired` if it takes more than `watchdog_s` of wall time, and can be
    interrupted by Ctrl-C.
    """

    def __init__(self, name: str, scheme: Scheme, watchdog_s: float | None = None) -> None:
        self.name = name
        self._watchdog_s = watchdog_s
        self._scheme = scheme
        lacking = [call for call in ("plan", "learn") if not hasattr(scheme, call)]
        remembers = [call for call in ("memory", "remember") if hasattr(scheme, call)]
        if len(remembers) == 1:
            lacking += {"memory", "remember"} - set(remembers)
        if lacking:
            raise SchemeFailed(f"scheme {name}: expected it to have {'() and '.join(lacking)}()")

    def sounding(self, round: int, observation: Observation) -> tuple[tuple[str, str], ...]:
        """The links to be sounded before a round."""
        nodes = observation.profiles.keys()
        return self._optional(
            "sounding",
            f"choosing links to sound before round {round}",
            lambda value: read_pairs(value, nodes),
            (),
            _own_observation(observation),
        )

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The plan of a round, read as plain data and with the scheme's name in the study."""
        doing = f"planning round {round}"
        own = _own_observation(observation)
        plan = self._checked(doing, lambda: self._scheme.plan(round, own), read_plan)
        if plan.round != round:
            what = f"expected a RoundPlan of round {round}, not one of round {plan.round}"
            raise SchemeFailed(f"scheme {self.name}, {doing}: {what}")
        return dataclasses.replace(plan, scheme=self.name)

    def explain(self, round: int, outcome: RoundOutcome | None) -> dict[str, Any]:
        """How the plan of a round was made, as data for JSON."""
        own = outcome and _own_outcome(outcome)
        return self._optional("explain", f"explaining round {round}", read_json, {}, own)

    def learn(self, outcome: RoundOutcome) -> None:
        """Lets the scheme learn from the outcome of a round."""
        doing = f"learning from round {outcome.round}"
        self._checked(doing, lambda: self._scheme.learn(_own_outcome(outcome)), lambda value: None)

    def energy_queues(self, round: int, nodes: Mapping[str, object]) -> dict[str, float]:
        """The virtual energy queues after a round, by node."""
        return self._optional(
            "energy_queues",
            f"reporting its energy queues after round {round}",
            lambda value: read_figures(value, nodes.keys()),
            {},
        )

    def energy_budgets_j(self, round: int, observation: Observation) -> dict[str, float]:
        """The energy budgets of a round, by node, for nodes that have one."""
        nodes = observation.profiles.keys()
        return self._optional(
            "energy_budgets_j",
            f"reporting its energy budgets of round {round}",
            lambda value: read_figures(value, nodes),
            {},
            _own_observation(observation),
        )

    def memory(self, round: int) -> dict[str, Any]:
        """The scheme's memory before a round, as data for a checkpoint."""
        doing = f"saving its memory before round {round}"
        return self._optional("memory", doing, read_memory, {})

    def remember(self, round: int, memory: Mapping[str, Any]) -> None:
        """Restores what `memory` returned before this round."""
        doing = f"restoring its memory before round {round}"
        self._optional("remember", doing, lambda value: None, None, memory)

    def _optional(
        self, call: str, doing: str, read: Callable[[object], T], absent: T, *arguments: object
    ) -> T:
        """The checked result of an optional call, `absent` if the scheme lacks it."""
        if not hasattr(self._scheme, call):
            return absent
        return self._checked(doing, lambda: getattr(self._scheme, call)(*arguments), read)

    def _checked(self, doing: str, call: Callable[[], object], read: Callable[[object], T]) -> T:
        def failing() -> T:
            with failing_as(self.name, doing):
                try:
                    return read(call())
                except NotPlain as error:
                    raise SchemeFailed(f"scheme {self.name}, {doing}: {error}") from None

        return watched(failing, f"scheme {self.name}, {doing}", self._watchdog_s)


def _own_observation(observation: Observation) -> Observation:
    mappings: dict[str, Any] = {
        key: dict(getattr(observation, key))
        for key in ("profiles", "sounding_j", "absent", "hazards", "repair_s")
    }
    exchange = observation.exchange
    if exchange is not None:
        exchange = dataclasses.replace(exchange, uploads=dict(exchange.uploads))
    return dataclasses.replace(observation, exchange=exchange, **mappings)


def _own_outcome(outcome: RoundOutcome) -> RoundOutcome:
    values = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    lists: dict[str, Any] = {key: tuple(v) for key, v in values.items() if isinstance(v, list)}
    mappings: dict[str, Any] = {key: dict(v) for key, v in values.items() if isinstance(v, dict)}
    return dataclasses.replace(outcome, **lists, **mappings)
