"""The contract of models that predict a target sequence for each source sequence."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.spec import PAD
from collapipe_ns3.learning.split_model import SplitModel


class Continuation(Protocol):
    """Predicts the tokens of u target sequences one after the other."""

    def next_logits(self, tokens: Tensor) -> Tensor:
        """Logits [u, vocabulary] of what follows the last tokens [u] of the sequences.

        The first call is given BOS, each other call the token that was chosen after the one before.
        """
        ...

    def select(self, rows: Tensor) -> None:
        """Goes on with the sequences of these rows, which may repeat or be fewer."""
        ...


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

    def continuation(self, x: Payload, side: Payload) -> Continuation:
        """What predicts target sequences token by token, for the output `x` of the encoder."""
        return Recomputation(self, x, side)

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

    def local_loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        """The cross-entropies of all target tokens after BOS, which have no order here.

        A `LocalHead` predicts one distribution over words for each sequence, and every token of its
        target is compared with it. Labels are not smoothed.
        """
        assert self.local_head is not None
        words = functional.log_softmax(self.local_head(*x, *side), -1)
        (target,) = labels
        wanted = target[:, 1:]
        return -words.gather(1, wanted).masked_fill(wanted == PAD, 0.0).sum() / total


class Recomputation:
    """A `Continuation` of any model, which runs the decoder on the whole sequences again."""

    def __init__(self, model: Translator, x: Payload, side: Payload) -> None:
        self.model, self.x, self.side = model, x, side
        self.target = x[0].new_empty((len(x[0]), 0), dtype=torch.long)

    def next_logits(self, tokens: Tensor) -> Tensor:
        self.target = torch.cat([self.target, tokens.unsqueeze(1)], dim=1)
        return self.model.logits(self.x, self.side, self.target)[:, -1]

    def select(self, rows: Tensor) -> None:
        self.target = self.target[rows]
        self.x, self.side = (tuple(t[rows] for t in tensors) for tensors in (self.x, self.side))
