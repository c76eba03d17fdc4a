"""Transfers over the radios: how they end, what remains, and that every byte is counted."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_lab import arrived, carry, check_books, in_another_process, run, scenario

from ns3_scenarios import network
from ns3_scenarios.readings import RadioDelivery

WIFI, UPLINK, DOWNLINK = ("c0.cu", "c0.d0"), ("c0.cu", "bs"), ("bs", "c0.cu")
FAR_M = 3000.0  # neither radio reaches so far


def test_transfers_of_a_pair_go_first_in_first_out_and_pairs_at_once() -> None:
    sizes = (300_000, 1, 40_000, 5)
    deliveries = carry(
        scenario(), *((*pair, size) for size in sizes for pair in (WIFI, UPLINK, DOWNLINK))
    )
    assert {delivery.outcome for delivery in deliveries} == {"delivered"}
    for number in range(3):
        ends = [delivery.end_ns for delivery in deliveries[number::3]]
        assert ends == sorted(ends)
    wifi, uplink = deliveries[0], deliveries[1]
    assert wifi.end_ns < uplink.end_ns < wifi.end_ns + uplink.end_ns


@pytest.mark.parametrize(("pair", "cut_ms"), [(WIFI, 15), (UPLINK, 90), (DOWNLINK, 90)])
def test_a_cut_transfer_says_what_arrived_and_the_next_one_is_whole(
    pair: tuple[str, str], cut_ms: int
) -> None:
    with closing(network.build(scenario())) as net:

        async def main() -> None:
            under_way, queued, last = (net.transfer(*pair, 1_000_000) for _ in range(3))
            await asyncio.sleep(cut_ms * 1e-3)
            queued.cancel()
            under_way.cancel()
            assert (await last).outcome == "delivered"

        run(net, main())
        assert [d.outcome for d in net.deliveries] == ["cut", "cut", "delivered"]
        queued, under_way, last = net.deliveries
        assert queued.lost == ((0, 1_000_000),)
        assert queued.airtime_s == 0
        assert 0 < arrived(under_way) < 1_000_000
        assert under_way.end_ns == queued.end_ns == cut_ms * 1_000_000
        assert last.lost == ()
        check_books(net.deliveries, net.now_ns())


def test_a_link_that_was_never_there_refuses() -> None:
    with closing(network.build(scenario(device_distance_m=FAR_M))) as net:

        async def main() -> list[RadioDelivery]:
            return await asyncio.gather(*(net.transfer(*WIFI, 10_000) for _ in range(2)))

        first, second = run(net, main())
        assert (first.outcome, second.outcome) == ("refused", "refused")
        assert first.lost == ((0, 10_000),)
        assert first.end_ns < second.end_ns < 120_000_000_000
        assert first.sinr != first.sinr  # nothing was received
        check_books(net.deliveries, net.now_ns())


class _Silence:
    """Almost no power for one link."""

    src, dst = UPLINK
    tx_power_w: float | None = 1e-15
    bandwidth_hz: float | None = None


def test_a_link_that_dies_loses_what_was_under_way_and_keeps_its_books() -> None:
    with closing(network.build(scenario())) as net:

        async def main() -> RadioDelivery:
            transfer = net.transfer(*UPLINK, 2_000_000)
            await asyncio.sleep(0.1)
            net.apply([_Silence()])
            return await transfer

        delivery = run(net, main())
        assert delivery.outcome == "lost"
        assert 0 < arrived(delivery) < 2_000_000
        assert delivery.retransmissions > 0
        assert net.in_flight() == 0
        check_books(net.deliveries, net.now_ns())


@settings(max_examples=8)
@given(
    starts=st.lists(
        st.tuples(
            st.sampled_from([WIFI, UPLINK, DOWNLINK, ("c0.d0", "c0.cu"), ("c1.cu", "c1.d0")]),
            st.integers(1, 200_000),
            st.integers(0, 40),  # ms until it is cut; 0: never
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_is_sent_and_cut_every_byte_is_accounted_for(
    starts: list[tuple[tuple[str, str], int, int]],
) -> None:
    with closing(network.build(scenario(clusters=2))) as net:

        async def one(pair: tuple[str, str], size: int, cut_ms: int) -> None:
            transfer = net.transfer(*pair, size)
            if cut_ms:
                await asyncio.wait([transfer], timeout=cut_ms * 1e-3)
                transfer.cancel()
            else:
                assert (await transfer).outcome == "delivered"

        async def main() -> None:
            await asyncio.gather(*(one(*start) for start in starts))

        run(net, main())
        assert sorted(d.size_bytes for d in net.deliveries) == sorted(s for _, s, _ in starts)
        assert {d.outcome for d in net.deliveries} <= {"delivered", "cut"}
        assert net.in_flight() == 0
        check_books(net.deliveries, net.now_ns())


def test_a_nodes_usage_holds_its_transfers_and_the_acknowledgements() -> None:
    with closing(network.build(scenario())) as net:

        async def main() -> None:
            await net.transfer(*WIFI, 500_000)

        run(net, main())
        (sent,) = net.deliveries
        usage = net.usage()
        now_s = net.now_ns() * 1e-9
    cu, device = usage["c0.cu"], usage["c0.d0"]
    assert cu.tx_airtime_s > sent.airtime_s  # its block acknowledgements of TCP's
    assert cu.tx_energy_j == pytest.approx(0.1 * cu.tx_airtime_s, rel=1e-6)
    assert sent.energy_j == pytest.approx(0.1 * sent.airtime_s, rel=1e-6)
    assert device.tx_airtime_s > 0
    for used in usage.values():
        assert used.rx_energy_j == pytest.approx(0.5 * used.rx_airtime_s)
    assert device.rx_airtime_s + device.tx_airtime_s <= now_s


@pytest.mark.parametrize(
    ("src", "dst", "size", "says"),
    [
        ("c0.cu", "nobody", 10, "no node 'nobody'"),
        ("bs", "c0.d0", 10, "share no radio"),
        ("c0.d0", "c1.d0", 10, "share no radio"),
        ("c0.cu", "c0.cu", 10, "share no radio"),
        ("c0.cu", "bs", 0, "at least one byte"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(src: str, dst: str, size: int, says: str) -> None:
    with closing(network.build(scenario(clusters=2))) as net:

        async def main() -> None:
            with pytest.raises(ValueError, match=says):
                net.transfer(src, dst, size)

        run(net, main())
        assert net.in_flight() == 0


def fingerprint() -> str:
    """The deliveries of a busy co-channel network, with cuts, as text."""
    with closing(network.build(scenario(clusters=2, devices=2, seed=7))) as net:

        async def main() -> None:
            transfers = [
                net.transfer(src, dst, 60_000 + 1_000 * number)
                for number, (src, dst) in enumerate(
                    [WIFI, ("c0.d0", "c0.d1"), ("c1.d1", "c1.cu"), UPLINK, ("bs", "c1.cu")] * 2
                )
            ]
            await asyncio.sleep(0.02)
            transfers[-1].cancel()
            await asyncio.wait(transfers)

        run(net, main())
        return repr((net.deliveries, net.link_state(), dict(net.usage())))


def test_the_same_seed_gives_the_same_deliveries_in_one_process_and_in_two() -> None:
    first = fingerprint()
    assert fingerprint() == first
    assert in_another_process(fingerprint) == first
