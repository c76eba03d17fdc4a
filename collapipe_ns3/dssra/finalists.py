"""The last choice: a few plans compared by their event graphs, where closed forms are estimates.

The candidates are the best descent's plan, the other descents', the best plan of each schedule, and
the last round's segments on the links as they are now: optimizer states follow blocks that move,
which costs time once and has to pay.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.dssra.exchanges import coarser
from collapipe_ns3.dssra.forecast import graph_tasks, last_step_s, simulated_steps
from collapipe_ns3.dssra.local_steps import RoundPrice
from collapipe_ns3.dssra.objective import (
    Objective,
    State,
    Value,
    best_choice,
    course,
    mixed,
    same,
    value,
)
from collapipe_ns3.dssra.planner import Planned, divided, equal_shares
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.dssra.risk import expected
from collapipe_ns3.dssra.segments.scheduling import fits, segments_of
from collapipe_ns3.eventgraph.graph import TooManyEvents
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.plan_timeline import SCHEDULE, cluster_plans, predict_timeline
from collapipe_ns3.prediction.radio_setting import SecondsPerByte
from collapipe_ns3.prediction.round_time import (
    STAR,
    ExchangeForm,
    phase_ends,
    round_end_s,
    uploaded_s,
)
from collapipe_ns3.prediction.training_ratios import cautious_ratio

#: Candidates are compared by event graphs of one training step with at most so many tasks in all,
#: or of two where any of them is streamed; the rest are left out.
_MOST_TASKS = 3_000
_MOST_TASKS_STREAMED = 10_000

#: The name of the candidate with the segments of the last round.
_STAYS = "last round"

#: In up to so many clusters, candidates in which one cluster alone stays as it was are tried.
_FEW = 3

#: The penalty for a second of moving optimizer states, as a fraction of V. It counts even where
#: another cluster is slower, so that the round does not last longer.
_NEEDLESS = 0.02

#: A plan that moves optimizer states is taken to last longer by this fraction, as links that fade
#: differ in the next round.
_FLEETING = 0.1

#: Candidates of up to so many times the best objective by the closed forms are compared.
_DOUBT = 1.15


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate that was compared, with its objective and the round's predicted time then.

    `exchange` says how parameters travel. The time has what moving optimizer states would cost;
    where nodes may leave, it is the expected time for the progress of a round without losses.
    """

    name: str
    objective: float
    exchange: str
    round_s: float


@dataclass(frozen=True)
class Descent:
    """What was planned for one exchange and one way to use the bands (`planning_problem.BANDS`)."""

    bands: str
    problem: PlanningProblem
    planned: Planned

    @property
    def total(self) -> float:
        """J by the closed forms."""
        return self.planned.value.total

    @property
    def form(self) -> ExchangeForm:
        """How parameters travel."""
        return self.problem.objective.form

    @property
    def name(self) -> str:
        """The bands, and the exchange if it is not that of plans without one."""
        return self.bands if self.form == STAR else f"{self.form}, {self.bands}"


@dataclass(frozen=True)
class Candidate:
    """A plan, and the descent whose problem it is for, which says which links have grants."""

    name: str
    descent: Descent
    state: State

    @property
    def problem(self) -> PlanningProblem:
        """What the plan is for."""
        return self.descent.problem

    @property
    def at_equal_bandwidths(self) -> State:
        """The state with equal bandwidths, at which candidates are compared in closed form."""
        radio = equal_shares(self.problem.fleet, self.state.radio, self.state.segments)
        return replace(self.state, radio=radio)

    @property
    def closed_form(self) -> Value:
        """The costs at equal bandwidths, by the closed forms."""
        return value(self.problem.objective, self.at_equal_bandwidths)


