"""Jammers and background traffic: interference by the gains, at the times of the scenario."""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from radio_lab import node, run, scenario, steady_rate_bps

from ns3_scenarios import network
from ns3_scenarios.checks import problems
from ns3_scenarios.interferers import Background, Interferer, Jammer
from ns3_scenarios.mobility import Trajectory
from ns3_scenarios.readings import RadioDelivery, RadioLinkState
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

S = 1_000_000_000
NOISE_W_HZ = 1.380649e-23 * 290
CU, DEVICE, BS = (0.0, 50.0, 1.5), (0.0, 55.0, 1.5), (0.0, 0.0, 1.5)
JAMMER = (70.0, 40.0, 1.5)


def gain(a: tuple[float, ...], b: tuple[float, ...], at_1_m_db: float) -> float:
    """The tiers' default log-distance law."""
    return float(10 ** (-(at_1_m_db + 30 * math.log10(math.dist(a, b))) / 10))


#: By stack: radios, a link in it, its receiver, its loss at 1 m, noise figure, the band and its
#: bandwidth.
Stack = tuple[dict[str, Any], tuple[str, str], tuple[float, ...], float, float, str, float]
SIDELINK, UP, DOWN = ("c0.cu", "c0.d0"), ("c0.cu", "bs"), ("bs", "c0.cu")
STACKS: dict[str, Stack] = {
    "wifi": ({"d2d": WifiSpec()}, SIDELINK, DEVICE, 46.7, 7.0, "d2d", 80e6),
    "lte up": ({"d2e": LteSpec()}, UP, BS, 38.9, 5.0, "uplink", 18e6),
    "lte down": ({"d2e": LteSpec()}, DOWN, CU, 38.9, 9.0, "downlink", 18e6),
    "ofdma side": ({"d2d": OfdmaSpec()}, SIDELINK, DEVICE, 38.9, 9.0, "d2d", 18e6),
    "sub-band": (
        {"d2d": OfdmaSpec(reuse=2)}, SIDELINK, DEVICE, 38.9, 9.0, "d2d", 18e6),
    "ofdma up": ({"d2e": OfdmaSpec()}, UP, BS, 38.9, 5.0, "uplink", 18e6),
    "ofdma down": ({"d2e": OfdmaSpec()}, DOWN, CU, 38.9, 9.0, "downlink", 18e6),
    "tdd": ({"d2e": OfdmaSpec(duplex="tdd")}, DOWN, CU, 38.9, 9.0, "uplink", 18e6),
    "spectrum": (
        {"d2e": OfdmaSpec(engine="spectrum")}, UP, BS, 38.9, 5.0, "uplink", 18e6),
    "underlay": (
        {"d2d": OfdmaSpec(underlay=True), "d2e": OfdmaSpec()},
        SIDELINK, DEVICE, 38.9, 9.0, "uplink", 18e6),
}  # fmt: skip


def interfered(stack: str, *interferers: Interferer, start_s: float = 0.0) -> ScenarioSpec:
    """A small scenario with this stack and these interferers."""
    return replace(
        scenario(), interferers=interferers, start_ns=round(start_s * S), **STACKS[stack][0]
    )


def measured(spec: ScenarioSpec, link: tuple[str, str], seconds: float = 0.12) -> RadioLinkState:
    """A link's measurements after it has sent for a while."""
    with closing(network.build(spec)) as net:

        async def main() -> None:
            while net.now_ns() < seconds * S:
                await net.transfer(*link, 20_000)

        run(net, main())
        return next(state for state in net.link_state() if (state.src, state.dst) == link)


def db(ratio: float) -> float:
    return 10 * math.log10(ratio)


@pytest.mark.parametrize("stack", STACKS)
def test_a_jammer_is_as_strong_as_its_power_its_gain_and_its_band_say(stack: str) -> None:
    """Its density at the receiver is power × gain / bandwidth."""
    _, link, receiver, at_1_m_db, noise_figure_db, band, bandwidth_hz = STACKS[stack]
    to_receiver = gain(JAMMER, receiver, at_1_m_db)
    noise = NOISE_W_HZ * 10 ** (noise_figure_db / 10)
    watts = 20 * noise * bandwidth_hz / to_receiver
    quiet = measured(interfered(stack), link)
    assert db(quiet.interference_w_hz / noise) == pytest.approx(0.0, abs=0.1)
    jammer = Jammer("jammer", JAMMER, watts, band)  # type: ignore[arg-type]
    loud = measured(interfered(stack, jammer), link)
    expected = noise + watts * to_receiver / bandwidth_hz
    assert db(loud.interference_w_hz / expected) == pytest.approx(0.0, abs=0.1)
    assert loud.gain == pytest.approx(quiet.gain, rel=1e-3, abs=0.0)


