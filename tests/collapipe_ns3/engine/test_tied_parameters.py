"""Parameters that two nodes have in common: both copies step by the sum of their gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import lab
import pytest
import tied_model
import torch
from torch import nn

from collapipe_ns3.costs.measured import measure_parts
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.learning.updates import UpdateRule
from collapipe_ns3.plan import micro_batch_sizes


def adam(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.05)


def trained_alone(steps: int, micro_batches: int) -> tied_model.Tied:
    """The uncut model, whose head uses the embedding itself."""
    alone = copy.deepcopy(tied_model.model())
    alone.head.weight = alone.embedding.weight
    wanted = [each for each in alone.parameters() if each.requires_grad]
    optimizer, drawn = torch.optim.Adam(wanted, lr=0.05), tied_model.batches(0, 0)
    for _ in range(steps):
        batch = next(drawn)
        for part in batch.split(micro_batch_sizes(8, micro_batches)):
            alone.uncut_loss(part, batch.total).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return alone


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("cuts", [(2,), (1, 1)])
def test_copies_stay_equal_and_train_as_one_parameter(cuts: tuple[int, ...], schedule: str) -> None:
    start = tied_model.model()
    costs = tied_model.costs()
    assert costs.tied_bytes == 4 * tied_model.WORDS * tied_model.WIDTH
    state = TrainingState(tied_model.model(), adam, costs)
    outcome = lab.run_one(
        lab.one_cluster(cuts, 3, schedule), state, local_steps=20, draw_batches=tied_model.batches
    )
    replica = state.replica(0, 0).model
    assert torch.equal(replica.head.weight, replica.embedding.weight)
    alone = trained_alone(20, 3)
    for name, expected in alone.named_parameters():
        found = state.model.get_parameter(name)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(state.model.second.weight, start.second.weight), "a frozen weight moved"
    assert not torch.equal(state.model.head.weight, start.head.weight)
    exchanged = [each for each in outcome.deliveries if each.size_bytes == costs.tied_bytes]
    assert len([each for each in exchanged if each.kind == "gradient"]) >= 2 * 20


def test_copies_stay_equal_where_gradients_are_clipped() -> None:
    """The norms of the two parts differ, as one has a bias; those of the tied gradients do not."""
    start = tied_model.model()
    start.head.bias = nn.Parameter(torch.zeros(tied_model.WORDS))
    costs = measure_parts(start, next(tied_model.batches(0, 0)), Lengths(5, 5))
    state = TrainingState(
        copy.deepcopy(start), lambda parameters: torch.optim.SGD(parameters, lr=1.0), costs
    )
    lab.run_one(
        lab.one_cluster((2,), 3, "1f1b"),
        state,
        local_steps=5,
        draw_batches=tied_model.batches,
        updates=UpdateRule(clip_norm=1e-2),
    )
    replica = state.replica(0, 0).model
    assert torch.equal(replica.head.weight, replica.embedding.weight)
    assert not torch.equal(replica.head.weight, start.head.weight)
