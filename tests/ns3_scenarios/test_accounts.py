"""What is charged to transfers, links and nodes, against an independent account of all signals.

`wire` parses the packets in all that ns-3's PHYs say they send; the project marks bytes. Nothing
but the traces' times, powers and packets is common to both.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from radio_lab import arrived, run, scenario
from wire import Wire, listening

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios.network import Ns3Network
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

SIDE, UPLINK, DOWNLINK = ("c0.cu", "c0.d0"), ("c0.cu", "bs"), ("bs", "c0.cu")
BUSY = (SIDE, ("c0.d0", "c0.cu"), UPLINK, DOWNLINK, ("c1.cu", "bs"), ("c1.cu", "c1.d0"))
SIZES = (1, 5, 100, 1_400, 3_000, 20_000, 150_000)
STACKS: dict[str, tuple[Any, Any]] = {
    "wifi and lte": (WifiSpec(), LteSpec()),
    "ofdma over tcp": (OfdmaSpec(transport="tcp"), OfdmaSpec(transport="tcp")),
    "ofdma over udp": (OfdmaSpec(transport="udp"), OfdmaSpec(transport="udp")),
    "ofdma": (OfdmaSpec(), OfdmaSpec()),
}


def stack(name: str, **how: Any) -> ScenarioSpec:
    d2d, d2e = STACKS[name]
    return replace(scenario(**how), d2d=d2d, d2e=d2e)


def carry(net: Ns3Network, pairs: Sequence[tuple[str, str]], each: int) -> list[RadioDelivery]:
    """Transfers of all sizes over all pairs at once, consecutive or several at a time."""
    drawn = random.Random(1)
    started: list[asyncio.Future[RadioDelivery]] = []

    async def one(pair: tuple[str, str]) -> None:
        for _ in range(each):
            transfer = net.transfer(*pair, drawn.choice(SIZES))
            started.append(transfer)
            if drawn.random() < 0.5:
                await transfer

    async def main() -> list[RadioDelivery]:
        await asyncio.gather(*map(one, pairs))
        return await asyncio.gather(*started)

    return run(net, main())


def totals(net: Ns3Network) -> dict[tuple[str, str], Any]:
    """For each link, everything that it sent."""
    names = net._names
    return {(names[link.src], names[link.dst]): link.total for link in net._episode.Links()}


@pytest.mark.parametrize("name", STACKS)
def test_a_transfer_is_charged_for_its_own_bytes_and_a_link_for_all(name: str) -> None:
    with listening(stack(name, clusters=2)) as (net, wire):
        deliveries = carry(net, BUSY, 20)
        rows = wire.rows(deliveries, tcp="udp" not in name and name != "ofdma")
        on_air, links = wire.airtimes(deliveries), totals(net)
        booked: dict[tuple[str, str], float] = defaultdict(float)
        for delivery, row in zip(deliveries, rows, strict=True):
            assert delivery.outcome == "delivered"
            assert delivery.airtime_s == pytest.approx(row.airtime_s, rel=1e-9)
            assert 0 < delivery.airtime_s <= (delivery.end_ns - delivery.start_ns) * 1e-9
            assert delivery.energy_j == pytest.approx(delivery.tx_power_w * delivery.airtime_s)
            assert delivery.retransmissions == row.retransmissions
            assert math.isfinite(delivery.sinr)
            if delivery.radio == "ofdma":
                assert delivery.sinr == pytest.approx(row.sinr_time / row.rx_time_s)
            if (delivery.radio, delivery.src) != ("lte", "bs"):  # whose blocks share its power
                assert delivery.energy_j == pytest.approx(row.energy_j)
            booked[delivery.src, delivery.dst] += delivery.airtime_s
        for pair, seconds in on_air.items():
            assert links[pair].airtime == pytest.approx(seconds)
            assert booked[pair] <= seconds * (1 + 1e-9)
        if name in ("ofdma", "ofdma over udp"):  # where nothing else is sent
            assert booked == pytest.approx(on_air)


@pytest.mark.parametrize("name", ["wifi and lte", "ofdma over tcp"])
def test_retransmissions_of_tcp_belong_to_the_transfers_whose_bytes_are_sent_again(
    name: str,
) -> None:
    """Every link is interrupted for a while, with several transfers in TCP's window."""
    pairs = (SIDE, UPLINK, DOWNLINK)
    sizes = (200_000, 10, 2_000, 30_000, 5, 500_000)

    def power(net: Ns3Network, pairs: Sequence[tuple[str, str]], share: float) -> None:
        net.apply(
            [
                LinkPlan(*pair, tx_power_w=share * (1.0 if pair[0] == "bs" else 0.1))
                for pair in pairs
            ]
        )

    with listening(stack(name)) as (net, wire):

        async def main() -> list[RadioDelivery]:
            started = [net.transfer(*pair, size) for pair in pairs for size in sizes]
            await asyncio.sleep(0.012)
            power(net, [SIDE], 1e-14)
            await asyncio.sleep(0.043)
            power(net, [UPLINK, DOWNLINK], 1e-14)
            await asyncio.sleep(0.3)
            power(net, pairs, 1.0)
            return await asyncio.gather(*started)

        deliveries = run(net, main())
        rows = wire.rows(deliveries, tcp=True)
    assert [d.retransmissions for d in deliveries] == [row.retransmissions for row in rows]
    for pair in pairs:
        assert sum(d.retransmissions for d in deliveries if (d.src, d.dst) == pair) > 0
    for delivery, row in zip(deliveries, rows, strict=True):
        assert delivery.airtime_s == pytest.approx(row.airtime_s, rel=1e-9)


