"""The wire formats of floating-point numbers, and how many bytes they take in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

Wire = Literal["fp32", "fp16", "bf16", "int8"]

_ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_SCALE_BYTES = 4


def rows_bytes(wire: Wire, elements: int, rows: int) -> int:
    """Bytes on air of so many rows with `elements` numbers in all; a row may have a scale."""
    return elements * _ELEMENT_BYTES[wire] + (rows * _SCALE_BYTES if wire == "int8" else 0)


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

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`."""
        return cls(**data)

    def __str__(self) -> str:
        largest = "" if self.largest is None else f"the largest {self.largest:.2%} of "
        return f"{largest}{self.numbers}{' differences' if self.difference else ''}"


FP32 = ParameterFormat()
