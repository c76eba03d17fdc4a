"""Rounds whose parameters travel in other formats than fp32: what is sent, trained and charged."""

from __future__ import annotations

import dataclasses
import io

import lab
import scheming
import tied_model
import torch
from format_rounds import INT8, MODEL, TOP_K, plan, run, sent

from bridge.formats import FP32
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.costs.measured import measure_parts
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.exchange import Blocks, Units
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.prediction.memory import memory_problems, predict_memory
from collapipe_ns3.references import References


def test_the_model_travels_whole_once_and_then_as_differences() -> None:
    state = lab.fresh(lab.adamw)
    first, second = run([plan(0), plan(1)], state)
    size = lab.COSTS.units_bytes
    assert sent(first)["bs", "c0.cu"] == size(MODEL)
    assert sent(second)["bs", "c0.cu"] == size(MODEL, INT8)
    half = Units(blocks=(Blocks(2, 3),))
    assert sent(first)["c0.cu", "c0.d1"] == size(half)
    assert sent(second)["c0.cu", "c0.d1"] == size(half, INT8)
    assert sent(first)["c0.d1", "c0.cu"] == sent(second)["c0.d1", "c0.cu"] == size(half, TOP_K)
    assert sent(second)["c1.cu", "bs"] == size(MODEL, TOP_K)
    assert size(MODEL, INT8) < size(MODEL) / 2


def test_the_sizes_of_tables_are_those_on_the_air() -> None:
    *_, outcome = run([plan(0), plan(1)], lab.fresh(lab.adamw))
    for (src, dst), cluster, direction in [
        (("bs", "c0.cu"), 0, "down"),
        (("c1.cu", "bs"), 1, "up"),
    ]:
        rows = [e for e in outcome.encodings if (e.cluster, e.direction) == (cluster, direction)]
        assert sum(each.size_bytes for each in rows) == sent(outcome)[src, dst]


def test_a_run_goes_on_as_if_it_had_not_stopped() -> None:
    one, other = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    run([plan(0), plan(1), plan(2)], one)
    run([plan(0), plan(1)], other)
    file = io.BytesIO()
    torch.save(other.to_checkpoint(), file)
    file.seek(0)
    resumed = lab.fresh(lab.adamw)
    resumed.load_checkpoint(torch.load(file, weights_only=True))
    run([plan(2)], resumed)
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name])
    assert one.kept.references == resumed.kept.references
    for key, unsent in one.kept.unsent.items():
        for name, tensor in unsent.parameters.items():
            assert torch.equal(tensor, resumed.kept.unsent[key].parameters[name])


def test_devices_are_charged_for_references_and_memories() -> None:
    exact, coded = (
        {use.device: use.peak_memory_bytes for use in outcome.devices}
        for outcome in (
            run([plan(0, FP32, FP32)], lab.fresh(lab.adamw))[0],
            run([plan(0)], lab.fresh(lab.adamw))[0],
        )
    )
    block, embedding = lab.COSTS.blocks[0].parameter_bytes, lab.COSTS.first.parameter_bytes
    assert coded["c0.d1"] - exact["c0.d1"] == 2 * 2 * block
    assert coded["c1.cu"] - exact["c1.cu"] == 2 * embedding
    assert coded["bs"] == exact["bs"]


def test_fp32_by_an_arrangement_learns_what_it_learns_without_one() -> None:
    one, other = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    without = dataclasses.replace(plan(0, FP32, FP32), exchange=None)
    run([plan(0, FP32, FP32)], one)
    run([without], other)
    assert one.kept.references == References()
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name])


def test_what_is_trained_in_int8_differences_is_nearly_what_is_trained_in_fp32() -> None:
    """Over three rounds the model moves by much more than formats make it deviate."""
    start = lab.fresh(lab.adamw).model.averaged()
    states = {name: lab.fresh(lab.adamw) for name in ("fp32", "int8")}
    run([plan(n, FP32, FP32) for n in range(3)], states["fp32"])
    run([plan(n, INT8, INT8) for n in range(3)], states["int8"])
    exact, coded = (states[name].model.averaged() for name in ("fp32", "int8"))
    moved = sum(float((exact[name] - start[name]).square().sum()) for name in exact)
    off = sum(float((exact[name] - coded[name]).square().sum()) for name in exact)
    assert 0 < off < 0.05 * moved


def test_copies_of_a_tied_parameter_stay_equal_over_rounds() -> None:
    """The copy of the base station begins each round with what the control unit has received."""
    state = TrainingState(tied_model.model(), lab.adamw, tied_model.costs())
    arrangement = Arrangement((Group((0,), INT8),), uploads={0: INT8})
    for round in range(3):
        made = dataclasses.replace(lab.one_cluster((1, 1), 2), round=round)
        outcome = lab.run_one(
            made.arranged_by(arrangement), state, draw_batches=tied_model.batches, local_steps=2
        )
        for model in (state.replica(0, 0).model, state.model):
            assert torch.equal(model.head.weight, model.embedding.weight)  # type: ignore[union-attr]
    assert not any(each.whole for each in outcome.encodings)


def test_units_without_trained_parameters_take_no_bytes() -> None:
    """With a frozen embedding, as LoRA has it."""
    made = lab.model()
    made.embedding.requires_grad_(False)
    batch = next(lab.batches(0, 0))
    costs = measure_parts(made, batch, Lengths(8, 8))
    outcomes = run([plan(0), plan(1)], TrainingState(made, lab.adamw, costs))
    rows = [each for each in outcomes[1].encodings if each.unit == "embedding"]
    assert [(each.size_bytes, each.distortion, each.norm_sq) for each in rows] == [(0, 0, 0)] * 4
    blocks = Units(blocks=(Blocks(0, 3),))
    assert sent(outcomes[1])["bs", "c0.cu"] == costs.units_bytes(blocks, INT8)


def test_the_default_arrangement_is_that_of_no_exchange() -> None:
    made = plan(0)
    assert made.effective_exchange() == made.exchange
    without = dataclasses.replace(made, exchange=None)
    assert without.effective_exchange() == arranged(made.placements(), Arrangement())


def test_a_plan_whose_references_do_not_fit_is_refused() -> None:
    """Memory is predicted as it is charged, and just enough for fp32 is too little."""
    seen, made = scheming.observation([2, 2], 4), plan(0)
    exact = dataclasses.replace(made, exchange=None)
    pipes = [cluster.pipelines[0] for cluster in exact.clusters]
    shape = seen.model.longest_shape(12)
    needed = predict_memory(seen.model, pipes[0], shape, seen.optimizer)["c0.d1"]
    block = seen.model.blocks[0].parameter_bytes
    for spare, fits in ((0, False), (4 * block - 1, False), (4 * block, True)):
        changed = {"c0.d1": {"memory_bytes": needed + spare}}
        few = scheming.observation([2, 2], 4, changed=changed)
        assert list(memory_problems(exact, few)) == []
        assert (list(memory_problems(made, few)) == []) is fits
