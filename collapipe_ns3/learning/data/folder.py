"""Data sets in folders: which file is which split, and what the splits have in common."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from collapipe_ns3.learning.data.examples import (
    SPLITS,
    DataSet,
    E,
    FileReport,
    Labelled,
    Pair,
    ReadReport,
    Tagged,
    labels_of,
)
from collapipe_ns3.learning.data.lines import BadData, Problem, bad_file
from collapipe_ns3.learning.data.readers import (
    Columns,
    Found,
    read_conll,
    read_labelled,
    read_pairs,
    read_parallel,
    table_kind,
)
from collapipe_ns3.random_streams import stream

#: The fraction of the training examples that become the validation split where no file has one.
VALIDATION_SHARE = 0.1

#: Names of the columns of texts, classes and sentence pairs, where the study gives none.
TEXTS = ("text", "sentence", "utterance")
LABELS = ("label", "category", "intent", "class")
SOURCES = ("source", "src")
TARGETS = ("target", "tgt")

#: Words in the names of files that say which split they have, not next to another letter.
_WORDS = {
    "train": "train|training",
    "validation": "validation|valid|val|dev|development",
    "test": "test|testing",
}
_OTHER_LETTERS = r"(?<![a-z])(?:{})(?![a-z])"


@dataclass(frozen=True, slots=True)
class _Part(Generic[E]):
    """What was read for a split, and from which file or pair of files."""

    files: tuple[Path, ...]
    found: Found[E]


def folder_of_pairs(
    folder: Path,
    seed: int,
    suffixes: tuple[str, str],
    columns: Columns | None = None,
) -> DataSet[Pair]:
    """Sentence pairs: two files of parallel lines a split, or one table (CSV, TSV, JSONL).

    The names of parallel files end with the suffixes of source and target, then possibly with
    `.gz`, and are the same otherwise: `train.en.gz` and `train.de.gz`.
    """
    files = _files(folder)
    source, target = ([path for path in files if _ends_with(path, end)] for end in suffixes)
    if not source and not target and (tables := [path for path in files if table_kind(path)]):
        parts = {
            split: _Part((path,), read_pairs(path, columns or Columns(SOURCES, TARGETS)))
            for split, path in _by_split(folder, tables).items()
        }
        return _data_set(folder, seed, parts)
    wanted = f"whose names end with .{suffixes[0]} and .{suffixes[1]} (or these and .gz)"
    if not source or not target:
        raise BadData([f"{folder}: has no pairs of files {wanted}; {_listed(files)}"])
    sources, targets = _by_split(folder, source), _by_split(folder, target)
    if sources.keys() != targets.keys():
        names = ", ".join(sorted(sources.keys() ^ targets.keys()))
        raise BadData([f"{folder}: {names} has one file only; expected two files {wanted}"])
    return _data_set(
        folder,
        seed,
        {
            split: _Part((path, targets[split]), read_parallel(path, targets[split]))
            for split, path in sources.items()
        },
    )


def folder_of_labelled(
    folder: Path, seed: int, columns: Columns | None = None
) -> DataSet[Labelled]:
    """Sentences with classes: one table (CSV, TSV, JSONL) a split."""
    files = _files(folder)
    tables = [path for path in files if table_kind(path)]
    if not tables:
        raise BadData([f"{folder}: has no .csv, .tsv or .jsonl file; {_listed(files)}"])
    return _data_set(
        folder,
        seed,
        {
            split: _Part((path,), read_labelled(path, columns or Columns(TEXTS, LABELS)))
            for split, path in _by_split(folder, tables).items()
        },
    )


def folder_of_tagged(folder: Path, seed: int) -> DataSet[Tagged]:
    """Sentences with tags of entities: one CoNLL file a split, whatever its name ends with."""
    return _data_set(
        folder,
        seed,
        {
            split: _Part((path,), read_conll(path))
            for split, path in _by_split(folder, _files(folder)).items()
        },
    )


def least_bytes(folder: Path, is_read: Callable[[Path], bool]) -> int:
    """A lower bound of the memory that reading a folder takes, found without reading it.

    Of the files for which `is_read` is true, the largest is held as bytes, as the bytes of its
    rows, and as lines, of which a character takes half as much as in UTF-8 at least. 0 without such
    files, and where the folder can't be read.
    """
    words = "|".join(_WORDS.values())
    with_split = re.compile(_OTHER_LETTERS.format(words), re.IGNORECASE)
    try:
        read = [path for path in _files(folder) if is_read(path) and with_split.search(path.name)]
        return max((path.stat().st_size for path in read), default=0) * 5 // 2
    except (BadData, OSError):
        return 0  # which reading reports


def digest_of(files: Iterable[Path]) -> str:
    """A SHA-256 digest of the names and bytes of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    """The files of a folder in the order of their names, without hidden ones."""
    if not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise BadData([f"{folder}: {kind}; expected a folder with files of data"])
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")


