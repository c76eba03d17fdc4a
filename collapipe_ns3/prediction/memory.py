"""Predicts the memory that a plan needs on each device.

DSSRA bounds the blocks of a device by the same costs, as arrays (`dssra.segments.tables.rooms`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Self

from bridge.formats import kept_copies
from collapipe_ns3.costs.optimizers import OptimizerKind
from collapipe_ns3.costs.parts import ModelCosts, PartCosts
from collapipe_ns3.costs.workload import held_bytes
from collapipe_ns3.exchange import PipelineId
from collapipe_ns3.fallback import is_replaceable
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import (
    ClusterPlan,
    Pipeline,
    Recovery,
    RoundPlan,
    micro_batch_sizes,
)
from collapipe_ns3.references import kept_bytes as kept_by_formats
from collapipe_ns3.schedule import Action, ActionKind, schedule_of

_MIB = 2**20

_NOTHING: Mapping[str, int] = MappingProxyType({})
_ABANDON = Recovery()


def most_kept(actions: Sequence[Action], sizes: Sequence[int]) -> int:
    """The most that a stage keeps of the micro-batches in flight, of which it keeps these sizes.

    In flight are those whose forward the stage has run and whose backward it has not.
    """
    held = most = 0
    for action in actions:
        if action.kind is ActionKind.FORWARD:
            held += sizes[action.micro_batch]
            most = max(most, held)
        elif action.kind is ActionKind.BACKWARD:
            held -= sizes[action.micro_batch]
    return most


def predict_memory(
    model: ModelCosts,
    pipeline: Pipeline,
    batch: BatchShape,
    optimizer: OptimizerKind,
    control: str = "",
) -> dict[str, int]:
    """Bytes that a pipeline needs on each node that it names, for batches of this shape.

    These are parameters, gradients and optimizer states of its stages, and what autograd keeps of
    the micro-batches that the schedule has in flight, with what a recomputing stage needs while it
    computes one again. The base station is left out where it holds the last part by default; so is
    the control unit with the first part (and a local head), unless it is named as `control`.
    """
    local_head = model.local_head is not None
    nodes = pipeline.nodes(control, "", local_head)
    shapes = _shapes(pipeline, batch)
    needs: Counter[str] = Counter()
    table = schedule_of(pipeline, local_head)
    for node, actions, part in zip(nodes, table, model.stages(pipeline), strict=True):
        if node:
            needs[node] += _stage_bytes(part, actions, shapes, optimizer)
    return dict(needs)


def _shapes(pipeline: Pipeline, batch: BatchShape) -> list[BatchShape]:
    """The shapes of a pipeline's micro-batches; larger ones come first."""
    sizes = micro_batch_sizes(batch.sequences, pipeline.micro_batches)
    return [batch._replace(sequences=size) for size in sizes]


def _stage_bytes(
    part: PartCosts,
    actions: Sequence[Action],
    shapes: Sequence[BatchShape],
    optimizer: OptimizerKind,
) -> int:
    kept = most_kept(actions, [part.kept_bytes(shape) for shape in shapes])
    return held_bytes(part, optimizer) + kept + part.transient_bytes(shapes[0])


def predict_whole_model(observation: Observation, sequences: int) -> int:
    """Bytes that a node needs for the whole model, with one micro-batch of so many sequences."""
    model, shape = observation.model, observation.model.longest_shape(sequences)
    return sum(
        held_bytes(part, observation.optimizer) + part.kept_bytes(shape)
        for part in model.every_part
    )


def memory_problems(plan: RoundPlan, observation: Observation) -> Iterator[tuple[str, str]]:
    """(cluster, message) for each device that lacks memory for its part of a valid plan.

    Every sequence is counted with the length of the task's longest. Devices also keep what the
    formats of the exchange need: the references of differences, and error memories. They and the
    control unit keep what the plan's recovery needs (`recovery_bytes`).
    """
    ways = plan.routing(observation.references).ways()
    kept: dict[int, Counter[str]] = {}
    for pipeline, nodes in kept_by_formats(ways, observation.model.units_bytes).items():
        kept.setdefault(pipeline.cluster, Counter()).update(nodes)
    for cluster in plan.clusters:
        own = kept.get(cluster.cluster, _NOTHING)
        recovery = plan.terms.recovery
        for message in cluster_memory_problems(cluster, observation, own, recovery):
            yield f"cluster {cluster.cluster}", message


