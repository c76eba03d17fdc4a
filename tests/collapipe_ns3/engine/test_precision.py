"""bfloat16 in the engine: computed in 16 bits, kept in 32, and the same wherever a model is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import lab
import pytest
import studies
import torch
from torch import Tensor

from collapipe_ns3 import Study
from collapipe_ns3.costs.measured import measure_parts
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.outcome import RoundOutcome


def sgd(parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.fixture(scope="module")
def costs() -> ModelCosts:
    sample = next(lab.batches(0, 0))
    return measure_parts(lab.model().train(), sample, Lengths(8, 8), "bfloat16")


def trained(
    costs: ModelCosts, cuts: Sequence[int], precision: str = "bfloat16", recompute: bool = False
) -> tuple[dict[str, Tensor], RoundOutcome]:
    """The parameters after a round of two steps."""
    state = TrainingState(lab.model(), sgd, costs, precision)
    plan = lab.one_cluster(cuts, 5, "1f1b", recompute=recompute)
    outcome = lab.run_one(plan, state, local_steps=2)
    return dict(state.model.state_dict()), outcome


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cuts", [(1, 3), (2, 1, 1)])
def test_results_do_not_depend_on_where_the_model_is_cut(
    costs: ModelCosts, cuts: tuple[int, ...], recompute: bool
) -> None:
    expected, _ = trained(costs, (4,))
    found, _ = trained(costs, cuts, recompute=recompute)
    assert not [name for name in found if not torch.equal(found[name], expected[name])]


def test_parameters_and_what_travels_have_32_bits(costs: ModelCosts) -> None:
    half, outcome = trained(costs, (2, 2))
    full, same = trained(costs, (2, 2), "float32")
    assert {tensor.dtype for tensor in half.values()} == {torch.float32}
    near = [torch.allclose(half[name], full[name], atol=0.02) for name in full]
    assert all(near)
    assert any(not torch.equal(half[name], full[name]) for name in full)
    sizes = [sorted(each.size_bytes for each in run.deliveries) for run in (outcome, same)]
    assert sizes[0] == sizes[1]


def test_a_study_in_bfloat16_computes_at_its_own_speed(tmp_path: Path) -> None:
    """With twice the speed, a computation of a device takes half of its FLOPs' time."""
    device = {"profile": "raspberry-pi-4", "overhead_s": 0.0, "flops_per_s_bf16": 24e9}
    cluster = {"cu": "jetson-nano", "position": [20, 10], "devices": [device]}
    busy_s = {}
    for precision in ("float32", "bfloat16"):
        training = {**studies.TINY["training"], "precision": precision}
        study = Study(studies.config(clusters=[cluster], training=training))
        result = study.run(rounds=1, out=tmp_path / precision)
        rows = result.computes[result.computes["node"] == "c0.d0"]
        busy_s[precision] = (rows["end_s"] - rows["start_s"]).sum()
    assert busy_s["bfloat16"] == pytest.approx(busy_s["float32"] / 2, rel=1e-3)
