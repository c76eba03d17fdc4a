"""Event graphs: tasks that wait for other tasks and hold resources, and when each of them ends.

A task is requested once all tasks that it waits for have ended. It waits for its resources, first
come, first served, holds them, and ends a latency after it has released them. That is what the
engine's processors do, and the links of `bridge.fixed.FixedRateNetwork`. A radio channel that many
links share is held evenly instead (processor sharing): of n tasks that hold it, each proceeds at
1/n of its speed, as on links that contend for Wi-Fi or get equal parts of LTE. A band may also be
divided slot by slot (`collapipe_ns3.eventgraph.slots`): a task on it claims nothing else. Times are
whole nanoseconds.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from collapipe_ns3.eventgraph.slots import Lane, SlottedBand


class Hold(IntEnum):
    """How a task holds a resource.

    A task's first claim is `ALONE`, its others are not, and at most one of them is `EVENLY`.
    """

    ALONE = 0
    SENDING = 1  # a half-duplex radio may send on several links at once, or receive on several,
    RECEIVING = 2  # but not both
    EVENLY = 3


#: A resource and how it is held.
Claim = tuple[Hashable, Hold]


@dataclass(slots=True)
class EventGraph:
    """Tasks in the order in which they were added.

    This order decides which of several tasks comes first that are requested at the same instant.
    """

    hold_ns: list[int] = field(default_factory=list)
    latency_ns: list[int] = field(default_factory=list)
    transfers: list[bool] = field(default_factory=list)
    claims: list[tuple[tuple[int, Hold], ...]] = field(default_factory=list)
    needs: list[int] = field(default_factory=list)
    feeds: list[list[int]] = field(default_factory=list)
    lanes: list[tuple[Hashable, Lane] | None] = field(default_factory=list)
    resources: dict[Hashable, int] = field(default_factory=dict)

    def add(
        self,
        after: Iterable[int] = (),
        *,
        hold_ns: int = 0,
        latency_ns: int = 0,
        claims: Sequence[Claim] = (),
        transfer: bool = False,
        lane: tuple[Hashable, Lane] | None = None,
    ) -> int:
        """Adds a task and returns its number.

        It waits for the tasks `after`. At one instant transfers end before computations. `lane` is
        the name of a slotted band and the link on it that the task uses; `hold_ns` is then for the
        whole band.
        """
        task = len(self.hold_ns)
        self.hold_ns.append(hold_ns)
        self.latency_ns.append(latency_ns)
        self.transfers.append(transfer)
        self.lanes.append(lane)
        resources = self.resources
        self.claims.append(
            tuple([(resources.setdefault(key, len(resources)), how) for key, how in claims])
        )
        self.feeds.append([])
        self.needs.append(0)
        for other in after:
            self.link(other, task)
        return task

    def link(self, before: int, after: int) -> None:
        """Has one task wait for another."""
        self.feeds[before].append(after)
        self.needs[after] += 1

    def repeat(self, begin: int, first: int, last: int) -> int:
        """Adds copies of the latest tasks, `first` to `last`; returns the last copy.

        What waited for `begin` waits for `last` in the copy.
        """
        shift, these = len(self) - first, slice(first, last + 1)
        self.hold_ns += self.hold_ns[these]
        self.latency_ns += self.latency_ns[these]
        self.transfers += self.transfers[these]
        self.claims += self.claims[these]
        self.lanes += self.lanes[these]
        self.needs += self.needs[these]
        again = [fed + shift for fed in self.feeds[begin] if fed >= first]
        self.feeds += [[fed + shift for fed in feeds] for feeds in self.feeds[these]]
        self.feeds[last] += again
        return last + shift

    def __len__(self) -> int:
        return len(self.hold_ns)


@dataclass(frozen=True, slots=True)
class Execution:
    """When each task got its resources and when it ended, in ns, and how slots were used."""

    start_ns: Sequence[int]
    end_ns: Sequence[int]
    bands: Sequence[SlottedBand] = ()

    @property
    def makespan_ns(self) -> int:
        """When the last task ends."""
        return max(self.end_ns, default=0)


_RELEASE, _END, _CHECK, _SLOT = 0, 1, 2, 3

#: Limits of the events of an execution: a number, and one for each task. Rounds over good links
#: have two or three events per task; slots that many links share for hours have millions.
_MOST_EVENTS = 100_000
_MOST_EVENTS_A_TASK = 30


class TooManyEvents(RuntimeError):
    """A graph whose execution would take too long, because its links are too slow for any use."""


def execute(graph: EventGraph) -> Execution:
    """Executes a graph.

    A task first queues for its first claim, which it holds alone. While it holds that, it waits for
    its other claims, which it takes all at once. Of events at one instant those of transfers come
    before those of computations, and then the task that began first: this is the order of the
    simulated event loop (`bridge.loop`).

    Raises `ValueError` where tasks wait for each other in a circle, and `TooManyEvents` where there
    are more events than in any useful round.
    """
    return _Run(graph).execute()


@dataclass(slots=True)
class _Pool:
    """Tasks that hold a resource evenly, and what each had still to do at the time `since_ns`."""

    left_ns: dict[int, float] = field(default_factory=dict)
    since_ns: int = 0
    check: int = 0  # the number of the latest event at which the first of them may end

    def catch_up(self, now_ns: int) -> None:
        """Takes off what the tasks have done since then."""
        if self.left_ns:
            done_ns = (now_ns - self.since_ns) / len(self.left_ns)
            for task in self.left_ns:
                self.left_ns[task] -= done_ns
        self.since_ns = now_ns


class _Run:
    def __init__(self, graph: EventGraph) -> None:
        count, resources = len(graph), len(graph.resources)
        self.graph = graph
        self.missing = list(graph.needs)
        self.start_ns, self.end_ns = [-1] * count, [-1] * count
        self.holders = [0] * resources
        self.mode = [Hold.ALONE] * resources
        self.waiting: list[deque[int]] = [deque() for _ in range(resources)]
        self.pools: dict[int, _Pool] = {}
        self.bands: dict[Hashable, SlottedBand] = {}
        self.slots: list[SlottedBand] = []  # as numbers in events have them
        # When, computation?, order, task or pool, what.
        self.events: list[tuple[int, bool, int, int, int]] = []
        self.order = 0

    def execute(self) -> Execution:
        graph, events, missing, end_ns = self.graph, self.events, self.missing, self.end_ns
        ready = [task for task, count in enumerate(missing) if not count]
        now_ns = 0
        for _ in range(_MOST_EVENTS + _MOST_EVENTS_A_TASK * len(graph)):
            for task in ready:  # grows meanwhile: a task that takes no time ends at once
                if graph.claims[task] or graph.hold_ns[task] or graph.latency_ns[task]:
                    self._request(task, now_ns)
                else:
                    self.start_ns[task] = now_ns
                    self._end(task, now_ns, ready)
            if not events:
                break
            now_ns, _, order, task, which = heapq.heappop(events)
            ready = []
            if which == _CHECK:
                self._check_pool(task, order, now_ns, ready)
                continue
            if which == _SLOT:
                self._run_slot(task, now_ns)
                continue
            if which == _RELEASE:
                self._release(task, now_ns)
                if graph.latency_ns[task]:
                    continue
            self._end(task, now_ns, ready)
        else:
            raise TooManyEvents(f"{len(graph)} tasks have not ended by {now_ns * 1e-9:.0f} s")
        if stuck := sum(end < 0 for end in end_ns):
            raise ValueError(f"{stuck} tasks wait for each other in a circle")
        return Execution(self.start_ns, end_ns, self.slots)

    def _end(self, task: int, now_ns: int, ready: list[int]) -> None:
        self.end_ns[task] = now_ns
        missing = self.missing
        for fed in self.graph.feeds[task]:
            missing[fed] -= 1
            if not missing[fed]:
                ready.append(fed)

    def _request(self, task: int, now_ns: int) -> None:
        if (lane := self.graph.lanes[task]) is not None:
            self._request_slots(task, *lane, now_ns)
            return
        claims = self.graph.claims[task]
        if claims and self.holders[first := claims[0][0]]:
            self.waiting[first].append(task)
        else:
            self._enter(task, now_ns)

    def _request_slots(self, task: int, name: Hashable, lane: Lane, now_ns: int) -> None:
        band = self.bands.get(name)
        if band is None:
            band = self.bands[name] = SlottedBand(lane.slot_ns, len(self.slots))
            self.slots.append(band)
        before_ns = band.next_ns
        band.request(lane, task, self.graph.hold_ns[task], now_ns)
        self.start_ns[task] = now_ns
        if band.next_ns != before_ns:
            self._schedule_slot(band)

    def _schedule_slot(self, band: SlottedBand) -> None:
        self.order += 1
        # Before all other events of that instant: what is requested at it comes too late.
        heapq.heappush(self.events, (band.next_ns, False, -1, band.number, _SLOT))

    def _run_slot(self, number: int, now_ns: int) -> None:
        band = self.slots[number]
        if band.next_ns != now_ns:
            return  # an earlier slot was requested since
        end_ns = now_ns + band.slot_ns
        for task in band.slot(now_ns):
            self.order += 1
            arrives_ns = end_ns + self.graph.latency_ns[task]
            heapq.heappush(self.events, (arrives_ns, False, self.order, task, _END))
        if band.next_ns >= 0:
            self._schedule_slot(band)

    def _enter(self, task: int, now_ns: int) -> None:
        """Takes the first claim, which is free, and begins if the others are free too."""
        claims = self.graph.claims[task]
        if claims:
            self.holders[claims[0][0]] = 1
        if self._may_begin(task):
            self._begin(task, now_ns)
        else:
            for resource, _ in claims[1:]:
                self.waiting[resource].append(task)

    def _may_begin(self, task: int) -> bool:
        for resource, how in self.graph.claims[task][1:]:
            if self.holders[resource] and how is not Hold.EVENLY:
                if self.mode[resource] is not how:
                    return False
                # A task that may join the holders first lets a task go that waits for them to end.
                first = next(iter(self.waiting[resource]), task)
                if first != task and (resource, how) not in self.graph.claims[first]:
                    return False
        return True

    def _begin(self, task: int, now_ns: int) -> None:
        self.start_ns[task] = now_ns
        pooled = False
        for resource, how in self.graph.claims[task][1:]:
            self.holders[resource] += 1
            self.mode[resource] = how
            if how is Hold.EVENLY:
                self._join(resource, task, now_ns)
                pooled = True
        if not pooled:
            self._schedule(task, now_ns + self.graph.hold_ns[task], _RELEASE)

    def _schedule(self, task: int, when_ns: int, which: int) -> None:
        """Schedules when a task releases its resources, and when it ends if that is later."""
        self.order += 1
        kind, latency_ns = not self.graph.transfers[task], self.graph.latency_ns[task]
        if which == _RELEASE:
            heapq.heappush(self.events, (when_ns, kind, self.order, task, _RELEASE))
            when_ns += latency_ns
        if latency_ns:
            heapq.heappush(self.events, (when_ns, kind, self.order, task, _END))

    def _join(self, resource: int, task: int, now_ns: int) -> None:
        pool = self.pools.setdefault(resource, _Pool())
        pool.catch_up(now_ns)
        pool.left_ns[task] = self.graph.hold_ns[task]
        self._schedule_check(resource, pool, now_ns)

    def _schedule_check(self, resource: int, pool: _Pool, now_ns: int) -> None:
        if pool.left_ns:
            self.order += 1
            pool.check = self.order
            left_ns = min(pool.left_ns.values()) * len(pool.left_ns)
            first_ns = now_ns + max(math.ceil(left_ns), 0)
            heapq.heappush(self.events, (first_ns, False, self.order, resource, _CHECK))

    def _check_pool(self, resource: int, order: int, now_ns: int, ready: list[int]) -> None:
        """Ends the tasks of a pool that are done, unless others have joined it since."""
        pool = self.pools[resource]
        if order != pool.check:
            return
        pool.catch_up(now_ns)
        done = [task for task, left in pool.left_ns.items() if left < 0.5]
        for task in done:
            del pool.left_ns[task]
        self._schedule_check(resource, pool, now_ns)
        for task in done:
            self._release(task, now_ns)
            if latency_ns := self.graph.latency_ns[task]:
                self._schedule(task, now_ns + latency_ns, _END)
            else:
                self._end(task, now_ns, ready)

    def _release(self, task: int, now_ns: int) -> None:
        claims = self.graph.claims[task]
        if not claims:
            return
        for resource, _ in claims[1:]:
            self.holders[resource] -= 1
        for resource, _ in claims[1:]:
            for waiter in list(self.waiting[resource]):
                if self._may_begin(waiter):
                    for other, _ in self.graph.claims[waiter][1:]:
                        self.waiting[other].remove(waiter)
                    self._begin(waiter, now_ns)
        first = claims[0][0]
        self.holders[first] = 0
        if self.waiting[first]:
            self._enter(self.waiting[first].popleft(), now_ns)
