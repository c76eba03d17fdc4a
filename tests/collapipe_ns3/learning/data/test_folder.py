"""Folders of data: which file is which split, labels, duplicates, reports, and the real sets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from collapipe_ns3.learning.data.examples import Labelled, Pair
from collapipe_ns3.learning.data.folder import (
    folder_of_labelled,
    folder_of_pairs,
    folder_of_tagged,
)
from collapipe_ns3.learning.data.lines import BadData
from collapipe_ns3.learning.data.readers import Columns

EN_DE = ("en", "de")


def filled(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def table(*rows: tuple[str, str]) -> str:
    return "".join(f"{text},{label}\n" for text, label in [("text", "label"), *rows])


TRAIN = table(*((f"sentence {i}", "xy"[i % 2]) for i in range(50)))


def problems(folder: Path) -> str:
    with pytest.raises(BadData) as bad:
        folder_of_labelled(folder, 1)
    return "\n".join(bad.value.problems).replace(str(folder), "DIR")


@pytest.mark.parametrize("name", ["val.csv", "my_valid-2.csv", "x.dev.csv", "Validation.CSV"])
def test_splits_are_found_by_words_in_the_names_of_files(tmp_path: Path, name: str) -> None:
    filled(tmp_path, {"train.csv": TRAIN, name: table(("a", "x")), "test.csv": table(("b", "y"))})
    filled(tmp_path, {"latest.md": "", "categories.json": "[]", ".train.csv.swp": ""})
    data = folder_of_labelled(tmp_path, 1)
    assert len(data.train) == 50
    assert data.validation == [Labelled("a", "x")]
    assert data.test == [Labelled("b", "y")]
    assert data.labels == ["x", "y"]
    assert data.split("validation") is data.validation


def test_a_tenth_of_the_training_examples_is_held_out_for_validation(tmp_path: Path) -> None:
    filled(tmp_path, {"train.csv": TRAIN, "test.csv": table(("b", "y"))})
    data, again, other = (folder_of_labelled(tmp_path, seed) for seed in (1, 1, 2))
    assert (len(data.train), len(data.validation)) == (45, 5)
    assert not set(data.train) & set(data.validation)
    assert data.validation == again.validation != other.validation
    assert data.report.held_out == 5


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"test.csv": TRAIN}, "DIR: no file has the word 'train' in its name; there are test.csv"),
        ({"latest.csv": TRAIN, "train.csv": TRAIN}, "DIR: no file has the word 'test' in its name"),
        ({}, "DIR: has no .csv, .tsv or .jsonl file; it is empty"),
        (
            {"train.csv": TRAIN, "train.tsv": TRAIN, "test.csv": TRAIN},
            "DIR: several files for the split train: train.csv, train.tsv; keep one",
        ),
        (
            {"train-dev.csv": TRAIN, "test.csv": TRAIN},
            "DIR: one file is taken for two splits: train-dev.csv for train, train-dev.csv for",
        ),
        (
            {"train.csv": TRAIN, "test.csv": table(("a", "x"), ("b", "z"))},
            "test.csv:3: has the label 'z', which no example of train.csv has",
        ),
        (
            {"train.csv": TRAIN, "val.csv": table(("a", "z")), "test.csv": table(("a", "x"))},
            "val.csv:2: has the label 'z', which no example of train.csv has",
        ),
        (
            {"train.csv": TRAIN, "val.csv": table(("a", "x")), "test.csv": TRAIN},
            "DIR: train has no examples but those of later splits",
        ),
    ],
)
def test_folders_that_do_not_fit_are_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    assert problems(filled(tmp_path, files)).startswith(message)


def test_a_folder_must_be_one(tmp_path: Path) -> None:
    assert problems(tmp_path / "none").startswith(
        "DIR: does not exist; expected a folder with files of data"
    )
    (tmp_path / "file").touch()
    assert problems(tmp_path / "file").startswith("DIR: is not a folder")


def test_sentences_of_later_splits_are_dropped_and_counted(tmp_path: Path) -> None:
    filled(
        tmp_path,
        {
            "train.csv": table(("a", "x"), ("b", "y"), ("c", "x"), ("c", "x")),
            "val.csv": table(("b", "x"), ("d", "x")),
            "test.csv": table((" a", "y"), ("d", "y"), ("e", "y")),
        },
    )
    data = folder_of_labelled(tmp_path, 1)
    assert data.train == [Labelled("c", "x")] * 2
    assert data.validation == [Labelled("b", "x")]
    assert len(data.test) == 3
    assert data.report.duplicates == {"train": 2, "validation": 1, "test": 0}


def test_the_report_is_plain_data_and_counts_everything(tmp_path: Path) -> None:
    filled(tmp_path, {"train.csv": TRAIN + ",\n\n", "test.csv": table(("b", "y"))})
    plain = folder_of_labelled(tmp_path, 1).report.plain()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["source"] == str(tmp_path)
    assert plain["files"][0] == {
        "name": "train.csv",
        "split": "train",
        "bytes": len(TRAIN) + 3,
        "examples": 50,
        "empty": 2,
        "notes": {},
    }
    assert plain["examples"] == {"train": 45, "validation": 5, "test": 1}


def test_the_digest_changes_with_any_byte_that_is_read(tmp_path: Path) -> None:
    filled(tmp_path, {"train.csv": TRAIN, "test.csv": table(("b", "y"))})
    first = folder_of_labelled(tmp_path, 1).digest
    filled(tmp_path, {"notes.md": "not read"})
    assert folder_of_labelled(tmp_path, 2).digest == first
    filled(tmp_path, {"test.csv": table(("b", "x"))})
    assert folder_of_labelled(tmp_path, 1).digest != first


def test_parallel_files_are_paired_by_split(tmp_path: Path) -> None:
    lines = "".join(f"{i}\n" for i in range(20))
    files = {"train.en": lines, "train.de": lines, "test_16.de": "x\n", "test_16.en": "y\n"}
    data = folder_of_pairs(filled(tmp_path, files), 1, EN_DE)
    assert data.test == [Pair("y", "x")]
    assert data.report.files[1].name == "test_16.en and test_16.de"
    assert data.labels == []
    with pytest.raises(BadData, match=r"has no pairs of files whose names end with \.en and \.fr"):
        folder_of_pairs(tmp_path, 1, ("en", "fr"))
    (tmp_path / "val.en").write_text("z\n")
    with pytest.raises(BadData, match="validation has one file only"):
        folder_of_pairs(tmp_path, 1, EN_DE)


def test_sentence_pairs_may_be_in_tables(tmp_path: Path) -> None:
    rows = "".join(f'{{"en": "{i}", "de": "{i}"}}\n' for i in range(20))
    files = {"train.jsonl": rows, "test.jsonl": '{"en": "y", "de": "x"}\n'}
    data = folder_of_pairs(filled(tmp_path, files), 1, EN_DE, Columns(("en",), ("de",)))
    assert data.test == [Pair("y", "x")]


def test_types_of_entities_unknown_to_training_are_refused(tmp_path: Path) -> None:
    train = "Eva\tB-per\n\n" * 5
    filled(tmp_path, {"train.conll": train, "a.test": "It\tO\nworks\tO\n\nBonn\tB-loc\n"})
    with pytest.raises(BadData, match=r"a\.test:4: has the label 'loc'"):
        folder_of_tagged(tmp_path, 1)


# --- The real sets ---------------------------------------------------------------------------


def real(name: str) -> Path:
    folder = os.environ.get("COLLAPIPE_DATA")
    if not folder:
        pytest.skip("COLLAPIPE_DATA names no folder with the real data sets")
    return Path(folder) / name


def test_banking77_is_read() -> None:
    data = folder_of_labelled(real("banking77"), 1)
    assert data.report.examples == {"train": 8997, "validation": 999, "test": 3080}
    assert data.report.duplicates == {"train": 6, "validation": 1, "test": 0}
    assert len(data.labels) == 77


def test_multi30k_is_read() -> None:
    data = folder_of_pairs(real("multi30k"), 1, EN_DE)
    assert data.report.examples == {"train": 28_999, "validation": 1014, "test": 1000}


def test_wnut17_is_read() -> None:
    data = folder_of_tagged(real("wnut17"), 1)
    assert data.report.examples == {"train": 3394, "validation": 1009, "test": 1287}
    assert data.report.files[0].notes == {}
    assert len(data.labels) == 6
