"""Random draws of a forward pass, such as dropout, from a generator of its own.

PyTorch's dropout draws from one global generator for each device, whose state all threads of the
process share. So two forward passes at a time would mix their draws. Within `draws(generator)` all
draws of the current thread come from `generator`, and other threads are not affected:

    with draws(seeded(seed, "dropout", round, cluster)):
        output = part(x)

The draws are those that PyTorch makes with a global generator in the same state: on the CPU the
results are equal to the bit. It is a `TorchFunctionMode`, which costs about 1 µs for each PyTorch
function called in Python; `draws_anything` says where it can be left out.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's documentation names it F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from collapipe_ns3 import random_streams


def seeded(seed: int, *name: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` for the purpose `name`; the same seed and name give equal draws."""
    return torch.Generator(device).manual_seed(random_streams.number(seed, *name))


def draws(generator: torch.Generator) -> AbstractContextManager[object]:
    """A context in which this thread draws from `generator`, never from a global one.

    It covers dropout of every kind (also in attention: `nn.MultiheadAttention`,
    `F.scaled_dot_product_attention`, Hugging Face's "eager" and "sdpa") and PyTorch's functions
    that return or write random numbers. A draw that is given a generator keeps it.

    A draw on a device of another type than the generator's comes from a generator on that device,
    which starts from the seed of `generator` whenever a context is made.

    Raises NotImplementedError where a kernel draws and takes no generator (dropout between the
    layers of cuDNN's recurrent networks). Draws inside compiled (`torch.compile`, TorchScript) or
    custom C++ functions are not seen.
    """
    return _Draws(generator)


#: Names of attributes that hold a probability or a magnitude of random changes.
_RANDOM_SETTING = re.compile("drop|jitter|noise", re.IGNORECASE)

#: Packages whose modules draw only as such attributes say.
_KNOWN_PACKAGES = {"torch", "transformers", "peft", "collapipe_ns3"}

