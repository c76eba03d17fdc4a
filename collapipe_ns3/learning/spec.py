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
