"""The optimizers: what a step costs, what they keep, and how torch makes them.

Importing this needs no torch, so that a study can be checked and planned without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

#: The names of the optimizers, as a study has them: the keys of `OPTIMIZERS`.
OptimizerName = Literal["sgd", "adamw"]


@dataclass(frozen=True, slots=True)
class OptimizerKind:
    """What an optimizer costs, and how it is made.

    A step takes `flops` element-wise FLOPs for each parameter. From its first step on, the
    optimizer keeps `states` tensors of the size of each parameter tensor (its moments), and
    `tensor_bytes` more bytes for each parameter tensor (its count of steps). `torch_name` is its
    class in `torch.optim`.
    """

    flops: int
    states: int
    tensor_bytes: int
    torch_name: str

    def state_bytes(self, parameter_bytes: int, tensors: int) -> int:
        """Bytes of state for parameters of so many bytes that come as so many tensors."""
        return self.states * parameter_bytes + self.tensor_bytes * tensors

    def make(
        self, parameters: Iterator[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """torch's optimizer for these parameters, its other settings left at their defaults."""
        import torch

        kind: type[torch.optim.SGD | torch.optim.AdamW] = getattr(torch.optim, self.torch_name)
        return kind(parameters, lr=learning_rate)


#: SGD multiplies and adds. AdamW's update (Loshchilov & Hutter 2019, algorithm 2) takes 3 FLOPs for
#: each moment, 2 for decay, and 6 for the corrected quotient; it keeps two moments and a count.
OPTIMIZERS: Mapping[str, OptimizerKind] = {
    "sgd": OptimizerKind(flops=2, states=0, tensor_bytes=0, torch_name="SGD"),
    "adamw": OptimizerKind(flops=14, states=2, tensor_bytes=4, torch_name="AdamW"),
}


def training_bytes(optimizer: str, parameter_bytes: int) -> int:
    """Memory of parameters in training: themselves, their gradients, and the optimizer's moments.

    Counts of steps are left out: four bytes for each tensor at most.
    """
    return parameter_bytes * (2 + OPTIMIZERS[optimizer].states)
