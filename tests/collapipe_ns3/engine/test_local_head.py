"""The mode local_head: the blocks learn from the local head alone, the last part from features."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import lab
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.learning.models.transformer import TranslationModel
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage, micro_batch_sizes

CUTS = st.sampled_from([(4,), (1, 3), (3, 1), (2, 2), (1, 2, 1), (1, 1, 1, 1)])
COUNTS = st.sampled_from([1, 2, 3, 4, 6, 12])
SCHEDULES = ["gpipe", "1f1b"]


def plain_step(model: TranslationModel, batch: lab.Batch, micro_batches: int) -> float:
    """Accumulates the gradients of a batch in a plain loop; returns the loss of the last part."""
    total = 0.0
    for part in batch.split(micro_batch_sizes(batch.sequences, micro_batches)):
        features = model.encode(part.inputs, part.side)
        local = model.local_loss(features, part.side, part.labels, batch.total)
        local.backward()  # type: ignore[no-untyped-call]
        detached = tuple(each.detach() for each in features)
        loss = model.loss(detached, part.side, part.labels, batch.total)
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


@settings(max_examples=25)
@given(CUTS, COUNTS, st.sampled_from(SCHEDULES))
def test_every_gradient_is_bit_equal_to_those_of_a_plain_loop(
    cut: tuple[int, ...], micro_batches: int, schedule: str
) -> None:
    recording = lab.Recording()
    state = lab.fresh(recording, local_head=True)
    lab.run_one(lab.one_cluster(cut, micro_batches, schedule), state)
    taken = recording.by_name(state.replica(0, 0).model)
    alone = lab.fresh(recording, local_head=True).model
    plain_step(alone, next(lab.batches(0, 0)), micro_batches)
    expected = {name: p.grad for name, p in alone.named_parameters()}
    assert taken.keys() == expected.keys()
    assert not [name for name, (grad,) in taken.items() if not torch.equal(grad, expected[name])]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rounds_end_with_the_parameters_of_a_plain_loop(schedule: str) -> None:
    """Two rounds of two steps with AdamW; blocks move with their states, the local head stays."""
    state = lab.fresh(lab.adamw, local_head=True)
    alone = lab.fresh(lab.adamw, local_head=True).model
    plans = [lab.one_cluster((1, 3), 4, schedule), lab.one_cluster((2, 1, 1), 2, schedule)]
    moved = [dataclasses.replace(plan, round=number) for number, plan in enumerate(plans)]
    outcomes = lab.run_rounds(moved, state, local_steps=2)
    optimizer = lab.adamw(alone.parameters())
    for round, micro_batches in enumerate((4, 2)):
        stream, losses = lab.batches(0, round), []
        for _ in range(2):
            losses.append(plain_step(alone, next(stream), micro_batches))
            optimizer.step()
            optimizer.zero_grad()
        assert outcomes[round].loss == pytest.approx(sum(losses) / 2, rel=1e-12)
    expected = alone.state_dict()
    found = state.model.state_dict()
    assert not [name for name in found if not torch.equal(found[name], expected[name])]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("cut", [(4,), (2, 1, 1)])
def test_features_go_up_once_and_no_gradient_comes_down(cut: Sequence[int], schedule: str) -> None:
    micro_batches = 3
    outcome = lab.run_one(
        lab.one_cluster(cut, micro_batches, schedule), lab.fresh(lab.adamw, local_head=True)
    )
    carried = Counter((each.src, each.dst, str(each.kind)) for each in outcome.deliveries)
    assert carried["bs", "c0.cu", "gradient"] == 0
    assert carried["c0.cu", "bs", "activation"] == micro_batches
    assert carried["c0.cu", "bs", "labels"] == micro_batches
    last = f"c0.d{len(cut) - 1}"
    assert carried[last, "c0.cu", "activation"] == micro_batches
    assert carried["c0.cu", last, "gradient"] == micro_batches
    tokens = next(lab.batches(0, 0)).inputs[0].shape[1]
    features = lab.LOCAL_COSTS.blocks[-1].output.bytes_on_air("fp32", BatchShape(4, tokens, 1))
    up = [d.size_bytes for d in outcome.deliveries if (d.dst, d.kind) == ("bs", "activation")]
    assert up == [features] * micro_batches
    head, edge = len(cut) + 1, len(cut) + 2
    stages = {each.stage: each.node for each in outcome.computations if each.action == "F"}
    assert (stages[head], stages[edge]) == ("c0.cu", "bs")
    flops = {(each.stage, each.action): each.flops for each in outcome.computations}
    shape = next(lab.batches(0, 0)).split([4, 4, 4])[0].shape
    for stage, part in ((head, lab.LOCAL_COSTS.local_head), (edge, lab.LOCAL_COSTS.last)):
        assert part is not None
        assert flops[stage, "F"] == part.forward_flops(shape)
        assert flops[stage, "B"] == part.backward_flops(shape)
        assert flops[stage, "step"] == lab.OPTIMIZERS["sgd"].flops * part.parameters


def test_a_device_that_holds_the_whole_model_sends_no_features() -> None:
    whole = Pipeline((Stage("c0.d0", 0, 3),), 2, "1f1b", embedding="c0.d0", decoder="c0.d0")
    state = lab.fresh(lab.Recording(), local_head=True)
    outcome = lab.run_one(RoundPlan(0, "test", (ClusterPlan(0, (whole,)),)), state)
    kinds = {str(each.kind) for each in outcome.deliveries}
    assert kinds == {"model", "parameters"}
    expected = lab.fresh(lab.Recording(), local_head=True).model
    plain_step(expected, next(lab.batches(0, 0)), 2)
    lab.Recording()(expected.parameters()).step()
    assert same(state, expected)


def test_local_heads_are_averaged_with_the_blocks() -> None:
    """The average of two clusters is the mean of what each trains alone."""
    clusters = tuple(
        ClusterPlan(n, (lab.pipeline(n, cut, 3, "gpipe"),)) for n, cut in enumerate([(2, 2), (4,)])
    )
    together = lab.fresh(lab.adamw, local_head=True)
    lab.run_one(RoundPlan(0, "test", clusters), together, shares=(0.5, 0.5))
    alone = []
    for cluster in clusters:
        state = lab.fresh(lab.adamw, local_head=True)
        lab.run_one(RoundPlan(0, "test", (cluster,)), state, shares=(0.5, 0.5))
        alone.append(state.model.state_dict())
    name = "local_head.classifier.weight"
    assert not torch.equal(alone[0][name], alone[1][name])
    for each, tensor in together.model.state_dict().items():
        torch.testing.assert_close(tensor, 0.5 * alone[0][each] + 0.5 * alone[1][each])


def test_a_run_goes_on_from_a_checkpoint_with_its_local_head() -> None:
    plans = [dataclasses.replace(lab.one_cluster((2, 2), 2), round=n) for n in range(2)]
    whole = lab.fresh(lab.adamw, local_head=True)
    lab.run_rounds(plans, whole)
    parted = lab.fresh(lab.adamw, local_head=True)
    lab.run_rounds(plans[:1], parted)
    taken_up = lab.fresh(lab.adamw, local_head=True)
    taken_up.load_checkpoint(parted.to_checkpoint())
    lab.run_rounds(plans[1:], taken_up)
    assert same(taken_up, whole.model)


def same(state: TrainingState, expected: torch.nn.Module) -> bool:
    """Whether the global model has the tensors of another, to the bit."""
    tensors: dict[str, Tensor] = dict(expected.state_dict())
    return all(torch.equal(each, tensors[n]) for n, each in state.model.state_dict().items())
