"""English to German translation of number and date phrases.

The data is generated, without any download, and yet it takes real translation: German swaps tens
and units, writes numbers as one word, and inflects ordinals. Clusters have different mixtures of
the kinds of phrases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collapipe_ns3.learning.phrases import KINDS, Pair, phrases
from collapipe_ns3.learning.sizes import held_out
from collapipe_ns3.learning.spec import BOS, EOS, PAD
from collapipe_ns3.learning.task import Batch
from collapipe_ns3.random_streams import stream

if TYPE_CHECKING:  # planning needs the sizes of the data alone, and torch takes seconds to import
    from torch import Tensor

    from collapipe_ns3.learning.transformer import TranslationModel

_COMMA = ","


@dataclass(frozen=True, slots=True)
class NumbersSettings:
    """The settings of the task.

    Phrases are of these `kinds`; cardinals and ordinals are below `limit`. A sequence consists of
    `phrases` phrases, so that it can be as long as a sentence or a paragraph. `test_size` sequences
    are held out for the test, made of phrases that no cluster has. `dirichlet_alpha` is the
    parameter of the Dirichlet distribution of the clusters' mixtures of kinds: the smaller, the
    more they differ.
    """

    limit: int = 10_000
    kinds: tuple[str, ...] = KINDS
    phrases: int = 1
    test_size: int = 500
    dirichlet_alpha: float = 1.0


@dataclass(slots=True)
class Numbers:
    """The task for clusters with `sizes` sequences; all random draws depend on `seed` alone."""

    settings: NumbersSettings
    sizes: Sequence[int]
    batch_size: int
    seed: int
    _test: list[Pair] = field(init=False)
    _data: list[list[Pair]] = field(init=False)
    _english: dict[str, int] = field(init=False)
    _german: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        pools = [phrases(kind, self.settings.limit) for kind in self.settings.kinds]
        every = [pair for pool in pools for pair in pool]
        between = () if self.settings.phrases == 1 else (_COMMA,)
        self._english = _numbered([between, *(source for source, _ in every)])
        self._german = _numbered([between, *(target for _, target in every)])
        wanted = self.settings.test_size * self.settings.phrases
        test, rest = [], []
        for index, pool in enumerate(pools):
            order = stream(self.seed, "test", index).permutation(len(pool))
            held = held_out(len(pool), wanted, len(pools))
            test += [pool[i] for i in order[:held]]
            rest.append([pool[i] for i in order[held:]])
        self._test = self._sequences(test, "test sequences")
        self._data = [self._drawn(n, size, rest) for n, size in enumerate(self.sizes)]

    def _drawn(self, cluster: int, size: int, pools: Sequence[Sequence[Pair]]) -> list[Pair]:
        """A cluster's data: kinds by its mixture, phrases of a kind with equal probability."""
        random = stream(self.seed, "mixture", cluster)
        mixture = random.dirichlet([self.settings.dirichlet_alpha] * len(pools))
        counts = random.multinomial(size * self.settings.phrases, mixture)
        drawn = [
            pool[i]
            for pool, count in zip(pools, counts, strict=True)
            for i in random.integers(len(pool), size=count)
        ]
        return self._sequences(drawn, "sequences", cluster)

    def _sequences(self, pairs: Sequence[Pair], *name: str | int) -> list[Pair]:
        """Sequences of as many phrases as the settings say; remaining phrases are dropped."""
        size = self.settings.phrases
        if size == 1:
            return list(pairs)
        order = stream(self.seed, *name).permutation(len(pairs))
        groups = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        return [_joined([pairs[i] for i in group]) for group in groups]

    @property
    def source_vocabulary(self) -> int:
        return EOS + 1 + len(self._english)

    @property
    def target_vocabulary(self) -> int:
        return EOS + 1 + len(self._german)

    @property
    def max_length(self) -> int:
        pairs = [*self._test, *(pair for data in self._data for pair in data)]
        return 2 + max(max(len(source), len(target)) for source, target in pairs)

    @property
    def shares(self) -> list[float]:
        total = sum(map(len, self._data))
        return [len(data) / total for data in self._data]

    def lengths(self, cluster: int) -> tuple[int, int]:
        """The padded length of the cluster's first batch in tokens: source and target."""
        pairs = next(self._drawn_batches(cluster, 0))
        return max(len(source) for source, _ in pairs), 2 + max(len(target) for _, target in pairs)

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        """Endless whole batches of the cluster's data, which is shuffled anew in every epoch."""
        return map(self.batch, self._drawn_batches(cluster, round))

    def _drawn_batches(self, cluster: int, round: int) -> Iterator[list[Pair]]:
        data = self._data[cluster]
        random = stream(self.seed, "batches", cluster, round)
        while True:
            order = random.permutation(len(data))
            for start in range(0, len(data) - self.batch_size + 1, self.batch_size):
                yield [data[i] for i in order[start : start + self.batch_size]]

    def batch(self, pairs: Sequence[Pair]) -> Batch:
        """Phrases as padded tensors."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        sources = [torch.tensor([self._english[t] for t in source]) for source, _ in pairs]
        targets = [
            torch.tensor([BOS, *(self._german[t] for t in target), EOS]) for _, target in pairs
        ]
        source = pad_sequence(sources, batch_first=True, padding_value=PAD)
        target = pad_sequence(targets, batch_first=True, padding_value=PAD)
        return Batch(source, source == PAD, target)

    def evaluate(self, model: TranslationModel) -> dict[str, float]:
        """Exact match, BLEU over morphemes (sacrebleu, no tokeniser), and mean token loss."""
        import torch
        from sacrebleu.metrics.bleu import BLEU

        from collapipe_ns3.learning.transformer import greedy

        batch = self.batch(self._test).to(next(model.parameters()).device)
        with torch.no_grad():
            loss = float(
                model.loss(batch.source, batch.source_padding, batch.target, batch.target_tokens)
            )
        longest = batch.target.shape[1] - 1
        predicted = self._texts(greedy(model, batch.source, batch.source_padding, longest))
        expected = self._texts(batch.target)
        exact = sum(a == b for a, b in zip(predicted, expected, strict=True)) / len(expected)
        bleu = BLEU(tokenize="none", force=True).corpus_score(predicted, [expected]).score
        return {"exact_match": exact, "bleu": bleu, "loss": loss}

    def _texts(self, target: Tensor) -> list[str]:
        words = {number: word for word, number in self._german.items()}
        texts = []
        for row in target.tolist():
            row = row[1 : row.index(EOS)] if EOS in row else row[1:]
            texts.append(" ".join(words.get(number, "?") for number in row))
        return texts


def _joined(pairs: Sequence[Pair]) -> Pair:
    """Phrases joined by commas."""
    (source, target), *others = pairs
    for more_source, more_target in others:
        source, target = (*source, _COMMA, *more_source), (*target, _COMMA, *more_target)
    return source, target


def _numbered(phrases: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """Numbers the tokens in alphabetical order, after PAD, BOS and EOS."""
    tokens = sorted({token for phrase in phrases for token in phrase})
    return {token: number for number, token in enumerate(tokens, start=EOS + 1)}
