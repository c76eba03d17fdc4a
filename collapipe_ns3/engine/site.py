"""Where a round is executed: the network, the nodes' processors, and the log of computations."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, TypeVar

from bridge.compute import Computed, Processor, TorchThread, duration_ns
from bridge.loop import sleep_ns
from bridge.network import Delivery, Multicast, Network, Transfer
from bridge.payload import Ranges, union
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.outcome import Computation, WorkItem
from collapipe_ns3.plan import RoundPlan, Terms
from collapipe_ns3.plugins import RAISED, described

T = TypeVar("T")


class ComputationFailed(RuntimeError):
    """A model's code raised an exception; the message says which computation it was, and where."""


class TransferFailed(RuntimeError):
    """A transfer failed as often as the plan's terms allow; the message has its last attempt."""

    def __init__(self, last: Delivery, attempts: int) -> None:
        often = "once, at" if attempts == 1 else f"{attempts} times, at last at"
        super().__init__(
            f"{last.src} → {last.dst}: {last.kind} of {last.size_bytes} bytes {last.outcome} "
            f"{often} {last.end_ns / 1e9:.6f} s"
        )


class Site:
    """A network with a processor at each node; it executes one round after another.

    `terms` are those of the plan being executed. `computations` are all that have ended, in this
    order; the latest may be missing until `settle`, since torch may not have completed them.
    """

    def __init__(
        self,
        network: Network,
        profiles: Mapping[str, DeviceProfile],
        thread: TorchThread,
    ) -> None:
        self.network = network
        self.profiles = profiles
        self.thread = thread
        self.terms = Terms()
        self.computations: list[Computation] = []
        self._ended: deque[tuple[Computed[Any], Callable[..., Computation]]] = deque()
        self._processors = {node: Processor(thread) for node in profiles}

    def apply(self, plan: RoundPlan) -> None:
        """Sets the powers, bandwidths and terms of the plan that is executed from now on."""
        self.network.apply(plan.links)
        self.terms = plan.terms

    async def send(self, route: Sequence[str], size: int, kind: str) -> None:
        """Sends bytes over every hop of a route until all have arrived, each hop before the next.

        `kind` is recorded with each transfer: a `TransferKind`, or a `TransferLabel` made of one.

        Bytes that are missing after a hop (over a transport that repairs no losses) are sent again
        at once; a transfer that failed entirely is sent again after the pause in the plan's terms.
        Raises `TransferFailed` once these allow no further attempt.
        """
        for src, dst in pairwise(route):
            missing = size
            while missing:
                lost = await self._hop(src, dst, missing, kind)
                missing = sum(end - begin for begin, end in lost)

    async def send_once(self, route: Sequence[str], size: int, kind: str) -> Ranges:
        """Like `send`, without repairing gaps; returns the byte ranges that never arrived.

        A relay passes on the full size; bytes that it lacks are missing at the end too.
        """
        missing: Ranges = ()
        for src, dst in pairwise(route):
            lost = await self._hop(src, dst, size, kind)
            missing = union(missing, lost) if lost else missing
        return missing

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

    async def send_again(self, failed: Delivery, size: int, kind: str) -> None:
        """Sends bytes as `send` does, after a first attempt that failed as part of a multicast."""
        lost = await self._hop(failed.src, failed.dst, size, kind, failed)
        missing = sum(end - begin for begin, end in lost)
        await self.send((failed.src, failed.dst), missing, kind)

    async def _hop(
        self, src: str, dst: str, size: int, kind: str, failed: Delivery | None = None
    ) -> Ranges:
        """One transfer, sent again as the terms say; returns the byte ranges that are missing.

        If the first attempt has been made already and failed, it is given as `failed`.
        """
        terms = self.terms
        delivery = failed or await self.network.transfer(src, dst, size, kind)
        for _ in range(terms.resends):
            if delivery.outcome in ("delivered", "partial"):
                break
            await sleep_ns(round(terms.resend_after_s * 1e9))
            delivery = await self.network.transfer(src, dst, size, kind)
        if delivery.outcome not in ("delivered", "partial"):
            raise TransferFailed(delivery, terms.resends + 1)
        return delivery.lost

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
        profile = self.profiles[node]
        lasting_ns = duration_ns(flops, profile.flops_per_s, profile.overhead_s)
        done = await self._processors[node].run(call, lasting_ns)
        record = partial(
            Computation,
            node=node,
            work=work,
            action=action,
            start_ns=done.start_ns,
            end_ns=done.end_ns,
            flops=flops,
        )
        self._ended.append((done, record))
        while self._ended and self._ended[0][0].pending.done():  # so that results are given up
            self._note_first()
        return done

    def settle(self) -> None:
        """Waits for torch to complete the computations that have ended in simulated time.

        Raises `ComputationFailed` for the first one that failed.
        """
        while self._ended:
            self._note_first()

    def _note_first(self) -> None:
        done, record = self._ended.popleft()
        try:
            wall_s = done.wall_s
        except RAISED as error:
            what = record(wall_s=math.nan)
            place = f"{what.action} of stage {what.stage} on {what.node}"
            raise ComputationFailed(f"{place}: {described(error)}") from error
        self.computations.append(record(wall_s=wall_s))
