"""The FLOPs and bytes of a round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from bridge.formats import Wire
from collapipe_ns3.costs.optimizers import OptimizerKind
from collapipe_ns3.costs.parts import ModelCosts, PartCosts
from collapipe_ns3.costs.polynomial import ZERO, Polynomial
from collapipe_ns3.learning.aggregation import AVERAGE_FLOPS, ServerFlops
from collapipe_ns3.learning.architecture import PARAMETER_BYTES
from collapipe_ns3.learning.batch import BatchShape


@dataclass(frozen=True, slots=True)
class SequenceCosts:
    """The costs of one sequence in a part: means, but for the bytes that autograd keeps of it."""

    forward_flops: float
    backward_flops: float
    parameter_bytes: float
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class Workload:
    """A model in training: its costs, and what they are on average for one sequence.

    `model` has the exact costs of each part for any micro-batch, and `tokens` and `targets` are the
    usual lengths, for which `shape` makes shapes.

    The other figures are for predictions as arrays, which count with equal blocks, and with costs
    in proportion to the sequences:

    - `embedding`, `block` and `decoder` are the costs of one sequence of the usual length: of a
      whole batch divided by its size, and for `block` the mean over all blocks, except that its
      `kept_bytes` are those of a single sequence in the block that keeps the most.
    - `activation_bytes`, `gradient_bytes` and `labels_bytes` are bytes on air of one sequence, too:
      means over all hops. `edge_gradient_bytes` are what the edge server sends back, usually as
      much as `gradient_bytes`.
    - `held_bytes` is the memory of the largest block in training (parameters, gradients, optimizer
      states), and `saved_bytes` the most that autograd keeps of a sequence in a block; since memory
      must suffice for the worst batch, it is for the task's longest sequence.

    `state_bytes` is the optimizer state of each block, which follows it to another device.
    `format_bytes` is what a device keeps of the largest block for the formats of the exchange:
    references of differences, and error memories. `aggregation` is what the base station computes
    at the end of a round.

    With a local head, these other figures are an approximation: a local step counts as if the
    backward pass of a micro-batch began when the edge server has trained on it. `embedding` has the
    costs of the local head too, which is on the same node and makes its `control_stages` two, and
    the forward pass of `decoder` has those of its backward pass. So every node and link has all its
    work, and only the waiting for the edge server is too long: by one micro-batch under GPipe, and
    in each round trip under 1F1B. The event graph is exact.
    """

    model: ModelCosts
    batch_size: int
    local_steps: int
    tokens: int
    targets: int
    wire: Wire
    control_stages: int
    embedding: SequenceCosts
    block: SequenceCosts
    decoder: SequenceCosts
    activation_bytes: float
    gradient_bytes: float
    edge_gradient_bytes: float
    labels_bytes: float
    optimizer_flops_per_byte: float
    held_bytes: int
    saved_bytes: int
    state_bytes: tuple[int, ...]
    format_bytes: int = 0
    aggregation: ServerFlops = AVERAGE_FLOPS

    @classmethod
    def of(
        cls,
        model: ModelCosts,
        *,
        batch_size: int,
        local_steps: int,
        optimizer: OptimizerKind,
        source_length: int,
        target_length: int,
        wire: Wire = "fp32",
        aggregation: ServerFlops = AVERAGE_FLOPS,
    ) -> Self:
        """The workload of a model on batches padded to these lengths (in tokens)."""
        batch = BatchShape(batch_size, source_length, target_length)
        single = BatchShape(1, source_length, target_length)
        sending = [model.first, *model.blocks]
        gradient_bytes = _mean(
            (part.gradient.bytes_on_air(wire, batch) for part in sending), batch_size
        )
        at_control, at_edge, edge_gradient_bytes = model.first, model.last, gradient_bytes
        if model.local_head is not None:
            at_control = PartCosts.joined([model.first, model.local_head])
            both = model.last.forward_flops + model.last.backward_flops
            at_edge = replace(model.last, forward_flops=both, backward_flops=ZERO)
            edge_gradient_bytes = 0
        return cls(
            model=model,
            batch_size=batch_size,
            local_steps=local_steps,
            tokens=source_length,
            targets=target_length,
            wire=wire,
            control_stages=1 if model.local_head is None else 2,
            embedding=_per_sequence([at_control], batch, single),
            block=_per_sequence(model.blocks, batch, single),
            decoder=_per_sequence([at_edge], batch, single),
            activation_bytes=_mean(
                (part.output.bytes_on_air(wire, batch) for part in sending), batch_size
            ),
            gradient_bytes=gradient_bytes,
            edge_gradient_bytes=edge_gradient_bytes,
            labels_bytes=_mean([model.labels.bytes_on_air("fp32", batch)], batch_size),
            optimizer_flops_per_byte=optimizer.flops / PARAMETER_BYTES,
            held_bytes=max(held_bytes(block, optimizer) for block in model.blocks),
            saved_bytes=_most((b.kept_bytes for b in model.blocks), model.longest_shape(1)),
            state_bytes=tuple(
                optimizer.state_bytes(each.parameter_bytes, len(each.trained))
                for each in model.blocks
            ),
            aggregation=aggregation,
        )

    def keeping(self, copies: int) -> Self:
        """The work where devices keep so many further copies of their blocks' parameters."""
        most = max(block.parameter_bytes for block in self.model.blocks)
        return replace(self, format_bytes=copies * most)

    @property
    def blocks(self) -> int:
        """The number of encoder blocks."""
        return self.model.encoder_blocks

    @property
    def upload_bytes(self) -> int:
        """Bytes of a model between control unit and base station: all except the last part."""
        return self.model.sent * (self.model.parameter_bytes - self.model.last.parameter_bytes)

    @property
    def block_bytes(self) -> float:
        """Bytes of a block's parameters on the air, with what travels with them."""
        return self.model.sent * self.block.parameter_bytes

    def aggregate_flops(self, results: int) -> int:
        """FLOPs of the aggregation of so many results."""
        return self.aggregation.of(results, self.model.parameters)

    def shape(self, sequences: int) -> BatchShape:
        """The shape of a micro-batch of sequences of the usual length."""
        return BatchShape(sequences, self.tokens, self.targets)

    def step_flops(self, parameter_bytes: float) -> float:
        """FLOPs of an optimizer step on parameters with this size in bytes."""
        return self.optimizer_flops_per_byte * parameter_bytes


def held_bytes(part: PartCosts, optimizer: OptimizerKind) -> int:
    """Memory of a part's parameters in training, with gradients and states of those trained."""
    return optimizer.training_bytes(part.parameter_bytes) + part.frozen_bytes


def _per_sequence(
    parts: Iterable[PartCosts], batch: BatchShape, single: BatchShape
) -> SequenceCosts:
    """The mean costs of a sequence in one of these parts; the most that any of them keeps."""
    parts, size = list(parts), batch.sequences
    return SequenceCosts(
        forward_flops=_mean((part.forward_flops(batch) for part in parts), size),
        backward_flops=_mean((part.backward_flops(batch) for part in parts), size),
        parameter_bytes=_mean((part.parameter_bytes for part in parts), 1),
        kept_bytes=_most((part.kept_bytes for part in parts), single),
    )


def _most(kept: Iterable[Polynomial], shape: BatchShape) -> int:
    return max(each(shape) for each in set(kept))


def _mean(values: Iterable[int], sequences: int) -> float:
    """The mean of values for a batch, for each of its sequences; an integer where it is one."""
    values = list(values)
    total, count = sum(values), len(values) * sequences
    return total / count if total % count else total // count
