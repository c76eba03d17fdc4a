"""An encoder-decoder Transformer (Vaswani et al. 2017), split into embedding, blocks and decoder.

Layers are torch's, with normalisation before each sub-layer (Xiong et al. 2020), which trains
without warm-up. There is no dropout, so that runs are reproducible and the split model equals the
whole one bit for bit. Shapes: u sequences, s source tokens, t target tokens, width d.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapipe_ns3.learning.batch import Payload
from collapipe_ns3.learning.spec import BOS, EOS, PAD, ModelSpec
from collapipe_ns3.learning.split_model import SplitModel


class TokenEmbedding(nn.Module):
    """Token vectors scaled by √d plus sinusoidal positions (Vaswani et al. 2017, §3.4, §3.5)."""

    positions: Tensor

    def __init__(self, vocabulary: int, width: int, max_length: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=PAD)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        self.scale = math.sqrt(width)
        self.register_buffer("positions", _sinusoids(max_length, width), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers [u, s] to vectors [u, s, d]."""
        embedded: Tensor = self.tokens(tokens) * self.scale
        return embedded + self.positions[: tokens.shape[1]]


def _sinusoids(length: int, width: int) -> Tensor:
    place = torch.arange(length).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(place * rate)
    table[:, 1::2] = torch.cos(place * rate)[:, : width // 2]
    return table


class Decoder(nn.Module):
    """The part on the edge server: the encoder's last norm, decoder blocks, and the output head."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.memory_norm = nn.LayerNorm(spec.width)
        self.embedding = TokenEmbedding(spec.target_vocabulary, spec.width, spec.max_length)
        self.blocks = nn.ModuleList(
            nn.TransformerDecoderLayer(
                spec.width,
                spec.heads,
                spec.feed_forward,
                dropout=0.0,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(spec.decoder_blocks)
        )
        self.norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, spec.target_vocabulary)

    def forward(self, memory: Tensor, padding: Tensor, target: Tensor) -> Tensor:
        """Logits [u, t, vocabulary] of the token that follows each token of `target` [u, t]."""
        memory = self.memory_norm(memory)
        x = self.embedding(target)
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=x.device)
        for block in self.blocks:
            x = block(x, memory, tgt_mask=causal, memory_key_padding_mask=padding)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def loss(self, memory: Tensor, padding: Tensor, target: Tensor, tokens: int) -> Tensor:
        """The sum of the cross-entropies of all target tokens, divided by `tokens`.

        `target` [u, t] begins with BOS and ends with EOS, followed by PAD, which is not counted. If
        `tokens` is the number of tokens in the whole batch, the losses of its micro-batches add up
        to its mean loss.
        """
        logits = self(memory, padding, target[:, :-1])
        total = functional.cross_entropy(
            logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD, reduction="sum"
        )
        return total / tokens


class TranslationModel(SplitModel):
    """The whole model; `embedding`, each of `blocks`, and `decoder` are its parts.

    Batches have the source's token numbers as inputs, its padding mask as side, and the target's
    token numbers as labels.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = TokenEmbedding(spec.source_vocabulary, spec.width, spec.max_length)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                spec.width,
                spec.heads,
                spec.feed_forward,
                dropout=0.0,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(spec.encoder_blocks)
        )
        self.decoder = Decoder(spec)

    def parts(self) -> dict[str, nn.Module]:
        """The parts that are placed on nodes, in order, named as in `architecture.parts`."""
        blocks = {f"blocks.{index}": block for index, block in enumerate(self.blocks)}
        return {"embedding": self.embedding, **blocks, "decoder": self.decoder}

    def run(self, part: nn.Module, x: Payload, side: Payload) -> Payload:
        (tensor,), (padding,) = x, side
        if part is self.embedding:
            return (part(tensor),)
        return (part(tensor, src_key_padding_mask=padding),)

    def loss(self, x: Payload, side: Payload, labels: Payload, total: int) -> Tensor:
        (memory,), (padding,), (target,) = x, side, labels
        return self.decoder.loss(memory, padding, target, total)


def build(spec: ModelSpec, seed: int) -> TranslationModel:
    """A model with weights drawn from `seed`; torch's global generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TranslationModel(spec)


@torch.no_grad()
def greedy(model: TranslationModel, source: Tensor, padding: Tensor, length: int) -> Tensor:
    """Greedy decoding: tokens [u, at most `length` + 1] from BOS on, with PAD after EOS."""
    (memory,) = model.encode((source,), (padding,))
    target = torch.full((len(source), 1), BOS, device=source.device)
    ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    for _ in range(length):
        token = model.decoder(memory, padding, target)[:, -1].argmax(-1)
        token = token.masked_fill(ended, PAD)
        target = torch.cat([target, token.unsqueeze(1)], dim=1)
        ended |= token == EOS
        if bool(ended.all()):
            break
    return target
