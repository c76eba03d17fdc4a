"""Executes a plan as one federated round: broadcast, local steps, gather, upload, aggregate."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from typing import Self

from bridge.formats import Wire
from bridge.loop import simulated_loop
from bridge.network import TransferKind
from collapipe_ns3.costs.measured import aggregation_flops
from collapipe_ns3.engine.air import Air
from collapipe_ns3.engine.site import Site, TransferFailed
from collapipe_ns3.engine.stage import StageWorker, workers
from collapipe_ns3.engine.state import Replica, TrainingState
from collapipe_ns3.engine.step import PipelineStep, first_of
from collapipe_ns3.learning.aggregation import (
    Aggregator,
    FederatedAveraging,
    PipelineFailure,
    PipelineResult,
)
from collapipe_ns3.learning.task import Batch
from collapipe_ns3.nodes import SERVER, Role, cluster_of, control_unit, route
from collapipe_ns3.observed import measured_links
from collapipe_ns3.outcome import (
    DeviceUse,
    GradientNorms,
    Phase,
    PipelineDistortion,
    PipelineFate,
    RoundOutcome,
    durations_ns,
)
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan
from collapipe_ns3.schedule import Table, table


@dataclass(frozen=True, slots=True)
class Training:
    """What a round trains with, apart from the plan.

    `batches(cluster, round)` draws that round's batches of a cluster, the same at every call;
    `shares` are the clusters' parts of all training data, the weights of the average.
    `wire` is the format of activations and gradients on the air, and `seed` draws its roundings.
    `on_step(loss)` is called at the end of every pipeline's step. `aggregator` makes the new global
    model.
    """

    batches: Callable[[int, int], Iterator[Batch]]
    shares: Sequence[float]
    local_steps: int
    optimizer: str
    wire: Wire = "fp32"
    seed: int = 0
    on_step: Callable[[float], None] = lambda loss: None
    aggregator: Aggregator = field(default_factory=FederatedAveraging)


@dataclass(slots=True)
class _Job:
    """The execution of one pipeline in a round; `marks_ns` are the times when its phases ended."""

    round: int
    cluster: int
    index: int  # of the pipeline in its cluster
    pipeline: Pipeline
    replica: Replica
    workers: list[StageWorker]
    table: Table
    weight: float
    batches: Iterator[Batch]
    ends_ns: dict[Phase, int] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    gradients: list[GradientNorms] = field(default_factory=list)
    distortions: list[float] = field(default_factory=list)
    failure: str | None = None
    end_ns: int = 0  # of its last upload, or of the transfer that failed

    @property
    def loss(self) -> float:
        """The mean over its local steps."""
        return math.fsum(self.losses) / len(self.losses)

    @property
    def computation_ns(self) -> int:
        """How long its local steps took."""
        return self.ends_ns[Phase.PIPELINE] - self.ends_ns[Phase.BROADCAST]

    def forget(self) -> None:
        for worker in self.workers:
            worker.forget()


@dataclass(frozen=True, slots=True)
class Begun:
    """A site's counters at the beginning of a round, which may be before its plan was made.

    `radio_j` are the joules that each node's radios had spent on sending and on receiving.
    """

    start_ns: int
    computations: int
    deliveries: int
    radio_j: Mapping[str, tuple[float, float]]

    @classmethod
    def now(cls, site: Site) -> Self:
        """The site's present counters; called in the simulated loop."""
        return cls(
            simulated_loop().now_ns(),
            len(site.computations),
            len(site.network.deliveries),
            _radio_j(site),
        )

    def radio_since_j(self, site: Site) -> dict[str, tuple[float, float]]:
        """The joules that each node's radios have spent since, on sending and on receiving."""
        none = (0.0, 0.0)
        return {
            node: (sent - self.radio_j.get(node, none)[0], heard - self.radio_j.get(node, none)[1])
            for node, (sent, heard) in _radio_j(site).items()
        }


