"""Executes one pipeline in a round: broadcast, local steps, gather, upload."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, islice, pairwise

from bridge.formats import Wire
from bridge.loop import TaskGroup, simulated_loop
from collapipe_ns3.costs.optimizers import OptimizerKind
from collapipe_ns3.engine.air import Air
from collapipe_ns3.engine.exchange_run import ExchangeRun
from collapipe_ns3.engine.late_run import rest_of
from collapipe_ns3.engine.late_work import RestOfLeg
from collapipe_ns3.engine.pipeline_step import PipelineStep, first_of
from collapipe_ns3.engine.presence import NodeLost, during
from collapipe_ns3.engine.recovery import PipelineRecovery, Resumption, state_moves
from collapipe_ns3.engine.site import Site, TransferFailed
from collapipe_ns3.engine.stage_worker import StageWorker, workers
from collapipe_ns3.engine.state import Replica
from collapipe_ns3.exchange import PipelineId, StateMove, overlap_ns, phase_ends_ns
from collapipe_ns3.fallback import AnyHosts, Hosts, NoFallback
from collapipe_ns3.learning.aggregation import Aggregator, FederatedAveraging
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.local_term import NO_TERM, LocalTerm
from collapipe_ns3.learning.updates import UpdateRule
from collapipe_ns3.nodes import SERVER, control_unit, route
from collapipe_ns3.outcome import GradientNorms, LostDevice, WorkItem
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import Pipeline, micro_batch_sizes
from collapipe_ns3.schedule import Table, schedule_of


@dataclass(frozen=True, slots=True)
class Training:
    """What a round trains with, apart from the plan.

    `batches(cluster, round)` draws that round's batches of a cluster, the same at every call;
    `shares` are the clusters' fractions of all training data, the weights of the average. `wire` is
    the format of activations and gradients on the air, and `seed` draws its roundings.
    `updates` are the learning rates of the steps, and the clipping of gradients.
    `on_step(loss)` is called at the end of every pipeline's step. `aggregator` makes the new global
    model, and `term` is what its aggregation adds to local steps; `optimizer` has the costs of both
    the optimizer and the term. `steps_before` are the local steps of a cluster in all rounds
    before, from which the steps of this round are numbered. `hosts(pipeline)` says what the devices
    can hold that a pipeline may go on with.
    """

    batches: Callable[[int, int], Iterator[Batch]]
    shares: Sequence[float]
    local_steps: int
    optimizer: OptimizerKind
    wire: Wire = "fp32"
    seed: int = 0
    updates: UpdateRule = field(default_factory=UpdateRule)
    on_step: Callable[[float], None] = lambda loss: None
    aggregator: Aggregator = field(default_factory=FederatedAveraging)
    steps_before: int = 0
    term: LocalTerm = NO_TERM
    hosts: Callable[[PipelineId], Hosts] = lambda pipeline: AnyHosts()

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates of the round's local steps, as factors of the study's."""
        first = self.steps_before
        return tuple(self.updates.factor(first + n) for n in range(self.local_steps))


