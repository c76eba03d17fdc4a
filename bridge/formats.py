"""The wire formats of floating-point numbers, and how many bytes they take in each."""

from __future__ import annotations

from typing import Literal

Wire = Literal["fp32", "fp16", "bf16", "int8"]

_ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_SCALE_BYTES = 4


def row_bytes(wire: Wire, elements: int) -> int:
    """Bytes on air of a row of `elements` numbers, with its scale where the format has one."""
    return elements * _ELEMENT_BYTES[wire] + (_SCALE_BYTES if wire == "int8" else 0)
