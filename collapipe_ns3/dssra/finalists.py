"""The last choice: a few plans compared in the event graph, where closed forms are estimates.

Beside the descent's plan stand the best of each schedule, and the last round's segments on today's
links: optimizer states follow blocks that move, which costs time once and must pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from collapipe_ns3.dssra import segments
from collapipe_ns3.dssra.assess import Pace, aggregate_s
from collapipe_ns3.dssra.decision import Finalist
from collapipe_ns3.dssra.objective import State, same, value
from collapipe_ns3.dssra.planner import divided, equal_shares
from collapipe_ns3.dssra.predict import SCHEDULE, cluster_plans, moved_states, predict
from collapipe_ns3.dssra.task import Task
from collapipe_ns3.dssra.timeline import Move
from collapipe_ns3.plan import RoundPlan

#: Tasks up to which finalists are compared by their event graphs, one training step each.
_MOST_TASKS = 3_000

#: How much the closed forms may be off, where they are estimates.
_DOUBT = 1.15


def compared(
    task: Task, state: State, others: Sequence[State]
) -> tuple[State, tuple[Finalist, ...]]:
    """The best state in event graphs, and what each came to; none where there is no question."""
    options = [("descent", state)]
    options += [("all " + SCHEDULE[bool(o.segments.one_f[0])], o) for o in others]
    if (before := _before(task, state)) is not None:
        options.append(("last round", before))
    different: list[tuple[str, State]] = []
    for name, option in options:
        if not any(same(option, other) for _, other in different):
            different.append((name, option))
    if sum(tasks(o, 1) for _, o in different) > _MOST_TASKS:
        return state, ()
    near = _near(task, different)
    if len(near) == 1:
        return state, ()
    ready = [(name, o if o is state else divided(task.problem, o)) for name, o in near]
    found = [(Finalist(name, _objective(task, o)), o) for name, o in ready]
    best = min(found, key=lambda pair: pair[0].objective)
    return best[1], tuple(finalist for finalist, _ in found)


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


def _near(task: Task, options: list[tuple[str, State]]) -> list[tuple[str, State]]:
    """Those that the closed forms, at equal bandwidths, put near the first."""
    plain = [
        value(task.problem, replace(o, radio=equal_shares(task.fleet, o.radio, o.segments)))
        for _, o in options
    ]
    limit = _DOUBT * plain[0].total
    return [option for option, at in zip(options, plain, strict=True) if at.total <= limit]


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
    ends = [
        times.upload_ns / 1e9
        + more * (times.steps_ns[0] - times.broadcast_ns) / 1e9
        + moving.get(times.cluster, 0.0) / task.settings.move_rounds
        for times in made.clusters
    ]
    round_s = max(ends) + aggregate_s(task.fleet, task.work)
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
            total[n] = total.get(n, 0.0) + float(hops) * move.size_bytes
    return total
