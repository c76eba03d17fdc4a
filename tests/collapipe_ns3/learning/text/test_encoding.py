"""Encoded examples: nothing is cut without being counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.spec import BOS, EOS
from collapipe_ns3.learning.text.encoding import (
    IGNORED,
    encode_classes,
    encode_pairs,
    encode_tags,
)
from collapipe_ns3.learning.text.tokenizer import train

TEXTS = ["the house is small", "das Haus ist klein", "Ada Lovel lives in London"] * 2
PLAIN = train(TEXTS, 300)
MARKED = train(TEXTS, 300, marks=True)
TAGS = ["O", "B-person", "I-person", "B-place", "I-place"]
NUMBERS = {tag: number for number, tag in enumerate(TAGS)}
WORD = st.text("abc é", min_size=1, max_size=6)


def test_classes_have_texts_with_marks_and_are_counted_where_cut() -> None:
    made = encode_classes([("the house", 3), ("the house is small", 1), ("", 0)], MARKED, 6)
    tokens = [example.tokens for example in made.examples]
    assert tokens[0] == tuple(MARKED.encode("the house"))
    assert tokens[1] == tuple(MARKED.encode("the house is small", 6))
    assert tokens[2] == (BOS, EOS)
    assert [example.labels for example in made.examples] == [3, 1, 0]
    assert made.report() == {
        "examples": 3,
        "truncated": 1,
        "without_tokens": 0,
        "entities_cut": 0,
    }


def test_a_text_without_tokens_is_one_end_mark() -> None:
    classes = encode_classes([("", 0)], PLAIN, 6)
    tags = encode_tags([([], [])], NUMBERS, PLAIN, 6)
    pairs = encode_pairs([("", "")], PLAIN, 6)
    for made in (classes, tags, pairs):
        assert made.examples[0].tokens == (EOS,)
        assert made.without_tokens == 1
    assert tags.examples[0].labels == (IGNORED,)
    assert pairs.examples[0].labels == (BOS, EOS)


@given(st.lists(st.tuples(WORD, st.sampled_from(TAGS)), min_size=1, max_size=6), st.integers(3, 30))
def test_tags_come_back_from_the_first_tokens(
    pairs: list[tuple[str, str]], max_tokens: int
) -> None:
    words, tags = ([pair[i] for pair in pairs] for i in (0, 1))
    made = encode_tags([(words, tags)], NUMBERS, MARKED, max_tokens)
    [example] = made.examples
    assert isinstance(example.labels, tuple)
    assert example.aligned
    assert len(example.labels) == len(example.tokens) <= max_tokens
    kept = len(example.words)
    found = [TAGS[label] for label in example.labels if label != IGNORED]
    assert example.words == tuple(range(kept))
    assert found == tags[:kept]
    if made.truncated == 0:
        assert kept == len(words)


def test_entities_of_which_a_word_is_cut_are_counted() -> None:
    words = ["Ada", "Lovelace", "London"]
    tags = ["B-person", "I-person", "B-place"]
    first = len(PLAIN.encode("Ada"))
    for limit, cut in ((first, 2), (len(PLAIN.encode("Ada Lovelace")), 1), (99, 0)):
        made = encode_tags([(words, tags), (["Ada"], ["O"])], NUMBERS, PLAIN, limit)
        assert (made.entities_cut, made.truncated) == (cut, min(cut, 1))


def test_the_first_token_of_a_word_has_its_tag() -> None:
    words, tags = ["Lovelace", "xyz"], ["B-person", "O"]
    sizes = [len(PLAIN.encode(word)) for word in words]
    assert min(sizes) > 1
    [example] = encode_tags([(words, tags)], NUMBERS, PLAIN, 99).examples
    person, outside = (
        (NUMBERS[tag], *[IGNORED] * (size - 1)) for tag, size in zip(tags, sizes, strict=True)
    )
    assert example.labels == person + outside


def test_unknown_tags_are_named() -> None:
    with pytest.raises(ValueError, match="unknown tags B-shop"):
        encode_tags([(["a"], ["B-shop"])], NUMBERS, PLAIN, 9)


def test_pairs_have_a_plain_source_and_a_target_between_marks() -> None:
    made = encode_pairs([("the house", "das Haus"), ("the", "das Haus ist klein")], PLAIN, 5)
    first, second = made.examples
    assert first.tokens == tuple(PLAIN.encode("the house"))[:5]
    target = PLAIN.encode("das Haus ist klein")
    assert len(target) > 3
    assert second.labels == (BOS, *target[:3], EOS)
    assert made.truncated == 1 + (len(PLAIN.encode("the house")) > 5)


@pytest.mark.parametrize("limit", [1, 2])
def test_lengths_that_leave_no_room_are_refused(limit: int) -> None:
    for encode in (
        lambda: encode_classes([("the house", 0)], MARKED, limit),
        lambda: encode_tags([(["the", "house"], ["O", "O"])], NUMBERS, MARKED, limit),
        lambda: encode_pairs([("a", "b")], PLAIN, limit),
    ):
        with pytest.raises(BadTask, match="leave no room for text, as 2 are marks") as caught:
            encode()
        assert caught.value.key == "max_tokens"
