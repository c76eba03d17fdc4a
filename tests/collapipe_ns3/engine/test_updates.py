"""Learning rates and clipping in the engine against a plain loop with torch's own."""

from __future__ import annotations

import copy
import dataclasses

import lab
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from collapipe_ns3.learning.updates import UpdateRule
from collapipe_ns3.plan import micro_batch_sizes

ROUNDS, LOCAL_STEPS = 3, 2

RULES = {
    "constant": UpdateRule(),
    "warm-up": UpdateRule(warm_up_steps=4),
    "linear": UpdateRule("linear", 2, ROUNDS * LOCAL_STEPS, head_factor=5.0),
    "cosine": UpdateRule("cosine", 1, ROUNDS * LOCAL_STEPS, clip_norm=0.1, head_factor=0.3),
    "clipped": UpdateRule(clip_norm=0.05),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("make", [lab.adamw, lab.Recording()], ids=["adamw", "sgd"])
def test_the_engine_updates_as_a_plain_loop_with_torchs_own(
    make: lab.OptimizerMaker, rule: UpdateRule
) -> None:
    """Every part with an optimizer, a `LambdaLR` and a `clip_grad_norm_` of its own."""
    state = lab.fresh(make)
    alone = copy.deepcopy(state.model)
    cuts = [(4,), (1, 3), (2, 1, 1)]
    plans = [
        dataclasses.replace(lab.one_cluster(cut, 2, "1f1b"), round=number)
        for number, cut in enumerate(cuts)
    ]
    lab.run_rounds(plans, state, local_steps=LOCAL_STEPS, updates=rule)

    parts = list(alone.parts().values())
    optimizers = [make(part.parameters()) for part in parts]
    for group in optimizers[-1].param_groups:
        group["lr"] *= rule.head_factor
    schedulers = [LambdaLR(optimizer, rule.factor) for optimizer in optimizers]
    for round in range(ROUNDS):
        stream = lab.batches(0, round)
        for _ in range(LOCAL_STEPS):
            batch = next(stream)
            for piece in batch.split(micro_batch_sizes(batch.sequences, 2)):
                alone.uncut_loss(piece, batch.total).backward()  # type: ignore[no-untyped-call]
            for part, optimizer, scheduler in zip(parts, optimizers, schedulers, strict=True):
                if rule.clip_norm is not None:
                    nn.utils.clip_grad_norm_(part.parameters(), rule.clip_norm)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
    expected = dict(alone.named_parameters())
    for name, parameter in state.model.named_parameters():
        assert torch.equal(parameter, expected[name]), name


def test_a_restored_run_keeps_the_full_learning_rate() -> None:
    """The checkpoint has the learning rate of the last step, and that of the study."""
    rule = RULES["linear"]
    plans = [dataclasses.replace(lab.one_cluster((4,), 1), round=number) for number in range(2)]
    whole = lab.fresh(lab.adamw)
    lab.run_rounds(plans, whole, local_steps=2, updates=rule)
    first, second = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    lab.run_rounds(plans[:1], first, local_steps=2, updates=rule)
    second.load_checkpoint(copy.deepcopy(first.to_checkpoint()))
    lab.run_rounds(plans[1:], second, local_steps=2, updates=rule)
    expected = whole.model.state_dict()
    assert all(
        torch.equal(value, expected[name]) for name, value in second.model.state_dict().items()
    )


def test_an_optimizer_that_lost_its_state_begins_again() -> None:
    """Adagrad has a state before its first step, so that clearing it is not enough."""
    state = lab.fresh(lambda parameters: torch.optim.Adagrad(parameters, lr=0.1))
    unit = state.replica(0, 0).units["blocks.0"]
    before = copy.deepcopy(unit.optimizer.state_dict())
    for _ in range(2):
        for parameter in unit.module.parameters():
            parameter.grad = torch.ones_like(parameter)
        unit.optimizer.step()
        unit.reset_optimizer()
        for number, values in unit.optimizer.state_dict()["state"].items():
            assert torch.equal(values["sum"], before["state"][number]["sum"])
