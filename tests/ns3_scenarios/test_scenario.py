"""All errors of a scenario are found, each with its path, before ns-3 builds anything."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from radio_lab import carry, node, scenario

from ns3_scenarios import network, runtime
from ns3_scenarios.channel import Channel, Fading, Multipath, Shadowing
from ns3_scenarios.checks import problems
from ns3_scenarios.naming import ns3_problems
from ns3_scenarios.network import own_defaults
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.power import OpenLoop
from ns3_scenarios.runtime import SimulationError
from ns3_scenarios.scenario import (
    ClusterSpec,
    LteSpec,
    OfdmaSpec,
    ScenarioSpec,
    WifiSpec,
)


def test_a_sound_scenario_has_no_problems() -> None:
    assert problems(scenario(clusters=3, devices=4, channels=(None, 42, 106))) == []


def test_every_problem_is_listed_with_its_place() -> None:
    device = node("c0.d0", 0.0, 5.0)
    spec = ScenarioSpec(
        bs=replace(node("bs", 0.0, 0.0), rx_power_w=-1.0),
        clusters=(
            ClusterSpec(cu=node("c0.cu", math.nan, 0.0), devices=(device, device), channel=44),
            ClusterSpec(cu=node("c1.cu", 9.0, 9.0, watts=0.0), devices=()),
        ),
        d2e=LteSpec(bandwidth_hz=7e6),
        seed=0,
        run=-1,
    )
    found = problems(spec)
    assert {path for path, _ in found} == {
        "bs.rx_power_w",
        "clusters[0].cu.position",
        "clusters[0].devices[1].name",
        "clusters[0].devices[1].position",
        "clusters[0].channel",
        "clusters[1].cu.max_tx_power_w",
        "clusters[1].devices",
        "d2e.bandwidth_hz",
        "seed",
        "run",
    }
    assert "the nearest is 42" in dict(found)["clusters[0].channel"]
    with pytest.raises(ValueError, match=r"clusters\[1\]\.devices"):
        network.build(spec)


def test_a_cluster_has_no_more_devices_than_addresses() -> None:
    assert problems(scenario(devices=253)) == []
    assert problems(scenario(devices=254)) == [("clusters[0].devices", "expected at most 253")]


def test_a_width_that_wifi_does_not_have_names_those_it_has() -> None:
    ((path, message),) = problems(replace(scenario(), d2d=WifiSpec(bandwidth_hz=30e6)))
    assert path == "d2d.bandwidth_hz"
    assert message == "expected 20, 40, 80, 160 MHz, not 30 MHz"


def test_every_problem_of_an_ofdma_radio_is_listed_with_its_place() -> None:
    base = scenario(clusters=2, devices=2, channels=(None, 3))
    spec = replace(
        base,
        clusters=(base.clusters[0], replace(base.clusters[1], station="nowhere")),
        d2d=OfdmaSpec(
            bandwidth_hz=20e6,
            duplex="tdd",
            reuse=30,
            transport="sctp",  # type: ignore[arg-type]
            engine="fast",  # type: ignore[arg-type]
            target_bler=1.0,
        ),
        d2e=OfdmaSpec(
            bandwidth_hz=math.nan,
            tti_s=2e-3,
            max_transmissions=5,
            noise_figure_db=-1.0,
            reuse=2,
            underlay=True,
        ),
    )
    found = dict(problems(spec))
    assert found.keys() == {
        "clusters[1].station",
        "d2d.bandwidth_hz",
        "d2d.duplex",
        "d2d.reuse",
        "d2d.transport",
        "d2d.engine",
        "d2d.target_bler",
        "d2e.bandwidth_hz",
        "d2e.tti_s",
        "d2e.max_transmissions",
        "d2e.noise_figure_db",
        "d2e.reuse",
        "d2e.underlay",
    }
    assert "the nearest is 19.98 MHz" in found["d2d.bandwidth_hz"]
    assert "bs" in found["clusters[1].station"]
    assert "direct or tcp or udp" in found["d2d.transport"]
    with pytest.raises(ValueError, match=r"d2e\.underlay"):
        network.build(spec)


def test_an_underlay_is_like_the_radio_whose_blocks_it_uses() -> None:
    below = OfdmaSpec(underlay=True, bandwidth_hz=9e6, target_bler=0.2)
    found = dict(problems(replace(scenario(), d2d=below, d2e=OfdmaSpec())))
    assert found.keys() == {"d2d.bandwidth_hz", "d2d.target_bler"}
    assert "100 resource blocks" in found["d2d.bandwidth_hz"]
    ((path, message),) = problems(replace(scenario(), d2d=below))
    assert (path, "OFDMA as d2e" in message) == ("d2d.underlay", True)


def test_a_sub_band_is_one_of_those_there_are_and_stations_need_ofdma() -> None:
    spec = replace(
        scenario(clusters=2, channels=(1, 2)),
        d2d=OfdmaSpec(reuse=2),
        stations=(node("far", 900.0, 0.0),),
    )
    found = dict(problems(spec))
    assert found.keys() == {"clusters[1].channel", "stations"}
    assert "0 to 1" in found["clusters[1].channel"]


def test_everything_that_ns3_does_not_know_is_listed_with_its_place() -> None:
    spec = replace(
        scenario(),
        ns3_defaults={
            "ns3::TcpSocket::SegmentSiz": 900,
            "ns3::TcpSocket::SegmentSize": "big",
            "ns3::TcpSocketBase::SndBufSize": 900,  # declared by TcpSocket
        },
        d2d=OfdmaSpec(propagation=Channel("ns3::FriisLoss")),
        d2e=LteSpec(propagation=Channel(attributes={"Exponant": 3, "ReferenceLoss": True})),
    )
    found = dict(ns3_problems(spec))
    assert {path: word for path, word in EXPECTED.items() if word not in found.get(path, "")} == {}
    assert found.keys() == EXPECTED.keys()
    with pytest.raises(ValueError, match="FriisPropagationLossModel"):
        network.build(spec)


EXPECTED = {
    "d2d.propagation.kind": "FriisPropagationLossModel",
    "d2e.propagation.attributes.Exponant": "Exponent",
    "d2e.propagation.attributes.ReferenceLoss": "expected a number",
    "ns3_defaults.ns3::TcpSocket::SegmentSiz": "SegmentSize",
    "ns3_defaults.ns3::TcpSocket::SegmentSize": "whole number",
    "ns3_defaults.ns3::TcpSocketBase::SndBufSize": "ns3::TcpSocket::SndBufSize",
}


def test_what_ns3_cannot_run_raises_and_the_process_lives() -> None:
    with pytest.raises(SimulationError, match=r"77.*without ns3::.* it can"):
        network.build(replace(scenario(), ns3_defaults={"ns3::LteEnbRrc::SrsPeriodicity": 77}))
    assert carry(scenario(), ("c0.cu", "c0.d0", 1_000))[0].outcome == "delivered"


def test_a_users_default_takes_effect() -> None:
    slow = {"ns3::TcpSocket::SndBufSize": 4096}
    with closing(network.build(replace(scenario(), ns3_defaults=slow))):
        pass
    (usual,) = carry(scenario(), ("c0.cu", "bs", 200_000))
    (slowed,) = carry(replace(scenario(), ns3_defaults=slow), ("c0.cu", "bs", 200_000))
    assert slowed.end_ns > 2 * usual.end_ns


@pytest.mark.parametrize("width_hz", [20e6, 40e6, 160e6])
def test_other_widths_carry_too(width_hz: float) -> None:
    spec = replace(scenario(), d2d=WifiSpec(bandwidth_hz=width_hz), d2e=LteSpec(bandwidth_hz=5e6))
    wifi, uplink = carry(spec, ("c0.cu", "c0.d0", 50_000), ("c0.cu", "bs", 50_000))
    assert (wifi.outcome, uplink.outcome) == ("delivered", "delivered")
    assert wifi.bandwidth_hz == pytest.approx(width_hz)
    assert uplink.bandwidth_hz == pytest.approx(25 * BLOCK_HZ)


def test_many_clusters_attach() -> None:
    with closing(network.build(scenario(clusters=12))) as net:
        net.advance(100_000_000)
        assert sum(link.dst == "bs" for link in net.link_state()) == 12


def test_every_problem_of_a_channel_is_listed_with_its_place() -> None:
    base = scenario()
    ground = replace(base.clusters[0], cu=replace(base.clusters[0].cu, position=(0.0, 9.0, 0.0)))
    spec = replace(
        base,
        clusters=(ground,),
        d2d=WifiSpec(
            noise_figure_db=-3.0,
            antenna_gain_db=math.inf,
            propagation=Channel("p1411", shadowing=Shadowing(-1.0, 0.0), fading=Fading(0.2)),
        ),
        d2e=OfdmaSpec(carrier_hz=0.4e9, propagation=Channel("umi")),
    )
    found = problems(spec)
    assert {path for path, _ in found} == {
        "d2d.noise_figure_db",
        "d2d.antenna_gain_db",
        "d2d.propagation.kind",
        "d2d.propagation.shadowing.sigma_db",
        "d2d.propagation.shadowing.distance_m",
        "d2d.propagation.fading.m",
        "d2e.propagation.kind",
    }
    said = " ".join(message for path, message in found if path == "d2e.propagation.kind")
    assert "carriers of 5e+08" in said
    assert "not for c0.cu at 0 m" in said
    bare = replace(base, d2e=LteSpec(propagation=Channel(shadowing=Shadowing(8.0))))
    ((path, message),) = problems(bare)
    assert (path, "expected metres" in message) == ("d2e.propagation.shadowing.distance_m", True)


def test_fading_over_time_is_checked_and_for_ofdma_in_packets_alone() -> None:
    def found(fading: Multipath, **changes: Any) -> dict[str, str]:
        channel = Channel(fading=fading)
        chosen = {"d2d": WifiSpec(), "d2e": OfdmaSpec(propagation=channel), **changes}
        return dict(problems(replace(scenario(), **chosen)))

    tapped = Multipath("tdl-b", 50e-9, 20.0)
    assert found(Multipath()) == found(tapped) == {}
    assert found(tapped, d2d=OfdmaSpec(propagation=Channel(fading=tapped))) == {}
    wrong = {
        "profile": found(Multipath("tdl-d")),  # type: ignore[arg-type]
        "delay_spread_s": found(Multipath("tdl-a")),
        "doppler_hz": found(Multipath(doppler_hz=-1.0)),
    }
    for key, listed in wrong.items():
        assert list(listed) == [f"d2e.propagation.fading.{key}"]
    fast = found(Multipath(doppler_hz=300.0))
    assert "at most 250 Hz" in fast["d2e.propagation.fading.doppler_hz"]
    for tier, radio in (("d2d", WifiSpec), ("d2e", LteSpec)):
        listed = found(tapped, **{tier: radio(propagation=Channel(fading=tapped))})
        assert "only ofdma" in listed[f"{tier}.propagation.fading.profile"]
    assert "not tdl-b" in found(tapped, fidelity="sampled")["fidelity"]


def test_a_channel_that_is_not_there_names_the_nearest() -> None:
    for kind, nearest in (
        ("UMi", "umi"),
        ("FriisPropagationLossModel", "ns3::FriisPropagationLossModel"),
        ("collapipe::PairChannel", ""),
    ):
        spec = replace(scenario(), d2e=LteSpec(propagation=Channel(kind)))
        ((path, message),) = ns3_problems(spec)
        assert path == "d2e.propagation.kind"
        assert nearest in message


@pytest.mark.parametrize("power", [None, OpenLoop(-80.0, 0.8)])
def test_what_is_set_without_a_question_would_be_answered_with_yes(power: OpenLoop | None) -> None:
    spec = replace(scenario(), d2d=WifiSpec(noise_figure_db=6.5), d2e=LteSpec(power=power))
    defaults = own_defaults(spec)
    assert any("Lte" in path for path in defaults)
    assert any("Tcp" in path for path in defaults)
    for path, value in defaults.items():
        assert runtime.trusted_text(path, value) == runtime.checked_default(path, value)
