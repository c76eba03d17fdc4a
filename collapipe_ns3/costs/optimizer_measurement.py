"""Checks the settings of torch's optimizers, and measures what their steps cost and keep.

torch's own counter of FLOPs counts only matrix products, of which these optimizers have none. Here
every element of an element-wise operation counts as one FLOP, and as two or three where the
operation combines several (`lerp`, `addcmul`, `addcdiv`, `add` with a factor); copies as none.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from collapipe_ns3.costs.optimizers import (
    REFUSED,
    RESERVED,
    BadOptimizer,
    OptimizerKind,
)
from collapipe_ns3.names import did_you_mean

#: Steps before the one that is counted. The first ones differ: SGD's momentum begins with a copy,
#: and RAdam corrects the variance from its sixth step on.
STEPS_BEFORE = 10

#: FLOPs of an element, where they aren't 1; with a factor (`alpha`, `value`) it is one more.
_FLOPS = {"lerp": 3, "addcmul": 2, "addcdiv": 2}

#: Operations that move or create numbers and compute none, views apart.
_MOVING = {
    "cat", "clone", "copy", "empty_like", "fill", "full_like", "ones_like", "stack", "zero",
    "zeros_like", "_to_copy",
}  # fmt: skip

_SHAPES = ((64,), (160,), (12, 18))


def optimizer_classes() -> dict[str, type[torch.optim.Optimizer]]:
    """All optimizers of the installed torch by their lower-case names."""
    found = {name.lower(): getattr(torch.optim, name) for name in dir(torch.optim)}
    base = torch.optim.Optimizer
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    }


def measured_kind(name: str, settings: Mapping[str, Any]) -> OptimizerKind:
    """Checks an optimizer's settings and measures it; raises BadOptimizer with all problems."""
    classes = optimizer_classes()
    if name not in classes:
        usable = [each for each in classes if each not in REFUSED]
        raise BadOptimizer([("", f"torch has no optimizer {name!r}; {did_you_mean(name, usable)}")])
    kind = classes[name]
    problems = list(setting_problems(kind, settings))
    if problems:
        raise BadOptimizer(problems)
    return measure(kind, settings)


def setting_problems(
    kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Each wrong setting with a message: unknown, of the wrong type, or refused by torch."""
    parameters = list(inspect.signature(kind).parameters.values())[1:]
    defaults = {each.name: each.default for each in parameters if each.name not in RESERVED}
    left = {}
    for key, value in settings.items():
        if key in RESERVED:
            yield key, f"can't be set here: it {RESERVED[key]}"
        elif key not in defaults:
            yield key, f"{kind.__name__} has no such setting; {did_you_mean(key, defaults)}"
        elif expected := _wrong_type(value, defaults[key]):
            yield key, f"expected {expected}, not {value!r}"
        else:
            left[key] = value
    while (message := _refusal(kind, left)) is not None:
        # The setting without which torch does not say so is the one that is wrong.
        guilty = [key for key in left if _refusal(kind, _without(left, key)) != message]
        yield (guilty[-1] if guilty else ""), message
        if not guilty:
            return
        del left[guilty[-1]]


def _without(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != key}


def _wrong_type(value: object, default: object) -> str:
    """What was expected in place of a value; empty if its type is that of the default."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, int | float):
        return "" if _is_number(value) else "a finite number"
    if isinstance(default, str):
        return "" if isinstance(value, str) else "text"
    if isinstance(default, tuple):
        numbers = list(value) if isinstance(value, list | tuple) else []
        right = len(numbers) == len(default) and all(_is_number(each) for each in numbers)
        return "" if right else f"{len(default)} finite numbers"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refusal(kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]) -> str | None:
    """Why torch refuses these settings for a parameter of one element; None if it does not."""
    try:
        kind([torch.nn.Parameter(torch.ones(1))], **settings)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error)
    return None


def measure(kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]) -> OptimizerKind:
    """Measures some steps on small parameters; raises BadOptimizer where no formula holds.

    FLOPs must be a multiple of the elements, and bytes of state a multiple of a parameter's own
    bytes and a constant for each tensor, whatever the shape.
    """
    flops, kept = zip(*(_step(kind, settings, shape) for shape in _SHAPES), strict=True)
    sizes = [math.prod(shape) for shape in _SHAPES]
    per_element = flops[0] // sizes[0]
    states = (kept[1] - kept[0]) // (4 * (sizes[1] - sizes[0]))
    constant = kept[0] - 4 * states * sizes[0]
    if [per_element * size for size in sizes] != list(flops) or [
        4 * states * size + constant for size in sizes
    ] != list(kept):
        what = f"{kind.__name__} can't be used: its costs depend on the shapes of the parameters"
        raise BadOptimizer([("", what)])
    return OptimizerKind(
        per_element, states, constant, kind.__name__, tuple(sorted(settings.items()))
    )


def _step(
    kind: type[torch.optim.Optimizer], settings: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[int, int]:
    """FLOPs of one step on a parameter of this shape, and the bytes of state after it."""
    parameter = torch.nn.Parameter(torch.ones(shape))
    try:
        optimizer = kind([parameter], **settings)
        for _ in range(STEPS_BEFORE):
            parameter.grad = torch.full(shape, 0.01)
            optimizer.step()
        parameter.grad = torch.full(shape, 0.01)
        with _FlopCount(parameter.numel()) as count:
            optimizer.step()
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadOptimizer([("", f"{kind.__name__} can't be used: {error}")]) from error
    kept = [value for value in optimizer.state[parameter].values() if isinstance(value, Tensor)]
    return count.flops, sum(value.numel() * value.element_size() for value in kept)


class _FlopCount(TorchDispatchMode):
    """Adds up the FLOPs of operations on tensors of at least `elements` elements."""

    def __init__(self, elements: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.elements = elements
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        sizes = [each.numel() for each in (*args, output) if isinstance(each, Tensor)]
        largest = max(sizes, default=0)
        name = func._schema.name.partition("::")[2].rstrip("_")
        if largest >= self.elements and name not in _MOVING and not func.is_view:
            factor = kwargs.get("alpha", kwargs.get("value", 1)) != 1
            self.flops += largest * (_FLOPS.get(name, 1) + factor)
        return output
