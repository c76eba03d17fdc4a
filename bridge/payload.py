"""Tensors as bytes on air: how many bytes they take, and what remains when some are lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bridge.formats import ParameterFormat, TensorSize, Wire
from bridge.wire import Codec, Encoded, Unchanged, codec

#: Half-open byte ranges of a payload, in order.
Ranges = Sequence[tuple[int, int]]


def size_bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes of these tensors, one after the other in their own formats."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def bytes_on_air(tensors: Sequence[Tensor], wire: Wire = "fp32") -> int:
    """Bytes of these tensors once packed, from their shapes alone (meta tensors will do)."""
    format = ParameterFormat(wire)
    return sum(
        format.tensor_bytes(TensorSize.of(tensor.shape))
        if tensor.is_floating_point()
        else size_bytes([tensor])
        for tensor in tensors
    )


@dataclass(frozen=True, slots=True)
class Packed:
    """Tensors that travel together: floating-point ones encoded, others in their own formats."""

    sent: tuple[Tensor, ...]
    encoded: tuple[tuple[Codec, Encoded], ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors on the air, in order."""
        return tuple(tensor for _, encoded in self.encoded for tensor in encoded.tensors)


@dataclass(frozen=True, slots=True)
class Received:
    """Tensors as they arrived, and ε = ‖received - sent‖² / ‖sent‖² over the floating ones."""

    tensors: tuple[Tensor, ...]
    distortion: float


def pack(
    tensors: Sequence[Tensor], wire: Wire = "fp32", generator: torch.Generator | None = None
) -> Packed:
    """Encodes tensors for the air; `generator` draws the roundings of `int8`."""
    numbers, others = codec(wire), Unchanged()
    codecs = [numbers if tensor.is_floating_point() else others for tensor in tensors]
    encoded = (each.encode(t, generator) for each, t in zip(codecs, tensors, strict=True))
    return Packed(tuple(tensors), tuple(zip(codecs, encoded, strict=True)))


def receive(packed: Packed, lost: Ranges) -> Received:
    """Decodes a payload of which the byte ranges `lost` are missing.

    An element that lacks any byte is set to zero; so is a whole row of the `int8` format whose
    scale lacks any. The remaining elements of a floating-point tensor are multiplied by
    1/(1 - share lost), which preserves the mean where losses are random (theory, A4); integers and
    masks are not.
    """
    arrived: list[Tensor] = []
    error = power = 0.0
    offset = 0
    for sent, (by, encoded) in zip(packed.sent, packed.encoded, strict=True):
        result = _arrived(by, encoded, lost, offset)
        offset += size_bytes(encoded.tensors)
        arrived.append(result)
        if result is not sent and sent.is_floating_point():
            error += float((result - sent).square().sum())
            power += float(sent.square().sum())
    return Received(tuple(arrived), error / power if power else 0.0)


def _arrived(by: Codec, encoded: Encoded, lost: Ranges, offset: int) -> Tensor:
    """One tensor as it arrives; its bytes start at `offset` of the payload."""
    whole = by.decode(encoded)
    if not lost:
        return whole
    missing = []
    for tensor in encoded.tensors:
        missing.append(_missing(tensor, lost, offset))
        offset += size_bytes([tensor])
    gaps = by.gaps(encoded, missing)
    # Of the numbers that were sent: in all formats but top-k these are all numbers of the tensor.
    numbers = max(encoded.tensors[-1].numel(), 1)
    share = float(gaps.float().mean()) * (gaps.numel() / numbers)
    if share == 0.0:
        return whole
    kept = whole.flatten().masked_fill(gaps.to(whole.device), 0)
    if whole.is_floating_point() and share < 1.0:
        kept = kept / (1.0 - share)
    return kept.view_as(whole)


def _missing(tensor: Tensor, lost: Ranges, offset: int) -> Tensor:
    """Which elements of a tensor lack any of their bytes."""
    width, count = tensor.element_size(), tensor.numel()
    missing = torch.zeros(count, dtype=torch.bool)
    for start, end in lost:
        first = max((start - offset) // width, 0)
        last = min(-((offset - end) // width), count)
        missing[first : max(last, first)] = True
    return missing


def union(one: Ranges, other: Ranges) -> list[tuple[int, int]]:
    """The union of two sets of byte ranges, in order and without overlaps."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted([*one, *other]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def length(ranges: Ranges) -> int:
    """The bytes in ranges that don't overlap."""
    return sum(end - begin for begin, end in ranges)


def common(one: Ranges, other: Ranges) -> list[tuple[int, int]]:
    """What is in both of two sets of byte ranges."""
    pairs = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return [(begin, end) for begin, end in pairs if begin < end]


def within(sent: Ranges, lost: Ranges) -> list[tuple[int, int]]:
    """Where ranges of a payload lie that consists of these parts, one after another."""
    found, offset = [], 0
    for begin, end in sent:
        for first, last in lost:
            at = max(first - offset + begin, begin), min(last - offset + begin, end)
            if at[0] < at[1]:
                found.append(at)
        offset += end - begin
    return found
