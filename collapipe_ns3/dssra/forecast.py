"""What a plan should take: the event graph's timeline, and phases, energy and divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from collapipe_ns3.dssra.objective import Objective, State, course, value
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.eventgraph.graph import TooManyEvents
from collapipe_ns3.eventgraph.timeline import PipelineTimes, Timeline
from collapipe_ns3.exchange import StateMove
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.plan_timeline import predict_timeline
from collapipe_ns3.prediction.round_time import aggregate_s
from collapipe_ns3.prediction.timeline_energy import NodeEnergy, energy_of_costs, energy_of_timeline
from collapipe_ns3.prediction.training_ratios import expected_ratio


@dataclass(frozen=True, slots=True)
class ClusterPrediction:
    """How long the phases of one cluster's round and one of its training steps take."""

    cluster: int
    phases_s: Mapping[Phase, float]
    step_s: float

    @property
    def end_s(self) -> float:
        """When its upload ends, in seconds after the round's start."""
        return math.fsum(self.phases_s.values())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"cluster": self.cluster, **_columns(self.phases_s), "step_s": self.step_s}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the round is expected to take.

    `by` is "event graph" or, where that would be too large, "closed forms". `phases_s` are those of
    the cluster that ends last, as in the engine's outcome. They are multiplied by `correction`, the
    ratios of measured to predicted phases so far, and the training by the ratio of such a plan
    (`collapipe_ns3.prediction.training_ratios`). `joules` is every node's energy, soundings and
    idling included. `divergence` is Σ ρΓ relative to that of a round without losses.
    """

    by: str
    correction: Mapping[str, float]
    phases_s: Mapping[Phase, float]
    clusters: tuple[ClusterPrediction, ...]
    joules: Mapping[str, NodeEnergy]
    divergence: float

    @property
    def energy_j(self) -> dict[str, float]:
        """Every node's energy in joules."""
        return {node: each.total_j for node, each in self.joules.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        by_node = {
            key: {node: getattr(each, name) for node, each in self.joules.items()}
            for key, name in (
                ("energy_j", "total_j"),
                ("compute_energy_j", "compute_j"),
                ("tx_energy_j", "tx_j"),
                ("rx_energy_j", "rx_j"),
                ("idle_energy_j", "idle_j"),
                ("least_energy_j", "least_j"),
            )
        }
        return {
            "by": self.by,
            "correction": dict(self.correction),
            **_columns(self.phases_s),
            "clusters": [cluster.to_json() for cluster in self.clusters],
            "divergence": self.divergence,
            **by_node,
        }

    @property
    def round_s(self) -> float:
        """How long the round takes, soundings excluded."""
        return math.fsum(self.phases_s.values())


def graph_tasks(objective: Objective, state: State, steps: int) -> int:
    """About how many tasks the event graph of a round with so many training steps has."""
    each = state.segments.micro_batches * (4 * state.segments.size + 9)
    tasks = int(each.sum()) * steps
    if (chunk := objective.form.chunk_bytes) is not None:
        # Each segment is sent out, gathered and uploaded, and the model downloaded.
        chunks = 4 * objective.work.upload_bytes / chunk + 3 * state.segments.size
        tasks += round(float(chunks.sum()))
    return tasks


def simulated_steps(objective: Objective) -> int:
    """How many training steps are simulated to know how long all take.

    In a streamed exchange stages wait for their segments in the first step, so there are two.
    """
    return min(objective.work.local_steps, 1 + objective.form.streamed)


def last_step_s(times: PipelineTimes) -> float:
    """How long the last training step of a pipeline takes, in seconds."""
    before_ns = times.steps_ns[-2] if len(times.steps_ns) > 1 else times.ends_ns[Phase.BROADCAST]
    return (times.steps_ns[-1] - before_ns) / 1e9


def timeline_or_none(
    plan: RoundPlan,
    problem: PlanningProblem,
    state: State,
    moves: Mapping[int, Sequence[StateMove]],
) -> Timeline | None:
    """The event graph's timeline of a round; none where links are too slow for one."""
    try:
        return predict_timeline(
            plan,
            problem.devices,
            problem.fleet,
            problem.work,
            state.radio,
            moves,
            problem.observation.references,
        )
    except TooManyEvents:
        return None


def prediction(problem: PlanningProblem, state: State, timeline: Timeline | None) -> Prediction:
    """What the round should take: by its timeline if there is one, otherwise by closed forms."""
    now, streamed = value(problem.objective, state), problem.objective.form.streamed
    if timeline is not None:
        clusters = _by_graph(timeline, problem.work.local_steps)
        ends = [times.ends_ns[Phase.UPLOAD] / 1e9 for times in timeline.pipelines]
        aggregate = timeline.total_ns / 1e9 - max(ends)
    else:
        begun, ends = now.ends.distributed.tolist(), now.ends.uploaded.tolist()
        gathered = now.ends.gathered.tolist()
        step = now.costs.step.tolist()
        if streamed:
            trained = (now.ends.trained - now.ends.distributed).tolist()
            gather = (now.ends.gathered - now.ends.trained).tolist()
        else:
            trained = (problem.work.local_steps * now.costs.step).tolist()
            gather = now.costs.gather.tolist()
        clusters = tuple(
            ClusterPrediction(
                cluster=n,
                phases_s={
                    Phase.BROADCAST: begun[row],
                    Phase.PIPELINE: trained[row],
                    Phase.GATHER: gather[row],
                    Phase.UPLOAD: ends[row] - gathered[row],
                },
                step_s=step[row],
            )
            for row, n in enumerate(problem.clusters)
        )
        aggregate = aggregate_s(problem.fleet, problem.work)
    if problem.recovery.policy == "replicate":
        delays = course(problem.objective, state, now).copies_s(problem.recovery).tolist()
        clusters = tuple(map(_with_copies, clusters, delays))
    correction = {} if streamed else problem.memory.correction
    pipelines = problem.pipelines(state.segments)
    clusters = tuple(
        _corrected(
            cluster,
            correction,
            expected_ratio(problem.memory.tried, cluster.cluster, pipelines[cluster.cluster]),
        )
        for cluster in clusters
    )
    phases_s = {**clusters[int(np.argmax(ends))].phases_s, Phase.AGGREGATE: aggregate}
    observation = problem.observation
    lasting_s = observation.sounding_s + math.fsum(phases_s.values())
    return Prediction(
        by="event graph" if timeline is not None else "closed forms",
        correction=dict(correction),
        phases_s=phases_s,
        clusters=clusters,
        joules={
            node: each.with_sounding(observation.sounding_j.get(node, (0.0, 0.0))).idling(
                observation.profiles[node].power.idle_w, lasting_s
            )
            for node, each in node_energy(problem, state, timeline).items()
        },
        divergence=float((problem.fleet.share * now.gamma).sum())
        + problem.objective.format_divergence,
    )


def node_energy(
    problem: PlanningProblem, state: State, timeline: Timeline | None
) -> dict[str, NodeEnergy]:
    """The energy above idle that each node should take in the round, without soundings."""
    if timeline is None:
        return energy_of_costs(value(problem.objective, state).costs, problem.places)
    return energy_of_timeline(timeline, problem.places, problem.fleet, state.radio)


def _by_graph(timeline: Timeline, steps: int) -> tuple[ClusterPrediction, ...]:
    found = []
    for times in timeline.pipelines:
        phases_s = {phase: ns / 1e9 for phase, ns in times.phases_ns.items()}
        found.append(ClusterPrediction(times.cluster, phases_s, phases_s[Phase.PIPELINE] / steps))
    return tuple(found)


def _with_copies(cluster: ClusterPrediction, copies_s: float) -> ClusterPrediction:
    """The prediction with the local steps delayed by the copies for the recovery."""
    training_s = cluster.phases_s[Phase.PIPELINE] + copies_s
    steps = cluster.phases_s[Phase.PIPELINE] / cluster.step_s if cluster.step_s else 1.0
    phases_s = {**cluster.phases_s, Phase.PIPELINE: training_s}
    return replace(cluster, phases_s=phases_s, step_s=cluster.step_s + copies_s / steps)


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


def _columns(phases_s: Mapping[Phase, float]) -> dict[str, float]:
    """The phases under the names that they have in tables."""
    return {f"{phase}_s": seconds for phase, seconds in phases_s.items()}
