"""What a stage costs: measured on the running module, and predicted by closed forms.

The engine charges what was measured; a planner predicts, and a test holds the two together. Shapes:
u sequences in a micro-batch, s source and t target tokens, d the width, f the feed-forward size, h
heads. A multiply-add counts as two FLOPs; element-wise work (norms, softmax, residuals) is left
out of both, as torch's FLOP counter leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from collapipe_ns3.models.spec import ModelSpec, block_parameters
from collapipe_ns3.optimizers import OPTIMIZER_FLOPS


@dataclass(frozen=True, slots=True)
class StageCost:
    """FLOPs of a stage's forward and backward on one micro-batch, and its memory in bytes.

    `activation_bytes` is what autograd keeps from forward to backward, parameters not counted.
    """

    forward_flops: int
    backward_flops: int
    parameter_bytes: int
    activation_bytes: int


def measure(
    function: Callable[..., Tensor], parameters: Sequence[nn.Parameter], inputs: Sequence[Any]
) -> StageCost:
    """Runs a stage forward and backward once and counts; no gradient is left anywhere.

    The first input is the one that gradients flow to, unless it holds whole numbers.
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
    """torch's FLOP counter, taught the attention kernel of the CPU, which it doesn't know."""
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
    return OPTIMIZER_FLOPS[optimizer] * sum(p.numel() for p in parameters)


def aggregation_flops(parameters: Sequence[nn.Parameter], models: int) -> int:
    """FLOPs of a weighted average of `models` models: a multiply and an add a parameter."""
    return 2 * models * sum(p.numel() for p in parameters)


def predict_blocks(spec: ModelSpec, blocks: int, u: int, s: int) -> StageCost:
    """The closed form for a segment of encoder blocks.

    Forward 8·s·d² + 4·s²·d + 4·s·d·f a sequence and block. Backward is twice that, and the
    attention's scores are computed once more (they are not kept): + 2·s²·d.
    Kept for backward, a block and token: 8·d (input, normed input, Q, K, V, attention's output,
    residual, normed residual), f (the feed-forward's hidden layer), 4 (means and deviations of two
    norms), 2·h (log-sum of scores, padding mask).
    """
    d, f, h = spec.width, spec.feed_forward, spec.heads
    linear = 8 * s * d * d + 4 * s * d * f
    attention = 4 * s * s * d
    return StageCost(
        forward_flops=blocks * u * (linear + attention),
        backward_flops=blocks * u * (2 * linear + attention * 5 // 2),
        parameter_bytes=4 * blocks * block_parameters(d, f),
        activation_bytes=4 * blocks * u * s * (8 * d + f + 4 + 2 * h),
    )
