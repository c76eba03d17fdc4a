"""The optimizers of `torch.optim`: what a step costs, what they keep, and how they are made.

Importing this needs no torch, so that a study with an optimizer's default settings is checked and
planned without it. Other settings are checked and measured with torch once
(`costs.optimizer_measurement`), and the result is kept in the user's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from collapipe_ns3.costs.disk_cache import stored
from collapipe_ns3.learning.local_term import LocalTerm

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class OptimizerKind:
    """What an optimizer costs, and how it is made.

    A step takes `flops` element-wise FLOPs for each parameter. From its first step on, the
    optimizer keeps `states` tensors of the size of each parameter tensor (its moments), and
    `tensor_bytes` more bytes for each parameter tensor (its count of steps). `torch_name` is its
    class in `torch.optim`, and `settings` are the keywords of its constructor that the study sets.

    `held` is how many further tensors of the size of each parameter tensor a node holds in a round,
    which do not move with the parameters, and `variates` how many it keeps, which do
    (`collapipe_ns3.learning.local_term`). With `anew`, states begin anew in every round, so that
    they do not move.
    """

    flops: int
    states: int
    tensor_bytes: int
    torch_name: str
    settings: tuple[tuple[str, Any], ...] = ()
    held: int = 0
    variates: int = 0
    anew: bool = False

    def state_bytes(self, parameter_bytes: int, tensors: int) -> int:
        """Bytes of state that move with parameters of this size in bytes and number of tensors."""
        variates = self.variates * parameter_bytes
        if self.anew:
            return variates
        return variates + self.states * parameter_bytes + self.tensor_bytes * tensors

    def training_bytes(self, parameter_bytes: int) -> int:
        """Memory of parameters in training: with gradients, the optimizer's moments, all the rest.

        Counts of steps are left out: twelve bytes for each tensor at most.
        """
        return parameter_bytes * (2 + self.states + self.held + self.variates)

    def with_term(self, term: LocalTerm) -> OptimizerKind:
        """The optimizer with the costs of what an aggregation adds to its steps.

        A pipeline's control variate is kept by the node that holds the parameters, and moves with
        them, as the optimizer's state does.
        """
        return replace(
            self,
            flops=self.flops + term.flops,
            held=self.held + term.held,
            variates=self.variates + term.kept,
            anew=term.fresh_optimizer,
        )

    def make(
        self, parameters: Iterator[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """torch's optimizer for these parameters with this learning rate and the settings."""
        import torch

        kind: type[torch.optim.AdamW] = getattr(torch.optim, self.torch_name)
        return kind(parameters, lr=learning_rate, **dict(self.settings))


class BadOptimizer(ValueError):
    """An optimizer can't be used as a study asks; `problems` are settings (or "") and messages."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{key}: {text}" if key else text for key, text in problems))


#: The optimizers with default settings. A test measures them again with the torch that is
#: installed. The figures of SGD and AdamW are also those of their formulas: SGD multiplies and
#: adds; AdamW (Loshchilov & Hutter 2019, algorithm 2) takes 1 FLOP for the decay, 3 and 4 for the
#: moments, 6 for the corrected quotient.
OPTIMIZERS: Mapping[str, OptimizerKind] = {
    "sgd": OptimizerKind(flops=2, states=0, tensor_bytes=0, torch_name="SGD"),
    "adam": OptimizerKind(flops=13, states=2, tensor_bytes=4, torch_name="Adam"),
    "adamw": OptimizerKind(flops=14, states=2, tensor_bytes=4, torch_name="AdamW"),
    "nadam": OptimizerKind(flops=16, states=2, tensor_bytes=8, torch_name="NAdam"),
    "radam": OptimizerKind(flops=17, states=2, tensor_bytes=4, torch_name="RAdam"),
    "adamax": OptimizerKind(flops=10, states=2, tensor_bytes=4, torch_name="Adamax"),
    "adagrad": OptimizerKind(flops=7, states=1, tensor_bytes=4, torch_name="Adagrad"),
    "adadelta": OptimizerKind(flops=16, states=2, tensor_bytes=4, torch_name="Adadelta"),
    "rmsprop": OptimizerKind(flops=9, states=1, tensor_bytes=4, torch_name="RMSprop"),
    "asgd": OptimizerKind(flops=3, states=1, tensor_bytes=12, torch_name="ASGD"),
    "rprop": OptimizerKind(flops=16, states=2, tensor_bytes=4, torch_name="Rprop"),
}

#: Optimizers of torch that can't train the parts of a model, with the reasons.
REFUSED: Mapping[str, str] = {
    "lbfgs": "it needs a closure that computes the loss again, which a pipeline's step can't",
    "sparseadam": "it needs sparse gradients, and those of the parts are dense",
    "muon": "it updates only matrices, and every part of a model also has vectors (biases, norms)",
    "adafactor": "what it keeps depends on the shape of each matrix, which plans do not know",
}

#: Keywords of torch's constructors that a study can't set, with the reasons.
RESERVED: Mapping[str, str] = {
    "params": "is given by the engine",
    "lr": "is training.learning_rate",
    "maximize": "would make the loss larger",
    "foreach": "changes no result: torch chooses it",
    "fused": "changes no result: torch chooses it",
    "capturable": "is for CUDA graphs, which are not used",
    "differentiable": "is for gradients through the optimizer's step, which are not used",
}


def optimizer_kind(name: str, settings: Mapping[str, Any]) -> OptimizerKind:
    """The optimizer of `torch.optim` with this lower-case name and these settings.

    torch is loaded only for settings, or names, that are not in `OPTIMIZERS` nor in the user's
    cache. Raises BadOptimizer with all problems.
    """
    if name in REFUSED:
        raise BadOptimizer([("", f"{name} can't be used: {REFUSED[name]}")])
    if not settings and name in OPTIMIZERS:
        return OPTIMIZERS[name]
    pairs = tuple((key, _frozen(settings[key])) for key in sorted(settings))
    return _measured(name, pairs)


def _measured(name: str, settings: tuple[tuple[str, Any], ...]) -> OptimizerKind:
    """The optimizer as it was measured; its settings are checked before they are measured."""

    def measure() -> dict[str, Any]:
        from collapipe_ns3.costs.optimizer_measurement import measured_kind

        kind = measured_kind(name, dict(settings))
        costs = {key: getattr(kind, key) for key in ("flops", "states", "tensor_bytes")}
        return {**costs, "torch_name": kind.torch_name}

    facts = {
        "format": 1,
        "torch": version("torch"),
        "optimizer": name,
        "settings": [[key, type(value).__name__, repr(value)] for key, value in settings],
    }
    found = stored("optimizers", facts, measure)
    return replace(OptimizerKind(**found), settings=settings)


def _frozen(value: Any) -> Any:
    """A setting that can be hashed: lists become tuples, as torch's constructors have them."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
