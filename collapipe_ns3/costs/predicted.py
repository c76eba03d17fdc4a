"""The costs of the built-in model by closed forms. Importing this needs no torch.

Tests compare them with what `collapipe_ns3.costs.measured` measures. Shapes: u sequences in a
micro-batch, s source and t target tokens, width d, feed-forward size f, h heads. A multiply-add
counts as two FLOPs; element-wise work (norms, softmax, residuals) is not counted, since torch's
FLOP counter does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from collapipe_ns3.costs.parts import NOTHING, Message, ModelCosts, PartCosts
from collapipe_ns3.costs.polynomial import SEQUENCES, TARGETS, TOKENS, ZERO
from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.spec import ModelSpec

_TOKEN_BYTES = 8  # a token's number (int64)


@dataclass(frozen=True, slots=True)
class StageCost:
    """FLOPs of a stage's forward and backward on one micro-batch, and its memory in bytes.

    `activation_bytes` is what autograd keeps from forward to backward, without parameters. Means
    over several micro-batches or parts may be fractions.
    """

    forward_flops: float
    backward_flops: float
    parameter_bytes: float
    activation_bytes: int


def closed_form(spec: ModelSpec) -> ModelCosts:
    """The costs of the built-in model: source embedding, encoder blocks, decoder with the loss.

    The kept bytes are exact from two sequences of two tokens on, and an upper bound below, where
    some tensors need no copies.
    """
    # Between two parts travel the activation [u, s, d] and the padding mask [u, s] (bool).
    gradient = Message(SEQUENCES * TOKENS * spec.width, SEQUENCES * TOKENS)
    output = Message(gradient.elements, gradient.rows, SEQUENCES * TOKENS)
    embedding = architecture.embedding(spec)
    return ModelCosts(
        # A look-up without FLOPs, for which nothing is kept.
        first=PartCosts(ZERO, ZERO, ZERO, output, gradient, embedding.bytes, embedding.tensors),
        blocks=(_encoder_block(spec, output, gradient),) * spec.encoder_blocks,
        last=_decoder(spec),
        labels=Message(other_bytes=SEQUENCES * TARGETS * _TOKEN_BYTES),
        longest=Lengths(spec.max_length, spec.max_length),
    )


def _encoder_block(spec: ModelSpec, output: Message, gradient: Message) -> PartCosts:
    """The costs of an encoder block.

    FLOPs per sequence: forward 8·s·d² + 4·s²·d + 4·s·d·f; backward twice that, plus 2·s²·d since
    attention scores are not kept but computed again.
    Elements kept per token: 8·d (input, normed input, Q, K, V, attention output, residual, normed
    residual), f (hidden layer of the feed-forward), 4 (means and deviations of two norms), 2·h
    (log-sum of scores, padding mask).
    """
    d, f, h = spec.width, spec.feed_forward, spec.heads
    u, s = SEQUENCES, TOKENS
    size = architecture.encoder_block(d, f)
    linear = s * (8 * d * d + 4 * d * f)
    scores = s * s * (2 * d)  # two products of this size ahead, five back
    return PartCosts(
        forward_flops=u * (linear + 2 * scores),
        backward_flops=u * (2 * linear + 5 * scores),
        kept_bytes=u * s * (4 * (8 * d + f + 4 + 2 * h)),
        output=output,
        gradient=gradient,
        parameter_bytes=size.bytes,
        tensors=size.tensors,
    )


def _decoder(spec: ModelSpec) -> PartCosts:
    """The costs of the decoder and its loss on targets of t tokens, including BOS.

    There are n = t - 1 tokens to predict, and V words. Forward FLOPs per sequence and block:
    12·n·d² (Q, K, V, O of the target; Q and O of the cross-attention) + 4·s·d² (K and V of the
    encoder's output) + 4·n·d·f, and for scores 4·n²·d + 4·n·s·d; the output head takes 2·n·d·V.
    Backward as in `_encoder_block`.
    Elements kept per block: 12·d + f + 6 + 2·h for a target token, 3·d + h for a source token; in
    addition, once, 2·d + 2 + V for a target token, d + 2 for a source token, n² for the causal
    mask, and 1 for the loss's weight.
    """
    d, f, h, v = spec.width, spec.feed_forward, spec.heads, spec.target_vocabulary
    blocks, size = spec.decoder_blocks, architecture.decoder(spec)
    u, s, n = SEQUENCES, TOKENS, TARGETS - 1
    linear = blocks * (n * (12 * d * d + 4 * d * f) + s * (4 * d * d)) + n * (2 * d * v)
    scores = (n * n + n * s) * (2 * d * blocks)
    per_target = blocks * (12 * d + f + 6 + 2 * h) + 2 * d + 2 + v
    per_source = blocks * (3 * d + h) + d + 2
    return PartCosts(
        forward_flops=u * (linear + 2 * scores),
        backward_flops=u * (2 * linear + 5 * scores),
        kept_bytes=4 * (u * (n * per_target + s * per_source) + n * n + 1),
        output=NOTHING,
        gradient=NOTHING,
        parameter_bytes=size.bytes,
        tensors=size.tensors,
    )
