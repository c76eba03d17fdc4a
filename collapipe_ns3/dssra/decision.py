"""A round's decision as a record: the plan, how it came about, and what it is expected to do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from collapipe_ns3.dssra.planner import Move
from collapipe_ns3.dssra.timeline import Timeline
from collapipe_ns3.plan import RoundPlan


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
    whether they come from the event graph or, where that would be too large, the closed forms.
    `divergence` is Σ ρΓ relative to a loss-free round's.
    """

    by: str
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
    """All of a round's planning. `timeline` is the event graph's, where there is one."""

    plan: RoundPlan
    moves: tuple[Move, ...]
    finalists: tuple[Finalist, ...]
    terms: Terms
    prediction: Prediction
    links: tuple[LinkView, ...]
    energy_queues: Mapping[str, float]
    divergence_queue: float
    timeline: Timeline | None

    def to_json(self) -> dict[str, Any]:
        """Plain data, the timeline left out."""
        data = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("plan", "timeline")
        }
        return {"plan": self.plan.to_json(), **_plain(data)}


class Phases(Protocol):
    """Measured phases in ns; see `collapipe_ns3.engine.outcome.Phases`."""

    @property
    def broadcast_ns(self) -> int: ...
    @property
    def pipeline_ns(self) -> int: ...
    @property
    def gather_ns(self) -> int: ...
    @property
    def upload_ns(self) -> int: ...
    @property
    def aggregate_ns(self) -> int: ...


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
    prediction: Prediction, phases: Phases, energy_j: Mapping[str, float], local_steps: int
) -> list[Comparison]:
    """The prediction beside what was measured: phases, the step, the round, energy by node."""
    names = ("broadcast", "pipeline", "gather", "upload", "aggregate")
    measured = {name: getattr(phases, f"{name}_ns") / 1e9 for name in names}
    rows = [Comparison(f"{n}_s", getattr(prediction, f"{n}_s"), measured[n]) for n in names]
    step_s = (prediction.pipeline_s / local_steps, measured["pipeline"] / local_steps)
    rows.append(Comparison("step_s", *step_s))
    rows.append(Comparison("round_s", prediction.round_s, math.fsum(measured.values())))
    rows += [
        Comparison(f"{node} energy_j", joules, energy_j[node])
        for node, joules in prediction.energy_j.items()
        if node in energy_j
    ]
    return rows


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
