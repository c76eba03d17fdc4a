"""Two schemes with one seed have the same channels, whatever they send; so do a run's rounds."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

import pytest
from radio_lab import run, scenario

from ns3_scenarios import network
from ns3_scenarios.channel import Channel, Fading
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

Links = dict[tuple[str, str], float]

DEVICES = Channel("p1411", fading=Fading())
EDGE = Channel("umi", fading=Fading(3.0))
STACKS = {
    "wifi and lte": (WifiSpec(propagation=DEVICES), LteSpec(propagation=EDGE)),
    "ofdma": (OfdmaSpec(propagation=DEVICES), OfdmaSpec(propagation=EDGE)),
    "spectrum": (
        OfdmaSpec(propagation=DEVICES, engine="spectrum"),
        OfdmaSpec(propagation=EDGE, engine="spectrum"),
    ),
    "underlay": (OfdmaSpec(propagation=DEVICES, underlay=True), OfdmaSpec(propagation=EDGE)),
}


def fading_scenario(stack: str) -> ScenarioSpec:
    """Two clusters whose channels have sight, shadowing and fading drawn."""
    d2d, d2e = STACKS[stack]
    return replace(scenario(clusters=2, devices=2, cu_distance_m=40.0), d2d=d2d, d2e=d2e)


def measured_db(spec: ScenarioSpec, *transfers: tuple[str, str, int]) -> Links:
    """The gains of all links that these consecutive transfers measure."""
    with closing(network.build(spec)) as net:

        async def main() -> None:
            for transfer in transfers:
                await net.transfer(*transfer)
                await asyncio.sleep(0.01)

        run(net, main())
        return {(link.src, link.dst): link.gain for link in net.link_state()}


def shared(one: Links, other: Links) -> tuple[Links, Links]:
    """The gains of links that both measured."""
    links = one.keys() & other.keys()
    assert len(links) >= 3
    return {link: one[link] for link in links}, {link: other[link] for link in links}


FIRST = (("c0.cu", "c0.d0", 40_000), ("c0.d0", "c0.d1", 9_000), ("c0.cu", "bs", 30_000))
SECOND = (("c1.cu", "bs", 70_000), *FIRST[::-1], ("c1.d0", "c1.cu", 5_000))


@pytest.mark.parametrize("stack", STACKS)
def test_gains_are_the_same_whatever_is_sent(stack: str) -> None:
    spec = fading_scenario(stack)
    one, other = shared(measured_db(spec, *FIRST), measured_db(spec, *SECOND))
    assert one == pytest.approx(other, rel=1e-9, abs=0.0)


@pytest.mark.parametrize("stack", ["wifi and lte", "ofdma"])
def test_another_round_fades_anew_and_another_seed_is_another_place(stack: str) -> None:
    spec = fading_scenario(stack)
    one, other = shared(measured_db(spec, *FIRST), measured_db(replace(spec, run=2), *FIRST))
    assert all(one[link] != pytest.approx(other[link], rel=1e-3, abs=0.0) for link in one)

    def unfaded(radio: WifiSpec | OfdmaSpec | LteSpec) -> Channel:
        return replace(radio.propagation, fading=None)

    still = replace(
        spec,
        d2d=replace(spec.d2d, propagation=unfaded(spec.d2d)),
        d2e=replace(spec.d2e, propagation=unfaded(spec.d2e)),
    )
    one, other = shared(measured_db(still, *FIRST), measured_db(replace(still, run=2), *FIRST))
    assert one == pytest.approx(other, rel=1e-9, abs=0.0)
    moved = measured_db(replace(still, lasting_run=2), *FIRST)
    one, other = shared(one, moved)
    assert all(one[link] != pytest.approx(other[link], rel=1e-3, abs=0.0) for link in one)


@pytest.mark.parametrize("stack", ["wifi and lte", "ofdma"])
def test_up_and_down_a_link_gain_alike(stack: str) -> None:
    there_and_back = [
        transfer for src, dst, size in FIRST for transfer in ((src, dst, size), (dst, src, size))
    ]
    gains = measured_db(fading_scenario(stack), *there_and_back)
    for src, dst, _ in FIRST:
        assert gains[src, dst] == pytest.approx(gains[dst, src], rel=1e-6, abs=0.0)
