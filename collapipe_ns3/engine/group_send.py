"""Sends the same bytes to several nodes at once, until each has them or its link has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bridge.network import Delivery, Transfer
from bridge.payload import Ranges, union
from collapipe_ns3.engine.site import Site, TransferFailed


@dataclass(slots=True)
class GroupSend:
    """One multicast with all of its repetitions.

    Gaps that some receivers have are repeated at once, as their union, by a multicast to these. A
    receiver that got nothing is sent to alone from then on, as the plan's terms say.
    `arrived(node)` is called when a receiver has everything, and `failed(node, failure)` when the
    terms allow no further attempt.
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

    async def run(self) -> None:
        """Returns when every receiver has everything, has failed or was dropped."""
        self._missing = dict.fromkeys(self.receivers, ((0, self.size),))
        async with asyncio.TaskGroup() as group:
            while self._missing:
                sent: Ranges = ()
                for missing in self._missing.values():
                    sent = union(sent, missing)
                ended = self._send(group, sent)
                if ended:
                    await asyncio.wait(ended)

    def drop(self, node: str) -> None:
        """Sends nothing more to a node."""
        self._missing.pop(node, None)
        if task := self._tasks.get(node):
            self._transfers[node].cancel()  # for which the task may not wait yet
            task.cancel()

    def _send(self, group: asyncio.TaskGroup, sent: Ranges) -> list[asyncio.Task[None]]:
        """Sends these parts to all that lack any; tasks that end when each has had its chance."""
        nodes = list(self._missing)
        transfers = self.site.send_to_all(self.src, nodes, _size(sent), self.kind)
        ended = []
        for node, transfer in zip(nodes, transfers, strict=True):
            task = group.create_task(self._receive(group, node, transfer, sent))
            self._tasks[node], self._transfers[node] = task, transfer
            ended.append(task)
        return ended

    async def _receive(
        self, group: asyncio.TaskGroup, node: str, transfer: Transfer, sent: Ranges
    ) -> None:
        delivery = await transfer
        if delivery.outcome not in ("delivered", "partial"):
            size = _size(self._missing.pop(node))
            self._tasks[node] = group.create_task(self._send_alone(delivery, size))
            return
        missing = _common(self._missing[node], _within(sent, delivery.lost))
        self._missing[node] = missing
        if not missing:
            del self._missing[node]
            self.arrived(node)

    async def _send_alone(self, failed: Delivery, size: int) -> None:
        try:
            await self.site.send_again(failed, size, self.kind)
        except TransferFailed as failure:
            self.failed(failed.dst, failure)
        else:
            self.arrived(failed.dst)


def _size(ranges: Ranges) -> int:
    return sum(end - begin for begin, end in ranges)


def _within(sent: Ranges, lost: Ranges) -> list[tuple[int, int]]:
    """Where ranges of a payload lie that consists of these parts, one after another."""
    found, offset = [], 0
    for begin, end in sent:
        for first, last in lost:
            at = max(first - offset + begin, begin), min(last - offset + begin, end)
            if at[0] < at[1]:
                found.append(at)
        offset += end - begin
    return found


def _common(one: Ranges, other: Ranges) -> list[tuple[int, int]]:
    """What is in both of two sets of ranges."""
    pairs = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return [(begin, end) for begin, end in pairs if begin < end]
