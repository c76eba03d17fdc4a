"""Oracle: the plan with the shortest round, of all plans of a tiny instance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from collapipe_ns3.dssra.planner import start_radio
from collapipe_ns3.dssra.planning_problem import Memory, PlanningProblem, unmeasured
from collapipe_ns3.dssra.segments.problem import divisors
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.eventgraph.graph import TooManyEvents
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, PlanError, RoundPlan, Stage
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.memory import cluster_memory_problems
from collapipe_ns3.prediction.plan_timeline import predict_timeline, radio_of_plan
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.reach import reach
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes.pipeline import open_links


class Oracle:
    """Tries all segments, orders, micro-batch numbers and schedules of all clusters together.

    Each plan that memory allows is predicted by its event graph, from the same measurements and in
    the same way as DSSRA predicts its plans. The first plan with the shortest round is taken. Power
    and bandwidth are as the radio has them, and moving optimizer states is not counted. So DSSRA's
    choice of segments can be compared with it where energy and divergence have no budget; it is as
    reliable as the predictor.

    This is a reference of this project, not a baseline of the paper, and for tiny instances only:
    `most_plans` bounds the plans of all clusters together.
    """

    def __init__(
        self,
        most_plans: Annotated[
            int, Field(ge=1, description="The most plans of all clusters together.")
        ] = 2000,
        ewma: Annotated[
            float, Field(gt=0, le=1, description="Weight of the newest measurements.")
        ] = 0.5,
    ) -> None:
        self.most_plans = most_plans
        self.ewma = ewma
        self.knowledge = Knowledge()
        self._seen: Observation | None = None

    def sounding(self, observation: Observation) -> list[tuple[str, str]]:
        """The links that should be measured before the next round is planned."""
        return unmeasured(observation, (), 0.0)

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The best of all plans; raises `PlanError` if they are too many, or none fits."""
        self._seen = observation
        able = reach(observation)
        observation = replace(observation, devices=able.devices)
        problems = list(self._too_many(observation))
        choices = [] if problems else list(_fitting(observation))
        problems += [
            (f"cluster {number}", "no plan fits its devices' memory")
            for number, each in enumerate(choices)
            if not each
        ]
        if problems:
            raise PlanError("oracle", round, problems)
        links = open_links(able.devices)
        plans = [
            RoundPlan(round, "oracle", clusters, links, able.absences).arranged_by(
                observation.exchange
            )
            for clusters in itertools.product(*choices)
        ]
        if not any(able.devices):
            return plans[0]
        problem = PlanningProblem.of(observation, Memory(knowledge=self.knowledge), Settings())
        problem = problem.with_bands("shared")
        start = start_radio(problem.fleet, problem.work)
        radio = radio_of_plan(links, able.devices, problem.fleet, start)
        totals = [_total_ns(plan, problem, radio) for plan in plans]
        return plans[totals.index(min(totals))]

    def _too_many(self, observation: Observation) -> Iterator[tuple[str, str]]:
        """A problem if there are too many plans. They are counted before any of them is made."""
        count = math.prod(
            plan_count(len(names), observation.model.encoder_blocks, observation.batch_size)
            for names in observation.devices
            if names
        )
        if count > self.most_plans:
            yield (
                "every cluster",
                f"expected at most {self.most_plans} plans to try (most_plans), not {count}: take "
                "fewer clusters, devices, encoder blocks, or divisors of the batch, or the scheme "
                "collapipe, which need not try all",
            )

    def learn(self, outcome: RoundOutcome) -> None:
        """Learns speeds and links from the round, as DSSRA does."""
        if self._seen is not None:
            seen = self._seen
            self.knowledge = self.knowledge.after(
                outcome, seen.profiles, seen.media, set(), self.ewma
            )

    def memory(self) -> dict[str, Any]:
        """Everything that the next plans depend on."""
        return {"knowledge": self.knowledge.to_json()}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Restores what `memory` gave."""
        self.knowledge = Knowledge.from_json(memory["knowledge"])


def _total_ns(plan: RoundPlan, problem: PlanningProblem, radio: RadioSetting) -> float:
    """The duration of a plan's round by its event graph; infinite if links are too slow."""
    try:
        return predict_timeline(plan, problem.devices, problem.fleet, problem.work, radio).total_ns
    except TooManyEvents:
        return math.inf


def plan_count(devices: int, blocks: int, batch_size: int) -> int:
    """The number of pipelines that a cluster of K devices may have, for L encoder blocks.

    It is Σ_S K!/(K−S)! · C(L−1, S−1) orders and segments over the number of stages S, times the
    pairs of a number of micro-batches and a schedule. A single micro-batch has only one schedule.
    """
    variants = len(SCHEDULES) * (len(divisors(batch_size)) - 1) + 1
    lines = sum(
        math.perm(devices, size) * math.comb(blocks - 1, size - 1)
        for size in range(1, min(devices, blocks) + 1)
    )
    return lines * variants


def pipelines(devices: Sequence[str], blocks: int, batch_size: int) -> Iterator[Pipeline]:
    """All pipelines of a cluster, those of few segments first."""
    for size in range(1, min(len(devices), blocks) + 1):
        for order in itertools.permutations(devices, size):
            for cuts in itertools.combinations(range(1, blocks), size - 1):
                ends = [0, *cuts, blocks]
                stages = tuple(
                    Stage(device, first, end - 1)
                    for device, (first, end) in zip(order, itertools.pairwise(ends), strict=True)
                )
                for m in divisors(batch_size):
                    for schedule in SCHEDULES if m > 1 else list(SCHEDULES)[:1]:
                        yield Pipeline(stages, m, schedule)


def _fitting(observation: Observation) -> Iterator[list[ClusterPlan]]:
    """The plans of each cluster that fit into its devices' memory.

    A cluster without devices sits out.
    """
    blocks, batch_size = observation.model.encoder_blocks, observation.batch_size
    for number, devices in enumerate(observation.devices):
        if not devices:
            yield [ClusterPlan(number, ())]
            continue
        every = (ClusterPlan(number, (each,)) for each in pipelines(devices, blocks, batch_size))
        yield [each for each in every if not any(cluster_memory_problems(each, observation))]