def choose(descents: Sequence[Descent]) -> tuple[Candidate, tuple[Finalist, ...]]:
    """The best candidate, and the finalists that were compared.

    The latter are empty where there is only one candidate. The first descent is the best by the
    closed forms.
    """
    candidates = _candidates(descents)
    tasks = np.cumsum([_graph_tasks(each) for each in candidates])
    streamed = any(each.descent.form.streamed for each in candidates)
    most = _MOST_TASKS_STREAMED if streamed else _MOST_TASKS
    affordable = int(np.searchsorted(tasks, most, side="right"))
    compared = candidates[: max(affordable, _indispensable(candidates))]
    if len(compared) == 1:
        return compared[0], ()
    compared = [compared[0], *map(_with_bands_divided, compared[1:])]
    # Where there is no time for two event graphs, the closed forms decide.
    ends_s = _ends_s(compared, in_graphs=affordable > 1)
    times = [_round_s(*each) for each in zip(compared, ends_s, strict=True)]
    objectives = [_objective(*each) for each in zip(compared, times, strict=True)]
    finalists = [
        Finalist(each.name, j, str(each.descent.form), round_s)
        for each, j, round_s in zip(compared, objectives, times, strict=True)
    ]
    return compared[objectives.index(min(objectives))], tuple(finalists)


def price(candidate: Candidate, steps: int) -> RoundPrice:
    """What a round of the candidate's plan costs with so many local steps instead.

    Its time is that by which candidates are compared, from one event graph if that is small enough.
    """
    problem = candidate.problem.with_steps(steps)
    candidate = replace(candidate, descent=replace(candidate.descent, problem=problem))
    most = _MOST_TASKS_STREAMED if candidate.descent.form.streamed else _MOST_TASKS
    (ends_s,) = _ends_s([candidate], in_graphs=_graph_tasks(candidate) <= most)
    budgeted = value(problem.objective, candidate.state).budgeted
    round_s = _round_s(candidate, ends_s)
    return RoundPrice(round_s, float(budgeted.sum()) + problem.objective.idle_price * round_s)


def _indispensable(candidates: Sequence[Candidate]) -> int:
    """How many candidates, of those that come first, are compared whatever time it takes.

    They are the best one, the other exchange, and to move nothing: closed forms leave out that
    blocks which move travel whole where others travel as differences, and take their states along.
    """
    return 3 if any(each.name == _STAYS for each in candidates[:3]) else 2


def _candidates(descents: Sequence[Descent]) -> list[Candidate]:
    """All different candidates, in the order in which they are compared while there is time."""
    best = descents[0]
    first = Candidate(best.name, best, best.planned.state)
    near = [first, *_near(first, _best_of_schedules(best))]
    if (before := _as_before(best)) is not None:
        # To move nothing is always a candidate, whatever its value in closed form, which leaves out
        # the time of moving states. It comes second, so that there is time for it.
        near = [first, before, *_partly_moved(best, before.state), *near[1:]]
    different = [
        candidate
        for place, candidate in enumerate(near)
        if not any(same(candidate.state, earlier.state) for earlier in near[:place])
    ]
    star = [each for each in descents[1:2] if (each.form == STAR) != (best.form == STAR)]
    others = [each for each in descents[1 + len(star) :] if each.total <= _DOUBT * best.total]
    second, last = (
        [Candidate(each.name, each, each.planned.state) for each in these]
        for these in (star, others)
    )
    # The other exchange comes second, so that there is always time for it.
    return [*different[:1], *second, *different[1:], *last]


def _graph_tasks(candidate: Candidate) -> int:
    """About how many tasks the candidate's event graph has."""
    objective = candidate.problem.objective
    objective = replace(objective, form=coarser(objective.form, objective.work))
    return graph_tasks(objective, candidate.state, simulated_steps(objective))


def _best_of_schedules(descent: Descent) -> Iterator[Candidate]:
    """The last sweep's best plan of each schedule."""
    problem = descent.problem
    for state in descent.planned.others:
        # These were found before the formats of the exchange were chosen.
        if not fits(problem.fleet, problem.work, state.segments).all():
            continue
        schedule = SCHEDULE[bool(state.segments.one_f[0])]
        yield Candidate(f"all {schedule}", descent, state)


