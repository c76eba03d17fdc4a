"""Multicasts over the closed-form network, against what closed forms say."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import loop as simulated
from bridge.fixed import FixedDelivery, FixedRateNetwork, Link
from bridge.loop import sleep_ns, sleep_until_ns
from bridge.network import Multicast, group_name

BYTE_A_NS = 8_000_000_000  # bits a second
HALF = BYTE_A_NS // 2
NODES = "abcd"

links = st.builds(
    Link,
    rate_bps=st.sampled_from([BYTE_A_NS, BYTE_A_NS // 7, 3_333_333_333]),
    latency_ns=st.integers(0, 40),
    medium=st.none() | st.just("air"),
    outage_ns=st.none() | st.tuples(st.integers(0, 200), st.integers(201, 400)),
    gaps=st.sampled_from([(), ((3, 9),)]),
)
asked = st.lists(
    st.tuples(
        st.integers(0, 300),  # at
        st.sampled_from(NODES),
        st.sets(st.sampled_from(NODES), min_size=1, max_size=3),
        st.integers(1, 100),  # bytes
        st.none() | st.integers(0, 300),  # the first receiver is cut after
    ).filter(lambda ask: ask[1] not in ask[2]),
    max_size=10,
)


def all_of(
    network: FixedRateNetwork, src: str, receivers: str, size_bytes: int
) -> list[FixedDelivery]:
    async def main() -> list[FixedDelivery]:
        return list(await asyncio.gather(*network.multicast(src, receivers, size_bytes)))

    return simulated.run(network, main())


def test_it_is_one_transmission_at_the_rate_of_the_weakest_receiver() -> None:
    own = {("a", "c"): Link(HALF, latency_ns=5), ("a", "d"): Link(BYTE_A_NS, gaps=((2, 4),))}
    network = FixedRateNetwork(NODES, Link(BYTE_A_NS), own, tx_power_w=0.5, rx_power_w=0.25)
    assert isinstance(network, Multicast)
    b, c, d = all_of(network, "a", "bcd", 60)
    assert [each.end_ns for each in (b, c, d)] == [120, 125, 120]
    assert [each.outcome for each in (b, c, d)] == ["delivered", "delivered", "partial"]
    assert (b.lost, c.lost, d.lost) == ((), (), ((2, 4),))
    assert {each.group for each in (b, c, d)} == {1}
    # On the air once, received by each.
    assert sum(each.airtime_s for each in (b, c, d)) == pytest.approx(120e-9)
    assert network.usage()["a"].tx_energy_j == pytest.approx(0.5 * 120e-9)
    assert [network.usage()[n].rx_energy_j for n in "bcd"] == [pytest.approx(0.25 * 120e-9)] * 3


def test_a_receiver_that_fails_is_dropped_and_the_others_go_on() -> None:
    own = {("a", "c"): Link(HALF, latency_ns=7, outage_ns=(40, 90))}
    network = FixedRateNetwork(NODES, Link(BYTE_A_NS), own)
    b, c = all_of(network, "a", "bc", 60)
    assert (b.outcome, b.end_ns, b.lost) == ("delivered", 120, ())
    assert (c.outcome, c.end_ns, c.lost) == ("lost", 47, ((20, 60),))
    assert c.airtime_s == pytest.approx(20e-9)  # half of the 40 ns in which it listened
    assert b.airtime_s == pytest.approx(100e-9)
    assert network.usage()["c"].rx_airtime_s == pytest.approx(40e-9)


def test_one_that_is_cancelled_leaves_the_others_and_the_last_one_frees_the_links() -> None:
    network = FixedRateNetwork(NODES, Link(BYTE_A_NS))

    async def main() -> None:
        first, second = network.multicast("a", "bc", 100)
        after = network.transfer("a", "c", 10)
        await sleep_until_ns(30)
        first.cancel()
        await sleep_until_ns(50)
        second.cancel()
        assert (await after).end_ns == 60

    simulated.run(network, main())
    b, c, after = network.deliveries
    assert [each.outcome for each in (b, c)] == ["cut", "cut"]
    assert (b.airtime_s, c.airtime_s) == (pytest.approx(15e-9), pytest.approx(35e-9))
    assert (b.lost, c.lost, after.group) == (((30, 100),), ((50, 100),), 0)


def test_it_waits_for_all_of_its_links_and_keeps_its_place_on_each() -> None:
    network = FixedRateNetwork(NODES, Link(BYTE_A_NS))

    async def main() -> None:
        waiting = [
            network.transfer("a", "b", 50),
            *network.multicast("a", "bc", 20),
            network.transfer("a", "c", 10),
            network.transfer("a", "d", 10),
        ]
        await asyncio.gather(*waiting)

    simulated.run(network, main())
    ends = {(each.dst, each.size_bytes): each.end_ns for each in network.deliveries}
    assert ends == {("d", 10): 10, ("b", 50): 50, ("b", 20): 70, ("c", 20): 70, ("c", 10): 80}


def test_what_cannot_be_sent_at_once_is_refused() -> None:
    network = FixedRateNetwork(NODES, None, {("a", "b"): Link(8), ("a", "c"): Link(8)})
    for receivers, size, complaint in [
        ("bd", 1, "share no radio"),
        ("bx", 1, "no node x"),
        ("bb", 1, "each once, not b, b"),
        ("", 1, "one receiver or more"),
        ("bc", 0, "at least one byte"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            all_of(network, "a", receivers, size)
    assert (network.in_flight(), network.deliveries) == (0, [])


@given(asked, st.dictionaries(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), links))
def test_one_receiver_is_a_transfer_to_the_bit(
    asks: list[tuple[int, str, set[str], int, int | None]],
    own: dict[tuple[str, str], Link],
) -> None:
    def sent(multicast: bool) -> tuple[list[FixedDelivery], object]:
        network = FixedRateNetwork(NODES, Link(BYTE_A_NS), own)

        async def one(at: int, src: str, dst: str, size: int, cut: int | None) -> None:
            await sleep_until_ns(at)
            if multicast:
                (future,) = network.multicast(src, [dst], size)
            else:
                future = network.transfer(src, dst, size)
            if cut is None:
                await future
            else:
                await sleep_ns(cut)
                future.cancel()

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for at, src, receivers, size, cut in asks:
                    group.create_task(one(at, src, min(receivers), size, cut))

        simulated.run(network, main())
        return [replace(each, group=0) for each in network.deliveries], network.usage()

    assert sent(multicast=True) == sent(multicast=False)


@given(asked, st.dictionaries(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), links))
def test_bytes_time_and_energy_are_conserved_and_pairs_are_first_in_first_out(
    asks: list[tuple[int, str, set[str], int, int | None]],
    own: dict[tuple[str, str], Link],
) -> None:
    network = FixedRateNetwork(NODES, Link(BYTE_A_NS), own)
    order: dict[tuple[str, str], list[int]] = defaultdict(list)

    async def one(
        index: int, at: int, src: str, receivers: set[str], size: int, cut: int | None
    ) -> None:
        await sleep_until_ns(at)
        names = sorted(receivers)
        futures = network.multicast(src, names, size)

        async def ends(name: str, future: asyncio.Future[FixedDelivery]) -> None:
            await asyncio.wait([future])
            if not future.cancelled():
                order[src, name].append(index)

        async def leaves() -> None:
            if cut is not None:
                await sleep_ns(cut)
                futures[0].cancel()

        await asyncio.gather(leaves(), *(ends(*each) for each in zip(names, futures, strict=True)))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for index, ask in enumerate(sorted(asks, key=lambda ask: ask[0])):
                group.create_task(one(index, *ask))

    simulated.run(network, main())
    assert network.in_flight() == 0
    assert len(network.deliveries) == sum(len(receivers) for _, _, receivers, _, _ in asks)
    for indices in order.values():
        assert indices == sorted(indices)
    for first, second in pairwise(network.deliveries):
        assert first.end_ns <= second.end_ns
    groups: dict[int, list[FixedDelivery]] = defaultdict(list)
    for delivery in network.deliveries:
        groups[delivery.group].append(delivery)
        assert (delivery.outcome == "delivered") == (delivery.lost == ())
    for group in groups.values():
        src, sizes = group[0].src, {each.size_bytes for each in group}
        assert len(sizes) == 1
        rate = min(own.get((src, each.dst), Link(BYTE_A_NS)).rate_bps for each in group)
        most_s = Link(rate).airtime_ns(*sizes) * 1e-9
        assert sum(each.airtime_s for each in group) <= most_s * (1 + 1e-9)
        if all(each.outcome in ("delivered", "partial") for each in group):
            assert sum(each.airtime_s for each in group) == pytest.approx(most_s)
    for name in NODES:
        charged_s = sum(each.airtime_s for each in network.deliveries if each.src == name)
        assert network.usage()[name].tx_airtime_s == pytest.approx(charged_s)


def test_a_group_has_one_name_in_any_order() -> None:
    assert group_name(["c1.cu", "c0.cu"]) == group_name(("c0.cu", "c1.cu")) == "c0.cu+c1.cu"
