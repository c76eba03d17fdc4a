"""The parameters that arrive in formats other than fp32, and what nodes keep because of them."""

from __future__ import annotations

import io
from itertools import pairwise

import lab
import pytest
import torch
from format_lab import BOTH, FIRST, SECOND, exchange, moved, placed, rounds
from tied_model import Tied

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.engine.parameters import Kept, unit_parameters
from collapipe_ns3.exchange import Blocks, Placement, Units
from collapipe_ns3.learning.aggregation import Parameters
from collapipe_ns3.nodes import control_unit

INT8 = ParameterFormat("int8", difference=True)
TOP_K = ParameterFormat("fp32", difference=True, largest=0.1)
DECODER = Units(decoder=True)


def squared(one: Parameters, other: Parameters) -> float:
    """‖one − other‖² over the parameters that travel; the decoder stays on the base station."""
    names = unit_parameters(lab.model())
    travelling = [name for unit, own in names.items() if unit != DECODER for name in own]
    return sum(float((one[name] - other[name]).square().sum()) for name in travelling)


def test_in_fp32_the_very_tensors_are_handed_on() -> None:
    made = exchange(kept := Kept(), 0, FP32, FP32)
    assert made.loaded(FIRST) is made.global_model
    trained = moved(0, FIRST, made.global_model)
    assert made.returned(FIRST, trained) is trained
    made.end(())
    assert kept == Kept()
    assert (made.encodings, made.kept_bytes(), kept.to_checkpoint()) == ([], {}, {})


def test_every_trained_parameter_is_in_one_unit() -> None:
    model = lab.model()
    model.add_local_head(seed=1)
    names = [name for own in unit_parameters(model).values() for name in own]
    assert sorted(names) == sorted(model.averaged())
    assert any("local_head" in name for name in unit_parameters(model)[Units(embedding=True)])


def test_the_first_round_goes_whole_and_all_clusters_get_the_same() -> None:
    model = lab.model()
    made = exchange(kept := Kept(), 0, INT8, FP32, model=model)
    assert squared(made.loaded(FIRST), made.global_model) == 0
    made.end(())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.01)
    made = exchange(kept, 1, INT8, FP32, model=model)
    assert 0 < squared(made.loaded(FIRST), made.global_model) < 1e-3
    assert squared(made.loaded(FIRST), made.loaded(SECOND)) == 0
    for name in unit_parameters(model)[DECODER]:  # which is on the base station
        assert torch.equal(made.loaded(FIRST)[name], made.global_model[name])


def test_without_differences_the_parameters_themselves_are_rounded() -> None:
    made = exchange(kept := Kept(), 0, ParameterFormat("bf16"), ParameterFormat("fp16"))
    for name in (n for u, own in unit_parameters(made.model).items() if u != DECODER for n in own):
        w = made.global_model[name]
        assert torch.equal(made.loaded(FIRST)[name], w.bfloat16().float())
        assert torch.equal(made.returned(FIRST, made.global_model)[name], w.half().float())
    made.end(())
    assert kept == Kept()


def test_the_reference_comes_to_a_constant_model_under_top_k() -> None:
    """EF21: a tenth of the numbers is corrected in every round, the largest errors first."""
    kept, model = Kept(), lab.model()
    made = exchange(kept, 0, TOP_K, FP32, model=model)
    made.loaded(FIRST)
    made.end(())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape))
    errors = []
    for round in range(1, 11):
        made = exchange(kept, round, TOP_K, FP32, model=model)
        errors.append(squared(made.loaded(FIRST), made.global_model))
        made.end(())
    assert all(later < before for before, later in pairwise(errors))
    assert errors[-1] < 1e-9 < 1 < errors[0]


