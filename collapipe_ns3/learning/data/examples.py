"""Examples of the three kinds of tasks on text, in splits, and the report of how they were read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Generic, TypeVar

#: The splits of a data set, in the order in which they are listed.
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence and its translation. `origin` is as that of `Labelled`."""

    source: str
    target: str
    origin: str = field(default="", compare=False)

    @property
    def given(self) -> str:
        """What the model is given; two examples that share it are duplicates."""
        return self.source


@dataclass(frozen=True, slots=True)
class Labelled:
    """A sentence and its class.

    `origin` names where it is from, such as its author or document, empty where that is unknown.
    """

    text: str
    label: str
    origin: str = field(default="", compare=False)

    @property
    def given(self) -> str:
        """What the model is given; two examples that share it are duplicates."""
        return self.text


@dataclass(frozen=True, slots=True)
class Tagged:
    """The words of a sentence and a tag in IOB2 for each. `origin` is as that of `Labelled`."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    origin: str = field(default="", compare=False)

    @property
    def given(self) -> tuple[str, ...]:
        """What the model is given; two examples that share it are duplicates."""
        return self.words


Example = Pair | Labelled | Tagged
E = TypeVar("E", bound=Pair | Labelled | Tagged)


@dataclass(frozen=True, slots=True)
class FileReport:
    """A file that was read.

    `examples` were kept and `empty` were dropped because they are empty lines, or have an empty
    sentence. `notes` count what was changed while reading: tags converted to IOB2, for example.
    """

    name: str
    split: str
    bytes: int
    examples: int
    empty: int
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What was read, and what was left out.

    `examples` counts those in each split that are used. `held_out` of the training examples became
    the validation split, which had no file. `duplicates` counts, for each split, the examples that
    were dropped because a later split has the same sentence. `truncated` counts, for each split,
    the examples that were longer than the model and lost their end.
    """

    source: str
    files: tuple[FileReport, ...]
    examples: Mapping[str, int]
    held_out: int = 0
    duplicates: Mapping[str, int] = field(default_factory=dict)
    truncated: Mapping[str, int] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Lists, mappings, texts and numbers, for the manifest of a run."""
        return {**asdict(self), "files": [asdict(file) for file in self.files]}


@dataclass(frozen=True, slots=True)
class DataSet(Generic[E]):
    """The examples of a task in splits; no sentence is in two of them.

    `labels` are the classes, or the types of entities, of all training examples, sorted; there are
    none in pairs of sentences. `digest` is a SHA-256 digest of the data, in hexadecimal.
    """

    train: Sequence[E]
    validation: Sequence[E]
    test: Sequence[E]
    labels: Sequence[str]
    report: ReadReport
    digest: str

    def split(self, name: str) -> Sequence[E]:
        """A split by its name."""
        by_name = {"train": self.train, "validation": self.validation, "test": self.test}
        return by_name[name]


def generated(source: str, splits: Mapping[str, Sequence[E]], labels: Sequence[str]) -> DataSet[E]:
    """A data set that no file was read for; `source` names what made it."""
    content = {name: [astuple(example) for example in splits[name]] for name in SPLITS}
    return DataSet(
        splits["train"],
        splits["validation"],
        splits["test"],
        labels,
        ReadReport(source, (), {name: len(splits[name]) for name in SPLITS}),
        hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
    )


def labels_of(examples: Sequence[E]) -> list[str]:
    """The classes, or the types of entities, in examples, sorted."""
    found: set[str] = set()
    for example in examples:
        if isinstance(example, Labelled):
            found.add(example.label)
        elif isinstance(example, Tagged):
            found.update(tag[2:] for tag in example.tags if tag != "O")
    return sorted(found)
