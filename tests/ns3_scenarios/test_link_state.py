"""The radios' measurements of their links, against the loss law and thermal noise."""

from __future__ import annotations

import asyncio
import itertools
import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from radio_lab import arrived, carry, run, scenario

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network
from ns3_scenarios.channel import Channel
from ns3_scenarios.interferers import Jammer
from ns3_scenarios.network import Ns3Network
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.readings import RadioLinkState
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

WIFI, UPLINK, DOWNLINK = ("c0.cu", "c0.d0"), ("c0.cu", "bs"), ("bs", "c0.cu")
PAIRS = (WIFI, UPLINK, DOWNLINK)
BOLTZMANN = 1.380649e-23
KELVIN = 290.0


def measured(net: Ns3Network) -> dict[tuple[str, str], RadioLinkState]:
    return {(link.src, link.dst): link for link in net.link_state()}


def sound(net: Ns3Network) -> dict[tuple[str, str], RadioLinkState]:
    run(net, net.sound(PAIRS))
    return measured(net)


@pytest.mark.parametrize("pair", PAIRS)
def test_half_the_power_is_three_decibels_less_sinr(pair: tuple[str, str]) -> None:
    with closing(network.build(scenario(cu_distance_m=120.0, device_distance_m=30.0))) as net:
        before = sound(net)[pair]
        net.apply([LinkPlan(*pair, tx_power_w=before.tx_power_w / 2, bandwidth_hz=None)])
        after = sound(net)[pair]
    assert after.tx_power_w == pytest.approx(before.tx_power_w / 2)
    fall_db = 10 * math.log10(before.sinr / after.sinr)
    assert fall_db == pytest.approx(3.01, abs=0.05)
    assert after.gain == pytest.approx(before.gain, rel=0.01, abs=0)


def test_gain_and_noise_are_those_of_the_loss_law_and_the_receiver() -> None:
    spec = scenario()
    with closing(network.build(spec)) as net:
        links = sound(net)
    # ns-3's noise figures: Wi-Fi 7 dB, LTE terminals 9 dB, base stations 5 dB.
    for pair, distance_m, loss_at_1_m_db, noise_figure_db in (
        (WIFI, 5.0, 46.7, 7.0),
        (UPLINK, 50.0, 38.9, 5.0),
        (DOWNLINK, 50.0, 38.9, 9.0),
    ):
        link = links[pair]
        loss_db = loss_at_1_m_db + 30 * math.log10(distance_m)
        assert -10 * math.log10(link.gain) == pytest.approx(loss_db, abs=0.05)
        noise = BOLTZMANN * KELVIN * 10 ** (noise_figure_db / 10)
        assert link.interference_w_hz == pytest.approx(noise, rel=0.01, abs=0)


@dataclass(frozen=True)
class Stack:
    """A radio with antennas and noise figures, a link over it, and its expected values."""

    radios: dict[str, Any]
    link: tuple[str, str]
    distance_m: float
    loss_at_1_m_db: float
    antennas_db: float
    noise_figure_db: float
    bandwidth_hz: float
    jammed: str

    def scenario(self, *interferers: Jammer) -> ScenarioSpec:
        return replace(scenario(), interferers=interferers, **self.radios)


