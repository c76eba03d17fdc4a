"""The local part of an aggregation: what it changes in the local steps of a pipeline.

Importing this needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LocalTerm:
    """What is added to the gradient of each parameter before an optimizer's step, and its costs.

    With the parameter w, what the node received of it in the round, w₀, and the control variates c
    of the base station and cᵢ of the pipeline, a gradient g becomes

      g + μ·(w − w₀) + (c − cᵢ).

    The first term is that of FedProx (Li et al., MLSys 2020), the gradient of μ/2·‖w − w₀‖². The
    second is there with `variates`, and is that of SCAFFOLD (Karimireddy et al., ICML 2020). Where
    gradients are clipped, g is clipped before anything is added.

    With `fresh_optimizer`, the states of optimizers begin anew in every round and do not move.

    Without any of these, local steps are those of federated averaging, to the bit.
    """

    mu: float = 0.0
    variates: bool = False
    fresh_optimizer: bool = False

    @property
    def changes_gradients(self) -> bool:
        """Whether anything is added to gradients."""
        return bool(self.mu) or self.variates

    @property
    def flops(self) -> int:
        """FLOPs for each parameter in a step.

        The proximal term takes a subtraction, a multiplication and an addition. Control variates
        take a subtraction and an addition, and the four FLOPs of `next_variate`, which are needed
        once a round and are charged with every step, so that all steps of a round cost the same.
        """
        return (3 if self.mu else 0) + (6 if self.variates else 0)

    @property
    def held(self) -> int:
        """Tensors of the size of each parameter that a node holds in a round only: w₀, and c."""
        return (1 if self.changes_gradients else 0) + (1 if self.variates else 0)

    @property
    def kept(self) -> int:
        """Tensors of the size of each parameter that a node keeps between rounds: cᵢ."""
        return 1 if self.variates else 0

    @property
    def sent(self) -> int:
        """Tensors of the size of each parameter that travel each way: with variates, two."""
        return 2 if self.variates else 1

    def changed(
        self, gradient: Tensor, parameter: Tensor, received: Tensor, correction: Tensor | None
    ) -> Tensor:
        """The gradient with this term; `correction` is c − cᵢ, None where it is zero."""
        changed = gradient
        if self.mu:
            changed = changed + self.mu * (parameter - received)
        if correction is not None:
            changed = changed + correction
        return changed


#: What local steps have in federated averaging.
NO_TERM = LocalTerm()


def next_variate(
    trained: Tensor, received: Tensor, correction: Tensor | None, rate: float
) -> Tensor:
    """A pipeline's control variate after a round, by option II of SCAFFOLD (eq. 4).

    cᵢ⁺ = cᵢ − c + (w₀ − w)/(K·η). Here w is `trained`, w₀ is `received`, and `correction` is
    c − cᵢ, None where it is zero. `rate` is the sum of the learning rates of the K steps,
    K·η where they are equal, and not 0. cᵢ⁺ is then the mean gradient of the steps, weighted by
    learning rates.
    """
    mean = (received - trained) / rate
    return mean if correction is None else mean - correction
