"""Learning tasks: training data of each cluster in batches, and a test set."""

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
    """Sequences padded to the length of the longest.

    `source` [B, s] and `target` [B, t] are token numbers (int64); `source_padding` [B, s] is true
    for padding. `target` begins with BOS.
    """

    source: Tensor
    source_padding: Tensor
    target: Tensor

    @property
    def target_tokens(self) -> int:
        """The number of tokens to predict: all except BOS and PAD."""
        return int((self.target[:, 1:] != PAD).sum())

    def to(self, device: torch.device) -> Batch:
        """The same batch on a torch device."""
        return Batch(self.source.to(device), self.source_padding.to(device), self.target.to(device))

    def split(self, micro_batches: int) -> list[Batch]:
        """Equal parts in order. They keep the padding of the batch, so all have the same shape.

        Raises `ValueError` if the number of sequences is not a multiple of `micro_batches`.
        """
        size, rest = divmod(len(self.source), micro_batches)
        if rest:
            raise ValueError(f"{len(self.source)} sequences don't make {micro_batches} equal parts")
        return [self.part(first, first + size) for first in range(0, len(self.source), size)]

    def part(self, first: int, end: int) -> Batch:
        """The sequences from `first` to before `end`, with the same padding."""
        rows = slice(first, end)
        return Batch(self.source[rows], self.source_padding[rows], self.target[rows])


class Task(Protocol):
    """A data set distributed over clusters, with a test set that no cluster has."""

    @property
    def source_vocabulary(self) -> int: ...
    @property
    def target_vocabulary(self) -> int: ...
    @property
    def max_length(self) -> int:
        """The length of the longest source or target in tokens, including BOS and EOS."""
        ...

    @property
    def shares(self) -> Sequence[float]:
        """Each cluster's fraction of all training data."""
        ...

    def lengths(self, cluster: int) -> tuple[int, int]:
        """The usual padded length of this cluster's batches in tokens: source and target."""
        ...

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        """Endless batches of a cluster's data; the same for the same round."""
        ...

    def evaluate(self, model: TranslationModel) -> dict[str, float]:
        """Metrics on the test set by name; the first is the task's main one."""
        ...
