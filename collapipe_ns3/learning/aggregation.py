"""Aggregation: from what the pipelines of a round trained to the new global model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

#: Tensors of a model by their names: what `SplitModel.averaged` gives.
Parameters = Mapping[str, "Tensor"]


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The parameters that a pipeline has trained in a round.

    `weight` is the pipeline's share of all training data: its cluster's share times its own.
    """

    cluster: int
    pipeline: int  # its index in the cluster
    weight: float
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class PipelineFailure:
    """A pipeline that was abandoned in a round, and the reason; `weight` as for a result."""

    cluster: int
    pipeline: int  # its index in the cluster
    weight: float
    reason: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The new global parameters, and the weight of each result in them, in the order given."""

    parameters: Parameters
    weights: Sequence[float]


class Aggregator(Protocol):
    """Makes the new global model at the end of a round."""

    def aggregate(
        self, results: Sequence[PipelineResult], failures: Sequence[PipelineFailure]
    ) -> Aggregate:
        """The new global parameters from at least one result, in the order of the plan.

        The results' tensors are the replicas' own and must not be changed. The engine charges the
        FLOPs of a weighted average.
        """
        ...


@dataclass(frozen=True, slots=True)
class FederatedAveraging:
    """The average by shares of the data over all results (McMahan et al., AISTATS 2017).

    Parameters = Σ (weight / Σ weight)·parameters, added up in the order given. Failures are left
    out, so that the weights of the results add to 1. Of tensors of integers, such as counters of
    batches, no average exists: those of the first result are taken.
    """

    def aggregate(
        self, results: Sequence[PipelineResult], failures: Sequence[PipelineFailure]
    ) -> Aggregate:
        total = math.fsum(result.weight for result in results)
        weights = [result.weight / total for result in results]
        average: dict[str, Tensor] = {}
        for result, weight in zip(results, weights, strict=True):
            for name, tensor in result.parameters.items():
                if not tensor.is_floating_point():
                    average.setdefault(name, tensor)
                    continue
                part = tensor * weight
                average[name] = average[name] + part if name in average else part
        return Aggregate(average, weights)
