"""A transfer ends, a deadline strikes and two sleepers wake in one instant: one order, always."""

import asyncio

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import simulated_loop, sleep_ns


async def one_instant(network: FixedRateNetwork) -> list[str]:
    events: list[str] = []
    loop = simulated_loop()
    loop.call_at_ns(1000, lambda: events.append(f"{loop.now_ns()} ns: the deadline strikes"))
    inbox: asyncio.Queue[str] = asyncio.Queue()

    async def sleeper(name: str) -> None:
        await sleep_ns(1000)
        events.append(f"{simulated_loop().now_ns()} ns: {name} wakes")

    async def sender(src: str) -> None:
        await network.transfer(src, "c", 1000)
        events.append(f"{simulated_loop().now_ns()} ns: {src} has sent")
        inbox.put_nowait(src)

    async def forwarder() -> None:
        for _ in range(2):
            src = await inbox.get()
            events.append(f"{simulated_loop().now_ns()} ns: {src}'s message is passed on")

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("first sleeper"))
        group.create_task(sender("a"))
        group.create_task(sleeper("second sleeper"))
        group.create_task(sender("b"))
        group.create_task(forwarder())
    return events


def test_the_network_first_with_all_it_leads_to_then_timers_by_age() -> None:
    network = FixedRateNetwork("abc", Link(rate_bps=8_000_000_000))
    assert simulated.run(network, one_instant(network)) == [
        "1000 ns: a has sent",
        "1000 ns: b has sent",
        "1000 ns: a's message is passed on",
        "1000 ns: b's message is passed on",
        "1000 ns: the deadline strikes",
        "1000 ns: first sleeper wakes",
        "1000 ns: second sleeper wakes",
    ]
