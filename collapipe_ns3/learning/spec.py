"""The sizes of a model. Importing this needs no torch, so that studies are checked without it."""

from __future__ import annotations

from dataclasses import dataclass

#: Token numbers common to all vocabularies: padding, beginning and end of a sequence.
PAD, BOS, EOS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Sizes of a model. `max_length` is the most tokens of a source or target sequence."""

    source_vocabulary: int
    target_vocabulary: int
    width: int
    heads: int
    feed_forward: int
    encoder_blocks: int
    decoder_blocks: int
    max_length: int
