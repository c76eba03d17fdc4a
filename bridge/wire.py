"""Encodes floating-point tensors for the air: fewer bits per element, with a bounded error.

The error e = decoded - sent of a format satisfies E‖e‖² ≤ ε·‖sent‖²; `distortion` measures ε.
`fp32` is exact. `fp16` and `bf16` round to nearest: the error is deterministic and small. `int8`
divides every row (the last axis) by its largest magnitude over 127 and rounds stochastically, so
that the error has mean zero for any tensor (Gupta et al., ICML 2015).
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
    """A tensor as it is sent; `scales` has one number per row in `int8`, and is None otherwise."""

    values: Tensor
    scales: Tensor | None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors on the air, in order."""
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
    """The fp32 tensor that the receiver reconstructs."""
    values = encoded.values.to(torch.float32)
    return values if encoded.scales is None else values * encoded.scales


def distortion(sent: Tensor, received: Tensor) -> float:
    """ε = ‖received - sent‖² / ‖sent‖², zero for a tensor of zeros."""
    power = float(sent.square().sum())
    return float((received - sent).square().sum()) / power if power else 0.0
