"""Readers of single files: parallel lines, CoNLL, CSV, TSV and JSONL.

Every reader raises `BadData` with all problems of a file, up to `lines.MOST_PROBLEMS`. Empty
lines and empty sentences are dropped and counted, except that an empty line of a CoNLL file ends a
sentence. White space around sentences is removed.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from collapipe_ns3.learning.data.examples import E, Labelled, Pair, Tagged
from collapipe_ns3.learning.data.lines import Problem, bad_file, text_lines
from collapipe_ns3.learning.data.tags import is_tag, to_iob2
from collapipe_ns3.problems import shown

#: The word of CoNLL-2003's rows between documents, which are not sentences.
_DOCUMENT = "-DOCSTART-"

#: Half of a pair that stands for a character in UTF-16; JSON can have one alone, as "\\ud83d".
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Found(Generic[E]):
    """The examples of a file, and the line on which each of them begins."""

    examples: list[E] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    empty: int = 0
    notes: dict[str, int] = field(default_factory=dict)

    def add(self, line: int, example: E) -> None:
        self.lines.append(line)
        self.examples.append(example)


@dataclass(slots=True)
class Table:
    """The rows of a file with named columns, by the line on which each row begins.

    Empty lines are counted; rows that can't be read are problems.
    """

    rows: dict[int, dict[str, str]] = field(default_factory=dict)
    empty: int = 0
    problems: list[Problem] = field(default_factory=list)


def read_parallel(source: Path, target: Path) -> Found[Pair]:
    """Pairs of the lines of two files, which may be gzip files.

    A pair is dropped as empty if either line is. Files with differing numbers of lines are refused.
    """
    sources, targets = text_lines(source), text_lines(target)
    if len(sources) != len(targets):
        message = (
            f"has {len(targets)} lines, but {source.name} has {len(sources)}; line n of one is the "
            "translation of line n of the other"
        )
        raise bad_file(target, [Problem(0, message)])
    found: Found[Pair] = Found()
    for line, pair in enumerate(zip(sources, targets, strict=True), start=1):
        one, other = map(str.strip, pair)
        if one and other:
            found.add(line, Pair(one, other))
        else:
            found.empty += 1
    return _with_examples(source, found)


def read_conll(path: Path) -> Found[Tagged]:
    """Sentences of a CoNLL file: a word a line, with its tag in the last column.

    Columns are separated by a tab, or by white space in a line without tabs; those between word and
    tag are ignored. Lines of white space end a sentence. Rows of `-DOCSTART-` begin a document and
    are left out; a sentence's origin is its document. Tags in IOB1, IOB2, BIOES and BILOU are
    accepted and converted to IOB2 (`tags.to_iob2`).
    """
    found: Found[Tagged] = Found()
    problems = []
    converted = documents = 0
    words: list[str] = []
    tags: list[str] = []
    for line, text in enumerate([*text_lines(path), ""], start=1):
        if not text.strip():
            if words:
                made = to_iob2(tags)
                converted += sum(one != other for one, other in zip(tags, made, strict=True))
                origin = f"document {documents}" if documents else ""
                found.add(line - len(words), Tagged(tuple(words), made, origin))
            words, tags = [], []
            continue
        columns = [column.strip() for column in text.split("\t")] if "\t" in text else text.split()
        word, tag = columns[0], columns[-1]
        if word == _DOCUMENT:
            documents += 1
        elif len(columns) < 2:
            problems.append(Problem(line, f"has one column, {shown(word)}; expected word and tag"))
        elif not word:
            problems.append(Problem(line, f"has no word before its tag {shown(tag)}"))
        elif not is_tag(tag):
            wanted = "O, or B- or I- and a type of entity"
            problems.append(Problem(line, f"has {shown(tag)} as its tag; expected {wanted}"))
        else:
            words.append(word)
            tags.append(tag)
    if problems:
        raise bad_file(path, problems)
    notes = {"tags converted to IOB2": converted, "rows of -DOCSTART-": documents}
    found.notes = {note: count for note, count in notes.items() if count}
    return _with_examples(path, found)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that make an example.

    `first` and `second` are names, of which the table must have exactly one each: of the text and
    the label, or of the source and the target. `origin` is the column of examples' origins.
    """

    first: Sequence[str]
    second: Sequence[str]
    origin: str | None = None


def read_labelled(path: Path, columns: Columns) -> Found[Labelled]:
    """Sentences with classes from a table (CSV, TSV or JSONL, by the file's name).

    Rows without a text are dropped as empty; those with a text and no label are refused.
    """
    return _from_table(path, columns, _labelled)


def read_pairs(path: Path, columns: Columns) -> Found[Pair]:
    """Pairs of sentences from a table (CSV, TSV or JSONL, by the file's name).

    A pair is dropped as empty if either sentence is.
    """
    return _from_table(path, columns, _pair)


def _labelled(text: str, label: str, origin: str) -> Labelled | None:
    if text and not label:
        raise ValueError(f"has no label for {shown(text)}")
    return Labelled(text, label, origin) if text else None


def _pair(source: str, target: str, origin: str) -> Pair | None:
    return Pair(source, target, origin) if source and target else None


