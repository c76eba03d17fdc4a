"""Multicasts of which a receiver is dropped."""

from __future__ import annotations

import asyncio

import pytest

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from collapipe_ns3.engine.group_send import GroupSend
from collapipe_ns3.engine.site import Site, TransferFailed


@pytest.mark.parametrize("turns", [1, 2, 5])
@pytest.mark.parametrize("receivers", [["b"], ["b", "c"]])
def test_nothing_is_on_its_way_to_a_node_that_was_dropped(turns: int, receivers: list[str]) -> None:
    """Also where it is dropped before anything has waited for the transfer."""
    network = FixedRateNetwork("abc", Link(8_000_000_000))
    arrived: list[str] = []

    def failed(node: str, failure: TransferFailed) -> None:
        raise AssertionError(node) from failure

    async def drop() -> None:
        send = GroupSend(site, "a", receivers, 1000, "model", arrived.append, failed)
        running = asyncio.create_task(send.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        send.drop("b")
        await running
        assert network.in_flight() == 0

    with TorchThread() as thread:
        site = Site(network, {}, thread)
        simulated.run(network, drop())
    outcomes = {each.dst: each.outcome for each in network.deliveries}
    assert outcomes == {"b": "cut", **dict.fromkeys(receivers[1:], "delivered")}
    assert arrived == receivers[1:]
