"""One training step of one pipeline: executes its schedule, and sends between the stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from bridge.loop import TaskGroup
from bridge.network import TransferKind
from bridge.payload import bytes_on_air, size_bytes
from collapipe_ns3.costs.optimizers import OptimizerKind
from collapipe_ns3.engine.air import Air, Message
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.stage_worker import MicroBatchDraws, StageInput, StageWorker
from collapipe_ns3.learning.batch import Batch, Payload
from collapipe_ns3.learning.updates import Update
from collapipe_ns3.outcome import TransferLabel, WorkItem
from collapipe_ns3.schedule import RECEIVES, Action, ActionKind, Table, matching_receive

_TRANSFER_KIND = {
    ActionKind.SEND_ACTIVATION: TransferKind.ACTIVATION,
    ActionKind.SEND_GRADIENT: TransferKind.GRADIENT,
    ActionKind.SEND_LABELS: TransferKind.LABELS,
}


@dataclass(slots=True)
class PipelineStep:
    """One batch through a pipeline: forwards, backwards, and the optimizer step of each stage.

    `work` has the cluster, the pipeline and the number of the step, for the records. `workers` are
    the stages in order. `routes[i]` lists the nodes from stage i to stage i + 1, including relays;
    the last route goes from the last stage back to the first. `optimizer` says what its step costs,
    and `update` what it does besides. `parts` are the micro-batches, `total` the number of
    predictions in all of them, and `air` encodes what is sent.

    A local head sends on the features that it receives, as they have arrived, and gets the labels
    on its own node.

    If `squares` is given (with a zero for each micro-batch), each stage adds to `squares[m]` the
    squared norm of its gradient accumulated over the micro-batches up to m; every stage runs its
    backwards in order.

    A stage awaits `before(stage)` before it does anything, and calls `after(stage)` when it has
    ended its optimizer step.
    """

    site: Site
    work: WorkItem
    table: Table
    workers: Sequence[StageWorker]
    routes: Sequence[Sequence[str]]
    optimizer: OptimizerKind
    update: Update
    parts: Sequence[Batch]
    total: int
    air: Air
    squares: list[float] | None = None
    before: Callable[[int], Awaitable[None]] | None = None
    after: Callable[[int], None] | None = None
    losses: dict[int, Message] = field(default_factory=dict)
    inbox: dict[Action, asyncio.Future[Message]] = field(default_factory=dict)
    tied: dict[int, asyncio.Future[Callable[[], Payload]]] = field(default_factory=dict)

    async def run(self) -> float:
        """Executes the schedule; returns the batch's mean loss in the last part.

        Raises `TransferFailed`.
        """
        try:
            async with TaskGroup() as group:
                for stage, worker in enumerate(self.workers):
                    name = f"cluster {self.work.cluster}, stage {stage} on {worker.node}"
                    group.create_task(self._stage(group, stage), name=name)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from None
        self.site.settle()
        return sum(float(self.losses[m].tensors()[0]) for m in sorted(self.losses))

    async def _stage(self, group: TaskGroup, stage: int) -> None:
        """Executes the actions of one stage in order."""
        arrived: dict[Action, Message] = {}
        to_send: dict[Action, Message] = {}
        worker = self.workers[stage]
        if self.before is not None:
            await self.before(stage)
        if stage == 0:
            for m, part in enumerate(self.parts):
                inputs = Message.of((*part.inputs, *part.side))
                arrived[Action(0, ActionKind.RECEIVE_ACTIVATION, m)] = inputs
                to_send[Action(0, ActionKind.SEND_LABELS, m)] = Message.of(part.labels)
        for action in self.table[stage]:
            m = action.micro_batch
            if action.kind in RECEIVES:
                arrived[action] = await self._expected(action)
                if worker.role == "local_head" and action.kind is ActionKind.RECEIVE_ACTIVATION:
                    onward = Action(stage, ActionKind.SEND_ACTIVATION, m)
                    to_send[onward] = arrived[action]
            elif action.kind is ActionKind.FORWARD:
                await self._forward(stage, m, arrived, to_send)
            elif action.kind is ActionKind.BACKWARD:
                await self._backward(stage, m, arrived, to_send)
            else:
                message = to_send.pop(action)
                group.create_task(
                    self._send(action, message), name=f"cluster {self.work.cluster}, {action}"
                )
        await self._exchange_tied(group, stage)
        flops = self.optimizer.flops * worker.costs.parameters
        update = partial(worker.step, self.update)
        await self.site.compute(worker.node, self.work.at(stage), "step", flops, update)
        if self.after is not None:
            self.after(stage)

    async def _exchange_tied(self, group: TaskGroup, stage: int) -> None:
        """Adds the gradients of tied parameters on the node of the other copy to a stage's own.

        Both nodes add them in the same order, so that the copies stay equal to the bit.
        """
        worker, last = self.workers[stage], len(self.workers) - 1
        if not worker.tied or stage not in (0, last):
            return
        own = self.site.thread.later(worker.tied_gradients)
        task = self._send_tied(stage, own.result)
        group.create_task(task, name=f"cluster {self.work.cluster}, {stage}, tied gradients")
        other = await self._expected_tied(last - stage)

        def added() -> None:
            first, second = (own.result(), other()) if stage == 0 else (other(), own.result())
            worker.replace_tied_gradients([a + b for a, b in zip(first, second, strict=True)])

        self.site.thread.later(added)

    async def _send_tied(self, stage: int, gradients: Callable[[], Payload]) -> None:
        route = self.routes[-1] if stage else self.routes[-1][::-1]
        label = TransferLabel(TransferKind.GRADIENT, self.work.at(stage))
        await self.site.send(route, size_bytes(self.workers[stage].tied), label)
        self._expected_tied(stage).set_result(gradients)

    def _expected_tied(self, sender: int) -> asyncio.Future[Callable[[], Payload]]:
        """The future of the gradients that the first or the last stage sends."""
        if sender not in self.tied:
            self.tied[sender] = asyncio.get_running_loop().create_future()
        return self.tied[sender]

    async def _forward(
        self,
        stage: int,
        m: int,
        arrived: dict[Action, Message],
        to_send: dict[Action, Message],
    ) -> None:
        worker, shape = self.workers[stage], self.parts[m].shape
        message = arrived.pop(Action(stage, ActionKind.RECEIVE_ACTIVATION, m))
        labels = Message.of(())
        if worker.role == "local_head":
            labels = Message.of(self.parts[m].labels)
        elif worker.role == "last":
            labels = arrived.pop(Action(stage, ActionKind.RECEIVE_LABELS, m))

        def computed() -> Payload:
            tensors = message.tensors()
            x = len(tensors) - len(self.parts[m].side)
            draws = MicroBatchDraws(self.air.seed, (*self.air.name, m))
            given = StageInput(tensors[:x], tensors[x:], draws, labels.tensors(), self.total)
            output = worker.forward(m, worker.costs.kept_bytes(shape), given)
            if worker.role in ("local_head", "last"):
                return output
            sent = (*output, *given.side)
            self._expect_size(stage, sent, worker.costs.output.bytes_on_air(self.air.wire, shape))
            return sent

        flops = worker.costs.forward_flops(shape)
        done = await self.site.compute(worker.node, self.work.at(stage, m), "F", flops, computed)
        if worker.role == "last":
            self.losses[m] = Message(lambda: done.result)
        elif worker.role != "local_head":
            to_send[Action(stage, ActionKind.SEND_ACTIVATION, m)] = Message(lambda: done.result)

    def _expect_size(self, stage: int, sent: Payload, charged: int) -> None:
        """Raises `ValueError` unless tensors have the size that the network simulates for them."""
        if (size := bytes_on_air(sent, self.air.wire)) != charged:
            message = f"stage {stage} sends {size} bytes, and by the costs of its parts {charged}"
            raise ValueError(f"{message}: sizes must follow from the shape of a micro-batch alone")

    async def _backward(
        self,
        stage: int,
        m: int,
        arrived: dict[Action, Message],
        to_send: dict[Action, Message],
    ) -> None:
        worker = self.workers[stage]
        gradient = arrived.pop(Action(stage, ActionKind.RECEIVE_GRADIENT, m), None)
        computed = partial(self._backward_work, worker, m, gradient)
        flops = worker.costs.backward_flops(self.parts[m].shape)
        done = await self.site.compute(worker.node, self.work.at(stage, m), "B", flops, computed)
        # After a local head no gradient is sent back.
        if stage > 0 and self.workers[stage - 1].role != "local_head":
            to_send[Action(stage, ActionKind.SEND_GRADIENT, m)] = Message(lambda: done.result)

    def _backward_work(self, worker: StageWorker, m: int, message: Message | None) -> Payload:
        transient_bytes = worker.costs.transient_bytes(self.parts[m].shape)
        gradients = () if message is None else message.tensors()
        result = worker.backward(m, transient_bytes, gradients)
        if self.squares is not None:
            self.squares[m] += worker.gradient_square()
        return result

    async def _send(self, send: Action, message: Message) -> None:
        """Sends a message to the stage that waits for it, relay by relay.

        Activations and gradients are sent in the wire format and may arrive with gaps; labels are
        sent until they are complete. The sizes are those of the parts' costs, since the tensors may
        not be computed yet.
        """
        target = matching_receive(send, len(self.workers) - 1)
        part, work = self.parts[send.micro_batch], self.work.at(send.stage, send.micro_batch)
        label = TransferLabel(_TRANSFER_KIND[send.kind], work)
        if send.kind is ActionKind.SEND_LABELS:
            await self.site.send(self.routes[-1][::-1], size_bytes(part.labels), label)
        else:
            if send.kind is ActionKind.SEND_ACTIVATION:
                route, sent = self.routes[send.stage], self.workers[send.stage].costs.output
            else:
                route = self.routes[target.stage][::-1]
                sent = self.workers[target.stage].costs.gradient
            if len(route) > 1:  # within a node nothing is encoded or lost
                size = sent.bytes_on_air(self.air.wire, part.shape)
                lost = await self.site.send_once(route, size, label)
                message = self.air.arrived(message, lost, send, self.site.thread)
        self._expected(target).set_result(message)

    def _expected(self, receive: Action) -> asyncio.Future[Message]:
        """The future of the message for a receive action, made by its sender or its receiver."""
        if receive not in self.inbox:
            self.inbox[receive] = asyncio.get_running_loop().create_future()
        return self.inbox[receive]


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group, which cancelled the other tasks."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
