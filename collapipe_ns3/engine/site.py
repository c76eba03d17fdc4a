"""Where a round is executed: the network, the nodes' processors, and the log of computations."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal, TypeVar

from bridge.compute import Computed, Processor, TorchThread, duration_ns
from bridge.loop import simulated_loop, sleep_ns
from bridge.network import Delivery, Multicast, Network, Transfer, TransferOutcome
from bridge.payload import Ranges, length, union, within
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.power import radio_joules
from collapipe_ns3.engine.presence import ALWAYS_THERE, Presence
from collapipe_ns3.exchange import PipelineId
from collapipe_ns3.outcome import Computation, TransferLabel, WorkItem
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import RoundPlan, Terms
from collapipe_ns3.plugins import RAISED, described

T = TypeVar("T")

#: After so many cuts in a row by which nothing arrived, a transfer fails: outages that are much
#: more frequent than the time to the first byte would have it last forever.
MOST_IDLE_CUTS = 1000


class ComputationFailed(RuntimeError):
    """A model's code raised an exception; the message says which computation it was, and where."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended to send bytes in spite of outages: what `bridge.network.Delivery` has.

    It may have been made in several transfers, or, during an outage, in none.
    """

    src: str
    dst: str
    kind: str
    size_bytes: int
    end_ns: int
    outcome: TransferOutcome
    lost: Ranges


class TransferFailed(RuntimeError):
    """A transfer failed as often as the plan's terms allow; the message has its last attempt."""

    def __init__(self, last: Delivery | Attempt, attempts: int) -> None:
        often = "once, at" if attempts == 1 else f"{attempts} times, at last at"
        super().__init__(
            f"{last.src} → {last.dst}: {last.kind} of {last.size_bytes} bytes {last.outcome} "
            f"{often} {last.end_ns / 1e9:.6f} s"
        )


class _Part(str):
    """The kind of a transfer, as an object of its own by which its delivery is found."""


