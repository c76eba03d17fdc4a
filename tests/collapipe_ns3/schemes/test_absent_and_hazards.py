"""What every scheme does with nodes that are away, and with hazards that it is shown."""

from __future__ import annotations

from dataclasses import replace

import fleets
import numpy as np
import pytest

from collapipe_ns3 import schemes
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import LostDevice, PipelineFate, RoundOutcome
from collapipe_ns3.phases import PLANNED_PHASES
from collapipe_ns3.plan import Recovery, RoundPlan, validate
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes.collapipe import CollaPipe

BASELINES = ("pipeline", "titanic", "vanilla_fl")


def observed() -> Observation:
    rng = np.random.default_rng(12)
    return fleets.observation(rng, 3, 3, radio="shared", local_steps=4, memory=50.0)


def users(plan: RoundPlan) -> set[str]:
    return {
        stage.device
        for cluster in plan.clusters
        for pipe in cluster.pipelines
        for stage in pipe.stages
    }


@pytest.mark.parametrize("scheme", [*BASELINES, "collapipe"])
def test_nodes_that_are_away_are_left_out_and_the_plan_is_that_for_the_others(scheme: str) -> None:
    seen = observed()
    gone = {seen.devices[0][1]: "it is away", "c2.cu": "it is away"}
    away = replace(seen, absent=gone)
    plan = schemes.make(scheme, {}).plan(0, away)
    validate(plan, devices=seen.devices, blocks=6, batch_size=12, schedules=tuple(SCHEDULES),
             absent=gone)  # fmt: skip
    assert users(plan) <= {*seen.devices[0], *seen.devices[1]} - gone.keys()
    assert not plan.clusters[2].pipelines
    absences = {each.device: each.reason for each in plan.absences}
    assert absences == dict.fromkeys([seen.devices[0][1], *seen.devices[2]], "it is away")
    without = replace(seen, devices=((seen.devices[0][0], seen.devices[0][2]), seen.devices[1], ()))
    same = schemes.make(scheme, {}).plan(0, without)
    assert same.clusters == plan.clusters


@pytest.mark.parametrize("scheme", BASELINES)
def test_baselines_abandon_and_do_not_plan_with_hazards(scheme: str) -> None:
    seen = observed()
    plan = schemes.make(scheme, {}).plan(0, seen)
    assert plan.terms.recovery == Recovery("abandon")
    hazards = {name: 0.5 for names in seen.devices for name in names}
    assert schemes.make(scheme, {}).plan(0, replace(seen, hazards=hazards)) == plan


def lost_in(plan: RoundPlan, cluster: int, round_s: float) -> RoundOutcome:
    """A round in which a pipeline lost its first device in the middle and was restarted."""
    fates = []
    for each in plan.clusters:
        (pipe,) = each.pipelines
        lost = [LostDevice(pipe.stages[0].device, round(0.5e9 * round_s), 2, 0, "zeros")]
        fates.append(
            PipelineFate(each.cluster, 0, pipe, "averaged", 1 / 3, 2.0, 0,
                         step_losses=(2.0,) * 4, lost=lost if each.cluster == cluster else ())
        )  # fmt: skip
    phases = {phase: round(1e9 * round_s / len(PLANNED_PHASES)) for phase in PLANNED_PHASES}
    return RoundOutcome(plan.round, 0, phases, 0, 2.0, (), (), (), (), fates)


def test_collapipe_learns_who_leaves_and_nothing_else_from_such_a_round() -> None:
    seen, scheme = observed(), CollaPipe(memory="all")
    first = scheme.plan(0, seen)
    lost = first.clusters[1].pipelines[0].stages[0].device
    scheme.learn(lost_in(first, 1, 60.0))
    assert scheme.past.departures.counts == {lost: 1}
    assert scheme.past.tried == {}
    assert scheme.past.correction == {}
    again = CollaPipe(memory="all")
    again.remember(scheme.memory())
    away = replace(seen, absent={lost: "it is away"})
    plans = [each.plan(1, away) for each in (scheme, again)]
    assert plans[0] == plans[1]
    explained = scheme.explain(None)["hazards"]
    assert set(explained["per_s"]) == {
        name
        for number, names in enumerate(seen.devices)
        for name in (f"c{number}.cu", *names)
        if name != lost
    }
    # Planning twice, with another cluster left out for lack of memory, is no departure of it.
    scheme.plan(1, replace(away, absent={**away.absent, "c2.cu": "no plan"}))
    kept = scheme.memory()
    scheme.learn(replace(lost_in(plans[0], -1, 30.0), round=1))
    assert kept["departures"]["counts"] == {lost: 1}
    assert scheme.past.departures.counts == {lost: 1}
    assert scheme.past.departures.absent == {lost}


def test_collapipe_is_as_before_without_hazards() -> None:
    seen = observed()
    plan = CollaPipe().plan(0, seen)
    assert plan.terms.recovery == Recovery()
    steady = replace(seen, hazards=dict.fromkeys(seen.profiles, 0.0), recovery=Recovery())
    assert CollaPipe().plan(0, steady) == plan
