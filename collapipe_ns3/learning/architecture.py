"""The parts of the built-in models: how large they are.

This is the one place that states which tensors the architecture has; `learning.models.transformer`
and `learning.models.encoder` build them, and a test compares the two. The parts in order are the
embedding, the encoder blocks, and the decoder or the head with the loss. Importing this needs no
torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from collapipe_ns3.learning.spec import ModelSpec

#: Bytes of a parameter (fp32).
PARAMETER_BYTES = 4


@dataclass(frozen=True, slots=True)
class PartSize:
    """How many parameters a part of the model has, and in how many tensors."""

    parameters: int
    tensors: int

    @property
    def bytes(self) -> int:
        """Bytes of the parameters."""
        return PARAMETER_BYTES * self.parameters


def parts(spec: ModelSpec) -> dict[str, PartSize]:
    """Every part that is placed on a node as a whole, in order, by its name in the model."""
    block = encoder_block(spec.width, spec.feed_forward)
    return {
        "embedding": embedding(spec),
        **{f"blocks.{index}": block for index in range(spec.encoder_blocks)},
        "decoder" if spec.head == "decoder" else "head": last(spec),
    }


def last(spec: ModelSpec) -> PartSize:
    """The last part: the decoder, or the head with the encoder's last norm and a linear layer."""
    if spec.head == "decoder":
        return decoder(spec)
    norm = last_norm(spec)
    d, classes = spec.width, spec.classes
    return PartSize(norm.parameters + d * classes + classes, norm.tensors + 2)


def local_head(spec: ModelSpec) -> PartSize:
    """The local head: a layer norm and a linear layer over the classes, or over target words."""
    d, classes = spec.width, local_classes(spec)
    return PartSize(2 * d + d * classes + classes, 4)


def local_classes(spec: ModelSpec) -> int:
    """How many classes the local head predicts: for a decoder, the words of the target."""
    return spec.target_vocabulary if spec.head == "decoder" else spec.classes


def embedding(spec: ModelSpec) -> PartSize:
    """The source embedding: a vector for each word; positions are no parameters."""
    return PartSize(spec.source_vocabulary * spec.width, 1)


def encoder_block(width: int, feed_forward: int) -> PartSize:
    """Self-attention (Q, K, V in one tensor; O), feed-forward of two layers, two norms; biases."""
    d, f = width, feed_forward
    attention, layers, norms = 4 * (d * d + d), 2 * d * f + f + d, 2 * 2 * d
    return PartSize(attention + layers + norms, 4 + 4 + 4)


def last_norm(spec: ModelSpec) -> PartSize:
    """The norm after the last block, if normalisation is before each sub-layer, else nothing."""
    return PartSize(2 * spec.width, 2) if spec.norm == "pre" else PartSize(0, 0)


def decoder(spec: ModelSpec) -> PartSize:
    """The encoder's last norm, the target embedding, decoder blocks, a norm, the output head.

    A decoder block is an encoder block with a second attention and a third norm. A tied output head
    has a bias only.
    """
    d, v, blocks = spec.width, spec.target_vocabulary, spec.decoder_blocks
    block, norm = encoder_block(d, spec.feed_forward), last_norm(spec)
    second_attention, third_norm = 4 * (d * d + d), 2 * d
    head = PartSize(v, 1) if spec.tied_output else PartSize(d * v + v, 2)
    per_block = block.parameters + second_attention + third_norm
    return PartSize(
        blocks * per_block + v * d + 2 * norm.parameters + head.parameters,
        blocks * (block.tensors + 4 + 2) + 1 + 2 * norm.tensors + head.tensors,
    )


def widest_tensor(width: int, feed_forward: int) -> int:
    """Elements of a token between two layers at most: the feed-forward's, or Q, K, V together."""
    return max(feed_forward, 3 * width)
