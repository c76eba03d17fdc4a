"""The light head of a cluster, which trains the first part and the blocks without the last part.

It is a layer norm and a linear layer, for all models. A model that predicts a target sequence has
one as well, over the words of the target: it predicts which words occur, not their order. That is
far less work than a decoder, which the edge server has, and needs no embedding of target words: the
local head is meant to be light, as it is computed on the control unit.
"""

from __future__ import annotations

from torch import Tensor, nn


class LocalHead(nn.Module):
    """A layer norm and a linear layer over classes: for each token or, if `pooled`, their mean."""

    def __init__(self, width: int, classes: int, *, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """Logits [u, classes] of each sequence or [u, s, classes] of each token of `x` [u, s, d].

        `padding` [u, s] is true for padding, which is left out of the mean of a sequence.
        """
        x = self.norm(x)
        if self.pooled:
            tokens = (~padding).sum(1, keepdim=True).clamp(min=1)
            x = x.masked_fill(padding.unsqueeze(2), 0.0).sum(1) / tokens
        logits: Tensor = self.classifier(x)
        return logits
