"""A split model of which two differentiable tensors travel between the parts, as in T5."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.split_model import SplitModel

HEADS = 2


class First(nn.Module):
    """Vectors of tokens, and a bias that attention adds by the distance of two tokens.

    The distances are an integer buffer, and another one counts the calls. The vectors of tokens are
    frozen.
    """

    distances: Tensor
    calls: Tensor

    def __init__(self, words: int, width: int, longest: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(words, width)
        self.tokens.weight.requires_grad_(False)
        self.bias = nn.Embedding(2 * longest - 1, HEADS)
        place = torch.arange(longest)
        self.register_buffer("distances", place - place.unsqueeze(1) + longest - 1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, tokens: Tensor, _: Tensor) -> Payload:
        """Vectors [u, s, d] and the bias [1, heads, s, s] of tokens [u, s]."""
        self.calls += 1
        s = tokens.shape[1]
        bias = self.bias(self.distances[:s, :s]).permute(2, 0, 1).unsqueeze(0)
        return self.tokens(tokens), bias


class Block(nn.Module):
    """Attention with the bias that it is given and passes on."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor, padding: Tensor) -> Payload:
        split = self.qkv(self.norm(x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        scores = split[0] @ split[1].transpose(2, 3) + bias
        weights = scores.masked_fill(padding[:, None, None, :], -1e9).softmax(-1)
        attended = (weights @ split[2]).transpose(1, 2).flatten(2)
        return x + self.dropout(self.output(attended)), bias


class RelativeBias(SplitModel):
    """An encoder that classifies sequences [u, s] by their first token; labels are classes [u]."""

    def __init__(
        self,
        words: int,
        width: int,
        longest: int,
        blocks: int,
        classes: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.first = First(words, width, longest)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(blocks))
        self.head = nn.Linear(width, classes)

    def parts(self) -> dict[str, nn.Module]:
        blocks = {f"blocks.{index}": block for index, block in enumerate(self.blocks)}
        return {"first": self.first, **blocks, "head": self.head}

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        logits = self.head(x[0][:, 0])
        return functional.cross_entropy(logits, labels[0], reduction="sum") / total
