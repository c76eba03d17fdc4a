"""Layers of the built-in models. Shapes: u sequences, s tokens, width d."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.spec import PAD, ModelSpec


class TokenEmbedding(nn.Module):
    """Token vectors scaled by √d plus sinusoidal positions (Vaswani et al. 2017, §3.4, §3.5)."""

    positions: Tensor

    def __init__(self, vocabulary: int, width: int, max_length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=PAD)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        self.scale = math.sqrt(width)
        self.register_buffer("positions", _sinusoids(max_length, width), persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers [u, s] to vectors [u, s, d]; raises `ValueError` for too many tokens."""
        if tokens.shape[1] > len(self.positions):
            raise ValueError(
                f"expected at most {len(self.positions)} tokens in a sequence, "
                f"not {tokens.shape[1]}"
            )
        embedded: Tensor = self.tokens(tokens) * self.scale
        placed: Tensor = self.dropout(embedded + self.positions[: tokens.shape[1]])
        return placed


def _sinusoids(length: int, width: int) -> Tensor:
    place = torch.arange(length).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(place * rate)
    table[:, 1::2] = torch.cos(place * rate)[:, : width // 2]
    return table


def encoder_block(spec: ModelSpec) -> nn.TransformerEncoderLayer:
    """Self-attention and a feed-forward layer, called with `src_key_padding_mask`."""
    return nn.TransformerEncoderLayer(
        spec.width,
        spec.heads,
        spec.feed_forward,
        dropout=spec.dropout,
        batch_first=True,
        norm_first=spec.norm == "pre",
    )


def run_encoder_part(part: nn.Module, x: Payload, side: Payload) -> Payload:
    """The output [u, s, d] of the embedding for token numbers [u, s], or of an encoder block."""
    (tensor,), (padding,) = x, side
    if isinstance(part, TokenEmbedding):
        return (part(tensor),)
    return (part(tensor, src_key_padding_mask=padding),)


def decoder_block(spec: ModelSpec) -> nn.TransformerDecoderLayer:
    """Causal self-attention, attention to the encoder's output, and a feed-forward layer."""
    return nn.TransformerDecoderLayer(
        spec.width,
        spec.heads,
        spec.feed_forward,
        dropout=spec.dropout,
        batch_first=True,
        norm_first=spec.norm == "pre",
    )


def last_norm(spec: ModelSpec) -> nn.Module:
    """The norm after the last block, which only blocks with normalisation before need."""
    return nn.LayerNorm(spec.width) if spec.norm == "pre" else nn.Identity()
