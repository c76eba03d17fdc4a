"""Runs a model cut into stages as the engine does, without a network, and uncut for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from collapipe_ns3.contract import Violation
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.engine.stage_worker import MicroBatchDraws, StageInput, workers
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.batch import Batch, Payload
from collapipe_ns3.learning.draws import draws_anything
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.plan import Pipeline, Stage
from collapipe_ns3.plugins import RAISED, described

#: Losses and gradients differ by at most this, relative to the largest value of each tensor.
TOLERANCE = 1e-6

_SEED = 1


@dataclass(frozen=True, slots=True)
class Result:
    """The mean loss of a batch, and the gradients of all parameters that have one."""

    loss: Tensor
    gradients: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, losses: Sequence[Tensor]) -> Result:
        """The sum of the losses, and the gradients that the model's parameters have now."""
        named = model.named_parameters()
        gradients = {name: p.grad for name, p in named if p.grad is not None}
        return cls(torch.stack([loss.detach() for loss in losses]).sum(), gradients)

    def difference(self, other: Result) -> tuple[float, str]:
        """The largest relative difference from another result, and where it is."""
        if only := sorted(self.gradients.keys() ^ other.gradients.keys()):
            return torch.inf, f"the gradient of {only[0]}, which only one of both has"
        pairs = {"the loss": (self.loss, other.loss)}
        pairs |= {
            f"the gradient of {name}": (value, other.gradients[name])
            for name, value in self.gradients.items()
        }
        return max((_relative(*pair), where) for where, pair in pairs.items())


def _relative(some: Tensor, other: Tensor) -> float:
    if torch.equal(some, other):
        return 0.0
    scale = float(torch.maximum(some.abs().max(), other.abs().max()))
    difference = float((some - other).abs().max()) / max(scale, 1e-3)
    return difference if difference == difference else torch.inf  # nan


def run_parts(model: SplitModel, batch: Batch) -> Tensor:
    """The mean loss of a batch, part by part; raises `Violation` that names a part."""
    *parts, (last, _) = model.parts().items()
    x = batch.inputs
    for name, part in parts:
        try:
            output = model.run(part, x, batch.side)
        except RAISED as error:
            raise Violation(f"part {name}, given {_shapes(x)}: {described(error)}") from error
        _expect_payload(name, x, output, batch.sequences)
        x = output
    try:
        loss = model.loss(x, batch.side, batch.labels, batch.total)
    except RAISED as error:
        given = f"{_shapes(x)} and labels {_shapes(batch.labels)}"
        raise Violation(f"part {last}, given {given}: {described(error)}") from error
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        found = _shapes((loss,)) if isinstance(loss, Tensor) else type(loss).__name__
        raise Violation(f"part {last}: expected a loss with one floating-point number, not {found}")
    if not bool(loss.isfinite()):
        raise Violation(f"part {last}: the loss is {loss.item()}")
    return loss


