"""Fading over time and frequency on the OFDMA radio: what it receives, and over episodes."""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from multipath_lab import Floats, gains, rows
from ofdma_lab import BOLTZMANN, KELVIN, Lab, Node, loss_db
from radio_lab import run, scenario

from ns3_scenarios import network
from ns3_scenarios.channel import Channel, Fading, Multipath
from ns3_scenarios.mobility import RandomWaypoint
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.scenario import OfdmaSpec, ScenarioSpec

BLOCKS = 40  # two transport blocks
MUCH = 10**8
TAPPED = {"Profile": "tdl-c", "DelaySpread": 200e-9, "Doppler": 12.0}


def sinrs_by_tti(lab: Lab) -> dict[int, Floats]:
    """SINRs on all blocks by the start of the TTI in ns, where a link used all of them."""
    found: dict[int, list[Floats]] = {}
    sinr, at = lab.sinr, 0
    for block in lab.blocks:
        found.setdefault(block.ns - 1_000_000, []).append(sinr[at : at + block.blocks])
        at += block.blocks
    whole = {ns: np.concatenate(parts) for ns, parts in found.items()}
    return {ns: values for ns, values in whole.items() if len(values) == BLOCKS}


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_each_block_is_received_with_the_gain_of_its_frequency_in_its_tti(engine: str) -> None:
    node = Node(50.0, 3.0, vx=30.0, vy=-8.0, watts=0.01)
    lab = Lab(
        [Node(0.0), node],
        [(0, 0, 1, 0)],
        bands=(BLOCKS,),
        engine=engine,
        attributes={"GainUpdatePeriod": "0ns"},
        multipath=TAPPED,
    )
    with closing(lab):
        lab.send(0, MUCH)
        lab.run(0.06)
        found = sinrs_by_tti(lab)
        fading = lab.channel.Multipath(*lab.places, 2e9, BLOCKS)
        time_s = np.array(list(found)) * 1e-9
        x, y = node.x + node.vx * time_s, node.y + node.vy * time_s
        power = gains(fading, rows(len(time_s), b=(x, y), time_s=time_s + 1e-10), BLOCKS)
        distance_m = np.hypot(x, y)
    flat = 10 ** (-np.array([loss_db(d) for d in distance_m]) / 10)
    noise = BOLTZMANN * KELVIN * 10**0.5
    density = node.watts / (BLOCKS * BLOCK_HZ)
    expected = density / noise * flat[:, None] * power
    assert len(found) >= 50
    assert np.allclose(np.array(list(found.values())), expected, rtol=1e-9, atol=0.0)
    assert expected.std(axis=1).min() > 0  # it differs over blocks


def test_directions_in_one_band_fade_alike_and_bands_of_their_own_do_not() -> None:
    links = [(0, 0, 0, 1), (0, 0, 1, 0), (1, 0, 0, 1)]
    lab = Lab([Node(0.0), Node(50.0)], links, bands=(BLOCKS, BLOCKS), multipath=TAPPED)
    with closing(lab):
        first, second = lab.places
        there = lab.channel.Multipath(first, second, 2e9, BLOCKS)
        back = lab.channel.Multipath(second, first, 2e9, BLOCKS)
        other = lab.channel.Multipath(first, second, 2.2e9, BLOCKS)
        assert lab.channel.IsFirst(first, second)
        assert not lab.channel.IsFirst(second, first)
        here = rows(1, b=(50.0, 0.0))
        assert np.array_equal(gains(there, here, BLOCKS), gains(back, here, BLOCKS))
        assert not np.isclose(gains(there, here, BLOCKS), gains(other, here, BLOCKS)).any()


def test_open_loop_power_compensates_path_loss_and_not_fading() -> None:
    lab = Lab([Node(0.0), Node(50.0)], [(0, 0, 1, 0)], bands=(BLOCKS,), multipath=TAPPED)
    with closing(lab):
        lab.of[0].openLoop.p0, lab.of[0].openLoop.alpha = 1e-13, 1.0
        lab.send(0, 200_000)
        lab.run(0.05)
        per_block = lab.allocated[:, 3] / lab.allocated[:, 2]
    assert per_block == pytest.approx(1e-13 * 10 ** (loss_db(50.0) / 10))


