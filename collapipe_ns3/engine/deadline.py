"""The deadline of a round: for which pipelines the base station waits no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bridge.loop import simulated_loop
from collapipe_ns3.exchange import PipelineId
from collapipe_ns3.plan import Deadline


async def late_pipelines(
    tasks: Mapping[PipelineId, asyncio.Task[None]], deadline: Deadline | None, begin_ns: int
) -> list[PipelineId]:
    """Waits for the deadline of a round that began at an instant; the pipelines that are late.

    Without a deadline it waits for all. If fewer clusters than the quorum are in by then, it waits
    until as many are. A cluster is in once all of its pipelines have arrived or failed. Returns
    early when all have.
    """
    if not tasks:
        return []
    if deadline is None:
        await asyncio.wait(tasks.values())
        return []
    clusters = len({each.cluster for each in tasks})
    passed_s = (simulated_loop().now_ns() - begin_ns) / 1e9
    timeout_s = max(deadline.after_s - passed_s, 0.0)
    _, left = await asyncio.wait(tasks.values(), timeout=timeout_s)
    while left:
        late = [each for each, task in tasks.items() if task in left]
        if clusters - len({each.cluster for each in late}) >= deadline.needed(clusters):
            return late
        _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    return []
