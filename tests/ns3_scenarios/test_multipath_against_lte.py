"""What a delay line costs in goodput, on OFDMA and on ns3::LteHelper's downlink.

LTE fades by ns3::TraceFadingLossModel, with a trace of the fading that OFDMA's downlink has. Its
scheduler is ns3::RrFfMacScheduler, whose code follows the quality of the whole band as terminals
report it.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multipath_lab import Multipath as Lab
from multipath_lab import gains, rows
from radio_lab import run, scenario

from ns3_scenarios import network, runtime
from ns3_scenarios.channel import Multipath
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import LteSpec, OfdmaSpec

DOWNLINK = ("bs", "c0.cu")
BLOCKS = 25
CENTRE_HZ = 2.29e9  # of OFDMA's downlink: 190 MHz above its uplink
SIMULATED_S, ADAPTED_S = 10, 2
TRACE_S = SIMULATED_S + 2
SCHEDULER = {"ns3::LteHelper::Scheduler": "ns3::RrFfMacScheduler"}


def write_trace(fading: Multipath, distance_m: float, path: Path) -> None:
    """The fading that the OFDMA downlink has in the first seconds, in dB by block and ms."""
    runtime.reset(1, 1)
    lab = Lab(fading.profile, fading.delay_spread_s, fading.doppler_hz, CENTRE_HZ, BLOCKS)
    drawn = lab.draw(f"d2e multipath bs c0.cu {CENTRE_HZ:.0f}")
    count = TRACE_S * 1000
    time_s = np.arange(count) * 1e-3 + 1e-9
    power = gains(drawn, rows(count, a=(0.0, 0.0), b=(0.0, distance_m), time_s=time_s), BLOCKS)
    np.savetxt(path, 10 * np.log10(power.T), fmt="%.3f")


def add_trace(path: Path) -> None:
    """Makes the downlink of the LTE network that was built last fade by a trace."""
    ns = runtime.load()
    model = runtime.make(
        "ns3::TraceFadingLossModel",
        TraceFilename=str(path),
        TraceLength=f"{TRACE_S}s",
        SamplesNum=TRACE_S * 1000,
        WindowSize=f"{TRACE_S - 0.002}s",  # all of it, so that it starts at its beginning
        RbNum=BLOCKS,
    ).GetObject[ns.SpectrumPropagationLossModel]()
    model.Initialize()
    nodes = (ns.NodeList.GetNode(n) for n in range(ns.NodeList.GetNNodes()))
    devices = (node.GetDevice(k) for node in nodes for k in range(node.GetNDevices()))
    (station,) = (d for d in devices if d.GetInstanceTypeId().GetName() == "ns3::LteEnbNetDevice")
    phy = station.GetObject[ns.LteEnbNetDevice]().GetPhy()
    phy.GetDownlinkSpectrumPhy().GetChannel().AddSpectrumPropagationLossModel(model)


def goodput(d2e: LteSpec | OfdmaSpec, distance_m: float, trace: Path | None = None) -> float:
    """Bit/s of a saturated downlink, once link adaptation and TCP have adapted."""
    spec = replace(scenario(cu_distance_m=distance_m), d2d=OfdmaSpec(), d2e=d2e)
    if isinstance(d2e, LteSpec):
        spec = replace(spec, ns3_defaults=SCHEDULER)
    with closing(network.build(spec, tried=True)) as net:
        if trace is not None:
            add_trace(trace)
        done: list[RadioDelivery] = []

        async def flow() -> None:
            while True:
                done.append(await net.transfer(*DOWNLINK, 200_000))

        async def main() -> None:
            flows = [asyncio.create_task(flow()) for _ in range(3)]
            await asyncio.sleep(SIMULATED_S)
            for each in flows:
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each

        run(net, main())
    late = [d for d in done if d.end_ns > ADAPTED_S * 1e9 and d.outcome == "delivered"]
    return 8e9 * sum(d.size_bytes for d in late) / (late[-1].end_ns - ADAPTED_S * 1e9)


def goodputs(
    fading: Multipath, transport: Any, distance_m: float, folder: Path
) -> dict[str, tuple[float, float]]:
    """Flat and with fading, for each radio."""
    write_trace(fading, distance_m, folder / "trace.fad")
    lte = LteSpec(bandwidth_hz=5e6)
    flat = OfdmaSpec(bandwidth_hz=BLOCKS * BLOCK_HZ, transport=transport)
    faded = replace(flat, propagation=replace(flat.propagation, fading=fading))
    return {
        "lte": (goodput(lte, distance_m), goodput(lte, distance_m, folder / "trace.fad")),
        "ofdma": (goodput(flat, distance_m), goodput(faded, distance_m)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["direct", "tcp"])
@pytest.mark.parametrize("doppler_hz", [5.0, 20.0])
def test_a_delay_line_costs_as_large_a_share_of_the_goodput_as_on_lte(
    doppler_hz: float, transport: str, tmp_path: Path
) -> None:
    """At a mean SINR of 19 dB."""
    found = goodputs(Multipath("tdl-a", 100e-9, doppler_hz), transport, 220.0, tmp_path)
    lte, ofdma = (found[name][1] / found[name][0] for name in ("lte", "ofdma"))
    assert lte < 0.85  # it does cost something
    assert ofdma == pytest.approx(lte, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("doppler_hz", [5.0, 20.0])
def test_with_a_delay_line_both_are_as_fast_where_codes_are_short(
    doppler_hz: float, tmp_path: Path
) -> None:
    """At 11.5 dB, where LTE's 15 CQIs cost a sixth of the goodput over a flat channel."""
    found = goodputs(Multipath("tdl-a", 100e-9, doppler_hz), "tcp", 400.0, tmp_path)
    assert found["ofdma"][1] == pytest.approx(found["lte"][1], rel=0.1)
    assert found["lte"][0] / found["ofdma"][0] == pytest.approx(0.84, abs=0.04)
