"""FLOPs and memory by closed form against what is measured on the running modules."""

from __future__ import annotations

import dataclasses

import lab
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.costs.measured import measure
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.learning.models.transformer import build
from collapipe_ns3.prediction.memory import most_kept, predict_memory
from collapipe_ns3.schedule import table

SIZES = dataclasses.replace(lab.SPEC, width=16, heads=4, feed_forward=48, encoder_blocks=3)


@settings(max_examples=30)
@given(
    heads=st.sampled_from([1, 2, 4]),
    width=st.sampled_from([16, 32, 64]),
    feed_forward=st.integers(8, 256),
    blocks=st.integers(1, 3),
    u=st.integers(1, 16),
    s=st.integers(2, 24),
    padded=st.booleans(),
)
def test_a_segments_cost_is_predicted(
    heads: int, width: int, feed_forward: int, blocks: int, u: int, s: int, padded: bool
) -> None:
    """Exactly, but that less is kept of a single sequence than is said."""
    spec = dataclasses.replace(
        SIZES, width=width, heads=heads, feed_forward=feed_forward, encoder_blocks=blocks
    )
    parts = list(build(spec, 1).blocks)
    padding = torch.zeros(u, s, dtype=torch.bool)
    padding[:, -1] = padded
    parameters = [p for part in parts for p in part.parameters()]
    measured = measure(lab.segment(parts), parameters, [torch.randn(u, s, width), padding])
    predicted, shape = closed_form(spec).segment(0, blocks - 1), BatchShape(u, s, 1)
    assert predicted.forward_flops(shape) == measured.forward_flops
    assert predicted.backward_flops(shape) == measured.backward_flops
    assert predicted.parameter_bytes == measured.parameter_bytes
    assert predicted.tensors == len(parameters)
    exact = predicted.kept_bytes(shape)
    assert exact == measured.activation_bytes or (
        u == 1 and exact == pytest.approx(measured.activation_bytes, rel=0.05, abs=0)
    )


def test_measuring_leaves_no_gradient() -> None:
    model = build(SIZES, 1)
    batch = next(lab.batches(0, 0))
    measure(model.embedding, list(model.embedding.parameters()), [batch.inputs[0]])
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize(("cuts", "micro_batches"), [((4,), 1), ((1, 2, 1), 4), ((2, 2), 6)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_devices_peak_memory_is_predicted(
    cuts: tuple[int, ...], micro_batches: int, schedule: str, optimizer: str
) -> None:
    """What a round of three steps holds at most, within 5 % of the prediction."""
    plan = lab.one_cluster(cuts, micro_batches, schedule)
    make = lab.adamw if optimizer == "adamw" else lab.Recording()
    outcome = lab.run_one(plan, lab.fresh(make), local_steps=3)
    held = {use.device: use.peak_memory_bytes for use in outcome.devices if use.blocks}
    pipe = plan.clusters[0].pipelines[0]
    predicted = predict_memory(
        closed_form(lab.SPEC), pipe, BatchShape(12, 6, 6), OPTIMIZERS[optimizer]
    )
    assert predicted.keys() == held.keys()
    for device, size in predicted.items():
        assert size == pytest.approx(held[device], rel=0.05)


def test_1f1b_keeps_as_many_micro_batches_as_stages_follow() -> None:
    for stages in range(2, 6):
        for micro_batches in range(1, 8):
            alternating = table("1f1b", stages, micro_batches)
            kept = [most_kept(alternating[i], [1] * micro_batches) for i in range(stages)]
            assert kept == [min(micro_batches, stages - i) for i in range(stages)]
            everything = table("gpipe", stages, micro_batches)
            assert most_kept(everything[0], [1] * micro_batches) == micro_batches