def cluster_memory_problems(
    cluster: ClusterPlan,
    observation: Observation,
    kept_bytes: Mapping[str, int] = _NOTHING,
    recovery: Recovery = _ABANDON,
) -> Iterator[str]:
    """`memory_problems` of one cluster: a message for each device that lacks memory.

    `kept_bytes` is what its nodes keep because of the formats of the exchange. The control unit is
    checked only where it keeps something for the recovery.
    """
    needs: Counter[str] = Counter()
    kept = Counter(kept_bytes)
    sizes = cluster.sequences(observation.batch_size)
    model, optimizer = observation.model, observation.optimizer
    recovers = recovery.policy != "abandon" and any(map(is_replaceable, cluster.pipelines))
    control = control_unit(cluster.cluster) if recovers else ""
    for pipeline, size in zip(cluster.pipelines, sizes, strict=True):
        batch = model.longest_shape(size)
        needs.update(predict_memory(model, pipeline, batch, optimizer, control))
        kept.update(recovery_bytes(recovery, pipeline, control, model, optimizer))
    for device, trained in needs.items():
        needed = trained + kept[device]
        has = observation.profiles[device].memory_bytes
        if needed > has:
            yield f"{device} needs {needed / _MIB:.1f} MiB and has {has / _MIB:.1f} MiB"


def recovery_copies(recovery: Recovery, optimizer: OptimizerKind) -> int:
    """How many times the size of its parameters a device keeps for the recovery.

    To restart, it keeps the optimizer states of the round's start. To go on from a copy, it keeps
    parameters, optimizer states and control variates of the last full copy, and of the one that is
    being made.
    """
    if recovery.policy == "abandon":
        return 0
    if recovery.policy == "restart":
        return 0 if optimizer.anew else optimizer.states
    return 2 * (1 + optimizer.states + optimizer.variates)


def recovery_bytes(
    recovery: Recovery,
    pipeline: Pipeline,
    control: str,
    model: ModelCosts,
    optimizer: OptimizerKind,
) -> dict[str, int]:
    """Bytes that the devices of a pipeline and its control unit keep for the recovery.

    These are `recovery_copies` of a device's units. The control unit keeps the global model of the
    round, and with `replicate` two copies of what is on devices. What counts of steps take in the
    optimizer states is left out, as in all memory: twelve bytes for each tensor at most. Nothing is
    kept for a pipeline that can't go on without any of its devices.
    """
    if recovery.policy == "abandon" or not is_replaceable(pipeline):
        return {}
    copies = recovery_copies(recovery, optimizer)
    own = {
        node: model.trained_bytes(units)
        for node, units in pipeline.units(control, SERVER).items()
        if node != SERVER
    }
    needed = {node: copies * size for node, size in own.items()}
    apart = sum(size for node, size in own.items() if node != control)
    copied = copies * apart if recovery.policy == "replicate" else 0
    received = model.sent * sum(own.values())
    return {**needed, control: needed.get(control, 0) + received + copied}


@dataclass(frozen=True)
class PlannedHosts:
    """`collapipe_ns3.fallback.Hosts` for a pipeline of a plan, by what the planner knows.

    `kept_copies` is how many further copies of its parameters a device keeps, for the formats of
    the exchange and for the recovery.
    """

    observation: Observation
    sequences: int
    kept_copies: int = 0

    @classmethod
    def of(cls, plan: RoundPlan, observation: Observation, pipeline: PipelineId) -> Self:
        """The hosts of one of the plan's pipelines."""
        planned = next(each for each in plan.clusters if each.cluster == pipeline.cluster)
        ways = plan.routing(observation.references).ways()
        formats = (kept_copies(way.down, way.up) for way in ways if way.pipeline == pipeline)
        copies = recovery_copies(plan.terms.recovery, observation.optimizer)
        sequences = planned.sequences(observation.batch_size)[pipeline.index]
        return cls(observation, sequences, copies + max(formats, default=0))

    def has_room(self, pipeline: Pipeline, number: int) -> bool:
        model, own = self.observation.model, pipeline.stages[number]
        local_head = model.local_head is not None
        table = schedule_of(pipeline, local_head)
        shapes = _shapes(pipeline, model.longest_shape(self.sequences))
        nodes = pipeline.nodes("", "", local_head)
        # Of the segments only this one's blocks count.
        first, segment, *heads, last = model.stages(replace(pipeline, stages=(own,)))
        parts = {0: first, number + 1: segment, len(nodes) - 1: last}
        parts |= {len(nodes) - 2: head for head in heads}
        needed = sum(
            _stage_bytes(part, table[stage], shapes, self.observation.optimizer)
            for stage, part in parts.items()
            if nodes[stage] == own.device
        )
        units = pipeline.units("", "")[own.device]
        kept = self.kept_copies * model.trained_bytes(units)
        return needed + kept <= self.observation.profiles[own.device].memory_bytes

    def stage_s(self, pipeline: Pipeline, number: int) -> float:
        own = pipeline.stages[number]
        profile = self.observation.profiles[own.device]
        shape = _shapes(pipeline, self.observation.model.longest_shape(self.sequences))[0]
        part = self.observation.model.stages(replace(pipeline, stages=(own,)))[1]
        flops = part.forward_flops(shape) + part.backward_flops(shape)
        return 2 * profile.overhead_s + flops / profile.flops_per_s