@pytest.mark.parametrize("numbers", ["fp32", "int8", "bf16"])
def test_what_was_sent_and_what_is_left_are_all_that_was_trained(numbers: str) -> None:
    """Error feedback: Σ sent + memory = Σ Δ for each cluster; a failed round adds none."""
    up = ParameterFormat(numbers, difference=True, largest=0.05)  # type: ignore[arg-type]
    kept, failed = Kept(), {2: (SECOND,)}
    made = rounds(kept, 6, INT8, up, moved, failed)
    for pipeline in (FIRST, SECOND):
        for unit, names in unit_parameters(lab.model()).items():
            if unit == DECODER:
                continue
            for name in names:
                trained = torch.zeros(())
                sent = torch.zeros(())
                for round, (loaded, returned) in enumerate(made):
                    if pipeline not in failed.get(round, ()):
                        began = loaded[pipeline]
                        trained = trained + moved(round, pipeline, began)[name] - began[name]
                        sent = sent + returned[pipeline][name] - began[name]
                left = kept.unsent[pipeline, unit].parameters[name]
                torch.testing.assert_close(sent + left, trained, atol=1e-5, rtol=0)
                assert float(left.abs().max()) > 0 or left.numel() < 20


def test_int8_has_no_bias_and_no_error_memory() -> None:
    """The mean error over seeds is at most 5 deviations of the mean; a row's step bounds these."""
    draws, (one, *_) = 150, unit_parameters(lab.model())[Units(blocks=(Blocks(1, 1),))]
    began = exchange(Kept(), 0, FP32, INT8).global_model
    trained = moved(0, FIRST, began)
    total = torch.zeros(())
    for seed in range(draws):
        made = exchange(Kept(), 0, FP32, INT8, seed=seed)
        total = total + made.returned(FIRST, trained)[one] - trained[one]
        made.end(())
        assert not made.kept.unsent
    step = (trained[one] - began[one]).abs().amax(-1, keepdim=True) / 127
    assert float((total / draws / (step / 2 / draws**0.5)).abs().max()) < 5
    assert float(total.abs().max()) > 0


def test_the_same_seed_gives_the_same_and_another_pipeline_another_rounding() -> None:
    made = [exchange(Kept(), 0, FP32, INT8) for _ in range(2)]
    trained = moved(0, FIRST, made[0].global_model)
    one, again = (each.returned(FIRST, trained) for each in made)
    assert squared(one, again) == 0
    assert squared(made[0].returned(SECOND, trained), one) > 0


def test_a_memory_stays_on_its_node_and_is_dropped_when_the_block_moves() -> None:
    kept = Kept()
    rounds(kept, 1, FP32, TOP_K, moved)
    swapped = (placed(0, "c0.d1", "c0.d0"), BOTH[1])
    made = exchange(kept, 1, FP32, TOP_K, swapped)
    for pipeline in (FIRST, SECOND):
        made.returned(pipeline, moved(1, pipeline, made.loaded(pipeline)))
    dropped = [(each.cluster, each.unit) for each in made.encodings if each.dropped_error]
    assert dropped == [(0, f"block {n}") for n in range(4)]
    made.end(())
    assert kept.unsent[FIRST, Units(blocks=(Blocks(0, 0),))].node == "c0.d1"


def test_a_memory_is_given_up_where_the_unit_travels_in_another_kind_of_format() -> None:
    kept = Kept()
    rounds(kept, 1, FP32, TOP_K, moved)
    assert len(kept.unsent) == 2 * 5
    rounds(kept, 1, FP32, FP32, moved, {0: (SECOND,)})
    assert {pipeline for pipeline, _ in kept.unsent} == {SECOND}


def test_an_abandoned_cluster_gets_all_whole_and_the_reference_of_the_others() -> None:
    kept = Kept()
    rounds(kept, 2, INT8, FP32, moved, {1: (SECOND,)})
    model = lab.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    alone = exchange(kept, 2, INT8, FP32, BOTH[:1], model)
    assert not any(way.whole for way in alone.routing.ways())
    multicast = exchange(kept, 2, INT8, FP32, BOTH, model)
    assert all(way.whole for way in multicast.routing.ways())
    assert squared(multicast.loaded(SECOND), multicast.global_model) == 0


