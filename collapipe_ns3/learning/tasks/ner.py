"""Recognition of named entities: a tag for each word."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collapipe_ns3.learning.data.entities import entities
from collapipe_ns3.learning.data.examples import Tagged, labels_of
from collapipe_ns3.learning.data.folder import folder_of_tagged
from collapipe_ns3.learning.models import MODELS, build_encoder, built_in, encoder_spec
from collapipe_ns3.learning.protocol import Metric, Setup
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.learning.tasks import settings
from collapipe_ns3.learning.tasks.prepared import (
    TextTask,
    prepare,
    read_or_generated,
    wanted_examples,
)
from collapipe_ns3.learning.text.encoding import EncodedSet, encode_tags
from collapipe_ns3.learning.text.metrics import entity_f1, lenient_entities, strict_entities
from collapipe_ns3.learning.text.tokenizer import SubwordTokenizer

if TYPE_CHECKING:
    from collapipe_ns3.learning.models.classifier import Classifier
    from collapipe_ns3.learning.split_model import SplitModel

#: Examples in the training split of generated data, if the clusters do not need more.
_GENERATED = 3000


@dataclass(frozen=True, slots=True)
class _Sentences:
    """Sentences with these tags, numbered in order."""

    tags: Sequence[str]

    def texts(self, example: Tagged) -> Iterable[str]:
        return (" ".join(example.words),)

    def groups(self, examples: Sequence[Tagged]) -> Sequence[Hashable]:
        """The types of entities in each sentence."""
        return [tuple(labels_of([example])) for example in examples]

    def encode(
        self, examples: Sequence[Tagged], tokenizer: SubwordTokenizer, max_tokens: int
    ) -> EncodedSet:
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        return encode_tags(
            ((example.words, example.tags) for example in examples), numbers, tokenizer, max_tokens
        )


class NER(TextTask[Tagged]):
    """Recognition of named entities: persons, places and others in generated text, or your own.

    `data` is a folder with a CoNLL file for each split: a word a line with its tag in the last
    column, in IOB1, IOB2, BIOES or BILOU. Without it, sentences with five types of entities are
    generated. The first token of a word has the word's tag, and the others have none.
    """

    models = tuple(name for name, entry in MODELS.items() if entry.kind == "encoder")
    metric = Metric("f1")

    def __init__(
        self,
        setup: Setup,
        data: settings.Data = None,
        vocabulary: settings.Vocabulary = 2000,
        tokenizer: settings.TokenizerFile = None,
        lower_case: settings.LowerCase = False,
        max_tokens: settings.MaxTokens = 96,
        lengths: settings.LengthsOf = "bucketed",
        cluster_size: settings.ClusterSize = None,
        division: settings.DivisionOf = "iid",
        dirichlet_alpha: settings.DirichletAlpha = 1.0,
        evaluate_size: settings.EvaluateSize = 1000,
        split: settings.Split = "test",
    ) -> None:
        examples = read_or_generated(
            data,
            lambda folder: folder_of_tagged(folder, setup.seed),
            lambda: entities(setup.seed, max(_GENERATED, wanted_examples(setup, cluster_size))),
        )
        choices = settings.Choices(
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            lower_case=lower_case,
            max_tokens=max_tokens,
            lengths=lengths,
            cluster_size=cluster_size,
            division=division,
            dirichlet_alpha=dirichlet_alpha,
            evaluate_size=evaluate_size,
            split=split,
        )
        self._setup = setup
        self._max_tokens = max_tokens
        self.tags = ["O", *(f"{prefix}-{kind}" for kind in examples.labels for prefix in "BI")]
        super().__init__(prepare(setup, examples, _Sentences(self.tags), choices))

    @classmethod
    def reads(cls, path: Path, settings: Mapping[str, Any]) -> bool:
        return path.suffix != ".gz"

    def model(self, seed: int) -> Classifier:
        return build_encoder(self._setup.model, **self._sizes(), seed=seed)

    @property
    def spec(self) -> ModelSpec | None:
        if not built_in(self._setup.model, "encoder"):
            return None
        return encoder_spec(self._setup.model, **self._sizes())

    def _sizes(self) -> dict[str, Any]:
        return {
            "vocabulary": self.prepared.tokenizer.vocabulary,
            "longest": self._max_tokens,
            "classes": len(self.tags),
            "head": "token",
            "label_smoothing": self._setup.label_smoothing,
        }

    def evaluate(self, model: SplitModel) -> dict[str, float]:
        """F1 of entities by strict IOB2, by lenient reading of tags, and the mean loss of a word.

        All entities count, those of words that were cut too.
        """
        from collapipe_ns3.learning.models.classifier import Classifier
        from collapipe_ns3.learning.models.evaluation import mean_loss, predict_tags

        assert isinstance(model, Classifier)
        order, batches = self.prepared.evaluation()
        expected, predicted = [], []
        for index, numbers in zip(order, predict_tags(model, batches), strict=True):
            expected.append(self.prepared.evaluated[index].tags)
            tags = ["O"] * len(expected[-1])  # of words without a token too
            for word, number in zip(self.prepared.encoded[index].words, numbers, strict=True):
                tags[word] = self.tags[number]
            predicted.append(tags)
        return {
            "f1": entity_f1(expected, predicted, strict_entities),
            "f1_lenient": entity_f1(expected, predicted, lenient_entities),
            "loss": mean_loss(model, batches),
        }
