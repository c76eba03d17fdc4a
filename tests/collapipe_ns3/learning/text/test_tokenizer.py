"""Sub-word tokenizers: any text comes back, training repeats, and bad files are named."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import BOS, EOS, PAD
from collapipe_ns3.learning.text import tokenizer as tokenizers
from collapipe_ns3.learning.text.tokenizer import SMALLEST_VOCABULARY, SubwordTokenizer

TEXTS = [
    "the house is small , the mouse is smaller",
    "das Haus ist klein , die Maus ist kleiner",
    "größere Häuser stehen am Fluss",
] * 3
MADE = tokenizers.train(TEXTS, 310)
MARKED = tokenizers.train(TEXTS, 310, lower_case=True, marks=True)

#: Text that can be encoded as UTF-8.
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def foreign(**names: int) -> bytes:
    """A tokenizer of whole words, with special tokens as in BERT, that adds [CLS] and [SEP]."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    vocabulary = {"[PAD]": 3, "[CLS]": 101, "[SEP]": 102, "[UNK]": 0, "a": 1, "b": 2} | names
    made = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[UNK]"])
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    made.enable_padding(length=12, pad_id=3, pad_token="[PAD]")
    made.enable_truncation(3)
    return made.to_str().encode()


@given(TEXT)
def test_any_text_comes_back_except_for_one_space_before_it(text: str) -> None:
    normal = unicodedata.normalize("NFC", text)
    numbers = MADE.encode(text)
    assert MADE.decode([PAD, BOS, *numbers, EOS, PAD]) == normal.removeprefix(" ")
    assert all(EOS < number < MADE.vocabulary for number in numbers)


@given(TEXT)
def test_marks_stand_at_both_ends_of_what_is_left_of_a_text(text: str) -> None:
    body = MARKED.encode(text, marks=False)
    assert MARKED.encode(text) == [BOS, *body, EOS]
    assert MARKED.encode(text, 5) == [BOS, *body[:3], EOS]
    assert MARKED.encode(text, 5, marks=False) == body[:5]


def test_special_tokens_in_a_text_are_plain_text() -> None:
    text = "</s> <pad> <s>"
    assert not {PAD, BOS, EOS} & set(MADE.encode(text))
    assert MADE.decode(MADE.encode(text)) == text


@given(st.lists(TEXT, max_size=6), st.integers(3, 12))
def test_tokens_know_their_words(words: list[str], limit: int) -> None:
    numbers, owners = MARKED.encode_words(words)
    assert len(numbers) == len(owners)
    assert owners[0] is owners[-1] is None
    inner = [owner for owner in owners if owner is not None]
    assert len(inner) == len(owners) - 2
    for index, word in enumerate(words):
        own = [n for n, owner in zip(numbers, owners, strict=True) if owner == index]
        assert own == (MARKED.encode(word, marks=False))
    cut, cut_owners = MARKED.encode_words(words, limit)
    assert len(cut) == min(limit, len(numbers))
    assert (cut[:-1], cut[-1]) == (numbers[: len(cut) - 1], EOS)
    assert cut_owners[:-1] == owners[: len(cut) - 1]


def test_words_have_the_same_tokens_alone_and_in_a_text() -> None:
    assert MADE.encode_words(["the", "house", "is"])[0] == MADE.encode("the house is")


def test_lower_case_is_part_of_the_tokenizer() -> None:
    assert MARKED.encode("GRÖSSER Häuser") == MARKED.encode("grösser häuser")
    assert MADE.encode("Häuser") != MADE.encode("häuser")


def test_a_vocabulary_is_as_large_as_asked_or_as_the_texts_give() -> None:
    assert MADE.vocabulary == 310
    assert tokenizers.train(["a"], 5000).vocabulary == SMALLEST_VOCABULARY + 1  # " a"
    assert (MADE.pad, MADE.bos, MADE.eos, MADE.unk) == (PAD, BOS, EOS, None)
    with pytest.raises(BadTask, match="at least 259 tokens, not 258") as caught:
        tokenizers.train(TEXTS, 258)
    assert caught.value.key == "vocabulary"


def test_training_gives_the_same_bytes_in_any_process() -> None:
    code = (
        "import sys; from collapipe_ns3.learning.text.tokenizer import train;"
        f"sys.stdout.buffer.write(train({TEXTS!r}, 310).to_json())"
    )
    for parallel, seed in (("true", "1"), ("false", "2")):
        environment = os.environ | {"TOKENIZERS_PARALLELISM": parallel, "PYTHONHASHSEED": seed}
        made = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, check=True
        )
        assert made.stdout == MADE.to_json()


