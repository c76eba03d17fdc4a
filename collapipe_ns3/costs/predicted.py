"""The costs of a stage, predicted by closed forms. Importing this needs no torch.

The engine charges what `collapipe_ns3.costs.measured` measures, and a test compares the two.
Shapes: u sequences in a micro-batch, s source and t target tokens, width d, feed-forward size f,
h heads. A multiply-add counts as two FLOPs; neither counts element-wise work (norms, softmax,
residuals), since torch's FLOP counter does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collapipe_ns3.learning import architecture
from collapipe_ns3.learning.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class StageCost:
    """FLOPs of a stage's forward and backward on one micro-batch, and its memory in bytes.

    `activation_bytes` is what autograd keeps from forward to backward, without parameters.
    """

    forward_flops: int
    backward_flops: int
    parameter_bytes: int
    activation_bytes: int


def predict_blocks(spec: ModelSpec, blocks: int, u: int, s: int) -> StageCost:
    """The cost of a segment of encoder blocks.

    FLOPs per sequence and block: forward 8·s·d² + 4·s²·d + 4·s·d·f; backward twice that, plus
    2·s²·d since attention scores are not kept but computed again.
    Elements kept per block and token: 8·d (input, normed input, Q, K, V, attention output,
    residual, normed residual), f (hidden layer of the feed-forward), 4 (means and deviations of two
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
    """The cost of the source embedding: a look-up without FLOPs, for which nothing is kept."""
    return StageCost(0, 0, architecture.embedding(spec).bytes, 0)


def predict_decoder(spec: ModelSpec, u: int, s: int, t: int) -> StageCost:
    """The cost of the decoder and its loss on targets of t tokens, including BOS.

    There are n = t - 1 tokens to predict, and V words. Forward FLOPs per sequence and block:
    12·n·d² (Q, K, V, O of the target; Q and O of the cross-attention) + 4·s·d² (K and V of the
    encoder's output) + 4·n·d·f, and for scores 4·n²·d + 4·n·s·d; the output head takes 2·n·d·V.
    Backward as in `predict_blocks`.
    Elements kept per block: 12·d + f + 6 + 2·h for a target token, 3·d + h for a source token; in
    addition, once, 2·d + 2 + V for a target token, d + 2 for a source token, n² for the causal
    mask, and 1 for the loss's weight.
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
    """The costs of a pipeline's stages in order: embedding, segments of so many blocks, decoder."""
    return [
        predict_embedding(spec),
        *(predict_blocks(spec, blocks, u, s) for blocks in segments),
        predict_decoder(spec, u, s, t),
    ]
