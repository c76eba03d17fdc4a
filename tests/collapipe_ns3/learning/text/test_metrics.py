"""Metrics against scikit-learn and seqeval, whose definitions they follow."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score as entity_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities
from sklearn.metrics import accuracy_score, f1_score

from collapipe_ns3.learning.text.metrics import (
    Entity,
    accuracy,
    bleu,
    chrf,
    entity_f1,
    lenient_entities,
    macro_f1,
    strict_entities,
)

CLASSES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1)
TAG = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b", "B-creative-work", "I-creative-work"])
TAGS = st.lists(TAG, min_size=1, max_size=12)
PAIRS = st.lists(
    st.lists(st.tuples(TAG, TAG), min_size=1, max_size=8).map(
        lambda pairs: ([a for a, _ in pairs], [b for _, b in pairs])
    ),
    min_size=1,
    max_size=4,
)


@given(CLASSES)
def test_classes_score_as_in_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    expected, predicted = zip(*pairs, strict=True)
    assert accuracy(expected, predicted) == pytest.approx(accuracy_score(expected, predicted))
    reference = f1_score(expected, predicted, average="macro", zero_division=0)
    assert macro_f1(expected, predicted) == pytest.approx(reference)


@given(TAGS)
def test_entities_are_those_of_seqeval(tags: list[str]) -> None:
    lenient = {Entity(kind, start, end + 1) for kind, start, end in get_entities(tags)}
    [found] = Entities([tags], IOB2).entities
    strict = {Entity(entity.tag, entity.start, entity.end) for entity in found}
    assert lenient_entities(tags) == lenient
    assert strict_entities(tags) == strict


@given(PAIRS)
def test_entity_f1_is_that_of_seqeval(pairs: list[tuple[list[str], list[str]]]) -> None:
    expected, predicted = map(list, zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about scores that are undefined, and so 0
        lenient = entity_score(expected, predicted)
        strict = entity_score(expected, predicted, mode="strict", scheme=IOB2)
    assert entity_f1(expected, predicted, lenient_entities) == pytest.approx(lenient)
    assert entity_f1(expected, predicted, strict_entities) == pytest.approx(strict)


def test_the_two_readings_of_tags_differ_where_an_entity_has_no_beginning() -> None:
    tags = ["I-a", "I-a", "O", "B-b", "I-a"]
    assert strict_entities(tags) == {Entity("b", 3, 4)}
    assert lenient_entities(tags) == {Entity("a", 0, 2), Entity("b", 3, 4), Entity("a", 4, 5)}


def test_scores_without_anything_to_count_are_zero() -> None:
    assert accuracy([], []) == macro_f1([], []) == 0.0
    assert entity_f1([["O"]], [["O"]], strict_entities) == 0.0


@pytest.mark.parametrize("metric", [accuracy, macro_f1])
def test_predictions_of_another_number_are_refused(
    metric: Callable[[list[int], list[int]], float],
) -> None:
    with pytest.raises(ValueError, match="shorter"):
        metric([1, 2], [1])


def test_a_sentence_with_too_few_tags_is_refused() -> None:
    with pytest.raises(ValueError, match="1 tags are predicted for 2 words"):
        entity_f1([["B-a", "O"]], [["B-a"]], strict_entities)


def test_texts_score_as_sacrebleu_says_and_record_how() -> None:
    expected = ["Ein Hund läuft über die Wiese.", "Zwei Männer stehen an einem Herd."]
    assert bleu(expected, expected).value == pytest.approx(100.0)
    assert chrf(expected, expected).value == pytest.approx(100.0)
    changed = [expected[0], "Zwei Männer sitzen an einem Tisch."]
    assert 0 < bleu(changed, expected).value < 100
    assert 0 < chrf(changed, expected).value < 100
    assert "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in bleu(changed, expected)[1]
    assert "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:" in chrf(changed, expected)[1]