@dataclass(slots=True)
class PipelineRun:
    """The execution of one pipeline in a round, and what it leaves for the round's outcome.

    `draw` gives the pipeline's part of each of its cluster's batches from the first one on, `table`
    is its schedule, and `weight` its share of all training data. `ends_ns` are the times when its
    phases ended; `end_ns` is the end of its last upload, or of the transfer that failed.
    `overlap_ns` is how long its parameters were on their way during its local steps.

    `lost` are the nodes that left while it needed them. After a loss, `recovery` may have it go on:
    `pipeline`, `workers` and `table` are then others, `earlier_workers` are those before, and
    losses, gradients and distortions are those of the local steps that count. `repeated_steps` are
    those that had ended and don't.
    """

    round: int
    cluster: int
    index: int  # of the pipeline in its cluster
    pipeline: Pipeline
    replica: Replica
    workers: list[StageWorker]
    table: Table
    weight: float
    draw: Callable[[], Iterator[Batch]]
    recovery: PipelineRecovery
    ends_ns: dict[Phase, int] = field(default_factory=dict)
    overlap_ns: int = 0
    losses: list[float] = field(default_factory=list)
    gradients: list[GradientNorms] = field(default_factory=list)
    distortions: list[float] = field(default_factory=list)
    failure: str | None = None
    is_late: bool = False
    rest: tuple[RestOfLeg, ...] | None = None  # of its legs, if it was late after its training
    end_ns: int = 0
    lost: list[LostDevice] = field(default_factory=list)
    earlier_workers: list[list[StageWorker]] = field(default_factory=list)
    repeated_steps: int = 0
    _batches: Iterator[Batch] = field(default_factory=lambda: iter(()))
    _first_step: int = 0  # from which the pipeline has gone on
    _step_number: int = 0  # of the present local step
    _reported: int = 0  # local steps of which the end was reported
    _has_trained: bool = False  # all of its local steps
    _first_delivery: int = 0  # of the present attempt, in the network's list
    _broadcast_end_ns: int | None = None  # when the first local step could begin
    _trained: set[int] = field(default_factory=set)  # stages that have ended their last step

    @property
    def loss(self) -> float:
        """The mean over its local steps."""
        return math.fsum(self.losses) / len(self.losses)

    @property
    def computation_ns(self) -> int:
        """The duration of its local steps, including the transfers between stages."""
        return self.ends_ns[Phase.PIPELINE] - self.ends_ns[Phase.BROADCAST]

    @property
    def id(self) -> PipelineId:
        """The pipeline's place in the plan, by which the exchange names it."""
        return PipelineId(self.cluster, self.index)

    def state_moves(self) -> list[StateMove]:
        """The optimizer states that other nodes have than those of their units in this round."""
        return state_moves(self.workers)

    def stop(self, task: asyncio.Task[None]) -> None:
        """Ends the pipeline, which is late, where `task` is its run."""
        self.is_late = True
        task.cancel()

    async def run(self, site: Site, training: Training, exchange: ExchangeRun) -> None:
        """Runs to the end of the upload, or until it has failed or is stopped.

        It fails if a transfer has failed for good, or if a node left that nothing can replace.
        """
        self._batches = self.draw()
        while (lost := await self._until_late(site, training, exchange)) is not None:
            exchange.close(self.id)
            if self.is_late:  # it has lost the node at that instant
                self.failure = str(lost)
                break
            try:
                again = self.recovery.after(lost, self.pipeline, exchange, site)
            except NoFallback as reason:
                self.lost.append(LostDevice(lost.node, lost.at_ns, lost.step))
                self.failure = f"{lost}; {reason}" if self.recovery.is_on else str(lost)
                break
            self._go_on(again, lost)
            exchange = ExchangeRun(site, again.legs, exchange.group)
        exchange.close(self.id)
        self.end_ns = simulated_loop().now_ns()

    def _go_on(self, again: Resumption, lost: NodeLost) -> None:
        """Takes the devices and the local step with which the pipeline goes on."""
        for node in again.lost:
            states = "none" if node == control_unit(self.cluster) else again.states
            self.lost.append(LostDevice(node, lost.at_ns, lost.step, again.step, states))
        self.earlier_workers.append(self.workers)
        self.pipeline, costs = again.pipeline, self.recovery.costs
        control = control_unit(self.cluster)
        self.workers = workers(self.replica, self.pipeline, costs, control, SERVER)
        self.table = schedule_of(self.pipeline, costs.local_head is not None)
        self.repeated_steps += len(self.losses) - again.step
        del self.losses[again.step :], self.distortions[again.step :]
        if again.step == 0:
            self.gradients.clear()
        self._trained.clear()
        self._first_step = again.step
        self._batches = islice(self.draw(), again.step, None)

    async def _until_late(
        self, site: Site, training: Training, exchange: ExchangeRun
    ) -> NodeLost | None:
        """As `_attempt`; if the pipeline is stopped, `failure` says so."""
        try:
            return await self._attempt(site, training, exchange)
        except asyncio.CancelledError:
            if not self.is_late:
                raise
        phase = during(self._phase(exchange), self._step_number)
        self.failure = f"late at {simulated_loop().now_ns() / 1e9:.6f} s, {phase}"
        if self._has_trained:
            self.rest = rest_of(exchange, self.id, site.network.deliveries[self._first_delivery :])
        site.thread.now(self._forget)
        return None

    async def _attempt(
        self, site: Site, training: Training, exchange: ExchangeRun
    ) -> NodeLost | None:
        """Runs to the end of the upload; returns the loss of a node, if that is what ended it.

        If a transfer has failed for good, `failure` says so.
        """
        lost = None
        try:
            async with TaskGroup() as group:
                watch = None
                if site.presence:
                    name = f"{self.id}, the nodes that it needs"
                    watch = group.create_task(self._watch(site, exchange), name=name)
                await self._phases(site, training, exchange)
                if watch is not None:
                    watch.cancel()
            return None
        except* NodeLost as losses:
            lost = first_of(losses)
        except* TransferFailed as failures:
            self.failure = str(first_of(failures))
        # In the torch thread, so that it runs after all work that had started by then.
        site.thread.now(self._forget)
        return lost if isinstance(lost, NodeLost) else None

    async def _watch(self, site: Site, exchange: ExchangeRun) -> None:
        """Raises `NodeLost` when a node is away that the pipeline still needs."""
        own = {control_unit(self.cluster), *(worker.node for worker in self.workers)}
        nodes = sorted(own | exchange.nodes(self.id))
        changes = True
        while changes:
            for node in site.presence.away(nodes):
                if self._needs(node, site, exchange):
                    exchange.fails(self.id)
                    raise site.presence.lost(node, self._phase(exchange), self._step_number)
            changes = await site.presence.changes(nodes)

    def _needs(self, node: str, site: Site, exchange: ExchangeRun) -> bool:
        """Whether any computation or transfer of the pipeline is left for a node.

        The control unit is needed to the end.
        """
        stages = (n for n, each in enumerate(self.workers) if each.node == node)
        return (
            node == control_unit(self.cluster)
            or not self._trained.issuperset(stages)
            or exchange.uses(self.id, node)
            or site.is_sending(self.id, node)
        )

    def _phase(self, exchange: ExchangeRun) -> Phase:
        """The pipeline's present phase, see `phase_ends_ns`."""
        if not exchange.is_ready(self.id, self.workers[0].node):
            return Phase.BROADCAST
        if len(self._trained) < len(self.workers):
            return Phase.PIPELINE
        return Phase.GATHER if exchange.are_left(self.id, Phase.GATHER) else Phase.UPLOAD

    async def _phases(self, site: Site, training: Training, exchange: ExchangeRun) -> None:
        loop = simulated_loop()
        begin_ns = loop.now_ns()
        self._first_delivery, self._has_trained = len(site.network.deliveries), False
        async with TaskGroup() as group:
            exchange.begin(self.id, group)
            try:
                await self._train(site, training, exchange, group)
            except BaseException:
                exchange.fails(self.id)
                raise
            trained_ns = loop.now_ns()
            self._has_trained = True
            exchange.trained(self.id)
        legs, first, arrived_ns = exchange.legs, self.workers[0].node, exchange.arrived_ns
        self.ends_ns = phase_ends_ns(legs, self.id, first, arrived_ns, begin_ns, trained_ns)
        if self._broadcast_end_ns is not None:
            self.ends_ns[Phase.BROADCAST] = self._broadcast_end_ns
        begun_ns = exchange.begun_ns
        self.overlap_ns = overlap_ns(legs, self.id, begun_ns, arrived_ns, self.ends_ns)

    async def _train(
        self, site: Site, training: Training, exchange: ExchangeRun, group: TaskGroup
    ) -> None:
        """The local steps; copies for the recovery are sent at the same time."""
        copying: asyncio.Task[None] | None = None
        for number in range(self._first_step, training.local_steps):
            self._step_number = number
            await self._step(site, training, exchange, number)
            if self.recovery.copy_is_due(number + 1, training.local_steps):
                copy = self.recovery.begin_copy(site, self.workers, number + 1)
                sending = self.recovery.send_copy(site, self.workers, copy)
                copying = group.create_task(sending, name=f"{self.id}, a copy")
        if copying is not None:  # it would delay what has been trained
            copying.cancel()
            self.recovery.drop_copy()

    async def _step(
        self, site: Site, training: Training, exchange: ExchangeRun, number: int
    ) -> None:
        """One local step, on the pipeline's part of the next batch."""
        batch = next(self._batches)
        control, micro_batches = control_unit(self.cluster), self.pipeline.micro_batches
        last = training.local_steps - 1
        air = Air(training.wire, training.seed, (self.round, self.cluster, self.index, number))
        step = PipelineStep(
            site=site,
            work=WorkItem(self.cluster, self.index, step=number),
            table=self.table,
            workers=self.workers,
            routes=[
                route(here.node, there.node, control)
                for here, there in pairwise([*self.workers, self.workers[0]])
            ],
            optimizer=training.optimizer,
            update=training.updates.at(training.steps_before + number),
            parts=batch.split(micro_batch_sizes(batch.sequences, micro_batches)),
            total=max(batch.total, 1),  # a batch may have nothing to predict
            air=air,
            # The norms of one step per round are enough, and computing them takes time.
            squares=[0.0] * micro_batches if number == 0 else None,
            before=partial(self._receive, exchange) if number == self._first_step else None,
            after=partial(self._release, exchange) if number == last else None,
        )
        self.losses.append(await step.run())
        self.distortions.append(math.fsum(air.distortions) / micro_batches)
        if step.squares is not None:
            self.gradients.append(_norms(self.cluster, step.squares, step.parts))
        if number == self._reported:
            self._reported += 1
            training.on_step(self.losses[-1])

    async def _receive(self, exchange: ExchangeRun, stage: int) -> None:
        """Waits until a stage's node has the parameters and optimizer states of all its stages."""
        worker = self.workers[stage]
        await exchange.ready(self.id, worker.node)
        if stage == 0 and self._broadcast_end_ns is None:
            self._broadcast_end_ns = simulated_loop().now_ns()
        for unit in worker.units:
            unit.holder = worker.node

    def _release(self, exchange: ExchangeRun, stage: int) -> None:
        """Has parameters leave a node on which all stages have ended their last step."""
        self._trained.add(stage)
        node = self.workers[stage].node
        if all(n in self._trained for n, each in enumerate(self.workers) if each.node == node):
            exchange.trained(self.id, node)

    def _forget(self) -> None:
        for worker in self.workers:
            worker.forget()


def _norms(cluster: int, squares: Sequence[float], parts: Sequence[Batch]) -> GradientNorms:
    """The norms of mean gradients.

    `squares` are norms for losses summed and divided by the predictions of the whole batch.
    Micro-batches of unequal size count as their mean size. Before the first prediction there is no
    gradient.
    """
    totals = [max(n, 1) for n in accumulate(part.total for part in parts)]
    means = (square * (totals[-1] / n) ** 2 for square, n in zip(squares, totals, strict=True))
    sequences = sum(part.sequences for part in parts) // len(parts)
    return GradientNorms(cluster, sequences, tuple(means))
