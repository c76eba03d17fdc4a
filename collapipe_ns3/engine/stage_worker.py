"""The computation of one stage of a pipeline, with an autograd graph of its own.

`collapipe_ns3.engine.pipeline_step` sends its results to the next stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from collapipe_ns3.costs.parts import ModelCosts, PartCosts
from collapipe_ns3.engine.local_part import LocalPart
from collapipe_ns3.engine.state import Replica, Unit
from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.compute_modes import as_float32, autocast, recomputed
from collapipe_ns3.learning.draws import draws, seeded
from collapipe_ns3.learning.split_model import SplitModel, leaf
from collapipe_ns3.learning.updates import Update
from collapipe_ns3.plan import Pipeline


@dataclass(frozen=True, slots=True)
class MicroBatchDraws:
    """The random draws in the forward passes of a micro-batch, such as dropout.

    Every part of the model has a generator of its own, which `seed` and `name` (round, cluster,
    pipeline, step, micro-batch) determine. So draws depend neither on the order in which stages
    compute, nor on where the model is cut.
    """

    seed: int
    name: tuple[int, ...]

    def generator(self, part: str, device: torch.device) -> torch.Generator:
        """The generator of a part, from its start."""
        return seeded(self.seed, "draws", *self.name, part, device=device)

    def within(self, part: str, device: torch.device) -> AbstractContextManager[object]:
        """A context in which a part draws from its generator."""
        return draws(self.generator(part, device))


@dataclass(frozen=True, slots=True)
class StageInput:
    """What a stage is given for the forward pass of a micro-batch.

    `x` are the inputs of the batch at stage 0, and at others the output of the stage before. Only
    stages with a loss need the labels, and `total`, the predictions in the whole batch.
    """

    x: Payload
    side: Payload
    draws: MicroBatchDraws
    labels: Payload = ()
    total: int = 0

    def drawing(self, unit: Unit) -> AbstractContextManager[object]:
        """The context in which the part of a unit runs."""
        if not unit.draws:
            return nullcontext()
        return self.draws.within(unit.name, self.x[0].device)

    @property
    def detached(self) -> StageInput:
        """The same values outside any graph, with gradients wanted for floating-point tensors."""
        return replace(self, x=tuple(leaf(tensor) for tensor in self.x))


#: A stage's computation; the result of a local head and of the last stage is only the loss.
Function = Callable[[StageInput], Payload]

Role = Literal["first", "segment", "local_head", "last"]


@dataclass(slots=True)
class StageWorker:
    """Runs the forward and backward passes of one stage, and keeps what backward needs.

    Gradients accumulate in the parameters in the order of the calls of `backward`, which is the
    order of the schedule. `costs` are those of its parts together, and `blocks` is the number of
    encoder blocks among them. The first stage is given the inputs of a batch, for which no
    gradients are computed. `tied` are the parameters of the first or the last stage that must stay
    equal to those of the other, in the same order. `local` is what an aggregation adds to
    gradients.
    """

    node: str
    role: Role
    blocks: int
    costs: PartCosts
    function: Function
    units: Sequence[Unit]
    local: LocalPart
    tied: Sequence[nn.Parameter] = ()
    kept: dict[int, tuple[Payload, Payload, int]] = field(default_factory=dict)
    peak_saved_bytes: int = 0
    parameters: list[nn.Parameter] = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for unit in self.units for p in unit.module.parameters()]

    def forward(self, micro_batch: int, saved_bytes: int, given: StageInput) -> Payload:
        """The stage's output, detached from the graph that computed it.

        `saved_bytes` is what autograd keeps for the backward pass; it is only counted.
        """
        leaves = given if self.role == "first" else given.detached
        output = self.function(leaves)
        self.kept[micro_batch] = (leaves.x, output, saved_bytes)
        self._note_saved()
        return tuple(tensor.detach() for tensor in output)

    def _note_saved(self, transient_bytes: int = 0) -> None:
        now_saved = sum(saved for _, _, saved in self.kept.values()) + transient_bytes
        self.peak_saved_bytes = max(self.peak_saved_bytes, now_saved)

    def backward(self, micro_batch: int, transient_bytes: int, gradients: Payload) -> Payload:
        """Accumulates the parameters' gradients; returns those of the input's tensors.

        `transient_bytes` is additional memory that this takes while it runs; it is only counted.

        `gradients` are those of the output's floating-point tensors, none where that is a loss.
        Gradients of tensors that the output does not depend on are zero; the first stage returns
        none, and computes nothing if its parameters are frozen.
        """
        self._note_saved(transient_bytes)
        leaves, output, _ = self.kept.pop(micro_batch)
        floating = [tensor for tensor in output if tensor.is_floating_point()]
        given = gradients or (None,) * len(floating)
        wanted = [pair for pair in zip(floating, given, strict=True) if pair[0].requires_grad]
        if wanted:
            tensors, upstream = zip(*wanted, strict=True)
            torch.autograd.backward(tensors, upstream)
        if self.role == "first":
            return ()
        return tuple(_gradient(each) for each in leaves if each.is_floating_point())

    def gradient_square(self) -> float:
        """The squared norm of the gradients as accumulated so far."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not gradients:  # nothing in the stage is trained
            return 0.0
        return float(torch.stack(torch._foreach_norm(gradients)).square().sum())

    def tied_gradients(self) -> Payload:
        """Copies of the gradients of the tied parameters, zero where there is none."""
        return tuple(_gradient(parameter).clone() for parameter in self.tied)

    def replace_tied_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Sets the gradients of the tied parameters, in their order."""
        for parameter, gradient in zip(self.tied, gradients, strict=True):
            parameter.grad = gradient

    def step(self, update: Update) -> None:
        """Updates the parameters and clears their gradients."""
        for unit in self.units:
            is_head = self.role in ("local_head", "last")
            update.prepare(unit.optimizer, unit.module, is_head, self.tied)
            self.local.change_gradients(unit.module.parameters(), unit.variate)
            unit.optimizer.step()
        self._clear_gradients()

    def forget(self) -> None:
        """Drops the activations and gradients that an abandoned step has left."""
        self.kept.clear()
        self._clear_gradients()

    def _clear_gradients(self) -> None:
        for parameter in self.parameters:  # faster than `zero_grad` of each optimizer
            parameter.grad = None

    def memory_bytes(self) -> int:
        """Peak memory in bytes: parameters, gradients, optimizer states, kept activations.

        An aggregation may need further tensors of the size of each parameter.
        """
        trained, frozen = self.costs.parameter_bytes, self.costs.frozen_bytes
        states = sum(unit.optimizer_bytes() for unit in self.units)
        held = (2 + self.local.term.held) * trained
        return held + frozen + states + self.peak_saved_bytes


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def workers(
    replica: Replica, pipeline: Pipeline, costs: ModelCosts, control: str, server: str
) -> list[StageWorker]:
    """The stages of a pipeline in order: the first part, segments of blocks, the last part.

    A local head is before the last part. `costs` are those of the replica's model. First and last
    part are on the nodes `control` and `server`, unless the pipeline names others.
    """
    first, *others, last = replica.units.values()
    blocks, heads = others[: costs.encoder_blocks], others[costs.encoder_blocks :]
    segments = [blocks[stage.first : stage.last + 1] for stage in pipeline.stages]
    stages: list[tuple[Role, Sequence[Unit], Function]] = [
        ("first", [first], _segment(replica, [first])),
        *(
            ("segment", units, (_recomputing if stage.recompute else _segment)(replica, units))
            for stage, units in zip(pipeline.stages, segments, strict=True)
        ),
        *(("local_head", [head], _local_head(replica, head)) for head in heads),
        ("last", [last], _last(replica, last)),
    ]
    nodes = pipeline.nodes(control, server, costs.local_head is not None)
    return [
        StageWorker(
            node,
            role,
            len(units) if role == "segment" else 0,
            part,
            function,
            units,
            replica.local,
            _tied(replica.model, role),
        )
        for node, part, (role, units, function) in zip(
            nodes, costs.stages(pipeline), stages, strict=True
        )
    ]


def _tied(model: SplitModel, role: Role) -> list[nn.Parameter]:
    """The tied parameters of the first or the last stage, in the model's order of pairs."""
    names = {"first": list(model.tied.values()), "last": list(model.tied)}
    return [model.get_parameter(name) for name in names.get(role, [])]


