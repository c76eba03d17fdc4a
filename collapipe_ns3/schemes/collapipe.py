"""CollaPipe: segments, micro-batches, bandwidth and power planned every round by DSSRA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from bridge.wire import Wire
from collapipe_ns3.dssra.decide import decide
from collapipe_ns3.dssra.decision import Decision
from collapipe_ns3.dssra.divergence import GradientNoise, loss_epsilon, wire_epsilon
from collapipe_ns3.dssra.knowledge import Knowledge, losses
from collapipe_ns3.dssra.predict import used_links
from collapipe_ns3.dssra.queues import Queues
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.dssra.task import Memory, unmeasured
from collapipe_ns3.plan import Pipeline, RoundPlan, Stage
from collapipe_ns3.schemes import Observation, Outcome

_Positive = Annotated[float, Field(gt=0)]


class CollaPipe:
    """The scheme of CollaPipe's paper (arXiv 2509.19855), as `docs/dssra.md` reconstructs it.

    Each round minimises V·T + Σ (Q/Ē)·E + (Z/Γ̄)·Σ ρΓ: the round's time against energy and
    divergence, which virtual queues make dearer the more their budgets were overdrawn so far.

    `v` is the weight of a second (the larger, the shorter the rounds and the longer until budgets
    are kept). `energy_budget_j` is a device's budget a round, for all (None: none), and
    `energy_budgets_j` those of nodes by name. `divergence_budget` is Γ̄ in units of a loss-free
    round's σ²/B. `memory_budget_bytes` is what training may take of any device, where that is
    less than it has. `ewma` in (0, 1] is the weight of the newest measurements.
    `most_micro_batches` bounds M, `schedule` fixes the schedule. Powers keep links above
    `least_sinr_db`. `wire` is the format of tensors on the air. Coordinate descent takes
    `most_sweeps` at most. A plan that moves optimizer states to other devices must pay within
    `move_rounds` rounds. Links of which nothing newer than `stale_s` is known are asked to be
    sounded.
    """

    def __init__(
        self,
        v: _Positive = 10.0,
        energy_budget_j: _Positive | None = None,
        energy_budgets_j: dict[str, _Positive] | None = None,
        divergence_budget: Annotated[float, Field(ge=1)] = 1.5,
        memory_budget_bytes: Annotated[int, Field(ge=1)] | None = None,
        ewma: Annotated[float, Field(gt=0, le=1)] = 0.5,
        most_micro_batches: Annotated[int, Field(ge=1)] | None = None,
        schedule: Literal["any", "gpipe", "1f1b"] = "any",
        least_sinr_db: float = 5.0,
        wire: Wire = "fp32",
        most_sweeps: Annotated[int, Field(ge=1)] = 6,
        move_rounds: Annotated[int, Field(ge=1)] = 5,
        stale_s: _Positive = 60.0,
    ) -> None:
        self.settings = Settings(
            v=v,
            energy_budget_j=energy_budget_j,
            energy_budgets_j=energy_budgets_j or {},
            divergence_budget=divergence_budget,
            memory_budget_bytes=memory_budget_bytes,
            ewma=ewma,
            most_micro_batches=most_micro_batches,
            schedule=schedule,
            least_sinr_db=least_sinr_db,
            wire=wire,
            most_sweeps=most_sweeps,
            move_rounds=move_rounds,
            stale_s=stale_s,
        )
        self.past = Memory()
        self.decision: Decision | None = None
        self._seen: Observation | None = None

    def sounding(self, observation: Observation) -> list[tuple[str, str]]:
        """The links that should be measured before the next round is planned."""
        return unmeasured(observation, self.settings.stale_s)

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The best plan found; `decision` says how. Raises `PlanError` for lack of memory."""
        self._seen = observation
        self.decision = decide(round, "collapipe", observation, self.past, self.settings)
        return self.decision.plan

    def learn(self, outcome: Outcome) -> None:
        """Takes in what the planned round really took: speeds, links, energy, losses."""
        if self.decision is None or self._seen is None:
            return
        seen, settings, past = self._seen, self.settings, self.past
        pipelines = {
            cluster.cluster: cluster.pipelines[0] for cluster in self.decision.plan.clusters
        }
        self.past = replace(
            past,
            knowledge=past.knowledge.after(outcome, seen.profiles, seen.media, settings.ewma),
            queues=past.queues.after(
                outcome.energy_j,
                settings.budgets_j(seen.devices),
                self._divergence(outcome, pipelines),
                settings.divergence_budget,
            ),
            pipelines=pipelines,
        )

    def learn_gradients(self, prefix_squares: Sequence[float], sequences: int) -> None:
        """Takes in a step's gradient norms, see `GradientNoise.after`."""
        noise = self.past.noise.after(prefix_squares, sequences, self.settings.ewma)
        self.past = replace(self.past, noise=noise)

    def _divergence(self, outcome: Outcome, pipelines: Mapping[int, Pipeline]) -> float:
        """Σ ρΓ of the round as it went, from the losses that it had."""
        seen = self._seen
        assert seen is not None
        lost = losses(outcome.deliveries)
        wire = wire_epsilon(self.settings.wire, seen.model.width)
        shares = seen.shares or [1 / len(pipelines)] * len(pipelines)
        total = 0.0
        for cluster, pipe in pipelines.items():
            distortion = sum(
                wire + loss_epsilon(lost.get(pair, 0.0))
                for pair in used_links(pipe, cluster, star=False)
            )
            gamma = self.past.noise.divergence(seen.batch_size, pipe.micro_batches, distortion)
            total += shares[cluster] * float(gamma)
        return total

    def memory(self) -> dict[str, Any]:
        """What the coming rounds depend on."""
        past = self.past
        return {
            "knowledge": past.knowledge.to_json(),
            "noise": past.noise.to_json(),
            "queues": past.queues.to_json(),
            "pipelines": None
            if past.pipelines is None
            else [
                [
                    cluster,
                    [[stage.device, stage.first, stage.last] for stage in pipe.stages],
                    pipe.micro_batches,
                    pipe.schedule,
                ]
                for cluster, pipe in past.pipelines.items()
            ],
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Takes up what `memory` gave."""
        held = memory["pipelines"]
        self.past = Memory(
            knowledge=Knowledge.from_json(memory["knowledge"]),
            noise=GradientNoise.from_json(memory["noise"]),
            queues=Queues.from_json(memory["queues"]),
            pipelines=None
            if held is None
            else {
                cluster: Pipeline(tuple(Stage(*stage) for stage in stages), m, schedule)
                for cluster, stages, m, schedule in held
            },
        )
