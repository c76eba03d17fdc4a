"""What the tasks on text have in common: data that is divided over clusters, and encoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from collapipe_ns3.learning.data.examples import DataSet, E, Labelled, Pair, Tagged
from collapipe_ns3.learning.data.folder import digest_of, least_bytes
from collapipe_ns3.learning.data.lines import BadData
from collapipe_ns3.learning.data.readers import table_kind
from collapipe_ns3.learning.division import divide
from collapipe_ns3.learning.models import MODELS, entry
from collapipe_ns3.learning.models.checkpoint_files import missing_files
from collapipe_ns3.learning.protocol import BadTask, Lengths, Setup
from collapipe_ns3.learning.tasks.settings import Choices
from collapipe_ns3.learning.text.encoding import Encoded, EncodedSet
from collapipe_ns3.learning.text.lengths import ClusterBatches, ordered_batches
from collapipe_ns3.learning.text.tokenizer import SubwordTokenizer, load, other_formats, train
from collapipe_ns3.random_streams import stream

if TYPE_CHECKING:
    from collapipe_ns3.learning.batch import Batch

E_contra = TypeVar("E_contra", bound=Pair | Labelled | Tagged, contravariant=True)

#: Sequences in a batch of an evaluation.
EVALUATION_BATCH = 64


class Kind(Protocol[E_contra]):
    """How examples of a task are read by the tokenizer, grouped and encoded."""

    def texts(self, example: E_contra) -> Iterable[str]:
        """The texts on which a tokenizer is trained."""
        ...

    def groups(self, examples: Sequence[E_contra]) -> Sequence[Hashable]:
        """The group of each example, by which the division `dirichlet` makes clusters differ."""
        ...

    def encode(
        self, examples: Sequence[E_contra], tokenizer: SubwordTokenizer, max_tokens: int
    ) -> EncodedSet:
        """Examples in token numbers, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared(Generic[E]):
    """The data of a task, divided over the clusters and encoded.

    `evaluated` are the examples on which models are evaluated, in numbers `encoded`. `lost` counts,
    for the training and the evaluated examples, what was cut because of `max_tokens`. `checkpoint`
    is the folder of the model's weights, if the study names one.
    """

    data: DataSet[E]
    tokenizer: SubwordTokenizer
    tokenizer_from: str
    clusters: ClusterBatches
    evaluated: Sequence[E]
    encoded: Sequence[Encoded]
    lost: Mapping[str, Mapping[str, int]]
    split: str
    checkpoint: Path | None = None

    def evaluation(self) -> tuple[list[int], list[Batch]]:
        """The encoded examples in batches, and the index of the example in each of their rows."""
        found = list(ordered_batches(self.encoded, EVALUATION_BATCH, self.tokenizer.pad))
        return [index for indices, _ in found for index in indices], [batch for _, batch in found]

    def report(self) -> dict[str, Any]:
        """What was read, dropped and cut, as plain data."""
        return {
            **self.data.report.plain(),
            "labels": list(self.data.labels),
            "clusters": [len(examples) for examples in self.clusters.clusters],
            "truncated": {split: counts["truncated"] for split, counts in self.lost.items()},
            "encoded": {split: dict(counts) for split, counts in self.lost.items()},
            "evaluated": {"split": self.split, "examples": len(self.evaluated)},
            "tokenizer": {"from": self.tokenizer_from, "tokens": self.tokenizer.vocabulary},
        }

    def files(self) -> dict[str, bytes]:
        """The tokenizer, and the labels in the order of their numbers where there are any."""
        files = {"tokenizer.json": self.tokenizer.to_json()}
        if self.data.labels:
            files["labels.json"] = json.dumps(list(self.data.labels), indent=1).encode()
        return files

    def digest(self) -> str:
        """A SHA-256 digest of the data, the tokenizer and the checkpoint, in hexadecimal."""
        content = self.data.digest.encode() + self.tokenizer.to_json()
        if self.checkpoint is not None:
            patterns = ("config.json", "*.safetensors", "*.safetensors.index.json")
            files = [file for pattern in patterns for file in self.checkpoint.glob(pattern)]
            content += digest_of(files).encode()
        return hashlib.sha256(content).hexdigest()


