"""The divergence of a round's gradients: noise of sampling, and distortion on the air.

Derived in `docs/dssra.md`: under the assumptions there, a cluster's stochastic gradient has second
moment

  Γ = σ²/B + E·(‖∇F‖² + M·σ²/B) / M,    E = Σ ε over all hops, forward and backward

with σ² the variance of one sequence's gradient, B the batch, M its micro-batches, and ε a hop's
relative distortion: E‖received - sent‖² ≤ ε·‖sent‖². A micro-batch of B/M sequences has a gradient
of mean square ‖∇F‖² + M·σ²/B, each hop adds ε of that, and the M micro-batches average it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

import numpy as np
from scipy.special import ndtri

from bridge.formats import Wire
from collapipe_ns3.outcome import GradientNorms, PipelineDistortion
from collapipe_ns3.prediction.arrays import Array

_NEWEST_STEP = 0.1  # the weight of a step's norms among those before

#: ε of rounding to nearest, as `bridge.wire.distortion` measures it on normal tensors.
_ROUNDING: Mapping[Wire, float] = {"fp32": 0.0, "fp16": 4.3e-8, "bf16": 2.8e-6}


def wire_epsilon(wire: Wire, width: int) -> float:
    """ε of a wire format on a normal tensor with rows of `width`; a test holds it to the codec's.

    Stochastic rounding to steps Δ has the mean square error Δ²/6, and int8's Δ is a row's largest
    magnitude over 127, whose median m solves (2Φ(m) - 1)^width = 1/2.
    """
    if wire != "int8":
        return _ROUNDING[wire]
    largest = ndtri((1 + 0.5 ** (1 / width)) / 2)
    return float(largest / 127) ** 2 / 6


@overload
def loss_epsilon(loss: float) -> float: ...
@overload
def loss_epsilon(loss: Array) -> Array: ...
def loss_epsilon(loss: float | Array) -> float | Array:
    """ε where a share of the elements is lost, the lost zeroed and the rest scaled by 1/(1 - loss).

    E(x·k/(1-loss) - x)² = x²·loss/(1-loss) for k = 1 with probability 1 - loss, else 0.
    """
    return loss / (1 - loss)


@dataclass(frozen=True, slots=True)
class GradientNoise:
    """σ² (of one sequence's gradient) and ‖∇F‖², as estimated so far.

    Both are estimated from norms alone. The mean gradient of the first m of M micro-batches of u
    sequences has E‖·‖² = ‖∇F‖² + σ²/(m·u). So the norms that are measured while a batch accumulates
    lie on a line over 1/(m·u), and a least-squares fit gives both (McCandlish et al. 2018, appendix
    A, who use two points of the line). Estimates are averaged over steps with exponentially falling
    weights. They are averaged before negative values are replaced by zero, so that they stay
    unbiased. Both are 1 before any gradient was seen.
    """

    variance: float = 1.0
    square: float = 1.0
    seen: bool = False

    def after(self, prefix_squares: Sequence[float], sequences: int, mix: float) -> Self:
        """The estimate after a step.

        `prefix_squares[m - 1]` is the squared norm of the mean gradient of the step's first m
        micro-batches of `sequences` each. A step of one micro-batch has no information about the
        noise and changes nothing.
        """
        squares = np.asarray(prefix_squares, dtype=float)
        if len(squares) < 2 or not np.isfinite(squares).all():
            return self
        shrink = 1 / (sequences * np.arange(1, len(squares) + 1))
        slope, start = np.polynomial.polynomial.polyfit(shrink, squares, 1)[::-1]
        mix = mix if self.seen else 1.0
        return type(self)(
            mix * float(slope) + (1 - mix) * self.variance,
            mix * float(start) + (1 - mix) * self.square,
            True,
        )

    @overload
    def divergence(self, batch: int, micro_batches: int, distortion: float) -> float: ...
    @overload
    def divergence(self, batch: int, micro_batches: Array, distortion: Array) -> Array: ...
    def divergence(
        self, batch: int, micro_batches: int | Array, distortion: float | Array
    ) -> float | Array:
        """Γ relative to σ²/B, what a loss-free round of one batch has: 1 and upward.

        `distortion` is E = Σ ε over the hops of a micro-batch, forward and backward.
        """
        variance, square = max(self.variance, 1e-30), max(self.square, 0.0)
        signal = square * batch / variance
        return 1 + distortion * (1 + signal / micro_batches)

    def learned(self, gradients: Iterable[GradientNorms]) -> Self:
        """The estimate after a round, from all steps whose norms were measured."""
        noise = self
        for norms in gradients:
            noise = noise.after(norms.prefix_squares, norms.sequences, _NEWEST_STEP)
        return noise

    def measured(self, distortions: Iterable[PipelineDistortion]) -> float:
        """Σ ρΓ of a round from what really happened to its tensors; nan if nothing was trained."""
        parts = [
            (each.weight, self.divergence(each.sequences, each.micro_batches, each.distortion))
            for each in distortions
        ]
        return math.fsum(weight * part for weight, part in parts) if parts else math.nan

    def to_json(self) -> dict[str, Any]:
        return {"variance": self.variance, "square": self.square, "seen": self.seen}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["variance"], data["square"], data["seen"])