def _ends_with(path: Path, suffix: str) -> bool:
    return path.name.removesuffix(".gz").endswith(f".{suffix.removeprefix('.')}")


def _by_split(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    """The file of each split by the words in its name; validation may be missing."""
    found: dict[str, Path] = {}
    for split in SPLITS:
        word = re.compile(_OTHER_LETTERS.format(_WORDS[split]), re.IGNORECASE)
        match [path for path in files if word.search(path.name)]:
            case [path]:
                found[split] = path
            case []:
                if split != "validation":
                    words = _WORDS[split].split("|")[0]
                    raise BadData(
                        [f"{folder}: no file has the word {words!r} in its name; {_listed(files)}"]
                    )
            case several:
                names = ", ".join(path.name for path in several)
                raise BadData([f"{folder}: several files for the split {split}: {names}; keep one"])
    if len(set(found.values())) < len(found):
        names = ", ".join(f"{path.name} for {split}" for split, path in found.items())
        raise BadData([f"{folder}: one file is taken for two splits: {names}"])
    return found


def _listed(files: Sequence[Path]) -> str:
    names = [path.name for path in files]
    shown = ", ".join(names[:20])
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"there are {shown}{more}" if names else "it is empty"


def _data_set(folder: Path, seed: int, parts: Mapping[str, _Part[E]]) -> DataSet[E]:
    """The data set of the files of a folder.

    Without a validation file, `VALIDATION_SHARE` of the training examples are drawn for it. An
    example whose sentence is also in a later split is dropped from the earlier one, in the order
    train, validation, test. Labels that no training example has are refused.
    """
    labels = labels_of(parts["train"].found.examples)
    _check_labels(labels, parts)
    splits: dict[str, Sequence[E]] = {split: part.found.examples for split, part in parts.items()}
    held_out = 0
    if "validation" not in splits:
        splits["train"], splits["validation"] = _held_out(splits["train"], seed)
        held_out = len(splits["validation"])
    kept, duplicates = _without_duplicates(splits)
    if empty := [split for split in SPLITS if not kept[split]]:
        raise BadData(
            [f"{folder}: {split} has no examples but those of later splits" for split in empty]
        )
    report = ReadReport(
        str(folder),
        tuple(
            FileReport(
                " and ".join(path.name for path in part.files),
                split,
                sum(path.stat().st_size for path in part.files),
                len(part.found.examples),
                part.found.empty,
                part.found.notes,
            )
            for split, part in parts.items()
        ),
        {split: len(kept[split]) for split in SPLITS},
        held_out,
        duplicates,
    )
    files = [path for part in parts.values() for path in part.files]
    return DataSet(
        kept["train"], kept["validation"], kept["test"], labels, report, digest_of(files)
    )


def _check_labels(labels: Sequence[str], parts: Mapping[str, _Part[E]]) -> None:
    known = set(labels)
    train = parts["train"].files[0].name
    for part in parts.values():
        problems = [
            Problem(line, f"has the label {label!r}, which no example of {train} has")
            for line, example in zip(part.found.lines, part.found.examples, strict=True)
            for label in labels_of([example])
            if label not in known
        ]
        if problems:
            raise bad_file(part.files[0], problems)


def _held_out(examples: Sequence[E], seed: int) -> tuple[list[E], list[E]]:
    """The examples without those that were drawn for validation, and these."""
    count = max(1, round(len(examples) * VALIDATION_SHARE))
    order = stream(seed, "validation").permutation(len(examples))
    drawn, rest = sorted(order[:count]), sorted(order[count:])
    return [examples[i] for i in rest], [examples[i] for i in drawn]


def _without_duplicates(
    splits: Mapping[str, Sequence[E]],
) -> tuple[dict[str, Sequence[E]], dict[str, int]]:
    """The examples of each split whose sentence no later split has, and how many others it had."""
    later: set[str | tuple[str, ...]] = set()
    kept: dict[str, Sequence[E]] = {}
    for split in reversed(SPLITS):
        kept[split] = [example for example in splits[split] if example.given not in later]
        later.update(example.given for example in splits[split])
    return kept, {split: len(splits[split]) - len(kept[split]) for split in SPLITS}
