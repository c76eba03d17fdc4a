"""What a plan needs of each device's memory, before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from collapipe_ns3.costs import predict_blocks
from collapipe_ns3.engine.schedule import Kind, Table, table
from collapipe_ns3.models.spec import ModelSpec
from collapipe_ns3.optimizers import training_bytes
from collapipe_ns3.plan import Pipeline, RoundPlan
from collapipe_ns3.schemes import Observation

_MIB = 2**20


def most_in_flight(schedule: Table, stage: int) -> int:
    """How many micro-batches a stage has been forward with and not yet backward, at most."""
    held = most = 0
    for action in schedule[stage]:
        if action.kind in (Kind.FORWARD, Kind.BACKWARD):
            held += 1 if action.kind is Kind.FORWARD else -1
            most = max(most, held)
    return most


def predict_memory(
    spec: ModelSpec, pipeline: Pipeline, batch_size: int, tokens: int, optimizer: str
) -> dict[str, int]:
    """Bytes that a pipeline needs on each of its devices, for source sequences of `tokens`.

    Parameters, gradients and optimizer states of its blocks, and what autograd keeps of as many
    micro-batches as the schedule has in flight.
    """
    schedule = table(pipeline.schedule, len(pipeline.stages) + 2, pipeline.micro_batches)
    needs: Counter[str] = Counter()
    for number, stage in enumerate(pipeline.stages, start=1):
        cost = predict_blocks(spec, stage.blocks, batch_size // pipeline.micro_batches, tokens)
        kept = most_in_flight(schedule, number) * cost.activation_bytes
        needs[stage.device] += training_bytes(optimizer, cost.parameter_bytes) + kept
    return dict(needs)


def memory_problems(plan: RoundPlan, observation: Observation) -> Iterator[tuple[str, str]]:
    """(cluster, what) for each device that lacks memory for its part of a valid plan.

    Sequences are taken to be as long as the task has any.
    """
    for cluster in plan.clusters:
        needs: Counter[str] = Counter()
        for pipeline in cluster.pipelines:
            needs.update(
                predict_memory(
                    observation.model,
                    pipeline,
                    observation.batch_size,
                    observation.model.max_length,
                    observation.optimizer,
                )
            )
        for device, needed in needs.items():
            has = observation.profiles[device].memory_bytes
            if needed > has:
                yield (
                    f"cluster {cluster.cluster}",
                    f"{device} needs {needed / _MIB:.1f} MiB and has {has / _MIB:.1f} MiB",
                )
