"""The CPU time that sampling saves: the network of a round of `paper-transformer`, both fidelities.

Both sides carry one round as the study's scheme plans it, with its transfer sizes and compute times
but without computing: broadcast, pipeline steps, gather and upload of every cluster. The processor
time of the simulating thread is measured, which depends less on other processes than wall time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch

from bridge import loop as simulated
from bridge.compute import duration_ns
from bridge.loop import sleep_ns
from collapipe_ns3 import Study
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.planning_problem import workload
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.plan import Pipeline
from collapipe_ns3.run.runner import Run
from collapipe_ns3.topology import layout
from ns3_scenarios import network
from ns3_scenarios.scenario import Fidelity

STUDY = "paper-transformer"
TCP = ("radio.d2d.transport=tcp", "radio.d2e.transport=tcp")


def measure() -> dict[str, float]:
    """`sampled_speedup`, the times it is computed from, and the round's error; also over TCP."""
    return _measured("sampled", ()) | _measured("sampled_tcp", TCP)


def _measured(name: str, sets: Sequence[str]) -> dict[str, float]:
    run = Run(Study.load(STUDY, sets).config, torch.device("cpu"))
    packet_cpu_s, packet_s = _round(run, "packet")
    sampled_cpu_s, sampled_s = _round(run, "sampled")
    return {
        f"{name}_speedup": packet_cpu_s / sampled_cpu_s,
        f"{name}_cpu_s": sampled_cpu_s,
        f"{name}_packet_cpu_s": packet_cpu_s,
        f"{name}_round_error": abs(sampled_s / packet_s - 1),
    }


def _round(run: Run, fidelity: Fidelity) -> tuple[float, float]:
    """CPU seconds and simulated seconds of the study's first round."""
    plan, _ = run.try_out()
    work = workload(run.observation(), Settings())
    spec = replace(layout.scenario(run.config, run.seed, 0), fidelity=fidelity)
    with closing(network.build(spec)) as net:
        net.apply(plan.links)
        clusters = [
            _Cluster(net, run.profiles, work, control_unit(each.cluster), each.pipelines[0])
            for each in plan.clusters
        ]

        async def main() -> float:
            began = time.thread_time()
            await asyncio.gather(*(cluster.round() for cluster in clusters))
            return time.thread_time() - began

        return simulated.run(net, main()), net.now_ns() / 1e9


@dataclass
class _Cluster:
    """The traffic of one cluster in a round."""

    net: network.Ns3Network
    profiles: dict[str, DeviceProfile]
    work: Workload
    control: str
    pipeline: Pipeline
    free: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def round(self) -> None:
        await self.net.transfer(SERVER, self.control, self.work.upload_bytes)
        await self._star(outwards=True)
        for _ in range(self.work.local_steps):
            parts = self.pipeline.micro_batches
            await asyncio.gather(*(self._micro_batch(self.work.batch_size // parts)
                                   for _ in range(parts)))  # fmt: skip
        await self._star(outwards=False)
        await self.net.transfer(self.control, SERVER, self.work.upload_bytes)

    async def _star(self, *, outwards: bool) -> None:
        """Sends every device's segment to it, or back from it, at the same time."""
        transfers = []
        for stage in self.pipeline.stages:
            ends = (self.control, stage.device) if outwards else (stage.device, self.control)
            transfers.append(self.net.transfer(*ends, round(stage.blocks * self.work.block_bytes)))
        await asyncio.gather(*transfers)

    async def _micro_batch(self, sequences: int) -> None:
        """Sends activations through the segments to the decoder, and gradients back."""
        work, block = self.work, self.work.block
        stages = self.pipeline.stages
        ways: Sequence[tuple[float, float, float]] = (
            (work.activation_bytes, block.forward_flops, work.decoder.forward_flops),
            (work.gradient_bytes, block.backward_flops, work.decoder.backward_flops),
        )
        for size, flops, decoder_flops in ways:
            forward, message = size == ways[0][0], round(sequences * size)
            at = self.control
            for stage in stages if forward else stages[::-1]:
                if not forward and at == self.control:
                    await self._compute(SERVER, sequences * decoder_flops)
                    await self.net.transfer(SERVER, self.control, message)
                await self.net.transfer(at, stage.device, message)
                await self._compute(stage.device, sequences * stage.blocks * flops)
                at = stage.device
            await self.net.transfer(at, self.control, message)
            if forward:
                await self.net.transfer(self.control, SERVER, message)
                await self._compute(SERVER, sequences * decoder_flops)

    async def _compute(self, node: str, flops: float) -> None:
        profile = self.profiles[node]
        async with self.free.setdefault(node, asyncio.Lock()):
            await sleep_ns(duration_ns(flops, profile.flops_per_s, profile.overhead_s))


if __name__ == "__main__":
    for key, value in measure().items():
        print(f"{key:28} {value:.3f}")
