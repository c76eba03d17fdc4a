"""From an observation to a decision: everything that DSSRA does for one round."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from collapipe_ns3.dssra import finalists, forecast
from collapipe_ns3.dssra.decision import Decision, Prediction, Terms
from collapipe_ns3.dssra.objective import State, value
from collapipe_ns3.dssra.planner import NoRoom, Planned, optimise, start_radio
from collapipe_ns3.dssra.planning_problem import Memory, PlanningProblem
from collapipe_ns3.dssra.segments.problem import Prices, SegmentProblem
from collapipe_ns3.dssra.segments.scheduling import shortages
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.eventgraph.graph import TooManyEvents
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import ClusterPlan, PlanError, RoundPlan
from collapipe_ns3.prediction.plan_timeline import cluster_plans, predict_timeline
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.timeline_energy import NodeEnergy

#: Tasks of an event graph up to which a whole round is predicted by it: some 50 ms of planning.
_MOST_TASKS = 20_000

#: Which links are left without grants, inside the clusters and to the base station.
OPENED = {
    "shared": (True, True),
    "divided to the base station": (True, False),
    "divided": (False, False),
}


def decide(
    round: int, scheme: str, observation: Observation, memory: Memory, settings: Settings
) -> Decision:
    """The plan for a round. Raises `PlanError` where no plan fits the devices' memory.

    A cluster for which the observation has no devices sits out; at least one has some.
    """
    try:
        planned = _planned(PlanningProblem.of(observation, memory, settings))
    except NoRoom as error:
        problem = PlanningProblem.of(observation, memory, settings)
        raise PlanError(scheme, round, _shortages(problem, error)) from None
    best, compared = finalists.compared(planned)
    problem, state = best.problem, best.state
    bands, _, descent = next(each for each in planned if each[1] is problem)
    moves = finalists.moves(problem, state)
    state = replace(state, radio=forecast.with_moves(problem, state.radio, moves))
    plan = RoundPlan(
        round,
        scheme,
        _with_absent(cluster_plans(state.segments, problem.devices), len(problem.devices)),
        forecast.link_plans(problem, state, moves),
    )

    def foresee() -> tuple[Prediction, Timeline | None]:
        timeline = None
        if finalists.tasks(state, problem.work.local_steps) <= _MOST_TASKS:
            with contextlib.suppress(TooManyEvents):
                timeline = predict_timeline(
                    plan, problem.devices, problem.fleet, problem.work, state.radio, moves
                )
        return forecast.prediction(problem, state, timeline), timeline

    now = value(problem.objective, state)
    return Decision(
        plan=plan,
        bands=bands,
        updates=descent.updates,
        finalists=compared,
        terms=Terms(now.delay, float(now.energy.sum()), float(now.divergence.sum())),
        links=forecast.views(problem, state.radio, plan.links),
        energy_queues=dict(memory.queues.energy),
        divergence_queue=memory.queues.divergence,
        state=state,
        foresee=foresee,
    )


def _with_absent(clusters: Sequence[ClusterPlan], count: int) -> tuple[ClusterPlan, ...]:
    """The plans of all clusters, those that sit out without pipelines."""
    planned = {each.cluster: each for each in clusters}
    return tuple(planned.get(n, ClusterPlan(n, ())) for n in range(count))


def expected(decision: Decision, problem: PlanningProblem) -> Timeline:
    """The timeline of an earlier decision, with one training step, by what is known in `problem`.

    Raises `TooManyEvents`.
    """
    known, state = _known(decision, problem)
    once = replace(problem.work, local_steps=1)
    return predict_timeline(decision.plan, problem.devices, known.fleet, once, state.radio)


def expected_joules(decision: Decision, problem: PlanningProblem) -> dict[str, NodeEnergy]:
    """What such a decision should have taken of each node, soundings left out."""
    known, state = _known(decision, problem)
    timeline = None
    if decision.timeline is not None:
        moves, fleet = finalists.moves(known, state), known.fleet
        with contextlib.suppress(TooManyEvents):
            timeline = predict_timeline(
                decision.plan, problem.devices, fleet, problem.work, state.radio, moves
            )
    return forecast.joules(known, state, timeline)


def _known(decision: Decision, problem: PlanningProblem) -> tuple[PlanningProblem, State]:
    """A decision that was made before, on links as they are known in `problem`."""
    inside, edge = OPENED[decision.bands]
    fleet = problem.fleet.opened(sidelink=inside, edge=edge)
    radio = decision.state.radio
    if not fleet.links.sidelink.grants:
        radio = radio.with_bandwidth_hz(sidelink=fleet.links.sidelink.natural_hz)
    if not fleet.links.uplink.grants:
        radio = radio.with_bandwidth_hz(
            uplink=fleet.links.uplink.natural_hz, downlink=fleet.links.downlink.natural_hz
        )
    objective = replace(problem.objective, fleet=fleet)
    return replace(problem, objective=objective), replace(decision.state, radio=radio)


def _planned(problem: PlanningProblem) -> list[tuple[str, PlanningProblem, Planned]]:
    """Descents with bands shared and divided, the best by the closed forms first.

    A link with a grant is sure of it and limited to it; links without take turns at the whole of
    what is left. Which is better depends on the load, so each is planned for: with one sweep, the
    others from the first's segments, and then the best of them in full.
    """
    found: list[tuple[str, PlanningProblem, Planned]] = []
    start: Segments | None = None
    for name, (inside, edge) in _variants(problem):
        objective = replace(
            problem.objective, fleet=problem.fleet.opened(sidelink=inside, edge=edge)
        )
        planned = optimise(objective, 1, start)
        start = start or planned.state.segments
        found.append((name, replace(problem, objective=objective), planned))
    (name, posed, quick), *others = sorted(found, key=lambda each: each[2].value.total)
    planned = optimise(posed.objective, posed.settings.most_sweeps, quick.state.segments)
    return [(name, posed, planned), *others]


def _variants(problem: PlanningProblem) -> list[tuple[str, tuple[bool, bool]]]:
    """Which links are left without grants, inside the clusters and to the base station."""
    links, bands = problem.fleet.links, problem.settings.bands
    to_server = links.uplink.grants or links.downlink.grants
    names = []
    if bands != "divided":
        names.append("shared")
    if bands == "any" and links.sidelink.grants and to_server:
        names.append("divided to the base station")
    if bands != "shared" and (links.sidelink.grants or to_server):
        names.append("divided")
    return [(name, OPENED[name]) for name in names or ["shared"]]


def _shortages(problem: PlanningProblem, error: NoRoom) -> list[tuple[str, str]]:
    """(cluster, what) for every cluster without a plan: which device lacks how much."""
    fleet, none = problem.fleet, np.zeros((2, problem.fleet.clusters))
    subproblem = SegmentProblem(
        fleet,
        problem.work,
        start_radio(fleet, problem.work),
        Prices.of(fleet, none[0], problem.objective.joule, none[0]),
        Loads(none, none, none),
        problem.memory.noise,
        problem.objective.choices,
    )
    return [
        (f"cluster {problem.clusters[row]}", line)
        for row in np.flatnonzero(error.clusters)
        for line in shortages(subproblem, int(row), problem.devices[problem.clusters[row]])
    ]
