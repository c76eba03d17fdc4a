"""An encoder-decoder Transformer (Vaswani et al. 2017), split into embedding, blocks and decoder.

Layers are torch's. By default normalisation is before each sub-layer (Xiong et al. 2020), which
trains without warm-up. Shapes: u sequences, s source tokens, t target tokens, width d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.models.cached_decoder import CachedDecoder
from collapipe_ns3.learning.models.layers import (
    TokenEmbedding,
    decoder_block,
    encoder_block,
    last_norm,
    run_encoder_part,
)
from collapipe_ns3.learning.models.local_head import LocalHead
from collapipe_ns3.learning.models.translator import Continuation, Translator
from collapipe_ns3.learning.spec import ModelSpec


class TiedHead(nn.Module):
    """An output head whose weight is the target embedding's, and which has only the bias.

    Keeping the weight in one module lists it once in `state_dict`, so that it is sent and averaged
    once (Press and Wolf 2017).
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Logits [..., vocabulary] of vectors `x` [..., d]; `weight` is [vocabulary, d]."""
        return functional.linear(x, weight, self.bias)


class Decoder(nn.Module):
    """The part on the edge server: the encoder's last norm, decoder blocks, and the output head."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.memory_norm = last_norm(spec)
        self.embedding = TokenEmbedding(
            spec.target_vocabulary, spec.width, spec.max_length, spec.dropout
        )
        self.blocks = nn.ModuleList(decoder_block(spec) for _ in range(spec.decoder_blocks))
        self.norm = last_norm(spec)
        self.head = (
            TiedHead(spec.target_vocabulary)
            if spec.tied_output
            else nn.Linear(spec.width, spec.target_vocabulary)
        )

    def forward(self, memory: Tensor, padding: Tensor, target: Tensor) -> Tensor:
        """Logits [u, t, vocabulary] of the token that follows each token of `target` [u, t]."""
        memory = self.memory_norm(memory)
        x = self.embedding(target)
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=x.device)
        for block in self.blocks:
            x = block(x, memory, tgt_mask=causal, memory_key_padding_mask=padding)
        return self.output(x)

    def output(self, states: Tensor) -> Tensor:
        """Logits [..., vocabulary] of the last block's output [..., d]."""
        tied = (self.embedding.tokens.weight,) if isinstance(self.head, TiedHead) else ()
        logits: Tensor = self.head(self.norm(states), *tied)
        return logits


class TranslationModel(Translator):
    """The whole model; `embedding`, each of `blocks`, and `decoder` are its parts."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.label_smoothing = spec.label_smoothing
        self.embedding = TokenEmbedding(
            spec.source_vocabulary, spec.width, spec.max_length, spec.dropout
        )
        self.blocks = nn.ModuleList(encoder_block(spec) for _ in range(spec.encoder_blocks))
        self.decoder = Decoder(spec)

    def parts(self) -> dict[str, nn.Module]:
        """The parts in order, named as in `architecture.parts`."""
        blocks = {f"blocks.{index}": block for index, block in enumerate(self.blocks)}
        return {"embedding": self.embedding, **blocks, "decoder": self.decoder}

    def new_local_head(self) -> LocalHead:
        return LocalHead(self.spec.width, self.spec.target_vocabulary, pooled=True)

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        return run_encoder_part(part, x, side)

    def logits(self, x: Payload, side: Payload, target: Tensor) -> Tensor:
        (memory,), (padding,) = x, side
        logits: Tensor = self.decoder(memory, padding, target)
        return logits

    def continuation(self, x: Payload, side: Payload) -> Continuation:
        (memory,), (padding,) = x, side
        return CachedDecoder(self.decoder, memory, padding)


def build(spec: ModelSpec, seed: int) -> TranslationModel:
    """A model with weights drawn from `seed`; torch's global generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TranslationModel(spec)
