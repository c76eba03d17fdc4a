"""The settings of DSSRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bridge.formats import ParameterFormat


@dataclass(frozen=True, slots=True)
class Settings:
    """The keywords of `collapipe_ns3.schemes.collapipe.CollaPipe`, which describes them."""

    v: float = 10.0
    energy_budget_j: float | None = None
    energy_budgets_j: Mapping[str, float] = field(default_factory=dict)
    divergence_budget: float = 1.5
    memory: Literal["fair", "all"] = "fair"
    memory_budget_bytes: float | None = None
    ewma: float = 0.5
    most_micro_batches: int | None = None
    schedule: Literal["any", "gpipe", "1f1b"] = "any"
    bands: Literal["any", "shared", "divided"] = "any"
    exchange: Literal["any", "star"] = "any"
    formats: tuple[ParameterFormat, ...] = ()
    least_sinr_db: float = 5.0
    most_sweeps: int = 6
    move_rounds: int = 2
    stale_s: float = 0.0

    def budgets_j(self, devices: tuple[tuple[str, ...], ...]) -> dict[str, float]:
        """The energy budget of every device that has one, by name."""
        everyone = [] if self.energy_budget_j is None else [d for row in devices for d in row]
        common = dict.fromkeys(everyone, self.energy_budget_j or 0.0)
        return {**common, **self.energy_budgets_j}
