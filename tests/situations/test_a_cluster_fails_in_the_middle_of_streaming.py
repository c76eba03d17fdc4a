"""A control unit loses its devices while it passes on what still comes down: others go on."""

from __future__ import annotations

import dataclasses

import lab
import pytest

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan, Terms

SECOND = 1_000_000_000
DOWN = Link(800_000_000, latency_ns=1000)  # ten ns a byte


def plan(groups: tuple[Group, ...]) -> RoundPlan:
    pipes = (lab.pipeline(0, (2, 2), 2, "gpipe"), lab.pipeline(1, (4,), 2, "gpipe"))
    made = RoundPlan(
        0,
        "test",
        tuple(ClusterPlan(n, (pipe,)) for n, pipe in enumerate(pipes)),
        terms=Terms(0, 0.0),
    )
    exchange = arranged(made.placements(), Arrangement(groups, chunk_bytes=500))
    return dataclasses.replace(made, exchange=exchange)


def run(groups: tuple[Group, ...], links: dict[tuple[str, str], Link]) -> RoundOutcome:
    down = {("bs", "c0.cu"): DOWN, ("bs", "c1.cu"): DOWN}
    return lab.run_one(plan(groups), shares=(0.5, 0.5), links={**down, **links})


@pytest.mark.parametrize("groups", [(), (Group((0, 1)),)])
def test_what_still_travels_for_it_is_cut_and_the_other_has_the_round(
    groups: tuple[Group, ...],
) -> None:
    size = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes
    middle_ns = 10 * size // 2
    dead = {("c0.cu", "c0.d0"): Link(lab.FAST.rate_bps, outage_ns=(middle_ns // 2, 99 * SECOND))}
    outcome, alone = run(groups, dead), run(groups, {})
    failed, averaged = outcome.pipelines
    assert (failed.fate, averaged.fate) == ("failed", "averaged")
    assert failed.reason.startswith("c0.cu → c0.d0: model of 500 bytes lost once")
    assert failed.end_ns < middle_ns
    both = alone.pipelines[1]
    assert averaged.loss == both.loss
    assert averaged.end_ns <= both.end_ns  # the base station computes for one cluster less
    late = [d for d in outcome.deliveries if "c0" in d.dst and d.end_ns > failed.end_ns]
    assert not late
    cut = [d for d in outcome.deliveries if d.dst == "c0.cu" and d.outcome == "cut"]
    assert {d.end_ns for d in cut} == {failed.end_ns}
    to_other = [d for d in outcome.deliveries if (d.src, d.dst) == ("bs", "c1.cu")]
    model = [d for d in to_other if d.kind == "model"]
    assert sum(d.size_bytes for d in model) == size
    assert {d.outcome for d in model} == {"delivered"}