def _from_table(
    path: Path, columns: Columns, make: Callable[[str, str, str], E | None]
) -> Found[E]:
    """Examples made of the columns of each row; `make` gives None for an empty one."""
    table = read_table(path)
    found: Found[E] = Found(empty=table.empty)
    problems = list(table.problems)
    wanted = [columns.first, columns.second]
    if columns.origin:
        wanted.append([columns.origin])
    for line, values in table.rows.items():
        try:
            one, other, *origin = (values[name] for name in columns_of(values, wanted))
            example = make(one, other, origin[0] if origin else "")
        except ValueError as error:
            problems.append(Problem(line, str(error)))
            if table_kind(path) != "jsonl" and isinstance(error, BadColumn):
                break  # the header is the same for all rows
            continue
        if example is None:
            found.empty += 1
        else:
            found.add(line, example)
    if problems:
        raise bad_file(path, sorted(problems, key=lambda problem: problem.line))
    return _with_examples(path, found)


class BadColumn(ValueError):
    """A table lacks a column, or has more than one of those that were asked for."""


def columns_of(columns: Iterable[str], wanted: Iterable[Sequence[str]]) -> list[str]:
    """For each of `wanted` the one of its names that is among the columns.

    Raises `BadColumn` with everything that is missing or ambiguous.
    """
    there = list(columns)
    found: list[str] = []
    missing: list[str] = []
    problems: list[str] = []
    for names in wanted:
        present = [name for name in names if name in there]
        found += present
        if not present:
            missing.append(f"no column {' or '.join(map(shown, names))}")
        if len(present) > 1:
            both = " and ".join(map(shown, present))
            problems.append(f"has the columns {both}; name the one to use")
    if missing:
        has = ", ".join(map(shown, there))
        problems.append(f"has {' and '.join(missing)}; there are {has}")
    if problems:
        raise BadColumn("; ".join(problems))
    return found


def table_kind(path: Path) -> str:
    """`csv`, `tsv` or `jsonl` by a file's name, empty for any other."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kinds = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    return kinds.get(suffixes[-1], "") if suffixes else ""


def read_table(path: Path) -> Table:
    """The rows of a table (CSV, TSV or JSONL, by the file's name).

    - CSV has a header. Fields may be in double quotes and then contain line ends.
    - TSV has a header. Quotes are ordinary characters in it.
    - JSONL has an object in each line. Texts and whole numbers are read; other values are ignored.

    A file that can't be separated into rows raises `BadData`.
    """
    lines = text_lines(path)
    match table_kind(path):
        case "csv":
            return _with_header(path, _csv_fields(path, lines))
        case "tsv":
            fields = [line.split("\t") if line.strip() else [] for line in lines]
            return _with_header(path, dict(enumerate(fields, start=1)))
        case "jsonl":
            return _json_table(lines)
        case _:
            raise bad_file(
                path, [Problem(0, "is not a table; its name must end with .csv, .tsv or .jsonl")]
            )


def _csv_fields(path: Path, lines: Sequence[str]) -> dict[int, list[str]]:
    """The fields of each row by the line on which it begins."""
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    rows: dict[int, list[str]] = {}
    begins = 1
    try:
        for fields in reader:
            rows[begins] = fields
            begins = reader.line_num + 1
    except csv.Error as error:
        raise bad_file(path, [Problem(begins, f"is not CSV: {error}")]) from error
    return rows


def _with_header(path: Path, rows: dict[int, list[str]]) -> Table:
    """Rows with the names of the columns, which are the fields of the first row."""
    (line, header), *others = rows.items()
    names = [name.strip() for name in header]
    if not names or not all(names) or len(set(names)) < len(names):
        message = f"the header has empty or repeated names of columns: {shown(', '.join(names))}"
        raise bad_file(path, [Problem(line, message)])
    table = Table()
    for line, fields in others:
        if not any(map(str.strip, fields)):
            table.empty += 1
        elif len(fields) == len(names):
            table.rows[line] = dict(zip(names, map(str.strip, fields), strict=True))
        else:
            message = f"has {len(fields)} fields, but the header has {len(names)}"
            table.problems.append(Problem(line, message))
    return table


def _json_table(lines: Sequence[str]) -> Table:
    table = Table()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            table.empty += 1
            continue
        try:
            values = _json_values(line)
        except (ValueError, RecursionError) as error:
            table.problems.append(Problem(number, f"is not a JSON object: {error}"))
            continue
        if halves := [key for key, text in values.items() if _SURROGATE.search(key + text)]:
            message = f"has half of a surrogate pair in {shown(halves[0])}, which is no character"
            table.problems.append(Problem(number, message))
        else:
            table.rows[number] = values
    return table


def _json_values(line: str) -> dict[str, str]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)}")  # noqa: TRY004  # reported as the errors of json are
    return {
        key: str(item).strip()
        for key, item in value.items()
        if isinstance(item, str | int) and not isinstance(item, bool)
    }


def _with_examples(path: Path, found: Found[E]) -> Found[E]:
    if not found.examples:
        raise bad_file(path, [Problem(0, "has no examples")])
    return found
