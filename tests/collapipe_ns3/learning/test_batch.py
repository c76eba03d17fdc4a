"""Batches: parts make up the whole, and resized batches have the shape that is asked for."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.learning.batch import Batch, BatchShape


def batch(sequences: int, tokens: int, targets: int) -> Batch:
    words = torch.arange(sequences * tokens).reshape(sequences, tokens)
    labels = torch.arange(sequences * targets).reshape(sequences, targets)
    return Batch((words,), (words < 0,), (labels,), torch.arange(sequences))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(1, 4))
def test_parts_make_up_the_batch(sizes: list[int], tokens: int) -> None:
    whole = batch(sum(sizes), tokens, 2)
    parts = whole.split(sizes)
    assert [part.sequences for part in parts] == sizes
    for name in ("inputs", "side", "labels"):
        (tensor,) = getattr(whole, name)
        assert torch.equal(torch.cat([getattr(part, name)[0] for part in parts]), tensor)
    assert sum(int(part.predictions.sum()) for part in parts) == int(whole.predictions.sum())


@given(st.integers(1, 7), st.integers(1, 9), st.integers(1, 9))
def test_a_resized_batch_has_the_shape_and_padding(u: int, s: int, t: int) -> None:
    resized = batch(3, 4, 2).resized(BatchShape(u, s, t))
    assert resized.shape == BatchShape(u, s, t)
    assert bool(resized.side[0].any()) == (s > 1)
    assert all(tensor.is_contiguous() for tensor in (*resized.inputs, *resized.side))


def test_a_batch_without_predictions_has_a_loss_of_zero() -> None:
    empty = Batch((torch.ones(2, 3),), (), (torch.ones(2),), torch.zeros(2, dtype=torch.int64))
    assert empty.total == 1