async def run_round(
    site: Site,
    state: TrainingState,
    plan: RoundPlan,
    training: Training,
    begun: Begun | None = None,
) -> RoundOutcome:
    """Executes a validated plan on the site's network; the state then holds the new model.

    `begun` is when the round began, if that was before this call (links were sounded).

    If a transfer of a pipeline fails for good, the pipeline is abandoned: what it trained in this
    round is dropped, the aggregator is given its failure, and the outcome states the reason. The
    cluster's other pipelines continue. Every schedule is validated before anything is sent; raises
    `ScheduleError`.
    """
    jobs = _jobs(state, plan, training)
    begun = begun or Begun.now(site)
    start_ns = simulated_loop().now_ns()
    site.apply(plan)
    global_model = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            job.replica.load(global_model)
            group.create_task(_attempt(site, job, training), name=f"cluster {job.cluster}")
    all_in_ns = simulated_loop().now_ns()
    weights = await _aggregate(site, state, jobs, training.aggregator)
    trained = [job for job in jobs if job.failure is None]
    data = math.fsum(job.weight for job in trained)
    loss = math.fsum(job.weight * job.loss for job in trained)
    return RoundOutcome(
        round=plan.round,
        start_ns=begun.start_ns,
        phases_ns=durations_ns(
            begun.start_ns,
            {
                Phase.SOUNDING: start_ns,
                **_ends_ns(jobs, start_ns, all_in_ns),
                Phase.AGGREGATE: simulated_loop().now_ns(),
            },
        ),
        computation_ns=max((job.computation_ns for job in trained), default=0),
        loss=loss / data if trained else math.nan,
        computations=site.computations[begun.computations :],
        deliveries=site.network.deliveries[begun.deliveries :],
        links=measured_links(site.network),
        devices=_uses(site, jobs, begun),
        pipelines=tuple(_fate(job, weights) for job in jobs),
        gradients=tuple(norms for job in trained for norms in job.gradients),
        distortions=tuple(_distortion(job, weights) for job in trained),
        sat_out=_sat_out(plan),
    )


def schedule_of(pipeline: Pipeline) -> Table:
    """The schedule that a pipeline executes, validated by a dry run; raises `ScheduleError`.

    The embedding is the stage before the segments, the decoder the one after them.
    """
    return table(pipeline.schedule, len(pipeline.stages) + 2, pipeline.micro_batches)


def _jobs(state: TrainingState, plan: RoundPlan, training: Training) -> list[_Job]:
    jobs = []
    absent = {absence.device for absence in plan.absences}
    for cluster in plan.clusters:
        for index, pipeline in enumerate(cluster.pipelines):
            replica = state.replica(cluster.cluster, index)
            for unit in replica.units.values():
                if unit.holder in absent:  # which can't send it
                    unit.reset_optimizer()
            line = workers(replica, pipeline, control_unit(cluster.cluster), SERVER)
            weight = training.shares[cluster.cluster] * pipeline.share
            batches = _own_part(training.batches(cluster.cluster, plan.round), cluster, index)
            steps = schedule_of(pipeline)
            place = (plan.round, cluster.cluster, index)
            jobs.append(_Job(*place, pipeline, replica, line, steps, weight, batches))
    return jobs


def _own_part(batches: Iterator[Batch], cluster: ClusterPlan, index: int) -> Iterator[Batch]:
    """A pipeline's part of each of its cluster's batches; the parts of all make up the batch."""
    for batch in batches:
        sizes = cluster.sequences(len(batch.source))
        first = sum(sizes[:index])
        yield batch.part(first, first + sizes[index])


async def _attempt(site: Site, job: _Job, training: Training) -> None:
    """Runs a job to its end, or until a transfer has failed for good."""
    try:
        await _train(site, job, training)
    except* TransferFailed as failures:
        job.failure = str(first_of(failures))
        # In the torch thread, so that it runs after all work that had started by then.
        site.thread.now(job.forget)
    job.end_ns = simulated_loop().now_ns()


