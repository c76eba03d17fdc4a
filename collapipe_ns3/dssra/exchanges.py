"""The exchanges that are compared: how the global model reaches the clusters, and comes back.

Besides the exchange of plans that give none there is a streamed one. In it the base station sends
the model to all clusters in one multicast where the radio can, to N receivers at the rate r of the
weakest: D/min r, where N unicasts take Σ D/r. One group never takes more airtime than several, but
those with less to wait for may serve a cluster earlier that has much to do. What counts is

  max over the clusters of (arrival + rest),

with the rest of a cluster's round. So clusters are ordered by rate, or by their rest, and the first
k of them are a group that is served before the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.arrangement import Arrangement, automatic_chunk_bytes
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.objective import State, value
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.dssra.segments.scheduling import fits
from collapipe_ns3.exchange import MOST_LEGS, Blocks, Units
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.prediction.plan_timeline import cluster_plans
from collapipe_ns3.prediction.round_time import Encoding, ExchangeForm, phase_ends, round_end_s

#: In event graphs of candidates there are at most so many, to save time.
_CHUNKS_COMPARED = 16

#: Several groups are chosen only if the round is at most so much of that with one.
_CLEARLY = 0.99

#: At most so many sizes of the first group are tried for each order.
_MOST_SIZES = 8


def coarser(form: ExchangeForm, work: Workload) -> ExchangeForm:
    """The form with chunks large enough for the comparison of candidates."""
    if form.chunk_bytes is None:
        return form
    part = min(each.part for each in (form.down, *form.up))
    least = -(-round(part * work.upload_bytes) // _CHUNKS_COMPARED)
    return replace(form, chunk_bytes=max(form.chunk_bytes, least))


def streamed(problem: PlanningProblem) -> ExchangeForm:
    """The streamed exchange to begin with: one multicast to all clusters where that is possible.

    Clusters of several base stations have bands of their own, and do not wait for each other.
    """
    groups = _multicasts(problem)
    return ExchangeForm(groups, _chunk_bytes(problem, 1.0), in_turn=len(groups) <= 1)


def can_stream(problem: PlanningProblem) -> bool:
    """Whether a streamed exchange has at most `MOST_LEGS` transfers with chunks of some size."""
    return _most_shipments(problem) < MOST_LEGS


def _most_shipments(problem: PlanningProblem) -> int:
    """A cluster has one down, one to and from each of K devices, and up to K + 1 to the station."""
    return int((2 + 3 * problem.fleet.size).sum())


def _chunk_bytes(problem: PlanningProblem, part: float) -> int:
    """The size of chunks where the least that is sent of a model is this part of it in fp32.

    No plan then has more than `MOST_LEGS` transfers: in each of P clusters a model of D bytes goes
    over four hops at most, 4·P·D/c chunks of c bytes, and each shipment can end with another one.
    """
    model, clusters = problem.work.upload_bytes, problem.fleet.clusters
    room = MOST_LEGS - _most_shipments(problem)
    return max(automatic_chunk_bytes(round(part * model)), -(-4 * clusters * model // room))


def form_of(problem: PlanningProblem, arrangement: Arrangement) -> ExchangeForm:
    """An arrangement as closed forms take it.

    Where some clusters are in groups, those in none are taken to be groups of their own, and the
    format of the first group to be that of all.
    """
    groups, work = [], problem.work
    for group in arrangement.groups:
        rows = (problem.clusters.index(n) for n in group.clusters if n in problem.clusters)
        groups.append(tuple(rows))
    grouped = {row for group in groups for row in group}
    alone = [(row,) for row in range(problem.fleet.clusters) if row not in grouped]
    served = tuple(group for group in (*groups, *alone) if group) if grouped else ()
    down = next((group.format for group in arrangement.groups), FP32)
    ups = [arrangement.uploads.get(n, FP32) for n in problem.clusters]
    encoded = any(not each.exact for each in ups)
    return ExchangeForm(
        served,
        arrangement.chunk_bytes,
        arrangement.in_turn,
        _encoding(work, down),
        tuple(_encoding(work, each) for each in ups) if encoded else (),
    )


def with_best_groups(problem: PlanningProblem, state: State) -> PlanningProblem:
    """The problem with the groups for which this state's round is shortest by the closed forms."""
    form, fleet, work = problem.objective.form, problem.fleet, problem.work
    if len(form.groups) != 1 or fleet.clusters == 1:
        return problem
    now = value(problem.objective, state)
    rest = now.ends.uploaded - now.ends.downloaded
    best, best_s = form, np.inf
    for groups in _groupings(now.costs.download, rest):
        tried = replace(form, groups=groups)
        ends = phase_ends(fleet, work, now.costs, tried)
        round_s = round_end_s(fleet, work, ends.uploaded)
        if len(groups) == 1:
            best_s = _CLEARLY * round_s
        elif round_s < best_s:
            best, best_s = tried, round_s
    return problem.with_form(best)


