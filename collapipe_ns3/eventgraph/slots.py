"""A band that is divided slot by slot, as the scheduler of `ns3_scenarios/native` divides TTIs.

In each slot every link with something to send is owed its share of the band: its grant, or an equal
part of what grants leave. The link that is owed the most, counted in slots of its share, comes
first. What is left is divided evenly among links without grants, and no link gets more than it
needs. On a half-duplex band a node that sends in a slot receives nothing in it. A multicast is a
link to several receivers, with one share like any other link, and needs all of them to listen. What
was requested before a slot begins can be in it, and what a slot carries arrives at its end. Work is
counted in nanoseconds of the whole band.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

#: What a link may be owed at most: this many shares, and the part of one transport block in the
#: band (20 of 100 resource blocks).
_MOST_OWED = 4.0
_A_BLOCK = 0.2

_NOTHING = 1e-6  # of a slot: less than this is nothing


@dataclass(frozen=True, slots=True)
class Lane:
    """A link of a slotted band to one receiver or several.

    `share` is its granted part of the band, 0 without a grant.

    Without a grant, part x of the band carries x^(1 − `spread`) of what all of it would.
    """

    src: Hashable
    receivers: tuple[Hashable, ...]
    slot_ns: int
    half_duplex: bool
    share: float = 0.0
    spread: float = 0.0


@dataclass(slots=True)
class _Queue:
    """What a link has still to send, oldest first: (task, slots of the whole band)."""

    lane: Lane
    tasks: deque[tuple[int, float]] = field(default_factory=deque)
    left: float = 0.0
    credit: float = 0.0
    part: float = 0.0  # of the slot that is being divided
    emptied: int = 0  # the slot in which it last had nothing left

    def wants(self) -> float:
        """How much more of the slot the link could use."""
        left, spread = self.left, self.lane.spread
        if spread and left < 1:  # never so little that nothing would be given
            left = max(left ** (1 / (1 - spread)), 2 * _NOTHING)
        return left - self.part


@dataclass(slots=True)
class SlottedBand:
    """The links' queues, and when the next slot begins that changes anything, -1 for none."""

    slot_ns: int
    number: int = 0
    next_ns: int = -1
    queues: dict[tuple[Hashable, tuple[Hashable, ...]], _Queue] = field(default_factory=dict)
    active: list[_Queue] = field(default_factory=list)
    coming: list[tuple[Lane, int, int]] = field(default_factory=list)
    given: list[tuple[_Queue, float]] = field(default_factory=list)
    history: list[tuple[list[tuple[_Queue, float]], int]] = field(default_factory=list)
    last_ns: int = 0

    def request(self, lane: Lane, task: int, work_ns: int, now_ns: int) -> None:
        """Requests a transfer, for the next slot that begins."""
        self.coming.append((lane, task, work_ns))
        first_ns = (now_ns // self.slot_ns + 1) * self.slot_ns
        if self.next_ns < 0 or first_ns < self.next_ns:
            self.next_ns = first_ns

    def slot(self, now_ns: int) -> list[int]:
        """The transfers that end with the slot that begins now."""
        number = now_ns // self.slot_ns
        done: list[int] = []
        # Slots in between were divided as the last one, and no transfer ended in them.
        passed = (now_ns - self.last_ns) // self.slot_ns - 1
        if passed > 0 and self.given:
            self.history.append((self.given, passed))
            for queue, part in self.given:
                _send(queue, part * passed, done)
        self._take_in(number)
        self.given = self._divided()
        self.history.append((self.given, 1))
        for queue, part in self.given:
            _send(queue, part, done)
        for queue, _ in self.given:
            if not queue.tasks:
                queue.emptied = number
        waiting = len(self.active) - len(self.given)
        self.active = [queue for queue in self.active if queue.tasks]
        self.last_ns = now_ns
        if not self.active:
            self.next_ns, self.given = -1, []
            return done
        alike = 0
        if self.given and not waiting and not done:
            alike = int(min((queue.tasks[0][1] - _NOTHING) / part for queue, part in self.given))
        self.next_ns = now_ns + (alike + 1) * self.slot_ns
        return done

    def used(self) -> list[tuple[list[Lane], int]]:
        """Which links were on the air together, and for how long in ns, in order of time."""
        return [
            ([queue.lane for queue, _ in given], count * self.slot_ns)
            for given, count in self.history
        ]

    def _take_in(self, number: int) -> None:
        for lane, task, work_ns in self.coming:
            key = (lane.src, lane.receivers)
            queue = self.queues.get(key)
            if queue is None:
                queue = self.queues[key] = _Queue(lane)
            if not queue.tasks:
                self.active.append(queue)
                if number > queue.emptied + 1:
                    queue.credit = 0.0  # a share that is not wanted is not owed later
            work = max(work_ns / self.slot_ns, 2 * _NOTHING)
            queue.tasks.append((task, work))
            queue.left += work
        self.coming.clear()

    def _divided(self) -> list[tuple[_Queue, float]]:
        """What each link carries in this slot, without links that carry nothing."""
        active = self.active
        if len(active) == 1:
            only = active[0]
            return [(only, min(only.lane.share or 1.0, only.left))]
        granted = sum(queue.lane.share for queue in active)
        open_ = sum(not queue.lane.share for queue in active)
        rest = max(1.0 - granted, 0.0) / open_ if open_ else 0.0
        waited: list[tuple[float, int, _Queue]] = []
        for queue in active:
            share = queue.lane.share or rest
            most = _MOST_OWED * share + _A_BLOCK
            queue.credit = min(max(queue.credit + share, -most), most)
            waited.append((-queue.credit / share if share else 0.0, len(waited), queue))
        waited.sort()  # the second numbers differ: queues are never compared
        slot = _Slot()
        for _, _, queue in waited:
            slot.give(queue, queue.credit)
        asking = [q for _, _, q in waited if not q.lane.share and q.wants() > 0 and slot.may(q)]
        for place, queue in enumerate(asking):
            slot.give(queue, slot.left / (len(asking) - place))
        return slot.closed()


class _Slot:
    """A slot that is being divided. `_Queue.part` is what each queue has got of it so far."""

    def __init__(self) -> None:
        self.left = 1.0
        self.given: list[_Queue] = []
        self.sends: set[Hashable] = set()
        self.receives: set[Hashable] = set()

    def may(self, queue: _Queue) -> bool:
        lane = queue.lane
        if not lane.half_duplex or queue.part:
            return True
        return lane.src not in self.receives and self.sends.isdisjoint(lane.receivers)

    def give(self, queue: _Queue, most: float) -> None:
        part = min(most, self.left, queue.wants())
        if part > _NOTHING and self.may(queue):
            if not queue.part:
                self.given.append(queue)
                self.sends.add(queue.lane.src)
                self.receives.update(queue.lane.receivers)
            self.left -= part
            queue.part += part

    def closed(self) -> list[tuple[_Queue, float]]:
        """What each link carries in it, in the order in which they first got something."""
        carried = []
        for queue in self.given:
            spread = queue.lane.spread
            carried.append((queue, queue.part ** (1 - spread) if spread else queue.part))
            queue.credit -= queue.part
            queue.part = 0.0
        return carried


def _send(queue: _Queue, part: float, done: list[int]) -> None:
    """Takes what was sent from a link's queue; transfers that end are added to `done`."""
    queue.left = max(queue.left - part, 0.0)
    while queue.tasks:
        task, work = queue.tasks[0]
        if work - part > _NOTHING:
            queue.tasks[0] = (task, work - part)
            break
        part = max(part - work, 0.0)
        done.append(task)
        queue.tasks.popleft()
        if part <= _NOTHING:
            break
    # Rounding may take from the sum more than from the first transfer.
    queue.left = max(queue.left, queue.tasks[0][1]) if queue.tasks else 0.0
