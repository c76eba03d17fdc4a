"""Batches of training data: tensors with a row for each sequence, and counts of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # planning describes batches without torch, which takes seconds to import
    import torch
    from torch import Tensor

#: Tensors that travel together.
Payload = tuple["Tensor", ...]


class BatchShape(NamedTuple):
    """What the costs of a batch depend on: its sequences, and their padded lengths.

    `tokens` is the length of the inputs and `targets` that of the labels; both are 1 where a
    sequence has no such axis.
    """

    sequences: int
    tokens: int
    targets: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences padded to the same length; the first axis of every tensor is that of sequences.

    A second axis, where there is one, is the length: tokens of inputs and side, targets of labels.
    Axes of features come after it: [B, 1, features] for inputs without tokens.

    - `inputs` are given to the first part of the model, usually token numbers [B, s] (int64).
    - `side` is given to every part as it is, and travels with the activations; no gradient flows
      through it. It is usually the padding mask [B, s] (bool, true for padding).
    - `labels` are given to the loss: token numbers [B, t], or a class for each sequence [B].
    - `predictions` [B] (int64) counts the predictions of each sequence that the loss adds up.
    - `aligned` says that the labels have an entry for each input token, so that both have the same
      length.
    """

    inputs: Payload
    side: Payload
    labels: Payload
    predictions: Tensor
    aligned: bool = False

    @property
    def sequences(self) -> int:
        return len(self.predictions)

    @property
    def total(self) -> int:
        """The number of predictions in all sequences, by which the sum of losses is divided.

        It is 1 where there is none, so that the loss of such a batch is 0.
        """
        return max(int(self.predictions.sum()), 1)

    @property
    def shape(self) -> BatchShape:
        return BatchShape(self.sequences, _length(self.inputs), _length(self.labels))

    def to(self, device: torch.device) -> Batch:
        """The same batch on a torch device."""
        return self._each(lambda tensor: tensor.to(device))

    def part(self, first: int, end: int) -> Batch:
        """The sequences from `first` to before `end`, with the same padding."""
        return self._each(lambda tensor: tensor[first:end])

    def split(self, sizes: Sequence[int]) -> list[Batch]:
        """Consecutive parts of these numbers of sequences; they keep the padding of the batch."""
        return [self.part(*ends) for ends in pairwise(accumulate(sizes, initial=0))]

    def resized(self, shape: BatchShape) -> Batch:
        """A batch of this shape with the sequences and tokens of this one, repeated or cut.

        Lengths change only along a second axis. Where it is longer than a token, each mask of the
        sides (bool) is true for the last token of the first sequence: some models leave out a mask
        that marks nothing, and so cost less without padding.
        """
        import torch

        def resize(tensor: Tensor, length: int) -> Tensor:
            rows = torch.arange(shape.sequences) % len(tensor)
            taken = tensor[rows.to(tensor.device)]
            if tensor.dim() < 2:
                return taken
            columns = torch.arange(length) % tensor.shape[1]
            return taken[:, columns.to(tensor.device)].contiguous()

        side = tuple(resize(tensor, shape.tokens) for tensor in self.side)
        for tensor in side:
            if tensor.dtype is torch.bool and tensor.dim() > 1 and shape.tokens > 1:
                tensor[0, -1] = True
        return Batch(
            tuple(resize(tensor, shape.tokens) for tensor in self.inputs),
            side,
            tuple(resize(tensor, shape.targets) for tensor in self.labels),
            resize(self.predictions, 1),
            self.aligned,
        )

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        groups = (tuple(map(change, group)) for group in (self.inputs, self.side, self.labels))
        inputs, side, labels = groups
        return Batch(inputs, side, labels, change(self.predictions), self.aligned)


def _length(tensors: Payload) -> int:
    return tensors[0].shape[1] if tensors and tensors[0].dim() > 1 else 1
