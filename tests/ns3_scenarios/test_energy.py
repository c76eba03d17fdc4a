"""Transmit energy is power × airtime, against every signal that the PHYs hand to their channel."""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from dataclasses import replace

import pytest
from air_log import AirLog
from radio_lab import run, scenario

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

SPECTRUM = OfdmaSpec(engine="spectrum")
STACKS = {
    "wifi and lte": (WifiSpec(), LteSpec()),
    "ofdma": (SPECTRUM, SPECTRUM),
    "ofdma by tcp": (replace(SPECTRUM, transport="tcp"), replace(SPECTRUM, transport="tcp")),
    "ofdma by udp, an underlay": (
        replace(SPECTRUM, transport="udp", underlay=True),
        replace(SPECTRUM, transport="udp"),
    ),
}
TRANSFERS = (
    *(("c0.cu", "c0.d0", 150_000), ("c0.d0", "c0.d1", 90_000), ("c1.d1", "c1.cu", 70_000)),
    *(("c0.cu", "bs", 80_000), ("c1.cu", "bs", 60_000), ("bs", "c1.cu", 120_000)),
)
#: A tenth, a half and a third of what there is, each on another node.
POWERS = {"c0.cu": 0.01, "c0.d0": 0.05, "c1.cu": 0.033, "bs": 0.5}


def spec_of(stack: str) -> ScenarioSpec:
    d2d, d2e = STACKS[stack]
    return replace(scenario(clusters=2, devices=2), d2d=d2d, d2e=d2e)


@pytest.mark.parametrize("stack", STACKS)
def test_every_devices_energy_is_what_its_phy_put_on_the_air(stack: str) -> None:
    spec = spec_of(stack)
    with closing(network.build(spec)) as net:
        log = AirLog()
        grants = [
            LinkPlan(src, dst, tx_power_w=POWERS[src], bandwidth_hz=None)
            for src, dst, _ in TRANSFERS
            if src in POWERS
        ]
        net.apply(grants)

        async def main() -> None:
            await asyncio.gather(*(net.transfer(*transfer) for transfer in TRANSFERS))

        run(net, main())
        usage, sent = net.usage(), log.sent()
        assert {d.outcome for d in net.deliveries} <= {"delivered", "partial"}
        on_air = {node.name: sent.get(node.position, (0.0, 0.0)) for node in spec.nodes}
        for name, (joules, seconds) in on_air.items():
            assert usage[name].tx_energy_j == pytest.approx(joules, rel=1e-3, abs=1e-12), name
            assert usage[name].tx_airtime_s == pytest.approx(seconds, rel=1e-6, abs=1e-12) or (
                name == "bs" or "ofdma" in stack  # several signals at once are one time on the air
            ), name
        assert math.fsum(joules for joules, _ in on_air.values()) > 0
        assert len(sent) == sum(joules > 0 for joules, _ in on_air.values())


@pytest.mark.parametrize("stack", STACKS)
def test_what_transfers_took_adds_up_to_no_more_than_their_senders_sent(stack: str) -> None:
    with closing(network.build(spec_of(stack))) as net:

        async def main() -> None:
            await asyncio.gather(*(net.transfer(*transfer) for transfer in TRANSFERS))

        run(net, main())
        assert len(net.deliveries) == len(TRANSFERS)
        for name, used in net.usage().items():
            of_it = [d for d in net.deliveries if d.src == name]
            assert math.fsum(d.energy_j for d in of_it) <= used.tx_energy_j * (1 + 1e-9)
            for delivery in of_it:
                product = delivery.tx_power_w * delivery.airtime_s
                assert delivery.energy_j == pytest.approx(product, rel=1e-9)
                assert delivery.energy_j > 0


@pytest.mark.parametrize("channels", [(42, 42), (42, 58)], ids=["one channel", "two channels"])
def test_over_wifi_a_node_receives_whatever_others_send_on_its_channel(
    channels: tuple[int, int],
) -> None:
    """As long as it was sent, from the preamble on: data, acknowledgements, what is for others.

    But for frames that collide, none of which is received: some hundredths, between data and TCP's
    acknowledgements.
    """
    spec = replace(scenario(2, 2, channels=channels), d2d=WifiSpec(), d2e=LteSpec())
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await net.transfer("c0.cu", "c0.d0", 1_000_000)
            await net.transfer("c0.d0", "c0.d1", 900_000)
            await net.transfer("c1.d1", "c1.cu", 700_000)

        run(net, main())
        usage = net.usage()
        for cluster in spec.clusters:
            here = {n.name for c in spec.clusters if c.channel == cluster.channel for n in c.nodes}
            for node in cluster.nodes:
                used = usage[node.name]
                sent_s = math.fsum(usage[name].tx_airtime_s for name in here - {node.name})
                assert 0.95 * sent_s < used.rx_airtime_s < (1 + 1e-9) * sent_s
                assert used.rx_energy_j == pytest.approx(node.rx_power_w * used.rx_airtime_s)
