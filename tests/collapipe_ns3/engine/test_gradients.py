"""What the engine computes is what the uncut model computes, to the bit."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import lab
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from collapipe_ns3.plan import micro_batch_sizes

cuts = st.sampled_from([(4,), (1, 3), (3, 1), (2, 2), (1, 2, 1), (2, 1, 1), (1, 1, 1, 1)])
counts = st.sampled_from([1, 2, 3, 4, 6, 12])


def uncut_gradients(micro_batches: int) -> dict[str, Tensor]:
    model = lab.model()
    batch = next(lab.batches(0, 0))
    for part in batch.split(micro_batch_sizes(batch.sequences, micro_batches)):
        model.uncut_loss(part, batch.total).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def engine_gradients(cut: Sequence[int], micro_batches: int, schedule: str) -> dict[str, Tensor]:
    recording = lab.Recording()
    state = lab.fresh(recording)
    lab.run_one(lab.one_cluster(cut, micro_batches, schedule), state)
    taken = recording.by_name(state.replica(0, 0).model)
    return {name: only for name, (only,) in taken.items()}


@settings(max_examples=25)
@given(cuts, counts, st.sampled_from(["gpipe", "1f1b"]))
def test_every_gradient_is_bit_equal_to_the_uncut_models(
    cut: tuple[int, ...], micro_batches: int, schedule: str
) -> None:
    expected = uncut_gradients(micro_batches)
    gradients = engine_gradients(cut, micro_batches, schedule)
    assert set(gradients) == set(expected)
    wrong = [name for name, grad in gradients.items() if not torch.equal(grad, expected[name])]
    assert not wrong


@settings(max_examples=10)
@given(cuts, counts)
def test_micro_batches_add_up_to_the_batch_in_one_piece(
    cut: tuple[int, ...], micro_batches: int
) -> None:
    whole = uncut_gradients(1)
    for name, gradient in engine_gradients(cut, micro_batches, "1f1b").items():
        torch.testing.assert_close(gradient, whole[name], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("make", [lab.adamw, lab.Recording()], ids=["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_rounds_end_with_the_parameters_of_monolithic_training(
    make: lab.OptimizerMaker, schedule: str
) -> None:
    """Two rounds of three local steps; the second on another cut, so that blocks move."""
    state = lab.fresh(make)
    alone = copy.deepcopy(state.model)
    plans = [lab.one_cluster((1, 3), 4, schedule), lab.one_cluster((2, 1, 1), 2, schedule)]
    moved = [dataclasses.replace(plan, round=number) for number, plan in enumerate(plans)]
    outcomes = lab.run_rounds(moved, state, local_steps=3)

    optimizer = make(alone.parameters())
    for round, micro_batches in enumerate((4, 2)):
        stream = lab.batches(0, round)
        losses = []
        for _ in range(3):
            batch = next(stream)
            total = 0.0
            for part in batch.split(micro_batch_sizes(batch.sequences, micro_batches)):
                loss = alone.uncut_loss(part, batch.total)
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.item()
            losses.append(total)
            optimizer.step()
            optimizer.zero_grad()
        assert outcomes[round].loss == pytest.approx(sum(losses) / 3, rel=1e-12)
    for name, parameter in state.model.named_parameters():
        assert torch.equal(parameter, dict(alone.named_parameters())[name]), name
