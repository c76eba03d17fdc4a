"""Devices are lost one after another, at once, while a pipeline recovers, and while it gathers."""

from __future__ import annotations

import dataclasses

import lab
import losses
import pytest

from bridge.fixed import Link
from collapipe_ns3.exchange import PipelineId
from collapipe_ns3.outcome import PipelineFate, RoundOutcome
from collapipe_ns3.plan import Deadline, RecoveryPolicy
from collapipe_ns3.run.records import RoundRecord

FAST = Link(rate_bps=800_000_000)
POLICIES: tuple[RecoveryPolicy, ...] = ("restart", "replicate")


def whole(policy: RecoveryPolicy, state: lab.TrainingState | None = None) -> RoundOutcome:
    (outcome,) = losses.run([losses.plan(policy)], state or lab.fresh(losses.sgd), default=FAST)
    return outcome


def run(
    policy: RecoveryPolicy,
    state: lab.TrainingState,
    away: dict[str, tuple[int, int | None]],
    **how: int,
) -> RoundOutcome:
    plan = losses.plan(policy, **how)  # type: ignore[arg-type]
    (outcome,) = losses.run([plan], state, away, default=FAST)
    return outcome


def lost(fate: PipelineFate) -> list[tuple[str, int]]:
    return [(each.device, each.back_to_step) for each in fate.lost]


@pytest.mark.parametrize("policy", POLICIES)
def test_one_after_another(policy: RecoveryPolicy) -> None:
    expected, state = lab.fresh(losses.sgd), lab.fresh(losses.sgd)
    outcome = whole(policy, expected)
    first_ns = losses.middle(outcome, "c0.d1", "B", 1)
    once = run(policy, lab.fresh(losses.sgd), {"c0.d1": (first_ns, None)})
    second_ns = losses.middle(once, "c0.d0", "B", 3, begun_ns=first_ns)
    found = run(policy, state, {"c0.d1": (first_ns, None), "c0.d0": (second_ns, None)})
    assert losses.same(state, expected)
    (fate,) = found.pipelines
    back = {"restart": (0, 0), "replicate": (1, 3)}[policy]
    assert lost(fate) == [("c0.d1", back[0]), ("c0.d0", back[1])]
    assert losses.devices(fate) == {"c0.d2": 4}
    assert fate.repeated_steps == {"restart": 1 + 3, "replicate": 0}[policy]
    assert fate.step_losses == outcome.pipelines[0].step_losses


@pytest.mark.parametrize("policy", POLICIES)
def test_two_at_once(policy: RecoveryPolicy) -> None:
    expected, state = lab.fresh(losses.sgd), lab.fresh(losses.sgd)
    at_ns = losses.middle(whole(policy, expected), "c0.d1", "B", 1)
    away = {"c0.d2": (at_ns, None), "c0.d1": (at_ns, at_ns + 500_000)}
    (fate,) = run(policy, state, away).pipelines
    assert losses.same(state, expected)
    back = {"restart": 0, "replicate": 1}[policy]
    assert lost(fate) == [("c0.d1", back), ("c0.d2", back)]
    assert losses.devices(fate) == {"c0.d0": 4}


@pytest.mark.parametrize("policy", POLICIES)
def test_while_it_recovers_from_the_loss_before(policy: RecoveryPolicy) -> None:
    """The new holder of the lost blocks leaves while it receives them."""
    expected, state = lab.fresh(losses.sgd), lab.fresh(losses.sgd)
    first_ns = losses.middle(whole(policy, expected), "c0.d1", "B", 2)
    once = run(policy, lab.fresh(losses.sgd), {"c0.d1": (first_ns, None)})
    kind = {"restart": "model", "replicate": "parameters"}[policy]
    second_ns = losses.middle(once, "c0.d2", kind, begun_ns=first_ns)
    found = run(policy, state, {"c0.d1": (first_ns, None), "c0.d2": (second_ns, None)})
    (fate,) = found.pipelines
    assert losses.same(state, expected)
    back = {"restart": 0, "replicate": 2}[policy]
    assert lost(fate) == [("c0.d1", back), ("c0.d2", back)]
    assert [each.at_ns for each in fate.lost] == [first_ns, second_ns]
    assert fate.repeated_steps == 2 - back
    assert losses.devices(fate) == {"c0.d0": 4}


