"""Padded batches of encoded examples, and their lengths.

Importing this needs no torch; only making a batch does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.protocol import BadTask, Lengths
from collapipe_ns3.learning.spec import PAD
from collapipe_ns3.learning.text.encoding import IGNORED, Encoded
from collapipe_ns3.random_streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How sequences are padded: all to `max_tokens`; to the longest of a batch; or to the longest of a
#: batch whose sequences have similar lengths.
Padding = Literal["fixed", "dynamic", "bucketed"]

#: The batches in a pool, within which examples are sorted by length if `padding` is "bucketed".
POOL_BATCHES = 50


@dataclass(slots=True)
class ClusterBatches:
    """Batches of `batch_size` from the encoded examples of each cluster.

    `max_tokens` is the most tokens of any sequence, to which all are padded if `padding` is
    "fixed"; `pad` is the token number of padding. All random draws depend only on `seed`. Raises
    `BadTask` if a cluster has fewer examples than a batch.

    Every epoch visits the cluster's examples in a new random order. All batches have `batch_size`
    examples: those that remain at the end of an epoch, a random choice, are left out of it. As
    every epoch is shuffled anew, they take part in the next one like all others.
    """

    clusters: Sequence[Sequence[Encoded]]
    batch_size: int
    seed: int
    max_tokens: int
    padding: Padding = "bucketed"
    pad: int = PAD
    _sizes: list[NDArray[np.int64]] = field(init=False, repr=False)
    _usual: list[Lengths] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for cluster, examples in enumerate(self.clusters):
            if len(examples) < self.batch_size:
                message = f"cluster {cluster} has {len(examples)} training examples"
                raise BadTask("", f"{message}, but a batch needs {self.batch_size}")
        self._sizes = [_sizes(examples) for examples in self.clusters]
        self._usual = [self._mean_lengths(cluster) for cluster in range(len(self.clusters))]

    @property
    def shares(self) -> list[float]:
        """Each cluster's fraction of all examples."""
        total = sum(map(len, self.clusters))
        return [len(examples) / total for examples in self.clusters]

    @property
    def longest(self) -> Lengths:
        """The longest padded lengths that a batch of any cluster can have."""
        return _largest([self._padded(cluster) for cluster in range(len(self.clusters))])

    def lengths(self, cluster: int) -> Lengths:
        """The mean padded lengths of the batches in the first epoch of round 0, rounded."""
        return self._usual[cluster]

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        """Endless batches of a cluster, the same for the same round, whatever rounds came before.

        At most the order of one epoch is held in memory.
        """
        examples = self.clusters[cluster]
        random = stream(self.seed, "batches", cluster, round)
        lengths = self._padded(cluster) if self.padding == "fixed" else None
        while True:
            for batch in self._epoch(cluster, random):
                yield collate([examples[index] for index in batch], self.pad, lengths)

    def _epoch(self, cluster: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """The examples' indices in each batch of an epoch."""
        sizes = self._sizes[cluster]
        whole = len(sizes) // self.batch_size * self.batch_size
        order = random.permutation(len(sizes))[:whole]
        pool_size = self.batch_size * (POOL_BATCHES if self.padding == "bucketed" else 1)
        for start in range(0, whole, pool_size):
            pool = order[start : start + pool_size]
            if self.padding != "bucketed":
                yield pool
                continue
            tokens, targets = sizes[pool].T
            pool = pool[np.lexsort((targets, tokens))]
            yield from random.permutation(pool.reshape(-1, self.batch_size))

    def _mean_lengths(self, cluster: int) -> Lengths:
        """The mean padded lengths in the first epoch of round 0."""
        if self.padding == "fixed":
            return self._padded(cluster)
        random = stream(self.seed, "batches", cluster, 0)
        sizes = self._sizes[cluster]
        batches = [sizes[batch].max(axis=0) for batch in self._epoch(cluster, random)]
        tokens, targets = np.mean(batches, axis=0)
        return Lengths(round(tokens), round(targets))

    def _padded(self, cluster: int) -> Lengths:
        """The longest padded lengths of a cluster's batches."""
        if self.padding == "fixed":
            classes = isinstance(self.clusters[cluster][0].labels, int)
            return Lengths(self.max_tokens, 1 if classes else self.max_tokens)
        tokens, targets = self._sizes[cluster].max(axis=0)
        return Lengths(int(tokens), int(targets))


def ordered_batches(
    examples: Sequence[Encoded], batch_size: int, pad: int = PAD
) -> Iterator[tuple[list[int], Batch]]:
    """All examples once, for evaluation, in batches of similar lengths; the last may be smaller.

    With each batch come the indices of its examples.
    """
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].tokens))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        yield batch, collate([examples[index] for index in batch], pad)


def collate(examples: Sequence[Encoded], pad: int = PAD, lengths: Lengths | None = None) -> Batch:
    """A batch of examples of one task, padded to `lengths`, by default to the longest of them.

    Inputs are the token numbers [B, s], and side the padding mask [B, s]. Labels are classes [B];
    tags [B, s], `IGNORED` where none is predicted; or the target's token numbers [B, t], which
    begin with BOS and are padded with `pad`. A class, each tag, and each target token after BOS
    count as a prediction.
    """
    import torch

    length = _longest(examples) if lengths is None else lengths
    tokens = torch.from_numpy(_matrix([e.tokens for e in examples], length.tokens, pad))
    used = torch.tensor([len(example.tokens) for example in examples])
    padding = torch.arange(length.tokens) >= used[:, None]
    aligned = examples[0].aligned
    fill = IGNORED if aligned else pad
    classes = [e.labels for e in examples if isinstance(e.labels, int)]
    rows = [e.labels for e in examples if not isinstance(e.labels, int)]
    labels = (
        torch.tensor(classes) if classes else torch.from_numpy(_matrix(rows, length.targets, fill))
    )
    counts = torch.tensor([_predictions(example) for example in examples])
    return Batch((tokens,), (padding,), (labels,), counts, aligned)


def _predictions(example: Encoded) -> int:
    """The number of predictions that the loss of an example adds up."""
    if isinstance(example.labels, int):
        return 1
    if example.aligned:
        return len(example.words)
    return len(example.labels) - 1  # all but BOS


def _matrix(rows: Sequence[Sequence[int]], length: int, fill: int) -> NDArray[np.int64]:
    made = np.full((len(rows), length), fill, np.int64)
    for line, row in zip(made, rows, strict=True):
        line[: len(row)] = row
    return made


def _targets(example: Encoded) -> int:
    return 1 if isinstance(example.labels, int) else len(example.labels)


def _sizes(examples: Sequence[Encoded]) -> NDArray[np.int64]:
    """The lengths of each example [N, 2]: of its tokens, and of its labels."""
    return np.array([(len(e.tokens), _targets(e)) for e in examples], np.int64).reshape(-1, 2)


def _longest(examples: Sequence[Encoded]) -> Lengths:
    return _largest([Lengths(len(e.tokens), _targets(e)) for e in examples])


def _largest(lengths: Sequence[Lengths]) -> Lengths:
    """The longest inputs and the longest labels, of whichever lengths they are."""
    return Lengths(max(each.tokens for each in lengths), max(each.targets for each in lengths))
