"""From an observation to a decision: all that DSSRA does for one round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

import numpy as np

from collapipe_ns3.dssra import exchanges, finalists, forecast, local_steps, planned_links
from collapipe_ns3.dssra.decision import Decision, ObjectiveTerms
from collapipe_ns3.dssra.finalists import Candidate, Descent, Finalist
from collapipe_ns3.dssra.local_steps import StepsChoice
from collapipe_ns3.dssra.objective import State, course, value
from collapipe_ns3.dssra.planner import NoRoom, optimise, start_radio
from collapipe_ns3.dssra.planning_problem import Memory, PlanningProblem
from collapipe_ns3.dssra.risk import recoveries
from collapipe_ns3.dssra.segments.problem import Prices, SegmentProblem
from collapipe_ns3.dssra.segments.scheduling import fits, shortages
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.observed import Observation
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import ClusterPlan, Pipeline, PlanError, Recovery, RoundPlan, Terms
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.prediction.plan_timeline import cluster_plans, predict_timeline
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.timeline_energy import NodeEnergy


def decide(
    round: int, scheme: str, observation: Observation, memory: Memory, settings: Settings
) -> Decision:
    """The plan for a round. Raises `PlanError` where no plan fits the devices' memory.

    At least one cluster of the observation has devices; those without devices sit out.
    """
    problem = PlanningProblem.of(observation, memory, settings)
    if (given := observation.exchange) is not None:
        problem = problem.with_form(exchanges.form_of(problem, given))
    try:
        if problem.objective.risk is not None and observation.recovery is None:
            best, compared, steps = _chosen_with_recovery(problem)
        else:
            best, compared, steps = _chosen(problem)
    except NoRoom as error:
        raise PlanError(scheme, round, _shortages(problem, error)) from None
    problem, state = best.problem, best.state
    moves = problem.state_moves(state.segments)
    state = replace(state, radio=planned_links.with_state_moves(problem, state.radio, moves))
    plan = RoundPlan(
        round,
        scheme,
        _cluster_plans(problem.pipelines(state.segments), len(problem.devices)),
        planned_links.link_plans(problem, state, moves),
        local_steps=None if steps is None else steps.steps,
        terms=_terms(problem),
    )
    plan = replace(plan, exchange=problem.exchange(plan))
    worth = value(problem.objective, state)
    return Decision(
        plan=plan,
        bands=best.descent.bands,
        updates=best.descent.planned.updates,
        finalists=compared,
        terms=ObjectiveTerms(
            worth.delay, worth.idle + float(worth.energy.sum()), float(worth.divergence.sum())
        ),
        links=planned_links.link_views(problem, state.radio, plan.links),
        problem=problem,
        state=state,
        state_moves=moves,
        local_steps=steps,
    )


def _chosen(
    problem: PlanningProblem,
) -> tuple[Candidate, tuple[Finalist, ...], StepsChoice | None]:
    """The best candidate, the finalists, and the number of local steps if there is a choice.

    The round is planned for as many steps as the last one had. If another number is better with
    that plan, the round is planned again, for that.
    """
    least, drift = problem.observation.local_steps, problem.memory.drift
    most = problem.observation.most_local_steps
    if most is None or most == least:
        return *finalists.choose(_descents(problem)), None
    allowed = local_steps.within(drift, least, most)
    problem = problem.with_steps(min(max(drift.steps, least), allowed[-1]))
    best, compared = finalists.choose(_descents(problem))
    few, many = (finalists.price(best, steps) for steps in (allowed[0], allowed[-1]))
    choice = local_steps.choose(drift, allowed, problem.settings.v, few, many)
    if choice.steps != problem.work.local_steps:
        best, compared = finalists.choose(_descents(problem.with_steps(choice.steps)))
    return best, compared, choice


def _chosen_with_recovery(
    problem: PlanningProblem,
) -> tuple[Candidate, tuple[Finalist, ...], StepsChoice | None]:
    """The same with the best recovery: the round is planned again if that is not a restart.

    Where memory does not suffice to restart, lost pipelines are abandoned.
    """
    try:
        best, compared, steps = _chosen(problem)
    except NoRoom:
        return _chosen(problem.with_recovery(Recovery("abandon")))
    recovery = _best_recovery(best)
    if recovery != Recovery("restart"):
        try:
            best, compared, steps = _chosen(problem.with_recovery(recovery))
        except NoRoom:
            return _recovering(best, recovery), compared, steps
        recovery = _best_recovery(best)
    return _recovering(best, recovery), compared, steps


def _recovering(candidate: Candidate, recovery: Recovery) -> Candidate:
    """The candidate with another recovery."""
    problem = candidate.problem.with_recovery(recovery)
    return replace(candidate, descent=replace(candidate.descent, problem=problem))


def _best_recovery(candidate: Candidate) -> Recovery:
    """The recovery with which J is lowest by the closed forms, of those for which there is memory.

    What copies take of the nodes' energy is not counted.
    """
    state, objective = candidate.state, candidate.problem.objective
    assert objective.risk is not None
    totals = {}
    for each in recoveries(objective.risk, course(objective, state, value(objective, state))):
        problem = candidate.problem.with_recovery(each)
        if each.policy != "abandon" and not _has_memory(problem, state):
            continue
        totals[each] = value(problem.objective, state).total
    return min(totals, key=totals.__getitem__)


def _has_memory(problem: PlanningProblem, state: State) -> bool:
    """Whether the nodes have the memory for a plan with the problem's recovery."""
    if not fits(problem.fleet, problem.work, state.segments).all():
        return False
    plan = RoundPlan(0, "", cluster_plans(state.segments, problem.devices), terms=_terms(problem))
    plan = replace(plan, exchange=problem.exchange(plan))
    return not any(memory_problems(plan, problem.observation))


