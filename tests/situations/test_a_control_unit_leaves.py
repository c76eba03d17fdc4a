"""A control unit leaves: the pipelines of its cluster fail, until their upload has ended."""

from __future__ import annotations

import lab
import pytest

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.faults import Faults
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage

SLOW = Link(rate_bps=80_000_000)  # a byte in 100 ns
SHARES = (0.5, 0.5)


def two_pipelines() -> RoundPlan:
    """A cluster with two pipelines, beside one with a single pipeline."""
    pipes = tuple(Pipeline((Stage(f"c0.d{n}", 0, 3),), 2, "gpipe", 0.5) for n in range(2))
    return RoundPlan(
        0, "test", (ClusterPlan(0, pipes), ClusterPlan(1, (lab.pipeline(1, (2, 2), 2, "gpipe"),)))
    )


@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_all_pipelines_of_its_cluster_fail_at_that_instant(part: float) -> None:
    whole = lab.run_one(two_pipelines(), default=SLOW, shares=SHARES)
    at_ns = round(part * min(each.end_ns for each in whole.pipelines[:2]))
    faults = Faults(up={"c0.cu": lab.away((at_ns, None))})
    outcome = lab.run_one(two_pipelines(), default=SLOW, shares=SHARES, faults=faults)
    assert [each.fate for each in outcome.pipelines] == ["failed", "failed", "averaged"]
    for failed in outcome.pipelines[:2]:
        assert failed.end_ns == at_ns
        assert failed.reason.startswith(f"c0.cu was away {at_ns / 1e9:.6f} s after the run began")
    assert outcome.pipelines[2].weight == 1.0
    assert outcome.pipelines[2].end_ns == whole.pipelines[2].end_ns
    if not at_ns:
        assert not any("c0" in d.src or "c0" in d.dst for d in outcome.deliveries)


def test_it_is_not_missed_while_the_base_station_averages() -> None:
    whole = lab.run_one(two_pipelines(), default=SLOW, shares=SHARES)
    at_ns = max(each.end_ns for each in whole.pipelines) + 1
    assert at_ns < whole.duration_ns
    assert whole.phases_ns[Phase.AGGREGATE] > 0
    faults = Faults(up={"c0.cu": lab.away((at_ns, None)), "c1.d0": lab.away((at_ns, None))})
    outcome = lab.run_one(two_pipelines(), default=SLOW, shares=SHARES, faults=faults)
    assert outcome.pipelines == whole.pipelines


@pytest.mark.parametrize("chunk_bytes", [None, 700])
def test_others_get_what_was_multicast_to_it(chunk_bytes: int | None) -> None:
    """Both clusters get the model by one multicast, of which one receiver leaves in the middle."""
    made = RoundPlan(
        0,
        "test",
        tuple(ClusterPlan(n, (lab.pipeline(n, (2, 2), 2, "gpipe"),)) for n in range(2)),
    )
    arrangement = Arrangement((Group((0, 1)),), chunk_bytes=chunk_bytes)
    made = RoundPlan(0, "test", made.clusters, exchange=arranged(made.placements(), arrangement))
    whole = lab.run_one(made, default=SLOW, shares=SHARES, busy_ns={"bs": 0})
    at_ns = next(d.end_ns for d in whole.deliveries if d.dst == "c0.cu") // 2
    faults = Faults(up={"c0.cu": lab.away((at_ns, None))})
    outcome = lab.run_one(made, default=SLOW, shares=SHARES, busy_ns={"bs": 0}, faults=faults)
    assert [each.fate for each in outcome.pipelines] == ["failed", "averaged"]
    cut = [d for d in outcome.deliveries if d.outcome == "cut"]
    assert {(d.dst, d.end_ns) for d in cut} == {("c0.cu", at_ns)}
    assert outcome.pipelines[1].end_ns == whole.pipelines[1].end_ns
