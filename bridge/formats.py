"""The formats of floating-point numbers on the air, and how many bytes they take in each.

Sizes depend on the shapes of tensors alone. `bridge.wire` has the codecs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, get_args

Wire = Literal["fp32", "fp16", "bf16", "int8"]

#: Bytes of a number; in `int8` every row has a scale besides.
_ELEMENT_BYTES: Mapping[Wire, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_SCALE_BYTES: Mapping[Wire, int] = {"fp32": 0, "fp16": 0, "bf16": 0, "int8": 4}

#: Bytes of the position of a number in its tensor (int32).
_POSITION_BYTES = 4


class TensorSize(NamedTuple):
    """How many numbers a tensor has, and in how many rows.

    Rows lie along the last axis; a tensor of fewer than two axes is one row.
    """

    elements: int
    rows: int = 1

    @classmethod
    def of(cls, shape: Iterable[int]) -> Self:
        """The size of a tensor of this shape."""
        axes = tuple(shape)
        elements = math.prod(axes)
        return cls(elements, math.prod(axes[:-1]) if elements else 0)


def rows_bytes(wire: Wire, elements: int, rows: int) -> int:
    """Bytes on air of so many rows with `elements` numbers in all; a row may have a scale."""
    return elements * _ELEMENT_BYTES[wire] + rows * _SCALE_BYTES[wire]


def row_bytes(wire: Wire, elements: int) -> int:
    """Bytes on air of one row of `elements` numbers."""
    return rows_bytes(wire, elements, 1)


@dataclass(frozen=True, slots=True)
class ParameterFormat:
    """How parameters are encoded for the air.

    `numbers` is the format of each number. With `difference`, what travels is the difference from
    what both ends hold already; without, the parameters themselves. `largest` is the fraction of a
    tensor's numbers that travels, those of the largest magnitude with their positions (top-k); None
    means all of them.
    """

    numbers: Wire = "fp32"
    difference: bool = False
    largest: float | None = None

    @property
    def exact(self) -> bool:
        """Whether what arrives is what was sent, to the bit."""
        return self == FP32

    @property
    def problem(self) -> str | None:
        """What is wrong with the format; None if nothing is."""
        if self.numbers not in get_args(Wire):
            return f"expected numbers in {', '.join(get_args(Wire))}, not {self.numbers!r}"
        if self.largest is None:
            return None
        if not 0 < self.largest <= 1:
            return f"expected a fraction of the largest numbers in (0, 1], not {self.largest:g}"
        if not self.difference:
            return "expected differences, as parameters that are not sent would arrive as zeros"
        return None

    def tensor_bytes(self, size: TensorSize) -> int:
        """Bytes on air of one tensor, as `bridge.wire` encodes it."""
        if self.largest is None:
            return rows_bytes(self.numbers, size.elements, size.rows)
        count = largest_count(self.largest, size.elements)
        values = rows_bytes(self.numbers, count, 1 if count else 0)
        return count * _POSITION_BYTES + values

    def tensors_bytes(self, sizes: Iterable[TensorSize]) -> int:
        """Bytes on air of tensors, one after the other."""
        return sum(map(self.tensor_bytes, sizes))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`."""
        return cls(**data)

    def __str__(self) -> str:
        largest = "" if self.largest is None else f"the largest {self.largest:.2%} of "
        return f"{largest}{self.numbers}{' differences' if self.difference else ''}"


FP32 = ParameterFormat()


def kept_copies(down: ParameterFormat, up: ParameterFormat) -> int:
    """How many copies of its parameters, in fp32, a node keeps besides those in use.

    These are the reference of differences, in either direction, and what top-k has not sent of the
    differences so far.
    """
    return (down.difference or up.difference) + (up.largest is not None)


def largest_count(fraction: float, elements: int) -> int:
    """k = ⌈fraction · elements⌉: how many numbers of a tensor travel in top-k.

    The product is rounded to six decimals first, so that a tenth of 30 is 3.
    """
    return min(math.ceil(round(fraction * elements, 6)), elements)
