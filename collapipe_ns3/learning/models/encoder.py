"""The built-in Transformer encoder with a classifier, split into embedding, blocks and head.

Layers are torch's. Shapes: u sequences, s tokens, width d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.models.classifier import Classifier
from collapipe_ns3.learning.models.layers import (
    TokenEmbedding,
    encoder_block,
    last_norm,
    run_encoder_part,
)
from collapipe_ns3.learning.models.local_head import LocalHead
from collapipe_ns3.learning.spec import ModelSpec, Pooling


class ClassifierHead(nn.Module):
    """The part on the edge server: the encoder's last norm, and a linear layer over classes."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.pooling: Pooling | None = spec.pooling if spec.head == "sequence" else None
        self.norm = last_norm(spec)
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.width, spec.classes)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """Logits [u, classes] of each sequence or [u, s, classes] of each token of `x` [u, s, d].

        `padding` [u, s] is true for padding, which is left out of the mean of a sequence.
        """
        x = self.norm(x)
        if self.pooling == "first":
            x = x[:, 0]
        elif self.pooling == "mean":
            tokens = (~padding).sum(1, keepdim=True).clamp(min=1)
            x = x.masked_fill(padding.unsqueeze(2), 0.0).sum(1) / tokens
        logits: Tensor = self.classifier(self.dropout(x))
        return logits


class Encoder(Classifier):
    """The whole model; `embedding`, each of `blocks`, and `head` are its parts."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.label_smoothing = spec.label_smoothing
        self.embedding = TokenEmbedding(
            spec.source_vocabulary, spec.width, spec.max_length, spec.dropout
        )
        self.blocks = nn.ModuleList(encoder_block(spec) for _ in range(spec.encoder_blocks))
        self.head = ClassifierHead(spec)

    def parts(self) -> dict[str, nn.Module]:
        """The parts in order, named as in `architecture.parts`."""
        blocks = {f"blocks.{index}": block for index, block in enumerate(self.blocks)}
        return {"embedding": self.embedding, **blocks, "head": self.head}

    def new_local_head(self) -> LocalHead:
        return LocalHead(self.spec.width, self.spec.classes, pooled=self.spec.head == "sequence")

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        return run_encoder_part(part, x, side)

    def logits(self, x: Payload, side: Payload) -> Tensor:
        (tensor,), (padding,) = x, side
        logits: Tensor = self.head(tensor, padding)
        return logits


def build(spec: ModelSpec, seed: int) -> Encoder:
    """A model with weights drawn from `seed`; torch's global generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(spec)
