"""The costs of a stage, measured by running its module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import StageCost


def measure(
    function: Callable[..., Tensor], parameters: Sequence[nn.Parameter], inputs: Sequence[Any]
) -> StageCost:
    """Counts FLOPs and kept bytes in one forward and backward run; leaves no gradients.

    Gradients flow to the parameters and to the first input, unless that has integers.
    """
    leaf: Tensor = inputs[0].detach()
    if leaf.is_floating_point():
        leaf.requires_grad_()
    wanted = [*([leaf] if leaf.requires_grad else []), *parameters]
    own = {tensor.untyped_storage().data_ptr() for tensor in parameters}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.is_floating_point():
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), _counter() as ahead:
        output = function(leaf, *inputs[1:])
    with _counter() as back:
        torch.autograd.grad(output, wanted, torch.ones_like(output), allow_unused=True)
    return StageCost(
        forward_flops=ahead.get_total_flops(),
        backward_flops=back.get_total_flops(),
        parameter_bytes=sum(p.numel() * p.element_size() for p in parameters),
        activation_bytes=sum(saved.values()),
    )


def _counter() -> FlopCounterMode:
    """torch's FLOP counter, extended by the CPU's attention kernel, which it lacks."""
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        },
    )


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


def optimizer_flops(optimizer: str, parameters: Sequence[nn.Parameter]) -> int:
    """FLOPs of one optimizer step."""
    return OPTIMIZERS[optimizer].flops * sum(p.numel() for p in parameters)


def aggregation_flops(parameters: Sequence[nn.Parameter], models: int) -> int:
    """FLOPs of a weighted average: a multiplication and an addition per parameter and model."""
    return 2 * models * sum(p.numel() for p in parameters)
