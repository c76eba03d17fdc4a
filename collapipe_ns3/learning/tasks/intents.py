"""Classification of sentences, such as the intents of customers' requests."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collapipe_ns3.learning.data.examples import Labelled
from collapipe_ns3.learning.data.folder import LABELS, TEXTS, folder_of_labelled
from collapipe_ns3.learning.data.intents import intents
from collapipe_ns3.learning.data.readers import Columns
from collapipe_ns3.learning.models import MODELS, build_encoder, built_in, encoder_spec, model_name
from collapipe_ns3.learning.protocol import Metric, Setup
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.learning.tasks import settings
from collapipe_ns3.learning.tasks.prepared import (
    TextTask,
    prepare,
    read_or_generated,
    wanted_examples,
)
from collapipe_ns3.learning.text.encoding import EncodedSet, encode_classes
from collapipe_ns3.learning.text.metrics import accuracy, macro_f1
from collapipe_ns3.learning.text.tokenizer import SubwordTokenizer

if TYPE_CHECKING:
    from collapipe_ns3.learning.models.classifier import Classifier
    from collapipe_ns3.learning.split_model import SplitModel

#: Examples in the training split of generated data, if the clusters do not need more.
_GENERATED = 4000


@dataclass(frozen=True, slots=True)
class _Sentences:
    """Sentences of these classes, numbered in order."""

    labels: Sequence[str]

    def texts(self, example: Labelled) -> Iterable[str]:
        return (example.text,)

    def groups(self, examples: Sequence[Labelled]) -> Sequence[Hashable]:
        return [example.label for example in examples]

    def encode(
        self, examples: Sequence[Labelled], tokenizer: SubwordTokenizer, max_tokens: int
    ) -> EncodedSet:
        numbers = {label: number for number, label in enumerate(self.labels)}
        return encode_classes(
            ((example.text, numbers[example.label]) for example in examples), tokenizer, max_tokens
        )


class Intents(TextTask[Labelled]):
    """Classification of sentences: requests of customers by intent, or your own sentences.

    `data` is a folder with a CSV, TSV or JSONL file for each split, with the columns `text_column`
    and `label_column`. Without it, requests of 16 intents are generated.
    """

    models = tuple(name for name, entry in MODELS.items() if entry.kind == "encoder")
    metric = Metric("accuracy")

    def __init__(
        self,
        setup: Setup,
        data: settings.Data = None,
        text_column: settings.Column = None,
        label_column: settings.Column = None,
        origin_column: settings.OriginColumn = None,
        vocabulary: settings.Vocabulary = 2000,
        tokenizer: settings.TokenizerFile = None,
        lower_case: settings.LowerCase = True,
        max_tokens: settings.MaxTokens = 64,
        lengths: settings.LengthsOf = "bucketed",
        cluster_size: settings.ClusterSize = None,
        division: settings.DivisionOf = "iid",
        dirichlet_alpha: settings.DirichletAlpha = 1.0,
        evaluate_size: settings.EvaluateSize = 1000,
        split: settings.Split = "test",
    ) -> None:
        columns = Columns(
            TEXTS if text_column is None else (text_column,),
            LABELS if label_column is None else (label_column,),
            origin_column,
        )
        examples = read_or_generated(
            data,
            lambda folder: folder_of_labelled(folder, setup.seed, columns),
            lambda: intents(setup.seed, max(_GENERATED, wanted_examples(setup, cluster_size))),
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
        # Models that classify by the first token get one that is the same in all sequences.
        marks = (
            model_name(setup.model, "encoder") != "encoder" or setup.model.get("pooling") == "first"
        )
        super().__init__(prepare(setup, examples, _Sentences(examples.labels), choices, marks))

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
            "classes": len(self.prepared.data.labels),
            "head": "sequence",
            "label_smoothing": self._setup.label_smoothing,
        }

    def evaluate(self, model: SplitModel) -> dict[str, float]:
        """Accuracy, F1 averaged over the classes, and the mean loss of a sentence."""
        from collapipe_ns3.learning.models.classifier import Classifier
        from collapipe_ns3.learning.models.evaluation import mean_loss, predict_classes

        assert isinstance(model, Classifier)
        _, batches = self.prepared.evaluation()
        expected = [label for batch in batches for label in batch.labels[0].tolist()]
        predicted = predict_classes(model, batches)
        return {
            "accuracy": accuracy(expected, predicted),
            "macro_f1": macro_f1(expected, predicted),
            "loss": mean_loss(model, batches),
        }
