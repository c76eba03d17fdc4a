"""How a part computes: with its activations recomputed in the backward pass, or in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.draws import draws

Result = TypeVar("Result")

#: The precisions of computation by name, as a study has them.
PRECISIONS = ("float32", "bfloat16")


def recomputed(
    function: Callable[..., Result], *inputs: Any, generator: torch.Generator | None = None
) -> Result:
    """`function(*inputs)`, of which autograd keeps only the inputs.

    The backward pass calls the function again. Both calls draw from `generator` in its present
    state, as within `draws`, so that the gradients equal those without recomputation to the bit;
    None means that the function draws nothing. Autocast is replayed too.
    """

    def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        if generator is None:
            return nullcontext(), nullcontext()
        return draws(generator), _Replay(generator)

    result: Result = checkpoint(
        function, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
    )
    return result


class _Replay:
    """The draws that a generator makes from the state in which it is now, each time it is entered.

    A graph that is retained recomputes again at each backward pass.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.device, self.state = generator.device, generator.get_state()
        self.entered: list[AbstractContextManager[object]] = []

    def __enter__(self) -> None:
        context = draws(torch.Generator(self.device).set_state(self.state))
        context.__enter__()
        self.entered.append(context)

    def __exit__(self, *error: Any) -> None:
        self.entered.pop().__exit__(*error)


def precision_problem(precision: str, device_type: str) -> str | None:
    """Why parts can't compute in this precision on devices of this type; None if they can."""
    if precision in PRECISIONS:
        return None
    if precision != "float16":
        return f"unknown precision {precision!r}: one of {', '.join(PRECISIONS)}"
    if device_type == "cpu":
        return "float16 on a CPU is many times slower than float32: use bfloat16"
    return "float16 needs its losses scaled, which is not implemented: use bfloat16"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A context in which PyTorch computes matrix products in `precision` ("bfloat16").

    Parameters, gradients and optimizer states stay float32. For "float32" nothing is changed.
    Raises ValueError with `precision_problem`.
    """
    problem = precision_problem(precision, device.type)
    if problem:
        raise ValueError(problem)
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def as_float32(payload: Payload) -> Payload:
    """The tensors that a part returns with all floating-point numbers in float32.

    What travels has the format that the plan gives it, and not the one that autocast leaves.
    """
    return tuple(tensor.float() if tensor.is_floating_point() else tensor for tensor in payload)