async def _train(site: Site, job: _Job, training: Training) -> None:
    loop = simulated_loop()
    await _broadcast(site, job)
    job.ends_ns[Phase.BROADCAST] = loop.now_ns()
    control = control_unit(job.cluster)
    for number in range(training.local_steps):
        batch = next(job.batches)
        micro_batches = job.pipeline.micro_batches
        air = Air(training.wire, training.seed, (job.round, job.cluster, job.index, number))
        step = PipelineStep(
            site=site,
            cluster=job.cluster,
            table=job.table,
            workers=job.workers,
            routes=[
                route(here.node, there.node, control)
                for here, there in pairwise([*job.workers, job.workers[0]])
            ],
            optimizer=training.optimizer,
            parts=batch.split(micro_batches),
            tokens=batch.target_tokens,
            air=air,
            # The norms of one step per round are enough, and computing them takes time.
            squares=[0.0] * micro_batches if number == 0 else None,
        )
        job.losses.append(await step.run())
        job.distortions.append(math.fsum(air.distortions) / micro_batches)
        if step.squares is not None:
            job.gradients.append(_norms(job.cluster, step.squares, step.parts))
        training.on_step(job.losses[-1])
    job.ends_ns[Phase.PIPELINE] = loop.now_ns()
    held = _weights_by_node(job)
    async with asyncio.TaskGroup() as group:
        for node, size in held.items():
            if node != control:
                group.create_task(site.send((node, control), size, TransferKind.PARAMETERS))
    job.ends_ns[Phase.GATHER] = loop.now_ns()
    if held:
        await site.send((control, SERVER), sum(held.values()), TransferKind.PARAMETERS)
    job.ends_ns[Phase.UPLOAD] = loop.now_ns()


def _norms(cluster: int, squares: Sequence[float], parts: Sequence[Batch]) -> GradientNorms:
    """The norms of mean gradients.

    Those of the step (`squares`) are of sums of token losses over the whole batch's tokens.
    """
    tokens = list(accumulate(part.target_tokens for part in parts))
    means = (square * (tokens[-1] / n) ** 2 for square, n in zip(squares, tokens, strict=True))
    return GradientNorms(cluster, len(parts[0].source), tuple(means))


async def _broadcast(site: Site, job: _Job) -> None:
    """Sends the global model; optimizer states follow the blocks that moved since last time."""
    control = control_unit(job.cluster)
    held = _weights_by_node(job)
    if held:
        await site.send((SERVER, control), sum(held.values()), TransferKind.MODEL)
    async with asyncio.TaskGroup() as group:
        for node, size in held.items():
            if node != control:
                group.create_task(site.send((control, node), size, TransferKind.MODEL))
        for worker in job.workers:
            for unit in worker.units:
                if unit.holder not in (None, worker.node) and unit.optimizer_bytes():
                    path = tuple(dict.fromkeys((unit.holder, control, worker.node)))
                    size = unit.optimizer_bytes()
                    group.create_task(site.send(path, size, TransferKind.PARAMETERS))
    for worker in job.workers:
        for unit in worker.units:
            unit.holder = worker.node


def _weights_by_node(job: _Job) -> dict[str, int]:
    """Bytes of parameters on each node except the base station, in the order of the stages."""
    held: dict[str, int] = {}
    for worker in job.workers:
        if worker.node != SERVER:
            held[worker.node] = held.get(worker.node, 0) + _weights(worker)
    return held


def _weights(worker: StageWorker) -> int:
    return sum(unit.parameter_bytes() for unit in worker.units)


#: By (cluster, pipeline), each result's weight in the new global model.
_Weights = Mapping[tuple[int, int], float]


