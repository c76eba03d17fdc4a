"""Aggregation: from what the pipelines of a round trained to the new global model.

An aggregation has two parts. The *local* part changes the local steps, on the nodes of every
pipeline (`collapipe_ns3.learning.local_term`). The *server* part, an `Aggregator`, makes the new
global model at the base station. This module has the server part's interface, and federated
averaging; the others are in `collapipe_ns3.learning.aggregators`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

#: Tensors of a model by their names: what `SplitModel.averaged` gives.
Parameters = Mapping[str, "Tensor"]

#: The tensors that an aggregator keeps between rounds, by what they are and by parameter.
ServerState = Mapping[str, Parameters]

#: The key of `ServerState` for the base station's control variate, which pipelines are sent.
VARIATE = "variate"


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The parameters that a pipeline has trained in a round.

    - `weight` is the pipeline's share of all training data: its cluster's share times its own.
    - `parameters` are those that the base station has got, and `received` those that the pipeline
      began the round with. Their difference is the pipeline's update.
    - `age` is how many rounds ago it began: 0 for a result of this round.
    - `rates` are the learning rates of its local steps in order, as factors of the study's.
    - `variate` is its control variate after the round; empty where the aggregation has none.
    """

    cluster: int
    pipeline: int  # its index in the cluster
    weight: float
    parameters: Parameters
    received: Parameters = field(default_factory=dict)
    age: int = 0
    rates: tuple[float, ...] = ()
    variate: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineFailure:
    """A pipeline that was abandoned in a round, and the reason; `weight` as for a result."""

    cluster: int
    pipeline: int  # its index in the cluster
    weight: float
    reason: str


@dataclass(frozen=True, slots=True)
class Before:
    """What the base station has when the results are in.

    `parameters` is the global model from which the round began, and `state` what the aggregator
    kept after the last round, empty at first. `trained` names the parameters that optimizers train;
    all other tensors are buffers of the model, such as running means.
    """

    parameters: Parameters
    trained: Collection[str]
    state: ServerState = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The new global parameters, and the weight of each result in them, in the order given.

    `state` is what the aggregator keeps for the next round. It is part of the checkpoint.
    """

    parameters: Parameters
    weights: Sequence[float]
    state: ServerState = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerFlops:
    """Element-wise FLOPs of an aggregation for each parameter: for each result, and once."""

    per_result: int = 2  # of a weighted average: a multiplication and an addition
    once: int = 0

    def of(self, results: int, parameters: int) -> int:
        """The FLOPs for so many results of a model with so many parameters."""
        return (self.per_result * results + self.once) * parameters


#: Of federated averaging.
AVERAGE_FLOPS = ServerFlops()


class Aggregator(Protocol):
    """Makes the new global model at the end of a round."""

    @property
    def flops(self) -> ServerFlops:
        """What the engine charges."""
        ...

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        """The new global parameters from at least one result, in the order of the plan.

        The tensors that are given must not be changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class FederatedAveraging:
    """The average by shares of the data over all results (McMahan et al., AISTATS 2017).

    Parameters = Σ (weight / Σ weight)·parameters, added up in the order given. Failures are left
    out, so that the weights of the results add to 1. Results count alike whatever their age.
    """

    flops: ServerFlops = AVERAGE_FLOPS

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        weights = fractions(results)
        return Aggregate(weighted_sum([each.parameters for each in results], weights), weights)


def fractions(results: Sequence[PipelineResult]) -> list[float]:
    """The weight of each result as a fraction of the weights of all."""
    total = math.fsum(result.weight for result in results)
    return [result.weight / total for result in results]


def weighted_sum(tensors: Sequence[Parameters], weights: Sequence[float]) -> dict[str, Tensor]:
    """Σ weight·tensors by name, added up in the order given.

    Of tensors of integers, such as counters of batches, no average exists: those of the first are
    taken.
    """
    total: dict[str, Tensor] = {}
    for each, weight in zip(tensors, weights, strict=True):
        for name, tensor in each.items():
            if not tensor.is_floating_point():
                total.setdefault(name, tensor)
                continue
            part = tensor * weight
            total[name] = total[name] + part if name in total else part
    return total