class Site:
    """A network with a processor at each node; it executes one round after another.

    `terms` are those of the plan being executed, and `presence` says which nodes are there and
    which links can be used. `computations` are all that have ended, in this order; the latest may
    be missing until `settle`, since torch may not have completed them.
    """

    def __init__(
        self,
        network: Network,
        profiles: Mapping[str, DeviceProfile],
        thread: TorchThread,
        presence: Presence = ALWAYS_THERE,
    ) -> None:
        self.network = network
        self.profiles = profiles
        self.thread = thread
        self.presence = presence
        self.terms = Terms()
        self.computations: list[Computation] = []
        self._ended: deque[tuple[Computed[Any], Callable[..., Computation]]] = deque()
        self._processors = {
            node: Processor(thread, partial(presence.end_ns, node))
            if presence
            else Processor(thread)
            for node in profiles
        }
        self._busy_ns: dict[str, int] = {}  # of computations that have ended
        self._under_way: dict[object, tuple[WorkItem, Sequence[str]]] = {}  # what is on which route

    def apply(self, plan: RoundPlan) -> None:
        """Sets the powers, bandwidths and terms of the plan that is executed from now on."""
        self.network.apply(plan.links)
        self.terms = plan.terms

    async def send(self, route: Sequence[str], size: int, kind: str) -> None:
        """Sends bytes over every hop of a route until all have arrived, each hop before the next.

        `kind` is recorded with each transfer: a `TransferKind`, or a `TransferLabel` made of one.

        Bytes that are missing after a hop (over a transport that repairs no losses) are sent again
        at once; a transfer that failed entirely is sent again after the pause in the plan's terms.
        Raises `TransferFailed` once these allow no further attempt, and `NodeLost` if one is due
        while a node of the route is away.
        """
        with self._noted(route, kind):
            for src, dst in pairwise(route):
                missing = size
                while missing:
                    missing = length(await self._hop(src, dst, missing, kind))

    async def send_once(self, route: Sequence[str], size: int, kind: str) -> Ranges:
        """Like `send`, without repairing gaps; returns the byte ranges that never arrived.

        A relay passes on the full size; bytes that it lacks are missing at the end too.
        """
        missing: Ranges = ()
        with self._noted(route, kind):
            for src, dst in pairwise(route):
                lost = await self._hop(src, dst, size, kind)
                missing = union(missing, lost) if lost else missing
        return missing

    def is_sending(self, pipeline: PipelineId, node: str) -> bool:
        """Whether bytes of a pipeline's local steps are on a route with this node."""
        place = (pipeline.cluster, pipeline.index)
        return any(
            node in route and (work.cluster, work.pipeline) == place
            for work, route in self._under_way.values()
        )

    @contextmanager
    def _noted(self, route: Sequence[str], kind: str) -> Iterator[None]:
        """Has `is_sending` know a route."""
        key = object()
        if isinstance(kind, TransferLabel):
            self._under_way[key] = kind.work, route
        try:
            yield
        finally:
            self._under_way.pop(key, None)

    def send_to_all(
        self, src: str, receivers: Sequence[str], size: int, kind: str
    ) -> Sequence[Transfer]:
        """Sends bytes to several nodes by one transmission; a transfer for each, in their order.

        Nothing is sent again; `collapipe_ns3.engine.group_send` does that. Raises `TypeError` where
        the network can't multicast.
        """
        if len(receivers) == 1:
            return [self.network.transfer(src, receivers[0], size, kind)]
        if not isinstance(self.network, Multicast):
            network = type(self.network).__name__
            what = f"{network} can't send to several nodes at once (bridge.network.Multicast)"
            raise TypeError(f"{src} → {', '.join(receivers)}: {what}")
        return self.network.multicast(src, receivers, size, kind)

    async def send_again(self, failed: Delivery | Attempt, size: int, kind: str) -> None:
        """Sends bytes as `send` does, after a first attempt that failed as part of a multicast."""
        lost = await self._hop(failed.src, failed.dst, size, kind, failed)
        await self.send((failed.src, failed.dst), length(lost), kind)

    async def _hop(
        self, src: str, dst: str, size: int, kind: str, failed: Delivery | Attempt | None = None
    ) -> Ranges:
        """One transfer, sent again as the terms say; returns the byte ranges that are missing.

        If the first attempt has been made already and failed, it is given as `failed`.
        """
        terms = self.terms
        delivery = failed or await self._attempt(src, dst, size, kind)
        for _ in range(terms.resends):
            if delivery.outcome in ("delivered", "partial"):
                break
            await sleep_ns(round(terms.resend_after_s * 1e9))
            delivery = await self._attempt(src, dst, size, kind)
        if delivery.outcome not in ("delivered", "partial"):
            raise TransferFailed(delivery, terms.resends + 1)
        return delivery.lost

    async def _attempt(self, src: str, dst: str, size: int, kind: str) -> Delivery | Attempt:
        """One attempt to send bytes, which may last through outages of the link."""
        if not self.presence:
            return await self.network.transfer(src, dst, size, kind)
        missing: Ranges = ((0, size),)
        idle_cuts = 0
        while idle_cuts < MOST_IDLE_CUTS and await self._may_begin(src, dst, kind):
            part = own_kind(kind)
            transfer = self.network.transfer(src, dst, length(missing), part)
            delivery = await self.ended(transfer, src, dst, part)
            before, missing = length(missing), within(missing, delivery.lost)
            if delivery.outcome != "cut":
                ended = simulated_loop().now_ns(), delivery.outcome, missing
                return Attempt(src, dst, kind, size, *ended)
            if self.presence.faults.on_outage == "fail":
                break
            idle_cuts = idle_cuts + 1 if length(missing) == before else 0
        return self.failed_attempt(src, dst, size, kind)

    async def _may_begin(self, src: str, dst: str, kind: str) -> bool:
        """Whether a transfer may begin now, after the end of an outage; False if it fails."""
        if self.presence.faults.on_outage == "wait" and not self.presence.is_usable(src, dst):
            await self.presence.until_usable(src, [dst])
        for node in self.presence.away((src, dst)):
            step = kind.work.step if isinstance(kind, TransferLabel) else -1
            raise self.presence.lost(node, Phase.PIPELINE, step)
        return self.presence.is_usable(src, dst)

    def failed_attempt(self, src: str, dst: str, size: int, kind: str) -> Attempt:
        """An attempt that an outage has ended now, or that can't be made because of one."""
        return Attempt(src, dst, kind, size, simulated_loop().now_ns(), "cut", ((0, size),))

    async def ended(self, transfer: Transfer, src: str, dst: str, kind: str) -> Delivery:
        """How a transfer of this kind ended; it is cut when its link goes out.

        No other transfer between the two may have the same object as its kind.
        """
        cutter = self.presence.cutter(src, dst, transfer) if self.presence else None
        if cutter is None:
            return await transfer
        try:
            return await transfer
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not cutter.has_cut or (task is not None and task.cancelling()):
                raise
        finally:
            cutter.stop()
        ended = reversed(self.network.deliveries)
        return next(each for each in ended if each.kind is kind and each.dst == dst)

    async def compute(
        self,
        node: str,
        work: WorkItem,
        action: Literal["F", "B", "step", "aggregate"],
        flops: float,
        call: Callable[[], T],
    ) -> Computed[T]:
        """Runs `call` on a node; the computation is recorded as this `action` of `work`.

        It takes the simulated time that the node's profile gives for `flops`. The result may
        be read in the torch thread, by calls that are queued later, without waiting for it here.
        """
        if self.presence and not self.presence.is_there(node):
            raise self.presence.lost(node, Phase.PIPELINE, work.step)
        profile = self.profiles[node]
        lasting_ns = duration_ns(flops, profile.flops_per_s, profile.overhead_s)
        record = partial(Computation, node=node, work=work, action=action, flops=flops)
        on_cut = partial(self._note_cut, node, record)
        processor = self._processors[node]
        if action != "step" or not (self.presence or self.terms.deadline):
            done = await processor.run(call, lasting_ns, on_cut)
        else:
            # A step that is cut has changed nothing: what it would change lasts.
            passed = await processor.run(_nothing, lasting_ns, on_cut)
            done = Computed(self.thread.start(call).pending, passed.start_ns, passed.end_ns)
        self._note(node, record, done)
        return done

    def used_j(self) -> dict[str, float]:
        """The joules above idle that every node has taken, for computations that have ended."""
        radio_j = radio_joules(self.network.usage(), self.profiles)
        return {
            node: profile.power.computing_w * self._busy_ns.get(node, 0) / 1e9
            + sum(radio_j.get(node, (0.0, 0.0)))
            for node, profile in self.profiles.items()
        }

    def settle(self) -> None:
        """Waits for torch to complete the computations that have ended in simulated time.

        Raises `ComputationFailed` for the first one that failed.
        """
        while self._ended:
            self._note_first()

    def _note(self, node: str, record: Callable[..., Computation], done: Computed[Any]) -> None:
        self._busy_ns[node] = self._busy_ns.get(node, 0) + done.end_ns - done.start_ns
        self._ended.append((done, partial(record, start_ns=done.start_ns, end_ns=done.end_ns)))
        while self._ended and self._ended[0][0].pending.done():  # so that results are given up
            self._note_first()

    def _note_cut(self, node: str, record: Callable[..., Computation], cut: Computed[Any]) -> None:
        """Notes a computation that ends since its node has left, or since its pipeline fails."""
        self._note(node, partial(record, outcome="cut"), cut)

    def _note_first(self) -> None:
        done, record = self._ended.popleft()
        try:
            wall_s = done.wall_s
        except RAISED as error:
            what = record(wall_s=math.nan)
            place = f"{what.action} of stage {what.stage} on {what.node}"
            raise ComputationFailed(f"{place}: {described(error)}") from error
        self.computations.append(record(wall_s=wall_s))


def own_kind(kind: str) -> str:
    """The same kind as an object of its own, by which `Site.ended` finds a delivery."""
    if isinstance(kind, TransferLabel):
        return TransferLabel(kind, kind.work, kind.leg)
    return _Part(kind)


def _nothing() -> None:
    """The work of a computation whose own work is done at its end."""
