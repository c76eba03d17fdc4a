"""The predicted time of a round with a deadline is that of the executed one."""

from __future__ import annotations

import lab
import pytest
from timelines import LabCosts, workload

from collapipe_ns3.eventgraph.timeline import build_timeline
from collapipe_ns3.plan import ClusterPlan, Deadline, RoundPlan, Terms

BUSY_NS = {"c0.d0": 10_000, "c1.d0": 300_000, "c2.d0": 2_000_000, "bs": 1000}


def plan(deadline: Deadline | None) -> RoundPlan:
    planned = tuple(ClusterPlan(n, (lab.pipeline(n, (2, 2), 2, "gpipe"),)) for n in range(3))
    return RoundPlan(0, "test", planned, terms=Terms(deadline=deadline))


@pytest.mark.parametrize("quorum", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("after_s", [1e-6, 1e-4, 2e-3, 1.0])
def test_it_ends_with_the_deadline_or_with_the_quorum(after_s: float, quorum: float) -> None:
    made = plan(Deadline(after_s, quorum))
    profiles = lab.profiles(list(dict.fromkeys(lab.nodes(made))), BUSY_NS)
    predicted = build_timeline(made, workload(0, 1, "sgd"), LabCosts(profiles, {}))
    outcome = lab.run_one(made, busy_ns=BUSY_NS, shares=(0.2, 0.3, 0.5))
    assert predicted.total_ns == outcome.duration_ns
