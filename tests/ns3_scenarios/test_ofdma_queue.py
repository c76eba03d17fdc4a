"""The link layer of an OFDMA link, against a model with the state of every byte."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ns3_scenarios import runtime

TRIES = 2  # how often the acknowledged mode sends again


def ranges(of: list[bool]) -> tuple[tuple[int, int], ...]:
    """The half-open ranges in which a list is true."""
    edges = [n for n in range(len(of) + 1) if (n and of[n - 1]) != (n < len(of) and of[n])]
    return tuple(zip(edges[::2], edges[1::2], strict=True))


@dataclass
class Model:
    """Every byte of the stream: fresh, sent, again (to be resent), arrived, lost or gone."""

    tries: int
    bytes: list[str] = field(default_factory=list)
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)

    def push(self, number: int, size: int) -> None:
        self.spans[number] = (len(self.bytes), len(self.bytes) + size)
        self.bytes += ["fresh"] * size

    def mark(self, begin: int, end: int, fate: str) -> None:
        for at in range(begin, end):
            if self.bytes[at] != "gone":
                self.bytes[at] = fate

    def resolved(self) -> int:
        """Everything before this byte has been delivered, lost or removed."""
        open_ones = [n for n, b in enumerate(self.bytes) if b in ("fresh", "sent", "again")]
        return min(open_ones, default=len(self.bytes))

    def take_out(self, number: int) -> tuple[tuple[int, int], ...]:
        """Ends an item early; its lost ranges."""
        begin, end = self.spans.pop(number)
        resolved = self.resolved()
        lost = [at >= resolved or self.bytes[at] == "lost" for at in range(begin, end)]
        self.mark(begin, end, "gone")
        return ranges(lost)

    def ended(self) -> list[tuple[int, tuple[tuple[int, int], ...]]]:
        """The items that have ended, in order, with their lost ranges."""
        through = [n for n, (_, end) in self.spans.items() if end <= self.resolved()]
        spans = [(n, self.spans.pop(n)) for n in sorted(through)]
        return [(n, ranges([b == "lost" for b in self.bytes[a:z]])) for n, (a, z) in spans]

    def waiting(self) -> int:
        return sum(b in ("fresh", "again") for b in self.bytes)


class Pair:
    """The queue and its model, with the same operations."""

    def __init__(self, acknowledged: bool) -> None:
        self.native = runtime.native()
        self.queue = self.native.OfdmaQueue(TRIES if acknowledged else 0)
        self.model = Model(TRIES if acknowledged else 0)
        self.on_air: list[tuple[int, int, int]] = []
        self.count = 0

    def push(self, size: int) -> None:
        item = self.native.OfdmaItem()
        item.id = self.count
        self.queue.Push(item, size)
        self.model.push(self.count, size)
        self.count += 1

    def take(self, most: int) -> None:
        taken = self.queue.Take(most)
        begin, end, tries = int(taken.first.begin), int(taken.first.end), int(taken.second)
        assert 0 < end - begin <= most
        kinds = set(self.model.bytes[begin:end])
        assert kinds == ({"again"} if "again" in self.model.bytes else {"fresh"})
        assert (tries > 0) <= (kinds == {"again"})
        self.model.mark(begin, end, "sent")
        self.on_air.append((begin, end, tries))

    def arrive(self, which: int) -> None:
        begin, end, _ = self.on_air.pop(which % len(self.on_air))
        self.queue.Arrived(self.native.ByteRange(begin, end))
        self.model.mark(begin, end, "arrived")

    def give_up(self, which: int) -> None:
        begin, end, tries = self.on_air.pop(which % len(self.on_air))
        self.queue.GivenUp(self.native.ByteRange(begin, end), tries)
        if self.model.tries == 0:
            self.model.mark(begin, end, "lost")
            return
        self.failed = None
        if tries == self.model.tries:
            for number, (a, z) in self.model.spans.items():
                if a <= begin < z:
                    self.failed = (number, self.model.take_out(number))
                    break
        self.model.mark(begin, end, "again")

    failed: Any = None

    def cut(self, which: int) -> None:
        number = which % self.count
        item = self.native.OfdmaItem()
        found = self.queue.Cut(number, item)
        assert found == (number in self.model.spans)
        if found:
            lost = tuple((int(r.begin), int(r.end)) for r in item.lost)
            assert lost == self.model.take_out(number)

    def move(self) -> None:
        """All items go on in another queue; nothing on the air is in the new one."""
        self.check()
        before, old = self.model, self.queue
        self.model = Model(before.tries)
        self.queue = self.native.OfdmaQueue(before.tries)
        self.on_air = []
        for remainder in old.TakeAll():
            self.queue.Resume(remainder)
        assert old.Waiting() == old.Unresolved() == 0
        through = []
        for number, (begin, end) in sorted(before.spans.items()):
            states = before.bytes[begin:end]
            if not {"fresh", "sent", "again"} & set(states):
                through.append((number, ranges([b == "lost" for b in states])))
                continue
            self.model.push(number, end - begin)
            for at, state in enumerate(states, len(self.model.bytes) - len(states)):
                self.model.bytes[at] = state if state in ("arrived", "lost") else "fresh"
        # What only waited for its turn ends where it is.
        ended = [
            (int(item.id), tuple((int(r.begin), int(r.end)) for r in item.lost))
            for item in old.TakeEnded()
        ]
        assert ended == through

    def lose_all(self) -> None:
        self.check()
        self.queue.LoseAll()
        ended = {
            int(item.id): tuple((int(r.begin), int(r.end)) for r in item.lost)
            for item in self.queue.TakeEnded()
        }
        assert self.queue.Waiting() == self.queue.Unresolved() == 0
        for number, (begin, end) in sorted(self.model.spans.items()):
            if {"fresh", "sent", "again"} & set(self.model.bytes[begin:end]):
                assert ended.pop(number) == self.model.take_out(number)
            else:
                self.model.spans.pop(number)
                states = self.model.bytes[begin:end]
                assert ended.pop(number) == ranges([b == "lost" for b in states])
        assert ended == {}

    def check(self) -> None:
        ended = [
            (int(item.id), tuple((int(r.begin), int(r.end)) for r in item.lost))
            for item in self.queue.TakeEnded()
        ]
        expected = self.model.ended()
        if self.failed is not None:
            expected.insert(0, self.failed)
            self.failed = None
        assert ended == expected
        assert self.queue.Waiting() == self.model.waiting()
        assert self.queue.Unresolved() == len(self.model.bytes) - self.model.resolved()


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["push", "take", "take", "arrive", "arrive", "give_up", "cut", "move", "lose all"]
        ),
        st.integers(1, 60),
    ),
    max_size=60,
)


@pytest.mark.parametrize("acknowledged", [True, False])
@settings(max_examples=300)
@given(actions=ACTIONS)
def test_every_byte_is_where_the_model_has_it(
    acknowledged: bool, actions: list[tuple[str, int]]
) -> None:
    pair = Pair(acknowledged)
    for action, number in actions:
        if action == "push":
            pair.push(number)
        elif action == "take" and pair.queue.Waiting():
            pair.take(number)
        elif action == "arrive" and pair.on_air:
            pair.arrive(number)
        elif action == "give_up" and pair.on_air:
            pair.give_up(number)
        elif action == "cut" and pair.count:
            pair.cut(number)
        elif action == "move":
            pair.move()
        elif action == "lose all" and number > 50:
            pair.lose_all()
        pair.check()


def test_an_item_that_was_passed_on_with_a_gap_can_be_cut() -> None:
    """Its bytes beyond the gap, which arrived before, never wait to be sent."""
    pair = Pair(acknowledged=True)
    for size in (20, 10):
        pair.push(size)
    pair.take(5)
    pair.take(5)
    pair.arrive(1)
    pair.move()
    assert pair.queue.Waiting() == 25
    pair.take(3)
    pair.cut(0)
    pair.check()
    assert pair.queue.Waiting() == 10
    pair.take(10)
    pair.arrive(1)
    pair.check()


def test_a_link_that_fails_loses_what_was_under_way_and_goes_on_with_the_rest() -> None:
    pair = Pair(acknowledged=True)
    pair.push(10)
    pair.push(10)
    pair.take(15)
    for _ in range(TRIES):
        pair.give_up(0)
        pair.check()
        pair.take(15)
    assert pair.queue.Waiting() == 5
    pair.give_up(0)
    (lost,) = pair.queue.TakeEnded()
    assert [(int(r.begin), int(r.end)) for r in lost.lost] == [(0, 10)]
    assert pair.queue.Waiting() == 10  # the second item's, of which five bytes had been sent


def test_what_is_charged_adds_up_over_the_transfers_of_a_block() -> None:
    pair = Pair(acknowledged=True)
    for size in (30, 50, 20):
        pair.push(size)
    whole = pair.native.ByteRange(0, 100)
    pair.queue.ChargeSent(whole, 1e-3, 0.2, 360e3)
    pair.queue.ChargeReceived(whole, 1e-3, 7.0)
    pair.queue.CountRetransmission(pair.native.ByteRange(0, 31))
    pair.queue.Arrived(whole)
    items = list(pair.queue.TakeEnded())
    assert [item.tally.airtime for item in items] == pytest.approx([0.3e-3, 0.5e-3, 0.2e-3])
    assert sum(item.tally.energy for item in items) == pytest.approx(0.2e-3)
    assert [item.tally.sinrTime / item.tally.rxTime for item in items] == pytest.approx([7.0] * 3)
    assert [item.retransmissions for item in items] == [1, 1, 0]
