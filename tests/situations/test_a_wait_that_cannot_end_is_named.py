"""Two devices wait for each other's message and neither sends: who, for what, since when."""

import asyncio

import pytest

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import Deadlock


async def receive(inbox: asyncio.Queue[str]) -> str:
    return await inbox.get()


async def both(network: FixedRateNetwork) -> None:
    await network.transfer("a", "b", 1000)
    async with asyncio.TaskGroup() as group:
        group.create_task(receive(asyncio.Queue()), name="device a")
        group.create_task(receive(asyncio.Queue()), name="device b")


def test_it_is_an_error_at_once_that_names_every_task_its_wait_and_the_time() -> None:
    network = FixedRateNetwork(["a", "b"], Link(rate_bps=8000))
    with pytest.raises(Deadlock) as caught:
        simulated.run(network, both(network))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("at simulated time 1.000000000 s, tasks wait and nothing is under")
    assert "task device a: Queue.get in receive, line 13" in lines[2]
    assert "task device b: Queue.get in receive, line 13" in lines[3]
    assert "both, line 18" in lines[1]
