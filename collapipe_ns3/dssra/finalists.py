"""The last choice: a few plans compared in the event graph, where closed forms are estimates.

Beside the best descent's plan stand those of the others, with bands divided or left to be shared,
the best of each schedule, and the last round's segments on today's links: optimizer states follow
blocks that move, which costs time once and must pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.dssra import segments
from collapipe_ns3.dssra.assess import Pace, aggregate_s
from collapipe_ns3.dssra.decision import Finalist
from collapipe_ns3.dssra.experience import doubtful
from collapipe_ns3.dssra.objective import State, mixed, same, value
from collapipe_ns3.dssra.planner import Planned, divided, equal_shares
from collapipe_ns3.dssra.predict import SCHEDULE, cluster_plans, moved_states, predict
from collapipe_ns3.dssra.task import Task
from collapipe_ns3.dssra.timeline import Move
from collapipe_ns3.plan import RoundPlan

#: Tasks up to which finalists are compared by their event graphs, one training step each.
_MOST_TASKS = 3_000

#: Clusters up to which each alone may stay as it was.
_FEW = 3

#: Of a second that states move while others are waited for.
_NEEDLESS = 0.02

#: How much the closed forms may be off, where they are estimates.
_DOUBT = 1.15


@dataclass(frozen=True)
class Candidate:
    """A plan and the task that it is for, which says what takes grants."""

    name: str
    task: Task
    state: State


def compared(
    planned: Sequence[tuple[str, Task, Planned]],
) -> tuple[Candidate, tuple[Finalist, ...]]:
    """The best plan in event graphs, and what each came to; none where there is no question.

    `planned` are the descents, the best by the closed forms first, each with a name.
    """
    name, task, best = planned[0]
    different = [
        Candidate(name, task, best.state),
        *(Candidate("all " + SCHEDULE[bool(o.segments.one_f[0])], task, o) for o in best.others),
    ]
    if (before := _before(task, best.state)) is not None:
        different.append(Candidate("last round", task, before))
        different += _partly(task, best.state, before)
    different = [
        candidate
        for place, candidate in enumerate(different)
        if not any(same(candidate.state, earlier.state) for earlier in different[:place])
    ]
    near = _near(different)
    limit = _DOUBT * best.value.total
    near += [
        Candidate(name, task, other.state)
        for name, task, other in planned[1:]
        if other.value.total <= limit
    ]
    if len(near) == 1 or sum(tasks(each.state, 1) for each in near) > _MOST_TASKS:
        return near[0], ()
    ready = [near[0], *(_divided(each, best.state) for each in near[1:])]
    found = [(Finalist(each.name, _objective(each.task, each.state)), each) for each in ready]
    winner = min(found, key=lambda pair: pair[0].objective)
    return winner[1], tuple(finalist for finalist, _ in found)


def _partly(task: Task, new: State, before: State) -> list[Candidate]:
    """The new plan with one cluster as it was: what others wait for need not move."""
    clusters = task.fleet.clusters
    if not 1 < clusters <= _FEW:
        return []
    each = np.eye(clusters, dtype=np.intp)
    return [
        Candidate(f"cluster {n} as before", task, mixed(task.fleet, [new, before], each[n]))
        for n in range(clusters)
    ]


def _divided(candidate: Candidate, known: State) -> Candidate:
    """The candidate with its bands divided, where that is not done yet."""
    if candidate.state is known:
        return candidate
    return replace(candidate, state=divided(candidate.task.problem, candidate.state))


def tasks(state: State, steps: int) -> int:
    """About how many tasks an event graph of so many training steps has."""
    each = state.segments.micro_batches * (4 * state.segments.size + 9)
    return int(each.sum()) * steps


def moves(task: Task, state: State) -> dict[int, list[Move]]:
    """The optimizer states that a state's plan would have to move, by cluster."""
    if task.memory.pipelines is None:
        return {}
    plans = cluster_plans(state.segments, task.devices)
    after = {cluster.cluster: cluster.pipelines[0] for cluster in plans}
    return moved_states(task.memory.pipelines, after, task.work)


def _near(candidates: list[Candidate]) -> list[Candidate]:
    """Those that the closed forms, at equal bandwidths, put near the first."""
    totals = []
    for each in candidates:
        radio = equal_shares(each.task.fleet, each.state.radio, each.state.segments)
        totals.append(value(each.task.problem, replace(each.state, radio=radio)).total)
    limit = _DOUBT * totals[0]
    return [each for each, total in zip(candidates, totals, strict=True) if total <= limit]


def _before(task: Task, state: State) -> State | None:
    """The last round's segments on today's links, if they still fit."""
    pipelines, clusters = task.memory.pipelines, range(len(task.devices))
    if pipelines is None or any(n not in pipelines for n in clusters):
        return None
    held = [pipelines[n] for n in clusters]
    known = [set(names) for names in task.devices]
    if any(s.device not in known[n] for n in clusters for s in held[n].stages):
        return None
    segs = segments.segments_of(held, task.devices)
    if not segments.fits(task.fleet, task.work, segs).all():
        return None
    return State(segs, equal_shares(task.fleet, state.radio, segs))


def _objective(task: Task, state: State) -> float:
    """J with the round's time from the event graph of one training step, the rest alike.

    What moving states takes counts by its part of `move_rounds` rounds.
    """
    once = replace(task.work, local_steps=1)
    plan = RoundPlan(0, "", cluster_plans(state.segments, task.devices))
    made = predict(plan, task.devices, task.fleet, once, state.radio)
    more, moving = task.work.local_steps - 1, _moving_s(task, state)
    tried, pipelines = task.memory.tried, {c.cluster: c.pipelines[0] for c in plan.clusters}
    ends = []
    for times in made.clusters:
        step_s = times.phases_ns[1] / 1e9
        trained_s = (1 + more) * step_s * doubtful(tried, times.cluster, pipelines[times.cluster])
        moved_s = moving.get(times.cluster, 0.0) / task.settings.move_rounds
        ends.append(times.upload_ns / 1e9 - step_s + trained_s + moved_s)
    round_s = max(ends) + aggregate_s(task.fleet, task.work) + _NEEDLESS * sum(moving.values())
    penalties = value(task.problem, state).penalties
    return task.settings.v * round_s + float(penalties.sum())


def _moving_s(task: Task, state: State) -> dict[int, float]:
    """Seconds that moving optimizer states would hold each cluster's links, one by one."""
    pace = Pace.of(task.fleet, equal_shares(task.fleet, state.radio, state.segments)).d2d
    places = task.places
    total: dict[int, float] = {}
    for n, each in moves(task, state).items():
        for move in each:
            hops = pace[n, 0, places[move.dst][1]]
            if move.src in places:
                hops = hops + pace[n, places[move.src][1], 0]
            each_s = float(hops * task.fleet.d2d.bulk[n]) * move.size_bytes
            total[n] = total.get(n, 0.0) + each_s
    return total
