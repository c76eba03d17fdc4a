"""The links' shares of a band in every TTI."""

from __future__ import annotations

import itertools
from collections import defaultdict
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ofdma_lab import Lab, Node

BLOCKS = 50
MS = 1_000_000
MUCH = 10**8  # more than any test carries


def star(count: int) -> tuple[list[Node], list[tuple[int, int, int, int]]]:
    """Senders around one receiver."""
    nodes = [Node(0.0), *(Node(20.0 + n, 1.0) for n in range(count))]
    return nodes, [(0, 0, n + 1, 0) for n in range(count)]


def loaded(lab: Lab, seconds: float) -> dict[int, list[float]]:
    """Blocks per TTI of each link, all saturated."""
    for link in range(len(lab.links)):
        lab.send(link, MUCH)
    lab.run(seconds)
    per_tti: dict[int, list[float]] = {
        n: [0.0] * round(seconds * 1e3) for n in range(len(lab.links))
    }
    for link, ns, blocks, _ in lab.allocated:
        if ns < seconds * 1e9:
            per_tti[int(link)][int(ns) // MS] = blocks
    return per_tti


@pytest.mark.parametrize("count", [1, 3, 7])
def test_links_without_grants_share_the_band_equally_and_leave_nothing(count: int) -> None:
    with closing(Lab(*star(count))) as lab:
        used = loaded(lab, 0.4)
    totals = [sum(blocks) for blocks in used.values()]
    assert max(totals) - min(totals) <= 2 * 20  # a transport block here or there, over 20 000
    assert [sum(column) for column in zip(*used.values(), strict=True)] == [BLOCKS] * 400


def test_grants_are_exact_in_the_long_run_and_whole_in_every_tti() -> None:
    grants = (3.4, 10.25, 0.4, 20.0)
    with closing(Lab(*star(4))) as lab:
        for link, blocks in zip(lab.of, grants, strict=True):
            link.granted = blocks
        used = loaded(lab, 1.0)
    for granted, blocks in zip(grants, used.values(), strict=True):
        assert sum(blocks) == pytest.approx(1000 * granted, abs=1)
    assert set(used[3]) == {20.0}
    steady = used[0][100:]
    assert set(steady) == {3.0, 4.0}
    # Evenly: after any number of TTIs at most one block is missing.
    owed = 3.4 * np.arange(1, len(steady) + 1) - np.cumsum(steady)
    assert owed.max() - owed.min() <= 1 + 1e-6


def test_a_link_that_comes_back_owes_nothing_for_what_it_got_before() -> None:
    """The second always sends a little, and the first gets the rest, then pauses."""
    with closing(Lab(*star(2))) as lab:
        lab.send(0, 100_000)
        for _ in range(30):
            lab.send(1, 50)
            lab.run(1e-3)
        lab.run()
        begun = len(lab.allocated)
        for link in (0, 1):
            lab.send(link, MUCH)
        lab.run(0.01)
        rows = lab.allocated[begun:]
    totals = [rows[rows[:, 0] == link][:, 2].sum() for link in (0, 1)]
    assert abs(totals[0] - totals[1]) <= 40


def test_what_is_granted_is_kept_and_the_rest_is_shared() -> None:
    with closing(Lab(*star(4))) as lab:
        lab.of[0].granted = 30.0
        used = loaded(lab, 0.3)
    assert sum(used[0]) == 30 * 300
    assert [sum(used[n]) for n in (1, 2, 3)] == pytest.approx([20 * 100] * 3, abs=40)


def test_a_grant_that_is_not_used_is_there_for_others() -> None:
    with closing(Lab(*star(2))) as lab:
        lab.of[0].granted = 40.0
        lab.send(1, MUCH)
        lab.run(0.05)
        assert {blocks for _, _, blocks, _ in lab.allocated} == {float(BLOCKS)}


def test_a_grant_can_change_while_it_runs() -> None:
    with closing(Lab(*star(2))) as lab:
        lab.of[0].granted, lab.of[1].granted = 40.0, 10.0
        for link in (0, 1):
            lab.send(link, MUCH)
        lab.run(0.1)
        lab.of[0].granted, lab.of[1].granted = 5.0, 45.0
        lab.run(0.1)
        rows = lab.allocated
    late = rows[(rows[:, 0] == 0) & (rows[:, 1] >= 105 * MS)]
    assert set(late[:, 2]) == {5.0}


def test_links_that_exclude_each_other_get_equal_time() -> None:
    """A chain: its middle node cannot receive while it sends."""
    with closing(Lab([Node(10.0 * n) for n in range(3)], [(0, 0, 0, 1), (0, 0, 1, 2)])) as lab:
        used = loaded(lab, 0.2)
    assert all(a * b == 0 for a, b in zip(used[0], used[1], strict=True))
    assert sum(used[0]) == pytest.approx(sum(used[1]), rel=0.02)
    assert sum(used[0]) + sum(used[1]) == BLOCKS * 200


def test_grants_hold_where_links_exclude_each_other() -> None:
    with closing(Lab([Node(10.0 * n) for n in range(3)], [(0, 0, 0, 1), (0, 0, 1, 2)])) as lab:
        lab.of[0].granted, lab.of[1].granted = 20.0, 12.5
        used = loaded(lab, 0.4)
    assert sum(used[0]) == pytest.approx(20 * 400, abs=60)
    assert sum(used[1]) == pytest.approx(12.5 * 400, abs=60)


LINKS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 4)).filter(
        lambda link: link[1] != link[2]
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


@settings(max_examples=40)
@given(links=LINKS, grants=st.lists(st.floats(0.3, 6.0), min_size=8, max_size=8))
def test_no_node_sends_and_receives_at_once_and_nobody_starves(
    links: list[tuple[int, int, int]], grants: list[float]
) -> None:
    nodes = [Node(15.0 * n, 3.0 * n * n) for n in range(5)]
    with closing(Lab(nodes, [(0, *link) for link in links])) as lab:
        for link, granted in zip(lab.of[::2], grants, strict=False):
            link.granted = granted
        used = loaded(lab, 0.3)
        states = lab.states
        nodes_of = {n: (src, dst) for n, (_, src, dst) in enumerate(links)}
        cell_of = {n: cell for n, (cell, _, _) in enumerate(links)}
        for tti in range(300):
            active = [n for n in used if used[n][tti]]
            senders = {nodes_of[n][0] for n in active}
            assert not senders & {nodes_of[n][1] for n in active}
            for cell in (0, 1):
                assert sum(used[n][tti] for n in active if cell_of[n] == cell) <= BLOCKS
            for sender in senders:  # in one cell alone
                assert len({cell_of[n] for n in active if nodes_of[n][0] == sender}) == 1
        assert all(sum(blocks) > 0 for blocks in used.values())
        busy: dict[tuple[float, float], set[float]] = defaultdict(set)
        for node, sends, ns, _, _ in states:
            busy[node, ns].add(sends)
        assert all(len(kinds) == 1 for kinds in busy.values())


def test_a_node_that_sends_to_several_shares_its_power_among_them() -> None:
    nodes = [Node(0.0), *(Node(20.0 + n, 1.0) for n in range(4))]
    with closing(Lab(nodes, [(0, 0, 0, n + 1) for n in range(4)])) as lab:
        lab.of[0].watts = 0.02
        loaded(lab, 0.05)
        rows = lab.allocated
        sending = lab.states[lab.states[:, 1] == 1]
    for _, group in itertools.groupby(rows, key=lambda row: row[1]):
        watts = {int(link): w for link, _, _, w in group}
        assert sum(watts.values()) == pytest.approx(0.1)
        assert watts[0] == pytest.approx(watts[1] / 5)
    assert sending[:, 4] == pytest.approx(0.1)


def test_a_node_within_its_power_sends_at_what_was_granted() -> None:
    nodes = [Node(0.0), Node(20.0), Node(30.0)]
    with closing(Lab(nodes, [(0, 0, 0, 1), (0, 0, 0, 2)])) as lab:
        lab.of[0].watts, lab.of[1].watts = 0.03, 0.05
        loaded(lab, 0.02)
        assert {tuple(row[[0, 3]]) for row in lab.allocated} == {(0.0, 0.03), (1.0, 0.05)}


def test_small_transfers_take_only_the_blocks_that_they_need() -> None:
    with closing(Lab(*star(2))) as lab:
        lab.send(0, 200_000)
        lab.run()
        begun = len(lab.allocated)
        lab.send(0, 500)
        lab.run()
        rows = lab.allocated[begun:]
    assert rows[:, 2].sum() < 10


def test_nothing_is_simulated_while_there_is_nothing_to_do() -> None:
    with closing(Lab(*star(2))) as lab:
        lab.send(0, 1000)
        end = lab.run()
        events = lab.ns.Simulator.GetEventCount()
        assert end < 0.1
        lab.run(10.0)
        assert lab.ns.Simulator.GetEventCount() - events <= 2  # the stop itself
        lab.send(1, 1000)
        lab.run()
        assert len(lab.items) == 2


def test_what_is_asked_for_between_two_ttis_starts_with_the_next() -> None:
    with closing(Lab(*star(1))) as lab:
        lab.run(0.0123456)
        lab.send(0, 10)
        lab.run()
        assert lab.allocated[0][1] == 13 * MS
        ((_, _, end_ns, *_),) = lab.items
        flight_ns = (20**2 + 1) ** 0.5 / 299792458 * 1e9
        assert end_ns == pytest.approx(14 * MS + flight_ns, abs=1)
