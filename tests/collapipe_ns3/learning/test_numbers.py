"""The built-in task: real translation, unlike clusters, and a test set that nobody has seen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from num2words import num2words

from collapipe_ns3.learning.numbers import Numbers
from collapipe_ns3.learning.phrases import english_tokens, german_tokens, phrases
from collapipe_ns3.learning.protocol import Lengths, Setup
from collapipe_ns3.learning.spec import BOS, EOS, PAD

MODEL = {"width": 8, "heads": 2, "feed_forward": 8, "encoder_blocks": 1, "decoder_blocks": 1}


def small(sizes: Sequence[int], batch_size: int, seed: int, **settings: Any) -> Numbers:
    setup = Setup(tuple(sizes), batch_size, seed, MODEL)
    return Numbers(setup, **{"limit": 200, "test_size": 40, **settings})


@given(st.integers(0, 99_999))
def test_german_words_come_apart_into_morphemes_and_together_again(number: int) -> None:
    for word in (num2words(number, lang="de"), num2words(number + 1, lang="de", to="ordinal")):
        tokens = german_tokens(word)
        assert "".join(tokens) == word.replace(" ", "")
        assert all(len(token) <= len("siebzehn") for token in tokens)


@settings(max_examples=40)
@given(st.integers(1, 99_999))
def test_a_number_put_together_from_smaller_ones_is_said_as_num2words_says_it(number: int) -> None:
    made = phrases("cardinal", number + 1)[number]
    said = num2words(number), num2words(number, lang="de")
    assert made == (english_tokens(said[0]), german_tokens(said[1]))


def test_ordinals_are_said_as_num2words_says_them() -> None:
    for number, made in enumerate(phrases("ordinal", 1000), start=1):
        said = num2words(number, to="ordinal"), num2words(number, lang="de", to="ordinal")
        assert made == (english_tokens(said[0]), german_tokens(said[1]))


def test_english_words_come_without_commas_and_hyphens() -> None:
    said = english_tokens("one thousand, two hundred and thirty-four")
    assert said == ("one", "thousand", "two", "hundred", "and", "thirty", "four")


@pytest.mark.parametrize("count", [1, 4])
def test_no_cluster_has_a_phrase_of_the_test_set(count: int) -> None:
    task = small([64] * 3, 8, seed=5, phrases=count)

    def parts(pairs: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> set[str]:
        return {part.strip() for source, _ in pairs for part in " ".join(source).split(",")}

    trained = set().union(*(parts(data) for data in task._data))
    assert parts(task._test)
    assert not trained & parts(task._test)


def test_clusters_have_unlike_mixtures_the_more_so_the_smaller_alpha() -> None:
    def unlikeness(alpha: float) -> float:
        task = small([64] * 8, 8, seed=1, dirichlet_alpha=alpha)
        dates = [sum(source[0] == "the" for source, _ in data) / 64 for data in task._data]
        mean = sum(dates) / len(dates)
        return sum((share - mean) ** 2 for share in dates)

    assert unlikeness(0.1) > 4 * unlikeness(100.0)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(0, 50))
def test_batches_repeat_and_are_padded_and_masked(seed: int, cluster: int, round: int) -> None:
    task = small([64] * 4, 16, seed)
    first, again = (list(itertools.islice(task.batches(cluster, round), 6)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.inputs[0], other.inputs[0])
        assert torch.equal(one.labels[0], other.labels[0])
        assert torch.equal(one.side[0], one.inputs[0] == PAD)
        assert (one.labels[0][:, 0] == BOS).all()
        assert (one.labels[0] == EOS).sum(1).tolist() == [1] * 16
        ends = (one.labels[0] == EOS).float().argmax(1)
        assert all(
            (row[end + 1 :] == PAD).all() for row, end in zip(one.labels[0], ends, strict=True)
        )
        assert one.inputs[0].max() < task.spec.source_vocabulary
        assert one.inputs[0].shape[1] <= task.spec.max_length
        assert one.labels[0].shape[1] <= task.spec.max_length


def test_an_epoch_has_every_sequence_once() -> None:
    task = small([64], 16, seed=3)
    seen = [
        tuple(row.tolist())
        for batch in itertools.islice(task.batches(0, 0), 4)
        for row in torch.nn.functional.pad(batch.inputs[0], (0, 40 - batch.inputs[0].shape[1]))
    ]
    everything = task.batch(task._data[0]).inputs[0]
    padded = torch.nn.functional.pad(everything, (0, 40 - everything.shape[1]))
    assert sorted(seen) == sorted(tuple(row.tolist()) for row in padded)


def test_lengths_are_those_of_the_first_batch() -> None:
    task = small([64, 64], 16, seed=3)
    for cluster in (0, 1):
        first = next(task.batches(cluster, 0))
        assert task.lengths(cluster) == Lengths(*first.shape[1:])


def test_a_sequence_of_many_phrases_is_as_long() -> None:
    short, long = (small([64], 8, seed=1, phrases=count) for count in (1, 6))
    assert len(long._data[0]) == len(short._data[0]) == 64
    assert long.spec.max_length > 4 * short.spec.max_length
    assert long.spec.source_vocabulary == short.spec.source_vocabulary + 1  # the comma


def test_a_perfect_model_scores_perfectly_and_a_dumb_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from collapipe_ns3.learning.models import evaluation

    task = small([64], 8, seed=1)
    model = task.model(1)
    rows: list[list[int]] = task.batch(task._test).labels[0].tolist()
    expected = [evaluation.sentence(row) for row in rows]
    monkeypatch.setattr(evaluation, "translate", lambda *_: expected)
    assert task.evaluate(model)["exact_match"] == 1.0
    assert task.evaluate(model)["bleu"] == pytest.approx(100.0)
    monkeypatch.setattr(evaluation, "translate", lambda *_: expected[::-1])
    assert task.evaluate(model)["exact_match"] < 0.1


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(ValueError, match="there are cardinal, ordinal, year, date"):
        phrases("roman", 10)
