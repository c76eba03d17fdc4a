"""The link to one receiver of a multicast goes out, or the radio of its sender."""

from __future__ import annotations

import asyncio

import lab
import numpy as np
import pytest

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedDelivery, FixedRateNetwork, Link
from collapipe_ns3.engine.group_send import GroupSend
from collapipe_ns3.engine.presence import Presence
from collapipe_ns3.engine.site import Site, TransferFailed
from collapipe_ns3.faults import Alternating, Faults
from collapipe_ns3.plan import Terms

BYTE = Link(rate_bps=8_000_000_000)  # a byte a nanosecond


def send(
    faults: Faults, drop: tuple[int, str] | None = None, to_b: Link = BYTE
) -> tuple[dict[str, int], dict[str, str], list[FixedDelivery]]:
    """When 1000 bytes from `bs` arrive at each node, what failed, and all transfers."""
    network = FixedRateNetwork(["bs", "b", "c"], BYTE, {("bs", "b"): to_b})
    arrived: dict[str, int] = {}
    failed: dict[str, str] = {}

    async def main() -> None:
        def note(node: str) -> None:
            arrived[node] = network.now_ns()

        def fail(node: str, failure: TransferFailed) -> None:
            failed[node] = str(failure)

        one = GroupSend(site, "bs", ["b", "c"], 1000, "model", note, fail)
        running = asyncio.create_task(one.run())
        if drop is not None:
            await simulated.sleep_until_ns(drop[0])
            one.drop(drop[1])
        await running
        assert network.in_flight() == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with TorchThread() as thread:
        site = Site(network, {}, thread, Presence(faults))
        site.terms = Terms(resends=1, resend_after_s=1e-6)
        simulated.run(network, main())
    return arrived, failed, network.deliveries


def test_a_receiver_gets_the_rest_when_its_link_is_back() -> None:
    faults = Faults(links={("bs", "b"): lab.away((400, 5000))})
    arrived, failed, deliveries = send(faults)
    assert arrived == {"b": 5600, "c": 1000}
    assert failed == {}
    assert [(d.dst, d.size_bytes, d.outcome) for d in deliveries] == [
        ("b", 1000, "cut"),
        ("c", 1000, "delivered"),
        ("b", 600, "delivered"),
    ]


def test_one_whose_link_is_back_before_the_others_have_all_waits_for_them() -> None:
    arrived, _, _ = send(Faults(links={("bs", "b"): lab.away((400, 500))}))
    assert arrived == {"b": 1600, "c": 1000}


def test_all_get_the_rest_together_when_the_sender_is_back() -> None:
    arrived, _, deliveries = send(Faults(up={"bs": lab.away((400, 5000))}))
    assert arrived == {"b": 5600, "c": 5600}
    assert [d.size_bytes for d in deliveries] == [1000, 1000, 600, 600]
    assert deliveries[2].group == deliveries[3].group != 0


def test_an_outage_at_the_start_keeps_only_its_receiver_waiting() -> None:
    arrived, _, _ = send(Faults(links={("bs", "b"): lab.away((0, 300))}))
    assert arrived == {"b": 2000, "c": 1000}


def test_nothing_waits_for_a_receiver_that_was_dropped_in_the_outage() -> None:
    faults = Faults(links={("bs", "b"): lab.away((400, 10**15))})
    arrived, failed, deliveries = send(faults, drop=(3000, "b"))
    assert (arrived, failed) == ({"c": 1000}, {})
    assert max(d.end_ns for d in deliveries) == 1000


@pytest.mark.parametrize("end_ns", [600, None])
def test_an_outage_may_count_as_a_failed_attempt(end_ns: int | None) -> None:
    """It is repeated a microsecond later, whole, to the receiver alone."""
    faults = Faults(links={("bs", "b"): lab.away((400, end_ns))}, on_outage="fail")
    arrived, failed, _ = send(faults)
    if end_ns is None:
        assert (arrived, list(failed)) == ({"c": 1000}, ["b"])
    else:
        assert (arrived, failed) == ({"b": 2400, "c": 1000}, {})


def test_a_receiver_that_is_away_is_left_out() -> None:
    arrived, failed, deliveries = send(Faults(up={"b": lab.away((0, None))}))
    assert (arrived, failed) == ({"c": 1000}, {})
    assert [d.dst for d in deliveries] == ["c"]


def test_a_receiver_fails_for_which_the_times_between_outages_are_too_short() -> None:
    seldom = Alternating(1e-9, 1e-9, np.random.default_rng(1))  # 1 ns: the first byte's time
    latency = Link(rate_bps=BYTE.rate_bps, latency_ns=1000)
    arrived, failed, deliveries = send(Faults(links={("bs", "b"): seldom}), to_b=latency)
    assert arrived == {"c": 1000}
    assert failed["b"].startswith("bs → b: model of 1000 bytes cut 2 times, at last at ")
    assert {d.outcome for d in deliveries if d.dst == "b"} == {"cut"}
