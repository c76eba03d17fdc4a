"""Links that differ by 200 dB, or were measured badly: every scheme plans in bounded steps."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import pytest
import wild
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collapipe_ns3.eventgraph import graph
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import PlanError, RoundPlan, validate
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes import Scheme
from collapipe_ns3.schemes.collapipe import CollaPipe
from collapipe_ns3.schemes.local import Local
from collapipe_ns3.schemes.oracle import Oracle
from collapipe_ns3.schemes.pipeline import PipeLine
from collapipe_ns3.schemes.titanic import TITANIC
from collapipe_ns3.schemes.vanilla_fl import VanillaFL

#: Calls that planning may make, and for each cluster: some times what it takes.
MOST_STEPS, MOST_STEPS_A_CLUSTER = 5_000_000, 300_000

#: Events of a graph, and for each task, fewer than there may be: reaching the bound takes its time.
EVENTS = {"_MOST_EVENTS": 2_000, "_MOST_EVENTS_A_TASK": 5}

NETWORKS = {
    "seed": st.integers(0, 2**32 - 1),
    "devices": st.integers(1, 5),
    "radio": st.sampled_from(wild.RADIOS),
    "spread_db": st.sampled_from([20.0, 60.0, 120.0, 200.0]),
    "odd": st.sampled_from([0.0, 0.1, 0.5]),
}


def planned(scheme: Scheme, seen: Observation) -> RoundPlan | None:
    """A valid plan, or None where the scheme says that there is none; without a warning."""
    steps = wild.Steps(MOST_STEPS + MOST_STEPS_A_CLUSTER * len(seen.devices))
    before = sys.getprofile()
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("error")
        for name, most in EVENTS.items():
            patch.setattr(graph, name, most)
        sys.setprofile(steps)
        try:
            plan = scheme.plan(0, seen)
            validate(
                plan,
                devices=seen.devices,
                blocks=seen.model.encoder_blocks,
                batch_size=seen.batch_size,
                schedules=tuple(SCHEDULES),
                max_tx_power_w={n: each.max_tx_power_w for n, each in seen.profiles.items()},
            )
            if isinstance(scheme, CollaPipe):
                scheme.explain(None)
        except PlanError:
            return None
        finally:
            sys.setprofile(before)
    assert not list(memory_problems(plan, seen))
    for cluster in plan.clusters:
        absent = {each.device for each in plan.absences if each.cluster == cluster.cluster}
        used = {stage.device for pipe in cluster.pipelines for stage in pipe.stages}
        assert not used & absent
        # A cluster that sits out says so of each of its devices.
        assert cluster.pipelines or absent == set(seen.devices[cluster.cluster])
    return plan


@pytest.mark.parametrize("radio", wild.RADIOS)
@pytest.mark.parametrize("make", [CollaPipe, PipeLine, TITANIC, VanillaFL, Oracle])
def test_on_links_that_differ_by_20_db_every_cluster_takes_part(
    make: Callable[[], Scheme], radio: str
) -> None:
    """Of the networks below these are the best: there a scheme that gave up would be found."""
    devices = 1 if make is Oracle else 3
    plan = planned(make(), wild.observation(1, 2, devices, radio, 20.0, 0.0))
    assert plan is not None
    assert [bool(cluster.pipelines) for cluster in plan.clusters] == [True, True]


@settings(max_examples=12)
@example(seed=1457, clusters=22, devices=4, radio="own", spread_db=200.0, odd=0.5)
@given(clusters=st.sampled_from([1, 2, 3, 5, 40]), **NETWORKS)
def test_dssra_plans_or_says_that_it_cannot(
    seed: int, clusters: int, devices: int, radio: str, spread_db: float, odd: float
) -> None:
    planned(CollaPipe(), wild.observation(seed, clusters, devices, radio, spread_db, odd))


@pytest.mark.slow
@settings(max_examples=60)
@given(clusters=st.integers(1, 40), **NETWORKS)
def test_dssra_plans_or_says_that_it_cannot_over_many_networks(
    seed: int, clusters: int, devices: int, radio: str, spread_db: float, odd: float
) -> None:
    planned(CollaPipe(), wild.observation(seed, clusters, devices, radio, spread_db, odd))


@settings(max_examples=20)
@given(clusters=st.integers(1, 40), **NETWORKS)
def test_every_baseline_plans_or_says_that_it_cannot(
    seed: int, clusters: int, devices: int, radio: str, spread_db: float, odd: float
) -> None:
    seen = wild.observation(seed, clusters, devices, radio, spread_db, odd)
    for scheme in (PipeLine(), TITANIC(), VanillaFL()):
        planned(scheme, seen)
    assert planned(Local(), seen) is not None


@settings(max_examples=10)
@given(clusters=st.integers(1, 2), **NETWORKS | {"devices": st.just(1)})
def test_the_oracle_plans_or_says_that_it_cannot(
    seed: int, clusters: int, devices: int, radio: str, spread_db: float, odd: float
) -> None:
    planned(Oracle(), wild.observation(seed, clusters, devices, radio, spread_db, odd))