def _expect_payload(name: str, given: Payload, output: object, sequences: int) -> None:
    """Raises `Violation` unless a part returned tensors whose first axis is that of sequences."""
    if not isinstance(output, tuple) or not all(isinstance(each, Tensor) for each in output):
        raise Violation(
            f"part {name}: expected a tensor or a tuple of tensors, not {output!r:.200}"
        )
    if not any(tensor.is_floating_point() for tensor in output):
        found = f"the output is {_shapes(output)}"
        raise Violation(f"part {name}: expected a tensor of floating-point numbers, and {found}")
    for n, tensor in enumerate(output):
        # Tensors after the first may be common to all sequences, such as biases of positions.
        axes = (sequences,) if n == 0 else (sequences, 1)
        if tensor.dim() < 1 or len(tensor) not in axes:
            raise Violation(
                f"part {name}, given {_shapes(given)}: expected the first axis of its output to be "
                f"{sequences} sequences, and the output is {_shapes(output)}"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Violation(f"part {name}, given {_shapes(given)}: its output is not finite")


def _shapes(tensors: Payload) -> str:
    """Types and shapes, as `float32 [12, 7, 16] and bool [12, 7]`."""
    each = (f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in tensors)
    return " and ".join(each) or "no tensors"


def cut(
    model: SplitModel, costs: ModelCosts, batch: Batch, sizes: Sequence[int], devices: int
) -> Result:
    """Training on micro-batches of these sizes, with the blocks divided over `devices` devices.

    Every stage computes all micro-batches before the next stage does, in an autograd graph of its
    own, by the same code as in a run.
    """
    state = TrainingState(model, partial(torch.optim.SGD, lr=1.0), costs)
    replica = state.replica(0, 0)
    pipeline = Pipeline(_segments(len(replica.units) - 2, devices), len(sizes), "gpipe")
    line = workers(replica, pipeline, costs, "control", "server")
    parts = batch.split(sizes)
    x = [part.inputs for part in parts]
    for worker in line:
        for m, part in enumerate(parts):
            labels = part.labels if worker is line[-1] else ()
            given = StageInput(x[m], part.side, _draws(m), labels, batch.total)
            x[m] = worker.forward(m, 0, given)
    for m in range(len(parts)):
        gradients: Payload = ()
        for worker in reversed(line):
            gradients = worker.backward(m, 0, gradients)
    return Result.of(replica.model, [loss for (loss,) in x])


def uncut(model: SplitModel, batch: Batch, sizes: Sequence[int]) -> Result:
    """Training on micro-batches, each through all parts in one autograd graph."""
    model = deepcopy(model).train()
    losses = []
    for m, micro_batch in enumerate(batch.split(sizes)):
        *parts, (last, head) = model.parts().items()
        x, draws = micro_batch.inputs, _draws(m)
        for name, part in parts:
            with _drawing(draws, name, part, x):
                x = model.run(part, x, micro_batch.side)
        with _drawing(draws, last, head, x):
            losses.append(model.loss(x, micro_batch.side, micro_batch.labels, batch.total))
        losses[-1].backward()
    return Result.of(model, losses)


def whole(model: SplitModel, batch: Batch, own: bool = False) -> Result:
    """The batch at once in evaluation mode; `own` says by the model's own `uncut`."""
    model = deepcopy(model).eval()
    loss = model.uncut(batch) if own else model.uncut_loss(batch)  # type: ignore[operator]  # optional
    loss.backward()
    return Result.of(model, [loss])


def in_micro_batches(model: SplitModel, batch: Batch, sizes: Sequence[int]) -> Result:
    """The batch in micro-batches of these sizes, in evaluation mode."""
    model = deepcopy(model).eval()
    losses = [model.uncut_loss(part, batch.total) for part in batch.split(sizes)]
    for loss in losses:
        loss.backward()
    return Result.of(model, losses)


def by_local_head(model: SplitModel, batch: Batch, sizes: Sequence[int]) -> Result:
    """The batch in micro-batches of these sizes, in evaluation mode, by the local head's loss."""
    model = deepcopy(model).eval()
    losses = []
    for part in batch.split(sizes):
        x = model.encode(part.inputs, part.side)
        losses.append(model.local_loss(x, part.side, part.labels, batch.total))
        losses[-1].backward()
    return Result.of(model, losses)


def expect_same(result: Result, other: Result, what: str, tolerance: float = TOLERANCE) -> str:
    """Raises `Violation` unless both are equal within the tolerance; returns a note."""
    difference, where = result.difference(other)
    if difference > tolerance:
        raise Violation(f"{what} differ: {where} by {difference:.2g} of its largest value")
    return "" if not difference else f"equal within {difference:.1g}"


def _draws(micro_batch: int) -> MicroBatchDraws:
    return MicroBatchDraws(_SEED, (0, 0, 0, 0, micro_batch))


def _drawing(
    draws: MicroBatchDraws, name: str, part: nn.Module, x: Payload
) -> AbstractContextManager[object]:
    """The context in which a part draws, as in a run."""
    return draws.within(name, x[0].device) if draws_anything(part) else nullcontext()


def _segments(blocks: int, devices: int) -> tuple[Stage, ...]:
    ends = [round(n * blocks / devices) for n in range(devices + 1)]
    return tuple(Stage(f"d{n}", first, end - 1) for n, (first, end) in enumerate(pairwise(ends)))