@pytest.mark.parametrize("policy", POLICIES)
def test_more_than_the_plan_allows_abandons_it(policy: RecoveryPolicy) -> None:
    first_ns = losses.middle(whole(policy), "c0.d1", "B", 1)
    away: dict[str, tuple[int, int | None]] = {"c0.d1": (first_ns, None)}
    once = run(policy, lab.fresh(losses.sgd), away)
    away["c0.d0"] = losses.middle(once, "c0.d0", "B", 3, begun_ns=first_ns), None
    (fate,) = run(policy, lab.fresh(losses.sgd), away, most_losses=1).pipelines
    assert fate.fate == "failed"
    assert fate.reason.endswith("; the plan allows 1 loss in a round, not 2")
    back = {"restart": 0, "replicate": 1}[policy]
    assert lost(fate) == [("c0.d1", back), ("c0.d0", -1)]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_has_arrived_at_the_control_unit_is_not_lost(policy: RecoveryPolicy) -> None:
    expected, state = lab.fresh(losses.sgd), lab.fresh(losses.sgd)
    outcome = whole(policy, expected)
    ends = [
        d.end_ns
        for d in outcome.deliveries
        if d.src == "c0.d1" and d.kind == "parameters" and losses.step_of(d) < 0
    ]
    (fate,) = run(policy, state, {"c0.d1": (max(ends), None)}).pipelines
    assert losses.same(state, expected)
    assert (fate.lost, fate.repeated_steps) == ((), 0)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("then", ["training", "recovering", "gathering"])
def test_without_the_control_unit_it_fails(policy: RecoveryPolicy, then: str) -> None:
    first_ns = losses.middle(whole(policy), "c0.d1", "B", 2)
    away: dict[str, tuple[int, int | None]] = {"c0.d1": (first_ns, None)}
    once = run(policy, lab.fresh(losses.sgd), away)
    if then == "training":
        at_ns = losses.middle(once, "c0.cu", "B", 3, begun_ns=first_ns)
    elif then == "recovering":
        kind = {"restart": "model", "replicate": "parameters"}[policy]
        at_ns = losses.middle(once, "c0.d2", kind, begun_ns=first_ns)
    else:
        trained_ns = max(c.end_ns for c in once.computations if c.action == "step")
        at_ns = losses.middle(once, "c0.d2", "parameters", begun_ns=trained_ns - 1)
    found = run(policy, lab.fresh(losses.sgd), away | {"c0.cu": (at_ns, None)})
    (fate,) = found.pipelines
    assert (fate.fate, fate.end_ns) == ("failed", at_ns)
    assert fate.reason.endswith("; c0.cu has the global model of the round")
    assert list(found.abandoned) == [0]
    assert [each.device for each in fate.lost] == ["c0.d1", "c0.cu"]


def test_the_record_says_what_became_of_each() -> None:
    at_ns = losses.middle(whole("restart"), "c0.d1", "B", 1)
    plan = losses.plan("restart")
    outcome = run("restart", lab.fresh(losses.sgd), {"c0.d1": (at_ns, None)})
    (row,) = RoundRecord(plan, outcome, (), {}, 2_000_000_000, 0.0, 1).tables()["pipelines"]
    at_s = 2 + at_ns / 1e9
    assert row["lost"] == (
        f"c0.d1 at {at_s:.9g} s in local step 1, on from local step 0, optimizer states: zeros"
    )
    assert row["repeated_steps"] == 1
    assert row["devices"] == "c0.d0 → c0.d2"
    assert row["stages"] == "c0.d0[0-1] → c0.d2[2-3]"
    assert PipelineId(row["cluster"], row["pipeline"]) == PipelineId(0, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_deadline_that_passes_while_it_recovers_makes_it_late(policy: RecoveryPolicy) -> None:
    """Its cluster is missing from the average, and the next round runs."""
    plans = [losses.plan(policy, number, clusters=2) for number in (0, 1)]
    (outcome,) = losses.run(plans[:1], lab.fresh(losses.sgd), default=FAST)
    first_ns = losses.middle(outcome, "c0.d1", "B", 2)
    away = {"c0.d1": (first_ns, first_ns + 1000)}
    (once,) = losses.run(plans[:1], lab.fresh(losses.sgd), away, default=FAST)
    kind = {"restart": "model", "replicate": "parameters"}[policy]
    at_ns = losses.middle(once, "c0.d2", kind, begun_ns=first_ns)
    terms = dataclasses.replace(plans[0].terms, deadline=Deadline(at_ns / 1e9, quorum=0.0))
    late = dataclasses.replace(plans[0], terms=terms)
    first, second = losses.run([late, plans[1]], lab.fresh(losses.sgd), away, default=FAST)
    fate, other = first.pipelines
    assert fate.fate == "late"
    assert [each.device for each in fate.lost] == ["c0.d1"]
    assert abs(fate.end_ns - at_ns) <= 1
    assert {each.fate for each in second.pipelines} == {"averaged"}
    assert other.fate in ("late", "averaged")