@pytest.mark.parametrize("name", ["wifi and lte", "ofdma"])
@pytest.mark.parametrize("pair", [SIDE, UPLINK, DOWNLINK])
def test_sinr_is_that_of_the_transfers_own_power_and_bandwidth(
    name: str, pair: tuple[str, str]
) -> None:
    """p·g/(b·n) of each transfer, without interference; two uplinks share the band."""
    pairs = [pair, ("c1.cu", "bs")] if pair == UPLINK else [pair]
    with listening(stack(name, clusters=2)) as (net, _):

        async def main() -> list[RadioDelivery]:
            for other in pairs:
                await net.transfer(*other, 100)
            return await asyncio.gather(*(net.transfer(*other, 300_000) for other in pairs))

        for delivery in run(net, main()):
            (link,) = [
                state
                for state in net.link_state()
                if (state.src, state.dst) == (delivery.src, delivery.dst)
            ]
            noise_w = link.interference_w_hz * delivery.bandwidth_hz
            expected = delivery.tx_power_w * link.gain / noise_w
            assert 10 * math.log10(delivery.sinr / expected) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("scheduler", ["ns3::PfFfMacScheduler", "ns3::RrFfMacScheduler"])
def test_what_nodes_send_and_hear_over_lte_is_what_was_on_its_channels(scheduler: str) -> None:
    """Energy to the joule, as the power spectra of all signals have it; ns-3's round robin has
    several terminals in a subframe of the downlink."""
    spec = replace(
        stack("wifi and lte", clusters=2), ns3_defaults={"ns3::LteHelper::Scheduler": scheduler}
    )
    with listening(spec) as (net, wire):
        carry(net, (UPLINK, DOWNLINK, ("c1.cu", "bs"), ("bs", "c1.cu")), 8)
        run(net, asyncio.sleep(0.1))
        usage, bursts = net.usage(), wire.bursts()
        for name, (_, joules) in wire.radiated().items():
            assert usage[name].tx_energy_j == pytest.approx(joules)
    # A subframe counts once at the station, however many are in it.
    at_station = {
        radio: sum({b.ns: b.seconds for b in bursts if b.radio == radio}.values())
        for radio in ("lte up", "lte down")
    }
    assert usage["bs"].rx_airtime_s == pytest.approx(at_station["lte up"])
    assert usage["bs"].tx_airtime_s == pytest.approx(at_station["lte down"])
    for cu in ("c0.cu", "c1.cu"):
        heard = [b.seconds for b in bursts if any(load.pair == ("bs", cu) for load in b.loads)]
        assert usage[cu].rx_airtime_s == pytest.approx(sum(heard))


