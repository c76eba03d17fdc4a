"""The parts of the built-in models: how large they are.

This is the one place that states which tensors the architecture has; `learning.models.transformer`
and `learning.models.encoder` build them, and a test compares the two. The parts in order are the
embedding, the encoder blocks, and the decoder or the head with the loss. Importing this needs no
torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from bridge.formats import TensorSize
from collapipe_ns3.learning.spec import ModelSpec

#: Bytes of a parameter (fp32).
PARAMETER_BYTES = 4


@dataclass(frozen=True, slots=True)
class PartSize:
    """The sizes of a part's parameters: one for each tensor, smaller ones first."""

    sizes: tuple[TensorSize, ...]

    @classmethod
    def of(cls, *shapes: tuple[int, ...]) -> Self:
        """The size of tensors of these shapes."""
        return cls(tuple(sorted(map(TensorSize.of, shapes))))

    def __add__(self, other: PartSize) -> PartSize:
        return PartSize(tuple(sorted((*self.sizes, *other.sizes))))

    def __mul__(self, count: int) -> PartSize:
        return PartSize(tuple(sorted(self.sizes * count)))

    @property
    def parameters(self) -> int:
        """How many parameters there are."""
        return sum(size.elements for size in self.sizes)

    @property
    def bytes(self) -> int:
        """Bytes of the parameters."""
        return PARAMETER_BYTES * self.parameters


_NOTHING = PartSize(())


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
    return last_norm(spec) + _linear(spec.width, spec.classes)


def local_head(spec: ModelSpec) -> PartSize:
    """The local head: a layer norm and a linear layer over the classes, or over target words."""
    return _norm(spec.width) + _linear(spec.width, local_classes(spec))


def local_classes(spec: ModelSpec) -> int:
    """How many classes the local head predicts: for a decoder, the words of the target."""
    return spec.target_vocabulary if spec.head == "decoder" else spec.classes


def embedding(spec: ModelSpec) -> PartSize:
    """The source embedding: a vector for each word; positions are no parameters."""
    return PartSize.of((spec.source_vocabulary, spec.width))


def encoder_block(width: int, feed_forward: int) -> PartSize:
    """Self-attention, feed-forward of two layers, two norms; all with biases."""
    layers = _linear(width, feed_forward) + _linear(feed_forward, width)
    return _attention(width) + layers + _norm(width) * 2


def _attention(width: int) -> PartSize:
    """Attention with Q, K, V in one tensor, and O."""
    return _linear(width, 3 * width) + _linear(width, width)


def _linear(inputs: int, outputs: int) -> PartSize:
    return PartSize.of((outputs, inputs), (outputs,))


def _norm(width: int) -> PartSize:
    return PartSize.of((width,), (width,))


def last_norm(spec: ModelSpec) -> PartSize:
    """The norm after the last block, if normalisation is before each sub-layer, else nothing."""
    return _norm(spec.width) if spec.norm == "pre" else _NOTHING


def decoder(spec: ModelSpec) -> PartSize:
    """The encoder's last norm, the target embedding, decoder blocks, a norm, the output head.

    A decoder block is an encoder block with a second attention and a third norm. A tied output head
    has a bias only.
    """
    d, v = spec.width, spec.target_vocabulary
    block = encoder_block(d, spec.feed_forward) + _attention(d) + _norm(d)
    head = PartSize.of((v,)) if spec.tied_output else _linear(d, v)
    return block * spec.decoder_blocks + PartSize.of((v, d)) + last_norm(spec) * 2 + head


def widest_tensor(width: int, feed_forward: int) -> int:
    """Elements of a token between two layers at most: the feed-forward's, or Q, K, V together."""
    return max(feed_forward, 3 * width)