def _near(first: Candidate, others: Iterator[Candidate]) -> list[Candidate]:
    """Those of the others that are near the first by the closed forms, at equal bandwidths."""
    limit = _DOUBT * first.closed_form.total
    return [each for each in others if each.closed_form.total <= limit]


def _as_before(descent: Descent) -> Candidate | None:
    """The last round's segments on the links as they are now, if they still fit."""
    problem, pipelines = descent.problem, descent.problem.memory.pipelines
    if pipelines is None or any(n not in pipelines for n in problem.clusters):
        return None
    held = [pipelines[n] for n in problem.clusters]
    present = [problem.devices[n] for n in problem.clusters]
    for pipeline, devices in zip(held, present, strict=True):
        if any(stage.device not in devices for stage in pipeline.stages):
            return None
    segments = segments_of(held, present)
    if not fits(problem.fleet, problem.work, segments).all():
        return None
    radio = equal_shares(problem.fleet, descent.planned.state.radio, segments)
    return Candidate(_STAYS, descent, State(segments, radio))


def _partly_moved(descent: Descent, before: State) -> list[Candidate]:
    """The new plan only where moving pays by the closed forms, and with one cluster as before.

    A cluster that waits for others need not move.
    """
    problem, new = descent.problem, descent.planned.state
    clusters, settings = problem.fleet.clusters, problem.settings
    if clusters == 1:
        return []
    moving = _moving_s(problem, new)
    moved_s = np.array([moving.get(n, 0.0) for n in problem.clusters])
    after, stay = (Candidate("", descent, state).closed_form for state in (new, before))
    times = np.array([after.times + moved_s / settings.move_rounds, stay.times])
    time_price = problem.objective.time_price
    needless = time_price * _NEEDLESS * moved_s
    penalties = np.array([after.penalties + needless, stay.penalties])
    mixtures = [("where moving pays", best_choice(times, penalties, time_price))]
    if clusters <= _FEW:
        one_stays = np.eye(clusters, dtype=np.intp)
        mixtures += [
            (f"cluster {n} as before", one_stays[row]) for row, n in enumerate(problem.clusters)
        ]
    return [
        Candidate(name, descent, mixed(problem.fleet, [new, before], which))
        for name, which in mixtures
    ]


def _with_bands_divided(candidate: Candidate) -> Candidate:
    """The candidate with the best division of the bands that take grants, for its segments."""
    return replace(candidate, state=divided(candidate.problem.objective, candidate.state))


def _objective(candidate: Candidate, round_s: float) -> float:
    """J with the round's time from `_round_s`."""
    objective = candidate.problem.objective
    budgeted = value(objective, candidate.state).budgeted
    return objective.time_price * round_s + float(budgeted.sum())


def _round_s(candidate: Candidate, ends_s: Array) -> float:
    """The time that a round counts as, given when the clusters' uploads end, (P,).

    The time of moving states is spread over `move_rounds` rounds. Where nodes may leave, it is the
    expected time for the progress of a round without losses.
    """
    problem, settings, ends_s = candidate.problem, candidate.problem.settings, ends_s.copy()
    moving = _moving_s(problem, candidate.state)
    for cluster, moved_s in moving.items():
        ends_s[problem.clusters.index(cluster)] += moved_s / settings.move_rounds
    round_s = round_end_s(problem.fleet, problem.work, ends_s)
    if (risk := problem.objective.risk) is not None:
        now = value(problem.objective, candidate.state)
        planned = course(problem.objective, candidate.state, now)
        round_s = expected(risk, planned, ends_s + planned.copies_s(risk.recovery)).counted_s
    return (1 + _FLEETING * bool(moving)) * round_s + _NEEDLESS * sum(moving.values())


