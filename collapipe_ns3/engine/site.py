"""Where a round is executed: the network, the nodes' processors, and what is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeVar

import torch

from bridge.compute import Processor, TorchThread, duration_ns
from bridge.loop import sleep_ns
from bridge.network import Delivery, Network
from bridge.payload import Ranges, union
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.measured import measure
from collapipe_ns3.costs.predicted import StageCost
from collapipe_ns3.engine.stage import StageWorker
from collapipe_ns3.outcome import Computation

T = TypeVar("T")

#: How often what did not get through is sent again before a cluster is abandoned, and how long
#: after: at once would meet what has just refused it.
RESENDS = 2
RESEND_AFTER_NS = 1_000_000_000


class TransferFailed(RuntimeError):
    """A transfer that was sent again and again did not get through."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(
            f"{delivery.src} → {delivery.dst}: {delivery.kind} of {delivery.size_bytes} bytes "
            f"{delivery.outcome} {RESENDS + 1} times, at last at {delivery.end_ns / 1e9:.6f} s"
        )


@dataclass(slots=True)
class CostBook:
    """The measured cost of every stage shape and input shape met so far; measured once each."""

    entries: dict[tuple[object, ...], StageCost] = field(default_factory=dict)

    def of(
        self,
        worker: StageWorker,
        shapes: Sequence[torch.Size],
        inputs: Callable[[], Sequence[object]],
        thread: TorchThread,
    ) -> StageCost:
        """FLOPs and memory of a stage's forward and backward on inputs of these shapes.

        `inputs` is called in the torch thread, where the cost has not been measured yet.
        """
        key = (*worker.shape, *map(tuple, shapes))
        if key not in self.entries:
            self.entries[key] = thread.now(
                lambda: measure(worker.function, worker.parameters, inputs())
            )
        return self.entries[key]


class Site:
    """A network with computers at its nodes. One `Site` executes one round, or several."""

    def __init__(
        self,
        network: Network,
        profiles: Mapping[str, DeviceProfile],
        thread: TorchThread,
        costs: CostBook,
    ) -> None:
        self.network = network
        self.profiles = profiles
        self.thread = thread
        self.costs = costs
        self.computations: list[Computation] = []
        self._processors = {node: Processor(thread) for node in profiles}

    async def send(self, route: Sequence[str], size: int, kind: str) -> None:
        """Sends bytes over every hop of a route until all have arrived, each hop before the next.

        What a transport leaves out that repairs nothing is sent again at once, and what did not
        get through at all after a pause. Raises `TransferFailed` where a hop fails for good.
        """
        for src, dst in pairwise(route):
            missing = size
            while missing:
                lost = await self._hop(src, dst, missing, kind)
                missing = sum(end - begin for begin, end in lost)

    async def send_once(self, route: Sequence[str], size: int, kind: str) -> Ranges:
        """The same for what bears gaps; returns the byte ranges that are missing at the end.

        A relay hands on all bytes, with what it lacks left blank.
        """
        missing: Ranges = ()
        for src, dst in pairwise(route):
            lost = await self._hop(src, dst, size, kind)
            missing = union(missing, lost) if lost else missing
        return missing

    async def _hop(self, src: str, dst: str, size: int, kind: str) -> Ranges:
        """One transfer, tried up to `RESENDS` + 1 times; the byte ranges that did not arrive."""
        for attempt in range(RESENDS + 1):
            delivery = await self.network.transfer(src, dst, size, kind)
            if delivery.outcome in ("delivered", "partial"):
                return delivery.lost
            if attempt == RESENDS:
                raise TransferFailed(delivery)
            await sleep_ns(RESEND_AFTER_NS)
        raise AssertionError("unreachable")

    async def compute(
        self,
        place: tuple[str, int, int],
        action: Literal["F", "B", "step", "aggregate"],
        micro_batch: int,
        flops: float,
        work: Callable[[], T],
    ) -> T:
        """Does real work on the node of `place` (node, cluster, stage), charged by its profile."""
        node, cluster, stage = place
        profile = self.profiles[node]
        lasting_ns = duration_ns(flops, profile.flops_per_s, profile.overhead_s)
        done = await self._processors[node].run(work, lasting_ns)
        self.computations.append(
            Computation(
                node=node,
                cluster=cluster,
                stage=stage,
                micro_batch=micro_batch,
                action=action,
                start_ns=done.start_ns,
                end_ns=done.end_ns,
                flops=flops,
                wall_s=done.wall_s,
            )
        )
        return done.result
