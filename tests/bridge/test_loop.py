"""asyncio in simulated time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import (
    Deadlock,
    TaskGroup,
    WatchdogExpired,
    simulated_loop,
    sleep_ns,
    sleep_until_ns,
)
from bridge.network import Advance


def quiet() -> FixedRateNetwork:
    return FixedRateNetwork(["a", "b"], Link(rate_bps=8_000_000_000, latency_ns=5))


def test_sleep_takes_simulated_and_no_wall_time() -> None:
    async def main() -> float:
        await asyncio.sleep(86_400 * 3)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert simulated.run(quiet(), main()) == 86_400 * 3
    assert time.monotonic() - began < 60


@given(st.lists(st.integers(0, 4 * 10**15), min_size=1, max_size=20))
def test_timers_fire_to_the_nanosecond_in_order_of_time_then_age(delays_ns: list[int]) -> None:
    fired: list[tuple[int, int]] = []

    async def wait(index: int, delay_ns: int) -> None:
        await sleep_ns(delay_ns)
        fired.append((simulated_loop().now_ns(), index))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for index, delay_ns in enumerate(delays_ns):
                group.create_task(wait(index, delay_ns))

    simulated.run(quiet(), main())
    assert fired == sorted((delay_ns, index) for index, delay_ns in enumerate(delays_ns))


def test_float_delays_of_one_instant_keep_the_order_in_which_they_were_set() -> None:
    # 0.1 + 0.2 is not 0.3 in floats, and is the same instant in nanoseconds.
    fired: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(0.1 + 0.2, fired.append, "set first")
        loop.call_at(0.3, fired.append, "set second")
        await asyncio.sleep(1)

    simulated.run(quiet(), main())
    assert fired == ["set first", "set second"]


def test_a_transfer_is_awaited_and_completes_before_a_timer_of_the_same_instant() -> None:
    order: list[str] = []

    async def send(network: FixedRateNetwork) -> None:
        delivery = await network.transfer("a", "b", 1000)
        order.append(f"delivered at {delivery.end_ns}")

    async def main(network: FixedRateNetwork) -> None:
        asyncio.get_running_loop().call_at(1005e-9, order.append, "timer at 1005")
        await send(network)
        await asyncio.sleep(1)

    network = quiet()
    simulated.run(network, main(network))
    assert order == ["delivered at 1005", "timer at 1005"]


def test_an_error_leaves_no_task_behind() -> None:
    ended: list[str] = []

    async def bystander() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("bystander")

    async def main() -> None:
        task = asyncio.create_task(bystander())
        await asyncio.sleep(1)
        assert not task.done()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        simulated.run(quiet(), main())
    assert ended == ["bystander"]


class Spinning(FixedRateNetwork):
    """A network that always has one more event, as LTE has, and never gets anywhere."""

    def advance(self, until_ns: int | None) -> Advance:
        time.sleep(0.01)
        return "interrupted"


def test_the_watchdog_ends_a_wait_that_goes_on_and_names_the_transfer() -> None:
    network = Spinning(["a", "b"], Link(rate_bps=1000))

    async def main() -> None:
        await network.transfer("a", "b", 17)

    with pytest.raises(WatchdogExpired, match="a → b, 17 bytes"):
        simulated.run(network, main(), watchdog_s=0.05)


def test_waiting_outside_the_loop_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"bridge\.loop\.run"):
        asyncio.run(sleep_ns(1))


def test_a_network_without_events_left_is_a_deadlock() -> None:
    class Mute(FixedRateNetwork):
        def advance(self, until_ns: int | None) -> Advance:
            return "exhausted"

    network = Mute(["a", "b"], Link(rate_bps=1000))

    async def main() -> None:
        await network.transfer("a", "b", 1)

    with pytest.raises(Deadlock, match="no event left"):
        simulated.run(network, main())


def test_nanoseconds_are_told_apart_after_years() -> None:
    # Where floats are seconds they are 60 ns apart here, and asyncio's own timers would stick.
    years_ns = 10 * 366 * 86_400 * 10**9
    woken: list[tuple[str, int]] = []

    async def wake(name: str, when_ns: int) -> None:
        await sleep_until_ns(when_ns)
        woken.append((name, simulated_loop().now_ns() - years_ns))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for name, offset_ns in [("third", 3), ("first", 0), ("second", 1), ("also first", 0)]:
                group.create_task(wake(name, years_ns + offset_ns))

    simulated.run(quiet(), main())
    assert woken == [("first", 0), ("also first", 0), ("second", 1), ("third", 3)]


def test_a_time_gone_by_means_now_and_comes_after_what_was_set_for_now() -> None:
    fired: list[tuple[str, int]] = []

    async def main() -> None:
        loop = simulated_loop()
        await sleep_ns(100)
        loop.call_at_ns(100, lambda: fired.append(("now", loop.now_ns())))
        loop.call_at_ns(40, lambda: fired.append(("gone by", loop.now_ns())))
        await sleep_ns(1)

    simulated.run(quiet(), main())
    assert fired == [("now", 100), ("gone by", 100)]


def test_tasks_that_wait_again_when_cancelled_end_with_the_run_all_the_same() -> None:
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)
                ended.append("stubborn")

    with pytest.raises(Deadlock, match=r"Event\.wait in .*stubborn"):
        simulated.run(quiet(), stubborn())
    assert ended == ["stubborn"]


def test_ctrl_c_ends_a_wait_promptly_and_leaves_no_task_behind() -> None:
    network = Spinning(["a", "b"], Link(rate_bps=1))
    ended: list[str] = []

    async def main() -> None:
        try:
            await network.transfer("a", "b", 17)
        finally:
            ended.append("main")

    threading.Timer(0.05, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        simulated.run(network, main())
    assert ended == ["main"]
    assert [delivery.outcome for delivery in network.deliveries] == ["cut"]


def test_another_thread_can_wake_a_task_while_the_network_runs() -> None:
    network = Spinning(["a", "b"], Link(rate_bps=1))

    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        transfer = network.transfer("a", "b", 1)
        threading.Timer(0.02, loop.call_soon_threadsafe, [answer.set_result, "hello"]).start()
        try:
            return await answer
        finally:
            transfer.cancel()

    assert simulated.run(network, main(), watchdog_s=60) == "hello"


def test_cancelled_timers_are_swept_up() -> None:
    async def main() -> int:
        loop = simulated_loop()
        loop.call_later(3000, list)  # the first of all timers is one that stays
        for _ in range(1000):
            async with asyncio.timeout(3600):
                await sleep_ns(1)
        return len(loop._scheduled)

    assert simulated.run(quiet(), main()) < 500


def test_a_task_group_cancels_its_tasks_in_the_order_in_which_they_were_created() -> None:
    cancelled: list[int] = []

    async def wait(number: int) -> None:
        try:
            await sleep_ns(10_000)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1e-6), TaskGroup() as group:
                for number in range(100):
                    group.create_task(wait(number))

    simulated.run(quiet(), main())
    assert cancelled == list(range(100))
