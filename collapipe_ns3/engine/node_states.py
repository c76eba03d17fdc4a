"""Heat and charge of nodes during a round, from the energy that they take.

Once every `READ_NS` of the run's time, the energy is read that every node has taken since: at idle
while it was there, for computations that have ended, and for its radio. In between, its power
counts as constant. A node whose battery is then found empty goes at that instant, and takes nothing
until it returns. A node that is then found too hot, or cool again, computes at its new speed from
the next computation on. So both are late by `READ_NS` and one computation at most.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from bridge.loop import TaskGroup, simulated_loop, sleep_until_ns
from collapipe_ns3.faults import NO_FAULTS, Faults, Product, Signal
from collapipe_ns3.node_state import NodeModel, NodeState

if TYPE_CHECKING:
    from collapipe_ns3.engine.site import Site

_T = TypeVar("_T")

#: The time between two readings.
READ_NS = 100_000_000


@dataclass(slots=True)
class History:
    """A signal whose changes are added as they happen, or as soon as they are certain."""

    first: float
    _times_ns: list[int] = field(default_factory=list)
    _values: list[float] = field(default_factory=list)

    def at(self, now_ns: int) -> float:
        index = bisect_right(self._times_ns, now_ns)
        return self._values[index - 1] if index else self.first

    def next_change_ns(self, after_ns: int) -> int | None:
        index = bisect_right(self._times_ns, after_ns)
        return self._times_ns[index] if index < len(self._times_ns) else None

    def change(self, now_ns: int, value: float) -> None:
        """Adds a change, which is later than all others."""
        self._times_ns.append(now_ns)
        self._values.append(value)


class NodeStates:
    """The states of a run's nodes from the beginning of a round on.

    `faults` are the given ones together with those that follow from the states. `states` are those
    at the latest reading, and `began_ns` is the run's time at the beginning.
    """

    def __init__(
        self,
        models: Mapping[str, NodeModel],
        states: Mapping[str, NodeState],
        faults: Faults = NO_FAULTS,
        began_ns: int = 0,
    ) -> None:
        self.models = models
        self.states = dict(states)
        self._began_ns = self._read_ns = began_ns
        self._charging = faults.charging_w
        self._used_j: dict[str, float] = {}  # without idle, since the beginning
        self._waiting: list[asyncio.Future[None]] = []
        self._up: dict[str, History] = {}
        self._slowness: dict[str, History] = {}
        for node, model in models.items():
            state = states[node]
            if model.battery is not None:
                self._up[node] = History(0.0 if state.empty else 1.0)
                if state.empty:
                    self._return(node, began_ns)
            if model.cooling is not None:
                self._slowness[node] = History(model.cooling.factor if state.throttled else 1.0)
        self.faults = replace(
            faults,
            up=_joined(faults.up, self._up),
            slowness=_joined(faults.slowness, self._slowness),
        )

    def __bool__(self) -> bool:
        return bool(self.models)

    @asynccontextmanager
    async def followed(self, site: Site) -> AsyncIterator[None]:
        """Reads the states regularly, and once more at the end."""
        if not self:
            yield
            return
        async with TaskGroup() as group:
            following = group.create_task(self._follow(site), name="heat and charge of nodes")
            yield
            following.cancel()
        self._read(site)

    def change(self) -> asyncio.Future[None]:
        """Ends when a node has left as its battery is empty, whichever it is."""
        self._waiting = [each for each in self._waiting if not each.done()]
        self._waiting.append(simulated_loop().create_future())
        return self._waiting[-1]

    async def _follow(self, site: Site) -> None:
        while True:
            now_ns = self._began_ns + simulated_loop().now_ns()
            await sleep_until_ns((now_ns // READ_NS + 1) * READ_NS - self._began_ns)
            self._read(site)

    def _read(self, site: Site) -> None:
        """Has the states be those of now."""
        now_ns = self._began_ns + simulated_loop().now_ns()
        used_j, since_ns = site.used_j(), self._read_ns
        left = False
        for node in self.models:
            idle_s = self.faults.up_ns(node, since_ns, now_ns) / 1e9
            idle_j = site.profiles[node].power.idle_w * idle_s
            active_j = used_j.get(node, 0.0) - self._used_j.get(node, 0.0)
            left |= self._advance(node, idle_j + active_j, since_ns, now_ns)
        self._used_j, self._read_ns = used_j, now_ns
        if left:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    def _advance(self, node: str, used_j: float, since_ns: int, now_ns: int) -> bool:
        """Sets the state of a node after it took so much energy; returns whether it has left."""
        model, state = self.models[node], self.states[node]
        charging = self._charging.get(node)
        if state.empty:
            change_ns = self._up[node].next_change_ns(since_ns)
            returns_ns = now_ns if change_ns is None else min(change_ns, now_ns)
            state = state.after(model, 0.0, charging, since_ns, returns_ns)
            state = replace(state, empty=self._up[node].at(returns_ns) == 0)
            since_ns = returns_ns
        after = state.after(model, used_j, charging, since_ns, now_ns)
        self.states[node] = after
        if model.cooling is not None:
            factor = model.cooling.factor if after.throttled else 1.0
            if factor != self._slowness[node].at(now_ns):
                self._slowness[node].change(now_ns, factor)
        left = after.empty and not state.empty
        if left:
            self._up[node].change(now_ns, 0.0)
            self._return(node, now_ns)
        return left

    def _return(self, node: str, after_ns: int) -> None:
        """Notes when a node returns that is empty now, if it ever does."""
        battery = self.models[node].battery
        assert battery is not None
        charge_j = self.states[node].charge_j
        returns_ns = battery.returns_ns(charge_j, self._charging.get(node), after_ns)
        if returns_ns is not None:
            self._up[node].change(max(returns_ns, after_ns + 1), 1.0)


def _joined(given: Mapping[_T, Signal], own: Mapping[_T, Signal]) -> dict[_T, Signal]:
    """The products of signals of the same node."""
    both = {node: Product((given[node], own[node])) for node in given if node in own}
    return {**given, **own, **both}
