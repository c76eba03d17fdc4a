"""A bare ns-3 under the event loop: completions are ns-3 events, and nothing else is simulated."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge.network import Advance
from ns3_scenarios import runtime

_SOURCE = """
#include "ns3/core-module.h"
#include <deque>
namespace bare_clock {
std::deque<int> done;
void Complete(int id) { done.push_back(id); ns3::Simulator::Stop(); }
void Schedule(int id, int64_t delayNs) {
  ns3::Simulator::Schedule(ns3::NanoSeconds(delayNs), &Complete, id);
}
volatile double sink = 0;
// Stands for the network's own work: events a microsecond apart, each some arithmetic.
void Load(int left) {
  double x = left;
  for (int i = 0; i < 400; ++i) { x = x * 1.0000001 + 0.5; }
  sink = x;
  if (left > 0) { ns3::Simulator::Schedule(ns3::NanoSeconds(1000), &Load, left - 1); }
}
void StartLoad(int events) { ns3::Simulator::Schedule(ns3::NanoSeconds(1000), &Load, events); }
int64_t Now() { return ns3::Simulator::Now().GetNanoSeconds(); }
void Advance(int64_t untilNs) {
  ns3::EventId stop;
  if (untilNs >= 0) { stop = ns3::Simulator::Stop(ns3::NanoSeconds(untilNs - Now())); }
  ns3::Simulator::Run();
  stop.Cancel();
}
int Take() { int id = done.front(); done.pop_front(); return id; }
}
"""


class BareClock:
    """ns-3 as a `bridge.network.Clock`, without nodes: `after` is its shortest transfer."""

    def __init__(self) -> None:
        ns = runtime.load()
        runtime.reset(seed=1, run=1)
        self._ns = ns
        self._own = _own()
        self._advance = self._own.Advance
        self._advance.__release_gil__ = True  # so that torch computes meanwhile
        self._pending: dict[int, asyncio.Future[None]] = {}
        self._count = 0

    def now_ns(self) -> int:
        return int(self._own.Now())

    def in_flight(self) -> int:
        return len(self._pending)

    def describe_in_flight(self) -> list[str]:
        return [f"event {number}" for number in self._pending]

    def interrupt(self) -> None:
        """Does nothing: the waits that are measured here always end."""

    def advance(self, until_ns: int | None) -> Advance:
        self._advance(-1 if until_ns is None else until_ns)
        if not self._own.done.size():
            return "exhausted" if until_ns is None else "reached"
        while self._own.done.size():
            self._pending.pop(self._own.Take()).set_result(None)
        return "completed"

    def after(self, delay_ns: int) -> asyncio.Future[None]:
        """A future that an ns-3 event completes."""
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending[self._count] = future
        self._own.Schedule(self._count, delay_ns)
        return future

    def load(self, events: int) -> None:
        """Schedules this many ns-3 events, a microsecond of simulated time apart."""
        self._own.StartLoad(events)

    def close(self) -> None:
        self._ns.Simulator.Destroy()


def _own() -> Any:
    import cppyy  # after ns-3 is loaded, so that cppyy starts with the project's cache

    if not hasattr(cppyy.gbl, "bare_clock"):
        cppyy.cppdef(_SOURCE)
    return cppyy.gbl.bare_clock
