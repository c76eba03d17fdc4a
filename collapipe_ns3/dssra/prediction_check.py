"""A round's prediction compared with what was measured, and the corrections learned from that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collapipe_ns3.dssra.forecast import Prediction
from collapipe_ns3.outcome import DeviceUse
from collapipe_ns3.phases import PLANNED_PHASES, Phase

#: Phases that are corrected. Uploads depend on when clusters have trained, not on a factor.
_CORRECTED = (Phase.BROADCAST, Phase.GATHER)

#: The `PredictionCheck.name` of figures of the whole round.
ROUND = "round"


@dataclass(frozen=True, slots=True)
class PredictionCheck:
    """One figure, predicted and measured.

    `name` is whose figure it is, the round's or a node's; `quantity` is what it is, with its unit.
    """

    name: str
    quantity: str
    predicted: float
    measured: float

    @property
    def what(self) -> str:
        """Name and quantity in one text."""
        return self.quantity if self.name == ROUND else f"{self.name} {self.quantity}"

    @property
    def error(self) -> float:
        """The prediction's error relative to the measured figure."""
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
    """Prediction and measurement of all phases, a step, the round and each node's energy."""
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
            "idle_energy_j": (joules.idle_j, use.idle_energy_j),
        }
        total = (joules.total_j, math.fsum(joule for _, joule in parts.values()))
        figures = {"energy_j": total, **parts}
        rows += [PredictionCheck(use.device, quantity, *both) for quantity, both in figures.items()]
    return rows


def expected_time(expected_s: float, phases_ns: Mapping[Phase, int]) -> PredictionCheck:
    """How long the round was expected to take as nodes may leave, and how long it took."""
    measured_s = math.fsum(phases_ns[phase] for phase in PLANNED_PHASES) / 1e9
    return PredictionCheck(ROUND, "expected_s", expected_s, measured_s)


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
