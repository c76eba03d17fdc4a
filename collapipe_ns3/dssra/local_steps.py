"""The number of local steps of a round: the least time for the progress of training.

A step on a cluster's own model lowers the loss there by a nearly constant amount. Averaging the
clusters' models, which have drifted apart, gives a part of that back: by the bound in
`docs/dssra.md`, the drift grows with the square of the number of steps. So τ steps count as

  p(τ) = τ·(1 - κτ²)

steps without drift. κ is measured. A line through the losses of each cluster's steps in a round
says what they would be after the last step, L lower than at the beginning. The line of the next
round begins at what averaging has left of that: G lower. Then 1 - G/L estimates κτ², and κ is the
ratio of the averages of L - G and L·τ² over rounds. After a single step nothing has drifted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from collapipe_ns3.outcome import PipelineFate

#: The most by which the number of steps exceeds that of any earlier round, as a factor: drift is
#: not extrapolated further.
_FURTHER = 2


@dataclass(frozen=True, slots=True)
class LossLine:
    """The line through the losses of a cluster's local steps: at the first, and the fall a step.

    `weight` is the cluster's weight in the average of the models.
    """

    first: float
    fall: float
    weight: float

    @classmethod
    def of(cls, pipeline: PipelineFate) -> Self:
        """The least-squares line. It is level where there was a single step."""
        losses = np.asarray(pipeline.step_losses, dtype=float)
        first, slope = float(losses[0]), 0.0
        if len(losses) > 1:
            places = np.arange(len(losses))
            first, slope = np.polynomial.polynomial.polyfit(places, losses, 1).tolist()
        return cls(first, -slope, pipeline.weight)


@dataclass(frozen=True, slots=True)
class Drift:
    """What rounds have shown of the drift.

    `lost` and `scale` are the averages of L - G and L·τ², with weights that fall exponentially, and
    None before two rounds were executed. `steps` and `lines`, by cluster, are of the last round in
    which anything was averaged, and `most` is the greatest number of steps so far.
    """

    lost: float | None = None
    scale: float | None = None
    steps: int = 0
    most: int = 0
    lines: Mapping[int, LossLine] = field(default_factory=dict)

    @property
    def kappa(self) -> float | None:
        """κ, at least 0; None where nothing is known of it, as no loss has fallen."""
        if self.lost is None or self.scale is None or self.scale <= 0:
            return None
        return max(self.lost, 0.0) / self.scale

    def after(self, pipelines: Iterable[PipelineFate], weight: float) -> Self:
        """What is known after a round. `weight` is that of the newest measurement.

        Only clusters whose models were averaged in both rounds count.
        """
        averaged = [each for each in pipelines if each.step_losses and each.fate == "averaged"]
        averaged = [each for each in averaged if np.isfinite(each.step_losses).all()]
        if not averaged:
            return self
        lines = {each.cluster: LossLine.of(each) for each in averaged}
        steps = max(len(each.step_losses) for each in averaged)
        lost, scale = self.lost, self.scale
        if both := [(was, lines[n]) for n, was in self.lines.items() if n in lines]:
            total = math.fsum(was.weight for was, _ in both)
            kept = math.fsum(was.weight * (was.first - now.first) for was, now in both) / total
            fallen = math.fsum(was.weight * was.fall for was, _ in both) / total * self.steps
            if self.steps == 1:
                fallen = kept
            lost = _mixed(lost, fallen - kept, weight)
            scale = _mixed(scale, fallen * self.steps**2, weight)
        return type(self)(lost, scale, steps, max(self.most, steps), lines)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        lines = [[cluster, *asdict(line).values()] for cluster, line in self.lines.items()]
        known = {"lost": self.lost, "scale": self.scale, "steps": self.steps, "most": self.most}
        return {**known, "lines": lines}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        lines = {cluster: LossLine(*line) for cluster, *line in data["lines"]}
        return cls(data["lost"], data["scale"], data["steps"], data["most"], lines)


@dataclass(frozen=True, slots=True)
class StepsCandidate:
    """A number of local steps, the round's predicted time with it, and p.

    `objective` is V times the time for the progress of the least number of steps, and the round's
    terms of energy and divergence.
    """

    steps: int
    round_s: float
    progress: float
    objective: float


@dataclass(frozen=True, slots=True)
class StepsChoice:
    """The chosen number of local steps, κ, and what it was chosen from: nothing before κ is known.

    No candidate is listed that drift would leave without progress.
    """

    steps: int
    drift: float | None
    candidates: tuple[StepsCandidate, ...] = ()


@dataclass(frozen=True, slots=True)
class RoundPrice:
    """What a round is predicted to cost: its time, and its terms of energy and divergence in J."""

    round_s: float
    penalties: float


def candidates(least: int, most: int) -> list[int]:
    """Numbers of steps from `least` to `most`, both included, up to √2 times the one before."""
    count = 1 + math.ceil(2 * math.log2(most / least))
    return sorted({round(each) for each in np.geomspace(least, most, count).tolist()})


def within(drift: Drift, least: int, most: int) -> list[int]:
    """The candidates to choose from: the least alone before κ is known."""
    limit = 0 if drift.kappa is None else _FURTHER * drift.most
    return [steps for steps in candidates(least, most) if steps <= max(limit, least)]


def choose(
    drift: Drift, steps: list[int], time_price: float, least: RoundPrice, most: RoundPrice
) -> StepsChoice:
    """The best of these numbers of steps, in rising order, given the prices with first and last.

    Both the time of a round and its other terms are lines over the number of steps.
    """
    kappa = drift.kappa
    if kappa is None or len(steps) == 1 or _progress(steps[0], kappa) <= 0:
        return StepsChoice(steps[0], kappa)
    found = []
    for each in steps:
        if (progress := _progress(each, kappa)) <= 0:
            break
        part = (each - steps[0]) / (steps[-1] - steps[0])
        round_s = least.round_s + part * (most.round_s - least.round_s)
        penalties = least.penalties + part * (most.penalties - least.penalties)
        rounds = _progress(steps[0], kappa) / progress
        total = time_price * round_s * rounds + penalties
        found.append(StepsCandidate(each, round_s, progress, total))
    best = min(found, key=lambda each: each.objective)
    return StepsChoice(best.steps, kappa, tuple(found))


def _progress(steps: int, kappa: float) -> float:
    """p: how many steps without drift so many steps are worth."""
    return steps * (1 - kappa * steps**2)


def _mixed(average: float | None, newest: float, weight: float) -> float:
    return newest if average is None else weight * newest + (1 - weight) * average
