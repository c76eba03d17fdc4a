"""Rounds whose parameters travel in other formats than fp32: what is sent, trained and charged."""

from __future__ import annotations

import dataclasses
import io

import lab
import torch

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.exchange import Blocks, Units
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan, validate
from collapipe_ns3.references import References
from collapipe_ns3.schedule import SCHEDULES

INT8 = ParameterFormat("int8", difference=True)
TOP_K = ParameterFormat("fp16", difference=True, largest=0.25)
SHARES = (0.5, 0.5)
MODEL = Units(embedding=True, blocks=(Blocks(0, 3),))


def plan(
    round: int, down: ParameterFormat = INT8, up: ParameterFormat = TOP_K, swapped: bool = False
) -> RoundPlan:
    """Two clusters, each served on its own; the second may put its blocks on its other device."""
    pipes = [lab.pipeline(0, (2, 2), 2, "gpipe"), lab.pipeline(1, (4,), 2, "gpipe")]
    if swapped:
        (stage,) = pipes[1].stages
        pipes[1] = dataclasses.replace(
            pipes[1], stages=(dataclasses.replace(stage, device="c1.d1"),)
        )
    made = RoundPlan(round, "test", tuple(ClusterPlan(n, (p,)) for n, p in enumerate(pipes)))
    groups = (Group((0,), down), Group((1,), down))
    made = made.arranged_by(Arrangement(groups, uploads={0: up, 1: up}))
    validate(
        made,
        devices=(("c0.d0", "c0.d1"), ("c1.d0", "c1.d1")),
        blocks=4,
        batch_size=12,
        schedules=tuple(SCHEDULES),
    )
    return made


def sent(outcome: RoundOutcome) -> dict[tuple[str, str], int]:
    """Bytes of parameters over each hop; optimizer states follow them."""
    sizes: dict[tuple[str, str], int] = {}
    for each in outcome.deliveries:
        if each.kind in ("model", "parameters"):
            sizes.setdefault((each.src, each.dst), each.size_bytes)
    return sizes


def run(plans: list[RoundPlan], state: TrainingState) -> list[RoundOutcome]:
    return lab.run_rounds(plans, state, shares=SHARES, local_steps=2)


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


def test_a_block_that_moves_goes_whole_to_its_new_device() -> None:
    state = lab.fresh(lab.adamw)
    *_, third = run([plan(0), plan(1), plan(2, swapped=True)], state)
    size = lab.COSTS.units_bytes
    blocks = Units(blocks=(Blocks(0, 3),))
    assert sent(third)["c1.cu", "c1.d1"] == size(blocks)
    assert sent(third)["bs", "c1.cu"] == size(blocks) + size(Units(embedding=True), INT8)
    assert sent(third)["bs", "c0.cu"] == size(MODEL, INT8)
    dropped = {(e.cluster, e.unit) for e in third.encodings if e.dropped_error}
    assert dropped == {(1, f"block {n}") for n in range(4)}


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


def test_the_default_arrangement_is_that_of_no_exchange() -> None:
    made = plan(0)
    assert made.effective_exchange() == made.exchange
    without = dataclasses.replace(made, exchange=None)
    assert without.effective_exchange() == arranged(made.placements(), Arrangement())