@pytest.mark.parametrize("stack", ["ofdma up", "spectrum"])
@pytest.mark.parametrize("period_s", [250e-6, 0.4e-3, 1e-5])
def test_what_is_on_for_a_part_of_the_time_disturbs_by_that_part(
    stack: str, period_s: float
) -> None:
    jammer = Jammer("jammer", JAMMER, 0.02, "uplink", duty_cycle=0.3, period_s=period_s)
    got = measured(interfered(stack, jammer), UP, 0.4).interference_w_hz
    # The share of pulses varies between TTIs, and the average is over about ten of them.
    noise = NOISE_W_HZ * 10**0.5
    whole = 0.02 * gain(JAMMER, BS, 38.9) / 18e6
    assert got == pytest.approx(noise + 0.3 * whole, rel=0.1, abs=0.0)


@pytest.mark.parametrize("stack", ["wifi", "lte up", "ofdma up", "spectrum"])
def test_a_jammer_is_on_when_the_runs_own_time_says(stack: str) -> None:
    """It is switched on during one round, stays on in the next, and is off in a third."""
    _, link, receiver, at_1_m_db, noise_figure_db, band, bandwidth_hz = STACKS[stack]
    noise = NOISE_W_HZ * 10 ** (noise_figure_db / 10)
    watts = 20 * noise * bandwidth_hz / gain(JAMMER, receiver, at_1_m_db)
    jammer = Jammer("jammer", JAMMER, watts, band, on_s=40.0, off_s=50.0)  # type: ignore[arg-type]

    def excess_db(start_s: float, seconds: float) -> float:
        state = measured(interfered(stack, jammer, start_s=start_s), link, seconds)
        return db(state.interference_w_hz / noise)

    assert excess_db(39.8, 0.15) == pytest.approx(0.0, abs=0.2)
    assert excess_db(39.95, 0.6) == pytest.approx(db(21), abs=0.2)
    assert excess_db(44.0, 0.15) == pytest.approx(db(21), abs=0.2)
    assert excess_db(50.0, 0.15) == pytest.approx(0.0, abs=0.2)


def test_a_sub_band_alone_is_jammed_with_all_the_power() -> None:
    jammer = Jammer("jammer", JAMMER, 0.02, channel=0)
    got = measured(interfered("sub-band", jammer), SIDELINK)
    other = measured(interfered("sub-band", replace(jammer, channel=1)), SIDELINK)
    noise = NOISE_W_HZ * 10**0.9
    strength = 0.02 * gain(JAMMER, DEVICE, 38.9) / 9e6
    assert got.interference_w_hz == pytest.approx(noise + strength, rel=0.02, abs=0.0)
    assert other.interference_w_hz == pytest.approx(noise, rel=0.02, abs=0.0)


def everything(engine: str) -> tuple[list[RadioDelivery], list[RadioLinkState]]:
    """The deliveries on a radio with all kinds of interferers, some of which move."""
    ofdma = OfdmaSpec(engine=engine)  # type: ignore[arg-type]
    way = Trajectory(((2.0, 30.0, 20.0, 1.5), (4.0, -40.0, 60.0, 1.5)))
    spec = replace(
        scenario(clusters=2),
        d2d=ofdma,
        d2e=ofdma,
        start_ns=2 * S,
        interferers=(
            Jammer("a", (30.0, 20.0, 1.5), 0.01, "uplink", motion=way),
            Jammer("b", (35.0, 50.0, 1.5), 0.02, "d2d", duty_cycle=0.4, period_s=0.7e-3),
            Jammer("c", (-35.0, 50.0, 1.5), 0.02, "d2d", on_s=2.05, off_s=2.1),
            Background("pair", (60.0, 50.0, 1.5), (70.0, 50.0, 1.5), 0.1, 4e6),
            Background("cell", (200.0, 0.0, 1.5), (260.0, 0.0, 1.5), 0.1, 9e6, band="uplink"),
        ),
    )
    with closing(network.build(spec)) as net:

        async def main() -> list[RadioDelivery]:
            return await asyncio.gather(
                net.transfer("c0.cu", "bs", 150_000),
                net.transfer("c1.cu", "bs", 150_000),
                net.transfer("c0.cu", "c0.d0", 200_000),
                net.transfer("c1.d0", "c1.cu", 200_000),
            )

        return run(net, main()), list(net.link_state())


