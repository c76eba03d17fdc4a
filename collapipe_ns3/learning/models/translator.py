"""The contract of models that predict a target sequence for each source sequence."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.spec import PAD
from collapipe_ns3.learning.split_model import SplitModel


class Translator(SplitModel):
    """A model whose last part is a decoder with logits of target tokens.

    Batches have the source's token numbers [B, s] as inputs, its padding mask [B, s] (true for
    padding) as side, and the target's token numbers [B, t] as labels, which begin with BOS and end
    with EOS, followed by PAD.
    """

    label_smoothing: float = 0.0

    def logits(self, x: Payload, side: Payload, target: Tensor) -> Tensor:
        """Logits [u, n, vocabulary] of the token that follows each token of `target` [u, n].

        `x` is the output of the encoder (`encode`).
        """
        raise NotImplementedError

    def next_logits(self, x: Payload, side: Payload, target: Tensor) -> Tensor:
        """Logits [u, vocabulary] of the token that follows `target` [u, n]."""
        return self.logits(x, side, target)[:, -1]

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        """The sum of the cross-entropies of all target tokens after BOS, divided by `total`.

        PAD is not counted.
        """
        (target,) = labels
        losses = functional.cross_entropy(
            self.logits(x, side, target[:, :-1]).flatten(0, 1),
            target[:, 1:].flatten(),
            ignore_index=PAD,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return losses / total
