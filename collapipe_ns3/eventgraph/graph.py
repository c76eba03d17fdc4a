"""Event graphs: tasks that wait for other tasks and hold resources, and when each of them ends.

A task is requested once all tasks that it waits for have ended. It waits for its resources, first
come, first served, holds them, and ends a latency after it has released them. That is what the
engine's processors do, and the links of `bridge.fixed.FixedRateNetwork`. A multicast holds the
links to all of its receivers at once, and has a task for each receiver, which ends when that one
has received it. A radio channel that many links share is held evenly instead (processor sharing):
of n tasks that hold it, each proceeds at 1/n of its speed, as on links that contend for Wi-Fi or
get equal parts of LTE. A band may also be divided slot by slot (`collapipe_ns3.eventgraph.slots`):
a task on it claims nothing else. Times are whole nanoseconds.
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

    Each resource is held alone by all of its tasks, or by none. A task that claims anything holds
    at least one resource alone, and at most one evenly.
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
    alone: list[tuple[int, ...]] = field(default_factory=list)  # what each task holds alone,
    joint: list[tuple[tuple[int, Hold], ...]] = field(default_factory=list)  # and with others
    arrivals: dict[int, list[int]] = field(default_factory=dict)  # tasks added by `receive`
    deferred: set[int] = field(default_factory=set)  # see `defer`
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
        resources, alone, joint = self.resources, [], []
        for key, how in claims:
            resource = resources.setdefault(key, len(resources))
            if how is Hold.ALONE:
                alone.append(resource)
            else:
                joint.append((resource, how))
        self.alone.append(tuple(alone))
        self.joint.append(tuple(joint))
        self.feeds.append([])
        self.needs.append(0)
        for other in after:
            self.link(other, task)
        return task

    def receive(self, transfer: int, latency_ns: int) -> int:
        """Adds the arrival of a transfer at one more receiver, and returns its number.

        It ends `latency_ns` after the transfer has released what it holds.
        """
        arrival = self.add(latency_ns=latency_ns, transfer=True)
        self.needs[arrival] = 1  # the transfer, which ends it
        self.arrivals.setdefault(transfer, []).append(arrival)
        return arrival

    def defer(self, task: int) -> None:
        """Has a task come after all that other transfers cause which end at the same instant.

        In the simulated event loop these go on with a task that waited, and this is a new one.
        """
        self.deferred.add(task)

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
        self.alone += self.alone[these]
        self.joint += self.joint[these]
        for transfer, arrivals in list(self.arrivals.items()):
            if first <= transfer <= last:
                self.arrivals[transfer + shift] = [arrival + shift for arrival in arrivals]
        self.deferred.update([task + shift for task in self.deferred if first <= task <= last])
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


_RELEASE, _END, _CHECK, _SLOT, _REQUEST = range(5)

#: Limits of the events of an execution: a number, and one for each task. Rounds over good links
#: have two or three events per task; slots that many links share for hours have millions.
_MOST_EVENTS = 100_000
_MOST_EVENTS_A_TASK = 30


class TooManyEvents(RuntimeError):
    """A graph whose execution would take too long, because its links are too slow for any use."""


def execute(graph: EventGraph) -> Execution:
    """Executes a graph.

    A task first queues for all that it holds alone, and takes it once it is the first in each of
    these queues. While it holds that, it waits for its other claims, which it takes all at once. Of
    events at one instant those of transfers come before those of computations, and then the task
    that began first: this is the order of the simulated event loop (`bridge.loop`).

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
                takes_time = graph.hold_ns[task] or graph.latency_ns[task]
                if task in graph.deferred:
                    self.order += 1
                    heapq.heappush(events, (now_ns, False, self.order, task, _REQUEST))
                elif graph.alone[task] or takes_time or task in graph.arrivals:
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
            if which == _REQUEST:
                self._request(task, now_ns)
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
        alone = self.graph.alone[task]
        for resource in alone:
            if self.holders[resource] or self.waiting[resource]:
                break
        else:
            for resource in alone:
                self.holders[resource] = 1
            self._enter(task, now_ns)
            return
        for resource in alone:
            self.waiting[resource].append(task)

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
            self._schedule_end(task, end_ns)
            self._schedule_arrivals(task, end_ns)
        if band.next_ns >= 0:
            self._schedule_slot(band)

    def _admit(self, resource: int, now_ns: int) -> None:
        """Lets the first task in this queue in, if all that it holds alone is free for it."""
        waiting, holders = self.waiting, self.holders
        task = waiting[resource][0]
        alone = self.graph.alone[task]
        if all(not holders[each] and waiting[each][0] == task for each in alone):
            for each in alone:
                waiting[each].popleft()
                holders[each] = 1
            self._enter(task, now_ns)

    def _enter(self, task: int, now_ns: int) -> None:
        """Begins a task that has all that it holds alone, if it may have the rest too."""
        joint = self.graph.joint[task]
        if not joint or self._may_begin(task):
            self._begin(task, now_ns)
        else:
            for resource, _ in joint:
                self.waiting[resource].append(task)

    def _may_begin(self, task: int) -> bool:
        for resource, how in self.graph.joint[task]:
            if self.holders[resource] and how is not Hold.EVENLY:
                if self.mode[resource] is not how:
                    return False
                # A task that may join the holders first lets a task go that waits for them to end.
                first = next(iter(self.waiting[resource]), task)
                if first != task and (resource, how) not in self.graph.joint[first]:
                    return False
        return True

    def _begin(self, task: int, now_ns: int) -> None:
        self.start_ns[task] = now_ns
        pooled = False
        for resource, how in self.graph.joint[task]:
            self.holders[resource] += 1
            self.mode[resource] = how
            if how is Hold.EVENLY:
                self._join(resource, task, now_ns)
                pooled = True
        if not pooled:
            self._schedule_release(task, now_ns + self.graph.hold_ns[task])

    def _schedule_release(self, task: int, when_ns: int) -> None:
        """Schedules when a task releases its resources, and when it arrives at each receiver."""
        self.order += 1
        kind = not self.graph.transfers[task]
        heapq.heappush(self.events, (when_ns, kind, self.order, task, _RELEASE))
        if self.graph.latency_ns[task]:
            self._schedule_end(task, when_ns)
        if task in self.graph.arrivals:
            self._schedule_arrivals(task, when_ns)

    def _schedule_end(self, task: int, released_ns: int) -> None:
        self.order += 1
        kind, when_ns = not self.graph.transfers[task], released_ns + self.graph.latency_ns[task]
        heapq.heappush(self.events, (when_ns, kind, self.order, task, _END))

    def _schedule_arrivals(self, task: int, released_ns: int) -> None:
        """Schedules the arrivals of a multicast at its receivers after the first."""
        for arrival in self.graph.arrivals.get(task, ()):
            self.start_ns[arrival] = self.start_ns[task]
            self._schedule_end(arrival, released_ns)

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
            if self.graph.latency_ns[task]:
                self._schedule_end(task, now_ns)
            else:
                self._end(task, now_ns, ready)
            self._schedule_arrivals(task, now_ns)

    def _release(self, task: int, now_ns: int) -> None:
        if joint := self.graph.joint[task]:
            self._release_joint(joint, now_ns)
        alone = self.graph.alone[task]
        for resource in alone:
            self.holders[resource] = 0
        for resource in alone:
            if self.waiting[resource]:
                self._admit(resource, now_ns)

    def _release_joint(self, joint: Sequence[tuple[int, Hold]], now_ns: int) -> None:
        for resource, _ in joint:
            self.holders[resource] -= 1
        for resource, _ in joint:
            for waiter in list(self.waiting[resource]):
                if self._may_begin(waiter):
                    for other, _ in self.graph.joint[waiter]:
                        self.waiting[other].remove(waiter)
                    self._begin(waiter, now_ns)
