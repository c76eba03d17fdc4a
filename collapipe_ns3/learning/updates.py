"""What a training step does besides the optimizer's update. Importing this needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import nn

Schedule = Literal["constant", "linear", "cosine"]

#: FLOPs for each parameter of clipping: to square and add up the gradient, and to scale it.
CLIPPING_FLOPS = 3


@dataclass(frozen=True, slots=True)
class Update:
    """One step: factors of the study's learning rate, and the largest norm of a part's gradient.

    `head_factor` counts for the last part and a local head, in addition to `factor`. Each part is
    clipped by itself, on the node that holds it, so that no norms are exchanged: a gradient of a
    part with a larger Euclidean norm than `clip_norm` is scaled to that norm. None means no
    clipping.

    Parameters that first and last part have in common are clipped apart from the others, by the
    norm of their own gradient, which is the same on both nodes. So their copies stay equal.
    """

    factor: float = 1.0
    head_factor: float = 1.0
    clip_norm: float | None = None

    def prepare(
        self,
        optimizer: torch.optim.Optimizer,
        part: nn.Module,
        is_head: bool,
        tied: Sequence[nn.Parameter] = (),
    ) -> None:
        """Sets the optimizer's learning rate and clips the part's gradients, before its step.

        `tied` are the parameters of the part that another part has too.

        The study's learning rate is kept in the optimizer's groups as `initial_lr`, as torch's
        schedulers keep it.
        """
        for group in optimizer.param_groups:
            full = group.setdefault("initial_lr", group["lr"])
            group["lr"] = full * (self.head_factor if is_head else 1.0) * self.factor
        if self.clip_norm is not None:
            from torch.nn.utils import clip_grad_norm_

            shared = set(tied)
            own = [each for each in part.parameters() if each not in shared]
            for parameters in (own, tied):
                clip_grad_norm_(parameters, self.clip_norm)


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """The updates of all steps of a study.

    The learning rate rises linearly over the first `warm_up_steps` steps and is then constant, or
    falls to zero at `total_steps` linearly or as a cosine. Steps are numbered over all rounds: step
    `i` of a round is the number of local steps in all rounds before it plus i, also for a cluster
    that has sat out.
    """

    schedule: Schedule = "constant"
    warm_up_steps: int = 0
    total_steps: int = 1
    clip_norm: float | None = None
    head_factor: float = 1.0

    def at(self, step: int) -> Update:
        """The update of a step; steps count from 0."""
        return Update(self.factor(step), self.head_factor, self.clip_norm)

    def factor(self, step: int) -> float:
        """The learning rate of a step as a fraction of the study's.

        With W = `warm_up_steps` and T = `total_steps`: (step + 1)/W in the warm-up; then, with
        d = (step − W)/(T − W), it is 1, 1 − d or (1 + cos πd)/2, and 0 from step T on.
        """
        if step < self.warm_up_steps:
            return (step + 1) / self.warm_up_steps
        if self.schedule == "constant":
            return 1.0
        if step >= self.total_steps:
            return 0.0
        done = (step - self.warm_up_steps) / (self.total_steps - self.warm_up_steps)
        return 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
