"""What a stage costs, predicted by closed forms; needs no torch, so that planning doesn't.

The engine charges what `collapipe_ns3.costs.measured` measures, and a test holds the two together.
Shapes: u sequences in a micro-batch, s source and t target tokens, d the width, f the feed-forward
size, h heads. A multiply-add counts as two FLOPs; element-wise work (norms, softmax, residuals) is
left out of both, as torch's FLOP counter leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class StageCost:
    """FLOPs of a stage's forward and backward on one micro-batch, and its memory in bytes.

    `activation_bytes` is what autograd keeps from forward to backward, parameters not counted.
    """

    forward_flops: int
    backward_flops: int
    parameter_bytes: int
    activation_bytes: int


def predict_blocks(spec: ModelSpec, blocks: int, u: int, s: int) -> StageCost:
    """The closed form for a segment of encoder blocks.

    Forward 8·s·d² + 4·s²·d + 4·s·d·f a sequence and block. Backward is twice that, and the
    attention's scores are computed once more (they are not kept): + 2·s²·d.
    Kept for backward, a block and token: 8·d (input, normed input, Q, K, V, attention's output,
    residual, normed residual), f (the feed-forward's hidden layer), 4 (means and deviations of two
    norms), 2·h (log-sum of scores, padding mask).
    """
    d, f, h = spec.width, spec.feed_forward, spec.heads
    linear = 8 * s * d * d + 4 * s * d * f
    attention = 4 * s * s * d
    return StageCost(
        forward_flops=blocks * u * (linear + attention),
        backward_flops=blocks * u * (2 * linear + attention * 5 // 2),
        parameter_bytes=blocks * architecture.encoder_block(d, f).bytes,
        activation_bytes=4 * blocks * u * s * (8 * d + f + 4 + 2 * h),
    )


def predict_embedding(spec: ModelSpec) -> StageCost:
    """The closed form for the source embedding: a look-up, which multiplies and keeps nothing."""
    return StageCost(0, 0, architecture.embedding(spec).bytes, 0)


def predict_decoder(spec: ModelSpec, u: int, s: int, t: int) -> StageCost:
    """The closed form for the decoder and its loss on targets of t tokens, BOS included.

    With n = t - 1 tokens to predict and V words, forward a sequence and block: 12·n·d² (Q, K, V, O
    on the target, Q and O of the cross-attention) + 4·s·d² (K and V of the memory) + 4·n·d·f,
    scores 4·n²·d + 4·n·s·d; and once 2·n·d·V. Backward as in `predict_blocks`.
    Kept for backward, a block: 12·d + f + 6 + 2·h a target token, 3·d + h a memory token; once
    2·d + 2 + V a target token, d + 2 a memory token, n² of causal mask and the loss's weight.
    """
    d, f, h, v, blocks = (
        spec.width,
        spec.feed_forward,
        spec.heads,
        spec.target_vocabulary,
        spec.decoder_blocks,
    )
    n = t - 1
    linear = blocks * (12 * n * d * d + 4 * s * d * d + 4 * n * d * f) + 2 * n * d * v
    attention = blocks * (4 * n * n * d + 4 * n * s * d)
    per_target = blocks * (12 * d + f + 6 + 2 * h) + 2 * d + 2 + v
    per_source = blocks * (3 * d + h) + d + 2
    return StageCost(
        forward_flops=u * (linear + attention),
        backward_flops=u * (2 * linear + attention * 5 // 2),
        parameter_bytes=architecture.decoder(spec).bytes,
        activation_bytes=4 * (u * (n * per_target + s * per_source) + n * n + 1),
    )


def predict_stages(
    spec: ModelSpec, segments: Sequence[int], u: int, s: int, t: int
) -> list[StageCost]:
    """The stages of a pipeline in order: embedding, segments of so many blocks, decoder."""
    return [
        predict_embedding(spec),
        *(predict_blocks(spec, blocks, u, s) for blocks in segments),
        predict_decoder(spec, u, s, t),
    ]
