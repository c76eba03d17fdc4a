"""A cluster's download waits for another's, streamed, which fails: it begins then."""

from __future__ import annotations

import dataclasses

import lab
import pytest

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.exchange import Exchange, Shipment
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage

SECOND = 1_000_000_000


@pytest.mark.parametrize("chunk_bytes", [None, 700])
@pytest.mark.parametrize("groups", [((0,), (1,), (2,)), ((0, 2), (1,))])
def test_groups_are_served_in_turn_also_past_one_that_fails(
    groups: tuple[tuple[int, ...], ...], chunk_bytes: int | None
) -> None:
    """Cluster 2 gets the same multicast as cluster 0, or one of its own at the end."""
    pipes = [lab.pipeline(n, (2, 2) if n == 0 else (4,), 2, "gpipe") for n in range(3)]
    made = RoundPlan(0, "test", tuple(ClusterPlan(n, (pipe,)) for n, pipe in enumerate(pipes)))
    arrangement = Arrangement(tuple(map(Group, groups)), chunk_bytes=chunk_bytes)
    exchange = arranged(made.placements(), arrangement)
    made = dataclasses.replace(made, exchange=exchange)
    dead = {("bs", "c0.cu"): Link(lab.FAST.rate_bps, outage_ns=(0, 99 * SECOND))}
    outcome = lab.run_one(made, shares=(0.4, 0.3, 0.3), links=dead)
    assert [each.fate for each in outcome.pipelines] == ["failed", "averaged", "averaged"]
    failed = outcome.pipelines[0]
    began = [d.start_ns for d in outcome.deliveries if (d.dst, d.kind) == ("c1.cu", "model")]
    assert min(began) == failed.end_ns
    shared = [d.start_ns for d in outcome.deliveries if (d.dst, d.kind) == ("c2.cu", "model")]
    assert (min(shared) == 0) == (len(groups) == 2)


def test_a_segment_goes_to_two_pipelines_of_a_cluster_of_which_one_fails() -> None:
    """The control unit has one download for both; the device that is left gets what it needs."""
    pipes = tuple(Pipeline((Stage(f"c0.d{n}", 0, 3),), 2, "gpipe", 0.5) for n in range(2))
    made = RoundPlan(0, "test", (ClusterPlan(0, pipes),))
    placed = made.placements()
    both = tuple(each.pipeline for each in placed)
    star = {each.name: each for each in arranged(placed, Arrangement()).shipments}
    down = dataclasses.replace(star.pop("0.0 down"), pipelines=both)
    del star["0.1 down"], star["0.0 to c0.d0"], star["0.1 to c0.d1"]
    blocks = placed[0].units["c0.d0"]
    onward = Shipment("to both", blocks, "c0.cu", ("c0.d0", "c0.d1"), both)
    made = dataclasses.replace(made, exchange=Exchange((down, onward, *star.values()), 600))
    dead = {("c0.cu", "c0.d1"): Link(lab.FAST.rate_bps, outage_ns=(2000, 99 * SECOND))}
    outcome = lab.run_one(made, links=dead)
    assert [each.fate for each in outcome.pipelines] == ["averaged", "failed"]
    assert outcome.pipelines[1].reason.startswith("c0.cu → c0.d1: model of 600 bytes lost 3 times")
    assert outcome.pipelines[0].end_ns < SECOND
    assert outcome.pipelines[0].weight == 1.0
