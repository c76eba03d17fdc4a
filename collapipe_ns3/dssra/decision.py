"""A round's decision as a record: the plan, how it was found, and what it is expected to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from collapipe_ns3.dssra import forecast
from collapipe_ns3.dssra.finalists import Finalist
from collapipe_ns3.dssra.forecast import Prediction
from collapipe_ns3.dssra.local_steps import StepsChoice
from collapipe_ns3.dssra.objective import State, course, value
from collapipe_ns3.dssra.planned_links import LinkView
from collapipe_ns3.dssra.planner import BlockUpdate
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.dssra.risk import Expectation, expected
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.exchange import StateMove
from collapipe_ns3.plan import RoundPlan

#: Up to so many tasks, a whole round is predicted by its event graph: some 50 ms of planning.
_MOST_TASKS = 20_000


@dataclass(frozen=True, slots=True)
class ObjectiveTerms:
    """The objective's terms: V·T, Σ (Q/Ē)·E and (Z/Γ̄)·Σ ρΓ."""

    delay: float
    energy: float
    divergence: float

    @property
    def total(self) -> float:
        """J."""
        return self.delay + self.energy + self.divergence


@dataclass(frozen=True)
class Decision:
    """How a round was planned.

    `problem` is what the plan was chosen for, with the grants that it uses, `state` the plan as the
    optimisation has it, and `state_moves` the optimizer states that move, by cluster. `bands` says
    which links were given bandwidths: "shared", "divided to the base station" or "divided".
    `local_steps` says how their number was chosen, None where the study leaves no choice.
    """

    plan: RoundPlan
    bands: str
    updates: tuple[BlockUpdate, ...]
    finalists: tuple[Finalist, ...]
    terms: ObjectiveTerms
    links: tuple[LinkView, ...]
    problem: PlanningProblem
    state: State
    state_moves: Mapping[int, list[StateMove]]
    local_steps: StepsChoice | None = None

    @property
    def streamed(self) -> bool:
        """Whether parameters travel in chunks that are forwarded as they arrive."""
        return self.problem.objective.form.streamed

    @cached_property
    def timeline(self) -> Timeline | None:
        """The event graph's timeline of the round; none where it would have too many events."""
        problem = self.problem
        steps = problem.work.local_steps
        if forecast.graph_tasks(problem.objective, self.state, steps) > _MOST_TASKS:
            return None
        return forecast.timeline_or_none(self.plan, problem, self.state, self.state_moves)

    @cached_property
    def prediction(self) -> Prediction:
        """What the round should take. Computed when it is first asked for."""
        return forecast.prediction(self.problem, self.state, self.timeline)

    @cached_property
    def expectation(self) -> Expectation | None:
        """What the round is expected to be if nodes may leave; None where none is expected to.

        Without losses its clusters end as in the prediction.
        """
        objective = self.problem.objective
        if objective.risk is None:
            return None
        ends_s = np.array([each.end_s for each in self.prediction.clusters])
        now = course(objective, self.state, value(objective, self.state))
        return expected(objective.risk, now, ends_s)

    def to_json(self) -> dict[str, Any]:
        """Plain data; problem, state and timeline are left out."""
        queues, steps = self.problem.memory.queues, self.local_steps
        return {
            "plan": self.plan.to_json(),
            "bands": self.bands,
            "exchange": str(self.problem.objective.form),
            "moves": [asdict(update) for update in self.updates],
            "finalists": [asdict(finalist) for finalist in self.finalists],
            "terms": asdict(self.terms),
            "links": [asdict(link) for link in self.links],
            **({} if steps is None else {"local_steps": asdict(steps)}),
            "energy_queues": dict(queues.energy),
            "divergence_queue": queues.divergence,
            "prediction": self.prediction.to_json(),
            **({} if self.expectation is None else {"hazards": self._hazards(self.expectation)}),
        }

    def _hazards(self, likely: Expectation) -> dict[str, Any]:
        """What was planned for nodes that may leave."""
        risk, problem = self.problem.objective.risk, self.problem
        assert risk is not None
        return {
            "recovery": asdict(risk.recovery),
            "per_s": {
                name: float(risk.hazards[at])
                for name, at in problem.places.items()
                if risk.hazards[at]
            },
            "expected_s": likely.round_s,
            "fault_free_s": self.prediction.round_s,
            "progress": likely.progress,
            "success": {
                str(n): float(each) for n, each in zip(problem.clusters, likely.kept, strict=True)
            },
        }
