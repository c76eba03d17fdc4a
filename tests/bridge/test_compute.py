"""Real computation in step with simulated time."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest
import torch

from bridge import loop as simulated
from bridge.compute import Computed, Processor, TorchThread, duration_ns
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import simulated_loop, sleep_ns


def network() -> FixedRateNetwork:
    return FixedRateNetwork(["a", "b"], Link(rate_bps=8_000_000_000))


def test_a_duration_is_rounded_to_the_nearest_nanosecond() -> None:
    assert duration_ns(flops=3e9, flops_per_s=2e9, overhead_s=0.25) == 1_750_000_000
    assert duration_ns(flops=2, flops_per_s=3e9, overhead_s=0.0) == 1


def test_a_result_is_there_when_its_simulated_time_is_over() -> None:
    async def main() -> Computed[float]:
        with TorchThread() as thread:
            computed = await thread.run(lambda: float(torch.ones(3).sum()), 1_234_567)
            assert computed.result == 3.0
            assert computed.wall_s > 0
            return computed

    computed = simulated.run(network(), main())
    assert (computed.start_ns, computed.end_ns) == (0, 1_234_567)


def test_simulated_time_may_be_ahead_of_torch() -> None:
    released = threading.Event()

    async def main() -> int:
        with TorchThread() as thread:
            computed = await thread.run(lambda: released.wait(60), 1000)
            now_ns = simulated_loop().now_ns()
            released.set()
            assert computed.result
            return now_ns

    assert simulated.run(network(), main()) == 1000


def test_torch_works_while_simulated_time_passes() -> None:
    # The work ends only once simulated time has moved on, so that it would never end if it
    # were done before or after the wait instead of during it.
    half_way = threading.Event()

    async def main() -> bool:
        with TorchThread() as thread:
            simulated_loop().call_at_ns(500, half_way.set)
            computed = await thread.run(lambda: half_way.wait(60), 1000)
            return computed.result

    assert simulated.run(network(), main())


def test_all_work_is_done_in_one_thread_with_one_torch_thread() -> None:
    async def main() -> tuple[int, int]:
        with TorchThread() as thread:
            here = await thread.run(threading.get_ident, 1)
            threads = await thread.run(torch.get_num_threads, 1)
            assert thread.now(threading.get_ident) == here.result
            return here.result, threads.result

    worker, torch_threads = simulated.run(network(), main())
    assert worker != threading.get_ident()
    assert torch_threads == 1


def test_an_error_in_the_work_is_raised_and_the_thread_goes_on() -> None:
    async def main() -> int:
        with TorchThread() as thread:
            failed = await thread.run(lambda: 1 // 0, 10)
            with pytest.raises(ZeroDivisionError):
                print(failed.result)
            return (await thread.run(lambda: 7, 10)).end_ns

    assert simulated.run(network(), main()) == 20


def test_a_cancelled_computation_leaves_the_thread_and_the_processor_free() -> None:
    released = threading.Event()

    async def main() -> Computed[int]:
        with TorchThread() as thread:
            processor = Processor(thread)
            cancelled = asyncio.create_task(processor.run(lambda: released.wait(60), 1000))
            await sleep_ns(300)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            released.set()
            computed = await processor.run(lambda: 7, 50)
            assert computed.result == 7
            return computed

    computed = simulated.run(network(), main())
    assert (computed.start_ns, computed.end_ns) == (300, 350)


def test_work_that_has_begun_is_done_though_cancelled_before_the_thread_came_to_it() -> None:
    busy, done = threading.Event(), []

    async def main() -> list[str]:
        with TorchThread() as thread:
            first = asyncio.create_task(thread.run(lambda: busy.wait(60), 1000))
            second = asyncio.create_task(thread.run(lambda: done.append("second"), 1000))
            await sleep_ns(300)
            second.cancel()
            await asyncio.wait([second])
            busy.set()
            await first
            thread.now(lambda: None)
            return done

    assert simulated.run(network(), main()) == ["second"]


def test_a_processor_computes_one_thing_at_a_time_in_the_order_asked() -> None:
    async def main() -> list[tuple[int, int, int]]:
        with TorchThread() as thread:
            processor, other = Processor(thread), Processor(thread)
            durations_ns = [30, 10, 20]
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(processor.run(partial(int, index), lasting_ns))
                    for index, lasting_ns in enumerate(durations_ns)
                ]
                beside = group.create_task(other.run(lambda: 9, 15))
            done = [task.result() for task in [*tasks, beside]]
            return [(each.result, each.start_ns, each.end_ns) for each in done]

    assert simulated.run(network(), main()) == [(0, 0, 30), (1, 30, 40), (2, 40, 60), (9, 0, 15)]
