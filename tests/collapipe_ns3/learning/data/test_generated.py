"""Generated data sets: no leak between splits, and how much the words alone say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from collapipe_ns3.learning.data.entities import TYPES, entities
from collapipe_ns3.learning.data.examples import Labelled, labels_of
from collapipe_ns3.learning.data.intents import TEMPLATES, intents
from collapipe_ns3.learning.data.tags import to_iob2

SEEDS = (1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_sentence_is_in_two_splits_or_twice_in_one(seed: int) -> None:
    for data in (intents(seed), entities(seed)):
        every = [x.given for split in (data.train, data.validation, data.test) for x in split]
        assert len(every) == len(set(every))
        assert data.report.examples["train"] == len(data.train)


def test_data_depends_on_the_seed_alone() -> None:
    for make in (intents, entities):
        assert make(1).digest == make(1).digest != make(2).digest


@pytest.mark.parametrize("seed", SEEDS)
def test_intents_are_about_equally_frequent_and_all_in_training(seed: int) -> None:
    data = intents(seed)
    assert labels_of(data.train) == list(data.labels) == sorted(TEMPLATES)
    counts = Counter(example.label for example in data.test)
    assert max(counts.values()) / len(data.test) < 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_all_words_of_the_test_requests_are_in_training(seed: int) -> None:
    data = intents(seed)

    def words(examples: Sequence[Labelled]) -> set[str]:
        return {word for each in examples for word in re.findall(r"\w+", each.text)}

    assert words(data.test) <= words(data.train)


@pytest.mark.parametrize("seed", SEEDS)
def test_intents_are_not_known_from_the_words_alone(seed: int) -> None:
    """The intent of the training request with the most similar words, whatever their order."""
    data = intents(seed, train=1500, test=300)

    def bag(example: Labelled) -> Counter[str]:
        return Counter(example.text.split())

    train = [(bag(example), example.label) for example in data.train]
    right = 0
    for example in data.test[:150]:
        words = bag(example)
        _, label = max(train, key=lambda other: 2 * (words & other[0]).total() - other[0].total())
        right += label == example.label
    assert 0.3 < right / 150 < 0.65


def test_too_many_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at most \d+ sentences can be drawn, not 1000000"):
        intents(1, test=1_000_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_entities_are_tagged_in_iob2_with_names_of_the_split_alone(seed: int) -> None:
    data = entities(seed)
    assert labels_of(data.train) == list(TYPES) == list(data.labels)
    trained = set()
    for example in data.train:
        assert len(example.words) == len(example.tags)
        assert to_iob2(example.tags) == example.tags
        trained.update(example.words)
    names = Counter(
        word in trained
        for example in data.test
        for word, tag in zip(example.words, example.tags, strict=True)
        if tag[:2] == "B-" and tag != "B-date"
    )
    # Those known are additions that many names have, such as "New".
    assert names[True] / names.total() < 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_no_type_of_a_name_is_known_from_its_words(seed: int) -> None:
    """Half of the training words that are names of persons are names of organisations too."""
    data = entities(seed)
    words: dict[str, set[str]] = {kind: set() for kind in TYPES}
    for example in data.train:
        for word, tag in zip(example.words, example.tags, strict=True):
            if tag != "O":
                words[tag[2:]].add(word)
    shared = words["person"] & words["organisation"]
    assert len(shared) > len(words["person"]) / 2
