"""Predicts the memory that a plan needs on each device.

DSSRA bounds the blocks of a device by the same costs, as arrays (`dssra.segments.tables.rooms`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from collapipe_ns3.costs.optimizers import OptimizerKind
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.workload import held_bytes
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, micro_batch_sizes
from collapipe_ns3.references import kept_bytes as kept_by_formats
from collapipe_ns3.schedule import Action, ActionKind, schedule_of

_MIB = 2**20

_NOTHING: Mapping[str, int] = MappingProxyType({})


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
    model: ModelCosts, pipeline: Pipeline, batch: BatchShape, optimizer: OptimizerKind
) -> dict[str, int]:
    """Bytes that a pipeline needs on each node that it names, for batches of this shape.

    These are parameters, gradients and optimizer states of its stages, and what autograd keeps of
    the micro-batches that the schedule has in flight, with what a recomputing stage needs while it
    computes one again. Control unit and base station are left out where they hold the first part
    (with a local head) and the last part by default.
    """
    nodes = pipeline.nodes("", "", model.local_head is not None)
    sizes = micro_batch_sizes(batch.sequences, pipeline.micro_batches)
    shapes = [batch._replace(sequences=size) for size in sizes]
    needs: Counter[str] = Counter()
    table = schedule_of(pipeline, model.local_head is not None)
    stages = zip(nodes, table, model.stages(pipeline), strict=True)
    for node, actions, part in stages:
        if node:
            kept = most_kept(actions, [part.kept_bytes(shape) for shape in shapes])
            # Larger micro-batches come first.
            needs[node] += held_bytes(part, optimizer) + kept + part.transient_bytes(shapes[0])
    return dict(needs)


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
    formats of the exchange need: the references of differences, and error memories.
    """
    ways = plan.routing(observation.references).ways()
    kept: dict[int, Counter[str]] = {}
    for pipeline, nodes in kept_by_formats(ways, observation.model.units_bytes).items():
        kept.setdefault(pipeline.cluster, Counter()).update(nodes)
    for cluster in plan.clusters:
        own = kept.get(cluster.cluster, _NOTHING)
        for message in cluster_memory_problems(cluster, observation, own):
            yield f"cluster {cluster.cluster}", message


def cluster_memory_problems(
    cluster: ClusterPlan, observation: Observation, kept_bytes: Mapping[str, int] = _NOTHING
) -> Iterator[str]:
    """`memory_problems` of one cluster: a message for each device that lacks memory.

    `kept_bytes` is what its nodes keep because of the formats of the exchange.
    """
    needs: Counter[str] = Counter()
    sizes = cluster.sequences(observation.batch_size)
    for pipeline, size in zip(cluster.pipelines, sizes, strict=True):
        batch = observation.model.longest_shape(size)
        needs.update(predict_memory(observation.model, pipeline, batch, observation.optimizer))
    for device, trained in needs.items():
        needed = trained + kept_bytes.get(device, 0)
        has = observation.profiles[device].memory_bytes
        if needed > has:
            yield f"{device} needs {needed / _MIB:.1f} MiB and has {has / _MIB:.1f} MiB"
