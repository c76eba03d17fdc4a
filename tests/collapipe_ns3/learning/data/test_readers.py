"""Readers of single files: what they accept, and the messages for what they refuse."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.learning.data.examples import Labelled, Pair, Tagged
from collapipe_ns3.learning.data.lines import MOST_PROBLEMS, BadData, content, text_lines
from collapipe_ns3.learning.data.readers import (
    Columns,
    read_conll,
    read_labelled,
    read_pairs,
    read_parallel,
)
from collapipe_ns3.learning.data.tags import to_iob2

COLUMNS = Columns(("text",), ("label",))

#: Sentences as they are after reading: without line ends, outer white space and NUL.
SENTENCES = st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(str.strip).filter(bool)
WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1)


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problems(read: Callable[[], object]) -> list[str]:
    with pytest.raises(BadData) as bad:
        read()
    return list(bad.value.problems)


# --- Lines and encodings ---------------------------------------------------------------------


def test_byte_order_marks_and_line_ends_are_removed(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", b"\xef\xbb\xbfone\r\ntwo\n\nfour")
    assert text_lines(path) == ["one", "two", "", "four"]


def test_only_line_feeds_separate_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "one\u2028still\u0085one\ntwo\n")
    assert text_lines(path) == ["one\u2028still\u0085one", "two"]


def test_latin_1_is_refused_with_its_lines_and_how_to_convert_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a.de", "gut\nschön\nfür\n".encode("latin-1"))
    first, second = problems(lambda: text_lines(path))
    assert first.startswith("a.de:2: is not UTF-8 at byte 4 (0xf6)")
    assert "'schön'" in first
    assert "iconv -f LATIN1 -t UTF-8" in first
    assert second.startswith("a.de:3: ")


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("a.txt", b"", "a.txt: is empty"),
        ("a.txt", b"\xef\xbb\xbf\r\n \n", "a.txt: is empty"),
        ("a.txt", b"one\ntw\0o\n", "a.txt:2: has a NUL byte at position 3"),
        ("a.txt", "one".encode("utf-16"), "a.txt:1: is UTF-16"),
        ("a.txt", b"one\rtwo\r", "a.txt:1: has lines that end with CR only"),
        ("a.txt", gzip.compress(b"one", mtime=0), "a.txt: is a gzip file, but its name lacks .gz"),
        ("a.gz", b"one\n", "a.gz: is not a complete gzip file"),
        ("a.gz", gzip.compress(b"one" * 99, mtime=0)[:-9], "a.gz: is not a complete gzip file"),
        (
            "a.gz",
            gzip.compress(b"one" * 99, mtime=0)[:12] + b"\xff" * 20,
            "a.gz: is not a complete gzip",
        ),
    ],
)
def test_files_that_are_no_text_are_refused(
    tmp_path: Path, name: str, raw: bytes, message: str
) -> None:
    path = written(tmp_path, name, raw)
    (problem,) = problems(lambda: text_lines(path))
    assert problem.startswith(message)


def test_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    assert problems(lambda: content(tmp_path)) == [
        f"{tmp_path.name}: can't be read: Is a directory"
    ]


def test_many_problems_are_listed_up_to_a_bound(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", "word\n" * 50)
    listed = problems(lambda: read_conll(path))
    assert len(listed) == MOST_PROBLEMS + 1
    assert listed[-1] == "a.conll: and 40 more problems"


# --- Parallel lines --------------------------------------------------------------------------


@given(st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1), st.booleans(), st.booleans())
@settings(max_examples=50, deadline=None)
def test_pairs_of_lines_are_read_as_they_were_written(
    pairs: list[tuple[str, str]], zipped: bool, windows: bool
) -> None:
    end = "\r\n" if windows else "\n"
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for side, name in enumerate(("a.en", "a.de")):
            raw = "".join(pair[side] + end for pair in pairs).encode()
            name += ".gz" if zipped else ""
            paths.append(written(Path(folder), name, gzip.compress(raw) if zipped else raw))
        found = read_parallel(*paths)
    assert found.examples == [Pair(*pair) for pair in pairs]
    assert found.lines == list(range(1, len(pairs) + 1))


def test_pairs_with_an_empty_side_are_dropped_and_counted(tmp_path: Path) -> None:
    source = written(tmp_path, "a.en", "one\n\nthree\n \nfive\n")
    target = written(tmp_path, "a.de", "eins\nzwei\n\n\nfünf\n")
    found = read_parallel(source, target)
    assert found.examples == [Pair("one", "eins"), Pair("five", "fünf")]
    assert found.lines == [1, 5]
    assert found.empty == 3


def test_differing_numbers_of_lines_are_refused(tmp_path: Path) -> None:
    source = written(tmp_path, "a.en", "one\ntwo\n")
    target = written(tmp_path, "a.de", "eins\n")
    (problem,) = problems(lambda: read_parallel(source, target))
    assert problem.startswith("a.de: has 1 lines, but a.en has 2")


# --- CoNLL -----------------------------------------------------------------------------------


@given(
    st.lists(
        st.lists(st.tuples(WORDS, st.sampled_from(["O", "B-x", "B-y"])), min_size=1), min_size=1
    ),
    st.sampled_from(["\t", " ", "\tNN\t", " NN "]),
)
@settings(max_examples=50, deadline=None)
def test_sentences_are_read_as_they_were_written(
    sentences: list[list[tuple[str, str]]], between: str
) -> None:
    text = "\n\n".join("\n".join(between.join(row) for row in rows) for rows in sentences)
    with tempfile.TemporaryDirectory() as folder:
        found = read_conll(written(Path(folder), "a.conll", text))
    assert [list(zip(s.words, s.tags, strict=True)) for s in found.examples] == sentences
    lines = text.split("\n")
    assert [lines[line - 1] for line in found.lines] == [between.join(s[0]) for s in sentences]


def test_lines_of_white_space_end_a_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", "\n\nEva\tB-per\n\t\n\n \nruns\tO\r\n.\tO")
    found = read_conll(path)
    assert found.examples == [Tagged(("Eva",), ("B-per",)), Tagged(("runs", "."), ("O", "O"))]
    assert found.lines == [3, 7]


def test_rows_between_documents_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", "-DOCSTART- -X- O O\n\nEva NNP I-NP I-PER\nruns VB O O\n")
    found = read_conll(path)
    assert found.examples == [Tagged(("Eva", "runs"), ("B-PER", "O"))]
    assert found.notes == {"tags converted to IOB2": 1, "rows of -DOCSTART-": 1}


def test_malformed_rows_are_all_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a.conll", "Eva\tB-per\nruns\n\tO\nfast\tX-per\nnow\tB-\nhere\t\n")
    assert problems(lambda: read_conll(path)) == [
        "a.conll:2: has one column, 'runs'; expected word and tag",
        "a.conll:3: has no word before its tag 'O'",
        "a.conll:4: has 'X-per' as its tag; expected O, or B- or I- and a type of entity",
        "a.conll:5: has 'B-' as its tag; expected O, or B- or I- and a type of entity",
        "a.conll:6: has '' as its tag; expected O, or B- or I- and a type of entity",
    ]


@pytest.mark.parametrize(
    ("tags", "converted"),
    [
        ("O B-x I-x B-x O", "O B-x I-x B-x O"),  # IOB2
        ("I-x I-x B-x I-y O I-x", "B-x I-x B-x B-y O B-x"),  # IOB1
        ("B-x I-x E-x S-y S-y O", "B-x I-x I-x B-y B-y O"),  # BIOES
        ("B-x I-x L-x U-y U-y O", "B-x I-x I-x B-y B-y O"),  # BILOU
        ("B-x E-x I-x S-x E-x", "B-x I-x B-x B-x B-x"),
    ],
)
def test_tags_are_converted_to_iob2(tags: str, converted: str) -> None:
    assert to_iob2(tags.split()) == tuple(converted.split())


@given(st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y", "E-x", "S-y"])))
def test_converted_tags_are_iob2_and_are_not_changed_again(tags: list[str]) -> None:
    made = to_iob2(tags)
    for before, tag in zip(("O", *made), made, strict=False):
        assert tag == "O" or tag[0] == "B" or before[2:] == tag[2:]
    assert to_iob2(made) == made


# --- Tables ----------------------------------------------------------------------------------


def as_csv(rows: list[tuple[str, str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("text", "label"), *rows])
    return text.getvalue()


def as_tsv(rows: list[tuple[str, str]]) -> str:
    return "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows])


def as_jsonl(rows: list[tuple[str, str]]) -> str:
    return "".join(json.dumps({"text": t, "label": b, "n": [1]}) + "\n" for t, b in rows)


@given(
    st.lists(st.tuples(SENTENCES, SENTENCES), min_size=1),
    st.sampled_from([("a.csv", as_csv), ("a.tsv", as_tsv), ("a.jsonl", as_jsonl)]),
)
@settings(max_examples=100, deadline=None)
def test_tables_are_read_as_they_were_written(
    rows: list[tuple[str, str]], form: tuple[str, Callable[[list[tuple[str, str]]], str]]
) -> None:
    name, write = form
    with tempfile.TemporaryDirectory() as folder:
        found = read_labelled(written(Path(folder), name, write(rows)), COLUMNS)
    assert found.examples == [Labelled(*row) for row in rows]


def test_a_field_in_quotes_may_have_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'id,text,label\r\n1,"a\r\nb",x\r\n2,c,y\r\n')
    found = read_labelled(path, COLUMNS)
    assert found.examples == [Labelled("a\nb", "x"), Labelled("c", "y")]
    assert found.lines == [2, 4]


def test_quotes_are_ordinary_characters_in_tsv(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", 'text\tlabel\n"quoted\tx\n')
    assert read_labelled(path, COLUMNS).examples == [Labelled('"quoted', "x")]


def test_whole_numbers_may_be_labels_in_json(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"text": "one", "label": 1}\n')
    assert read_labelled(path, COLUMNS).examples == [Labelled("one", "1")]


def test_compressed_tables_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv.gz", gzip.compress(b"text,label\none,x\n"))
    assert read_labelled(path, COLUMNS).examples == [Labelled("one", "x")]


def test_empty_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "text,label\none,x\n\n,\n ,y\ntwo,x\n")
    found = read_labelled(path, COLUMNS)
    assert len(found.examples) == 2
    assert found.empty == 3


def test_pairs_with_an_empty_side_in_a_table_are_dropped_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", "en\tde\none\teins\ntwo\t\n\tdrei\n")
    found = read_pairs(path, Columns(("en",), ("de",)))
    assert found.examples == [Pair("one", "eins")]
    assert found.empty == 2


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "a.csv",
            "text,kind\na,x\nb,y\n",
            ["a.csv:2: has no column 'label'; there are 'text', 'kind'"],
        ),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": "b", "label": "y"}\n{"label": "y"}\n',
            [
                "a.jsonl:1: has no column 'label'; there are 'text'",
                "a.jsonl:3: has no column 'text'; there are 'label'",
            ],
        ),
        (
            "a.csv",
            "text,label\na,x,y\nb\nc,z\n",
            [
                "a.csv:2: has 3 fields, but the header has 2",
                "a.csv:3: has 1 fields, but the header has 2",
            ],
        ),
        ("a.csv", "text,label\na,x\nb,\n", ["a.csv:3: has no label for 'b'"]),
        ("a.csv", 'text,label\na,x\n"b,y\nc,z\n', ["a.csv:3: is not CSV: unexpected end of data"]),
        ("a.csv", 'text,label\n"a"b,x\n', ["a.csv:2: is not CSV: ',' expected after '\"'"]),
        (
            "a.csv",
            "text,text\na,x\n",
            ["a.csv:1: the header has empty or repeated names of columns: 'text, text'"],
        ),
        (
            "a.csv",
            "\ntext,label\na,x\n",
            ["a.csv:1: the header has empty or repeated names of columns: ''"],
        ),
        ("a.csv", "text,label\n\n", ["a.csv: has no examples"]),
        (
            "a.jsonl",
            '{"text": "a", "label": "x"}\n[1]\n{"text": \n',
            [
                "a.jsonl:2: is not a JSON object: [1]",
                "a.jsonl:3: is not a JSON object: Expecting value: line 1 column 10 (char 9)",
            ],
        ),
        (
            "a.jsonl",
            '{"text": "a", "label": "x"}\n{"text": "b\\ud83d", "label": "x"}\n',
            ["a.jsonl:2: has half of a surrogate pair in 'text', which is no character"],
        ),
        (
            "a.txt",
            "text,label\na,x\n",
            ["a.txt: is not a table; its name must end with .csv, .tsv or .jsonl"],
        ),
    ],
)
def test_faults_of_tables_are_named_by_line(
    tmp_path: Path, name: str, text: str, expected: list[str]
) -> None:
    path = written(tmp_path, name, text)
    assert problems(lambda: read_labelled(path, COLUMNS)) == expected


def test_a_column_may_have_one_of_several_names_but_not_two(tmp_path: Path) -> None:
    either = Columns(("text",), ("label", "category"))
    path = written(tmp_path, "a.csv", "text,category\na,x\n")
    assert read_labelled(path, either).examples == [Labelled("a", "x")]
    both = written(tmp_path, "b.csv", "text,category,label\na,x,y\n")
    assert problems(lambda: read_labelled(both, either)) == [
        "b.csv:2: has the columns 'label' and 'category'; name the one to use"
    ]


def test_the_origin_of_an_example_is_read_from_its_column(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "text,label,user\na,x,eva\nb,y,\n")
    found = read_labelled(path, Columns(("text",), ("label",), "user"))
    assert [example.origin for example in found.examples] == ["eva", ""]
    assert problems(lambda: read_labelled(path, Columns(("text",), ("label",), "who"))) == [
        "a.csv:2: has no column 'who'; there are 'text', 'label', 'user'"
    ]


def test_the_origin_of_a_sentence_is_its_document(tmp_path: Path) -> None:
    mark = "-DOCSTART- O\n\n"
    path = written(tmp_path, "a.conll", f"{mark}one O\n\ntwo O\n\n{mark}three O\n")
    origins = [example.origin for example in read_conll(path).examples]
    assert origins == ["document 1", "document 1", "document 2"]


PIECES = [b"text", b"label", b",", b"\t", b"\n", b"\r\n", b'"', b"{", b"}", b":", b"[", b"1"]
PIECES += [b"\xff", b"\0", b"\xc3\xa4", b" ", b"O", b"B-x", b"\r", b"\xef\xbb\xbf", b"null", b"\\"]


@given(
    st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=60),
    st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.conll", "a.csv.gz"]),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_file_is_read_or_refused(raw: bytes, name: str, headed: bool) -> None:
    if headed and not name.endswith("conll"):
        raw = (b"text\tlabel\n" if "tsv" in name else b"text,label\n") + raw
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), name, raw)
        refused: tuple[str, ...] = (name,)
        try:
            if name.endswith("conll"):
                assert read_conll(path).examples
            else:
                assert read_labelled(path, COLUMNS).examples
        except BadData as bad:
            refused = bad.problems
    assert all(problem.startswith(name) for problem in refused)
    assert 1 <= len(refused) <= MOST_PROBLEMS + 1
