"""FLOPs and memory by closed form against what is measured on the running modules."""

from __future__ import annotations

import dataclasses

import lab
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.costs.measured import Bench, passes
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.learning.batch import Batch, BatchShape, Payload
from collapipe_ns3.learning.models.transformer import build
from collapipe_ns3.plan import ClusterPlan, RoundPlan
from collapipe_ns3.prediction.memory import most_kept, predict_memory
from collapipe_ns3.schedule import table


@settings(max_examples=20, deadline=None)
@given(
    heads=st.sampled_from([1, 2, 4]),
    width=st.sampled_from([16, 32, 64]),
    feed_forward=st.integers(8, 256),
    u=st.integers(1, 16),
    s=st.integers(2, 24),
    padded=st.booleans(),
)
def test_a_blocks_cost_does_not_depend_on_padding(
    heads: int, width: int, feed_forward: int, u: int, s: int, padded: bool
) -> None:
    """Less is kept of a single sequence than is said."""
    spec = dataclasses.replace(lab.SPEC, width=width, heads=heads, feed_forward=feed_forward,
                               max_length=24)  # fmt: skip
    tokens = torch.full((u, s), 3)
    tokens[:, -1] = 0 if padded else 3
    batch = Batch((tokens,), (tokens == 0,), (tokens,), torch.full((u,), s))
    measured = Bench(build(spec, 1), batch, "float32").run(batch.shape)[1]
    predicted = closed_form(spec).blocks[0]
    assert predicted.forward_flops(batch.shape) == measured.forward_flops
    assert predicted.backward_flops(batch.shape) == measured.backward_flops
    kept = predicted.kept_bytes(batch.shape)
    assert kept == measured.kept_bytes or (
        u == 1 and kept == pytest.approx(measured.kept_bytes, rel=0.05, abs=0)
    )


def test_blocks_together_keep_what_each_of_them_keeps() -> None:
    """An output that is the next one's input is kept once."""
    model, batch = lab.model(), next(lab.batches(0, 0))
    bench = Bench(model, batch, "float32")
    x = (torch.randn(*batch.inputs[0].shape, lab.SPEC.width, requires_grad=True),)

    def run(given: Payload) -> Payload:
        for block in model.blocks:
            given = model.run(block, given, batch.side)
        return given

    ignored = (*model.parameters(), *batch.side)
    ahead, back, kept, _ = passes(run, x, list(model.blocks.parameters()), ignored)
    together = lab.COSTS.segment(0, lab.SPEC.encoder_blocks - 1)
    shape = batch.shape
    assert together.forward_flops(shape) == ahead
    assert together.backward_flops(shape) == back
    assert together.kept_bytes(shape) == kept == 4 * bench.run(shape)[1].kept_bytes


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("cuts", "micro_batches"), [((4,), 1), ((1, 2, 1), 5), ((2, 2), 6)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("local_head", [False, True])
def test_a_devices_peak_memory_is_predicted(
    cuts: tuple[int, ...],
    micro_batches: int,
    schedule: str,
    optimizer: str,
    recompute: bool,
    local_head: bool,
) -> None:
    """What a round of three steps holds at most: exactly, but for counters of the optimizer."""
    plan = lab.one_cluster(cuts, micro_batches, schedule, recompute=recompute)
    make = lab.adamw if optimizer == "adamw" else lab.Recording()
    outcome = lab.run_one(plan, lab.fresh(make, local_head), local_steps=3)
    held = {use.device: use.peak_memory_bytes for use in outcome.devices if use.blocks}
    pipe = plan.clusters[0].pipelines[0]
    costs = lab.LOCAL_COSTS if local_head else lab.COSTS
    predicted = predict_memory(costs, pipe, BatchShape(12, 6, 6), OPTIMIZERS[optimizer])
    assert predicted.keys() == held.keys()
    for device, size in predicted.items():
        assert 0 <= held[device] - size <= 4 * 12 * lab.SPEC.encoder_blocks


def test_the_memory_of_a_local_head_is_that_of_its_node() -> None:
    """A pipeline that names all nodes has the local head where the first part is."""
    line = lab.pipeline(0, (2, 2), 3, "1f1b")
    pipe = dataclasses.replace(line, embedding="c0.cu", decoder="bs")
    plan = RoundPlan(0, "test", (ClusterPlan(0, (pipe,)),))
    outcome = lab.run_one(plan, lab.fresh(lab.adamw, local_head=True), local_steps=3)
    held = {use.device: use.peak_memory_bytes for use in outcome.devices}
    shape, adamw = BatchShape(12, 6, 6), OPTIMIZERS["adamw"]
    assert predict_memory(lab.LOCAL_COSTS, pipe, shape, adamw) == pytest.approx(held, rel=0.05)


def test_1f1b_keeps_as_many_micro_batches_as_stages_follow() -> None:
    for stages in range(2, 6):
        for micro_batches in range(1, 8):
            alternating = table("1f1b", stages, micro_batches)
            kept = [most_kept(alternating[i], [1] * micro_batches) for i in range(stages)]
            assert kept == [min(micro_batches, stages - i) for i in range(stages)]
            everything = table("gpipe", stages, micro_batches)
            assert most_kept(everything[0], [1] * micro_batches) == micro_batches
