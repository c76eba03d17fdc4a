"""The event graph knows how large every shipment is, in any format: whole, or as differences."""

from __future__ import annotations

import format_rounds
import lab
import pytest
from timelines import LabCosts, agree, workload

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.eventgraph.timeline import build_timeline


@pytest.mark.parametrize(
    ("down", "up"),
    [
        (format_rounds.INT8, format_rounds.TOP_K),
        (ParameterFormat("bf16"), FP32),
        (format_rounds.TOP_K, ParameterFormat("fp16", difference=True)),
    ],
    ids=str,
)
def test_rounds_are_predicted_from_what_nodes_hold(
    down: ParameterFormat, up: ParameterFormat
) -> None:
    """All whole, all as differences, a cluster that sits out, and its return."""
    state = lab.fresh(lab.Recording())
    costs = LabCosts(lab.profiles(["bs", *_nodes()], {}), {})
    for round, absent in enumerate([(), (), (1,), ()]):
        plan = format_rounds.plan(round, down, up, absent=absent)
        references = state.kept.references
        (outcome,) = format_rounds.run([plan], state)
        agree(build_timeline(plan, workload(0, 2), costs, references=references), outcome)


def _nodes() -> list[str]:
    devices = [device for cluster in format_rounds.DEVICES for device in cluster]
    return ["c0.cu", "c1.cu", *devices]
