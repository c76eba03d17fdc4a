"""Translation of sentences."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from collapipe_ns3.learning.data.examples import Pair
from collapipe_ns3.learning.data.folder import SOURCES, TARGETS, folder_of_pairs
from collapipe_ns3.learning.data.phrase_pairs import phrase_pairs
from collapipe_ns3.learning.data.readers import Columns
from collapipe_ns3.learning.division import length_bins
from collapipe_ns3.learning.models import MODELS, build_translator, built_in, translator_spec
from collapipe_ns3.learning.protocol import BadTask, Metric, Setup
from collapipe_ns3.learning.spec import BOS, EOS, PAD, ModelSpec
from collapipe_ns3.learning.tasks import settings
from collapipe_ns3.learning.tasks.prepared import TextTask, prepare, read_or_generated
from collapipe_ns3.learning.text.encoding import EncodedSet, encode_pairs
from collapipe_ns3.learning.text.metrics import bleu, chrf
from collapipe_ns3.learning.text.tokenizer import SubwordTokenizer

if TYPE_CHECKING:
    from collapipe_ns3.learning.models.translator import Translator
    from collapipe_ns3.learning.split_model import SplitModel

Suffix = Annotated[
    str,
    Field(
        min_length=1,
        description="The end of the names of parallel files, such as en of train.en and "
        "train.en.gz.",
    ),
]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Sentence pairs, grouped by length."""

    def texts(self, example: Pair) -> Iterable[str]:
        return (example.source, example.target)

    def groups(self, examples: Sequence[Pair]) -> Sequence[Hashable]:
        """Bins of the number of words in the source."""
        return length_bins([len(example.source.split()) for example in examples])

    def encode(
        self, examples: Sequence[Pair], tokenizer: SubwordTokenizer, max_tokens: int
    ) -> EncodedSet:
        pairs = ((example.source, example.target) for example in examples)
        return encode_pairs(pairs, tokenizer, max_tokens)


class Translation(TextTask[Pair]):
    """Translation of sentences: number and date phrases into German, or your own sentences.

    `data` is a folder with two files of parallel lines for each split, whose names end with
    `source_suffix` and `target_suffix` (and possibly .gz), or with a CSV, TSV or JSONL file for
    each split with the columns `source_column` and `target_column`. Without it, number and date
    phrases are generated. Both languages share the tokenizer.
    """

    models = tuple(name for name, entry in MODELS.items() if entry.kind == "encoder-decoder")
    metric = Metric("bleu")

    def __init__(
        self,
        setup: Setup,
        data: settings.Data = None,
        source_suffix: Suffix = "en",
        target_suffix: Suffix = "de",
        source_column: settings.Column = None,
        target_column: settings.Column = None,
        origin_column: settings.OriginColumn = None,
        vocabulary: settings.Vocabulary = 4000,
        tokenizer: settings.TokenizerFile = None,
        lower_case: settings.LowerCase = False,
        max_tokens: settings.MaxTokens = 64,
        lengths: settings.LengthsOf = "bucketed",
        cluster_size: settings.ClusterSize = None,
        division: settings.DivisionOf = "iid",
        dirichlet_alpha: settings.DirichletAlpha = 1.0,
        beams: Annotated[
            int,
            Field(ge=1, le=64, description="Beams of the search; 1 decodes greedily."),
        ] = 1,
        evaluate_size: settings.EvaluateSize = 500,
        split: settings.Split = "test",
    ) -> None:
        columns = Columns(
            SOURCES if source_column is None else (source_column,),
            TARGETS if target_column is None else (target_column,),
            origin_column,
        )
        examples = read_or_generated(
            data,
            lambda folder: folder_of_pairs(
                folder, setup.seed, (source_suffix, target_suffix), columns
            ),
            lambda: phrase_pairs(setup.seed),
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
        self._beams = beams
        super().__init__(prepare(setup, examples, _Pairs(), choices))
        self._check_marks("model.checkpoint" if tokenizer is None else "task.tokenizer")

    def _check_marks(self, key: str) -> None:
        """Raises `BadTask` unless targets begin, end and are padded with the models' tokens."""
        made = self.prepared.tokenizer
        found = (made.pad, made.start, made.eos)
        if found != (PAD, BOS, EOS):
            message = (
                f"the tokenizer's numbers for padding, start and end are {found}; translation "
                f"expects {(PAD, BOS, EOS)}"
            )
            raise BadTask(key, message)

    @classmethod
    def reads(cls, path: Path, settings: Mapping[str, Any]) -> bool:
        suffixes = (settings["source_suffix"], settings["target_suffix"])
        return any(path.name.endswith(f".{suffix.removeprefix('.')}") for suffix in suffixes)

    def model(self, seed: int) -> Translator:
        return build_translator(self._setup.model, **self._sizes(), seed=seed)

    @property
    def spec(self) -> ModelSpec | None:
        model = self._setup.model
        return (
            translator_spec(model, **self._sizes()) if built_in(model, "encoder-decoder") else None
        )

    def _sizes(self) -> dict[str, Any]:
        return {
            "source_vocabulary": self.prepared.tokenizer.vocabulary,
            "target_vocabulary": self.prepared.tokenizer.vocabulary,
            "longest": self._max_tokens,
            "label_smoothing": self._setup.label_smoothing,
        }

    def report(self) -> dict[str, Any]:
        signatures = {metric.__name__: metric(["-"], ["-"]).signature for metric in (bleu, chrf)}
        return {**super().report(), "beams": self._beams, "sacrebleu": signatures}

    def evaluate(self, model: SplitModel) -> dict[str, float]:
        """BLEU and chrF (0 to 100), and the mean loss of a target token.

        A translation has at most twice as many tokens as the longest source of its batch, and 10.
        """
        from collapipe_ns3.learning.models.decoding import Beam
        from collapipe_ns3.learning.models.evaluation import mean_loss, translate
        from collapipe_ns3.learning.models.translator import Translator

        assert isinstance(model, Translator)
        order, batches = self.prepared.evaluation()
        beam = Beam(self._beams) if self._beams > 1 else None
        predicted = [
            self.prepared.tokenizer.decode(tokens)
            for batch in batches
            for tokens in translate(
                model, [batch], min(self._max_tokens - 1, 2 * batch.shape.tokens + 10), beam
            )
        ]
        expected = [self.prepared.evaluated[index].target for index in order]
        return {
            "bleu": bleu(predicted, expected).value,
            "chrf": chrf(predicted, expected).value,
            "loss": mean_loss(model, batches),
        }
