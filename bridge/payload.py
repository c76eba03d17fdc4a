"""Tensors as bytes on air: how many they are, and what is left of them when some are lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def size_bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes that these tensors take on air, one after the other in their own formats."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass(frozen=True, slots=True)
class Received:
    """Tensors as they arrived, and ε = ‖received - sent‖² / ‖sent‖² over the floating ones."""

    tensors: tuple[Tensor, ...]
    distortion: float


def receive(tensors: Sequence[Tensor], lost: Sequence[tuple[int, int]]) -> Received:
    """What arrives of these tensors when the half-open byte ranges `lost` of them don't.

    An element of which any byte is missing is zeroed. The rest of a floating-point tensor is
    scaled by 1/(1 - share lost), which keeps its mean where losses fall at random (theory, A4);
    integers and masks are not scaled. With nothing lost the tensors are handed on as they are.
    """
    if not lost:
        return Received(tuple(tensors), 0.0)
    arrived: list[Tensor] = []
    error = power = 0.0
    offset = 0
    for tensor in tensors:
        width, count = tensor.element_size(), tensor.numel()
        missing = torch.zeros(count, dtype=torch.bool)
        for start, end in lost:
            first = max((start - offset) // width, 0)
            last = min(-((offset - end) // width), count)
            missing[first : max(last, first)] = True
        offset += count * width
        result = _without(tensor, missing.to(tensor.device))
        arrived.append(result)
        if tensor.is_floating_point():
            error += float((result - tensor).square().sum())
            power += float(tensor.square().sum())
    return Received(tuple(arrived), error / power if power else 0.0)


def _without(tensor: Tensor, missing: Tensor) -> Tensor:
    share = float(missing.float().mean())
    if share == 0.0:
        return tensor
    kept = tensor.flatten().masked_fill(missing, 0)
    if tensor.is_floating_point() and share < 1.0:
        kept = kept / (1.0 - share)
    return kept.view_as(tensor)
