"""The checks of a scheme: its plans can be executed and repeated, and its memory is complete."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.compute import TorchThread
from collapipe_ns3.contract import Step, Violation
from collapipe_ns3.contract.settings import expect_settings
from collapipe_ns3.contract.study import NEAR, cpu_run, differences, links, rounds, tiny
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import PipelineFate, RoundOutcome
from collapipe_ns3.plan import PlanError
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.run.planning import Planning, validate_for
from collapipe_ns3.run.runner import Run
from collapipe_ns3.schemes import Scheme, failing_as
from collapipe_ns3.schemes.guard import GuardedScheme

_SLOW = {"profile": "raspberry-pi-4", "flops_per_s": 1e8}
_FULL = {"profile": "raspberry-pi-4", "memory_bytes": 1}
_MANY = (NEAR, ("jetson-nano",), (*NEAR, "jetson-nano", "phone-flagship"))

#: Test situations: the devices of each cluster, and the gain (linear) and loss rate of all links.
_SITUATIONS: Mapping[str, tuple[tuple[tuple[object, ...], ...], float, float]] = {
    "one cluster": ((NEAR,), 1e-7, 0.0),
    "several clusters": (_MANY, 1e-7, 0.0),
    "devices of unequal speed": ((("jetson-xavier-nx", _SLOW),), 1e-7, 0.0),
    "a device without memory": ((("jetson-nano", _FULL),), 1e-7, 0.0),
    "weak links": ((NEAR,), 1e-13, 0.9),
    "absent devices and an absent control unit": (_MANY, 1e-7, 0.0),
}

#: The nodes that are away in a situation.
_AWAY = {"absent devices and an absent control unit": ("c0.d1", "c1.cu", "c2.d0", "c2.d3")}


@dataclass(frozen=True, slots=True)
class SchemeContract:
    """The checks of a scheme with its default settings, which `make` constructs.

    A call that takes more than `watchdog_s` of wall time fails.
    """

    name: str
    make: Callable[..., Scheme]
    watchdog_s: float = 60.0

    def stages(self) -> Iterator[list[Step]]:
        """The checks in stages; each stage needs the earlier ones to pass."""
        yield [("settings have types and defaults", self._settings)]
        yield [("has the calls of a scheme", self._calls)]
        yield [("asks for soundings of existing links only", self._sounds)]
        first, *others, absent = _SITUATIONS
        yield [(f"plans for {first}", self._planner(first))]
        yield [
            *((f"plans for {what}", self._planner(what)) for what in others),
            ("plans for links without measurements", self._unmeasured),
            ("repeats its plan for the same observation", self._repeats),
            ("does not change its observation", self._leaves),
        ]
        yield [
            (f"plans for {absent}", self._planner(absent)),
            ("learns from a round", self._learns),
        ]
        yield [
            ("learns from a round in which pipelines failed", self._learns_from_failures),
            ("explains its plan in plain JSON", self._explains),
            ("reports energy queues and budgets of existing nodes only", self._queues),
        ]
        yield [("keeps in its memory all that its next plan depends on", self._remembers)]
        yield [
            ("runs with the same results twice", self._runs_twice),
            ("resumes after a stop with the same results", self._resumes),
        ]

    def _settings(self) -> None:
        expect_settings(self.make)

    def _calls(self) -> None:
        self._new()

    def _raw(self) -> Scheme:
        with failing_as(self.name, "being made"):
            return self.make()

    def _new(self) -> GuardedScheme:
        return GuardedScheme(self.name, self._raw(), self.watchdog_s)

    def _planning(self, situation: str = "one cluster") -> tuple[Planning, LinkBook]:
        clusters, gain, loss = _SITUATIONS[situation]
        away = _AWAY.get(situation, ())
        faults = {"nodes": [{"nodes": list(away), "away_s": [[0, None]]}]} if away else {}
        config = tiny(clusters, faults=faults)
        return Planning(config), links(config, gain, loss)

    def _planner(self, situation: str) -> Callable[[], str | None]:
        return lambda: self._plans(
            *self._planning(situation), may_refuse=situation != "one cluster"
        )

    def _unmeasured(self) -> str | None:
        planning, _ = self._planning()
        return self._plans(planning, LinkBook(), may_refuse=True)

    def _sounds(self) -> None:
        planning, book = self._planning()
        for known in (LinkBook(), book):
            self._new().sounding(0, planning.observation(known))

    def _plans(self, planning: Planning, book: LinkBook, may_refuse: bool) -> str | None:
        """Plans a round and validates the plan; the note says why a run would refuse it."""
        seen = planning.observation(book)
        try:
            plan = self._new().plan(0, seen)
        except PlanError as refused:
            if not may_refuse:
                raise
            return f"refuses: {refused}"
        try:
            validate_for(seen, plan)
        except PlanError as refused:
            validate_for(dataclasses.replace(seen, absent={}), plan)
            return f"a run with faults would refuse this plan: {refused}"
        lacking = [f"{where}: {what}" for where, what in memory_problems(plan, seen)]
        return f"a run would refuse this plan: {'; '.join(lacking)}" if lacking else None

    def _repeats(self) -> None:
        planning, book = self._planning()
        plans = [self._new().plan(0, planning.observation(book)) for _ in range(2)]
        if plans[0] != plans[1]:
            raise Violation(f"two plans for the same round:\n{plans[0]}\n{plans[1]}")

    def _leaves(self) -> None:
        planning, book = self._planning()
        seen = planning.observation(book)
        seen = dataclasses.replace(seen, profiles=dict(seen.profiles))
        before, scheme = copy.deepcopy(seen), self._raw()
        with failing_as(self.name, "planning round 0"):
            scheme.plan(0, seen)
        if changed := [
            field.name
            for field in dataclasses.fields(seen)
            if getattr(seen, field.name) != getattr(before, field.name)
        ]:
            raise Violation(f"it changed {', '.join(changed)} of its observation")

    def _run(self) -> Run:
        """A run of the tiny study with a new instance of the scheme."""
        run = cpu_run(tiny())
        run.scheme = self._new()
        return run

    def _executed(self) -> tuple[GuardedScheme, RoundOutcome, Observation]:
        """A scheme, the outcome of its executed plan, and its observation before the next round."""
        run = self._run()
        with TorchThread() as thread:
            outcome = run.execute(run.plan, run.pairs_to_sound(), thread).outcome
        known = run.links.after(outcome.links, outcome.duration_ns / 1e9)
        return run.scheme, outcome, run.observation(known)

    def _learns(self) -> None:
        scheme, outcome, seen = self._executed()
        scheme.learn(outcome)
        validate_for(seen, scheme.plan(1, seen))

    def _learns_from_failures(self) -> None:
        scheme, outcome, seen = self._executed()
        failed = [_failed(each) for each in outcome.pipelines]
        nothing: dict[str, Any] = dict.fromkeys(
            ("computations", "links", "gradients", "distortions"), ()
        )
        scheme.learn(dataclasses.replace(outcome, loss=math.nan, pipelines=failed, **nothing))
        validate_for(seen, scheme.plan(1, seen))

    def _explains(self) -> None:
        scheme, outcome, _ = self._executed()
        for each in (None, outcome):
            scheme.explain(0, each)

    def _queues(self) -> None:
        scheme, outcome, seen = self._executed()
        scheme.learn(outcome)
        scheme.energy_queues(0, seen.profiles)
        scheme.energy_budgets_j(0, seen)

    def _remembers(self) -> None:
        scheme, outcome, seen = self._executed()
        scheme.learn(outcome)
        restored = self._new()
        restored.remember(1, scheme.memory(1))
        _expect_same("soundings", *(each.sounding(1, seen) for each in (scheme, restored)))
        _expect_same("plan", *(each.plan(1, seen) for each in (scheme, restored)))
        _expect_same("memory", *(each.memory(1) for each in (scheme, restored)))

    def _runs_twice(self) -> None:
        _expect_same_rounds("two runs of one study", rounds(self._run), rounds(self._run))

    def _resumes(self) -> None:
        whole, parts = rounds(self._run), rounds(self._run, stopped=True)
        _expect_same_rounds("a run and one that was stopped after each round", whole, parts)


def _failed(fate: PipelineFate) -> PipelineFate:
    reason = "c0.cu → c0.d0: model of 1000 bytes was lost 3 times"
    return dataclasses.replace(fate, fate="failed", weight=0.0, loss=math.nan, reason=reason)


def _expect_same(what: str, original: object, restored: object) -> None:
    # Compared as text, in which nan equals nan.
    if repr(original) != repr(restored):
        raise Violation(f"its next {what} is different after its memory was restored:\n"
                     f"{original}\n{restored}")  # fmt: skip


def _expect_same_rounds(what: str, some: Any, others: Any) -> None:
    if found := list(differences(some, others)):
        raise Violation(f"{what} differ: {'; '.join(found[:3])}")