def _segment(replica: Replica, units: Sequence[Unit]) -> Function:
    """Runs parts of a model one after another."""

    def run(given: StageInput) -> Payload:
        x = given.x
        for unit in units:
            with _computing(replica, x), given.drawing(unit):
                x = as_float32(replica.model.run(unit.module, x, given.side))
        return x

    return run


def _recomputing(replica: Replica, units: Sequence[Unit]) -> Function:
    """Like `_segment`, but only the inputs of each part are kept until the backward pass."""

    def run(given: StageInput) -> Payload:
        def one(unit: Unit, *x: Tensor) -> Payload:
            return as_float32(replica.model.run(unit.module, x, given.side))

        x = given.x
        for unit in units:
            generator = given.draws.generator(unit.name, x[0].device) if unit.draws else None
            with _computing(replica, x):
                x = recomputed(partial(one, unit), *x, generator=generator)
        return x

    return run


def _local_head(replica: Replica, unit: Unit) -> Function:
    """Runs the local head of a model, with its loss."""

    def run(given: StageInput) -> Payload:
        with _computing(replica, given.x), given.drawing(unit):
            return (replica.model.local_loss(given.x, given.side, given.labels, given.total),)

    return run


def _last(replica: Replica, unit: Unit) -> Function:
    """Runs the last part of a model, with the loss."""

    def run(given: StageInput) -> Payload:
        with _computing(replica, given.x), given.drawing(unit):
            return (replica.model.loss(given.x, given.side, given.labels, given.total),)

    return run


def _computing(replica: Replica, x: Payload) -> AbstractContextManager[object]:
    """The context in which a part computes in the replica's precision."""
    return autocast(replica.precision, x[0].device)
