"""A run's faults on the clock of a round: which nodes are there, and which links can be used.

Faults are functions of the run's time, and a round is executed on the clock of its episode, which
begins at 0: run time = the run's time at the episode's beginning + the time of the loop. Everything
here is given and returned in nanoseconds of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bridge.loop import TaskGroup, simulated_loop, sleep_until_ns
from bridge.network import Network, Switchable, Transfer
from collapipe_ns3.engine.node_states import NodeStates
from collapipe_ns3.faults import NO_FAULTS, Faults, Signal
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.phases import Phase

_DURING = {
    Phase.BROADCAST: "during the broadcast",
    Phase.GATHER: "while the trained parameters were gathered",
    Phase.UPLOAD: "during the upload",
}


def during(phase: Phase, step: int) -> str:
    """In which phase, or in which local step, a pipeline is, as text."""
    return _DURING.get(phase, f"in local step {step}")


class NodeLost(RuntimeError):
    """A node is away that a pipeline needs.

    `at_ns` is when the pipeline lost it, on the clock of the loop, and `step` the local step in
    which it did, -1 outside the local steps.
    """

    def __init__(self, node: str, at_ns: int, step: int, message: str) -> None:
        self.node = node
        self.at_ns = at_ns
        self.step = step
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Presence:
    """The faults of a run, where `began_ns` of the run's time is the instant 0 of the loop.

    Where `states` are given, nodes may also leave whose batteries are empty then.

    A base station is always there: while its radio is off, its links can't be used. Without faults
    it is false, and the engine then asks it nothing.
    """

    faults: Faults = NO_FAULTS
    began_ns: int = 0
    states: NodeStates | None = None

    def __bool__(self) -> bool:
        return bool(self.faults)

    def is_there(self, node: str) -> bool:
        """Whether a node is there at present."""
        return node.startswith(SERVER) or self.faults.is_up(node, self._now_ns())

    def away(self, nodes: Iterable[str]) -> list[str]:
        """Those of some nodes that are away at present, in their order."""
        return [node for node in nodes if not self.is_there(node)]

    def away_since(self, since_ns: int) -> frozenset[str]:
        """The nodes that have been away at any time from this instant until now."""
        return self.faults.away_within(self.began_ns + since_ns, self._now_ns())

    def up_s(self, node: str, since_ns: int) -> float:
        """For how many seconds a node has been there from this instant until now.

        For a base station it is how long its radio has been on.
        """
        return self.faults.up_ns(node, self.began_ns + since_ns, self._now_ns()) / 1e9

    async def changes(self, nodes: Iterable[str]) -> bool:
        """Waits until any of the nodes may have left or returned; False if none ever does."""
        known = [self.faults.up[node] for node in nodes if node in self.faults.up]
        if not self.states:
            return await self._changed(known)
        changed, change_ns = self.states.change(), self.next_change_ns(known)
        if change_ns is None:
            await changed
            return True
        timer = simulated_loop().call_at_ns(change_ns, _end, changed)
        try:
            await changed
        finally:
            timer.cancel()
        return True

    @asynccontextmanager
    async def switching(self, network: Network) -> AsyncIterator[None]:
        """Has nodes switched off in the network while they are away, where it can do that."""
        if not (self.faults.up and isinstance(network, Switchable)):
            yield
            return
        async with TaskGroup() as group:
            following = group.create_task(self._follow(network), name="nodes that leave and return")
            yield
            following.cancel()

    async def _follow(self, network: Switchable) -> None:
        nodes = sorted(self.faults.up)
        changes = True
        while changes:
            for node in nodes:
                network.switch(node, self.faults.is_up(node, self._now_ns()))
            changes = await self.changes(nodes)

    def end_ns(self, node: str, start_ns: int, lasting_ns: int) -> int:
        """When a computation ends, see `Faults.end_ns`."""
        started_ns = self.began_ns + start_ns
        return self.faults.end_ns(node, started_ns, lasting_ns) - self.began_ns

    def lost(self, node: str, phase: Phase, step: int = -1) -> NodeLost:
        """The error of a pipeline that has lost a node now, in a phase or in a local step."""
        now_ns = simulated_loop().now_ns()
        when = during(phase, step)
        if phase is not Phase.PIPELINE:
            step = -1
        message = f"{node} was away {(self.began_ns + now_ns) / 1e9:.6f} s after the run began"
        return NodeLost(node, now_ns, step, f"{message}, {when}")

    def is_usable(self, src: str, dst: str) -> bool:
        """Whether bytes can pass over a link at present."""
        return self.faults.is_usable(src, dst, self._now_ns())

    async def until_usable(self, src: str, receivers: Iterable[str]) -> bool:
        """Waits until the link to any receiver can be used; False if that is never the case."""
        links = [(src, dst) for dst in receivers]
        signals = [each for link in links for each in self._signals(*link)]
        while not any(self.is_usable(*link) for link in links):
            if not await self._changed(signals):
                return False
        return True

    def cutter(self, src: str, dst: str, transfer: Transfer) -> Cutter | None:
        """What cuts a transfer when its link goes out; None if nothing ever happens to it."""
        signals = self._signals(src, dst)
        return Cutter(self, src, dst, transfer, signals) if signals else None

    def next_change_ns(self, signals: Iterable[Signal]) -> int | None:
        """The first instant after the present one at which any of these changes."""
        change_ns = self.faults.next_change_ns(self._now_ns(), signals)
        return None if change_ns is None else change_ns - self.began_ns

    async def _changed(self, signals: list[Signal]) -> bool:
        change_ns = self.next_change_ns(signals)
        if change_ns is None:
            return False
        await sleep_until_ns(change_ns)
        return True

    def _signals(self, src: str, dst: str) -> list[Signal]:
        """What decides whether a link can be used."""
        stations = (end for end in (src, dst) if end.startswith(SERVER))
        signals = [self.faults.up[end] for end in stations if end in self.faults.up]
        link = self.faults.links.get((src, dst))
        return signals if link is None else [*signals, link]

    def _now_ns(self) -> int:
        """The run's time."""
        return self.began_ns + simulated_loop().now_ns()


@dataclass(slots=True)
class Cutter:
    """Cuts a transfer when its link goes out, unless `stop` is called before.

    `has_cut` says whether it did.
    """

    presence: Presence
    src: str
    dst: str
    transfer: Transfer
    signals: list[Signal]
    has_cut: bool = False
    _timer: asyncio.TimerHandle | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._wait()

    def stop(self) -> None:
        """Leaves the transfer alone from now on."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        change_ns = self.presence.next_change_ns(self.signals)
        if change_ns is not None:
            self._timer = simulated_loop().call_at_ns(change_ns, self._check)

    def _check(self) -> None:
        if self.presence.is_usable(self.src, self.dst):
            self._wait()
        else:
            self.has_cut = self.transfer.cancel()


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


#: Every node is always there.
ALWAYS_THERE = Presence()
