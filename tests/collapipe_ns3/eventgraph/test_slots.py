"""A band that is divided slot by slot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.eventgraph.graph import EventGraph, execute
from collapipe_ns3.eventgraph.slots import Lane

SLOT = 1_000


def lane(src: str, dst: str, share: float = 0.0, half_duplex: bool = True) -> tuple[str, Lane]:
    """A lane to each node in `dst`, whose names are single letters."""
    return "band", Lane(src, tuple(dst), SLOT, half_duplex, share)


def ends(*sent: tuple[int, int, tuple[str, Lane]]) -> list[int]:
    """When transfers arrive: (requested at, nanoseconds of the whole band, lane)."""
    graph = EventGraph()
    tasks = [
        graph.add([graph.add(latency_ns=at)], hold_ns=work, lane=where, transfer=True)
        for at, work, where in sent
    ]
    done = execute(graph).end_ns
    return [done[task] for task in tasks]


def test_a_transfer_requested_in_a_slot_is_in_the_next_and_arrives_at_its_end() -> None:
    ab = lane("a", "b")
    assert ends((1, 300, ab)) == [2 * SLOT]
    assert ends((SLOT, 300, ab)) == [3 * SLOT]  # at the beginning of a slot is too late for it
    assert ends((1, SLOT + 1, ab)) == [3 * SLOT]


def test_small_transfers_of_a_link_share_a_slot() -> None:
    ab = lane("a", "b")
    assert ends(*[(1, 400, ab)] * 5) == [2 * SLOT, 2 * SLOT, 3 * SLOT, 3 * SLOT, 3 * SLOT]


def test_a_node_sends_or_receives_for_a_whole_slot() -> None:
    ab, bc, cd = lane("a", "b"), lane("b", "c"), lane("c", "d")
    assert ends((1, 100, ab), (1, 100, bc)) == [2 * SLOT, 3 * SLOT]
    assert ends((1, 100, ab), (1, 100, cd)) == [2 * SLOT, 2 * SLOT]
    full = lane("a", "b", half_duplex=False), lane("b", "c", half_duplex=False)
    assert ends((1, 100, full[0]), (1, 100, full[1])) == [2 * SLOT, 2 * SLOT]


def test_who_was_on_the_air_and_for_how_long() -> None:
    """Whole slots, however little is in them, those without any event included."""
    graph = EventGraph()
    for at, work, where in (
        (1, 2 * SLOT + SLOT // 2, lane("a", "b")),
        (1, 1, lane("c", "b")),
        (20 * SLOT + 1, 10 * SLOT, lane("c", "d")),
    ):
        requested = graph.add(latency_ns=at)
        graph.add([requested], hold_ns=work, lane=where, transfer=True)
    (band,) = execute(graph).bands
    used = [({(part.src, *part.receivers) for part in lanes}, ns) for lanes, ns in band.used()]
    assert sum(ns for pairs, ns in used if ("a", "b") in pairs) == 3 * SLOT
    assert sum(ns for pairs, ns in used if ("c", "b") in pairs) == SLOT
    assert sum(ns for pairs, ns in used if ("c", "d") in pairs) == 10 * SLOT
    assert sum(ns for pairs, ns in used if pairs) == 13 * SLOT


def test_links_that_exclude_each_other_take_turns() -> None:
    ab, ba = lane("a", "b"), lane("b", "a")
    one, other = ends((1, 5 * SLOT, ab), (1, 5 * SLOT, ba))
    assert {one, other} == {10 * SLOT, 11 * SLOT}


@given(st.integers(1, 40), st.integers(1, 40))
def test_links_without_grants_share_evenly(first: int, second: int) -> None:
    """Both send from one node: the shorter transfer gets half of the band until it ends."""
    one, other = ends((1, first * SLOT, lane("a", "b")), (1, second * SLOT, lane("a", "c")))
    assert min(one, other) == pytest.approx((1 + 2 * min(first, second)) * SLOT, abs=SLOT)
    assert max(one, other) == pytest.approx((1 + first + second) * SLOT, abs=SLOT)


@given(st.integers(10, 1000))
def test_a_grant_is_a_part_of_every_slot_and_no_more(work: int) -> None:
    quarter = lane("a", "b", 0.25)
    (end,) = ends((1, work * SLOT, quarter))
    assert end == (1 + 4 * work) * SLOT
    granted, rest = ends((1, 3 * SLOT, quarter), (1, 9 * SLOT, lane("a", "c")))
    assert granted == pytest.approx(13 * SLOT, abs=SLOT)
    assert rest == pytest.approx(13 * SLOT, abs=SLOT)


@given(st.integers(20, 200))
def test_power_in_a_part_of_the_band_carries_more_than_that_part(work: int) -> None:
    """Each of two equal links carries √½ in its half of the band, until the shorter one ends."""
    spread = [("band", Lane(name, ("z",), SLOT, True, spread=0.5)) for name in "ab"]
    one, other = ends((1, work * SLOT, spread[0]), (1, 2 * work * SLOT, spread[1]))
    assert one == pytest.approx((1 + work * 2**0.5) * SLOT, abs=2 * SLOT)
    assert other == pytest.approx(one + work * SLOT, abs=2 * SLOT)


@given(st.floats(0, 0.9), st.integers(1, 3 * SLOT), st.integers(1, 3 * SLOT))
def test_transfers_end_whatever_the_spread_of_their_links(
    spread: float, first: int, second: int
) -> None:
    weak = [("band", Lane(name, ("z",), SLOT, True, spread=spread)) for name in "ab"]
    one, other = ends((1, first, weak[0]), (1, second, weak[1]))
    assert max(one, other) <= 2 * SLOT + first + second


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20 * SLOT), st.integers(1, 6 * SLOT), st.sampled_from("abcd"),
            st.sampled_from("abcd"),
        ).filter(lambda each: each[2] != each[3]),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_no_work_is_lost_and_no_transfer_ends_too_soon(
    sent: list[tuple[int, int, str, str]],
) -> None:
    found = ends(*[(at, work, lane(a, b)) for at, work, a, b in sent])
    for (at, work, _, _), end in zip(sent, found, strict=True):
        assert end % SLOT == 0
        assert end >= (at // SLOT + 1) * SLOT + work
    begun = min(at for at, *_ in sent) // SLOT + 1
    assert max(found) - begun * SLOT >= sum(work for _, work, _, _ in sent) - len(sent)
