"""A device drops out in mid-transfer: its task is cancelled, its neighbour told, nobody hangs."""

import asyncio

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import simulated_loop

DROPS_OUT_NS = 1_500


async def round_of_two(network: FixedRateNetwork) -> list[str]:
    log: list[str] = []
    inbox: asyncio.Queue[int | None] = asyncio.Queue()

    async def device() -> None:
        try:
            for micro_batch in range(3):
                await network.transfer("d0", "d1", 1000)
                inbox.put_nowait(micro_batch)
        finally:
            inbox.put_nowait(None)

    async def neighbour() -> None:
        while (micro_batch := await inbox.get()) is not None:
            log.append(f"{network.now_ns()} ns: micro-batch {micro_batch}")
        log.append(f"{network.now_ns()} ns: no more will come")

    async with asyncio.TaskGroup() as group:
        dropping = group.create_task(device())
        group.create_task(neighbour())
        simulated_loop().call_at_ns(DROPS_OUT_NS, dropping.cancel)
    return log


def test_the_neighbour_learns_of_it_at_that_instant() -> None:
    network = FixedRateNetwork(["d0", "d1"], Link(rate_bps=8_000_000_000))
    assert simulated.run(network, round_of_two(network)) == [
        "1000 ns: micro-batch 0",
        "1500 ns: no more will come",
    ]
    assert [delivery.outcome for delivery in network.deliveries] == ["delivered", "cut"]