def _terms(problem: PlanningProblem) -> Terms:
    """The terms of a plan, with the recovery if it is DSSRA's choice."""
    risk = problem.objective.risk
    if risk is None or problem.observation.recovery is not None:
        return Terms()
    return Terms(recovery=risk.recovery)


def _cluster_plans(pipelines: Mapping[int, Pipeline], count: int) -> tuple[ClusterPlan, ...]:
    """The plans of all clusters; those that sit out have no pipelines."""
    return tuple(ClusterPlan(n, (pipelines[n],) if n in pipelines else ()) for n in range(count))


def expected_training_s(decision: Decision, problem: PlanningProblem) -> dict[int, float]:
    """How long a training step of each cluster should have taken, on the links as `problem` knows.

    All steps are taken to be as long as the first. In a streamed exchange, where stages wait for
    their segments in the first, it is the mean over all steps. The copies that the recovery makes
    are counted. Raises `TooManyEvents`.
    """
    known, state = _with_known_links(decision, problem)
    steps = decision.problem.work.local_steps if decision.streamed else 1
    work, held = replace(problem.work, local_steps=steps), problem.observation.references
    plan = replace(decision.plan, local_steps=None)
    made = predict_timeline(plan, problem.devices, known.fleet, work, state.radio, references=held)
    now = course(known.objective, state, value(known.objective, state))
    copies_s = now.copies_s(decision.problem.recovery) / now.work.local_steps
    return {
        each.cluster: each.phases_ns[Phase.PIPELINE] / 1e9 / steps + float(copy_s)
        for each, copy_s in zip(made.pipelines, copies_s, strict=True)
    }


def expected_energy(decision: Decision, problem: PlanningProblem) -> dict[str, NodeEnergy]:
    """The energy that each node should have taken, without soundings, as for the timeline."""
    known, state = _with_known_links(decision, problem)
    timeline = None
    if decision.timeline is not None:
        moves = known.state_moves(state.segments)
        timeline = forecast.timeline_or_none(decision.plan, known, state, moves)
    return forecast.node_energy(known, state, timeline)


def _with_known_links(
    decision: Decision, problem: PlanningProblem
) -> tuple[PlanningProblem, State]:
    """An earlier decision's grants and state, on the links as `problem` knows them."""
    known = problem.with_bands(decision.bands)
    links, radio = known.fleet.links, decision.state.radio
    if not links.sidelink.grants:
        radio = radio.with_bandwidth_hz(sidelink=links.sidelink.natural_hz)
    if not links.uplink.grants:
        radio = radio.with_bandwidth_hz(
            uplink=links.uplink.natural_hz, downlink=links.downlink.natural_hz
        )
    return known, replace(decision.state, radio=radio)


