"""A straggler's transfer meets a deadline: `asyncio.timeout` cuts it at the exact nanosecond."""

import asyncio

import pytest

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link


@pytest.mark.parametrize(
    ("deadline_s", "outcome", "end_ns"),
    [
        (0.9, "cut", 900_000_000),
        (1.1, "delivered", 1_000_000_000),
        (1.0, "delivered", 1_000_000_000),  # what the network completes at the deadline is in time
    ],
)
def test_the_deadline_counts_in_simulated_time(
    deadline_s: float, outcome: str, end_ns: int
) -> None:
    network = FixedRateNetwork("ab", Link(rate_bps=8000))

    async def main() -> bool:
        try:
            async with asyncio.timeout(deadline_s):
                await network.transfer("a", "b", 1000)
        except TimeoutError:
            return False
        return True

    assert simulated.run(network, main()) == (outcome == "delivered")
    (delivery,) = network.deliveries
    assert (delivery.outcome, delivery.end_ns) == (outcome, end_ns)
