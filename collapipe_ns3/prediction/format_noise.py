"""The divergence that formats of parameters add to a round's, learned from executed rounds.

Errors of variance v in a round's model add 2L·v/(ητ) to the bound of `docs/dssra.md`, and the noise
of gradients adds 2ηL·Σ_n ρ_n²·Γ_n with Γ_n = σ²/B without losses. So v counts as much as a
divergence of D·σ²/B with

  D = v / (η²·τ·Σ_n ρ_n²·σ²/B).

An optimizer need not step by η times the gradient. What η² stands for is the squared norm of a
cluster's update over that of the sum of its τ gradients, ‖Δ‖² / (τ²·‖∇F‖² + τ·σ²/B), so that

  D = (1 + τ·s) · (Σ_n ρ_n²·u_n + d) / Σ_n ρ_n²,   s = ‖∇F‖²·B/σ²

with u_n and d the squared errors of the uplinks and of the downlink over ‖Δ‖². The downlink's is
common to all clusters, and is not averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bridge.formats import ParameterFormat
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.outcome import ParameterEncoding
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.format_errors import expected_error

#: ‖w‖²/‖Δ‖², until it was measured: parameters are much larger than what a round changes of them.
_PARAMETERS = 1e4


@dataclass(frozen=True, slots=True)
class FormatNoise:
    """Squared errors of formats over ‖Δ‖², as measured so far.

    `errors` are by direction and format ("up int8 differences"); ‖Δ‖² is that of a cluster's
    update, and `update_sq` what it was, 0 before any was measured. All are exponentially weighted
    means over rounds.
    """

    errors: Mapping[str, float] = field(default_factory=dict)
    update_sq: float = 0.0

    def error(self, direction: str, format: ParameterFormat, work: Workload) -> float:
        """The squared error over ‖Δ‖² to expect of a format.

        Before it was measured, this is that of normal numbers.
        """
        if format.exact:
            return 0.0
        if (known := self.errors.get(f"{direction} {format}")) is not None:
            return known
        sizes = [size for part in work.model.blocks for size in part.trained]
        relative = expected_error(format, sizes).relative
        return relative * (1.0 if format.difference else _PARAMETERS)

    def divergence(
        self,
        down: ParameterFormat,
        up: Sequence[ParameterFormat],
        shares: Sequence[float],
        work: Workload,
        noise: GradientNoise,
    ) -> float:
        """D of a round with these formats, the latter by cluster, as the `shares` of the data."""
        known = {format: self.error("up", format, work) for format in set(up)}
        uplinks = math.fsum(
            share**2 * known[format] for share, format in zip(shares, up, strict=True)
        )
        total = uplinks + self.error("down", down, work)
        return _scale(work.local_steps, work.batch_size, noise) * total / _squares(shares)

    def measured(
        self,
        encodings: Iterable[ParameterEncoding],
        shares: Mapping[int, float],
        work: Workload,
        noise: GradientNoise,
    ) -> float:
        """D of an executed round; `shares` are those of the clusters' data."""
        errors = _errors(encodings)
        if not errors or not self.update_sq:
            return 0.0
        total = 0.0
        for (direction, _), by_cluster in errors.items():
            if direction == "up":
                total += math.fsum(
                    shares.get(cluster, 0.0) ** 2 * error for cluster, error in by_cluster.items()
                )
            else:
                weight = math.fsum(shares.get(cluster, 0.0) for cluster in by_cluster)
                total += weight**2 * _mean(by_cluster.values())
        scale = _scale(work.local_steps, work.batch_size, noise)
        return scale * total / self.update_sq / _squares(shares.values())

    def after(self, encodings: Iterable[ParameterEncoding], weight: float) -> Self:
        """The noise after another round, whose figures count with `weight` in (0, 1]."""
        encodings = list(encodings)
        newest = _update_sq(encodings)
        update_sq = self.update_sq
        if newest:
            update_sq = weight * newest + (1 - weight) * (update_sq or newest)
        if not update_sq:
            return self
        errors = dict(self.errors)
        for (direction, format), by_cluster in _errors(encodings).items():
            key, new = f"{direction} {format}", _mean(by_cluster.values()) / update_sq
            errors[key] = weight * new + (1 - weight) * errors.get(key, new)
        return type(self)(errors, update_sq)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"errors": dict(self.errors), "update_sq": self.update_sq}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(dict(data["errors"]), data["update_sq"])


def _update_sq(encodings: Sequence[ParameterEncoding]) -> float:
    """The mean ‖Δ‖² of the clusters, 0 where nothing is known of it.

    Where no differences are uploaded, it is taken to be that of the global model's, and where there
    are none of these, what `_PARAMETERS` says of the parameters themselves.
    """
    for direction, differences in (("up", True), ("down", True), ("up", False), ("down", False)):
        found: dict[int, float] = {}
        for each in encodings:
            if each.direction == direction and ("difference" in each.format) is differences:
                found[each.cluster] = found.get(each.cluster, 0.0) + each.norm_sq
        if any(found.values()):
            return _mean(found.values()) / (1.0 if differences else _PARAMETERS)
    return 0.0


def _errors(
    encodings: Iterable[ParameterEncoding],
) -> dict[tuple[str, str], dict[int, float]]:
    """‖e‖² of all units that were encoded, by direction and format, and by cluster."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for each in encodings:
        if each.norm_sq:
            own = found.setdefault((each.direction, each.format), {})
            error = each.distortion * each.norm_sq
            own[each.cluster] = own.get(each.cluster, 0.0) + error
    return found


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


def _squares(shares: Iterable[float]) -> float:
    return math.fsum(share**2 for share in shares)


def _scale(local_steps: int, batch: int, noise: GradientNoise) -> float:
    """1 + τ·s."""
    variance, square = max(noise.variance, 1e-30), max(noise.square, 0.0)
    return 1 + local_steps * square * batch / variance
