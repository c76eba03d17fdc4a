"""The contract of models that predict a class for each sequence or for each token."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.spec import IGNORED
from collapipe_ns3.learning.split_model import SplitModel


class Classifier(SplitModel):
    """A model whose last part has logits of classes.

    Batches have token numbers [B, s] as inputs and the padding mask [B, s] (true for padding) as
    side. Labels are a class for each sequence [B], or for each token [B, s], where `IGNORED` marks
    the tokens whose class is not predicted.
    """

    label_smoothing: float = 0.0

    def logits(self, x: Payload, side: Payload) -> Tensor:
        """The last part without the loss: [u, classes], or for each token [u, s, classes]."""
        raise NotImplementedError

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        """The sum of the cross-entropies of all predictions, divided by `total`."""
        return self._loss(self.logits(x, side), labels, total)

    def local_loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        """The same loss, of the logits of a `LocalHead`."""
        assert self.local_head is not None
        return self._loss(self.local_head(*x, *side), labels, total)

    def _loss(self, logits: Tensor, labels: Payload, total: int) -> Tensor:
        losses = functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            labels[0].reshape(-1),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return losses / total
