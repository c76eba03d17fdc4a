"""Random faults while ns-3 simulates every packet: rounds end, and their accounts are right."""

from __future__ import annotations

import dataclasses
from contextlib import closing

import lab
import pytest
import radio_lab
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import loop as simulated
from bridge.compute import TorchThread
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.presence import Presence
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.faults import Faults, Steps
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan, Terms
from ns3_scenarios.scenario import ScenarioSpec

MILLISECOND = 1_000_000
NODES = ("c0.cu", "c0.d0", "c0.d1", "c1.cu", "c1.d0", "c1.d1")
LINKS = (("bs", "c0.cu"), ("c0.cu", "bs"), ("c0.d0", "c0.d1"), ("c1.d1", "c1.cu"))
#: Wi-Fi and LTE, or OFDMA for both.
SPECS = {
    "wifi": radio_lab.scenario(clusters=2, devices=2),
    "ofdma": radio_lab.ofdma(clusters=2, devices=2),
}


def plan(number: int) -> RoundPlan:
    clusters = tuple(ClusterPlan(n, (lab.pipeline(n, (2, 2), 2, "gpipe"),)) for n in range(2))
    return RoundPlan(number, "test", clusters, terms=Terms(resend_after_s=0.01))


@st.composite
def steps(draw: st.DrawFn) -> Steps:
    """Up at first, and then now and then away, within the time of two rounds."""
    count = draw(st.integers(1, 4))
    times = draw(st.sets(st.integers(0, 400), min_size=count, max_size=count))
    return Steps(
        1.0, [at * MILLISECOND for at in sorted(times)], [float(n % 2) for n in range(count)]
    )


FAULTS = st.builds(
    Faults,
    up=st.dictionaries(st.sampled_from((*NODES, "bs")), steps(), max_size=3),
    links=st.dictionaries(st.sampled_from(LINKS), steps(), max_size=2),
    on_outage=st.sampled_from(["wait", "fail"]),
)


def run(
    spec: ScenarioSpec, faults: Faults, state: TrainingState, rounds: int
) -> list[RoundOutcome]:
    """Rounds one after the other; the last one is without faults."""
    outcomes: list[RoundOutcome] = []
    for number in range(rounds):
        now_ns = sum(each.duration_ns for each in outcomes)
        presence = Presence(faults if number < rounds - 1 else Faults(), now_ns)
        training = Training(lab.batches, (0.5, 0.5), 1, OPTIMIZERS["sgd"])
        with TorchThread() as thread, closing(radio_lab.network.build(spec)) as network:
            names = [node.name for node in spec.nodes]
            site = Site(network, lab.profiles(names, {}), thread, presence)
            round = lab.without_leak(run_round(site, state, plan(number), training))
            outcome = simulated.run(network, round, watchdog_s=120)
            assert network.in_flight() == 0
            lab.respect(outcome, presence, site.profiles)
            radio_lab.check_books(outcome.deliveries, network.now_ns())
        outcomes.append(outcome)
    return outcomes


def told(outcome: RoundOutcome) -> str:
    computations = [dataclasses.replace(each, wall_s=0.0) for each in outcome.computations]
    return repr(dataclasses.replace(outcome, computations=computations))


def check(stack: str, faults: Faults) -> None:
    first, again = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    outcomes = run(SPECS[stack], faults, first, 3)
    assert list(map(told, outcomes)) == list(map(told, run(SPECS[stack], faults, again, 3)))
    assert {each.fate for each in outcomes[-1].pipelines} == {"averaged"}


HOW = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.mark.slow
@settings(max_examples=50, **HOW)
@given(st.sampled_from(list(SPECS)), FAULTS)
def test_rounds_end_with_right_accounts(stack: str, faults: Faults) -> None:
    check(stack, faults)


@pytest.mark.parametrize("stack", list(SPECS))
def test_a_device_and_a_control_unit_leave_and_return(stack: str) -> None:
    up = {"c0.d1": Steps(1.0, (30 * MILLISECOND, 60 * MILLISECOND), (0.0, 1.0))}
    up["c1.cu"] = Steps(1.0, (80 * MILLISECOND,), (0.0,))
    check(stack, Faults(up=up))
