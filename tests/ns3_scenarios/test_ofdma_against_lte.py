"""The OFDMA uplink compared to ns-3's LTE uplink: same blocks, power, positions and TCP."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace

import pytest
from radio_lab import run, scenario

from ns3_scenarios import network, runtime
from ns3_scenarios.numerology import BLOCK_HZ, TTI_S
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import LteSpec, OfdmaSpec

UPLINK = ("c0.cu", "bs")
BLOCKS = 100


def uplink(d2e: LteSpec | OfdmaSpec, distance_m: float) -> tuple[float, float]:
    """Goodput in bit/s once the window is open, and SINR in dB over the whole band."""
    spec = replace(scenario(cu_distance_m=distance_m), d2d=OfdmaSpec(), d2e=d2e)
    with closing(network.build(spec)) as net:

        async def main() -> list[RadioDelivery]:
            return [await net.transfer(*UPLINK, size) for size in (1_000_000, 4_000_000)]

        _, delivery = run(net, main())
        (state,) = [link for link in net.link_state() if (link.src, link.dst) == UPLINK]
    assert delivery.outcome == "delivered"
    rate = 8e9 * delivery.size_bytes / (delivery.end_ns - delivery.start_ns)
    sinr = state.tx_power_w * state.gain / (BLOCKS * BLOCK_HZ * state.interference_w_hz)
    return rate, 10 * math.log10(sinr)


def lte_choice_bps(sinr_db: float) -> float:
    """The rate that ns-3's LTE schedulers choose.

    It has a gap of ln(5·BER)/1.5 with BER 5e-5 to Shannon's bound (Piro et al., European Wireless
    2010), and is rounded down to one of 15 CQIs.
    """
    amc = runtime.load().LteAmc()
    gap = -math.log(5 * 0.00005) / 1.5
    efficiency = math.log2(1 + 10 ** (sinr_db / 10) / gap)
    mcs = amc.GetMcsFromCqi(amc.GetCqiFromSpectralEfficiency(efficiency))
    return 1e3 * float(amc.GetUlTbSizeFromMcs(mcs, BLOCKS))


def ofdma_choice_bps(sinr_db: float) -> float:
    """The rate of the best code if a tenth of the blocks fail, and are sent twice."""
    codes = runtime.native().OfdmaCodes(0.1, TTI_S)
    mcs = codes.BestMcs(sinr_db, 20)
    full = 1e3 * 8 * float(codes.Payload(mcs, 20)) * BLOCKS / 20
    return full if codes.ThresholdDb(28, 20) + 1 < sinr_db else 0.9 * full


@pytest.mark.parametrize("distance_m", [40.0, 60.0])
def test_where_both_use_their_best_code_they_are_as_fast(distance_m: float) -> None:
    lte_bps, lte_sinr_db = uplink(LteSpec(), distance_m)
    ofdma_bps, ofdma_sinr_db = uplink(OfdmaSpec(transport="tcp"), distance_m)
    assert ofdma_sinr_db == pytest.approx(lte_sinr_db, abs=0.5)
    assert ofdma_bps == pytest.approx(lte_bps, rel=0.1)


@pytest.mark.parametrize("distance_m", [100.0, 140.0, 200.0])
def test_where_sinr_is_short_they_differ_by_what_link_adaptation_chooses(
    distance_m: float,
) -> None:
    """LTE's schedulers aim at no errors, the outer loop at a tenth; everything else is equal."""
    lte_bps, lte_sinr_db = uplink(LteSpec(), distance_m)
    ofdma_bps, ofdma_sinr_db = uplink(OfdmaSpec(transport="tcp"), distance_m)
    assert ofdma_sinr_db == pytest.approx(lte_sinr_db, abs=0.5)
    chosen = ofdma_choice_bps(ofdma_sinr_db) / lte_choice_bps(lte_sinr_db)
    assert ofdma_bps / lte_bps == pytest.approx(chosen, rel=0.1)
    assert ofdma_bps > lte_bps
