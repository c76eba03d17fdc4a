"""Sends the parameters and optimizer states of a round, as the exchange of its plan says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from bridge.loop import TaskGroup, simulated_loop
from bridge.network import TransferKind
from collapipe_ns3.engine.group_send import GroupSend
from collapipe_ns3.engine.presence import NodeLost
from collapipe_ns3.engine.site import Site, TransferFailed
from collapipe_ns3.exchange import Arrival, Leg, Legs, PipelineId, Trained
from collapipe_ns3.outcome import TransferLabel, WorkItem
from collapipe_ns3.phases import Phase

#: What waits: a leg, by its number, or the first local step of a pipeline on a node.
_Waiting = int | tuple[PipelineId, str]


@dataclass(slots=True)
class ExchangeRun:
    """The execution of a round's legs, each as soon as what it waits for has happened.

    A leg of one pipeline to one node is a task in the group of its pipeline, so that it is cut when
    that fails. Others are tasks in `group`, that of the round: each of their pipelines waits for
    what arrives at its own receivers, and fails if that does. A receiver is dropped when all
    pipelines have ended that it is sent the leg for. What a failed pipeline has not done counts as
    done, so that other pipelines do not wait for it.

    `begun_ns` are the instants at which legs began, by number, and `arrived_ns` those of arrivals.
    """

    site: Site
    legs: Legs
    group: TaskGroup
    begun_ns: dict[int, int] = field(default_factory=dict)
    arrived_ns: dict[Arrival, int] = field(default_factory=dict)
    _groups: dict[PipelineId, TaskGroup] = field(default_factory=dict)
    _closed: set[PipelineId] = field(default_factory=set)
    _happened: set[Arrival | Trained] = field(default_factory=set)
    _missing: dict[_Waiting, int] = field(default_factory=dict)  # what each still waits for
    _waiting: dict[Arrival | Trained, list[_Waiting]] = field(default_factory=dict)
    _ready: dict[tuple[PipelineId, str], asyncio.Event] = field(default_factory=dict)
    _whose: dict[Arrival, list[PipelineId]] = field(default_factory=dict)
    _early: set[Arrival] = field(default_factory=set)  # chunks that came before an earlier one
    _coming: dict[PipelineId, _Coming] = field(default_factory=dict)
    _sending: dict[int, GroupSend] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for leg in self.legs.all:
            self._wait(leg.number, leg.after)
        for place, needed in self.legs.needed.items():
            self._ready[place] = asyncio.Event()
            self._wait(place, needed)
            if not needed:
                self._ready[place].set()
        for pipeline, arrivals in self.legs.arrivals.items():
            for arrival in arrivals:
                self._whose.setdefault(arrival, []).append(pipeline)
            self._coming[pipeline] = _Coming(len(arrivals))

    def begin(self, pipeline: PipelineId, group: TaskGroup) -> None:
        """Begins to send a pipeline's legs; `group` has the pipeline's tasks.

        The group doesn't end before all has arrived, and fails with `TransferFailed` or `NodeLost`.
        """
        self._groups[pipeline] = group
        if self._coming[pipeline].left:  # some may begin after all other tasks of the group
            group.create_task(self._coming[pipeline].wait(), name=f"{pipeline}, all that is sent")
        for leg in self.legs.of(pipeline):
            if not self._missing[leg.number]:
                self._start(leg)

    async def ready(self, pipeline: PipelineId, node: str) -> None:
        """Waits for all that a pipeline's first local step needs on a node."""
        await self._ready[pipeline, node].wait()

    def trained(self, pipeline: PipelineId, node: str | None = None) -> None:
        """Begins to send what waited for a pipeline's last local step, on a node or on all."""
        self._happen(Trained(pipeline, node))

    def fails(self, pipeline: PipelineId) -> None:
        """Begins no more legs for a pipeline, whose group is about to be cancelled."""
        self._groups.pop(pipeline, None)

    def is_ready(self, pipeline: PipelineId, node: str) -> bool:
        """Whether a node has all that a pipeline's first local step needs there."""
        return self._ready[pipeline, node].is_set()

    def nodes(self, pipeline: PipelineId) -> set[str]:
        """The nodes from which, by way of which and to which a pipeline's legs are sent."""
        return set().union(*(self._ends(each) for each in self.legs.arrivals[pipeline]))

    def uses(self, pipeline: PipelineId, node: str) -> bool:
        """Whether anything of a pipeline has still to be sent from, through or to a node."""
        return any(
            each not in self.arrived_ns and node in self._ends(each)
            for each in self.legs.arrivals[pipeline]
        )

    def has_arrived(self, arrival: Arrival) -> bool:
        """Whether a leg has arrived, even if an earlier chunk of its shipment has not."""
        return arrival in self.arrived_ns or arrival in self._early

    def are_left(self, pipeline: PipelineId, phase: Phase) -> bool:
        """Whether any legs of a pipeline's phase have not arrived."""
        return any(
            each not in self.arrived_ns and self.legs.all[each.leg].phase is phase
            for each in self.legs.arrivals[pipeline]
        )

    def close(self, pipeline: PipelineId) -> None:
        """Lets others go on that wait for a pipeline, which has ended or failed."""
        self._groups.pop(pipeline, None)
        self._closed.add(pipeline)
        for arrival in self.legs.arrivals[pipeline]:
            if self._is_over(arrival):
                if sending := self._sending.get(arrival.leg):
                    sending.drop(arrival.node)
                self._happen(arrival)
        nodes = (node for whose, node in self._ready if whose == pipeline)
        for node in (None, *nodes):
            self._happen(Trained(pipeline, node))

    def _wait(self, waiting: _Waiting, what: Sequence[Arrival | Trained]) -> None:
        self._missing[waiting] = len(what)
        for each in what:
            self._waiting.setdefault(each, []).append(waiting)

    def _ends(self, arrival: Arrival) -> tuple[str, ...]:
        leg = self.legs.all[arrival.leg]
        return (leg.src, *leg.relays, arrival.node)

    def _is_shared(self, number: int) -> bool:
        leg = self.legs.all[number]
        return len(leg.pipelines) > 1 or len(leg.receivers) > 1

    def _is_over(self, arrival: Arrival) -> bool:
        """Whether no pipeline is left that needs an arrival."""
        return self._closed.issuperset(self._whose[arrival])

    def _start(self, leg: Leg) -> None:
        if leg.number in self.begun_ns:  # by another of its pipelines
            return
        if self._is_shared(leg.number):
            if not self._closed.issuperset(leg.pipelines):
                self.begun_ns[leg.number] = simulated_loop().now_ns()
                name = f"{leg.shipment}, {leg.src} → {', '.join(leg.receivers)}"
                self.group.create_task(self._send_shared(leg), name=name)
            return
        (pipeline,) = leg.pipelines
        if group := self._groups.get(pipeline):  # else it has not begun, or has failed
            self.begun_ns[leg.number] = simulated_loop().now_ns()
            group.create_task(self._send(leg), name=f"{pipeline}, {' → '.join(leg.route)}")

    async def _send(self, leg: Leg) -> None:
        (pipeline,), (receiver,) = leg.pipelines, leg.receivers
        work = WorkItem(pipeline.cluster, pipeline.index)
        label = TransferLabel(_kind(leg), work, leg.number)
        try:
            await self.site.send(leg.route, leg.size_bytes, label)
        except (TransferFailed, NodeLost):
            self.fails(pipeline)
            raise
        self._arrive(leg, receiver)

    async def _send_shared(self, leg: Leg) -> None:
        receivers = [n for n in leg.receivers if not self._is_over(Arrival(leg.number, n))]
        kind: str = _kind(leg)
        if len(leg.pipelines) == 1:  # else what belongs to which cluster follows from the link
            (pipeline,) = leg.pipelines
            kind = TransferLabel(kind, WorkItem(pipeline.cluster, pipeline.index))
        if not leg.size_bytes:
            for node in receivers:
                self._arrive(leg, node)
            return
        arrived, failed = partial(self._arrive, leg), partial(self._fail, leg)
        send = GroupSend(self.site, leg.src, receivers, leg.size_bytes, kind, arrived, failed)
        self._sending[leg.number] = send
        await send.run()
        del self._sending[leg.number]

    def _arrive(self, leg: Leg, node: str) -> None:
        """Notes an arrival, with those of later chunks that came before it."""
        arrival = Arrival(leg.number, node)
        if leg.chunk and Arrival(leg.number - 1, node) not in self.arrived_ns:
            self._early.add(arrival)
            return
        self.arrived_ns[arrival] = simulated_loop().now_ns()
        self._happen(arrival)
        for pipeline in self._whose[arrival]:
            self._coming[pipeline].arrive()
        following = Arrival(leg.number + 1, node)
        if following in self._early:
            self._early.remove(following)
            self._arrive(self.legs.all[following.leg], node)

    def _fail(self, leg: Leg, node: str, failure: TransferFailed) -> None:
        for pipeline in self._whose[Arrival(leg.number, node)]:
            if pipeline not in self._closed:
                self.fails(pipeline)
                self._coming[pipeline].fail(failure)

    def _happen(self, what: Arrival | Trained) -> None:
        if what in self._happened:
            return
        self._happened.add(what)
        for waiting in self._waiting.get(what, ()):
            self._missing[waiting] -= 1
            if self._missing[waiting]:
                continue
            if isinstance(waiting, int):
                self._start(self.legs.all[waiting])
            else:
                self._ready[waiting].set()


def _kind(leg: Leg) -> TransferKind:
    """How the records call what a leg carries."""
    return TransferKind.MODEL if leg.kind is TransferKind.MODEL else TransferKind.PARAMETERS


@dataclass(slots=True)
class _Coming:
    """How many arrivals of its legs a pipeline still waits for."""

    left: int
    ended: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def wait(self) -> None:
        """Until all has arrived; raises the first failure."""
        await self.ended

    def arrive(self) -> None:
        self.left -= 1
        if not self.left and not self.ended.done():
            self.ended.set_result(None)

    def fail(self, failure: TransferFailed) -> None:
        if not self.ended.done():
            self.ended.set_exception(failure)