def test_rows_say_what_was_encoded() -> None:
    kept = Kept()
    rounds(kept, 1, INT8, TOP_K, moved)
    made = exchange(kept, 1, INT8, TOP_K)
    trained = moved(1, FIRST, began := made.loaded(FIRST))
    returned = made.returned(FIRST, trained)
    down = [each for each in made.encodings if each.direction == "down"]
    assert [(each.whole, each.distortion, each.norm_sq) for each in down] == [(False, 0, 0)] * 5
    up = {each.unit: each for each in made.encodings if each.direction == "up"}
    one = Units(blocks=(Blocks(1, 1),))
    names, memory = unit_parameters(made.model)[one], kept.unsent[FIRST, one].parameters
    sent = {name: trained[name] - began[name] + memory[name] for name in names}
    norm_sq = sum(float(each.square().sum()) for each in sent.values())
    error = sum(float((returned[name] - began[name] - sent[name]).square().sum()) for name in names)
    row = up["block 1"]
    assert row.norm_sq == pytest.approx(norm_sq, rel=1e-5)
    assert row.distortion == pytest.approx(error / norm_sq, rel=1e-4)
    assert row.size_bytes == lab.COSTS.units_bytes(one, TOP_K)
    assert row.format == "the largest 10.00% of fp32 differences"


def test_what_is_kept_survives_a_checkpoint() -> None:
    kept = Kept()
    rounds(kept, 3, INT8, TOP_K, moved)
    file = io.BytesIO()
    torch.save(kept.to_checkpoint(), file)
    file.seek(0)
    restored = Kept.from_checkpoint(torch.load(file, weights_only=True), torch.device("cpu"))
    assert restored.references == kept.references
    before = exchange(kept, 3, INT8, TOP_K).loaded(FIRST)
    made = exchange(restored, 3, INT8, TOP_K)
    assert squared(made.loaded(FIRST), before) == 0
    trained = moved(3, FIRST, before)
    expected = exchange(kept, 3, INT8, TOP_K).returned(FIRST, trained)
    assert squared(made.returned(FIRST, trained), expected) == 0


def test_nodes_are_charged_for_what_they_keep() -> None:
    made = exchange(Kept(), 0, INT8, TOP_K)
    one = lab.COSTS.blocks[0].parameter_bytes
    embedding = lab.COSTS.first.parameter_bytes
    sizes = made.kept_bytes()
    assert sizes["c0.d0"] == 2 * 2 * one  # a reference and an error memory of two blocks
    assert sizes[control_unit(1)] == 2 * embedding
    assert "bs" not in sizes


def test_nodes_that_sit_out_are_charged_for_what_they_still_hold() -> None:
    kept = Kept()
    rounds(kept, 1, INT8, TOP_K, moved)
    one, embedding = lab.COSTS.blocks[0].parameter_bytes, lab.COSTS.first.parameter_bytes
    sizes = exchange(kept, 1, FP32, FP32, BOTH[:1]).kept_bytes()
    assert sizes == {"c1.d0": 2 * 2 * one, "c1.d1": 2 * 2 * one, control_unit(1): 2 * embedding}


def test_copies_of_tied_parameters_stay_equal() -> None:
    one, two = (Units(blocks=(Blocks(n, n),)) for n in range(2))
    units = {control_unit(0): Units(embedding=True), "c0.d0": one, "c0.d1": two}
    format = ParameterFormat("int8")
    made = exchange(Kept(), 0, format, format, [Placement(FIRST, units)], Tied())
    loaded = made.loaded(FIRST)
    assert torch.equal(loaded["head.weight"], loaded["embedding.weight"])
    assert not torch.equal(loaded["head.weight"], made.global_model["head.weight"])
    returned = made.returned(FIRST, moved(0, FIRST, loaded))
    assert torch.equal(returned["head.weight"], returned["embedding.weight"])
