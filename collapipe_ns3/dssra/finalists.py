"""The last choice: a few plans compared in the event graph, where closed forms are estimates.

Beside the best descent's plan stand those of the others, with bands divided or left to be shared,
the best of each schedule, and the last round's segments on today's links: optimizer states follow
blocks that move, which costs time once and must pay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.dssra.decision import Finalist
from collapipe_ns3.dssra.objective import State, best_choice, mixed, same, value
from collapipe_ns3.dssra.planner import Planned, divided, equal_shares
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.dssra.segments.scheduling import fits, segments_of
from collapipe_ns3.eventgraph.graph import TooManyEvents
from collapipe_ns3.eventgraph.timeline import StateMove
from collapipe_ns3.outcome import Phase
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.plan_timeline import (
    SCHEDULE,
    cluster_plans,
    moved_states,
    predict_timeline,
)
from collapipe_ns3.prediction.radio_setting import SecondsPerByte
from collapipe_ns3.prediction.round_costs import aggregate_s
from collapipe_ns3.prediction.training_ratios import cautious_ratio

#: Tasks up to which finalists are compared by their event graphs, one training step each; those for
#: which there is no time are left out.
_MOST_TASKS = 3_000

#: Clusters up to which each alone may stay as it was.
_FEW = 3

#: Of a second that states move while others are waited for.
_NEEDLESS = 0.02

#: By what part a plan that moves states must be better: links that fade are others the next round.
_FLEETING = 0.1

#: How much the closed forms may be off, where they are estimates.
_DOUBT = 1.15


@dataclass(frozen=True)
class Candidate:
    """A plan and the problem that it is for, which says what takes grants."""

    name: str
    problem: PlanningProblem
    state: State


def compared(
    planned: Sequence[tuple[str, PlanningProblem, Planned]],
) -> tuple[Candidate, tuple[Finalist, ...]]:
    """The best plan in event graphs, and what each came to; none where there is no question.

    `planned` are the descents, the best by the closed forms first, each with a name.
    """
    name, problem, best = planned[0]
    different = [
        Candidate(name, problem, best.state),
        *(Candidate("all " + SCHEDULE[bool(o.segments.one_f[0])], problem, o) for o in best.others),
    ]
    # Moving nothing is always an alternative, whatever the closed forms say of it, which know
    # nothing of what moving takes. It comes second, so that there is time to look at it.
    near = _near(different)
    if (before := _before(problem, best.state)) is not None:
        staying = Candidate("last round", problem, before)
        near = [near[0], staying, *_partly(problem, best.state, before), *near[1:]]
    near = [
        candidate
        for place, candidate in enumerate(near)
        if not any(same(candidate.state, earlier.state) for earlier in near[:place])
    ]
    limit = _DOUBT * best.value.total
    near += [
        Candidate(name, problem, other.state)
        for name, problem, other in planned[1:]
        if other.value.total <= limit
    ]
    count = np.cumsum([tasks(each.state, 1) for each in near])
    affordable = int(np.searchsorted(count, _MOST_TASKS, side="right"))
    # Where there is no time for two event graphs, the closed forms have to do.
    in_graphs = affordable > 1
    near = near[: max(affordable, 2)]
    if len(near) == 1:
        return near[0], ()
    ready = [near[0], *(_divided(each, best.state) for each in near[1:])]
    try:
        objectives = [
            _objective(each, _graph_ends if in_graphs else _closed_ends) for each in ready
        ]
    except TooManyEvents:  # nor is there for links as slow as these
        objectives = [_objective(each, _closed_ends) for each in ready]
    found = [(Finalist(c.name, j), c) for c, j in zip(ready, objectives, strict=True)]
    winner = min(found, key=lambda pair: pair[0].objective)
    return winner[1], tuple(finalist for finalist, _ in found)


def _partly(problem: PlanningProblem, new: State, before: State) -> list[Candidate]:
    """The new plan where moving pays by the closed forms, and with one cluster as it was.

    A cluster that waits for others need not move.
    """
    clusters = problem.fleet.clusters
    if clusters == 1:
        return []
    moving = _moving_s(problem, new)
    moved_s = np.array([moving.get(n, 0.0) for n in problem.clusters])
    worth = [value(problem.objective, _equal(problem, state)) for state in (new, before)]
    times = np.array([worth[0].times + moved_s / problem.settings.move_rounds, worth[1].times])
    needless = problem.settings.v * _NEEDLESS * moved_s
    penalties = np.array([worth[0].penalties + needless, worth[1].penalties])
    paying = best_choice(times, penalties, problem.settings.v)
    mixtures = [("where moving pays", paying)]
    if clusters <= _FEW:
        each = np.eye(clusters, dtype=np.intp)
        mixtures += [
            (f"cluster {n} as before", each[row]) for row, n in enumerate(problem.clusters)
        ]
    return [
        Candidate(name, problem, mixed(problem.fleet, [new, before], which))
        for name, which in mixtures
    ]


def _equal(problem: PlanningProblem, state: State) -> State:
    """The state at equal bandwidths, as plans are compared in closed form."""
    return replace(state, radio=equal_shares(problem.fleet, state.radio, state.segments))


def _divided(candidate: Candidate, known: State) -> Candidate:
    """The candidate with its bands divided, where that is not done yet."""
    if candidate.state is known:
        return candidate
    return replace(candidate, state=divided(candidate.problem.objective, candidate.state))


def tasks(state: State, steps: int) -> int:
    """About how many tasks an event graph of so many training steps has."""
    each = state.segments.micro_batches * (4 * state.segments.size + 9)
    return int(each.sum()) * steps


def moves(problem: PlanningProblem, state: State) -> dict[int, list[StateMove]]:
    """The optimizer states that a state's plan would have to move, by cluster.

    Those on a device that sits out can't be fetched, and begin anew.
    """
    if problem.memory.pipelines is None:
        return {}
    plans = cluster_plans(state.segments, problem.devices)
    after = {cluster.cluster: cluster.pipelines[0] for cluster in plans}
    moved = moved_states(problem.memory.pipelines, after, problem.work)
    return {n: [move for move in each if move.src in problem.places] for n, each in moved.items()}


def _near(candidates: list[Candidate]) -> list[Candidate]:
    """Those that the closed forms, at equal bandwidths, put near the first."""
    totals = [
        value(each.problem.objective, _equal(each.problem, each.state)).total for each in candidates
    ]
    limit = _DOUBT * totals[0]
    return [each for each, total in zip(candidates, totals, strict=True) if total <= limit]


def _before(problem: PlanningProblem, state: State) -> State | None:
    """The last round's segments on today's links, if they still fit."""
    pipelines = problem.memory.pipelines
    if pipelines is None or any(n not in pipelines for n in problem.clusters):
        return None
    held, known = (
        [pipelines[n] for n in problem.clusters],
        [problem.devices[n] for n in problem.clusters],
    )
    if any(s.device not in row for pipe, row in zip(held, known, strict=True) for s in pipe.stages):
        return None
    segs = segments_of(held, known)
    if not fits(problem.fleet, problem.work, segs).all():
        return None
    return State(segs, equal_shares(problem.fleet, state.radio, segs))


def _objective(candidate: Candidate, ends: Callable[[PlanningProblem, State], Array]) -> float:
    """J, with the round's time from when the clusters' uploads end by event graph or closed form.

    What moving states takes counts by its part of `move_rounds` rounds.
    """
    problem, state = candidate.problem, candidate.state
    moving = _moving_s(problem, state)
    done = ends(problem, state)
    for cluster, moved_s in moving.items():
        done[problem.clusters.index(cluster)] += moved_s / problem.settings.move_rounds
    round_s = float(done.max()) + aggregate_s(problem.fleet, problem.work)
    round_s = (1 + _FLEETING * bool(moving)) * round_s + _NEEDLESS * sum(moving.values())
    penalties = value(problem.objective, state).penalties
    return problem.settings.v * round_s + float(penalties.sum())


def _closed_ends(problem: PlanningProblem, state: State) -> Array:
    return value(problem.objective, _equal(problem, state)).times.copy()


def _graph_ends(problem: PlanningProblem, state: State) -> Array:
    """From the event graph of one training step, the others alike."""
    once = replace(problem.work, local_steps=1)
    plan = RoundPlan(0, "", cluster_plans(state.segments, problem.devices))
    made = predict_timeline(plan, problem.devices, problem.fleet, once, state.radio)
    more = problem.work.local_steps - 1
    tried, pipelines = problem.memory.tried, {c.cluster: c.pipelines[0] for c in plan.clusters}
    ends = np.zeros(problem.fleet.clusters)
    for row, times in enumerate(made.pipelines):
        step_s = times.phases_ns[Phase.PIPELINE] / 1e9
        ratio = cautious_ratio(tried, times.cluster, pipelines[times.cluster])
        trained_s = (1 + more) * step_s * ratio
        ends[row] = times.ends_ns[Phase.UPLOAD] / 1e9 - step_s + trained_s
    return ends


def _moving_s(problem: PlanningProblem, state: State) -> dict[int, float]:
    """Seconds that moving optimizer states would hold each cluster's links, one by one."""
    radio = equal_shares(problem.fleet, state.radio, state.segments)
    per_byte = SecondsPerByte.of(problem.fleet, radio).sidelink
    places = problem.places
    total: dict[int, float] = {}
    for n, each in moves(problem, state).items():
        row = problem.clusters.index(n)
        for move in each:
            hops = per_byte[row, 0, places[move.dst][1]] + per_byte[row, places[move.src][1], 0]
            each_s = float(hops * problem.fleet.links.sidelink.bulk[row]) * move.size_bytes
            total[n] = total.get(n, 0.0) + each_s
    return total
