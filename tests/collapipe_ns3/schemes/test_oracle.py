"""The oracle: it tries every plan there is, takes the shortest, and says where it can't."""

from __future__ import annotations

from dataclasses import replace

import lab
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheming import observation

from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, PlanError, RoundPlan
from collapipe_ns3.schemes import Scheme
from collapipe_ns3.schemes.collapipe import CollaPipe
from collapipe_ns3.schemes.oracle import Oracle, pipelines, plan_count

#: One device takes thrice as long as the other over anything.
BUSY_NS = {"c0.d0": 3_000_000, "c0.d1": 1_000_000}
SLOWER = {name: {"overhead_s": busy / 1e9} for name, busy in BUSY_NS.items()}


@settings(deadline=None)
@given(
    devices=st.integers(1, 4), blocks=st.integers(1, 5), batch_size=st.sampled_from([1, 2, 6, 12])
)
def test_it_counts_the_plans_that_it_makes_and_makes_each_once(
    devices: int, blocks: int, batch_size: int
) -> None:
    names = [f"c0.d{k}" for k in range(devices)]
    made = list(pipelines(names, blocks, batch_size))
    assert len(made) == plan_count(devices, blocks, batch_size) == len(set(made))
    for pipe in made:
        held = [block for stage in pipe.stages for block in range(stage.first, stage.last + 1)]
        assert held == list(range(blocks))
        assert len({stage.device for stage in pipe.stages}) == len(pipe.stages)


def executed(plan: RoundPlan) -> RoundOutcome:
    """What the engine makes of a plan, on links of fixed rates."""
    return lab.run_one(plan, lab.fresh(lab.adamw), busy_ns=BUSY_NS)


def after_two_rounds(scheme: Scheme, seen: Observation) -> RoundPlan:
    """What a scheme plans once it has seen how long things take."""
    for number in range(2):
        outcome = executed(scheme.plan(number, seen))
        scheme.learn(outcome)
        seen = replace(seen, links=tuple(outcome.links))
    return scheme.plan(2, seen)


@pytest.mark.slow
def test_no_plan_is_shorter_than_its_own_once_it_has_seen_the_links() -> None:
    """Every plan is really executed, on the network whose delays are closed forms."""
    seen = observation([2], 4, batch_size=12, changed=SLOWER)
    chosen = after_two_rounds(Oracle(), seen)
    every = [
        RoundPlan(2, "any", (ClusterPlan(0, (pipe,)),), chosen.links)
        for pipe in pipelines(seen.devices[0], 4, 12)
    ]
    times = sorted(executed(plan).duration_ns for plan in every)
    assert executed(chosen).duration_ns <= 1.02 * times[0]
    assert times[len(times) // 2] > 1.1 * times[0]  # it had something to choose


def test_dssra_plans_as_short_a_round_where_no_budget_binds() -> None:
    seen = observation([2], 4, batch_size=12, changed=SLOWER)
    best, other = (
        executed(after_two_rounds(scheme, seen)).duration_ns
        for scheme in (Oracle(), CollaPipe(bands="shared", memory="all"))
    )
    assert other <= 1.1 * best


def test_clusters_are_planned_together() -> None:
    """The bound is on the plans of all clusters together: what one has, times what another has."""
    seen = observation([1, 1], 2, batch_size=2)
    together = plan_count(1, 2, 2) ** 2
    plan = Oracle(most_plans=together).plan(0, seen)
    assert [each.cluster for each in plan.clusters] == [0, 1]
    assert all(each.pipelines for each in plan.clusters)
    with pytest.raises(PlanError, match=f"at most {together - 1} plans .* not {together}"):
        Oracle(most_plans=together - 1).plan(0, seen)


def test_what_is_too_large_is_refused_with_the_limit() -> None:
    with pytest.raises(PlanError, match=r"at most 2000 plans to try \(most_plans\), not \d+"):
        Oracle().plan(0, observation([4, 4], 6))
    with pytest.raises(PlanError, match="at most 3 plans"):
        Oracle(most_plans=3).plan(0, observation([2], 2))


def test_what_fits_no_memory_is_refused_by_cluster() -> None:
    tight = observation([1], 2, changed={"c0.d0": {"memory_bytes": 1000}})
    with pytest.raises(PlanError, match="cluster 0: no plan fits its devices' memory"):
        Oracle().plan(0, tight)


def test_its_memory_is_all_that_its_plans_depend_on() -> None:
    seen = observation([2], 4, batch_size=2)
    one, other = Oracle(), Oracle()
    one.learn(lab.run_one(one.plan(0, seen), lab.fresh(lab.adamw)))
    other.remember(one.memory())
    assert one.plan(1, seen) == other.plan(1, seen)
