"""A round's decision as a record: the plan, how it came about, and what it is expected to do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collapipe_ns3.dssra.objective import State
from collapipe_ns3.dssra.planner import Move
from collapipe_ns3.dssra.timeline import Timeline
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.schemes import PhaseTimes

#: Phases that are corrected: uploads depend on when clusters have trained, not on a factor.
_CORRECTED = ("broadcast", "gather")

PHASES = ("broadcast", "pipeline", "gather", "upload", "aggregate")


@dataclass(frozen=True, slots=True)
class Terms:
    """The objective's terms: V·T, Σ (Q/Ē)·E and (Z/Γ̄)·Σ ρΓ."""

    delay: float
    energy: float
    divergence: float

    @property
    def total(self) -> float:
        return self.delay + self.energy + self.divergence


@dataclass(frozen=True, slots=True)
class Finalist:
    """A plan that was compared in the event graph, and its objective there."""

    name: str
    objective: float


@dataclass(frozen=True, slots=True)
class ClusterPrediction:
    """The phases of one cluster's round in seconds, `step_s` one of its training steps."""

    cluster: int
    broadcast_s: float
    step_s: float
    pipeline_s: float
    gather_s: float
    upload_s: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the round is expected to take and do.

    The phases are those of the cluster that ends last, as in the engine's outcome. `by` says
    whether they come from the event graph or, where that would be too large, the closed forms;
    they are corrected by `correction`, what such phases have measured over predicted so far, and
    the training by what such a plan's has (`collapipe_ns3.dssra.experience`).
    `divergence` is Σ ρΓ relative to a loss-free round's.
    """

    by: str
    correction: Mapping[str, float]
    broadcast_s: float
    pipeline_s: float
    gather_s: float
    upload_s: float
    aggregate_s: float
    clusters: tuple[ClusterPrediction, ...]
    energy_j: Mapping[str, float]
    divergence: float

    @property
    def round_s(self) -> float:
        return math.fsum(
            (
                self.broadcast_s,
                self.pipeline_s,
                self.gather_s,
                self.upload_s,
                self.aggregate_s,
            )
        )


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link that the plan uses, as the planner sees it; `measured` is false where it guessed."""

    src: str
    dst: str
    measured: bool
    power_w: float
    bandwidth_hz: float
    sinr: float
    rate_bps: float
    latency_s: float
    epsilon: float


@dataclass(frozen=True, slots=True)
class Decision:
    """All of a round's planning. `timeline` is the event graph's, where there is one, `state` the
    plan as the optimisation has it.

    `bands` says whether links were given bandwidths: shared, divided to the base station, divided.
    """

    plan: RoundPlan
    bands: str
    moves: tuple[Move, ...]
    finalists: tuple[Finalist, ...]
    terms: Terms
    prediction: Prediction
    links: tuple[LinkView, ...]
    energy_queues: Mapping[str, float]
    divergence_queue: float
    timeline: Timeline | None
    state: State

    def to_json(self) -> dict[str, Any]:
        """Plain data, timeline and state left out."""
        data = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("plan", "timeline", "state")
        }
        return {"plan": self.plan.to_json(), **_plain(data)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, predicted and measured; `error` is relative to the measured one."""

    what: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1 if self.measured else math.nan


def compare(
    prediction: Prediction, phases: PhaseTimes, energy_j: Mapping[str, float], local_steps: int
) -> list[Comparison]:
    """The prediction beside what was measured: phases, the step, the round, energy by node."""
    measured = {name: getattr(phases, f"{name}_ns") / 1e9 for name in PHASES}
    rows = [Comparison(f"{n}_s", getattr(prediction, f"{n}_s"), measured[n]) for n in PHASES]
    step_s = (prediction.pipeline_s / local_steps, measured["pipeline"] / local_steps)
    rows.append(Comparison("step_s", *step_s))
    rows.append(Comparison("round_s", prediction.round_s, math.fsum(measured.values())))
    rows += [
        Comparison(f"{node} energy_j", joules, energy_j[node])
        for node, joules in prediction.energy_j.items()
        if node in energy_j
    ]
    return rows


def corrected(
    before: Mapping[str, float], prediction: Prediction, phases: PhaseTimes, weight: float
) -> dict[str, float]:
    """The corrections after a round, which counts with `weight`: measured over predicted.

    What it is of is the prediction without correction. No more than a factor of two either way: a
    round that went quite otherwise says nothing of the next.
    """
    after = dict(before)
    for row in compare(prediction, phases, {}, 1)[: len(PHASES)]:
        name = row.what.removesuffix("_s")
        if name not in _CORRECTED:
            continue
        plain = row.predicted / prediction.correction.get(name, 1.0)
        if plain > 0 and row.measured > 0:
            ratio = min(max(row.measured / plain, 0.5), 2.0)
            after[name] = weight * ratio + (1 - weight) * before.get(name, ratio)
    return after


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
