"""The closed-form network against what closed forms and conservation laws say."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import loop as simulated
from bridge.fixed import FixedDelivery, FixedRateNetwork, Link
from bridge.loop import sleep_ns, sleep_until_ns
from bridge.network import Delivery, LinkState, Network, NodeUsage

BYTE_A_NS = 8_000_000_000  # bits a second

nodes = st.sampled_from("abc")
requests = st.lists(
    st.tuples(
        st.integers(0, 300),  # asked at
        st.tuples(nodes, nodes).filter(lambda pair: pair[0] != pair[1]),
        st.integers(1, 100),  # bytes
        st.none() | st.integers(0, 300),  # cut after
    ),
    max_size=12,
)
links = st.builds(
    Link,
    rate_bps=st.sampled_from([BYTE_A_NS, BYTE_A_NS // 7, 3_333_333_333]),
    latency_ns=st.integers(0, 40),
    medium=st.none() | st.just("air"),
    outage_ns=st.none() | st.tuples(st.integers(0, 200), st.integers(201, 400)),
)


def alone(network: FixedRateNetwork, src: str, dst: str, size_bytes: int) -> FixedDelivery:
    async def main() -> FixedDelivery:
        return await network.transfer(src, dst, size_bytes)

    return simulated.run(network, main())


def parameters(method: object) -> list[tuple[str, object]] | None:
    """The parameters of a method and their defaults; None for a property."""
    if not callable(method):
        return None
    given = inspect.signature(method).parameters.values()
    return [(each.name, each.default) for each in given if each.name != "self"]


def test_it_has_every_attribute_and_method_of_the_protocol() -> None:
    network = FixedRateNetwork(["a", "b"], Link(rate_bps=8))
    delivery = alone(network, "a", "b", 1)
    for protocol, made in [
        (Network, network),
        (Delivery, delivery),
        (LinkState, network.link_state()[0]),
        (NodeUsage, network.usage()["a"]),
    ]:
        names = [name for name in dir(protocol) if not name.startswith("_")]
        assert len(names) >= 4
        for name in names:
            assert parameters(getattr(protocol, name)) == parameters(getattr(made, name)), name


def test_a_sounding_takes_time_and_measures_the_links_it_is_of() -> None:
    network = FixedRateNetwork("abc", Link(BYTE_A_NS, latency_ns=10))
    simulated.run(network, network.sound([("a", "b"), ("c", "a")]))
    assert {(state.src, state.dst) for state in network.link_state()} == {("a", "b"), ("c", "a")}
    assert network.now_ns() == 22
    assert network.usage()["c"].tx_energy_j > 0


def test_what_is_on_its_way_is_described_and_never_arrives_after_close() -> None:
    network = FixedRateNetwork("ab", Link(BYTE_A_NS))

    async def main() -> None:
        sent = network.transfer("a", "b", 17)
        assert network.in_flight() == 1
        (line,) = network.describe_in_flight()
        assert "a → b, 17 bytes" in line
        network.close()
        network.close()
        assert network.advance(None) == "exhausted"
        assert not sent.done()

    asyncio.run(main())
    assert (network.deliveries, network.now_ns()) == ([], 0)


@pytest.mark.parametrize(
    ("rate_bps", "size_bytes", "airtime_ns"),
    [(8_000_000_000, 17, 17), (3, 1, 2_666_666_667), (10**9, 1, 8), (7_999_999_999, 1, 2)],
)
def test_a_transfer_takes_its_airtime_rounded_up_and_the_latency(
    rate_bps: int, size_bytes: int, airtime_ns: int
) -> None:
    network = FixedRateNetwork(["a", "b"], Link(rate_bps, latency_ns=1000), tx_power_w=0.5)
    delivery = alone(network, "a", "b", size_bytes)
    assert (delivery.start_ns, delivery.end_ns) == (0, airtime_ns + 1000)
    assert delivery.outcome == "delivered"
    assert delivery.airtime_s == pytest.approx(airtime_ns * 1e-9)
    assert delivery.energy_j == pytest.approx(0.5 * airtime_ns * 1e-9)
    assert network.usage()["a"].tx_energy_j == delivery.energy_j
    assert network.usage()["b"].rx_airtime_s == delivery.airtime_s


@given(requests, st.dictionaries(st.tuples(nodes, nodes), links), links)
def test_bytes_are_conserved_links_never_busier_than_time_and_first_in_first_out(
    asked: list[tuple[int, tuple[str, str], int, int | None]],
    own: dict[tuple[str, str], Link],
    default: Link,
) -> None:
    network = FixedRateNetwork("abc", default, own)
    order: dict[tuple[str, str], list[int]] = defaultdict(list)

    async def one(index: int, at: int, pair: tuple[str, str], size: int, cut: int | None) -> None:
        await sleep_until_ns(at)
        future = network.transfer(*pair, size)
        if cut is None:
            await future
            order[pair].append(index)
        else:
            await sleep_ns(cut)
            future.cancel()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for index, (at, pair, size, cut) in enumerate(sorted(asked, key=lambda ask: ask[0])):
                group.create_task(one(index, at, pair, size, cut))

    simulated.run(network, main())
    assert network.in_flight() == 0
    assert len(network.deliveries) == len(asked)
    assert sum(delivery.size_bytes for delivery in network.deliveries) == sum(a[2] for a in asked)
    airtime_s: dict[object, float] = defaultdict(float)
    for delivery in network.deliveries:
        pair = (delivery.src, delivery.dst)
        airtime_s[own.get(pair, default).medium or pair] += delivery.airtime_s
        lost = sum(end - start for start, end in delivery.lost)
        assert 0 <= lost <= delivery.size_bytes
        assert (delivery.outcome == "delivered") == (lost == 0)
        assert delivery.start_ns <= delivery.end_ns <= network.now_ns()
    assert all(busy <= network.now_ns() * 1e-9 * (1 + 1e-9) for busy in airtime_s.values())
    for indices in order.values():
        assert indices == sorted(indices)
    ends = [delivery.end_ns for delivery in network.deliveries]
    assert all(first <= second for first, second in pairwise(ends))


def test_links_that_name_one_medium_take_turns_and_others_do_not() -> None:
    def ends(medium: str | None) -> list[int]:
        network = FixedRateNetwork("abcd", Link(BYTE_A_NS, medium=medium))

        async def main() -> None:
            await asyncio.gather(network.transfer("a", "b", 100), network.transfer("c", "d", 50))

        simulated.run(network, main())
        return [delivery.end_ns for delivery in network.deliveries]

    assert ends("air") == [100, 150]
    assert ends(None) == [50, 100]


def test_an_outage_loses_the_bytes_that_were_still_to_come() -> None:
    network = FixedRateNetwork("ab", Link(BYTE_A_NS, outage_ns=(30, 60)))

    async def main() -> None:
        first = await network.transfer("a", "b", 100)
        assert (first.outcome, first.end_ns, first.lost) == ("lost", 30, ((30, 100),))
        await sleep_until_ns(60)
        assert (await network.transfer("a", "b", 100)).outcome == "delivered"

    simulated.run(network, main())
    (state,) = network.link_state()
    assert state.loss == pytest.approx(70 / 200)
    assert state.goodput_bps == pytest.approx(BYTE_A_NS)


def test_power_is_checked_recorded_and_moves_the_sinr() -> None:
    network = FixedRateNetwork("ab", Link(BYTE_A_NS), tx_power_w=0.2)
    before = alone(network, "a", "b", 10)
    network.apply([Give("a", "b", 0.1)])
    after = alone(network, "a", "b", 10)
    assert after.tx_power_w == 0.1
    assert after.sinr == pytest.approx(before.sinr / 2)
    with pytest.raises(ValueError, match=r"up to 0\.2 W, not 0\.3 W"):
        network.apply([Give("a", "b", 0.3)])


class Give:
    """A grant of power alone."""

    bandwidth_hz = None

    def __init__(self, src: str, dst: str, tx_power_w: float) -> None:
        self.src, self.dst, self.tx_power_w = src, dst, tx_power_w


def test_what_cannot_be_sent_is_refused_before_it_is_sent() -> None:
    network = FixedRateNetwork("abc", None, {("a", "b"): Link(BYTE_A_NS)})
    for src, dst, size, complaint in [
        ("a", "x", 1, "no node x"),
        ("a", "c", 1, "share no radio"),
        ("a", "b", 0, "at least one byte"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            alone(network, src, dst, size)
    assert not network.deliveries
    assert network.in_flight() == 0
