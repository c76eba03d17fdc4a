"""The squared errors that formats make of parameters, and what they add to the convergence bound.

A round whose models are encoded with an error of variance v adds 2L·v/(ητ) to the bound of
`docs/dssra.md`, for the smoothness L, the learning rate η and τ local steps. If errors have mean
zero and are independent,

  v = Σ_n ρ_n²·E‖e_n‖² + Σ_f (Σ_{n in f} ρ_n)²·E‖e_f‖²

over the uplink of every cluster n (of weight ρ_n) and the downlink in every format f: what is sent
down is encoded once, so that its error is common to all clusters of a format and does not average
down, while uplinks are encoded independently (compare FedPAQ: Reisizadeh et al., AISTATS 2020). For
differences, ‖e‖² ≤ ω·‖Δ‖²: it falls with the norm of what a round changes.

Top-k has a bias, which error memories make up for over rounds; its error here is that of a single
encoding, as `norm_sq` and `distortion` of the table `encodings` have it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import ndtri

from bridge.formats import ParameterFormat, TensorSize, Wire, largest_count
from collapipe_ns3.prediction.divergence import wire_epsilon

_LEVELS = 127

#: The largest ε of rounding to nearest: the square of half a unit in the last place.
_ROUNDING: Mapping[Wire, float] = {"fp32": 0.0, "fp16": 2.0**-22, "bf16": 2.0**-16}

#: The largest squared error of a number that is too small for the precision of a format.
_UNDERFLOW: Mapping[Wire, float] = {"fp16": 2.0**-50}


@dataclass(frozen=True, slots=True)
class SquaredError:
    """‖e‖² of encoded tensors: `relative`·‖x‖² + `absolute`."""

    relative: float
    absolute: float = 0.0

    def of(self, norm_sq: float) -> float:
        """‖e‖² where ‖x‖² is `norm_sq`."""
        return self.relative * norm_sq + self.absolute


@dataclass(frozen=True, slots=True)
class Encodable:
    """What travels of some pipelines' parameters in a round: ‖x‖² of tensors of these sizes.

    On the uplink `weight` is that of one pipeline in the average of models; on the downlink it is
    the sum over all pipelines that get it in the same format.
    """

    weight: float
    norm_sq: float
    sizes: tuple[TensorSize, ...]


def largest_error(format: ParameterFormat, sizes: Sequence[TensorSize]) -> SquaredError:
    """An upper bound of E‖e‖² for any tensors of these sizes.

    - fp16 and bf16 round every number to nearest; fp16 has a step of 2^-24 near zero.
    - int8 errs by at most a quarter of a step's square in the mean, apart from the largest number
      of a row of d, which is exact: (d − 1)/(4·127²), as ‖x‖ is not below the largest number.
    - Top-k leaves out at most 1 − k/n of a tensor's ‖x‖².
    """
    if format.largest is None:
        relative = max((_largest(format.numbers, size) for size in sizes), default=0.0)
        count = sum(size.elements for size in sizes)
        return SquaredError(relative, count * _UNDERFLOW.get(format.numbers, 0.0))
    relative = absolute = 0.0
    for size in sizes:
        count = largest_count(format.largest, size.elements)
        if not count:
            continue
        numbers, sent = _largest(format.numbers, TensorSize(count)), count / size.elements
        relative = max(relative, 1 - sent + numbers * sent, numbers)
        absolute += count * _UNDERFLOW.get(format.numbers, 0.0)
    return SquaredError(relative, absolute)


def _largest(numbers: Wire, size: TensorSize) -> float:
    if numbers != "int8":
        return _ROUNDING[numbers]
    return max(_width(size) - 1, 0.0) / (4 * _LEVELS**2)


def expected_error(format: ParameterFormat, sizes: Sequence[TensorSize]) -> SquaredError:
    """E‖e‖² for tensors whose numbers are normal and of equal variance.

    Of normal numbers, those with |x| > t have the share q + 2t·φ(t) of the sum of squares, where
    q = P(|x| > t); top-k leaves out the rest.
    """
    total = sum(size.elements for size in sizes)
    if not total:
        return SquaredError(0.0)
    relative = absolute = 0.0
    for size in sizes:
        share = size.elements / total
        if format.largest is None:
            relative += share * _expected(format.numbers, size)
            absolute += size.elements * _UNDERFLOW.get(format.numbers, 0.0) / 3
            continue
        count = largest_count(format.largest, size.elements)
        sent = _energy_of_largest(count / size.elements) if size.elements else 1.0
        relative += share * (1 - sent + sent * _expected(format.numbers, TensorSize(count)))
        absolute += count * _UNDERFLOW.get(format.numbers, 0.0) / 3
    return SquaredError(relative, absolute)


def _expected(numbers: Wire, size: TensorSize) -> float:
    return wire_epsilon(numbers, max(round(_width(size)), 1))


def _width(size: TensorSize) -> float:
    """The length of a row."""
    return size.elements / size.rows if size.rows else 0.0


def _energy_of_largest(share: float) -> float:
    """The share of ‖x‖² in the given share of normal numbers, those of the largest magnitude."""
    if share >= 1:
        return 1.0
    t = -float(ndtri(share / 2))
    return share + 2 * t * math.exp(-t * t / 2) / math.sqrt(2 * math.pi)


def encoding_variance(format: ParameterFormat, parts: Iterable[Encodable]) -> float:
    """Σ weight²·E‖e‖² of what travels in a format, of one direction.

    The `norm_sq` of what a round would send are measured ones of earlier rounds: of Δ on the
    uplink, and of w − ŵ on the downlink. A round's v is the sum over the formats of both
    directions.
    """
    return math.fsum(
        part.weight**2 * expected_error(format, part.sizes).of(part.norm_sq) for part in parts
    )


def bound_term(
    variance: float, *, smoothness: float, learning_rate: float, local_steps: int
) -> float:
    """2L·v/(ητ), what the variance of a round's models adds to the bound."""
    return 2 * smoothness * variance / (learning_rate * local_steps)