class TextTask(Generic[E]):
    """The members of `Learning` that depend only on the prepared data."""

    def __init__(self, prepared: Prepared[E]) -> None:
        self.prepared = prepared

    #: The names of the models that the task can have.
    models: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def problems(cls, setup: Setup, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The study's keys that are wrong, found without reading data; see `registry.Checked`."""
        folder, file = settings["data"], settings["tokenizer"]
        if folder is not None and not Path(folder).expanduser().is_dir():
            yield "task.data", f"there is no folder {folder}"
        if file is not None and not Path(file).expanduser().exists():
            yield "task.tokenizer", f"there is no file {file}"
        sizes = with_cluster_size(setup, settings["cluster_size"]).cluster_sizes
        smallest = min((size for size in sizes if size is not None), default=setup.batch_size)
        if setup.batch_size > smallest:
            what = f"expected at most {smallest}, the examples of a cluster, not {setup.batch_size}"
            yield "training.batch_size", what
        name = setup.model.get("name")
        if name in cls.models:  # others are reported with the names in `models`
            try:
                entry(setup.model, MODELS[name].kind)
                yield from _checkpoint_problems(setup.model.get("checkpoint"), file)
            except BadTask as error:
                yield error.key, str(error)

    @classmethod
    def data_bytes(cls, setup: Setup, settings: Mapping[str, Any]) -> int:
        """A lower bound of the memory that reading the data takes; see `registry.Sized`."""
        folder = settings["data"]
        if folder is None:
            return 0
        return least_bytes(Path(folder).expanduser(), lambda path: cls.reads(path, settings))

    @classmethod
    def reads(cls, path: Path, settings: Mapping[str, Any]) -> bool:
        """Whether a file of a folder of data is read, if its name has the word of a split."""
        return table_kind(path) != "" and path.suffix != ".gz"

    @property
    def shares(self) -> list[float]:
        return self.prepared.clusters.shares

    @property
    def longest(self) -> Lengths:
        return self.prepared.clusters.longest

    def lengths(self, cluster: int) -> Lengths:
        return self.prepared.clusters.lengths(cluster)

    def batches(self, cluster: int, round: int) -> Iterator[Batch]:
        return self.prepared.clusters.batches(cluster, round)

    def report(self) -> dict[str, Any]:
        return self.prepared.report()

    def files(self) -> Mapping[str, bytes]:
        return self.prepared.files()

    def digest(self) -> str:
        return self.prepared.digest()


def prepare(
    setup: Setup, data: DataSet[E], kind: Kind[E], choices: Choices, marks: bool = False
) -> Prepared[E]:
    """Divides the training examples over the clusters, makes the tokenizer, and encodes.

    A trained tokenizer reads only the clusters' examples; with `marks` it adds BOS and EOS to
    every sequence. Raises `BadTask` where a setting does not fit the data.
    """
    with keys_of_the_task():
        parts = divide(
            choices.division,
            _groups(data, kind, choices),
            with_cluster_size(setup, choices.cluster_size),
            choices.dirichlet_alpha,
        )
        used = [data.train[index] for part in parts for index in part]
        tokenizer, tokenizer_from = _tokenizer(
            setup, choices, marks, (text for example in used for text in kind.texts(example))
        )
        encoded = kind.encode(used, tokenizer, choices.max_tokens)
        rest = iter(encoded.examples)
        clusters = ClusterBatches(
            [[next(rest) for _ in part] for part in parts],
            setup.batch_size,
            setup.seed,
            choices.max_tokens,
            choices.lengths,
            tokenizer.pad,
        )
        evaluated = _evaluated(data.split(choices.split), choices.evaluate_size, setup.seed)
        held = kind.encode(evaluated, tokenizer, choices.max_tokens)
    return Prepared(
        data,
        tokenizer,
        tokenizer_from,
        clusters,
        evaluated,
        held.examples,
        {"train": encoded.report(), choices.split: held.report()},
        choices.split,
        _checkpoint(setup),
    )


def _groups(data: DataSet[E], kind: Kind[E], choices: Choices) -> Sequence[Hashable]:
    """What `divide` divides by: the origin of each training example, or its group."""
    if choices.division != "source":
        return kind.groups(data.train)
    origins = [example.origin for example in data.train]
    if not any(origins):
        message = (
            f"{data.report.source} does not say where examples are from; tables do so in a column "
            "named by origin_column, and CoNLL files by rows of -DOCSTART-"
        )
        raise BadTask("division", message)
    return origins


def with_cluster_size(setup: Setup, cluster_size: int | None) -> Setup:
    """The setup with this size for the clusters that have none of their own."""
    sizes = (cluster_size if size is None else size for size in setup.cluster_sizes)
    return replace(setup, cluster_sizes=tuple(sizes))


def wanted_examples(setup: Setup, cluster_size: int | None) -> int:
    """The number of examples that the clusters with a given size have together."""
    return sum(size or 0 for size in with_cluster_size(setup, cluster_size).cluster_sizes)


def read_or_generated(
    folder: str | None, read: Callable[[Path], DataSet[E]], generate: Callable[[], DataSet[E]]
) -> DataSet[E]:
    """The data set in a folder, or a generated one without a folder; raises `BadTask`."""
    if folder is None:
        try:
            return generate()
        except ValueError as error:
            raise BadTask("task.cluster_size", str(error)) from error
    try:
        return read(Path(folder).expanduser())
    except BadData as error:
        raise BadTask("task.data", str(error)) from error


@contextmanager
def keys_of_the_task() -> Iterator[None]:
    """Gives the names of settings in a `BadTask` their place in the study: `task.max_tokens`."""
    try:
        yield
    except BadTask as error:
        if not error.key or "." in error.key:
            raise
        raise BadTask(f"task.{error.key}", str(error)) from error


def _tokenizer(
    setup: Setup, choices: Choices, marks: bool, texts: Iterable[str]
) -> tuple[SubwordTokenizer, str]:
    """The tokenizer, and where it is from."""
    checkpoint = _checkpoint(setup)
    embeddings = None if checkpoint is None else _embeddings(checkpoint)
    if choices.tokenizer is not None:
        return load(Path(choices.tokenizer).expanduser(), embeddings), choices.tokenizer
    if checkpoint is not None:
        return load(checkpoint, embeddings, key="model.checkpoint"), str(checkpoint)
    trained = train(texts, choices.vocabulary, lower_case=choices.lower_case, marks=marks)
    return trained, "trained on the clusters' data"


def _checkpoint_problems(
    checkpoint: str | None, tokenizer: str | None
) -> Iterator[tuple[str, str]]:
    """What the folder of a checkpoint lacks; it needs no tokenizer where the task names one."""
    if checkpoint is None:
        return
    folder = Path(checkpoint).expanduser()
    if message := missing_files(folder):
        yield "model.checkpoint", message
    elif tokenizer is None and not (folder / "tokenizer.json").is_file():
        message = f"{folder} has no file tokenizer.json{other_formats(folder)}"
        yield "model.checkpoint", message


def _checkpoint(setup: Setup) -> Path | None:
    named = setup.model.get("checkpoint")
    return None if named is None else Path(named).expanduser()


def _embeddings(checkpoint: Path) -> int | None:
    """The number of tokens that a checkpoint has, None if it does not say."""
    try:
        config = json.loads((checkpoint / "config.json").read_text())
    except (OSError, ValueError):
        return None  # which building the model reports
    size = config.get("vocab_size") if isinstance(config, dict) else None
    return size if isinstance(size, int) else None


def _evaluated(examples: Sequence[E], size: int | None, seed: int) -> Sequence[E]:
    """At most `size` examples, drawn at random."""
    if size is None or size >= len(examples):
        return examples
    drawn = sorted(stream(seed, "evaluated").permutation(len(examples))[:size])
    return [examples[index] for index in drawn]
