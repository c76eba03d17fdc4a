"""The section of a study for the aggregation of what clusters have trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from collapipe_ns3.config.section import Keys, Section
from collapipe_ns3.learning.aggregation import Aggregator, FederatedAveraging
from collapipe_ns3.learning.aggregators import FedAdam, FedAsync, FedNova, Scaffold, TrimmedMean
from collapipe_ns3.learning.local_term import LocalTerm

_Decay = Annotated[float, Field(ge=0, lt=1)]


class Aggregation(Section):
    """How the new global model is made from what clusters have trained; see docs/aggregation.md.

    `fedavg`: the average by shares of the data. `fedprox`: with a proximal term in local steps.
    `fedadam`: Adam at the server. `fednova`: updates normalised by local steps. `scaffold`: control
    variates, which travel with the parameters. `fedasync`: results mixed by their age.
    `trimmed_mean`: without the largest and smallest of each number.
    """

    shorthand = "kind"
    chooses = "kind"
    only: ClassVar[Keys] = {
        "mu": ("fedprox", "fedasync"),
        "learning_rate": ("fedadam", "scaffold"),
        **dict.fromkeys(("beta1", "beta2", "tau"), ("fedadam",)),
        **dict.fromkeys(("mixing", "exponent"), ("fedasync",)),
        "trim": ("trimmed_mean",),
    }

    kind: Literal[
        "fedavg", "fedprox", "fedadam", "fednova", "scaffold", "fedasync", "trimmed_mean"
    ] = "fedavg"
    """Which aggregation."""
    mu: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """Weight of the proximal term μ/2·‖w − w₀‖² in local steps: 0.01 with `fedprox`, 0 with
    `fedasync`."""
    learning_rate: Annotated[float, Field(gt=0, le=1e3)] | None = None
    """Of the server: 0.01 with `fedadam`, 1 with `scaffold`."""
    beta1: _Decay | None = None
    """Decay of the mean of updates; 0.9."""
    beta2: _Decay | None = None
    """Decay of the mean of squared updates; 0.99."""
    tau: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """What is added to the root of the mean square, the degree of adaptivity; 0.001."""
    mixing: Annotated[float, Field(gt=0, le=1)] | None = None
    """Weight α of results without age, against the global model; 0.6."""
    exponent: Annotated[float, Field(ge=0, le=100)] | None = None
    """A result's weight falls as (1 + age)^−exponent; 0.5."""
    trim: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    """Share of the clusters that is left out at each end of every number; 0.1."""

    @property
    def term(self) -> LocalTerm:
        """The local part."""
        usual = {"fedprox": 0.01}.get(self.kind, 0.0)
        return LocalTerm(
            mu=usual if self.mu is None else self.mu,
            variates=self.kind == "scaffold",
            fresh_optimizer=self.kind == "fednova",
        )

    @property
    def share_trimmed(self) -> float:
        """`trim` with its default."""
        return 0.1 if self.trim is None else self.trim

    def kept_by_server(self, clusters: int) -> int:
        """Tensors of the size of each parameter that the base station keeps between rounds."""
        return {"fedadam": 2, "scaffold": 1 + clusters}.get(self.kind, 0)

    def aggregator(self, clusters: int, optimizer_settings: Mapping[str, Any]) -> Aggregator:
        """The server part, for so many clusters with these settings of their optimizer."""
        rate = self.learning_rate
        if self.kind == "fedadam":
            return FedAdam(
                learning_rate=0.01 if rate is None else rate,
                beta1=0.9 if self.beta1 is None else self.beta1,
                beta2=0.99 if self.beta2 is None else self.beta2,
                tau=1e-3 if self.tau is None else self.tau,
            )
        if self.kind == "fednova":
            return FedNova(optimizer_settings.get("momentum", 0.0))
        if self.kind == "scaffold":
            return Scaffold(1.0 if rate is None else rate)
        if self.kind == "fedasync":
            return FedAsync(
                mixing=0.6 if self.mixing is None else self.mixing,
                exponent=0.5 if self.exponent is None else self.exponent,
            )
        if self.kind == "trimmed_mean":
            return TrimmedMean(self.share_trimmed, clusters)
        return FederatedAveraging()
