"""From an observation to a decision: everything that DSSRA does for one round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from collapipe_ns3.dssra import finalists, forecast, segments
from collapipe_ns3.dssra.assess import Loads
from collapipe_ns3.dssra.decision import Decision, Terms
from collapipe_ns3.dssra.objective import value
from collapipe_ns3.dssra.planner import NoRoom, Planned, optimise, start_radio
from collapipe_ns3.dssra.predict import cluster_plans, predict
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.dssra.tables import Prices
from collapipe_ns3.dssra.task import Memory, Task, task
from collapipe_ns3.dssra.timeline import Timeline
from collapipe_ns3.plan import PlanError, RoundPlan
from collapipe_ns3.schemes import Observation

#: Tasks of an event graph up to which a whole round is predicted by it: some 50 ms of planning.
_MOST_TASKS = 20_000

#: Which links are left without grants, inside the clusters and to the base station.
OPENED = {
    "shared": (True, True),
    "divided to the base station": (True, False),
    "divided": (False, False),
}

#: Of the best objective: what is above that after a sweep is not looked at further.
_NEAR = 1.15


def decide(
    round: int, scheme: str, observation: Observation, memory: Memory, settings: Settings
) -> Decision:
    """The plan for a round. Raises `PlanError` where no plan fits the devices' memory."""
    try:
        planned = _planned(task(observation, memory, settings))
    except NoRoom as error:
        todo = task(observation, memory, settings)
        raise PlanError(RoundPlan(round, scheme, ()), _shortages(todo, error)) from None
    best, compared = finalists.compared(planned)
    todo, state = best.task, best.state
    bands, _, descent = next(each for each in planned if each[1] is todo)
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
        bands=bands,
        moves=descent.moves,
        finalists=compared,
        terms=Terms(now.delay, float(now.energy.sum()), float(now.divergence.sum())),
        prediction=forecast.prediction(todo, state, timeline),
        links=forecast.views(todo, state.radio, plan.links),
        energy_queues=dict(memory.queues.energy),
        divergence_queue=memory.queues.divergence,
        timeline=timeline,
        state=state,
    )


def expected(decision: Decision, todo: Task) -> Timeline:
    """The timeline of a decision that was made before, by what is known in `todo`."""
    inside, edge = OPENED[decision.bands]
    fleet = todo.fleet.opened(d2d=inside, edge=edge)
    radio = decision.state.radio
    if not fleet.d2d.grants:
        radio = radio.with_(d2d_hz=fleet.d2d.natural_hz)
    if not fleet.up.grants:
        radio = radio.with_(up_hz=fleet.up.natural_hz, down_hz=fleet.down.natural_hz)
    once = replace(todo.work, local_steps=1)
    return predict(decision.plan, todo.devices, fleet, once, radio)


def _planned(todo: Task) -> list[tuple[str, Task, Planned]]:
    """Descents with bands shared and divided, the best by the closed forms first.

    A link with a grant is sure of it and limited to it; links without take turns at the whole of
    what is left. Which is better depends on the load, so each is planned for: the first in full,
    the others from its segments, and no further than one sweep where that is not near.
    """
    sweeps = todo.settings.most_sweeps
    found: list[tuple[str, Task, Planned]] = []
    for name, (inside, edge) in _variants(todo):
        problem = replace(todo.problem, fleet=todo.fleet.opened(d2d=inside, edge=edge))
        if not found:
            planned = optimise(problem, sweeps)
        else:
            first = found[0][2]
            planned = optimise(problem, 1, first.state.segments)
            if planned.value.total <= _NEAR * first.value.total:
                planned = optimise(problem, sweeps, first.state.segments)
        found.append((name, replace(todo, problem=problem), planned))
    return sorted(found, key=lambda each: each[2].value.total)


def _variants(todo: Task) -> list[tuple[str, tuple[bool, bool]]]:
    """Which links are left without grants, inside the clusters and to the base station."""
    fleet, bands = todo.fleet, todo.settings.bands
    names = []
    if bands != "divided":
        names.append("shared")
    if bands == "any" and fleet.d2d.grants and (fleet.up.grants or fleet.down.grants):
        names.append("divided to the base station")
    if bands != "shared" and (fleet.d2d.grants or fleet.up.grants or fleet.down.grants):
        names.append("divided")
    return [(name, OPENED[name]) for name in names or ["shared"]]


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
