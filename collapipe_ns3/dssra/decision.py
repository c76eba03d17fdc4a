"""A round's decision as a record: the plan, how it came about, and what it is expected to do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from collapipe_ns3.dssra.objective import State
from collapipe_ns3.dssra.planner import BlockUpdate
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.outcome import PLANNED_PHASES, DeviceUse, Phase
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.timeline_energy import NodeEnergy

#: Phases that are corrected: uploads depend on when clusters have trained, not on a factor.
_CORRECTED = (Phase.BROADCAST, Phase.GATHER)

#: What the figures of a round are named by, beside those of nodes.
ROUND = "round"


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
    """How long the phases of one cluster's round and one of its training steps take."""

    cluster: int
    phases_s: Mapping[Phase, float]
    step_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"cluster": self.cluster, **_columns(self.phases_s), "step_s": self.step_s}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the round is expected to take and do.

    The phases are those of the cluster that ends last, as in the engine's outcome. `by` says
    whether they come from the event graph or, where that would be too large, the closed forms;
    they are corrected by `correction`, what such phases have measured over predicted so far, and
    the training by what such a plan's has (`collapipe_ns3.prediction.training_ratios`).
    `joules` has every node's energy, that of soundings included. `divergence` is Σ ρΓ relative to a
    loss-free round's.
    """

    by: str
    correction: Mapping[str, float]
    phases_s: Mapping[Phase, float]
    clusters: tuple[ClusterPrediction, ...]
    joules: Mapping[str, NodeEnergy]
    divergence: float

    @property
    def energy_j(self) -> dict[str, float]:
        """By node."""
        return {node: each.total_j for node, each in self.joules.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        data = {
            "by": self.by,
            "correction": self.correction,
            **_columns(self.phases_s),
            "clusters": [cluster.to_json() for cluster in self.clusters],
            "divergence": self.divergence,
        }
        by_node = {
            key: {node: getattr(each, name) for node, each in self.joules.items()}
            for key, name in (
                ("energy_j", "total_j"),
                ("compute_energy_j", "compute_j"),
                ("tx_energy_j", "tx_j"),
                ("rx_energy_j", "rx_j"),
                ("idle_energy_j", "idle_j"),
            )
        }
        plain: dict[str, Any] = _plain({**data, **by_node})
        return plain

    @property
    def round_s(self) -> float:
        """How long the round takes, soundings excluded."""
        return math.fsum(self.phases_s.values())


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


@dataclass(frozen=True)
class Decision:
    """All of a round's planning; `state` is the plan as the optimisation has it.

    `bands` says whether links were given bandwidths: shared, divided to the base station, divided.
    `foresee` makes the prediction and its timeline, which a plan need not wait for.
    """

    plan: RoundPlan
    bands: str
    updates: tuple[BlockUpdate, ...]
    finalists: tuple[Finalist, ...]
    terms: Terms
    links: tuple[LinkView, ...]
    energy_queues: Mapping[str, float]
    divergence_queue: float
    state: State
    foresee: Callable[[], tuple[Prediction, Timeline | None]]

    @cached_property
    def _foreseen(self) -> tuple[Prediction, Timeline | None]:
        return self.foresee()

    @property
    def prediction(self) -> Prediction:
        """What the round should take."""
        return self._foreseen[0]

    @property
    def timeline(self) -> Timeline | None:
        """The event graph's, where there is one."""
        return self._foreseen[1]

    def to_json(self) -> dict[str, Any]:
        """Plain data, timeline and state left out."""
        data = {
            "moves" if field.name == "updates" else field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("plan", "state", "foresee")
        }
        data["prediction"] = self.prediction.to_json()
        return {"plan": self.plan.to_json(), **_plain(data)}


@dataclass(frozen=True, slots=True)
class PredictionCheck:
    """One figure, predicted and measured; `error` is relative to the measured one.

    `quantity` is what it is, with its unit, and `name` of what: the round, or a node.
    """

    name: str
    quantity: str
    predicted: float
    measured: float

    @property
    def what(self) -> str:
        """Both in one."""
        return self.quantity if self.name == ROUND else f"{self.name} {self.quantity}"

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1 if self.measured else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "what": self.what,
            "name": self.name,
            "quantity": self.quantity,
            "predicted": self.predicted,
            "measured": self.measured,
        }


def check_prediction(
    prediction: Prediction,
    phases_ns: Mapping[Phase, int],
    devices: Sequence[DeviceUse],
    local_steps: int,
) -> list[PredictionCheck]:
    """The prediction beside what was measured: phases, the step, the round, energies by node."""
    predicted = prediction.phases_s
    measured = {phase: phases_ns[phase] / 1e9 for phase in PLANNED_PHASES}
    figures = {f"{phase}_s": (predicted[phase], measured[phase]) for phase in PLANNED_PHASES}
    training = (predicted[Phase.PIPELINE], measured[Phase.PIPELINE])
    figures["step_s"] = (training[0] / local_steps, training[1] / local_steps)
    figures["round_s"] = (prediction.round_s, math.fsum(measured.values()))
    rows = [PredictionCheck(ROUND, quantity, *both) for quantity, both in figures.items()]
    for use in devices:
        if (joules := prediction.joules.get(use.device)) is None:
            continue
        parts = {
            "compute_energy_j": (joules.compute_j, use.compute_energy_j),
            "tx_energy_j": (joules.tx_j, use.tx_energy_j),
            "rx_energy_j": (joules.rx_j, use.rx_energy_j),
        }
        total = (joules.total_j, math.fsum(joule for _, joule in parts.values()))
        figures = {"energy_j": total, **parts}
        rows += [PredictionCheck(use.device, quantity, *both) for quantity, both in figures.items()]
    return rows


def corrected(
    before: Mapping[str, float],
    prediction: Prediction,
    phases_ns: Mapping[Phase, int],
    weight: float,
) -> dict[str, float]:
    """The correction factors of phases after another round, whose ratios count with `weight`.

    A ratio is the measured over the predicted time, the latter without its correction. It is
    limited to a factor of two either way: a round that was very different says nothing about the
    next one.
    """
    after = dict(before)
    for phase in _CORRECTED:
        measured_s = phases_ns[phase] / 1e9
        plain_s = prediction.phases_s[phase] / prediction.correction.get(phase, 1.0)
        if plain_s > 0 and measured_s > 0:
            ratio = min(max(measured_s / plain_s, 0.5), 2.0)
            # As plain text, since a checkpoint holds nothing else.
            after[phase.value] = weight * ratio + (1 - weight) * before.get(phase, ratio)
    return after


def _columns(phases_s: Mapping[Phase, float]) -> dict[str, float]:
    """The phases under the names that they have in tables."""
    return {f"{phase}_s": seconds for phase, seconds in phases_s.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
