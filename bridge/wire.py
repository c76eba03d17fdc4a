"""How floating-point tensors are written for the air: fewer bits an element, at a known error.

A format's error e = decoded - sent obeys E‖e‖² ≤ ε·‖sent‖² with an ε that `distortion` measures.
`fp32` is exact. `fp16` and `bf16` round to nearest, whose error is deterministic and tiny. `int8`
scales every row (the last axis) by its largest magnitude over 127 and rounds stochastically, so
that the error has mean zero whatever the tensor (Gupta et al., ICML 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bridge.formats import Wire

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_LEVELS = 127


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tensor as it travels; `scales` has one number a row, in the `int8` format alone."""

    values: Tensor
    scales: Tensor | None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What is on the air, in order."""
        return (self.values,) if self.scales is None else (self.scales, self.values)


def encode(tensor: Tensor, wire: Wire, generator: torch.Generator | None = None) -> Encoded:
    """A floating-point tensor in a wire format; `generator` draws the roundings of `int8`."""
    if wire != "int8":
        return Encoded(tensor.to(_DTYPES[wire]), None)
    scales = tensor.abs().amax(dim=-1, keepdim=True) / _LEVELS
    scaled = tensor / scales.where(scales > 0, torch.ones_like(scales))
    draws = torch.rand(scaled.shape, generator=generator, device=scaled.device)
    rounded = (scaled + draws).floor().clamp(-_LEVELS, _LEVELS)
    return Encoded(rounded.to(torch.int8), scales.to(torch.float32))


def decode(encoded: Encoded) -> Tensor:
    """The fp32 tensor that a receiver makes of it."""
    values = encoded.values.to(torch.float32)
    return values if encoded.scales is None else values * encoded.scales


def distortion(sent: Tensor, received: Tensor) -> float:
    """ε = ‖received - sent‖² / ‖sent‖², zero for a tensor of zeros."""
    power = float(sent.square().sum())
    return float((received - sent).square().sum()) / power if power else 0.0
