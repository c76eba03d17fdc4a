"""What a decided plan says to the radio, how its links were seen, and what it should take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from collapipe_ns3.dssra.decision import ClusterPrediction, LinkView, Prediction
from collapipe_ns3.dssra.objective import State, value
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.eventgraph.timeline import Move, Timeline
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.plan import LinkPlan
from collapipe_ns3.prediction.account import Joules, of_costs, of_timeline
from collapipe_ns3.prediction.closed_forms import Radio, aggregate_s
from collapipe_ns3.prediction.delay import Array
from collapipe_ns3.prediction.experience import ratio
from collapipe_ns3.prediction.links import Links
from collapipe_ns3.prediction.predict import cluster_plans, used_links

#: Part of a cluster's band for each link that is needed for nothing but moving optimizer states.
_MOVING = 0.02


def with_moves(
    problem: PlanningProblem, radio: Radio, moves: Mapping[int, Sequence[Move]]
) -> Radio:
    """The radio with a little of each band for links that only moving states need."""
    if not problem.fleet.d2d.grants or not moves:
        return radio
    places, hz = problem.places, radio.d2d_hz.copy()
    for cluster, each in moves.items():
        n = problem.clusters.index(cluster)
        pairs = {(places[move.src][1], 0) for move in each}
        pairs |= {(0, places[move.dst][1]) for move in each}
        missing = sorted(pair for pair in pairs if hz[n][pair] <= 0)
        hz[n] *= 1 - _MOVING * len(missing)
        for pair in missing:
            hz[n][pair] = _MOVING * problem.fleet.d2d.band_hz[n]
    return radio.with_(d2d_hz=hz)


def link_plans(
    problem: PlanningProblem, state: State, moves: Mapping[int, Sequence[Move]]
) -> tuple[LinkPlan, ...]:
    """Power of every link that is used, and bandwidth where the radio takes grants."""
    found: list[LinkPlan] = []
    for plan in cluster_plans(state.segments, problem.devices):
        pairs = used_links(plan.pipelines[0], plan.cluster)
        for move in moves.get(plan.cluster, ()):
            pairs += list(pairwise((move.src, control_unit(plan.cluster), move.dst)))
        for src, dst in dict.fromkeys(pairs):
            links, at, power_w, bandwidth_hz = _at(problem, state.radio, src, dst)
            most = problem.observation.profiles[src].max_tx_power_w
            watts = min(float(power_w[at]), most)
            hertz = float(bandwidth_hz[at]) if links.grants else None
            found.append(LinkPlan(src, dst, watts, hertz))
    return tuple(found)


def views(
    problem: PlanningProblem, radio: Radio, plans: Sequence[LinkPlan]
) -> tuple[LinkView, ...]:
    """The plan's links as they were taken to be."""
    found = []
    for plan in plans:
        links, at, power_w, bandwidth_hz = _at(problem, radio, plan.src, plan.dst)
        watts, hertz = float(power_w[at]), float(bandwidth_hz[at])
        sinr = watts * float(links.snr[at]) / hertz
        found.append(
            LinkView(
                src=plan.src,
                dst=plan.dst,
                measured=bool(links.measured[at]),
                power_w=watts,
                bandwidth_hz=hertz,
                sinr=sinr,
                rate_bps=float(links.efficiency[at] * hertz * np.log2(1 + sinr)),
                latency_s=float(links.latency[at]),
                epsilon=float(links.epsilon[at]),
            )
        )
    return tuple(found)


def _at(
    problem: PlanningProblem, radio: Radio, src: str, dst: str
) -> tuple[Links, tuple[int, ...], Array, Array]:
    """Where a link is: its kind, its place there, and the arrays of powers and bandwidths."""
    fleet, places = problem.fleet, problem.places
    if dst == SERVER:
        return fleet.up, places[src][:1], radio.up_w, radio.up_hz
    if src == SERVER:
        return fleet.down, places[dst][:1], radio.down_w, radio.down_hz
    (n, i), (_, j) = places[src], places[dst]
    return fleet.d2d, (n, i, j), radio.d2d_w, radio.d2d_hz


def prediction(problem: PlanningProblem, state: State, timeline: Timeline | None) -> Prediction:
    """What the round should take: by the event graph if there is one, else by the closed forms."""
    now = value(problem.objective, state)
    if timeline is not None:
        clusters = _by_graph(timeline, problem.work.local_steps)
        ends = [times.upload_ns / 1e9 for times in timeline.clusters]
        aggregate = timeline.total_ns / 1e9 - max(ends)
    else:
        begun, gathered, ends = (each.tolist() for each in now.ends[1:])
        step, gather = now.costs.step.tolist(), now.costs.gather.tolist()
        clusters = tuple(
            ClusterPrediction(
                cluster=n,
                broadcast_s=begun[row],
                step_s=step[row],
                pipeline_s=problem.work.local_steps * step[row],
                gather_s=gather[row],
                upload_s=ends[row] - gathered[row],
            )
            for row, n in enumerate(problem.clusters)
        )
        aggregate = aggregate_s(problem.fleet, problem.work)
    correction = problem.memory.correction
    pipelines = {c.cluster: c.pipelines[0] for c in cluster_plans(state.segments, problem.devices)}
    clusters = tuple(
        _corrected(
            cluster,
            correction,
            ratio(problem.memory.tried, cluster.cluster, pipelines[cluster.cluster]),
        )
        for cluster in clusters
    )
    slowest = clusters[int(np.argmax(ends))]
    return Prediction(
        by="event graph" if timeline is not None else "closed forms",
        correction=dict(correction),
        broadcast_s=slowest.broadcast_s,
        pipeline_s=slowest.pipeline_s,
        gather_s=slowest.gather_s,
        upload_s=slowest.upload_s,
        aggregate_s=aggregate,
        clusters=clusters,
        joules={
            node: each.with_sounding(problem.observation.sounding_j.get(node, (0.0, 0.0)))
            for node, each in joules(problem, state, timeline).items()
        },
        divergence=float((problem.fleet.share * now.gamma).sum()),
    )


def joules(problem: PlanningProblem, state: State, timeline: Timeline | None) -> dict[str, Joules]:
    """What the round should take of each node, soundings left out."""
    if timeline is None:
        return of_costs(value(problem.objective, state).costs, problem.places)
    return of_timeline(timeline, problem.places, problem.fleet, state.radio)


def _by_graph(timeline: Timeline, steps: int) -> tuple[ClusterPrediction, ...]:
    found = []
    for times in timeline.clusters:
        broadcast, pipeline, gather, upload = (part / 1e9 for part in times.phases_ns)
        found.append(
            ClusterPrediction(times.cluster, broadcast, pipeline / steps, pipeline, gather, upload)
        )
    return tuple(found)


def _corrected(
    cluster: ClusterPrediction, by: Mapping[str, float], pipeline: float
) -> ClusterPrediction:
    return ClusterPrediction(
        cluster=cluster.cluster,
        broadcast_s=cluster.broadcast_s * by.get("broadcast", 1.0),
        step_s=cluster.step_s * pipeline,
        pipeline_s=cluster.pipeline_s * pipeline,
        gather_s=cluster.gather_s * by.get("gather", 1.0),
        upload_s=cluster.upload_s,
    )
