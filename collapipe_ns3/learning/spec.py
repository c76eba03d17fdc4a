"""What a model is made of; needs no torch, so that a study can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass

#: Token numbers that every vocabulary has: padding, beginning and end of a sequence.
PAD, BOS, EOS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Sizes of a model. `max_length` bounds source and target, in tokens."""

    source_vocabulary: int
    target_vocabulary: int
    width: int
    heads: int
    feed_forward: int
    encoder_blocks: int
    decoder_blocks: int
    max_length: int


def block_parameters(width: int, feed_forward: int) -> int:
    """Parameters of an encoder block: Q, K, V, O; the feed-forward; two norms; all biases."""
    d, f = width, feed_forward
    return 4 * (d * d + d) + 2 * d * f + f + d + 4 * d
