"""A sender changes its mind halfway: the bytes sent so far are recorded, and the link is free."""

import asyncio

import pytest

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import sleep_ns


async def change_of_mind(network: FixedRateNetwork) -> None:
    task = asyncio.create_task(send(network, 100))
    waiting = asyncio.create_task(send(network, 20))
    given_up = asyncio.create_task(send(network, 50))
    await sleep_ns(40)
    task.cancel()
    given_up.cancel()
    await asyncio.wait([task, waiting, given_up])


async def send(network: FixedRateNetwork, size_bytes: int) -> None:
    await network.transfer("a", "b", size_bytes)


def test_the_next_transfer_starts_at_once_and_no_byte_is_forgotten() -> None:
    network = FixedRateNetwork("ab", Link(rate_bps=8_000_000_000))
    simulated.run(network, change_of_mind(network))
    assert [
        f"{one.size_bytes} bytes {one.outcome} at {one.end_ns} ns, missing {list(one.lost)}"
        for one in network.deliveries
    ] == [
        "100 bytes cut at 40 ns, missing [(40, 100)]",
        "50 bytes cut at 40 ns, missing [(0, 50)]",
        "20 bytes delivered at 60 ns, missing []",
    ]
    assert network.in_flight() == 0
    assert network.usage()["a"].tx_airtime_s == pytest.approx(60e-9)