DEVICE = {"noise_figure_db": 6.0, "antenna_gain_db": 2.0}
STATION = {"station_noise_figure_db": 3.0, "station_antenna_gain_db": 8.0}
STACKS = {
    "wifi": Stack({"d2d": WifiSpec(**DEVICE)}, WIFI, 5.0, 46.7, 4.0, 6.0, 80e6, "d2d"),
    "side": Stack({"d2d": OfdmaSpec(**DEVICE)}, WIFI, 5.0, 38.9, 4.0, 6.0, 18e6, "d2d"),
    "lte up": Stack(
        {"d2e": LteSpec(**DEVICE, **STATION)}, UPLINK, 50.0, 38.9, 10.0, 3.0, 18e6, "uplink"
    ),
    "lte down": Stack(
        {"d2e": LteSpec(**DEVICE, **STATION)}, DOWNLINK, 50.0, 38.9, 10.0, 6.0, 18e6, "downlink"
    ),
    "ofdma up": Stack(
        {"d2e": OfdmaSpec(**DEVICE, **STATION)}, UPLINK, 50.0, 38.9, 10.0, 3.0, 18e6, "uplink"
    ),
    "ofdma down": Stack(
        {"d2e": OfdmaSpec(engine="spectrum", **DEVICE, **STATION)},
        DOWNLINK, 50.0, 38.9, 10.0, 6.0, 18e6, "downlink",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("by_data", [False, True])
def test_every_radio_measures_the_same_things_in_the_same_units(name: str, by_data: bool) -> None:
    """The loss law with antennas, kT·F, and SINR as p·g/(b·n); by sounding and by data alike."""
    stack = STACKS[name]
    with closing(network.build(stack.scenario())) as net:

        async def main() -> None:
            if by_data:
                await net.transfer(*stack.link, 400_000)
            else:
                await net.sound([stack.link])
            await asyncio.sleep(0.5)

        run(net, main())
        link = measured(net)[stack.link]
    loss_db = stack.loss_at_1_m_db + 30 * math.log10(stack.distance_m) - stack.antennas_db
    assert -10 * math.log10(link.gain) == pytest.approx(loss_db, abs=0.1)
    noise = BOLTZMANN * KELVIN * 10 ** (stack.noise_figure_db / 10)
    assert 10 * math.log10(link.interference_w_hz / noise) == pytest.approx(0.0, abs=0.1)
    hertz = link.tx_power_w * link.gain / (link.sinr * link.interference_w_hz)
    assert BLOCK_HZ * 0.99 <= hertz <= stack.bandwidth_hz * 1.01
    if not by_data:
        assert hertz == pytest.approx(stack.bandwidth_hz, rel=0.01)
        assert link.tx_power_w == pytest.approx(1.0 if stack.link == DOWNLINK else 0.1)
    # LTE sends signals all the time; the others measured nothing for half a second.
    assert link.age_s < 0.02 if name.startswith("lte") else 0.45 < link.age_s <= 0.6


@pytest.mark.parametrize("name", STACKS)
def test_goodput_and_loss_are_those_of_what_was_carried(name: str) -> None:
    stack = STACKS[name]
    with closing(network.build(stack.scenario())) as net:

        async def main() -> None:
            for _ in range(3):
                await net.transfer(*stack.link, 150_000)
                await asyncio.sleep(0.1)

        run(net, main())
        link = measured(net)[stack.link]
        busy_s = sum(d.end_ns - d.start_ns for d in net.deliveries) * 1e-9
        carried = sum(arrived(delivery) for delivery in net.deliveries)
    assert link.goodput_bps == pytest.approx(8 * carried / busy_s)
    assert link.loss == 0.0


@pytest.mark.parametrize("name", STACKS)
def test_within_an_episode_measurements_are_averaged(name: str) -> None:
    """A jammer that is switched on appears gradually, and in the end with its true power."""
    stack = STACKS[name]
    receiver_m = math.dist((70.0, 40.0), {"bs": (0, 0), "c0.cu": (0, 50), "c0.d0": (0, 55)}[
        stack.link[1]
    ])  # fmt: skip
    antenna_db = stack.antennas_db / 2 if stack.jammed == "d2d" else (8.0 if "up" in name else 2.0)
    gain = 10 ** ((antenna_db - stack.loss_at_1_m_db - 30 * math.log10(receiver_m)) / 10)
    noise = BOLTZMANN * KELVIN * 10 ** (stack.noise_figure_db / 10)
    watts = 9 * noise * stack.bandwidth_hz / gain
    jammer = Jammer("jammer", (70.0, 40.0, 1.5), watts, stack.jammed, on_s=0.1)  # type: ignore[arg-type]
    seen = []
    with closing(network.build(stack.scenario(jammer))) as net:

        async def main() -> None:
            while net.now_ns() < 500_000_000:
                await net.transfer(*stack.link, 4_000)
                seen.append(measured(net)[stack.link].interference_w_hz / noise)

        run(net, main())
    assert seen[0] == pytest.approx(1.0, rel=0.02)
    assert seen[-1] == pytest.approx(10.0, rel=0.02)
    assert sum(2.0 < level < 9.5 for level in seen) >= 2
    rising = [after >= before * (1 - 1e-9) for before, after in itertools.pairwise(seen)]
    assert all(rising)


def test_sounding_is_recorded_as_transfers_and_nothing_is_known_before() -> None:
    with closing(network.build(scenario())) as net:
        assert WIFI not in measured(net)
        run(net, net.sound([WIFI]))
        assert WIFI in measured(net)
        assert [delivery.kind for delivery in net.deliveries] == ["sounding"]
        assert net.now_ns() > 0


def test_a_power_that_the_device_does_not_have_is_refused_and_changes_nothing() -> None:
    with closing(network.build(scenario())) as net:
        good = LinkPlan(*UPLINK, tx_power_w=0.05, bandwidth_hz=None)
        for bad, says in (
            (LinkPlan(*WIFI, tx_power_w=0.2, bandwidth_hz=None), "up to 0.1 W"),
            (LinkPlan(*WIFI, tx_power_w=0.0, bandwidth_hz=None), "above 0"),
            (LinkPlan(*WIFI, tx_power_w=math.nan, bandwidth_hz=None), "above 0"),
            (LinkPlan(*WIFI, tx_power_w=None, bandwidth_hz=1e6), "leave the bandwidth out"),
            (LinkPlan("c0.d0", "bs", tx_power_w=0.1, bandwidth_hz=None), "share no radio"),
            (LinkPlan("c0.cu", "c9.d0", tx_power_w=0.1, bandwidth_hz=None), "c9.d0"),
        ):
            with pytest.raises(ValueError, match=says):
                net.apply([good, bad])
        assert sound(net)[UPLINK].tx_power_w == pytest.approx(0.1)


@pytest.mark.parametrize("underlay", [False, True], ids=["beside", "underlay"])
def test_each_tier_has_its_own_channel_whoever_shares_its_blocks(underlay: bool) -> None:
    between, edge = (
        Channel(attributes={"Exponent": exponent, "ReferenceLoss": 40.0}) for exponent in (2.0, 3.0)
    )
    d2d = OfdmaSpec(underlay=underlay, propagation=between)
    spec = replace(scenario(), d2d=d2d, d2e=OfdmaSpec(propagation=edge))
    with closing(network.build(spec)) as net:
        gains = {pair: link.gain for pair, link in sound(net).items()}
    assert gains.keys() == set(PAIRS)
    at = {node.name: node.position for node in spec.nodes}
    for (src, dst), gain in gains.items():
        exponent = 3.0 if "bs" in (src, dst) else 2.0
        loss_db = 40.0 + 10 * exponent * math.log10(math.dist(at[src], at[dst]))
        assert 10 * math.log10(gain) == pytest.approx(-loss_db, abs=1e-9)


@pytest.mark.parametrize(("channels", "meet"), [((0, 1), False), ((1, 1), True)])
def test_clusters_disturb_each_other_on_the_sub_band_that_both_chose(
    channels: tuple[int, int], meet: bool
) -> None:
    pairs = (("c0.cu", "c0.d0"), ("c1.cu", "c1.d0"))
    spec = replace(scenario(clusters=2, channels=channels), d2d=OfdmaSpec(reuse=2))
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await asyncio.gather(*(net.transfer(*pair, 500_000) for pair in pairs))

        run(net, main())
        links = measured(net)
    thermal = BOLTZMANN * KELVIN * 10**0.9
    for pair in pairs:
        assert (links[pair].interference_w_hz > 2 * thermal) == meet


def test_blocks_break_as_often_as_the_scenario_asks_for() -> None:
    sent_again = []
    for target in (0.02, 0.3):
        spec = replace(scenario(cu_distance_m=200.0), d2d=OfdmaSpec())
        spec = replace(spec, d2e=OfdmaSpec(target_bler=target))
        (delivery,) = carry(spec, (*UPLINK, 2_000_000))
        sent_again.append(delivery.retransmissions)
    assert sent_again[1] > 5 * sent_again[0]
