"""Sends the same bytes to several nodes at once, until each has them or its link has failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bridge.loop import TaskGroup
from bridge.network import Delivery, Transfer
from bridge.payload import Ranges, common, length, union, within
from collapipe_ns3.engine.presence import NodeLost
from collapipe_ns3.engine.site import MOST_IDLE_CUTS, Attempt, Site, TransferFailed, own_kind


@dataclass(slots=True)
class GroupSend:
    """One multicast with all of its repetitions.

    Gaps that some receivers have are repeated at once, as their union, by a multicast to these. A
    receiver that got nothing is sent to alone from then on, as the plan's terms say.
    `arrived(node)` is called when a receiver has everything, and `failed(node, failure)` when the
    terms allow no further attempt. A receiver that is away is dropped.
    """

    site: Site
    src: str
    receivers: Sequence[str]
    size: int
    kind: str
    arrived: Callable[[str], None]
    failed: Callable[[str, TransferFailed], None]
    _missing: dict[str, Ranges] = field(default_factory=dict)  # of those in the group
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _transfers: dict[str, Transfer] = field(default_factory=dict)  # the latest to each
    _idle_cuts: Counter[str] = field(default_factory=Counter)  # in a row, since bytes arrived
    _pause: asyncio.Task[bool] | None = None  # while no receiver can be reached

    async def run(self) -> None:
        """Returns when every receiver has everything, has failed or was dropped."""
        self._missing = dict.fromkeys(self.receivers, ((0, self.size),))
        async with TaskGroup() as group:
            while self._missing:
                nodes = await self._reachable(group)
                sent: Ranges = ()
                for node in nodes:
                    sent = union(sent, self._missing[node])
                ended = self._send(group, nodes, sent) if nodes else []
                if ended:
                    await asyncio.wait(ended)

    def drop(self, node: str) -> None:
        """Sends nothing more to a node."""
        self._missing.pop(node, None)
        if self._pause is not None and not self._missing:
            self._pause.cancel()
        if task := self._tasks.get(node):
            if transfer := self._transfers.get(node):
                transfer.cancel()  # for which the task may not wait yet
            task.cancel()

    async def _reachable(self, group: TaskGroup) -> list[str]:
        """The receivers in the group to which bytes can be sent now.

        Nodes that are away are dropped, as their pipelines fail. Those whose links are out wait
        until the others have been served, or count this as a failed attempt.
        """
        presence = self.site.presence
        if not presence:
            return list(self._missing)
        for node in presence.away(list(self._missing)):
            del self._missing[node]
        if not presence.is_there(self.src):
            self._missing.clear()
        usable = [node for node in self._missing if presence.is_usable(self.src, node)]
        waits = presence.faults.on_outage == "wait"
        if waits and (usable or await self._later(group)):
            return usable
        for node in [each for each in self._missing if each not in usable]:
            size = length(self._missing.pop(node))
            failed = self.site.failed_attempt(self.src, node, size, self.kind)
            self._tasks[node] = group.create_task(self._send_alone(failed, size))
        return usable

    async def _later(self, group: TaskGroup) -> bool:
        """Waits until a receiver can be reached, or all are dropped; False if none ever can be."""
        until = self.site.presence.until_usable(self.src, list(self._missing))
        self._pause = group.create_task(until)
        await asyncio.wait([self._pause])
        return self._pause.cancelled() or self._pause.result()

    def _send(
        self, group: TaskGroup, nodes: Sequence[str], sent: Ranges
    ) -> list[asyncio.Task[None]]:
        """Sends these parts to some nodes; tasks that end when each has had its chance."""
        kind = own_kind(self.kind) if self.site.presence else self.kind
        transfers = self.site.send_to_all(self.src, nodes, length(sent), kind)
        ended = []
        for node, transfer in zip(nodes, transfers, strict=True):
            task = group.create_task(self._receive(group, node, transfer, sent, kind))
            self._tasks[node], self._transfers[node] = task, transfer
            ended.append(task)
        return ended

    async def _receive(
        self,
        group: TaskGroup,
        node: str,
        transfer: Transfer,
        sent: Ranges,
        kind: str,
    ) -> None:
        delivery = await self.site.ended(transfer, self.src, node, kind)
        if not self._goes_on(node, delivery, length(sent)):
            size = length(self._missing.pop(node))
            self._tasks[node] = group.create_task(self._send_alone(delivery, size))
            return
        missing = common(self._missing[node], within(sent, delivery.lost))
        self._missing[node] = missing
        if not missing:
            del self._missing[node]
            self.arrived(node)

    def _goes_on(self, node: str, delivery: Delivery, size: int) -> bool:
        """Whether a node stays in the group after a transfer of this size to it."""
        if delivery.outcome != "cut":
            return delivery.outcome in ("delivered", "partial")
        if length(delivery.lost) < size:
            del self._idle_cuts[node]
        else:
            self._idle_cuts[node] += 1
        waits = self.site.presence.faults.on_outage == "wait"
        return waits and self._idle_cuts[node] < MOST_IDLE_CUTS

    async def _send_alone(self, failed: Delivery | Attempt, size: int) -> None:
        try:
            await self.site.send_again(failed, size, self.kind)
        except TransferFailed as failure:
            self.failed(failed.dst, failure)
        except NodeLost:
            return  # the pipelines that need it fail by themselves
        else:
            self.arrived(failed.dst)
