"""The sizes and options of a built-in model.

Importing this needs no torch, so that studies are checked without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Token numbers common to all vocabularies: padding, beginning and end of a sequence.
PAD, BOS, EOS = 0, 1, 2

#: The label of a token whose class is not predicted, such as padding (torch's default).
IGNORED = -100

#: Layer normalisation before each sub-layer (Xiong et al. 2020) or after it (Vaswani et al. 2017).
Norm = Literal["pre", "post"]

#: What the last part predicts: a target sequence, a class for each sequence, or one for each token.
Head = Literal["decoder", "sequence", "token"]

#: How a sequence becomes one vector: the mean of its tokens without padding, or its first token.
Pooling = Literal["mean", "first"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Sizes and options of a model. `max_length` is the most tokens of a source or target sequence.

    With the head `decoder` the model is an encoder-decoder: it uses the fields of the target and
    `tied_output`, by which the target embedding is also the weight of the output head. With the
    other heads it is an encoder that predicts one of `classes`, and `pooling` is used by the head
    `sequence`. `dropout` is the probability by which an element is set to zero, in the embeddings,
    in attention, after each sub-layer and before a classifier. `label_smoothing` is the probability
    that the loss spreads evenly over all classes (Szegedy et al. 2016).
    """

    source_vocabulary: int
    target_vocabulary: int
    width: int
    heads: int
    feed_forward: int
    encoder_blocks: int
    decoder_blocks: int
    max_length: int
    norm: Norm = "pre"
    dropout: float = 0.0
    tied_output: bool = False
    head: Head = "decoder"
    classes: int = 0
    pooling: Pooling = "mean"
    label_smoothing: float = 0.0