def test_link_adaptation_keeps_its_error_rate_while_the_channel_changes() -> None:
    """First transmissions fail at the outer loop's target, 10 %, at a pedestrian's Doppler."""
    lab = Lab(
        [Node(0.0), Node(120.0, watts=0.05)],
        [(0, 0, 1, 0)],
        bands=(BLOCKS,),
        multipath={**TAPPED, "Doppler": 5.0},
    )
    with closing(lab):
        lab.send(0, 10**9)
        lab.run(10.0)
        first = [block for block in lab.blocks if block.transmissions == 1 and block.ns > 2e9]
    # Between the lowest and the highest code, beyond which errors can't be traded for rate.
    assert np.mean([0 < block.mcs < 28 for block in first]) > 0.95
    assert np.mean([not block.arrived for block in first]) == pytest.approx(0.1, abs=0.02)


WALK = RandomWaypoint(radius_m=20.0, speed_m_s=(2.0, 4.0), pause_s=(0.0, 0.0))
FADINGS = (Multipath("clarke", doppler_hz=3.0), Multipath("tdl-a", 100e-9, 7.0))


def faded(fading: Multipath | Fading, moves: bool, **changes: Any) -> ScenarioSpec:
    """A cluster whose control unit moves or not, over channels with this fading."""
    plain = scenario(clusters=1, devices=2, cu_distance_m=40.0)
    cluster = plain.clusters[0]
    if moves:
        cluster = replace(cluster, cu=replace(cluster.cu, motion=WALK))
    radio = OfdmaSpec(propagation=Channel("umi", fading=fading))
    return replace(plain, clusters=(cluster,), d2d=radio, d2e=radio, **changes)


def gain_at(spec: ScenarioSpec, seconds: float, src: str = "c0.cu", dst: str = "bs") -> float:
    """The gain that a sounding after some time of an episode measures."""
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await asyncio.sleep(seconds)
            await net.sound([(src, dst)])

        run(net, main())
        return next(link.gain for link in net.link_state() if (link.src, link.dst) == (src, dst))


@pytest.mark.parametrize("fading", FADINGS)
@pytest.mark.parametrize("moves", [False, True])
def test_episodes_join_and_any_can_be_had_alone(fading: Multipath, moves: bool) -> None:
    """The same time of the run in an earlier episode, in a later one, and in one of another run."""
    spec = faded(fading, moves)
    whole = gain_at(spec, 1.25)
    assert gain_at(replace(spec, start_ns=1_250_000_000, run=7), 0.0) == whole
    assert gain_at(replace(spec, start_ns=1_000_000_000, run=3), 0.25) == whole
    assert gain_at(spec, 1.0) != pytest.approx(whole, rel=1e-3, abs=0.0)
    assert gain_at(replace(spec, lasting_run=2), 1.25) != pytest.approx(whole, rel=1e-3, abs=0.0)


def test_uplink_and_downlink_fade_by_themselves_with_two_bands_and_alike_with_one() -> None:
    for duplex in ("fdd", "tdd"):
        spec = faded(FADINGS[0], moves=False)
        spec = replace(spec, d2e=replace(spec.d2e, duplex=duplex))
        up, down = gain_at(spec, 0.5), gain_at(spec, 0.5, "bs", "c0.cu")
        assert math.isclose(up, down, rel_tol=1e-9) == (duplex == "tdd")


def test_the_mean_over_time_is_the_gain_without_fading() -> None:
    """Of the power in a band, over 200 s with a Doppler shift of 7 Hz."""
    spec = faded(FADINGS[1], moves=False)
    plain = replace(spec, d2e=replace(spec.d2e, propagation=Channel("umi")))
    alone = gain_at(plain, 0.0)
    with closing(network.build(spec)) as net:

        async def main() -> list[float]:
            found = []
            for _ in range(400):
                await asyncio.sleep(0.5)
                await net.sound([("c0.cu", "bs")])
                found.append(next(x.gain for x in net.link_state() if x.dst == "bs"))
            return found

        smoothed = run(net, main())  # by the radio's moving average, whose mean is the same
    assert np.mean(smoothed) / alone == pytest.approx(1.0, abs=0.1)
