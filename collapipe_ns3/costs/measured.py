"""The costs of a model's parts, measured by running them at a few shapes of micro-batches.

FLOPs, kept bytes and messages are polynomials in the shape (`collapipe_ns3.costs.polynomial`), so
that their values at as many shapes as they have coefficients determine them for all shapes,
exactly. A further shape shows whether a part has such costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from bridge.formats import TensorSize
from bridge.payload import size_bytes
from collapipe_ns3.costs.parts import Message, ModelCosts, PartCosts
from collapipe_ns3.costs.polynomial import Polynomial, grid, interpolated
from collapipe_ns3.learning.batch import Batch, BatchShape, Payload
from collapipe_ns3.learning.compute_modes import as_float32, autocast
from collapipe_ns3.learning.draws import draws, draws_anything, seeded
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.split_model import SplitModel, leaf

#: Where parts are measured: numbers of sequences, and the longest of their lengths. Some tensors of
#: one sequence or of one token need no copies, so that less is kept of them than of others.
_SEQUENCES = (2, 3)
_LONGEST = 6

#: Where polynomials are checked, with shorter lengths if the task has none as long.
_HELD_OUT = BatchShape(5, 21, 17)


class NoPolynomial(ValueError):
    """The costs of a part are not polynomials in the shape; the message has its figures."""


class Figures(NamedTuple):
    """What a part took in one forward and backward pass, and the sizes of what it sends on.

    `elements`, `rows` and `other_bytes` are those of its output with the batch's `side`, as in
    `Message`; `gradient_elements` and `gradient_rows` those of the output's gradient.
    """

    forward_flops: int
    backward_flops: int
    kept_bytes: int
    elements: int
    rows: int
    other_bytes: int
    gradient_elements: int
    gradient_rows: int


def measure_parts(
    model: SplitModel, sample: Batch, longest: Lengths, precision: str = "float32"
) -> ModelCosts:
    """The costs of a model's parts, measured in the mode in which the model is, on its device.

    `sample` is any batch of the task, from which batches of other shapes are made. Parts with equal
    modules, sizes and settings are measured once. `precision` is that of computations, see
    `learning.compute_modes`. Random numbers, as for dropout, are drawn as the engine draws them.
    The model's buffers and gradients and torch's global generator are left unchanged.

    Raises `NoPolynomial`.
    """
    device = next(chain(model.parameters(), sample.inputs)).device
    bench = Bench(model, sample.to(device), precision)
    targets = 1 if sample.aligned else longest.targets
    shapes = grid(_SEQUENCES, _sampled(longest.tokens), _sampled(targets))
    held_out = BatchShape(
        _HELD_OUT.sequences, min(_HELD_OUT.tokens, longest.tokens), min(_HELD_OUT.targets, targets)
    )
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    runs = [bench.run(shape) for shape in (*shapes, held_out)]
    for buffer, before in buffers:
        buffer.data.copy_(before)
    fits: dict[tuple[object, ...], PartCosts] = {}
    costs = []
    for (name, part), *figures in zip(model.stage_parts().items(), *runs, strict=True):
        size = _parameters(part)
        key = (size, *figures)
        if key not in fits:
            fits[key] = _fitted(name, dict(zip((*shapes, held_out), figures, strict=True)), size)
        costs.append(fits[key])
    labels = {shape: size_bytes(bench.batch(shape).labels) for shape in shapes}
    local_head = None if model.local_head is None else costs.pop(-2)
    first, *blocks, last = costs
    sent = Message(other_bytes=interpolated(labels))
    tied_bytes = size_bytes([model.get_parameter(name) for name in model.tied])
    return ModelCosts(first, tuple(blocks), last, sent, longest, local_head, tied_bytes)


def _sampled(most: int) -> range:
    """Up to three lengths at which parts are measured, where the longest is `most`."""
    end = min(most, _LONGEST)
    return range(max(end - 2, 1), end + 1)


def _fitted(
    name: str,
    figures: Mapping[BatchShape, Figures],
    size: tuple[tuple[TensorSize, ...], int],
) -> PartCosts:
    """The polynomials through all figures but the last, which check them."""
    *_, held_out = figures
    found: dict[str, Polynomial] = {}
    for field in Figures._fields:
        values = {shape: int(getattr(figures[shape], field)) for shape in figures}
        measured = values.pop(held_out)
        seen = ", ".join(f"{value} at {tuple(shape)}" for shape, value in values.items())
        what = f"{name}: {field} is no polynomial in (sequences, tokens, targets): {seen}"
        try:
            found[field] = interpolated(values)
        except ValueError as error:
            raise NoPolynomial(f"{what}: {error}") from None
        if found[field](held_out) != measured:
            expected = f"expected {found[field](held_out)} at {tuple(held_out)}, not {measured}"
            raise NoPolynomial(f"{what}; {expected}")
    trained, frozen_bytes = size
    return PartCosts(
        forward_flops=found["forward_flops"],
        backward_flops=found["backward_flops"],
        kept_bytes=found["kept_bytes"],
        output=Message(found["elements"], found["rows"], found["other_bytes"]),
        gradient=Message(found["gradient_elements"], found["gradient_rows"]),
        trained=trained,
        frozen_bytes=frozen_bytes,
    )


def _parameters(part: nn.Module) -> tuple[tuple[TensorSize, ...], int]:
    """The sizes of the trained parameters of a part, and bytes of the frozen ones."""
    trained = sorted(TensorSize.of(p.shape) for p in part.parameters() if p.requires_grad)
    return tuple(trained), size_bytes([p for p in part.parameters() if not p.requires_grad])


class Bench:
    """Runs the parts of a model one after another on batches of any shape."""

    def __init__(self, model: SplitModel, sample: Batch, precision: str) -> None:
        self.model, self.sample, self.precision = model, sample, precision
        self.device = sample.predictions.device
        self.parts = list(model.stage_parts().values())
        self.kinds = [_kind(part) for part in self.parts]
        self.drawing = [draws_anything(part) for part in self.parts]

    def batch(self, shape: BatchShape) -> Batch:
        """A batch of this shape; where labels are aligned, as long as the inputs."""
        aligned = shape.tokens if self.sample.aligned else shape.targets
        return self.sample.resized(shape._replace(targets=aligned))

    def run(self, shape: BatchShape) -> list[Figures]:
        """The figures of all parts on a batch of this shape.

        Equal parts have equal outputs in shape, and the output of the first stands for them.
        """
        batch = self.batch(shape)
        x, done = batch.inputs, list[Figures]()
        measured: dict[tuple[object, ...], tuple[Figures, Payload]] = {}
        for place, kind in enumerate(self.kinds):
            head = self.parts[place] is self.model.local_head
            key = (kind, head, *((each.shape, each.dtype) for each in x))
            if key not in measured:
                measured[key] = self._measured(place, x, batch)
            figures, x = measured[key]
            done.append(figures)
        return done

    def _measured(self, place: int, x: Payload, batch: Batch) -> tuple[Figures, Payload]:
        part = self.parts[place]
        last, head = place == len(self.parts) - 1, part is self.model.local_head

        def forward(given: Payload) -> Payload:
            if last:
                return (self.model.loss(given, batch.side, batch.labels, batch.total),)
            if head:
                return (self.model.local_loss(given, batch.side, batch.labels, batch.total),)
            return as_float32(self.model.run(part, given, batch.side))

        def drawn(given: Payload) -> Payload:
            with autocast(self.precision, self.device):
                if not self.drawing[place]:
                    return forward(given)
                with draws(seeded(0, "costs", device=self.device)):
                    return forward(given)

        ignored = (*part.parameters(), *part.buffers(), *batch.side, *batch.labels)
        leaves = tuple(leaf(each) if place > 0 else each.detach() for each in x)
        trained = [p for p in part.parameters() if p.requires_grad]
        ahead, back, kept, output = passes(drawn, leaves, trained, ignored)
        if head:  # which sends on what it is given
            output = x
        sent = () if last else (*output, *batch.side)
        floating = [each for each in sent if each.is_floating_point()]
        gradients = [e for e in output if e.is_floating_point() and not (last or head)]
        figures = Figures(
            forward_flops=ahead,
            backward_flops=back,
            kept_bytes=kept,
            elements=sum(each.numel() for each in floating),
            rows=_rows(floating),
            other_bytes=size_bytes([each for each in sent if not each.is_floating_point()]),
            gradient_elements=sum(each.numel() for each in gradients),
            gradient_rows=_rows(gradients),
        )
        return figures, tuple(each.detach() for each in output)


def passes(
    function: Callable[[Payload], Payload],
    leaves: Payload,
    trained: Sequence[Tensor],
    ignored: Sequence[Tensor],
) -> tuple[int, int, int, Payload]:
    """FLOPs of a forward and of a backward pass, bytes kept between them, and the output.

    Gradients flow to those of `leaves` that require them and to `trained`; none is stored. Bytes
    are those of the storages of tensors that autograd saves: floating-point numbers, and bools and
    bytes, such as the mask of a dropout. Other integers are not counted (they number tokens and
    classes, which the batch has anyway), nor are the storages of `ignored`.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in ignored}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        counted = tensor.is_floating_point() or tensor.dtype in (torch.bool, torch.uint8)
        if counted and storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), _counter() as ahead:
        output = function(leaves)
    wanted = [tensor for tensor in (*leaves, *trained) if tensor.requires_grad]
    results = [tensor for tensor in output if tensor.requires_grad]
    with _counter() as back:
        if results:
            ones = [torch.ones_like(tensor) for tensor in results]
            torch.autograd.grad(results, wanted, ones, allow_unused=True)
    return ahead.get_total_flops(), back.get_total_flops(), sum(saved.values()), output


