"""A watchdog and Ctrl-C need the network to come up for air: when it does so changes nothing."""

import asyncio
import random

import pytest

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import sleep_ns
from bridge.network import Advance


class Interrupted(FixedRateNetwork):
    """Comes back interrupted as often as it can, at any instant before the one asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__(["a", "b", "c"], Link(7_777_777, latency_ns=313))
        self.random = random.Random(seed)
        self.interruptions = 0

    def advance(self, until_ns: int | None) -> Advance:
        if self.random.random() < 0.2:
            return super().advance(until_ns)
        self.interruptions += 1
        if not self._events:
            return "interrupted"
        next_ns = self._events[0][0] if until_ns is None else min(self._events[0][0], until_ns)
        if next_ns > self.now_ns():
            super().advance(self.random.randrange(self.now_ns(), next_ns))
        return "interrupted"


async def protocol(network: FixedRateNetwork) -> list[tuple[int, str]]:
    """Queues, a deadline, transfers and equal times: what happened when."""
    events: list[tuple[int, str]] = []
    inbox: asyncio.Queue[int] = asyncio.Queue()

    async def produce() -> None:
        for size in (1000, 10, 500):
            await network.transfer("a", "b", size)
            inbox.put_nowait(size)
            await sleep_ns(100_000)

    async def consume() -> None:
        for _ in range(3):
            size = await inbox.get()
            events.append((network.now_ns(), f"got {size}"))
            try:
                async with asyncio.timeout(0.0005):
                    await network.transfer("b", "c", size)
                events.append((network.now_ns(), f"passed on {size}"))
            except TimeoutError:
                events.append((network.now_ns(), f"gave up {size}"))

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        group.create_task(consume())
    return events


@pytest.mark.parametrize("seed", range(5))
def test_a_hair_trigger_beat_gives_the_same_events_and_deliveries(seed: int) -> None:
    calm, nervous = FixedRateNetwork("abc", Link(7_777_777, latency_ns=313)), Interrupted(seed)
    expected = simulated.run(calm, protocol(calm))
    assert simulated.run(nervous, protocol(nervous), watchdog_s=60) == expected
    assert nervous.deliveries == calm.deliveries
    assert nervous.interruptions > 5
    assert {event.split()[0] for _, event in expected} == {"got", "passed", "gave"}
