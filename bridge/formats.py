"""The wire formats of floating-point numbers, and how many bytes they take in each."""

from __future__ import annotations

from typing import Literal

Wire = Literal["fp32", "fp16", "bf16", "int8"]

_ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_SCALE_BYTES = 4


def rows_bytes(wire: Wire, elements: int, rows: int) -> int:
    """Bytes on air of so many rows with `elements` numbers in all; a row may have a scale."""
    return elements * _ELEMENT_BYTES[wire] + (rows * _SCALE_BYTES if wire == "int8" else 0)


def row_bytes(wire: Wire, elements: int) -> int:
    """Bytes on air of one row of `elements` numbers."""
    return rows_bytes(wire, elements, 1)
