"""A device leaves in the middle of a round with SCAFFOLD: what becomes of its control variates."""

from __future__ import annotations

import dataclasses
from typing import Any

import lab
import losses
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.aggregation import VARIATE, Parameters
from collapipe_ns3.learning.aggregators import Scaffold
from collapipe_ns3.learning.local_term import LocalTerm
from collapipe_ns3.plan import Recovery, RecoveryPolicy
from collapipe_ns3.prediction.memory import recovery_bytes

#: A byte in 10 ns, so that copies arrive soon after the step.
FAST = Link(rate_bps=800_000_000)
HOW: dict[str, Any] = {
    "aggregator": Scaffold(),
    "term": LocalTerm(variates=True),
    "default": FAST,
}


def fresh() -> TrainingState:
    state = lab.fresh(losses.sgd)
    state.costs = dataclasses.replace(state.costs, sent=2)
    return state


def equal(one: Parameters, other: Parameters) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same(one: TrainingState, other: TrainingState) -> bool:
    """Whether models and all control variates are equal to the bit."""
    variates = equal(one.replica(0, 0).variate, other.replica(0, 0).variate)
    return (
        losses.same(one, other) and variates and equal(one.server[VARIATE], other.server[VARIATE])
    )


def test_a_pipeline_that_goes_on_from_a_copy_has_those_of_the_round_without_the_fault() -> None:
    plans = [losses.plan("replicate", number) for number in (0, 1)]
    state, expected = fresh(), fresh()
    before, whole = losses.run(plans, expected, **HOW)
    at_ns = before.duration_ns + losses.middle(whole, "c0.d1", "B", 2)
    outcome = losses.run(plans, state, {"c0.d1": (at_ns, None)}, **HOW)[1]
    assert outcome.pipelines[0].lost[0].states == "copy"
    assert same(state, expected)


def test_a_pipeline_that_begins_again_has_zeros_for_those_that_were_lost() -> None:
    """As the fallback from the round's start, when the lost device's part of them is zero."""
    first, second = (losses.plan("restart", number) for number in (0, 1))
    state, expected = fresh(), fresh()
    before, whole = losses.run([first, second], fresh(), **HOW)
    at_ns = before.duration_ns + losses.middle(whole, "c0.d1", "B", 2)
    outcome = losses.run([first, second], state, {"c0.d1": (at_ns, None)}, **HOW)[1]
    (fate,) = outcome.pipelines
    losses.run([first], expected, **HOW)
    expected.void(["c0.d1"])
    losses.run([losses.moved(second, losses.devices(fate))], expected, **HOW)
    assert same(state, expected)
    # The base station's variate is still the mean of the clusters': of the only one here.
    for name, own in state.replica(0, 0).variate.items():
        torch.testing.assert_close(state.server[VARIATE][name], own)


@pytest.mark.parametrize("policy", ["restart", "replicate"])
def test_what_is_kept_for_the_recovery_is_what_plans_are_checked_with(
    policy: RecoveryPolicy,
) -> None:
    """In the second round, in which there are control variates from its start."""
    outcomes = [
        losses.run([losses.plan(each, number) for number in (0, 1)], fresh(), **HOW)[1]
        for each in (policy, "abandon")
    ]
    kept, bare = ({u.device: u.peak_memory_bytes for u in each.devices} for each in outcomes)
    pipeline, model = losses.plan(policy).clusters[0].pipelines[0], fresh().costs
    kind = OPTIMIZERS["sgd"].with_term(HOW["term"])
    expected = recovery_bytes(Recovery(policy), pipeline, "c0.cu", model, kind)
    found = {node: kept[node] - bare[node] for node in kept if node != "bs"}
    assert found == expected
    block, first = model.blocks[0].parameter_bytes, model.first.parameter_bytes
    parameters = 4 * block + first
    if policy == "restart":  # plain SGD has no states, and variates do not change in a round
        assert expected == {"c0.d0": 0, "c0.d1": 0, "c0.d2": 0, "c0.cu": 2 * parameters}
    else:  # two copies of parameters and variates
        copies = {"c0.d0": 8 * block, "c0.d1": 4 * block, "c0.d2": 4 * block}
        assert expected == {**copies, "c0.cu": 2 * parameters + 4 * parameters}


def test_an_abandoned_pipeline_keeps_those_that_were_not_lost() -> None:
    plans = [losses.plan("abandon", number, clusters=2) for number in (0, 1)]
    state, before = fresh(), fresh()
    first, whole = losses.run(plans, fresh(), **HOW)
    at_ns = first.duration_ns + losses.middle(whole, "c0.d1", "B", 2)
    outcome = losses.run(plans, state, {"c0.d1": (at_ns, None)}, **HOW)[1]
    assert [each.fate for each in outcome.pipelines] == ["failed", "averaged"]
    losses.run(plans[:1], before, **HOW)
    before.void(["c0.d1"])
    assert equal(state.replica(0, 0).variate, before.replica(0, 0).variate)
