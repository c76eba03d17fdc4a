"""A pipeline of plain queues on fixed rates takes exactly T = Σ x + (M-1)·max x (theory, §4)."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import simulated_loop, sleep_ns

times_ns = st.integers(0, 5_000_000_000)


async def line(network: FixedRateNetwork, services_ns: list[int], micro_batches: int) -> int:
    """Stage after stage, each a computation and then a transfer; returns the time at the end."""
    inboxes = [asyncio.Queue[int]() for _ in range(len(services_ns) + 1)]
    outboxes = [asyncio.Queue[int]() for _ in services_ns]

    async def compute(stage: int) -> None:
        for _ in range(micro_batches):
            micro_batch = await inboxes[stage].get()
            await sleep_ns(services_ns[stage])
            outboxes[stage].put_nowait(micro_batch)

    async def send(stage: int) -> None:
        for _ in range(micro_batches):
            micro_batch = await outboxes[stage].get()
            await network.transfer(f"s{stage}", f"s{stage + 1}", 1)
            inboxes[stage + 1].put_nowait(micro_batch)

    for micro_batch in range(micro_batches):
        inboxes[0].put_nowait(micro_batch)
    async with asyncio.TaskGroup() as stages:
        for stage in range(len(services_ns)):
            stages.create_task(compute(stage))
            stages.create_task(send(stage))
    assert [inboxes[-1].get_nowait() for _ in range(micro_batches)] == list(range(micro_batches))
    return simulated_loop().now_ns()


@given(
    st.lists(st.tuples(times_ns, st.integers(1, 8_000_000_000)), min_size=1, max_size=6),
    st.integers(1, 9),
)
def test_to_the_nanosecond(stages: list[tuple[int, int]], micro_batches: int) -> None:
    links = {
        (f"s{stage}", f"s{stage + 1}"): Link(rate_bps) for stage, (_, rate_bps) in enumerate(stages)
    }
    network = FixedRateNetwork([f"s{stage}" for stage in range(len(stages) + 1)], None, links)
    services_ns = [service_ns for service_ns, _ in stages]
    hops_ns = [-(-8 * 10**9 // rate_bps) for _, rate_bps in stages]  # one byte each
    every_ns = [*services_ns, *hops_ns]
    expected = sum(every_ns) + (micro_batches - 1) * max(every_ns)
    assert simulated.run(network, line(network, services_ns, micro_batches)) == expected
