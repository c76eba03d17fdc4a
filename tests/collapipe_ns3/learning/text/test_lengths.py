"""Batches: whole ones, padded and masked, the same for the same round."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.protocol import BadTask, Lengths
from collapipe_ns3.learning.spec import PAD
from collapipe_ns3.learning.text.encoding import IGNORED, Encoded
from collapipe_ns3.learning.text.lengths import (
    ClusterBatches,
    Padding,
    collate,
    ordered_batches,
)

PADDINGS = get_args(Padding)


def pairs(sizes: list[tuple[int, int]]) -> list[Encoded]:
    """Translations; the first token of a source is its own, to know it by."""
    return [
        Encoded((10 + n, *[3] * (source - 1)), (1, *[4] * (target - 2), 2))
        for n, (source, target) in enumerate(sizes)
    ]


SIZES = st.lists(st.tuples(st.integers(1, 12), st.integers(2, 12)), min_size=8, max_size=40)


def names(batch: Batch) -> list[int]:
    return batch.inputs[0][:, 0].tolist()


@settings(deadline=None)
@given(SIZES, st.sampled_from(PADDINGS), st.integers(1, 8), st.integers(0, 99))
def test_an_epoch_has_whole_batches_of_different_examples(
    sizes: list[tuple[int, int]], padding: Padding, batch_size: int, seed: int
) -> None:
    examples = pairs(sizes)
    made = ClusterBatches([examples], batch_size, seed, 12, padding)
    count = len(sizes) // batch_size
    epochs = [
        list(itertools.islice(made.batches(0, 3), start, start + count)) for start in (0, count)
    ]
    for epoch in epochs:
        seen = [name for batch in epoch for name in names(batch)]
        assert len(set(seen)) == len(seen) == count * batch_size
        for batch in epoch:
            [tokens], [mask], [labels] = batch.inputs, batch.side, batch.labels
            own = [examples[name - 10] for name in names(batch)]
            assert (~mask).sum(1).tolist() == [len(example.tokens) for example in own]
            assert (tokens[mask] == PAD).all()
            assert batch.predictions.tolist() == [len(example.labels) - 1 for example in own]
            assert batch.total == int((labels[:, 1:] != PAD).sum())
            assert batch.shape.tokens <= made.longest.tokens
            assert batch.shape.targets <= made.longest.targets
            if padding == "fixed":
                assert batch.shape == (batch_size, 12, 12)
            else:
                assert batch.shape.tokens == max(len(example.tokens) for example in own)


def test_rounds_repeat_and_do_not_depend_on_earlier_ones() -> None:
    made = ClusterBatches([pairs([(n % 7 + 1, 3) for n in range(40)])] * 2, 4, 5, 12)

    def drawn(cluster: int, round: int) -> list[list[int]]:
        return [names(batch) for batch in itertools.islice(made.batches(cluster, round), 25)]

    before = drawn(0, 1)
    drawn(0, 0)
    assert drawn(0, 1) == before
    assert drawn(0, 0) != before
    assert drawn(1, 1) != before
    assert before[:10] != before[10:20]  # the next epoch


def test_examples_that_are_left_over_differ_from_epoch_to_epoch() -> None:
    made = ClusterBatches([pairs([(n + 1, 3) for n in range(7)])], 4, 5, 12)
    seen = {tuple(sorted(names(batch))) for batch in itertools.islice(made.batches(0, 0), 20)}
    assert len(seen) > 5
    assert set().union(*seen) == set(range(10, 17))


def test_buckets_have_less_padding_in_no_order_of_length() -> None:
    examples = pairs([(n * 37 % 100 + 1, 3) for n in range(640)])

    def padded(padding: Padding) -> list[int]:
        made = ClusterBatches([examples], 8, 1, 100, padding)
        return [batch.shape.tokens for batch in itertools.islice(made.batches(0, 0), 80)]

    used = sum(len(example.tokens) for example in examples) / 8
    assert sum(padded("bucketed")) < 1.1 * used < 1.5 * used < sum(padded("dynamic"))
    assert sum(padded("fixed")) == 80 * 100
    lengths = padded("bucketed")
    rises = sum(a < b for a, b in itertools.pairwise(lengths))
    assert 20 < rises < 60


@pytest.mark.parametrize("padding", PADDINGS)
def test_usual_lengths_are_the_mean_of_an_epoch(padding: Padding) -> None:
    clusters = [pairs([(n % 9 + shift, n % 5 + 2) for n in range(32)]) for shift in (1, 4)]
    made = ClusterBatches(clusters, 4, 1, 15, padding)
    for cluster in (0, 1):
        shapes = [batch.shape for batch in itertools.islice(made.batches(cluster, 0), 8)]
        tokens = round(sum(shape.tokens for shape in shapes) / 8)
        assert made.lengths(cluster) == Lengths(
            tokens, round(sum(shape.targets for shape in shapes) / 8)
        )
    assert made.longest == (Lengths(15, 15) if padding == "fixed" else Lengths(12, 6))
    assert made.shares == [0.5, 0.5]


def test_a_cluster_with_less_than_a_batch_is_refused() -> None:
    with pytest.raises(BadTask, match="cluster 1 has 3 training examples, but a batch needs 4"):
        ClusterBatches([pairs([(1, 2)] * 4), pairs([(1, 2)] * 3)], 4, 0, 9)


def test_tags_are_padded_as_inputs_are_and_count_their_words() -> None:
    examples = [
        Encoded((5, 6, 7), (0, IGNORED, 1), (0, 1), aligned=True),
        Encoded((8,), (2,), (0,), aligned=True),
    ]
    batch = collate(examples, pad=9)
    assert batch.inputs[0].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert batch.side[0].tolist() == [[False] * 3, [False, True, True]]
    assert batch.labels[0].tolist() == [[0, IGNORED, 1], [2, IGNORED, IGNORED]]
    assert batch.predictions.tolist() == [2, 1]
    assert batch.aligned
    made = ClusterBatches([examples], 2, 0, 6, "fixed")
    shape = next(made.batches(0, 0)).shape
    assert (shape.tokens, shape.targets) == (6, 6) == (made.longest.tokens, made.longest.targets)


@pytest.mark.parametrize("padding", PADDINGS)
def test_classes_are_one_prediction_each(padding: Padding) -> None:
    examples = [Encoded((5, 6), 4), Encoded((7,), 0)]
    made = ClusterBatches([examples], 2, 0, 6, padding)
    batch = next(made.batches(0, 0))
    assert sorted(batch.labels[0].tolist()) == [0, 4]
    assert batch.labels[0].dtype == batch.inputs[0].dtype == torch.int64
    assert batch.predictions.tolist() == [1, 1]
    assert not batch.aligned
    assert batch.shape.targets == made.longest.targets == made.lengths(0).targets == 1


def test_evaluation_sees_every_example_once_and_knows_which() -> None:
    examples = pairs([(n * 5 % 7 + 1, 3) for n in range(11)])
    seen = []
    for indices, batch in ordered_batches(examples, 4):
        assert names(batch) == [10 + index for index in indices]
        seen += indices
    assert sorted(seen) == list(range(11))


def test_lengths_need_neither_torch_nor_tokenizers() -> None:
    code = (
        "import sys\n"
        "from collapipe_ns3.learning.text import encoding, lengths, metrics, tokenizer\n"
        "from collapipe_ns3.learning import division\n"
        "examples = [encoding.Encoded((3,) * n, 0) for n in range(1, 9)]\n"
        "made = lengths.ClusterBatches([examples], 2, 0, 9)\n"
        "made.lengths(0), made.longest\n"
        "heavy = {'torch', 'tokenizers', 'sacrebleu', 'sklearn', 'transformers'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
