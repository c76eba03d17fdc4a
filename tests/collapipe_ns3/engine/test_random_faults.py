"""Random faults of nodes and links: whatever happens, rounds end, and their accounts are right."""

from __future__ import annotations

import dataclasses
from functools import cache

import lab
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.faults import Faults, Steps
from collapipe_ns3.learning.aggregation import Before, FederatedAveraging, PipelineResult
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Deadline, Pipeline, RoundPlan, Stage, Terms

SLOW = Link(rate_bps=80_000_000)  # a byte in 100 ns
SHARES = (0.5, 0.3, 0.2)
BUSY_NS = dict.fromkeys(("c0.d0", "c0.d1", "c1.d0", "c2.d1"), 100_000)
#: A round without faults takes about as long.
ROUND_NS = 10_000_000
NODES = ("c0.cu", "c0.d0", "c0.d1", "c1.cu", "c1.d0", "c1.d1", "c2.cu", "c2.d0", "c2.d1")
LINKS = (
    *[("bs", "c0.cu"), ("c0.cu", "bs"), ("bs", "c1.cu"), ("c1.cu", "c1.d0")],
    *[("c0.d0", "c0.d1"), ("c0.d1", "c0.d0"), ("c2.d0", "c2.cu"), ("c1.cu", "c1.d1")],
)
ARRANGEMENTS = (
    Arrangement(),
    Arrangement(chunk_bytes=700),
    Arrangement((Group((0, 1, 2)),), chunk_bytes=1500),
    Arrangement((Group((0, 2)), Group((1,)))),
)


def plan(number: int, arrangement: Arrangement, deadline: Deadline | None = None) -> RoundPlan:
    """Two segments with 1F1B, two pipelines in one cluster, and two segments with GPipe."""
    two = tuple(Pipeline((Stage(f"c1.d{n}", 0, 3),), 2, "gpipe", 0.5) for n in range(2))
    clusters = (
        ClusterPlan(0, (lab.pipeline(0, (2, 2), 3, "1f1b"),)),
        ClusterPlan(1, two),
        ClusterPlan(2, (lab.pipeline(2, (1, 3), 2, "gpipe"),)),
    )
    made = RoundPlan(number, "test", clusters, terms=Terms(2, 1e-3, deadline=deadline))
    exchange = arranged(made.placements(), arrangement)
    return dataclasses.replace(made, exchange=exchange)


@st.composite
def steps(draw: st.DrawFn, least: float, most: float) -> Steps:
    """A signal that is 1 at first, and then now and then something else."""
    count = draw(st.integers(1, 4))
    instants = st.integers(0, 2 * ROUND_NS)
    times_ns = sorted(draw(st.sets(instants, min_size=count, max_size=count)))
    values = [1.0 if n % 2 else draw(st.floats(least, most)) for n in range(count)]
    return Steps(1.0, times_ns, values)


def signals(keys: tuple[str, ...] | tuple[tuple[str, str], ...], most: float, count: int) -> object:
    return st.dictionaries(
        st.sampled_from(keys), steps(0.0 if not most else 1.0, most), max_size=count
    )


FAULTS = st.builds(
    Faults,
    up=signals((*NODES, "bs"), 0.0, 4),
    slowness=signals((*NODES, "bs"), 20.0, 3),
    links=signals(LINKS, 0.0, 3),
    on_outage=st.sampled_from(["wait", "fail"]),
)


DEADLINES = st.none() | st.builds(Deadline, st.floats(1e-4, 1e-2), st.sampled_from([0.0, 0.5, 1.0]))


def run(plans: list[RoundPlan], faults: Faults, state: lab.TrainingState) -> list[RoundOutcome]:
    how = {"default": SLOW, "local_steps": 2, "shares": SHARES, "busy_ns": BUSY_NS}
    return lab.run_rounds(plans, state, faults=faults, **how)


@cache
def trained(number: int) -> dict[tuple[int, int], dict[str, torch.Tensor]]:
    """What every pipeline makes of the first global model."""
    state = lab.fresh(lab.adamw)
    run([plan(number, ARRANGEMENTS[0])], Faults(), state)
    return {key: dict(replica.model.averaged()) for key, replica in state.replicas.items()}


def expected(outcome: RoundOutcome) -> dict[str, torch.Tensor]:
    """The average of those that have contributed, by their data; the old model without any."""
    shares = {(0, 0): 0.5, (1, 0): 0.15, (1, 1): 0.15, (2, 0): 0.2}
    places = [(each.cluster, each.index) for each in outcome.pipelines if each.fate == "averaged"]
    if not places:
        return dict(lab.model().averaged())
    results = [PipelineResult(*place, shares[place], trained(0)[place]) for place in places]
    before = Before(dict(lab.model().averaged()), ())
    return dict(FederatedAveraging().aggregate(before, results, []).parameters)


def told(outcome: RoundOutcome) -> str:
    """All that a round's outcome says, without what differs by wall time."""
    computations = [dataclasses.replace(each, wall_s=0.0) for each in outcome.computations]
    return repr(dataclasses.replace(outcome, computations=computations))


def check(faults: Faults, arrangement: Arrangement, deadline: Deadline | None) -> None:
    plans = [plan(number, arrangement, deadline) for number in range(2)]
    state, again = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    kept = deadline and dataclasses.replace(deadline, late="keep")
    (first,) = run([plan(0, arrangement, kept)], faults, state)
    for name, tensor in expected(first).items():
        assert torch.equal(state.model.averaged()[name], tensor), name
    late = {each.cluster for each in first.pipelines if each.fate == "late"}
    assert set(state.late_ages()) <= late
    outcomes, repeated = (run(plans, faults, each) for each in (lab.fresh(lab.adamw), again))
    assert list(map(told, outcomes)) == list(map(told, repeated))
    (after,) = run([plan(2, arrangement)], Faults(), again)
    assert {each.fate for each in after.pipelines} == {"averaged"}
    assert all(torch.isfinite(each).all() for each in again.model.state_dict().values())


HOW = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=10, **HOW)
@given(FAULTS, st.sampled_from(ARRANGEMENTS), DEADLINES)
def test_rounds_end_with_right_models_and_accounts(
    faults: Faults, arrangement: Arrangement, deadline: Deadline | None
) -> None:
    check(faults, arrangement, deadline)


@pytest.mark.slow
@settings(**HOW)
@given(FAULTS, st.sampled_from(ARRANGEMENTS), DEADLINES)
def test_many_rounds_end_with_right_models_and_accounts(
    faults: Faults, arrangement: Arrangement, deadline: Deadline | None
) -> None:
    check(faults, arrangement, deadline)