def with_best_formats(problem: PlanningProblem, state: State) -> PlanningProblem:
    """The problem with the formats whose J is least by the closed forms, given this state.

    Each direction is in fp32 or in one of the formats that the settings allow. Where divergence has
    a price, some clusters may send in a format and others in fp32: those with small weights first,
    as their errors count with the square of it. Formats whose references do not fit into the
    devices' memory are left out.
    """
    if not problem.settings.formats:
        return problem
    costs = value(problem.objective, state).costs
    best, best_total = problem, np.inf
    for form in _formatted(problem):
        tried = problem.with_form(form)
        if form.encoded and not _remembered(tried, state):
            continue
        ends = phase_ends(problem.fleet, problem.work, costs, form)
        round_s = round_end_s(problem.fleet, problem.work, ends.uploaded)
        objective = tried.objective
        total = objective.time_price * round_s
        total += objective.divergence_price * objective.format_divergence
        if total < best_total:
            best, best_total = tried, total
    return best


def _formatted(problem: PlanningProblem) -> Iterator[ExchangeForm]:
    """The problem's form in fp32, and in all combinations of formats that are tried."""
    form, clusters = problem.objective.form, problem.fleet.clusters
    yield form
    plain = Encoding()
    encodings = [_encoding(problem.work, format) for format in problem.settings.formats]
    light_first = np.argsort(problem.fleet.share, kind="stable")
    sizes = range(1, clusters + 1) if problem.objective.divergence_price else [clusters]
    ups: list[tuple[Encoding, ...]] = [()]
    for encoding in encodings:
        for size in sizes:
            those = set(light_first[:size].tolist())
            ups.append(tuple(encoding if row in those else plain for row in range(clusters)))
    for down in (plain, *encodings):
        for up in ups:
            parts = [down.part, *(each.part for each in up or (plain,))]
            if (down, up) != (plain, ()):
                size = _chunk_bytes(problem, min(parts))
                yield replace(form, down=down, up=up, chunk_bytes=size)


def _encoding(work: Workload, format: ParameterFormat) -> Encoding:
    """A format, and the size that it gives what travels of the model."""
    if format.exact:
        return Encoding()
    units = Units(embedding=True, blocks=(Blocks(0, work.blocks - 1),))
    return Encoding(format, work.model.units_bytes(units, format) / work.upload_bytes)


def _remembered(problem: PlanningProblem, state: State) -> bool:
    """Whether the nodes have the memory for what the form's formats need in this state."""
    if not fits(problem.fleet, problem.work, state.segments).all():
        return False
    plan = RoundPlan(0, "", cluster_plans(state.segments, problem.devices))
    plan = replace(plan, exchange=problem.exchange(plan))
    return not any(memory_problems(plan, problem.observation))


def _groupings(download: Array, rest: Array) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All clusters in one group, and then in two, given their download times and rests, (P,)."""
    clusters = len(download)
    yield (tuple(range(clusters)),)
    sizes = np.unique(np.linspace(1, clusters - 1, min(_MOST_SIZES, clusters - 1)).astype(int))
    for order in (np.argsort(download, kind="stable"), np.argsort(-rest, kind="stable")):
        for size in sizes.tolist():
            first, others = sorted(order[:size].tolist()), sorted(order[size:].tolist())
            yield tuple(first), tuple(others)


def _multicasts(problem: PlanningProblem) -> tuple[tuple[int, ...], ...]:
    """The clusters, by row, that can be sent the model at once; none if some have to be sent it
    alone.

    Where the plan grants bandwidths to downlinks they are sent it alone: such a grant is for a
    link, and a multicast over it would have none.
    """
    if problem.fleet.links.downlink.grants:
        return ()
    medium_of = {
        pair: medium.name
        for medium in problem.observation.media
        if medium.multicast
        for pair in medium.links
    }
    groups: dict[str, list[int]] = {}
    for row, cluster in enumerate(problem.clusters):
        pair = (SERVER, control_unit(cluster))
        if pair not in medium_of:
            return ()
        groups.setdefault(medium_of[pair], []).append(row)
    return tuple(tuple(rows) for rows in groups.values())
