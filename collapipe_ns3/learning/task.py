"""Tasks: what is learned, cut into clusters, batches and a test set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from collapipe_ns3.learning.spec import PAD

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from collapipe_ns3.learning.transformer import TranslationModel


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences padded to the longest among them.

    `source` [B, s] and `target` [B, t] are token numbers (int64); `source_padding` [B, s] is true
    where a token is none. `target` begins with BOS.
    """

    source: Tensor
    source_padding: Tensor
    target: Tensor

    @property
    def target_tokens(self) -> int:
        """How many tokens are to be predicted: all but BOS and PAD."""
        return int((self.target[:, 1:] != PAD).sum())

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device of torch's."""
        return Batch(self.source.to(device), self.source_padding.to(device), self.target.to(device))

    def split(self, micro_batches: int) -> list[Batch]:
        """Equal parts in order; they keep the whole batch's padding, so all have one shape."""
        size, rest = divmod(len(self.source), micro_batches)
        if rest:
            raise ValueError(f"{len(self.source)} sequences don't make {micro_batches} equal parts")
        return [self.part(first, first + size) for first in range(0, len(self.source), size)]

    def part(self, first: int, end: int) -> Batch:
        """Sequences `first` up to `end`, padded as they were."""
        rows = slice(first, end)
        return Batch(self.source[rows], self.source_padding[rows], self.target[rows])


class Task(Protocol):
    """A data set spread over clusters, and how well a model does on what none of them has."""

    @property
    def source_vocabulary(self) -> int: ...
    @property
    def target_vocabulary(self) -> int: ...
    @property
    def max_length(self) -> int:
        """The longest source or target, in tokens, BOS and EOS included."""
        ...

    @property
    def shares(self) -> Sequence[float]:
        """Each cluster's part of all training data."""
        ...

    def lengths(self, cluster: int) -> tuple[int, int]:
        """What a batch of this cluster is usually padded to, source and target, in tokens."""
        ...

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        """Batches of a cluster's data without end, the same for the same round."""
        ...

    def evaluate(self, model: TranslationModel) -> dict[str, float]:
        """Figures on the test set; the first is the task's metric."""
        ...
