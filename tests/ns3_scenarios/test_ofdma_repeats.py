"""Results of the OFDMA radio repeat: in both engines, in any process, however compiled."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from radio_lab import in_another_process, ofdma, run

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network
from ns3_scenarios.scenario import OfdmaSpec

SIDE, UPLINK = ("c0.cu", "c0.d0"), ("c0.cu", "bs")


def test_both_engines_give_the_same_records() -> None:
    assert fingerprint("tti") == fingerprint("spectrum")


def fingerprint(engine: Any = "tti") -> str:
    """The deliveries of a busy co-channel network, with cuts and soundings, as text."""
    d2d = OfdmaSpec(engine=engine, underlay=True)
    spec = replace(ofdma(3, 2, d2d=d2d, engine=engine), seed=7)
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await net.sound([SIDE, UPLINK, ("c1.d1", "c1.cu")])
            pairs = [SIDE, ("c0.d0", "c0.d1"), ("c1.d1", "c1.cu"), UPLINK, ("bs", "c1.cu")] * 2
            transfers = [
                net.transfer(src, dst, 60_000 + 1_000 * number)
                for number, (src, dst) in enumerate(pairs)
            ]
            await asyncio.sleep(0.02)
            transfers[-1].cancel()
            net.apply([LinkPlan(*UPLINK, tx_power_w=0.02, bandwidth_hz=2.2e6)])
            await asyncio.wait(transfers)

        run(net, main())
        return repr((net.deliveries, net.link_state(), dict(net.usage())))


def test_the_same_seed_gives_the_same_deliveries_in_one_process_and_in_two() -> None:
    first = fingerprint()
    assert fingerprint() == first
    assert in_another_process(fingerprint) == first


@pytest.mark.slow
def test_without_a_compiler_cling_gives_the_same_results_to_the_bit() -> None:
    assert in_another_process(fingerprint, CXX="") == fingerprint()