#: Modules of torch that draw in training without such an attribute.
_DRAWING_MODULES = (nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def draws_anything(module: nn.Module) -> bool:
    """Whether a forward pass of the module may draw random numbers; false only if it can't.

    In evaluation mode nothing draws. In training mode, modules of PyTorch, Hugging Face and this
    package draw where an attribute of theirs or of their `config` (a dropout probability, for
    example) is above 0. What a module of any other package does can't be known, so it is assumed to
    draw. All submodules are visited, so call it once for each part and not for each forward pass.
    """
    return any(_may_draw(each) for each in module.modules() if each.training)


def _may_draw(module: nn.Module) -> bool:
    """Whether a module in training mode may draw, its submodules left aside."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if type(module).__module__.partition(".")[0] not in _KNOWN_PACKAGES:
        return True
    if hasattr(module, "layerdrop"):  # transformers 4 draws even where it drops no layer
        return True
    settings = {**vars(getattr(module, "config", object)), **vars(module)}
    return isinstance(module, _DRAWING_MODULES) or any(
        isinstance(value, int | float) and value > 0
        for name, value in settings.items()
        if _RANDOM_SETTING.search(name)
    )


class _Draws(TorchFunctionMode):
    """Replaces the functions that draw by equal ones that draw from the given generator.

    Inside `__torch_function__` the mode is off, so that a function of PyTorch written in Python
    would make its draws unseen. The frequent ones (`F.dropout` and attention) are therefore
    computed here, and the others run within a `_KernelDraws`, which is slower but sees the draws of
    all kernels.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generators = {generator.device.type: generator}
        self.seed = generator.initial_seed()
        self.frequent: dict[object, Callable[..., Any]] = {
            F.dropout: self.dropout,
            torch.dropout: self.dropout,
            torch.dropout_: self.dropout_in_place,
            F.scaled_dot_product_attention: self.attention,
            F.multi_head_attention_forward: self.multi_head_attention,
        }

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        replacement = self.frequent.get(func)
        if replacement is not None:
            return replacement(*args, **kwargs or {})
        if func in _DRAWING_FUNCTIONS:
            with _KernelDraws(self.generator):
                return func(*args, **kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator for draws on a device."""
        if device.type not in self.generators:
            self.generators[device.type] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device.type]

    def noise(self, x: Tensor, p: float) -> Tensor:
        """What dropout multiplies `x` with: 0 with probability p, else 1/(1 − p)."""
        if p == 1:
            return torch.zeros_like(x)
        kept = 1 - p
        return torch.empty_like(x).bernoulli_(kept, generator=self.generator(x.device)).div_(kept)

    def dropout(
        self,
        input: Tensor,  # the names of parameters are PyTorch's
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        train: bool = True,
    ) -> Tensor:
        """`F.dropout`, and `torch.dropout`, which names its third parameter `train`."""
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        if p == 0 or not (training and train):
            return input
        noise = self.noise(input, p)
        return input.mul_(noise) if inplace else input * noise

    def dropout_in_place(self, input: Tensor, p: float, train: bool) -> Tensor:
        """`torch.dropout_`."""
        return self.dropout(input, p, train, inplace=True)

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """`F.scaled_dot_product_attention`: softmax(query·keyᵀ·scale + mask)·value.

        Without dropout it is PyTorch's own. With dropout it is the computation in the documentation
        of that function, in the order of operations of PyTorch's kernel `math`.
        """
        if dropout_p == 0:
            return F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask,
                is_causal=is_causal,
                scale=scale,
                enable_gqa=enable_gqa,
            )
        if is_causal and attn_mask is not None:
            raise ValueError("scaled_dot_product_attention: attn_mask is set and is_causal too")
        if is_causal:
            length, others = query.shape[-2], key.shape[-2]
            ones = torch.ones(length, others, dtype=torch.bool, device=query.device)
            attn_mask = ones.tril()
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key = key.repeat_interleave(groups, -3)
            value = value.repeat_interleave(groups, -3)
        # Both factors are scaled by the root, which keeps their product small in half precision.
        root = math.sqrt(1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        scores = (query * root) @ (key.transpose(-2, -1) * root)
        if attn_mask is not None:
            scores = scores + _additive(attn_mask, query.dtype)
        # Unlike `softmax`, this gives zeros, not NaN, where everything is masked.
        weights = torch._safe_softmax(scores, -1)
        return self.dropout(weights, dropout_p) @ value

    def multi_head_attention(self, *args: Any, **kwargs: Any) -> Any:
        """`F.multi_head_attention_forward`, which draws from the generator of this object."""
        _attending.draws = self
        return _multi_head_attention(*args, **kwargs)


class _Attending(threading.local):
    """The object whose generator `_multi_head_attention` draws from in each thread."""

    draws: _Draws


_attending = _Attending()


def _dropout(input: Tensor, p: float) -> Tensor:
    return _attending.draws.dropout(input, p)


def _attention(*args: Any, **kwargs: Any) -> Tensor:
    return _attending.draws.attention(*args, **kwargs)


def _never(*arguments: object) -> bool:
    return False


def _with_globals(function: Any, **replaced: Any) -> Callable[..., Any]:
    """A copy of a Python function in which these global names have other values."""
    copy = FunctionType(function.__code__, {**function.__globals__, **replaced})
    copy.__defaults__, copy.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return copy


#: PyTorch's own function with its dropout and its inner attention replaced. `has_torch_function`
#: returns false, since the function would else call the mode again. It is made once: a copy at each
#: call would cost 2 % of a small layer's time.
_multi_head_attention = _with_globals(
    F.multi_head_attention_forward,
    has_torch_function=_never,
    dropout=_dropout,
    scaled_dot_product_attention=_attention,
)


class _KernelDraws(TorchDispatchMode):
    """Gives a generator to every kernel that draws and was given none."""

    def __init__(self, generator: Callable[[torch.device], torch.Generator]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of torch
        self.generator = generator

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        names = [argument.name for argument in func._schema.arguments]
        if torch.Tag.nondeterministic_seeded not in func.tags and "generator" not in names:
            return func(*args, **kwargs)
        defaults = {each.name: each.default_value for each in func._schema.arguments}
        given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        if given.get("generator") is not None:
            return func(*args, **kwargs)
        tensors = [value for value in given.values() if isinstance(value, Tensor)]
        device = tensors[0].device if tensors else torch.device(given.get("device") or "cpu")
        if func.overloadpacket is torch.ops.aten.native_dropout:
            return self.native_dropout(*args, **kwargs)
        if any("generator" in each for each in _parameters(func)):
            return func.overloadpacket(*args, **{**kwargs, "generator": self.generator(device)})
        if given.get("dropout", given.get("dropout_p")) == 0:
            return func(*args, **kwargs)
        raise NotImplementedError(
            f"{func} draws from PyTorch's global generator and takes no other"
        )

    def native_dropout(self, input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
        """The output and the mask of what is kept; PyTorch computes the gradient from the mask."""
        if train is False or p == 0:
            return input, torch.ones_like(input, dtype=torch.bool)
        if p == 1:
            return torch.zeros_like(input), torch.zeros_like(input, dtype=torch.bool)
        noise = torch.empty_like(input).bernoulli_(1 - p, generator=self.generator(input.device))
        return input * noise.div_(1 - p), noise > 0


def _parameters(func: Any) -> Iterator[list[str]]:
    """The names of the parameters of all overloads of a kernel."""
    packet = func.overloadpacket
    for overload in packet.overloads():
        yield [argument.name for argument in getattr(packet, overload)._schema.arguments]


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to scores; where a boolean mask is false it is −∞, else 0."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -math.inf)


#: PyTorch's functions that draw, besides those that `_Draws` computes; a test compares the names
#: with PyTorch's own list, the kernels of the tag `nondeterministic_seeded`.
# fmt: off
_NAMES = (
    "native_dropout", "alpha_dropout", "alpha_dropout_", "feature_dropout", "feature_dropout_",
    "feature_alpha_dropout", "feature_alpha_dropout_", "dropout1d", "dropout2d", "dropout3d",
    "rrelu", "rrelu_", "rrelu_with_noise", "rrelu_with_noise_", "gumbel_softmax",
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices", "rand", "rand_like", "randn", "randn_like", "randint",
    "randint_like", "randperm", "normal", "normal_", "uniform", "uniform_", "bernoulli",
    "bernoulli_", "multinomial", "poisson", "binomial", "exponential", "exponential_",
    "geometric", "geometric_", "cauchy", "cauchy_", "log_normal", "log_normal_", "random_",
    "_standard_gamma", "_sample_dirichlet", "lstm", "gru", "rnn_tanh", "rnn_relu",
    "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_",
    "orthogonal_", "sparse_",
)
# fmt: on

_DRAWING_FUNCTIONS: frozenset[object] = frozenset(
    getattr(place, name)
    for place in (torch, Tensor, F, torch._C._nn, torch.ops.aten, nn.init)
    for name in _NAMES
    if hasattr(place, name)
)
