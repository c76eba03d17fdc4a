"""Multicasts in the event graph: as over the closed-form network, and on slotted bands."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timelines import LabCosts, Pair

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.loop import sleep_until_ns
from collapipe_ns3.eventgraph.graph import EventGraph, Hold, execute
from collapipe_ns3.eventgraph.slots import Lane

NODES = "abcde"


@dataclass(frozen=True)
class Ask:
    """A transfer that begins at a time, or once others have arrived at some of their receivers.

    `after` has numbers of arrivals, counted over the receivers of all earlier transfers.
    """

    src: str
    receivers: tuple[str, ...]
    size: int
    at_ns: int
    after: frozenset[int]


def asks(media: Sequence[str | None]) -> st.SearchStrategy[tuple[list[Ask], dict[Pair, Link]]]:
    """Transfers between few nodes, of few sizes, so that many things happen at one instant."""
    link = st.builds(
        Link,
        rate_bps=st.sampled_from([8_000_000_000, 4_000_000_000, 3_333_333_333]),
        latency_ns=st.sampled_from([0, 0, 10, 17]),
        medium=st.sampled_from(media),
    )
    pairs = [(a, b) for a in NODES for b in NODES if a != b]

    @st.composite
    def drawn(draw: st.DrawFn) -> tuple[list[Ask], dict[Pair, Link]]:
        made: list[Ask] = []
        arrivals = 0
        for _ in range(draw(st.integers(1, 12))):
            src = draw(st.sampled_from(NODES))
            others = [node for node in NODES if node != src]
            receivers = draw(st.lists(st.sampled_from(others), min_size=1, max_size=4, unique=True))
            after = frozenset[int]()
            if arrivals:
                after = draw(st.frozensets(st.integers(0, arrivals - 1), max_size=2))
            at_ns = 0 if after else draw(st.sampled_from([0, 10, 20, 50]))
            made.append(Ask(src, (*receivers,), draw(st.sampled_from([10, 20, 33])), at_ns, after))
            arrivals += len(receivers)
        return made, {pair: draw(link) for pair in pairs}

    return drawn()


def executed(wanted: Sequence[Ask], links: Mapping[Pair, Link]) -> list[int]:
    """When each transfer arrives at each of its receivers, over the closed-form network."""
    network = FixedRateNetwork(NODES, None, links)
    missing = [len(ask.after) for ask in wanted]
    firsts = [sum(len(ask.receivers) for ask in wanted[:n]) for n in range(len(wanted))]
    ends: dict[int, int] = {}

    async def main() -> None:
        async with asyncio.TaskGroup() as group:

            async def arrives(number: int, future: asyncio.Future[object]) -> None:
                await future
                ends[number] = network.now_ns()
                for index, ask in enumerate(wanted):
                    if number in ask.after:
                        missing[index] -= 1
                        if not missing[index]:
                            send(index)

            def send(index: int) -> None:
                ask = wanted[index]
                sent = network.multicast(ask.src, ask.receivers, ask.size)
                for number, future in enumerate(sent, firsts[index]):
                    group.create_task(arrives(number, future))

            async def begins(index: int) -> None:
                await sleep_until_ns(wanted[index].at_ns)
                send(index)

            for index, ask in enumerate(wanted):
                if not ask.after:
                    group.create_task(begins(index))

    simulated.run(network, main())
    return [ends[number] for number in range(len(ends))]


def predicted(wanted: Sequence[Ask], links: Mapping[Pair, Link]) -> list[int]:
    """The same by the event graph."""
    graph, costs = EventGraph(), LabCosts({}, links)
    arrivals: list[int] = []
    for ask in wanted:
        after = [arrivals[number] for number in ask.after]
        if ask.at_ns:
            after = [graph.add(hold_ns=ask.at_ns)]
        transfer = costs.hop_transfer(ask.src, ask.receivers, ask.size, bulk=True)
        first_ns, *others_ns = transfer.latencies_ns
        task = graph.add(
            after,
            hold_ns=transfer.hold_ns,
            latency_ns=first_ns,
            claims=transfer.claims,
            transfer=True,
        )
        arrivals += [task, *(graph.receive(task, latency_ns) for latency_ns in others_ns)]
    done = execute(graph)
    return [done.end_ns[task] for task in arrivals]


@settings(max_examples=300)
@given(asks([None]))
def test_it_takes_as_long_as_over_links_of_their_own(
    drawn: tuple[list[Ask], dict[Pair, Link]],
) -> None:
    assert predicted(*drawn) == executed(*drawn)


@settings(max_examples=300)
@given(asks(["x", "y", None]))
def test_it_takes_as_long_as_over_shared_media(drawn: tuple[list[Ask], dict[Pair, Link]]) -> None:
    assert predicted(*drawn) == executed(*drawn)


def test_a_copy_of_a_multicast_arrives_at_all_of_its_receivers() -> None:
    graph = EventGraph()
    begin = graph.add(hold_ns=2)
    sent = graph.add([begin], hold_ns=10, latency_ns=1, claims=(("link", Hold.ALONE),))
    other = graph.receive(sent, 5)
    last = graph.add([sent, other])
    again = graph.repeat(begin, sent, last)
    done = execute(graph)
    assert [done.end_ns[task] for task in (sent, other, last, again)] == [13, 17, 17, 32]


def test_a_channel_shared_evenly_carries_a_multicast_once() -> None:
    graph = EventGraph()
    to_both = (("ab", Hold.ALONE), ("ac", Hold.ALONE), ("air", Hold.EVENLY))
    sent = graph.add(hold_ns=10, latency_ns=1, claims=to_both, transfer=True)
    other = graph.receive(sent, 3)
    alone = graph.add(hold_ns=20, claims=(("ad", Hold.ALONE), ("air", Hold.EVENLY)), transfer=True)
    done = execute(graph)
    assert [done.end_ns[task] for task in (sent, other, alone)] == [21, 23, 30]


def test_a_half_duplex_radio_receives_no_multicast_while_it_sends() -> None:
    graph = EventGraph()
    graph.add(hold_ns=10, claims=(("cd", Hold.ALONE), (("r", "c"), Hold.SENDING)), transfer=True)
    radios = (("r", "a"), Hold.SENDING), (("r", "b"), Hold.RECEIVING), (("r", "c"), Hold.RECEIVING)
    sent = graph.add(
        hold_ns=10, claims=(("ab", Hold.ALONE), ("ac", Hold.ALONE), *radios), transfer=True
    )
    other = graph.receive(sent, 4)
    done = execute(graph)
    assert [done.start_ns[sent], done.end_ns[sent], done.end_ns[other]] == [10, 20, 24]


SLOT = 1_000


def slotted(*sent: tuple[int, str, str]) -> list[int]:
    """When transfers end on a half-duplex band: (nanoseconds of all of it, sender, receivers)."""
    graph = EventGraph()
    tasks = [
        graph.add(
            hold_ns=work_ns, lane=("band", Lane(src, (*receivers,), SLOT, True)), transfer=True
        )
        for work_ns, src, receivers in sent
    ]
    done = execute(graph)
    return [done.end_ns[task] for task in tasks]


def test_on_a_slotted_band_each_receiver_has_its_own_latency() -> None:
    graph = EventGraph()
    lane = "band", Lane("a", ("b", "c"), SLOT, True)
    sent = graph.add(hold_ns=3 * SLOT, latency_ns=7, lane=lane, transfer=True)
    other = graph.receive(sent, 0)
    done = execute(graph)
    assert [done.end_ns[sent], done.end_ns[other]] == [4 * SLOT + 7, 4 * SLOT]
    assert done.start_ns[sent] == done.start_ns[other] == 0


@pytest.mark.parametrize("work", [1, 7, 40])
def test_on_a_slotted_band_a_multicast_has_one_share_however_many_receive_it(work: int) -> None:
    """So it ends with a unicast of equal size that shares the band with it."""
    assert slotted((work * SLOT, "a", "bcd")) == [(1 + work) * SLOT]
    both = slotted((work * SLOT, "a", "bcd"), (work * SLOT, "a", "e"))
    assert both == pytest.approx([(1 + 2 * work) * SLOT] * 2, abs=2 * SLOT)


def test_on_a_slotted_band_none_of_its_receivers_sends_meanwhile() -> None:
    assert slotted((100, "a", "bc"), (100, "d", "e")) == [2 * SLOT, 2 * SLOT]
    assert slotted((100, "a", "bc"), (100, "c", "e")) == [2 * SLOT, 3 * SLOT]
    assert slotted((100, "c", "e"), (100, "a", "bc")) == [2 * SLOT, 3 * SLOT]