def _ends_s(candidates: Sequence[Candidate], in_graphs: bool) -> list[Array]:
    """When the clusters' uploads end under each candidate, (P,), by event graphs or closed forms.

    By the closed forms, too, where links are too slow for event graphs.
    """
    if in_graphs:
        with contextlib.suppress(TooManyEvents):
            return [_graph_ends_s(each) for each in candidates]
    return [each.closed_form.ends.uploaded for each in candidates]


def _graph_ends_s(candidate: Candidate) -> Array:
    """When each cluster's upload ends by the event graph, (P,).

    The graph has the first training steps, and further ones are taken to be as long as the last.
    Raises `TooManyEvents`.
    """
    problem, state = candidate.problem, candidate.state
    problem = problem.with_form(coarser(problem.objective.form, problem.work))
    work = replace(problem.work, local_steps=simulated_steps(problem.objective))
    plan = RoundPlan(0, "", cluster_plans(state.segments, problem.devices))
    plan = replace(plan, exchange=problem.exchange(plan))
    held = problem.observation.references
    made = predict_timeline(
        plan, problem.devices, problem.fleet, work, state.radio, references=held
    )
    pipelines = problem.pipelines(state.segments)
    ratios = [
        cautious_ratio(problem.memory.tried, times.cluster, pipelines[times.cluster])
        for times in made.pipelines
    ]
    if problem.objective.form.streamed:
        return _streamed_ends_s(candidate, problem.objective, made, np.array(ratios))
    ends_s = np.zeros(problem.fleet.clusters)
    for row, (times, ratio) in enumerate(zip(made.pipelines, ratios, strict=True)):
        step_s = times.phases_ns[Phase.PIPELINE] / 1e9
        trained_s = problem.work.local_steps * step_s * ratio
        ends_s[row] = times.ends_ns[Phase.UPLOAD] / 1e9 - step_s + trained_s
    return ends_s


def _streamed_ends_s(
    candidate: Candidate, compared: Objective, made: Timeline, ratios: Array
) -> Array:
    """When each cluster's upload ends with all training steps and the chunks of the plan, (P,).

    `made` has the first steps, as long as predicted, and the chunks of the objective `compared`. By
    how much the others delay uploads, which share the uplink, and by how much smaller chunks are
    earlier, is taken from the closed forms.
    """
    fleet, work, form = compared.fleet, compared.work, candidate.descent.form
    costs = value(candidate.problem.objective, candidate.state).costs
    fine, coarse = (phase_ends(fleet, work, costs, each) for each in (form, compared.form))
    steps = len(made.pipelines[0].steps_ns)
    last_s = np.array([last_step_s(times) for times in made.pipelines])
    step_s = last_s if steps > 1 else costs.step
    begun, trained, ends_s = (
        np.array([times.ends_ns[phase] / 1e9 for times in made.pipelines])
        for phase in (Phase.BROADCAST, Phase.PIPELINE, Phase.UPLOAD)
    )
    further = (work.local_steps - steps) * step_s
    all_s = trained - begun + further + fine.trained - coarse.trained
    finished = begun + ratios * all_s
    before = uploaded_s(fleet, work, costs, compared.form, trained)
    after = uploaded_s(fleet, work, costs, form, finished)
    ends: Array = ends_s + after - before
    return ends


def _moving_s(problem: PlanningProblem, state: State) -> dict[int, float]:
    """Seconds that moving optimizer states, one by one, would hold each cluster's links."""
    radio = equal_shares(problem.fleet, state.radio, state.segments)
    per_byte = SecondsPerByte.of(problem.fleet, radio).sidelink
    places, bulk = problem.places, problem.fleet.links.sidelink.bulk
    total: dict[int, float] = {}
    for cluster, moves in problem.state_moves(state.segments).items():
        row = problem.clusters.index(cluster)
        for move in moves:
            hops = per_byte[row, 0, places[move.dst][1]] + per_byte[row, places[move.src][1], 0]
            total[cluster] = total.get(cluster, 0.0) + float(hops * bulk[row]) * move.size_bytes
    return total