def _descents(problem: PlanningProblem) -> list[Descent]:
    """A descent for each way in which bands are used and parameters travel.

    The best by the closed forms comes first, and then the best with the exchange of plans that give
    none, if that is another.
    """
    found = _descents_by_bands(problem)
    given = problem.observation.exchange is not None or problem.settings.exchange == "star"
    if given or not exchanges.can_stream(problem):
        return found
    streamed = _streamed(problem, found[0])
    place = 0 if streamed.total < found[0].total else 1
    return [*found[:place], streamed, *found[place:]]


def _streamed(problem: PlanningProblem, star: Descent) -> Descent:
    """The descent for the streamed exchange, from the segments that are best without: `star`.

    It is for the better of two ways to use the bands: that of `star`, and, where it is allowed,
    sharing all, as only then a multicast has a band, and a link is never idle that has a chunk to
    send.
    """
    start = star.planned.state.segments
    ways = [star.bands] if problem.settings.bands == "divided" else ["shared", star.bands]
    found = []
    for bands in dict.fromkeys(ways):
        variant = problem.with_bands(bands)
        found.append((bands, variant.with_form(exchanges.streamed(variant))))
    best, variant = found[0]
    if len(found) > 1:  # compared at equal bandwidths
        best, variant = min(
            found, key=lambda each: optimise(each[1].objective, 0, start).value.total
        )
    planned = optimise(variant.objective, problem.settings.most_sweeps, start)
    variant = exchanges.with_best_groups(variant, planned.state)
    variant = exchanges.with_best_formats(variant, planned.state)
    worth = value(variant.objective, planned.state)
    return Descent(best, variant, replace(planned, value=worth))


def _descents_by_bands(problem: PlanningProblem) -> list[Descent]:
    """A descent for each way to use the bands; the best by the closed forms comes first.

    A link with a grant always has exactly its bandwidth; links without grants take turns at all
    that is left. Which is better depends on the load. So each way is planned with one sweep, from
    the second on starting from the first one's segments; the best is then planned with all sweeps.
    """
    found: list[Descent] = []
    start: Segments | None = None
    for bands in _bands(problem):
        variant = problem.with_bands(bands)
        planned = optimise(variant.objective, 1, start)
        start = start or planned.state.segments
        found.append(Descent(bands, variant, planned))
    best, *others = sorted(found, key=attrgetter("total"))
    most_sweeps, segments = problem.settings.most_sweeps, best.planned.state.segments
    planned = optimise(best.problem.objective, most_sweeps, segments)
    return [replace(best, planned=planned), *others]


def _bands(problem: PlanningProblem) -> Sequence[str]:
    """The ways to use the bands (`planning_problem.BANDS`) that are tried."""
    links, wanted = problem.fleet.links, problem.settings.bands
    to_server = links.uplink.grants or links.downlink.grants
    bands = []
    if wanted != "divided":
        bands.append("shared")
    if wanted == "any" and links.sidelink.grants and to_server:
        bands.append("divided to the base station")
    if wanted != "shared" and (links.sidelink.grants or to_server):
        bands.append("divided")
    return bands or ["shared"]


def _shortages(problem: PlanningProblem, error: NoRoom) -> list[tuple[str, str]]:
    """(cluster, message) for every cluster without a plan: which device lacks how much."""
    fleet, free = problem.fleet, np.zeros(problem.fleet.clusters)
    subproblem = SegmentProblem(
        fleet,
        problem.work,
        start_radio(fleet, problem.work),
        Prices.of(fleet, free, problem.objective.energy_prices, free),
        Loads.none(fleet.clusters),
        problem.memory.noise,
        problem.objective.choices,
    )
    return [
        (f"cluster {problem.clusters[row]}", line)
        for row in np.flatnonzero(error.clusters)
        for line in shortages(subproblem, int(row), problem.devices[problem.clusters[row]])
    ]
