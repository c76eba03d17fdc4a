"""What a decided plan says to the radio, how its links were seen, and what it should take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from collapipe_ns3.dssra.decision import ClusterPrediction, LinkView, Prediction
from collapipe_ns3.dssra.objective import State, value
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.eventgraph.timeline import StateMove, Timeline
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.outcome import Phase
from collapipe_ns3.plan import LinkPlan
from collapipe_ns3.prediction.directions import place_of_link
from collapipe_ns3.prediction.plan_timeline import cluster_plans, used_links
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import aggregate_s
from collapipe_ns3.prediction.timeline_energy import NodeEnergy, energy_of_costs, energy_of_timeline
from collapipe_ns3.prediction.training_ratios import expected_ratio

#: Part of a cluster's band for each link that is needed for nothing but moving optimizer states.
_MOVING = 0.02


def with_moves(
    problem: PlanningProblem, radio: RadioSetting, moves: Mapping[int, Sequence[StateMove]]
) -> RadioSetting:
    """The radio with a little of each band for links that only moving states need."""
    if not problem.fleet.links.sidelink.grants or not moves:
        return radio
    places, hz = problem.places, radio.sidelink.bandwidth_hz.copy()
    for cluster, each in moves.items():
        n = problem.clusters.index(cluster)
        pairs = {(places[move.src][1], 0) for move in each}
        pairs |= {(0, places[move.dst][1]) for move in each}
        missing = sorted(pair for pair in pairs if hz[n][pair] <= 0)
        hz[n] *= 1 - _MOVING * len(missing)
        for pair in missing:
            hz[n][pair] = _MOVING * problem.fleet.links.sidelink.band_hz[n]
    return radio.with_bandwidth_hz(sidelink=hz)


def link_plans(
    problem: PlanningProblem, state: State, moves: Mapping[int, Sequence[StateMove]]
) -> tuple[LinkPlan, ...]:
    """Power of every link that is used, and bandwidth where the radio takes grants."""
    found: list[LinkPlan] = []
    for plan in cluster_plans(state.segments, problem.devices):
        pairs = used_links(plan.pipelines[0], plan.cluster)
        for move in moves.get(plan.cluster, ()):
            pairs += list(pairwise((move.src, control_unit(plan.cluster), move.dst)))
        for src, dst in dict.fromkeys(pairs):
            direction, at = place_of_link(problem.places, src, dst)
            links, setting = problem.fleet.links[direction], state.radio[direction]
            most = problem.observation.profiles[src].max_tx_power_w
            watts = min(float(setting.power_w[at]), most)
            hertz = float(setting.bandwidth_hz[at]) if links.grants else None
            found.append(LinkPlan(src, dst, watts, hertz))
    return tuple(found)


def views(
    problem: PlanningProblem, radio: RadioSetting, plans: Sequence[LinkPlan]
) -> tuple[LinkView, ...]:
    """The plan's links as they were taken to be."""
    found = []
    for plan in plans:
        direction, at = place_of_link(problem.places, plan.src, plan.dst)
        links, setting = problem.fleet.links[direction], radio[direction]
        watts, hertz = float(setting.power_w[at]), float(setting.bandwidth_hz[at])
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


def prediction(problem: PlanningProblem, state: State, timeline: Timeline | None) -> Prediction:
    """What the round should take: by the event graph if there is one, else by the closed forms."""
    now = value(problem.objective, state)
    if timeline is not None:
        clusters = _by_graph(timeline, problem.work.local_steps)
        ends = [times.ends_ns[Phase.UPLOAD] / 1e9 for times in timeline.pipelines]
        aggregate = timeline.total_ns / 1e9 - max(ends)
    else:
        begun, ends = now.ends.distributed.tolist(), now.ends.uploaded.tolist()
        gathered = now.ends.gathered.tolist()
        step, gather = now.costs.step.tolist(), now.costs.gather.tolist()
        clusters = tuple(
            ClusterPrediction(
                cluster=n,
                phases_s={
                    Phase.BROADCAST: begun[row],
                    Phase.PIPELINE: problem.work.local_steps * step[row],
                    Phase.GATHER: gather[row],
                    Phase.UPLOAD: ends[row] - gathered[row],
                },
                step_s=step[row],
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
            expected_ratio(problem.memory.tried, cluster.cluster, pipelines[cluster.cluster]),
        )
        for cluster in clusters
    )
    slowest = clusters[int(np.argmax(ends))]
    return Prediction(
        by="event graph" if timeline is not None else "closed forms",
        correction=dict(correction),
        phases_s={**slowest.phases_s, Phase.AGGREGATE: aggregate},
        clusters=clusters,
        joules={
            node: each.with_sounding(problem.observation.sounding_j.get(node, (0.0, 0.0)))
            for node, each in joules(problem, state, timeline).items()
        },
        divergence=float((problem.fleet.share * now.gamma).sum()),
    )


def joules(
    problem: PlanningProblem, state: State, timeline: Timeline | None
) -> dict[str, NodeEnergy]:
    """What the round should take of each node, soundings left out."""
    if timeline is None:
        return energy_of_costs(value(problem.objective, state).costs, problem.places)
    return energy_of_timeline(timeline, problem.places, problem.fleet, state.radio)


def _by_graph(timeline: Timeline, steps: int) -> tuple[ClusterPrediction, ...]:
    found = []
    for times in timeline.pipelines:
        phases_s = {phase: ns / 1e9 for phase, ns in times.phases_ns.items()}
        found.append(ClusterPrediction(times.cluster, phases_s, phases_s[Phase.PIPELINE] / steps))
    return tuple(found)


def _corrected(
    cluster: ClusterPrediction, correction: Mapping[str, float], training: float
) -> ClusterPrediction:
    """The prediction with its phases times their corrections, and its local steps `training`."""
    factors = {**correction, Phase.PIPELINE: training}
    return ClusterPrediction(
        cluster=cluster.cluster,
        phases_s={phase: s * factors.get(phase, 1.0) for phase, s in cluster.phases_s.items()},
        step_s=cluster.step_s * training,
    )