def test_both_engines_agree_on_interferers_to_the_bit() -> None:
    fast, reference = everything("tti"), everything("spectrum")
    assert fast == reference
    assert {link.src for link in fast[1]} == {"c0.cu", "c1.cu", "c1.d0"}


def test_a_full_cell_of_others_disturbs_by_what_the_gains_say() -> None:
    others = Background("cell", (100.0, 0.0, 1.5), (110.0, 0.0, 1.5), 0.1, 100e6, band="uplink")
    got = measured(interfered("ofdma up", others), UP, 0.4)
    expected = NOISE_W_HZ * 10**0.5 + 0.1 * gain((100.0, 0.0, 1.5), BS, 38.9) / 18e6
    assert got.interference_w_hz == pytest.approx(expected, rel=0.02, abs=0.0)


def test_traffic_of_others_on_the_wifi_channel_slows_the_study_and_elsewhere_does_not() -> None:
    def rate_bps(*interferers: Interferer) -> float:
        return steady_rate_bps(interfered("wifi", *interferers), *SIDELINK, 3_000_000)

    others = Background("others", (10.0, 50.0, 1.5), (15.0, 50.0, 1.5), 0.1, 100e6)
    alone, beside = rate_bps(), rate_bps(others)
    assert beside < 0.75 * alone
    assert rate_bps(replace(others, channel=155)) == pytest.approx(alone, rel=0.02)
    assert rate_bps(replace(others, on_s=1e6)) == pytest.approx(alone, rel=1e-9)


def test_interferers_are_not_in_the_studys_records() -> None:
    spec = interfered(
        "wifi",
        Jammer("jammer", JAMMER, 1e-5),
        Background("others", (10.0, 50.0, 1.5), (15.0, 50.0, 1.5), 0.1, 10e6),
    )
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await asyncio.sleep(0.1)
            await net.transfer(*SIDELINK, 10_000)

        run(net, main())
        names = {node.name for node in spec.nodes}
        assert net.usage().keys() == names
        assert {link.src for link in net.link_state()} <= names


def test_every_problem_of_an_interferer_is_listed_with_its_place() -> None:
    spec = replace(
        scenario(),
        interferers=(
            Jammer("bs", BS, 0.0, "downlink", 3, 0.0, 0.0, 5.0, 5.0),
            Jammer("b", (math.nan, 0.0, 0.0), 1.0, "up", on_s=-1.0),  # type: ignore[arg-type]
            Background("b", CU, (1.0, 2.0, 3.0), 1.0, 0.0, 1473, channel=37),
            Background("c", (5.0, 5.0, 1.0), (6.0, 5.0, 1.0), 1.0, 1e6, band="uplink"),
            Jammer("c.src", (9.0, 9.0, 9.0), 1.0, motion=Trajectory(())),
        ),
    )
    found = problems(spec)
    assert {path for path, _ in found} == {
        "interferers[0].name",
        "interferers[0]",
        "interferers[0].tx_power_w",
        "interferers[0].channel",
        "interferers[0].duty_cycle",
        "interferers[0].period_s",
        "interferers[0].off_s",
        "interferers[1]",
        "interferers[1].band",
        "interferers[1].on_s",
        "interferers[2]",
        "interferers[2].packet_bytes",
        "interferers[2].rate_bps",
        "interferers[2].channel",
        "interferers[3].band",
        "interferers[4].name",
        "interferers[4].motion.corners",
    }
    assert "c0.cu is there" in dict(found)["interferers[2]"]
    assert "one of 42, 58" in dict(found)["interferers[2].channel"]
    lone = replace(scenario(), d2d=OfdmaSpec(reuse=2), interferers=(Jammer("j", JAMMER, 1.0),))
    assert problems(lone) == []
    assert node("x", 1.0, 2.0).motion is None