@pytest.mark.parametrize("before", [None, "true"])
def test_training_leaves_the_environment_as_it_was(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if before:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    tokenizers.train(["a"], 300)
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before


def test_training_starts_no_threads_so_that_processes_fork_without_warning() -> None:
    code = (
        "import os\n"
        "from collapipe_ns3.learning.text.tokenizer import train\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        f"train({TEXTS!r}, 310).encode_words(['a', 'b'])\n"
        "assert len(os.listdir('/proc/self/task')) == before\n"
        "if os.fork() == 0:\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    environment = {name: value for name, value in os.environ.items() if "TOKENIZERS" not in name}
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert made.stderr == ""


@pytest.mark.parametrize("made", [MADE, MARKED])
def test_a_stored_tokenizer_is_the_same(made: SubwordTokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(made.to_json())
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        again = tokenizers.load(path, made.vocabulary)
        assert again.to_json() == made.to_json()
        for text in ("The House's größe </s>", ""):
            assert again.encode(text) == made.encode(text)
        assert (again.pad, again.bos, again.eos) == (PAD, BOS, EOS)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert tokenizers.from_json(b"\xef\xbb\xbf" + MADE.to_json(), "x").vocabulary == 310


def test_a_foreign_tokenizer_keeps_its_numbers_and_marks_and_never_pads() -> None:
    made = tokenizers.from_json(foreign(), "x", 103)
    assert (made.pad, made.bos, made.eos, made.unk) == (3, 101, 102, 0)
    assert (made.vocabulary, made.marks) == (103, 2)
    assert made.encode("a b c") == [101, 1, 2, 0, 102]
    assert made.encode_words(["a b", "b"]) == ([101, 1, 2, 2, 102], [None, 0, 0, 1, None])


@pytest.mark.parametrize("prefix", [False, True])
def test_words_have_the_tokens_of_a_text_in_foreign_tokenizers_too(prefix: bool) -> None:
    """RoBERTa's puts the space before a word into its token, and has none before the first."""
    content = json.loads(MADE.to_json())
    content["pre_tokenizer"]["add_prefix_space"] = prefix
    made = tokenizers.from_json(json.dumps(content).encode(), "x")
    text = "the house is small"
    numbers, owners = made.encode_words(text.split())
    assert numbers == made.encode(text)
    assert sorted({owner for owner in owners if owner is not None}) == [0, 1, 2, 3]
    assert (made.encode_words(["the"])[0] == MADE.encode("the")) == prefix


def test_a_target_begins_with_padding_where_there_is_no_beginning() -> None:
    content = json.loads(MADE.to_json())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] != BOS]
    content["model"]["vocab"]["none"] = content["model"]["vocab"].pop("<s>")
    made = tokenizers.from_json(json.dumps(content).encode(), "x")
    assert (made.bos, made.start) == (None, PAD)
    assert (MADE.bos, MADE.start) == (BOS, BOS)


def test_a_vocabulary_that_does_not_fit_the_model_is_refused() -> None:
    with pytest.raises(BadTask, match="x has 103 token numbers, the model only 102 embeddings"):
        tokenizers.from_json(foreign(), "x", 102)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": 1}), "is a pickle or an archive"),
        (b"PK\x03\x04rest", "is a pickle or an archive"),
        (b"\xff\xfe{", "is not JSON: "),
        (b"", "is not JSON: "),
        (b"{", "is not JSON: "),
        (b"[1]", "holds a list, not an object"),
        (b"{}", "is not a tokenizer.json: "),
        (
            json.dumps({"version": "1.0", "model": {"type": "No"}}).encode(),
            "is not a tokenizer.json",
        ),
    ],
)
def test_a_file_that_is_not_a_tokenizer_is_named(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(BadTask, match=message) as caught:
        tokenizers.load(path, key="checkpoint")
    assert str(path) in str(caught.value)
    assert caught.value.key == "checkpoint"


def test_a_tokenizer_without_padding_is_refused() -> None:
    content = json.loads(MADE.to_json())
    content["added_tokens"] = []
    content["model"]["vocab"]["none"] = content["model"]["vocab"].pop("<pad>")
    with pytest.raises(BadTask, match="no padding token"):
        tokenizers.from_json(json.dumps(content).encode(), "x")


def test_a_missing_file_is_named_with_what_is_there_instead(tmp_path: Path) -> None:
    with pytest.raises(BadTask, match=r"there is no .*tokenizer\.json$"):
        tokenizers.load(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(BadTask, match=r"only vocab\.txt; convert it by `AutoTokenizer"):
        tokenizers.load(tmp_path)


def test_a_text_never_loses_all_its_room() -> None:
    with pytest.raises(ValueError, match="2 tokens leave no room"):
        MARKED.encode("a house", 2)
