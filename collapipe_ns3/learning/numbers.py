"""English to German translation of number and date phrases.

The data is generated, without any download, and yet it takes real translation: German swaps tens
and units, writes numbers as one word, and inflects ordinals. Clusters have different mixtures of
the kinds of phrases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict

from collapipe_ns3.learning.architecture import widest_tensor
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models import translator_spec
from collapipe_ns3.learning.phrases import Pair
from collapipe_ns3.learning.phrases import phrases as phrases_of_kind
from collapipe_ns3.learning.protocol import Lengths, Metric, Setup
from collapipe_ns3.learning.sizes import held_out, test_sequences
from collapipe_ns3.learning.spec import BOS, EOS, PAD
from collapipe_ns3.random_streams import stream

if TYPE_CHECKING:  # planning needs only the sizes of the data, and torch takes seconds to import
    from collapipe_ns3.learning.models.transformer import TranslationModel
    from collapipe_ns3.learning.split_model import SplitModel

_COMMA = ","

# Measured as the growth of the process.
_PHRASE_BYTES = 8  # a reference
_SEQUENCE_BYTES = 200  # of more than one phrase


Kind = Literal["cardinal", "ordinal", "year", "date"]


def _each_once(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(kinds)) < len(kinds):
        raise ValueError(f"expected each kind once, not {', '.join(kinds)}")
    return kinds


class Numbers:
    """Translation of number and date phrases, generated without any download.

    All random draws depend only on the setup's seed.
    """

    models = ("transformer",)
    metric = Metric("exact_match")

    def __init__(
        self,
        setup: Setup,
        limit: Annotated[
            int,
            Field(
                ge=10,
                le=100_000,
                description="Cardinals are below this; ordinals are below this and below 1000.",
            ),
        ] = 10_000,
        kinds: Annotated[
            tuple[Kind, ...],
            Strict(False),
            Field(min_length=1, description="The kinds of phrases."),
            AfterValidator(_each_once),
        ] = ("cardinal", "ordinal", "year", "date"),
        phrases: Annotated[
            int,
            Field(
                ge=1,
                le=100,
                description="Phrases in a sequence; more phrases give sequences as long as "
                "sentences or paragraphs.",
            ),
        ] = 1,
        test_size: Annotated[
            int,
            Field(
                ge=10,
                le=1_000_000,
                description="Sequences of phrases that no cluster has, on which the model is "
                "evaluated.",
            ),
        ] = 500,
        cluster_size: Annotated[
            int,
            Field(ge=1, le=10_000_000, description="Sequences that each cluster has."),
        ] = 4000,
        dirichlet_alpha: Annotated[
            float,
            Field(
                gt=0,
                le=1e6,
                description="Concentration of the clusters' mixtures of kinds: smaller values "
                "make clusters less alike.",
            ),
        ] = 1.0,
    ) -> None:
        self._setup = setup
        self._phrases = phrases
        self._alpha = dirichlet_alpha
        pools = [phrases_of_kind(kind, limit) for kind in kinds]
        every = [pair for pool in pools for pair in pool]
        between = () if phrases == 1 else (_COMMA,)
        self._english = _numbered([between, *(source for source, _ in every)])
        self._german = _numbered([between, *(target for _, target in every)])
        wanted = test_size * phrases
        test, rest = [], []
        for index, pool in enumerate(pools):
            order = stream(setup.seed, "test", index).permutation(len(pool))
            held = held_out(len(pool), wanted, len(pools))
            test += [pool[i] for i in order[:held]]
            rest.append([pool[i] for i in order[held:]])
        self._test = self._sequences(test, "test sequences")
        sizes = _sizes(setup, {"cluster_size": cluster_size})
        self._data = [self._drawn(n, size, rest) for n, size in enumerate(sizes)]
        self.spec = translator_spec(
            setup.model,
            source_vocabulary=EOS + 1 + len(self._english),
            target_vocabulary=EOS + 1 + len(self._german),
            longest=self._max_length(),
            label_smoothing=setup.label_smoothing,
        )

    @classmethod
    def problems(cls, setup: Setup, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What is wrong with well-formed settings: clusters too small, no test set."""
        smallest = min(_sizes(setup, settings))
        if setup.batch_size > smallest:
            what = (
                f"expected at most {smallest}, the sequences of a cluster, not {setup.batch_size}"
            )
            yield "training.batch_size", what
        if not _tests(settings):
            yield (
                "task.phrases",
                "too many for a test set: the phrases held out for it, at most half of those below "
                f"{settings['limit']} and of each kind, don't make a sequence of "
                f"{settings['phrases']}",
            )

    @classmethod
    def data_bytes(cls, setup: Setup, settings: Mapping[str, Any]) -> int:
        """A lower bound of the memory that the data and its evaluation take."""
        phrases: int = settings["phrases"]
        a_sequence = _PHRASE_BYTES * phrases + (phrases > 1) * _SEQUENCE_BYTES
        data, widest_token = (
            sum(_sizes(setup, settings)),
            widest_tensor(setup.model["width"], setup.model["feed_forward"]),
        )
        return data * a_sequence + 4 * _tests(settings) * phrases * widest_token

    def _drawn(self, cluster: int, size: int, pools: Sequence[Sequence[Pair]]) -> list[Pair]:
        """A cluster's data: kinds by its mixture, phrases of a kind with equal probability."""
        random = stream(self._setup.seed, "mixture", cluster)
        mixture = random.dirichlet([self._alpha] * len(pools))
        counts = random.multinomial(size * self._phrases, mixture)
        drawn = [
            pool[i]
            for pool, count in zip(pools, counts, strict=True)
            for i in random.integers(len(pool), size=count)
        ]
        return self._sequences(drawn, "sequences", cluster)

    def _sequences(self, pairs: Sequence[Pair], *name: str | int) -> list[Pair]:
        """Sequences of as many phrases as the settings say; remaining phrases are dropped."""
        size = self._phrases
        if size == 1:
            return list(pairs)
        order = stream(self._setup.seed, *name).permutation(len(pairs))
        groups = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
        return [_joined([pairs[i] for i in group]) for group in groups]

    @property
    def longest(self) -> Lengths:
        return Lengths(self.spec.max_length, self.spec.max_length)

    def _max_length(self) -> int:
        pairs = [*self._test, *(pair for data in self._data for pair in data)]
        return 2 + max(max(len(source), len(target)) for source, target in pairs)

    @property
    def shares(self) -> list[float]:
        total = sum(map(len, self._data))
        return [len(data) / total for data in self._data]

    def lengths(self, cluster: int) -> Lengths:
        """The padded lengths of the cluster's first batch."""
        pairs = next(self._drawn_batches(cluster, 0))
        return Lengths(
            tokens=max(len(source) for source, _ in pairs),
            targets=2 + max(len(target) for _, target in pairs),
        )

    def model(self, seed: int) -> TranslationModel:
        from collapipe_ns3.learning.models.transformer import build

        return build(self.spec, seed)

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        """Endless whole batches of the cluster's data, which is shuffled anew in every epoch."""
        return map(self.batch, self._drawn_batches(cluster, round))

    def _drawn_batches(self, cluster: int, round: int) -> Iterator[list[Pair]]:
        data = self._data[cluster]
        random = stream(self._setup.seed, "batches", cluster, round)
        while True:
            order = random.permutation(len(data))
            for start in range(0, len(data) - self._setup.batch_size + 1, self._setup.batch_size):
                yield [data[i] for i in order[start : start + self._setup.batch_size]]

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
        predictions = (target[:, 1:] != PAD).sum(1)  # all except BOS and PAD
        return Batch((source,), (source == PAD,), (target,), predictions)

    def evaluate(self, model: SplitModel) -> dict[str, float]:
        """Exact match, BLEU over morphemes (sacrebleu, no tokeniser), and mean token loss."""
        from sacrebleu.metrics.bleu import BLEU

        from collapipe_ns3.learning.models.evaluation import mean_loss, translate
        from collapipe_ns3.learning.models.translator import Translator

        assert isinstance(model, Translator)
        batch = self.batch(self._test)
        predicted = self._texts(translate(model, [batch], batch.shape.targets - 1))
        expected = [" ".join(target) for _, target in self._test]
        exact = sum(a == b for a, b in zip(predicted, expected, strict=True)) / len(expected)
        bleu = BLEU(tokenize="none", force=True).corpus_score(predicted, [expected]).score
        return {"exact_match": exact, "bleu": bleu, "loss": mean_loss(model, [batch])}

    def _texts(self, sentences: Iterable[Sequence[int]]) -> list[str]:
        words = {number: word for word, number in self._german.items()}
        return [" ".join(words.get(number, "?") for number in each) for each in sentences]


def _sizes(setup: Setup, settings: Mapping[str, Any]) -> list[int]:
    default = settings["cluster_size"]
    return [default if size is None else size for size in setup.cluster_sizes]


def _tests(settings: Mapping[str, Any]) -> int:
    """The number of test sequences."""
    names = ("kinds", "limit", "phrases", "test_size")
    return test_sequences(*(settings[name] for name in names))


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
