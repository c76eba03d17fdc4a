"""What the radios measure of their links, against the loss law and the thermal noise."""

from __future__ import annotations

import math
from contextlib import closing

import pytest
from radio_lab import run, scenario

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network
from ns3_scenarios.measurement import MeasuredLink
from ns3_scenarios.network import Ns3Network

WIFI, UPLINK, DOWNLINK = ("c0.cu", "c0.d0"), ("c0.cu", "bs"), ("bs", "c0.cu")
PAIRS = (WIFI, UPLINK, DOWNLINK)
BOLTZMANN = 1.380649e-23
KELVIN = 290.0


def measured(net: Ns3Network) -> dict[tuple[str, str], MeasuredLink]:
    return {(link.src, link.dst): link for link in net.link_state()}


def sound(net: Ns3Network) -> dict[tuple[str, str], MeasuredLink]:
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
