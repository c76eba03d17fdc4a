"""Real computation, synchronised with simulated time.

A computation is handed to the torch thread when it starts in simulated time, and takes the
simulated time that its caller says. So the network is simulated while torch works on another core,
and simulated time may be ahead of torch until a result is needed.
"""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar

import torch

from bridge.loop import simulated_loop, sleep_ns, sleep_until_ns

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


@dataclass(frozen=True, slots=True)
class Running(Generic[T]):
    """A computation that has started in simulated time."""

    pending: Future[tuple[T, float]]
    start_ns: int

    def ended(self) -> Computed[T]:
        """The same, ended now in simulated time."""
        return Computed(self.pending, self.start_ns, simulated_loop().now_ns())


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
        running = self.start(work)
        await sleep_ns(lasting_ns)
        return running.ended()

    def start(self, work: Callable[[], T]) -> Running[T]:
        """Queues `work` as a computation that starts now in simulated time."""
        return Running(self.later(partial(_timed, work)), simulated_loop().now_ns())

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
    """A node's processor: one computation at a time, first come, first served.

    `end_ns(start_ns, lasting_ns)` says when a computation ends that takes `lasting_ns` on an
    undisturbed processor.
    """

    def __init__(
        self,
        thread: TorchThread,
        end_ns: Callable[[int, int], int] = operator.add,
    ) -> None:
        self._thread = thread
        self._end_ns = end_ns
        self._free = asyncio.Lock()  # asyncio's locks are fair

    async def run(
        self,
        work: Callable[[], T],
        lasting_ns: int,
        on_cut: Callable[[Computed[T]], None] = lambda computed: None,
    ) -> Computed[T]:
        """Runs `work` once all computations requested earlier have ended.

        If the task is cancelled while it runs, `on_cut` is called with it, as it has ended then;
        see `TorchThread.run` for what becomes of the work.
        """
        async with self._free:
            running = self._thread.start(work)
            try:
                await sleep_until_ns(self._end_ns(running.start_ns, lasting_ns))
            except asyncio.CancelledError:
                on_cut(running.ended())
                raise
            return running.ended()
