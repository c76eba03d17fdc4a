"""Codecs: floating-point tensors as they are sent over the air, in fewer bits and with an error.

The error e = decoded - sent satisfies E‖e‖² ≤ ε·‖sent‖²; `distortion` measures ε.

- `fp32` is exact.
- `fp16` and `bf16` round to nearest: the error is deterministic and small.
- `int8` divides every row (the last axis) by its largest magnitude over 127 and rounds
  stochastically, so that the error has mean zero for any tensor (Gupta et al., ICML 2015).
- Top-k sends the k numbers of the largest magnitude of a tensor with their positions, in one of the
  formats above, and the others arrive as zeros: a bias that a sender has to make up for (Stich et
  al., NeurIPS 2018).

`codec` gives the codec of a format. Sizes are in `bridge.formats`, as planning needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bridge.formats import ParameterFormat, Wire, largest_count

_LEVELS = 127


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tensor of a `shape` as it is sent: `tensors` are on the air, in their order."""

    shape: torch.Size
    tensors: tuple[Tensor, ...]


class Codec(Protocol):
    """Encodes single tensors for the air; what it needs besides is drawn from a generator.

    `draws` says whether it draws anything. An encoded tensor takes as many bytes as
    `ParameterFormat.tensor_bytes` says, whatever its values are.
    """

    @property
    def draws(self) -> bool: ...

    def encode(self, tensor: Tensor, generator: torch.Generator | None = None) -> Encoded:
        """A floating-point tensor as it is sent."""
        ...

    def decode(self, encoded: Encoded) -> Tensor:
        """The tensor that the receiver reconstructs, in fp32 and of the shape that was sent."""
        ...

    def gaps(self, encoded: Encoded, missing: Sequence[Tensor]) -> Tensor:
        """Which numbers of the flat decoded tensor are unknown, as bools.

        `missing[i]` says which elements of the i-th tensor on the air have not arrived.
        """
        ...


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Sends a tensor of any kind as it is."""

    draws: bool = False

    def encode(self, tensor: Tensor, generator: torch.Generator | None = None) -> Encoded:
        return Encoded(tensor.shape, (tensor,))

    def decode(self, encoded: Encoded) -> Tensor:
        return encoded.tensors[0]

    def gaps(self, encoded: Encoded, missing: Sequence[Tensor]) -> Tensor:
        return missing[0]


@dataclass(frozen=True, slots=True)
class Rounded:
    """Rounds every number to the nearest of another type."""

    dtype: torch.dtype
    draws: bool = False

    def encode(self, tensor: Tensor, generator: torch.Generator | None = None) -> Encoded:
        return Encoded(tensor.shape, (tensor.to(self.dtype),))

    def decode(self, encoded: Encoded) -> Tensor:
        return encoded.tensors[0].to(torch.float32)

    def gaps(self, encoded: Encoded, missing: Sequence[Tensor]) -> Tensor:
        return missing[0]


@dataclass(frozen=True, slots=True)
class ScaledInt8:
    """Rounds stochastically to 255 levels a row; the rows' scales are sent first, in fp32."""

    draws: bool = True

    def encode(self, tensor: Tensor, generator: torch.Generator | None = None) -> Encoded:
        scales = tensor.abs().amax(dim=-1, keepdim=True) / _LEVELS
        scaled = tensor / scales.where(scales > 0, torch.ones_like(scales))
        draws = torch.rand(scaled.shape, generator=generator, device=scaled.device)
        rounded = (scaled + draws).floor().clamp(-_LEVELS, _LEVELS)
        return Encoded(tensor.shape, (scales.to(torch.float32), rounded.to(torch.int8)))

    def decode(self, encoded: Encoded) -> Tensor:
        scales, values = encoded.tensors
        return values.to(torch.float32) * scales

    def gaps(self, encoded: Encoded, missing: Sequence[Tensor]) -> Tensor:
        rows, values = missing
        return values | rows.repeat_interleave(len(values) // max(len(rows), 1))


@dataclass(frozen=True, slots=True)
class Largest:
    """Sends the given fraction of a tensor's numbers, those of the largest magnitude.

    Of equal magnitudes those of lower positions are sent. Positions in the flat tensor come first,
    in increasing order, and the values follow as one row of the codec `numbers`.
    """

    fraction: float
    numbers: Codec

    @property
    def draws(self) -> bool:
        return self.numbers.draws

    def encode(self, tensor: Tensor, generator: torch.Generator | None = None) -> Encoded:
        flat = tensor.flatten()
        positions = _largest(flat, largest_count(self.fraction, flat.numel()))
        values = self.numbers.encode(flat[positions], generator)
        return Encoded(tensor.shape, (positions.to(torch.int32), *values.tensors))

    def decode(self, encoded: Encoded) -> Tensor:
        positions, *values = encoded.tensors
        sent = self.numbers.decode(Encoded(positions.shape, tuple(values)))
        flat = torch.zeros(encoded.shape.numel(), device=sent.device)
        flat[positions.long()] = sent
        return flat.view(encoded.shape)

    def gaps(self, encoded: Encoded, missing: Sequence[Tensor]) -> Tensor:
        positions, *values = encoded.tensors
        sent = Encoded(positions.shape, tuple(values))
        unknown = missing[0] | self.numbers.gaps(sent, missing[1:])
        flat = torch.zeros(encoded.shape.numel(), dtype=torch.bool)
        flat[positions.long().cpu()] = unknown
        return flat


def _largest(flat: Tensor, count: int) -> Tensor:
    """The positions of the largest magnitudes in increasing order; nan counts as infinite."""
    if not count:
        return torch.empty(0, dtype=torch.long, device=flat.device)
    sizes = flat.abs().nan_to_num(nan=math.inf, posinf=math.inf)
    least = sizes.kthvalue(len(sizes) - count + 1).values  # much faster than to sort them
    above = (sizes > least).nonzero().flatten()
    equal = (sizes == least).nonzero().flatten()[: count - len(above)]
    return torch.cat((above, equal)).sort().values


_OF_NUMBERS: Mapping[Wire, Codec] = {
    "fp32": Rounded(torch.float32),
    "fp16": Rounded(torch.float16),
    "bf16": Rounded(torch.bfloat16),
    "int8": ScaledInt8(),
}


def codec(format: Wire | ParameterFormat) -> Codec:
    """The codec of a format of activations and gradients, or of parameters.

    Of differences it is the same: what is encoded is then a difference.
    """
    if not isinstance(format, ParameterFormat):
        return _OF_NUMBERS[format]
    numbers = _OF_NUMBERS[format.numbers]
    return numbers if format.largest is None else Largest(format.largest, numbers)


def distortion(sent: Tensor, received: Tensor) -> float:
    """ε = ‖received - sent‖² / ‖sent‖², zero for a tensor of zeros."""
    power = float(sent.square().sum())
    return float((received - sent).square().sum()) / power if power else 0.0
