"""The base station stops to wait at the deadline, if the quorum is in: who is late is cut."""

from __future__ import annotations

import dataclasses

import lab
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3.faults import Faults, Steps
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import ClusterPlan, Deadline, RoundPlan, Terms

SLOW = Link(rate_bps=80_000_000)  # a byte in 100 ns
SHARES = (0.2, 0.3, 0.5)
#: Cluster 1 is slower than cluster 0, and cluster 2 by far the slowest.
BUSY_NS = {"c0.d0": 10_000, "c1.d0": 300_000, "c2.d0": 2_000_000, "bs": 1000}
HOW = {"default": SLOW, "shares": SHARES, "busy_ns": BUSY_NS, "local_steps": 2}


def plan(deadline: Deadline | None, clusters: tuple[int, ...] = (0, 1, 2)) -> RoundPlan:
    planned = tuple(ClusterPlan(n, (lab.pipeline(n, (2, 2), 2, "gpipe"),)) for n in clusters)
    return RoundPlan(0, "test", planned, terms=Terms(deadline=deadline))


@pytest.fixture(scope="module")
def ends_ns() -> list[int]:
    """When each cluster is through without a deadline."""
    return [each.end_ns for each in lab.run_one(plan(None), **HOW).pipelines]


@pytest.mark.parametrize("quorum", [0.0, 1 / 3, 0.5, 2 / 3])
def test_who_is_late_is_cut_at_the_deadline_and_missing_from_the_average(
    ends_ns: list[int], quorum: float
) -> None:
    at_ns = (ends_ns[1] + ends_ns[2]) // 2
    state, oracle = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    outcome = lab.run_one(plan(Deadline(at_ns / 1e9, quorum)), state, **HOW)
    lab.run_one(plan(None, (0, 1)), oracle, **HOW)
    assert [each.fate for each in outcome.pipelines] == ["averaged", "averaged", "late"]
    assert [each.weight for each in outcome.pipelines] == pytest.approx([0.4, 0.6, 0.0])
    late = outcome.pipelines[2]
    assert (late.end_ns, outcome.duration_ns) == (at_ns, at_ns + outcome.phases_ns[Phase.AGGREGATE])
    assert late.reason == f"late at {at_ns / 1e9:.6f} s, in local step 1"
    for name, tensor in oracle.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[name], tensor)
    cut = [c for c in outcome.computations if c.outcome == "cut"]
    assert {(c.cluster, c.end_ns) for c in cut} == {(2, at_ns)}
    assert not [d for d in outcome.deliveries if d.end_ns > at_ns]


def test_without_the_quorum_it_waits_until_as_many_are_in(ends_ns: list[int]) -> None:
    outcome = lab.run_one(plan(Deadline(1e-6, 0.6)), **HOW)
    assert [each.fate for each in outcome.pipelines] == ["averaged", "averaged", "late"]
    assert outcome.pipelines[2].end_ns == ends_ns[1]


def test_clusters_that_fail_are_not_waited_for(ends_ns: list[int]) -> None:
    """Cluster 0 fails at once; with two of three in, the third is late."""
    made = plan(Deadline(1e-6, 0.6))
    away = Faults(up={"c0.d0": lab.away((0, None))})
    outcome = lab.run_one(made, faults=away, **HOW)
    assert [each.fate for each in outcome.pipelines] == ["failed", "averaged", "late"]
    assert outcome.pipelines[2].end_ns == outcome.pipelines[1].end_ns <= ends_ns[1]


def test_nothing_changes_where_all_are_in_before_the_deadline(ends_ns: list[int]) -> None:
    made = plan(Deadline(max(ends_ns) / 1e9, 1.0))
    outcome, same = lab.run_one(made, **HOW), lab.run_one(plan(None), **HOW)
    assert outcome.pipelines == same.pipelines
    assert outcome.duration_ns == same.duration_ns


def test_with_a_quorum_of_nobody_a_round_may_end_without_any_result() -> None:
    state = lab.fresh(lab.adamw)
    outcome = lab.run_one(plan(Deadline(1e-6, 0.0)), state, **HOW)
    assert {each.fate for each in outcome.pipelines} == {"late"}
    assert outcome.duration_ns == 1000
    for name, tensor in lab.model().state_dict().items():
        assert torch.equal(state.model.state_dict()[name], tensor)


def test_a_step_that_was_cut_has_no_effect_on_later_rounds() -> None:
    whole = lab.run_one(plan(None), **HOW)
    steps = [c for c in whole.computations if (c.node, c.action) == ("c2.d0", "step")]
    at_ns = (steps[1].start_ns + steps[1].end_ns) // 2
    state = lab.fresh(lab.adamw)
    lab.run_one(plan(Deadline(at_ns / 1e9)), state, **HOW)
    for unit in state.replica(2, 0).units.values():
        if unit.holder == "c2.d0":
            assert {int(each["step"]) for each in unit.optimizer.state.values()} == {1}


def test_the_next_round_runs_with_all(ends_ns: list[int]) -> None:
    at_ns = (ends_ns[0] + ends_ns[1]) // 2
    plans = [plan(Deadline(at_ns / 1e9, 0.1)), dataclasses.replace(plan(None), round=1)]
    first, second = lab.run_rounds(plans, lab.fresh(lab.adamw), **HOW)
    assert [each.fate for each in first.pipelines] == ["averaged", "late", "late"]
    assert {each.fate for each in second.pipelines} == {"averaged"}


def test_it_may_be_late_because_of_a_slow_down(ends_ns: list[int]) -> None:
    made = plan(Deadline(1.5 * ends_ns[2] / 1e9, 0.5))
    slow = Faults(slowness={"c0.d0": Steps(1000.0)})
    outcome = lab.run_one(made, faults=slow, **HOW)
    assert [each.fate for each in outcome.pipelines] == ["late", "averaged", "averaged"]
