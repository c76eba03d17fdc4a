"""Virtual queues: how far each long-term budget has been exceeded so far.

  Q(t+1) = max(Q(t) + x(t)/X̄ - 1, 0)

where x(t) was measured in round t and X̄ is the budget of a round. Queues are counted in budgets, so
that one weight V suits joules and divergence. If a queue grows more slowly than t, the budget is
kept on average: (1/T)·Σ x(t) ≤ X̄·(1 + Q(T)/T) (Neely 2010, lemma 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Queues:
    """`energy` by node, for nodes that have a budget; `divergence` for all clusters together."""

    energy: Mapping[str, float] = field(default_factory=dict)
    divergence: float = 0.0

    def after(
        self,
        energy_j: Mapping[str, float],
        budgets_j: Mapping[str, float],
        divergence: float,
        divergence_budget: float,
    ) -> Self:
        """The queues after a round with this measured energy and divergence.

        The divergence is nan where nothing was trained; then its queue stays as it is.
        """
        used = divergence_budget if math.isnan(divergence) else divergence
        return type(self)(
            energy={
                node: grown(self.energy.get(node, 0.0), energy_j.get(node, 0.0), budget)
                for node, budget in budgets_j.items()
            },
            divergence=grown(self.divergence, used, divergence_budget),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"energy": dict(self.energy), "divergence": self.divergence}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The queues from what `to_json` gave."""
        return cls(dict(data["energy"]), data["divergence"])


def grown(queue: float, used: float, budget: float) -> float:
    """A queue after a round that used so much."""
    return max(queue + used / budget - 1.0, 0.0)
