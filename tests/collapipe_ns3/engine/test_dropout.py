"""Dropout in the engine: draws depend neither on where the model is cut, nor on the schedule."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence

import lab
import pytest
import torch
from torch import Tensor

from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.stage_worker import MicroBatchDraws
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.models import transformer
from collapipe_ns3.plan import micro_batch_sizes

SPEC = dataclasses.replace(lab.SPEC, dropout=0.3)
MICRO_BATCHES = 4


def sgd(parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def trained(cuts: Sequence[int], schedule: str, recompute: bool) -> dict[str, Tensor]:
    state = TrainingState(transformer.build(SPEC, 3), sgd, closed_form(SPEC))
    plan = lab.one_cluster(cuts, MICRO_BATCHES, schedule, recompute=recompute)
    lab.run_one(plan, state, local_steps=2)
    return dict(state.model.state_dict())


def trained_alone() -> dict[str, Tensor]:
    """The uncut model in one thread, each part with its own generator for each micro-batch."""
    model = copy.deepcopy(transformer.build(SPEC, 3)).train()
    optimizer, batches = sgd(model.parameters()), lab.batches(0, 0)
    for step in range(2):
        batch = next(batches)
        for m, part in enumerate(batch.split(micro_batch_sizes(batch.sequences, MICRO_BATCHES))):
            streams = MicroBatchDraws(0, (0, 0, 0, step, m))
            x, (*parts, last) = part.inputs, model.parts().items()
            for name, module in parts:
                with streams.within(name, torch.device("cpu")):
                    x = model.run(module, x, part.side)
            with streams.within(last[0], torch.device("cpu")):
                loss = model.loss(x, part.side, part.labels, batch.total)
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return dict(model.state_dict())


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("cuts", [(4,), (1, 3), (2, 1, 1)])
def test_a_run_with_dropout_is_that_of_the_uncut_model(
    cuts: tuple[int, ...], schedule: str, recompute: bool
) -> None:
    expected = trained_alone()
    state = torch.get_rng_state()
    found = trained(cuts, schedule, recompute)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
    assert found.keys() == expected.keys()
    assert not [name for name in found if not torch.equal(found[name], expected[name])]


def test_steps_and_micro_batches_draw_different_masks() -> None:
    part = torch.nn.Dropout(0.5)
    masks = set()
    for step in range(2):
        for m in range(2):
            with MicroBatchDraws(1, (0, 0, 0, step, m)).within("blocks.0", torch.device("cpu")):
                masks.add(tuple(part(torch.ones(64)).tolist()))
    assert len(masks) == 4
