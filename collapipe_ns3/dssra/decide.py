"""From an observation to a decision: everything that DSSRA does for one round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from collapipe_ns3.dssra import finalists, forecast, segments
from collapipe_ns3.dssra.assess import Loads
from collapipe_ns3.dssra.decision import Decision, Terms
from collapipe_ns3.dssra.objective import value
from collapipe_ns3.dssra.planner import NoRoom, optimise, start_radio
from collapipe_ns3.dssra.predict import cluster_plans, predict
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.dssra.tables import Prices
from collapipe_ns3.dssra.task import Memory, Task, task
from collapipe_ns3.plan import PlanError, RoundPlan
from collapipe_ns3.schemes import Observation

#: Tasks of an event graph up to which a whole round is predicted by it: some 50 ms of planning.
_MOST_TASKS = 20_000


def decide(
    round: int, scheme: str, observation: Observation, memory: Memory, settings: Settings
) -> Decision:
    """The plan for a round. Raises `PlanError` where no plan fits the devices' memory."""
    todo = task(observation, memory, settings)
    try:
        planned = optimise(todo.problem, settings.most_sweeps)
    except NoRoom as error:
        raise PlanError(RoundPlan(round, scheme, ()), _shortages(todo, error)) from None
    state, compared = finalists.compared(todo, planned.state, planned.others)
    moves = finalists.moves(todo, state)
    state = replace(state, radio=forecast.with_moves(todo, state.radio, moves))
    plan = RoundPlan(
        round,
        scheme,
        cluster_plans(state.segments, todo.devices),
        forecast.link_plans(todo, state, moves),
    )
    timeline = None
    if finalists.tasks(state, todo.work.local_steps) <= _MOST_TASKS:
        timeline = predict(plan, todo.devices, todo.fleet, todo.work, state.radio, moves)
    now = value(todo.problem, state)
    return Decision(
        plan=plan,
        moves=planned.moves,
        finalists=compared,
        terms=Terms(now.delay, float(now.energy.sum()), float(now.divergence.sum())),
        prediction=forecast.prediction(todo, state, timeline),
        links=forecast.views(todo, state.radio, plan.links),
        energy_queues=dict(memory.queues.energy),
        divergence_queue=memory.queues.divergence,
        timeline=timeline,
    )


def _shortages(todo: Task, error: NoRoom) -> list[tuple[str, str]]:
    """(cluster, what) for every cluster without a plan: which device lacks how much."""
    fleet, none = todo.fleet, np.zeros((2, todo.fleet.clusters))
    scheduling = segments.Scheduling(
        fleet,
        todo.work,
        start_radio(fleet, todo.work),
        Prices(none[0], todo.problem.joule, none[0]),
        Loads(none, none, none),
        todo.memory.noise,
        todo.problem.choices,
    )
    return [
        (f"cluster {n}", line)
        for n in np.flatnonzero(error.clusters)
        for line in segments.shortages(scheduling, int(n), todo.devices[n])
    ]
