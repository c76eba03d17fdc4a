"""The server parts of aggregations other than federated averaging. Importing this needs no torch.

In all of them, results count by their shares of the data: pᵢ = weightᵢ / Σ weight over the results
that are there. So weights are right when clusters are missing. Papers whose updates count clients
alike are those with equal weights. Buffers of a model, such as running means, are averaged as in
federated averaging, except by the trimmed mean.

The update of a result is Δᵢ = wᵢ − w₀ᵢ, from what its pipeline received. Where parameters travel
exactly and the result has no age, w₀ᵢ is the global model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collapipe_ns3.learning.aggregation import (
    VARIATE,
    Aggregate,
    Before,
    Parameters,
    PipelineFailure,
    PipelineResult,
    ServerFlops,
    fractions,
    weighted_sum,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class FedAdam:
    """Adam at the server on the mean update (Reddi et al., ICLR 2021, algorithm 2).

    With Δ = Σ pᵢ·Δᵢ: m ← β₁·m + (1 − β₁)·Δ, v ← β₂·v + (1 − β₂)·Δ², w ← w + η·m/(√v + τ). The
    moments are not corrected for their bias. At first m = 0 and v = τ². A result with an age counts
    as any other.
    """

    learning_rate: float
    beta1: float
    beta2: float
    tau: float

    @property
    def flops(self) -> ServerFlops:
        return ServerFlops(per_result=3, once=12)

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        weights = fractions(results)
        means = before.state.get("mean", {})
        squares = before.state.get("square", {})
        mean: dict[str, Tensor] = {}
        square: dict[str, Tensor] = {}
        parameters = _average_of_buffers(before, results, weights)
        for name, update in weighted_sum(_updates(before, results), weights).items():
            m = (1 - self.beta1) * update
            m = m + self.beta1 * means[name] if name in means else m
            v = self.beta2 * (squares[name] if name in squares else self.tau**2)
            v = v + (1 - self.beta2) * update.square()
            parameters[name] = before.parameters[name] + self.learning_rate * m / (
                v.sqrt() + self.tau
            )
            mean[name], square[name] = m, v
        return Aggregate(parameters, weights, {"mean": mean, "square": square})


@dataclass(frozen=True, slots=True)
class FedNova:
    """Normalised averaging (Wang et al., NeurIPS 2020, eq. 8), for SGD with or without momentum.

    w ← w + τ_eff·Σ pᵢ·Δᵢ/‖aᵢ‖₁ with τ_eff = Σ pᵢ·‖aᵢ‖₁. The vector aᵢ has the weights of the
    gradients in the update of a result, in learning rates of the study. With the momentum ρ, which
    begins at zero in every round, and the factors fₖ of the learning rates of the steps,

      ‖aᵢ‖₁ = Σₖ fₖ·(1 − ρᵏ)/(1 − ρ),  k = 1 … τᵢ,

    which is the number of steps τᵢ without momentum at a constant learning rate, and the paper's
    (τᵢ − ρ·(1 − ρ^τᵢ)/(1 − ρ))/(1 − ρ) with it. A result with an age counts as any other.
    """

    momentum: float = 0.0

    @property
    def flops(self) -> ServerFlops:
        return ServerFlops(per_result=3, once=2)

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        shares = fractions(results)
        norms = [self.norm(result.rates) for result in results]
        effective = math.fsum(p * norm for p, norm in zip(shares, norms, strict=True))
        weights = [
            effective * p / norm if norm else 0.0 for p, norm in zip(shares, norms, strict=True)
        ]
        parameters = _average_of_buffers(before, results, shares)
        for name, update in weighted_sum(_updates(before, results), weights).items():
            parameters[name] = before.parameters[name] + update
        return Aggregate(parameters, weights)

    def norm(self, rates: Sequence[float]) -> float:
        """‖a‖₁ for steps with these factors of the learning rate."""
        rho = self.momentum
        return math.fsum(f * (1 - rho**k) / (1 - rho) for k, f in enumerate(rates, 1))


@dataclass(frozen=True, slots=True)
class Scaffold:
    """Control variates against the drift of clusters (Karimireddy et al., ICML 2020, algorithm 1).

    w ← w + η·Σ pᵢ·Δᵢ over the results, and c ← c + Σ sₖ·(cₖ⁺ − cₖ) over their clusters. Here sₖ is
    the cluster's share of *all* data, so that c stays Σ sₖ·cₖ when clusters are missing: in the
    paper, whose clients count alike, these are 1/|S| and 1/N. All variates are zero at first. What
    a cluster's pipelines compute is in `collapipe_ns3.learning.local_term`.

    A cluster's cₖ is the mean of its pipelines' variates by their shares. The server keeps it, so
    that the change is right even if a device has lost its part of cₖ. The variate of a failed
    pipeline stays as it is. A result with an age counts as any other.
    """

    learning_rate: float = 1.0

    @property
    def flops(self) -> ServerFlops:
        return ServerFlops(per_result=6, once=2)

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        weights = [self.learning_rate * p for p in fractions(results)]
        parameters = _average_of_buffers(before, results, fractions(results))
        for name, update in weighted_sum(_updates(before, results), weights).items():
            parameters[name] = before.parameters[name] + update
        return Aggregate(parameters, weights, self._variates(before, results, failures))

    def _variates(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> dict[str, Parameters]:
        state = dict(before.state)
        server = dict(state.get(VARIATE, {}))
        for cluster, own in _by_cluster(results).items():
            key = f"{VARIATE} of cluster {cluster}"
            known = state.get(key, {})
            new = weighted_sum([result.variate for result in own], fractions(own))
            share = math.fsum(each.weight for each in own)
            share += math.fsum(each.weight for each in failures if each.cluster == cluster)
            for name, tensor in new.items():
                change = share * (tensor - known[name] if name in known else tensor)
                server[name] = server[name] + change if name in server else change
            state[key] = new
        return {**state, VARIATE: server}


@dataclass(frozen=True, slots=True)
class FedAsync:
    """Mixing by age (Xie et al., 2019, with the polynomial function of the age).

    w ← w + Σ ωᵢ·(wᵢ − w) with ωᵢ = α·s(ageᵢ)·pᵢ and s(age) = (1 + age)^−a. For a single result this
    is the paper's w ← (1 − α·s)·w + α·s·wᵢ; results that are there together count by their shares.
    With α = 1, and no ages, it is federated averaging.
    """

    mixing: float
    exponent: float

    @property
    def flops(self) -> ServerFlops:
        return ServerFlops(per_result=2, once=2)

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        weights = [
            self.mixing * self.freshness(result.age) * p
            for result, p in zip(results, fractions(results), strict=True)
        ]
        kept = 1 - math.fsum(weights)
        # The global model comes last, as of integers the first are taken.
        of_all = [*(result.parameters for result in results), before.parameters]
        return Aggregate(weighted_sum(of_all, [*weights, kept]), weights)

    def freshness(self, age: int) -> float:
        """s(age) = (1 + age)^−a."""
        return float((1 + age) ** -self.exponent)


@dataclass(frozen=True, slots=True)
class TrimmedMean:
    """The mean of each number without the largest and the smallest (Yin et al., ICML 2018).

    A cluster's model is the average of its pipelines'. Of m models, each number is the mean of the
    m − 2k that remain without the k largest and the k smallest, whatever the shares of data. With
    the share β to trim and M clusters that took part, k = ⌊β·M⌋; where failures leave fewer than
    2k + 1 models, it is the most that leaves one. The weights reported are those of the mean before
    it is trimmed. A result with an age counts as any other.

    `clusters` is how many there are in the study; sorting m numbers is charged as ⌈log₂ m⌉
    comparisons of each.
    """

    trim: float
    clusters: int

    @property
    def flops(self) -> ServerFlops:
        comparisons = math.ceil(math.log2(self.clusters)) if self.clusters > 1 else 0
        return ServerFlops(per_result=2 + comparisons)

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        groups = _by_cluster(results)
        there = {*groups, *(failure.cluster for failure in failures)}
        least = min(trimmed(self.trim, len(there)), (len(groups) - 1) // 2)
        models = [
            weighted_sum([each.parameters for each in own], fractions(own))
            for own in groups.values()
        ]
        of_cluster = {
            cluster: math.fsum(each.weight for each in own) for cluster, own in groups.items()
        }
        weights = [result.weight / of_cluster[result.cluster] / len(groups) for result in results]
        parameters = {
            name: _trimmed_mean([model[name] for model in models], least) for name in models[0]
        }
        return Aggregate(parameters, weights)


def trimmed(trim: float, clusters: int) -> int:
    """How many of so many models are left out at each end: ⌊share·clusters⌋."""
    return math.floor(trim * clusters + 1e-9)  # 0.29·100 is a little less than 29


def _trimmed_mean(values: Sequence[Tensor], least: int) -> Tensor:
    import torch

    if not values[0].is_floating_point():
        return values[0]
    ordered = torch.stack(list(values)).sort(dim=0).values
    return ordered[least : len(values) - least].mean(dim=0)


def _updates(before: Before, results: Sequence[PipelineResult]) -> list[dict[str, Tensor]]:
    """Δᵢ of each result, of the parameters that are trained."""
    return [
        {name: result.parameters[name] - result.received[name] for name in before.trained}
        for result in results
    ]


def _average_of_buffers(
    before: Before, results: Sequence[PipelineResult], weights: Sequence[float]
) -> dict[str, Tensor]:
    trained = set(before.trained)
    buffers = [
        {name: tensor for name, tensor in result.parameters.items() if name not in trained}
        for result in results
    ]
    return weighted_sum(buffers, weights)


def _by_cluster(results: Sequence[PipelineResult]) -> Mapping[int, list[PipelineResult]]:
    groups: dict[int, list[PipelineResult]] = {}
    for result in results:
        groups.setdefault(result.cluster, []).append(result)
    return groups
