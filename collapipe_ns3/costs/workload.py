"""The FLOPs and bytes of a round, by closed forms.

All costs of a micro-batch are proportional to its number of sequences, so that the costs of the
parts are stored for one sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from bridge.formats import Wire
from collapipe_ns3.costs.optimizers import OPTIMIZERS, training_bytes
from collapipe_ns3.costs.predicted import StageCost, predict_blocks, predict_stages
from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.architecture import PARAMETER_BYTES
from collapipe_ns3.learning.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Workload:
    """A model in training: costs and bytes on air per sequence, bytes of parameters and states.

    `embedding`, `block` and `decoder` are costs of one sequence of the usual length, for time.
    `held_bytes` is the memory of a block in training (parameters, gradients, optimizer states), and
    `saved_bytes` what autograd keeps of a sequence in a block; since memory must suffice for the
    worst batch, it is for the task's longest sequence. `state_bytes` is the optimizer state that
    follows a block when it moves to another device.
    """

    blocks: int
    batch_size: int
    local_steps: int
    embedding: StageCost
    block: StageCost
    decoder: StageCost
    activation_bytes: int
    gradient_bytes: int
    labels_bytes: int
    optimizer_flops_per_byte: float
    held_bytes: int
    saved_bytes: int
    state_bytes: int

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        *,
        batch_size: int,
        local_steps: int,
        optimizer: str,
        source_length: int,
        target_length: int,
        wire: Wire = "fp32",
    ) -> Self:
        """The workload of a model on batches padded to these lengths (in tokens)."""
        embedding, block, decoder = predict_stages(spec, [1], 1, source_length, target_length)
        tensors = architecture.encoder_block(spec.width, spec.feed_forward).tensors
        kind = OPTIMIZERS[optimizer]
        return cls(
            blocks=spec.encoder_blocks,
            batch_size=batch_size,
            local_steps=local_steps,
            embedding=embedding,
            block=block,
            decoder=decoder,
            activation_bytes=architecture.activation_bytes(spec, source_length, wire),
            gradient_bytes=architecture.gradient_bytes(spec, source_length, wire),
            labels_bytes=architecture.labels_bytes(target_length),
            optimizer_flops_per_byte=kind.flops / PARAMETER_BYTES,
            held_bytes=training_bytes(optimizer, block.parameter_bytes),
            saved_bytes=predict_blocks(spec, 1, 1, spec.max_length).activation_bytes,
            state_bytes=kind.state_bytes(block.parameter_bytes, tensors),
        )

    @property
    def upload_bytes(self) -> int:
        """Bytes of a model between control unit and base station: embedding and encoder."""
        return self.embedding.parameter_bytes + self.blocks * self.block.parameter_bytes

    @property
    def model_parameters(self) -> int:
        """The number of parameters of the whole model."""
        return (self.upload_bytes + self.decoder.parameter_bytes) // PARAMETER_BYTES

    def step_flops(self, parameter_bytes: int) -> float:
        """FLOPs of an optimizer step on parameters of so many bytes."""
        return self.optimizer_flops_per_byte * parameter_bytes
