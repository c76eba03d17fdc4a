"""Predicts the memory that a plan needs on each device.

DSSRA bounds the blocks of a device by the same costs, as arrays (`dssra.segments.tables.rooms`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from collapipe_ns3.costs.optimizers import training_bytes
from collapipe_ns3.costs.predicted import predict_stages
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan
from collapipe_ns3.schedule import ActionKind, Table, schedule_of

_MIB = 2**20


def most_in_flight(schedule: Table, stage: int) -> int:
    """The most micro-batches whose forward a stage has run and whose backward it has not."""
    held = most = 0
    for action in schedule[stage]:
        if action.kind in (ActionKind.FORWARD, ActionKind.BACKWARD):
            held += 1 if action.kind is ActionKind.FORWARD else -1
            most = max(most, held)
    return most


def predict_memory(
    spec: ModelSpec, pipeline: Pipeline, sequences: int, tokens: int, optimizer: str
) -> dict[str, int]:
    """Bytes that a pipeline needs on each node that it names, for sequences of `tokens` tokens.

    These are parameters, gradients and optimizer states of its stages, and what autograd keeps of
    the micro-batches that the schedule has in flight. Control unit and base station are left out
    where they hold embedding and decoder by default.
    """
    schedule = schedule_of(pipeline)
    u = sequences // pipeline.micro_batches
    nodes = [pipeline.embedding, *(stage.device for stage in pipeline.stages), pipeline.decoder]
    segments = [stage.blocks for stage in pipeline.stages]
    costs = predict_stages(spec, segments, u, tokens, tokens)
    needs: Counter[str] = Counter()
    for number, (node, cost) in enumerate(zip(nodes, costs, strict=True)):
        if node is not None:
            kept = most_in_flight(schedule, number) * cost.activation_bytes
            needs[node] += training_bytes(optimizer, cost.parameter_bytes) + kept
    return dict(needs)


def predict_whole_model(observation: Observation, sequences: int) -> int:
    """Bytes that a node needs for the whole model, with one micro-batch of so many sequences."""
    spec, tokens = observation.model, observation.model.max_length
    stages = predict_stages(spec, [spec.encoder_blocks], sequences, tokens, tokens)
    parameters = sum(stage.parameter_bytes for stage in stages)
    kept = sum(stage.activation_bytes for stage in stages)
    return training_bytes(observation.optimizer, parameters) + kept


def memory_problems(plan: RoundPlan, observation: Observation) -> Iterator[tuple[str, str]]:
    """(cluster, message) for each device that lacks memory for its part of a valid plan.

    Every sequence is counted with the length of the task's longest.
    """
    for cluster in plan.clusters:
        for message in cluster_memory_problems(cluster, observation):
            yield f"cluster {cluster.cluster}", message


def cluster_memory_problems(cluster: ClusterPlan, observation: Observation) -> Iterator[str]:
    """`memory_problems` of one cluster: a message for each device that lacks memory."""
    needs: Counter[str] = Counter()
    sizes = cluster.sequences(observation.batch_size)
    for pipeline, size in zip(cluster.pipelines, sizes, strict=True):
        longest = observation.model.max_length
        needs.update(
            predict_memory(observation.model, pipeline, size, longest, observation.optimizer)
        )
    for device, needed in needs.items():
        has = observation.profiles[device].memory_bytes
        if needed > has:
            yield f"{device} needs {needed / _MIB:.1f} MiB and has {has / _MIB:.1f} MiB"
