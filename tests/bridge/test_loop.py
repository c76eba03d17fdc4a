"""asyncio in simulated time."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import Deadlock, WatchdogExpired, simulated_loop, sleep_ns
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
