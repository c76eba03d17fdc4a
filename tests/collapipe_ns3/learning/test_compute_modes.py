"""Recomputation gives the same gradients, and bfloat16 computes on float32 parameters."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from collapipe_ns3.learning.compute_modes import (
    as_float32,
    autocast,
    precision_problem,
    recomputed,
)
from collapipe_ns3.learning.draws import draws

CPU = torch.device("cpu")


def block() -> nn.Module:
    torch.manual_seed(1)
    layers = [nn.TransformerEncoderLayer(16, 2, 32, 0.2, batch_first=True) for _ in range(2)]
    return nn.Sequential(*layers)


def trained(recompute: bool, precision: str = "float32", passes: int = 1) -> list[Tensor]:
    """The output and all gradients."""
    module = block()
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(2)).requires_grad_()
    generator = torch.Generator().manual_seed(3)
    with autocast(precision, CPU):
        if recompute:
            output = recomputed(module, x, generator=generator)
        else:
            with draws(generator):
                output = module(x)
    for remaining in range(passes)[::-1]:
        output.square().sum().backward(retain_graph=remaining > 0)
    assert x.grad is not None
    after = torch.rand(1, generator=generator)  # the forward pass moves the generator on
    return [output.detach(), after, x.grad, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("passes", [1, 2])
def test_recomputation_replays_the_draws(precision: str, passes: int) -> None:
    state = torch.get_rng_state()
    kept, again = trained(False, precision, passes), trained(True, precision, passes)
    assert len(kept) == 3 + 24
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))
    torch.set_rng_state(state)


def test_recomputation_keeps_the_inputs_alone() -> None:
    kept: list[Tensor] = []
    module, x = block(), torch.randn(3, 5, 16, requires_grad=True)

    def saved(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        recomputed(module, x, generator=torch.Generator())
    assert sum(tensor.numel() for tensor in kept) <= x.numel()


def test_without_a_generator_nothing_may_be_drawn() -> None:
    module = block().eval()
    x = torch.ones(1, 2, 16, requires_grad=True)
    recomputed(module, x).sum().backward()
    assert x.grad is not None


def test_bfloat16_keeps_parameters_and_gradients_in_float32() -> None:
    module = block()
    x = torch.randn(3, 5, 16)
    with autocast("bfloat16", CPU), draws(torch.Generator()):
        output = nn.Linear(16, 4)(module(x))
    assert output.dtype == torch.bfloat16
    (travels,) = as_float32((output,))
    assert travels.dtype == torch.float32
    travels.sum().backward()
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in module.parameters() if p.grad is not None} == {torch.float32}


def test_float32_changes_nothing() -> None:
    assert isinstance(autocast("float32", CPU), nullcontext)
    mask = torch.ones(2, dtype=torch.bool)
    assert as_float32((mask,))[0] is mask


def test_half_precision_is_refused() -> None:
    assert precision_problem("bfloat16", "cpu") is None
    with pytest.raises(ValueError, match=r"float16 on a CPU .* use bfloat16"):
        autocast("float16", CPU)
    assert "scaled" in (precision_problem("float16", "cuda") or "")
    assert "unknown precision" in (precision_problem("int8", "cpu") or "")
