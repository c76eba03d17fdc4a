"""Runs in which something changes on the way, with DSSRA and with its plan frozen before that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.reading import study_file
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.run.planning import Soundings
from collapipe_ns3.run.runner import Run
from collapipe_ns3.schemes.collapipe import CollaPipe
from collapipe_ns3.schemes.guard import GuardedScheme
from ns3_scenarios.scenario import ScenarioSpec

Scenarios = Callable[[ScenarioSpec], ScenarioSpec]


class Frozen(CollaPipe):
    """Plans as it does, up to a round; after that always the same, on the same powers and bands."""

    def __init__(self, after: int, memory: Literal["fair", "all"]) -> None:
        super().__init__(memory=memory)
        self.after = after
        self.last: RoundPlan | None = None

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        if self.last is None or round < self.after:
            self.last = super().plan(round, observation)
        return replace(self.last, round=round)


class ChangingRun(Run):
    """From round `since` on another scenario, and nodes at other speeds than they are said to."""

    def __init__(
        self,
        since: int,
        scenario: Scenarios | None,
        slowed: Mapping[str, float],
        frozen: bool,
        work: float,
        memory: Literal["fair", "all"],
    ) -> None:
        super().__init__(study_file.read("quickstart"), torch.device("cpu"))
        self.since, self.changed, self.slowed = since, scenario, slowed
        self.said = {
            name: replace(profile, flops_per_s=profile.flops_per_s / work)
            for name, profile in self.profiles.items()
        }
        made = Frozen(since, memory) if frozen else CollaPipe(memory=memory)
        self.scheme = GuardedScheme("collapipe", made)

    def _scenario(self) -> ScenarioSpec:
        spec = super()._scenario()
        late = self.next_round >= self.since
        self.profiles = {
            name: _slower(profile, self.slowed.get(name, 1.0) if late else 1.0)
            for name, profile in self.said.items()
        }
        return self.changed(spec) if late and self.changed else spec

    def observation(
        self, links: LinkBook | None = None, soundings: Soundings | None = None
    ) -> Observation:
        return replace(super().observation(links, soundings), profiles=self.said)


def _slower(profile: DeviceProfile, factor: float) -> DeviceProfile:
    return replace(
        profile, flops_per_s=profile.flops_per_s / factor, overhead_s=profile.overhead_s * factor
    )


@dataclass(frozen=True)
class Course:
    """Round times in seconds, and plans, round by round."""

    seconds: list[float]
    plans: list[RoundPlan]

    def devices(self, round: int, cluster: int) -> set[str]:
        """Who holds blocks of a cluster in a round."""
        stages = self.plans[round].clusters[cluster].pipelines[0].stages
        return {stage.device for stage in stages}

    def blocks(self, round: int, device: str) -> int:
        """How many blocks a device holds in a round."""
        stages = (s for c in self.plans[round].clusters for s in c.pipelines[0].stages)
        return sum(stage.blocks for stage in stages if stage.device == device)


def course(
    rounds: int,
    since: int,
    *,
    scenario: Scenarios | None = None,
    slowed: Mapping[str, float] | None = None,
    frozen: bool = False,
    work: float = 1.0,
    memory: Literal["fair", "all"] = "fair",
) -> Course:
    """`quickstart`, changed from round `since` on, planned anew each round or `frozen` before.

    `work` is how many times as long every node takes for the same, from the beginning.
    """
    run = ChangingRun(since, scenario, slowed or {}, frozen, work, memory)
    records = list(run.rounds(rounds))
    return Course([r.outcome.duration_ns / 1e9 for r in records], [r.plan for r in records])
