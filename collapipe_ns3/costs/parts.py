"""What each part of a model costs in training, as data. Importing this needs no torch.

Planners and the engine see a model as these costs only. `collapipe_ns3.costs.predicted` has closed
forms of them for the built-in model, and `collapipe_ns3.costs.measured` measures any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any, Self

from bridge.formats import FP32, ParameterFormat, TensorSize, Wire, rows_bytes
from collapipe_ns3.costs.polynomial import ZERO, Polynomial, total
from collapipe_ns3.exchange import Units
from collapipe_ns3.learning.architecture import PARAMETER_BYTES
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.plan import Pipeline, Stage

#: Bytes of a number between two parts on one node (fp32).
_ELEMENT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Message:
    """Tensors that travel together: their sizes as functions of the shape of a micro-batch.

    All floating-point tensors together have `elements` numbers in `rows` rows (a row is along the
    last axis), and travel in the wire format. The others travel unchanged, in `other_bytes`.
    """

    elements: Polynomial = ZERO
    rows: Polynomial = ZERO
    other_bytes: Polynomial = ZERO

    def bytes_on_air(self, wire: Wire, shape: BatchShape) -> int:
        """What `bridge.payload.bytes_on_air` gives for the tensors of a micro-batch."""
        packed = rows_bytes(wire, self.elements(shape), self.rows(shape))
        return packed + self.other_bytes(shape)

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {each.name: getattr(self, each.name).to_json() for each in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{name: Polynomial.from_json(value) for name, value in data.items()})


NOTHING = Message()


@dataclass(frozen=True, slots=True)
class PartCosts:
    """The costs of a part, or of adjacent parts together, for a micro-batch of any shape.

    - `forward_flops` and `backward_flops` count matrix products and attention, as torch's FLOP
      counter does; a multiply-add is two FLOPs.
    - `kept_bytes` is what autograd keeps from forward to backward, without parameters.
    - `output` is what the part sends to the next one: its output, and the batch's `side`.
      `gradient` is what the next part sends back for it. Nothing follows the last part.
    - `trained` are the sizes of the tensors of trained parameters, which travel and are averaged.
      `frozen_bytes` are the parameters that stay as they are, on every node that may need them.
    - `transient_bytes` is the memory that the backward pass of a micro-batch takes in addition,
      while it runs, where a stage computes its blocks again.
    """

    forward_flops: Polynomial
    backward_flops: Polynomial
    kept_bytes: Polynomial
    output: Message
    gradient: Message
    trained: tuple[TensorSize, ...]
    frozen_bytes: int = 0
    transient_bytes: Polynomial = ZERO

    @property
    def parameters(self) -> int:
        """The number of trained parameters, which are in fp32."""
        return sum(size.elements for size in self.trained)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the trained parameters."""
        return PARAMETER_BYTES * self.parameters

    @classmethod
    def joined(cls, parts: Iterable[PartCosts]) -> PartCosts:
        """The costs of parts (at least one) that run one after the other on one node."""
        # Most parts are equal to the one before, which makes their sum a product.
        counted = [(part, sum(1 for _ in same)) for part, same in groupby(parts)]
        last, _ = counted[-1]
        return cls(
            total(part.forward_flops * count for part, count in counted),
            total(part.backward_flops * count for part, count in counted),
            total(part.kept_bytes * count for part, count in counted),
            last.output,
            last.gradient,
            tuple(size for part, count in counted for size in part.trained * count),
            sum(part.frozen_bytes * count for part, count in counted),
        )

    def recomputed(self, inputs: Polynomial, transient_bytes: Polynomial) -> PartCosts:
        """The costs if only `inputs` are kept, in bytes, and the backward pass computes again."""
        return replace(
            self,
            backward_flops=self.backward_flops + self.forward_flops,
            kept_bytes=inputs,
            transient_bytes=transient_bytes,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value.to_json() if isinstance(value, Polynomial | Message) else value
            for name, value in values.items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        values: dict[str, Any] = dict(data)
        for name in ("forward_flops", "backward_flops", "kept_bytes", "transient_bytes"):
            values[name] = Polynomial.from_json(data[name])
        for name in ("output", "gradient"):
            values[name] = Message.from_json(data[name])
        values["trained"] = tuple(TensorSize(*size) for size in data["trained"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ModelCosts:
    """The costs of the parts of a model, its labels, and the longest sequences of its task.

    In the training mode `local_head`, the model has a `local_head`, which trains the first part and
    the blocks. It is on the node of the first part, and sends the output of the last block on to
    the last part; see `collapipe_ns3.schedule.with_branch`. `tied_bytes` is the size of the
    parameters that first and last part have in common, whose gradients they exchange every step.
    `sent` is how many tensors travel for each tensor of trained parameters: two, if control
    variates travel with them.
    """

    first: PartCosts
    blocks: tuple[PartCosts, ...]
    last: PartCosts
    labels: Message
    longest: Lengths
    local_head: PartCosts | None = None
    tied_bytes: int = 0
    sent: int = 1

    @property
    def encoder_blocks(self) -> int:
        """The number of blocks, which a plan divides over the devices."""
        return len(self.blocks)

    @property
    def max_length(self) -> int:
        """The most tokens of an input or of its labels."""
        return max(self.longest.tokens, self.longest.targets)

    @property
    def width(self) -> int:
        """The model's width: the length of the rows in the first block's output."""
        shape = BatchShape(1, self.longest.tokens, self.longest.targets)
        output = self.blocks[0].output
        return output.elements(shape) // max(output.rows(shape), 1)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the trained parameters of the whole model."""
        return sum(part.parameter_bytes for part in self.every_part)

    @property
    def parameters(self) -> int:
        """The number of trained parameters of the whole model."""
        return self.parameter_bytes // PARAMETER_BYTES

    def segment(self, first: int, last: int) -> PartCosts:
        """The costs of the blocks from `first` to `last`, inclusive, on one node."""
        return PartCosts.joined(self.blocks[first : last + 1])

    def units_bytes(self, units: Units, format: ParameterFormat = FP32) -> int:
        """Bytes on air of the trained parameters of these units, and of what travels with them.

        A local head counts as embedding. In formats other than fp32 it is what the codecs of
        `bridge.wire` make of the units' tensors, whatever their values are.
        """
        if format.exact:
            return self.sent * self.trained_bytes(units)
        return self.sent * sum(format.tensors_bytes(each.trained) for each in self._parts(units))

    def trained_bytes(self, units: Units) -> int:
        """Bytes of the trained parameters of these units in memory."""
        return sum(part.parameter_bytes for part in self._parts(units))

    def _parts(self, units: Units) -> list[PartCosts]:
        parts = [self.first, *self._local_heads] if units.embedding else []
        for run in units.blocks:
            parts += self.blocks[run.first : run.last + 1]
        return parts + ([self.last] if units.decoder else [])

    def _stage(self, stage: Stage) -> PartCosts:
        """The costs of a stage, which may compute its blocks again one by one."""
        segment = self.segment(stage.first, stage.last)
        if not stage.recompute:
            return segment
        before = [self.first, *self.blocks][stage.first : stage.last + 1]
        inputs = total(part.gradient.elements * _ELEMENT_BYTES for part in before)
        longest = self.longest_shape(1)
        blocks = self.blocks[stage.first : stage.last + 1]
        largest = max((block.kept_bytes for block in blocks), key=lambda kept: kept(longest))
        return segment.recomputed(inputs, largest)

    def stages(self, pipeline: Pipeline) -> list[PartCosts]:
        """The costs of a pipeline's stages in order: the first part, segments, the last part.

        A local head is before the last part.
        """
        segments = map(self._stage, pipeline.stages)
        return [self.first, *segments, *self._local_heads, self.last]

    @property
    def every_part(self) -> list[PartCosts]:
        """The costs of all parts in order, those of a local head before the last."""
        return [self.first, *self.blocks, *self._local_heads, self.last]

    @property
    def _local_heads(self) -> tuple[PartCosts, ...]:
        return () if self.local_head is None else (self.local_head,)

    def longest_shape(self, sequences: int) -> BatchShape:
        """The shape of a micro-batch of the longest sequences."""
        return BatchShape(sequences, self.longest.tokens, self.longest.targets)

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "first": self.first.to_json(),
            "blocks": [block.to_json() for block in self.blocks],
            "last": self.last.to_json(),
            "labels": self.labels.to_json(),
            "longest": {"tokens": self.longest.tokens, "targets": self.longest.targets},
            "local_head": self.local_head and self.local_head.to_json(),
            "tied_bytes": self.tied_bytes,
            "sent": self.sent,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            PartCosts.from_json(data["first"]),
            tuple(map(PartCosts.from_json, data["blocks"])),
            PartCosts.from_json(data["last"]),
            Message.from_json(data["labels"]),
            Lengths(**data["longest"]),
            PartCosts.from_json(head) if (head := data.get("local_head")) else None,
            data.get("tied_bytes", 0),
            data.get("sent", 1),
        )