def test_what_nodes_send_and_hear_over_wifi_is_what_their_phys_sent() -> None:
    with listening(stack("wifi and lte")) as (net, wire):
        carry(net, [SIDE, SIDE[::-1]], 12)
        usage, radiated, bursts = net.usage(), wire.radiated(), wire.bursts()
    for name, other in (SIDE, SIDE[::-1]):
        seconds, joules = radiated[name]
        assert usage[name].tx_airtime_s == pytest.approx(seconds)
        assert usage[name].tx_energy_j == pytest.approx(joules)
        assert joules == pytest.approx(0.1 * seconds)
        # Except for frames that collide, none of which is received.
        theirs = [(b.ns, b.ns + round(b.seconds * 1e9)) for b in bursts if b.node == other]
        collided_s = sum(
            b.seconds
            for b in bursts
            if b.node == name
            and any(begin < b.ns + b.seconds * 1e9 and b.ns < end for begin, end in theirs)
        )
        assert collided_s < 0.1 * seconds
        assert usage[other].rx_airtime_s == pytest.approx(seconds - collided_s)


@pytest.mark.parametrize("name", STACKS)
def test_a_links_goodput_loss_and_age_are_those_of_its_transfers_and_its_air(name: str) -> None:
    """In a time in which one transfer is cut, and half a second of silence."""
    pairs = (SIDE, UPLINK, DOWNLINK)
    with listening(stack(name)) as (net, wire):

        async def main() -> None:
            for pair in pairs:
                under_way, following = (net.transfer(*pair, size) for size in (5_000_000, 40_000))
                await asyncio.sleep(0.06)
                under_way.cancel()
                await following
                await asyncio.sleep(0.1)
                await net.transfer(*pair, 70_000)
            await asyncio.sleep(0.4321)

        run(net, main())
        heard = last_heard(wire, [pair for pair in pairs for _ in range(3)])
        for pair in pairs:
            (link,) = [state for state in net.link_state() if (state.src, state.dst) == pair]
            done = [d for d in net.deliveries if (d.src, d.dst) == pair]
            busy: list[tuple[int, int]] = []
            for delivery in sorted(done, key=lambda d: d.start_ns):
                if busy and delivery.start_ns <= busy[-1][1]:
                    busy[-1] = (busy[-1][0], max(busy[-1][1], delivery.end_ns))
                else:
                    busy.append((delivery.start_ns, delivery.end_ns))
            busy_s = sum(end - start for start, end in busy) * 1e-9
            bytes_, lost = sum(map(arrived, done)), sum(d.size_bytes - arrived(d) for d in done)
            assert lost > 0
            assert link.goodput_bps == pytest.approx(8 * bytes_ / busy_s)
            assert link.loss == pytest.approx(lost / (lost + bytes_))
            if done[0].radio != "lte":
                assert link.age_s == pytest.approx(net.now_ns() * 1e-9 - heard[pair], abs=1e-6)


def last_heard(wire: Wire, started: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """When each link was last received over Wi-Fi (but for the flight) or OFDMA, in s; `started`:
    the pairs of all transfers."""
    heard = {}
    for burst in [*wire.bursts(), *wire.receptions()]:
        received = burst.sinr > 0
        if burst.loads and (received or burst.radio == "wifi"):
            load = burst.loads[0]
            pair = load.pair or started[load.transfer - 1]
            heard[pair] = burst.ns * 1e-9 + (0 if received else burst.seconds)
    return heard


def test_the_age_of_an_lte_link_grows_with_time_until_its_next_signal() -> None:
    """Reference signals come every millisecond, a terminal's sounding every ten."""
    ages: dict[tuple[str, str], list[float]] = {UPLINK: [], DOWNLINK: []}
    with listening(stack("wifi and lte")) as (net, _):

        async def main() -> None:
            for _ in range(300):
                await asyncio.sleep(1e-4)
                for link in net.link_state():
                    ages[link.src, link.dst].append(link.age_s)

        run(net, main())
    for pair, period_s in ((UPLINK, 10e-3), (DOWNLINK, 1e-3)):
        assert period_s - 2e-4 <= max(ages[pair]) <= period_s
        for before, after in itertools.pairwise(ages[pair]):
            assert after == pytest.approx(before + 1e-4, abs=1e-9) or after < 1e-4
