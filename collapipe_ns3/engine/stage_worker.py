"""The computation of one stage of a pipeline, with an autograd graph of its own.

`collapipe_ns3.engine.pipeline_step` sends its results to the next stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from collapipe_ns3.engine.state import Replica, Unit
from collapipe_ns3.plan import Pipeline

#: A stage's computation: from its inputs, in order, to one tensor.
Function = Callable[..., Tensor]


@dataclass(slots=True)
class StageWorker:
    """Runs the forward and backward passes of one stage, and keeps what backward needs.

    The first input is the tensor through which gradients flow (at stage 0 token numbers, through
    which none do). Gradients accumulate in the parameters in the order of the calls of `backward`,
    which is the order of the schedule. `shape` is the kind of stage and its number of encoder
    blocks: stages of equal shape have equal costs.
    """

    node: str
    shape: tuple[str, int]
    function: Function
    units: Sequence[Unit]
    kept: dict[int, tuple[Tensor, Tensor, int]] = field(default_factory=dict)
    peak_saved_bytes: int = 0
    parameters: list[nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for unit in self.units for p in unit.module.parameters()]

    @property
    def blocks(self) -> int:
        """How many encoder blocks the stage has."""
        return self.shape[1]

    def forward(self, micro_batch: int, saved_bytes: int, first: Tensor, *others: object) -> Tensor:
        """The stage's output, detached from the graph that computed it.

        `saved_bytes` is what autograd keeps for the backward pass; it is only counted.
        """
        leaf = first.detach()
        if leaf.is_floating_point():
            leaf.requires_grad_()
        output = self.function(leaf, *others)
        self.kept[micro_batch] = (leaf, output, saved_bytes)
        now_saved = sum(saved for _, _, saved in self.kept.values())
        self.peak_saved_bytes = max(self.peak_saved_bytes, now_saved)
        return output.detach()

    def backward(self, micro_batch: int, gradient: Tensor | None) -> Tensor | None:
        """Accumulates the parameters' gradients; returns the input's, None at stage 0.

        `gradient` is the output's, or None where the output is a loss.
        """
        leaf, output, _ = self.kept.pop(micro_batch)
        output.backward(gradient)
        return leaf.grad

    def gradient_square(self) -> float:
        """The squared norm of the gradients as accumulated so far."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        return float(torch.stack(torch._foreach_norm(gradients)).square().sum())

    def step(self) -> None:
        """Updates the parameters and clears their gradients."""
        for unit in self.units:
            unit.optimizer.step()
            unit.optimizer.zero_grad()

    def forget(self) -> None:
        """Drops the activations and gradients that an abandoned step has left."""
        self.kept.clear()
        for unit in self.units:
            unit.optimizer.zero_grad()

    def memory_bytes(self) -> int:
        """Peak memory in bytes: parameters, gradients, optimizer states, kept activations."""
        weights = sum(unit.parameter_bytes() for unit in self.units)
        states = sum(unit.optimizer_bytes() for unit in self.units)
        return 2 * weights + states + self.peak_saved_bytes


def workers(replica: Replica, pipeline: Pipeline, control: str, server: str) -> list[StageWorker]:
    """The stages of a pipeline in order: embedding, segments, decoder.

    Embedding and decoder are on the nodes `control` and `server`, unless the pipeline names others.
    """
    model = replica.model
    embedding, *blocks, decoder = replica.units.values()
    head, tail = pipeline.embedding or control, pipeline.decoder or server
    held = [blocks[stage.first : stage.last + 1] for stage in pipeline.stages]
    return [
        StageWorker(head, ("embedding", 0), model.embedding, [embedding]),
        *(
            StageWorker(
                stage.device,
                ("segment", stage.blocks),
                segment([unit.module for unit in units]),
                units,
            )
            for stage, units in zip(pipeline.stages, held, strict=True)
        ),
        StageWorker(tail, ("decoder", 0), model.decoder.loss, [decoder]),
    ]


def segment(blocks: Sequence[nn.Module]) -> Function:
    """A function of (activation, padding mask) that applies encoder blocks one after another."""

    def run(x: Tensor, padding: Tensor) -> Tensor:
        for block in blocks:
            x = block(x, src_key_padding_mask=padding)
        return x

    return run