async def _aggregate(
    site: Site, state: TrainingState, jobs: Sequence[_Job], aggregator: Aggregator
) -> _Weights:
    """Replaces the global model by the new one, unless all pipelines failed."""
    results, failures = [], []
    for job in jobs:
        place = (job.cluster, job.index, job.weight)
        if job.failure is None:
            results.append(PipelineResult(*place, job.replica.model.state_dict()))
        else:
            failures.append(PipelineFailure(*place, job.failure))
    if not results:
        return {}
    flops = aggregation_flops(list(state.model.parameters()), len(results))
    work = partial(aggregator.aggregate, results, failures)
    aggregate = await site.compute((SERVER, -1, -1), "aggregate", -1, flops, work)
    state.model.load_state_dict(dict(aggregate.parameters))
    places = [(result.cluster, result.pipeline) for result in results]
    return dict(zip(places, aggregate.weights, strict=True))


def _fate(job: _Job, weights: _Weights) -> PipelineFate:
    place = (job.cluster, job.index, job.pipeline)
    if job.failure is not None:
        return PipelineFate(*place, "failed", 0.0, math.nan, job.end_ns, job.failure)
    weight = weights[job.cluster, job.index]
    return PipelineFate(*place, "averaged", weight, job.loss, job.end_ns)


def _sat_out(plan: RoundPlan) -> dict[int, str]:
    """Each cluster without pipelines, and why its devices are absent."""
    return {
        cluster.cluster: "; ".join(
            str(absence) for absence in plan.absences if absence.cluster == cluster.cluster
        )
        for cluster in plan.clusters
        if not cluster.pipelines
    }


def _distortion(job: _Job, weights: _Weights) -> PipelineDistortion:
    sequences = job.pipeline.micro_batches * job.gradients[0].sequences
    distortion = math.fsum(job.distortions) / len(job.distortions)
    weight = weights[job.cluster, job.index]
    micro_batches = job.pipeline.micro_batches
    return PipelineDistortion(job.cluster, weight, sequences, micro_batches, distortion)


def _ends_ns(jobs: Sequence[_Job], start_ns: int, all_in_ns: int) -> dict[Phase, int]:
    """When the phases of the job that ended last did end.

    If that job failed, the time that it took counts as its pipeline phase, since nothing else is
    known of it.
    """
    completed = [job for job in jobs if job.failure is None]
    last = max(completed, key=lambda job: job.ends_ns[Phase.UPLOAD], default=None)
    if last is None or last.ends_ns[Phase.UPLOAD] != all_in_ns:
        failed = dict.fromkeys((Phase.PIPELINE, Phase.GATHER, Phase.UPLOAD), all_in_ns)
        return {Phase.BROADCAST: start_ns, **failed}
    return last.ends_ns


def _radio_j(site: Site) -> dict[str, tuple[float, float]]:
    usage = site.network.usage()
    return {node: (use.tx_energy_j, use.rx_energy_j) for node, use in usage.items()}


def _uses(site: Site, jobs: Sequence[_Job], begun: Begun) -> list[DeviceUse]:
    """A row for every node, the base station last.

    A node without a stage may have relayed transfers or been sounded, which takes energy too.
    """
    held: dict[str, list[StageWorker]] = {node: [] for node in site.profiles}
    for job in jobs:
        for worker in job.workers:
            held[worker.node].append(worker)
    radio_j = begun.radio_since_j(site)
    busy: dict[str, list[float]] = {}
    for done in site.computations[begun.computations :]:
        busy.setdefault(done.node, []).append((done.end_ns - done.start_ns) / 1e9)
    rows = [
        DeviceUse(
            device=node,
            cluster=cluster_of(node),
            blocks=sum(worker.blocks for worker in stages),
            peak_memory_bytes=sum(worker.memory_bytes() for worker in stages),
            compute_energy_j=site.profiles[node].active_power_w * math.fsum(busy.get(node, [])),
            tx_energy_j=radio_j.get(node, (0.0, 0.0))[0],
            rx_energy_j=radio_j.get(node, (0.0, 0.0))[1],
        )
        for node, stages in held.items()
    ]
    return sorted(rows, key=lambda row: (row.role is Role.BASE_STATION, row.cluster, row.device))
