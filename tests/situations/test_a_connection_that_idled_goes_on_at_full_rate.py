"""After a pause TCP starts with a lone segment; its late acknowledgement may not stall the rest."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from radio_lab import run, scenario

from ns3_scenarios import network
from ns3_scenarios.readings import RadioDelivery


@pytest.mark.parametrize("pair", [("c0.cu", "c0.d0"), ("c0.cu", "bs"), ("bs", "c0.cu")])
def test_a_transfer_after_a_pause_is_no_slower_than_the_first(pair: tuple[str, str]) -> None:
    with closing(network.build(scenario())) as net:

        async def main() -> list[RadioDelivery]:
            deliveries = []
            for pause_s in (0.0, 0.25, 1.0):
                await asyncio.sleep(pause_s)
                deliveries.append(await net.transfer(*pair, 300_000))
            return deliveries

        first, *later = run(net, main())
    for each in later:
        assert each.retransmissions == 0
        assert each.end_ns - each.start_ns <= first.end_ns - first.start_ns + 40_000_000
