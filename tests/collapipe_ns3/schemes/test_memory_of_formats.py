"""Baselines leave room for what the formats of the study's exchange make devices keep."""

from __future__ import annotations

import pytest
from scheming import observation

from bridge.formats import ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group
from collapipe_ns3.costs.workload import held_bytes
from collapipe_ns3.prediction.memory import memory_problems, predict_whole_model
from collapipe_ns3.schemes.titanic import TITANIC, _offer
from collapipe_ns3.schemes.vanilla_fl import VanillaFL

INT8 = ParameterFormat("int8", difference=True)
TOP_K = ParameterFormat("int8", difference=True, largest=0.1)


def exchange(down: ParameterFormat, up: ParameterFormat) -> Arrangement:
    return Arrangement((Group((0,), down),), uploads={0: up})


@pytest.mark.parametrize(
    ("down", "up", "copies"),
    [
        (ParameterFormat("fp16"), ParameterFormat("bf16"), 0),
        (INT8, ParameterFormat("bf16"), 1),
        (ParameterFormat("fp16"), INT8, 1),
        (INT8, TOP_K, 2),
    ],
)
def test_copies_that_a_node_keeps(down: ParameterFormat, up: ParameterFormat, copies: int) -> None:
    assert exchange(down, up).kept_copies(0) == copies
    assert exchange(down, up).kept_copies(1) == Arrangement().kept_copies(0) == 0


def test_vanilla_fl_leaves_out_devices_that_lack_room_for_references() -> None:
    seen = observation([2], 4)
    parameters = seen.model.parameter_bytes
    most = predict_whole_model(seen, 12) + 2 * parameters
    for missing in (0, 1):
        changed = {"c0.d1": {"memory_bytes": most - missing}, "c0.d0": {"memory_bytes": 1}}
        told = observation([2], 4, changed=changed, exchange=exchange(INT8, TOP_K))
        used = [
            pipe for cluster in VanillaFL().plan(0, told).clusters for pipe in cluster.pipelines
        ]
        assert len(used) == 1 - missing


def test_titanic_knows_that_fewer_blocks_fit_with_references() -> None:
    """Where each device holds just two blocks with references, the plan's memory suffices."""
    seen = observation([2], 4)
    block, shape = seen.model.blocks[0], seen.model.longest_shape(12)
    held = held_bytes(block, seen.optimizer) + block.kept_bytes(shape) + 2 * block.parameter_bytes
    for size, fits in ((2 * held, True), (2 * held - 1, False)):
        changed = {f"c0.d{k}": {"memory_bytes": size} for k in range(2)}
        told = observation([2], 4, changed=changed, exchange=exchange(INT8, TOP_K))
        assert _offer("c0.d0", 0, told).most_blocks == (2 if fits else 1)
        made = TITANIC().plan(0, told).arranged_by(told.exchange)
        assert not fits or list(memory_problems(made, told)) == []
