"""Sends the parameters and optimizer states of a round, as the exchange of its plan says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bridge.loop import simulated_loop
from bridge.network import TransferKind
from collapipe_ns3.engine.site import Site, TransferFailed
from collapipe_ns3.exchange import Arrival, Leg, Legs, PipelineId, Trained
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.outcome import TransferLabel, WorkItem


@dataclass(slots=True)
class ExchangeRun:
    """The execution of a round's legs, each as soon as what it waits for has ended.

    A leg is a task in the group of its pipeline, so that it is cut when that fails. What a failed
    pipeline has not sent counts as ended, so that other pipelines do not wait for it. `arrived_ns`
    are the instants of all arrivals.
    """

    site: Site
    legs: Legs
    arrived_ns: dict[Arrival, int] = field(default_factory=dict)
    _groups: dict[PipelineId, asyncio.TaskGroup] = field(default_factory=dict)
    _ended: set[Arrival | Trained] = field(default_factory=set)
    _missing: dict[int, int] = field(default_factory=dict)  # what each leg still waits for
    _followers: dict[Arrival | Trained, list[Leg]] = field(default_factory=dict)
    _may_train: dict[PipelineId, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for pipeline in self.legs.arrivals:
            self._may_train[pipeline] = asyncio.Event()
            for leg in self.legs.of(pipeline):
                self._missing[leg.number] = len(leg.after)
                for what in leg.after:
                    self._followers.setdefault(what, []).append(leg)

    async def broadcast(self, pipeline: PipelineId, group: asyncio.TaskGroup) -> None:
        """Begins to send a pipeline's legs, and waits for all that it needs for its training."""
        self._groups[pipeline] = group
        for leg in self.legs.of(pipeline):
            if not self._missing[leg.number]:
                self._start(leg)
        if self._needs(pipeline):
            await self._may_train[pipeline].wait()

    def trained(self, pipeline: PipelineId) -> None:
        """Begins to send what waited for the end of a pipeline's last local step."""
        self._end(Trained(pipeline))

    def close(self, pipeline: PipelineId) -> None:
        """Lets others go on that wait for a pipeline, which has ended or failed."""
        self._groups.pop(pipeline, None)
        for arrival in self.legs.arrivals[pipeline]:
            self._end(arrival)
        self._end(Trained(pipeline))

    def _needs(self, pipeline: PipelineId) -> list[Arrival]:
        """What a pipeline's training still waits for."""
        needed = self.legs.needed[pipeline, SERVER]  # the same on all nodes
        return [arrival for arrival in needed if arrival not in self._ended]

    def _start(self, leg: Leg) -> None:
        (pipeline,) = leg.pipelines
        if group := self._groups.get(pipeline):  # else it has not begun, or has failed
            group.create_task(self._send(leg), name=f"{pipeline}, {' → '.join(leg.route)}")

    async def _send(self, leg: Leg) -> None:
        kind = TransferKind.MODEL if leg.kind is TransferKind.MODEL else TransferKind.PARAMETERS
        (pipeline,), (receiver,) = leg.pipelines, leg.receivers
        label = TransferLabel(kind, WorkItem(pipeline.cluster, pipeline.index))
        try:
            await self.site.send(leg.route, leg.size_bytes, label)
        except TransferFailed:
            self._groups.pop(pipeline, None)  # which is being cancelled and takes no more tasks
            raise
        arrival = Arrival(leg.number, receiver)
        self.arrived_ns[arrival] = simulated_loop().now_ns()
        self._end(arrival)
        if not self._needs(pipeline):
            self._may_train[pipeline].set()

    def _end(self, what: Arrival | Trained) -> None:
        if what in self._ended:
            return
        self._ended.add(what)
        for leg in self._followers.get(what, ()):
            self._missing[leg.number] -= 1
            if not self._missing[leg.number]:
                self._start(leg)
