"""Real computation, synchronised with simulated time.

A computation is handed to the torch thread when it starts in simulated time, and takes the
simulated time that its caller says. So the network is simulated while torch works on another core,
and simulated time may be ahead of torch until a result is needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch

from bridge.loop import simulated_loop, sleep_ns

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Computed(Generic[T]):
    """A computation that has ended in simulated time, which torch may not have completed yet.

    `result` and the wall time `wall_s` wait for torch, and raise what the work raised.
    """

    pending: Future[tuple[T, float]]
    start_ns: int
    end_ns: int

    @property
    def result(self) -> T:
        return self.pending.result()[0]

    @property
    def wall_s(self) -> float:
        return self.pending.result()[1]


def duration_ns(flops: float, flops_per_s: float, overhead_s: float) -> int:
    """Simulated time of a computation in ns: overhead_s + flops / flops_per_s, rounded."""
    return round((overhead_s + flops / flops_per_s) * 1e9)


class TorchThread:
    """The thread in which all tensors are computed, in the order of simulated start.

    torch itself uses a single thread within it, so that sums are always formed in the same order
    and a run can be repeated bit for bit. Use as a context manager.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(
            1, thread_name_prefix="torch", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def run(self, work: Callable[[], T], lasting_ns: int) -> Computed[T]:
        """Runs `work`, which takes `lasting_ns` of simulated time.

        Work that has started in simulated time is completed even if its task is cancelled: how far
        the thread has come by then depends on wall time, which must not change a result.
        """
        loop = simulated_loop()
        start_ns = loop.now_ns()
        pending = self.later(partial(_timed, work))
        await sleep_ns(lasting_ns)
        return Computed(pending, start_ns, loop.now_ns())

    def later(self, work: Callable[[], T]) -> Future[T]:
        """Queues `work` in the torch thread, without waiting for it.

        All work queued after it runs once it has ended.
        """
        return self._executor.submit(work)

    def now(self, work: Callable[[], T]) -> T:
        """Runs `work` in the torch thread and waits for it, in no simulated time."""
        return self.later(work).result()


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


class Processor:
    """A node's processor: one computation at a time, first come, first served."""

    def __init__(self, thread: TorchThread) -> None:
        self._thread = thread
        self._free = asyncio.Lock()  # asyncio's locks are fair

    async def run(self, work: Callable[[], T], lasting_ns: int) -> Computed[T]:
        """`TorchThread.run`, once all computations requested earlier have ended."""
        async with self._free:
            return await self._thread.run(work, lasting_ns)
