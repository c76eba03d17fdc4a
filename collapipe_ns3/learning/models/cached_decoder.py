"""Decoding token by token with the keys and values of all blocks kept, for the built-in decoder.

Without them, the decoder would run on all tokens of a sequence for each further token. Shapes: u
sequences, s source tokens, n target tokens, width d, h heads; keys and values are [u, h, n, d/h].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collapipe_ns3.learning.models.transformer import Decoder


class CachedDecoder:
    """A `Continuation` whose logits are those of the decoder in evaluation mode, up to rounding."""

    def __init__(self, decoder: Decoder, memory: Tensor, padding: Tensor) -> None:
        """`memory` [u, s, d] is the encoder's output; `padding` [u, s] is true for padding."""
        self.decoder = decoder
        self.tokens = 0
        memory, attended = decoder.memory_norm(memory), ~padding[:, None, None]
        self.blocks = [CachedBlock(block, memory, attended) for block in decoder.blocks]

    def next_logits(self, tokens: Tensor) -> Tensor:
        """Logits [u, vocabulary] of what follows the last tokens [u] of the sequences."""
        embedding = self.decoder.embedding
        x: Tensor = embedding.tokens(tokens.unsqueeze(1)) * embedding.scale
        x = x + embedding.positions[self.tokens]
        self.tokens += 1
        for block in self.blocks:
            x = block.next(x)
        return self.decoder.output(x[:, 0])

    def select(self, rows: Tensor) -> None:
        """Goes on with the sequences of these rows, which may repeat or be fewer."""
        for block in self.blocks:
            block.select(rows)


class CachedBlock:
    """A decoder block with the keys and values of the source and of the target so far."""

    def __init__(self, block: nn.Module, memory: Tensor, attended: Tensor) -> None:
        """`attended` [u, 1, 1, s] is false for the source's padding."""
        assert isinstance(block, nn.TransformerDecoderLayer)
        self.block = block
        self.attended = attended
        self.source = _projections(block.multihead_attn, memory, first=1, end=3)
        self.target: list[Tensor] = []

    def next(self, x: Tensor) -> Tensor:
        """The block's output [u, 1, d] for the next target token `x` [u, 1, d]."""
        block = self.block
        x = self._with_residual(self.attend_to_target, block.norm1, x)
        x = self._with_residual(self.attend_to_source, block.norm2, x)
        return self._with_residual(self.feed_forward, block.norm3, x)

    def _with_residual(
        self, sub_layer: Callable[[Tensor], Tensor], norm: nn.LayerNorm, x: Tensor
    ) -> Tensor:
        """A sub-layer with its residual, normalised before or after it."""
        if self.block.norm_first:
            return x + sub_layer(norm(x))
        normed: Tensor = norm(x + sub_layer(x))
        return normed

    def attend_to_target(self, x: Tensor) -> Tensor:
        """Attention to all target tokens, of which `x` is the last."""
        attention = self.block.self_attn
        query, *new = _projections(attention, x, first=0, end=3)
        self.target = (
            [torch.cat(each, dim=2) for each in zip(self.target, new, strict=True)]
            if self.target
            else new
        )
        key, value = self.target
        return _output(attention, functional.scaled_dot_product_attention(query, key, value))

    def attend_to_source(self, x: Tensor) -> Tensor:
        """Attention to the encoder's output."""
        attention = self.block.multihead_attn
        (query,) = _projections(attention, x, first=0, end=1)
        key, value = self.source
        found = functional.scaled_dot_product_attention(query, key, value, self.attended)
        return _output(attention, found)

    def feed_forward(self, x: Tensor) -> Tensor:
        """The feed-forward layer without dropout."""
        block = self.block
        hidden: Tensor = block.linear2(functional.relu(block.linear1(x)))
        return hidden

    def select(self, rows: Tensor) -> None:
        """Goes on with the sequences of these rows."""
        self.attended = self.attended[rows]
        self.source = [each[rows] for each in self.source]
        self.target = [each[rows] for each in self.target]


def _projections(
    attention: nn.MultiheadAttention, x: Tensor, *, first: int, end: int
) -> list[Tensor]:
    """Projections of `x` [u, n, d] from `first` to before `end`: queries 0, keys 1, values 2."""
    rows = slice(first * attention.embed_dim, end * attention.embed_dim)
    projected = functional.linear(x, attention.in_proj_weight[rows], attention.in_proj_bias[rows])
    heads = [
        each.unflatten(-1, (attention.num_heads, -1)) for each in projected.chunk(end - first, -1)
    ]
    return [each.transpose(1, 2) for each in heads]


def _output(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """The output [u, n, d] of an attention whose heads gave `x` [u, h, n, d/h]."""
    joined: Tensor = attention.out_proj(x.transpose(1, 2).flatten(2))
    return joined