def _rows(tensors: Sequence[Tensor]) -> int:
    """The rows of tensors along their last axes."""
    return sum(tensor.numel() // tensor.shape[-1] for tensor in tensors)


#: Attributes that number the parts of a model, and make no difference to their costs.
_PLACES = {"layer_idx"}

_SETTINGS = (bool, int, float, str, type(None), tuple, torch.dtype)


def _kind(part: nn.Module) -> tuple[object, ...]:
    """Equal for parts whose modules have the same classes, sizes and settings."""
    tensors = chain(part.named_parameters(), part.named_buffers())
    return (
        *((name, type(each), *_settings(each)) for name, each in part.named_modules()),
        *((name, each.shape, each.dtype, each.requires_grad) for name, each in tensors),
    )


def _settings(module: nn.Module) -> list[tuple[str, object]]:
    """The attributes of a module that are plain values or functions."""
    found: list[tuple[str, object]] = []
    for name, value in vars(module).items():
        if isinstance(value, _SETTINGS) and name not in _PLACES:
            found.append((name, repr(value)))
        elif isinstance(value, FunctionType | BuiltinFunctionType):
            found.append((name, value))
    return sorted(found, key=lambda each: each[0])


def _counter() -> FlopCounterMode:
    """torch's FLOP counter, extended by the CPU's attention kernel, which it lacks."""
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        },
    )


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))
