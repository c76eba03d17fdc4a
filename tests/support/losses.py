"""A cluster that loses devices in the middle of a round, and what it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import lab
import torch
from torch import Tensor

from bridge.fixed import Link
from bridge.network import Delivery
from collapipe_ns3.arrangement import Arrangement
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.parts import PartCosts
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.fallback import AnyHosts
from collapipe_ns3.faults import Faults
from collapipe_ns3.outcome import PipelineFate, RoundOutcome
from collapipe_ns3.plan import (
    ClusterPlan,
    Pipeline,
    Recovery,
    RecoveryPolicy,
    RoundPlan,
    Stage,
    Terms,
)

LINK = Link(rate_bps=80_000_000)  # a byte in 100 ns
STEPS = 4
DEVICES = ("c0.d0", "c0.d1", "c0.d2")
BUSY_NS = dict.fromkeys((*DEVICES, "c0.d3", "c0.cu", "bs", "c1.d0", "c1.d1"), 100_000)
SHARES = (0.4, 0.6)


def sgd(parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def plan(
    policy: RecoveryPolicy,
    number: int = 0,
    *,
    cuts: Sequence[int] = (2, 1, 1),
    clusters: int = 1,
    copy_every: int = 1,
    most_losses: int = 3,
    arrangement: Arrangement | None = None,
    schedule: str = "gpipe",
) -> RoundPlan:
    """Three devices in cluster 0; a further cluster has two."""
    pipes = (lab.pipeline(0, cuts, 3, schedule), lab.pipeline(1, (2, 2), 2, "1f1b"))[:clusters]
    planned = tuple(ClusterPlan(n, (pipe,)) for n, pipe in enumerate(pipes))
    terms = Terms(recovery=Recovery(policy, copy_every, most_losses))
    return RoundPlan(number, "test", planned, terms=terms).arranged_by(arrangement)


def moved(before: RoundPlan, cuts: Mapping[str, int]) -> RoundPlan:
    """The same plan with other devices and numbers of blocks in cluster 0."""
    stages, first = [], 0
    for device, blocks in cuts.items():
        stages.append(Stage(device, first, first + blocks - 1))
        first += blocks
    pipeline = dataclasses.replace(before.clusters[0].pipelines[0], stages=tuple(stages))
    return dataclasses.replace(before, clusters=(ClusterPlan(0, (pipeline,)), *before.clusters[1:]))


@dataclass(frozen=True)
class Room(AnyHosts):
    """Devices with room for so many blocks."""

    most_blocks: int = 99

    def has_room(self, pipeline: Pipeline, number: int) -> bool:
        return pipeline.stages[number].blocks <= self.most_blocks


def run(
    plans: Sequence[RoundPlan],
    state: TrainingState,
    away: Mapping[str, tuple[int, int | None]] | None = None,
    *,
    most_blocks: int = 99,
    **how: object,
) -> list[RoundOutcome]:
    """Executes plans while nodes are away from one instant to another."""
    up = {node: lab.away(span) for node, span in (away or {}).items()}
    clusters = len(plans[0].clusters)
    settings = {"default": LINK, "local_steps": STEPS, "busy_ns": BUSY_NS}
    settings |= {"shares": SHARES[:clusters] if clusters > 1 else (1.0,)}
    settings |= {"faults": Faults(up=up), "hosts": lambda pipeline: Room(most_blocks)}
    return lab.run_rounds(plans, state, **(settings | how))  # type: ignore[arg-type]


def middle(
    outcome: RoundOutcome, node: str, what: str, step: int = -1, *, begun_ns: int = 0
) -> int:
    """The middle of a node's computation (F, B, step) or transfer of a kind, in a local step."""
    spans = [
        (each.start_ns, each.end_ns)
        for each in outcome.computations
        if (each.node, each.action) == (node, what) and step in (-1, each.work.step)
    ]
    spans += [
        (each.start_ns, each.end_ns)
        for each in outcome.deliveries
        if node in (each.src, each.dst) and each.kind == what and step in (-1, step_of(each))
    ]
    begin_ns, end_ns = min(span for span in spans if span[0] >= begun_ns)
    return (begin_ns + end_ns) // 2


def step_of(delivery: Delivery) -> int:
    return getattr(delivery.kind, "work", None).step  # type: ignore[union-attr]


def parameters(state: TrainingState) -> dict[str, Tensor]:
    return dict(state.model.state_dict())


def same(one: TrainingState, other: TrainingState) -> bool:
    """Whether two models are equal to the bit."""
    found, expected = parameters(one), parameters(other)
    return all(torch.equal(found[name], expected[name]) for name in expected)


def devices(fate: PipelineFate) -> dict[str, int]:
    """The devices of the pipeline that it ended with, and their blocks."""
    return {stage.device: stage.blocks for stage in fate.pipeline.stages}


def moments(part: PartCosts) -> int:
    """Bytes of AdamW's state of a part."""
    return OPTIMIZERS["adamw"].state_bytes(part.parameter_bytes, len(part.trained))


def states(state: TrainingState) -> dict[str, tuple[str | None, list[list[float]]]]:
    """The holder of each unit's optimizer states in cluster 0, and the states."""
    return {
        name: (
            unit.holder,
            [
                tensor.flatten().tolist()
                for each in unit.optimizer.state.values()
                for tensor in each.values()
            ],
        )
        for name, unit in state.replica(0, 0).units.items()
    }
