"""Predicted rounds of the lab: what its nodes and links take, and whether the engine agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import lab

from bridge.compute import duration_ns
from bridge.fixed import Link
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.eventgraph.graph import Hold
from collapipe_ns3.eventgraph.timeline import HopTransfer, Timeline
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.phases import PIPELINE_PHASES, Phase

Pair = tuple[str, str]


def workload(
    cluster: int, local_steps: int, optimizer: str = "sgd", local_head: bool = False
) -> Workload:
    """The lab's workload on the batch that this cluster draws in every round alike."""
    batch = next(lab.batches(cluster, 0))
    return Workload.of(
        lab.LOCAL_COSTS if local_head else lab.COSTS,
        batch_size=12,
        local_steps=local_steps,
        optimizer=OPTIMIZERS[optimizer],
        source_length=batch.inputs[0].shape[1],
        target_length=batch.labels[0].shape[1],
    )


@dataclass(frozen=True)
class LabCosts:
    """Computations by profile, and transfers over links of fixed rate."""

    profiles: Mapping[str, DeviceProfile]
    links: Mapping[Pair, Link]

    def processor_ns(self, node: str, flops: float) -> int:
        profile = self.profiles[node]
        return duration_ns(flops, profile.flops_per_s, profile.overhead_s)

    def hop_transfer(
        self, src: str, receivers: tuple[str, ...], size_bytes: int, bulk: bool
    ) -> HopTransfer:
        links = {(src, dst): self.links.get((src, dst), lab.FAST) for dst in receivers}
        slowest = min(links.values(), key=lambda link: link.rate_bps)
        media = dict.fromkeys(link.medium or pair for pair, link in links.items())
        return HopTransfer(
            slowest.airtime_ns(size_bytes),
            tuple(link.latency_ns for link in links.values()),
            tuple((medium, Hold.ALONE) for medium in media),
        )


def agree(made: Timeline, outcome: RoundOutcome) -> None:
    """Every phase and every single task, to the nanosecond."""
    last = max(made.pipelines, key=lambda times: times.ends_ns[Phase.UPLOAD])
    assert last.phases_ns == {phase: outcome.phases_ns[phase] for phase in PIPELINE_PHASES}
    assert last.overlap_ns == outcome.overlap_ns
    assert made.total_ns == outcome.duration_ns
    computed = sorted((d.node, d.start_ns, d.end_ns) for d in outcome.computations)
    assert sorted((b.src, b.start_ns, b.end_ns) for b in made.bars if not b.dst) == computed
    carried = sorted((d.src, d.dst, d.end_ns) for d in outcome.deliveries)
    assert sorted((b.src, b.dst, b.end_ns) for b in made.bars if b.dst) == carried
