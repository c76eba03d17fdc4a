"""The engine sends what the plan's exchange says, when it says so, and learns the same."""

from __future__ import annotations

import dataclasses

import exchanges
import lab
import pytest
import torch
from scheming import observation

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, arranged
from collapipe_ns3.exchange import Exchange
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan
from collapipe_ns3.schemes.guard import GuardedScheme

SECOND = 1_000_000_000


def two_clusters() -> RoundPlan:
    pipes = (lab.pipeline(0, (2, 2), 2, "gpipe"), lab.pipeline(1, (4,), 2, "gpipe"))
    return RoundPlan(0, "test", tuple(ClusterPlan(n, (pipe,)) for n, pipe in enumerate(pipes)))


def one_after_another() -> RoundPlan:
    """The base station sends to cluster 1 when cluster 0's control unit has everything."""
    plan = two_clusters()
    shipments = [
        dataclasses.replace(each, after=("0.0 down",)) if each.name == "1.0 down" else each
        for each in arranged(plan.placements(), Arrangement()).shipments
    ]
    return dataclasses.replace(plan, exchange=Exchange(tuple(shipments)))


def parameters(outcome: RoundOutcome) -> list[tuple[str, str, int, int]]:
    """Who sent parameters to whom, from when to when, in order of their ends."""
    return [
        (d.src, d.dst, d.start_ns, d.end_ns)
        for d in outcome.deliveries
        if d.kind in ("model", "parameters")
    ]


def test_the_star_that_is_given_is_executed_as_the_one_that_is_not() -> None:
    plan = two_clusters()
    explicit = dataclasses.replace(plan, exchange=arranged(plan.placements(), Arrangement()))
    one, other = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    shares = (0.5, 0.5)
    assert lab.run_one(plan, one, shares=shares).deliveries == (
        lab.run_one(explicit, other, shares=shares).deliveries
    )


def test_broadcasts_one_after_the_other() -> None:
    outcome = lab.run_one(one_after_another(), shares=(0.5, 0.5))
    sent = {(src, dst): (begin, end) for src, dst, begin, end in parameters(outcome)[:5]}
    size = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes  # a byte a nanosecond
    assert sent["bs", "c0.cu"] == (0, size)
    assert sent["bs", "c1.cu"] == (size, 2 * size)


def test_uploads_one_after_the_other() -> None:
    """The last upload begins when all else of its pipeline has ended."""
    plan = two_clusters()
    shipments = [
        dataclasses.replace(each, after=(*each.after, "0.0 up")) if each.name == "1.0 up" else each
        for each in arranged(plan.placements(), Arrangement()).shipments
    ]
    plan = dataclasses.replace(plan, exchange=Exchange(tuple(shipments)))
    outcome = lab.run_one(plan, links={("c0.cu", "bs"): Link(10**6)}, shares=(0.5, 0.5))
    sent = {(src, dst): (begin, end) for src, dst, begin, end in parameters(outcome)}
    assert sent["c1.cu", "bs"][0] == sent["c0.cu", "bs"][1]
    assert [each.fate for each in outcome.pipelines] == ["averaged", "averaged"]


def test_what_is_learned_does_not_depend_on_the_exchange() -> None:
    states = [lab.fresh(lab.adamw) for _ in range(2)]
    losses = [
        lab.run_one(plan, state, local_steps=2, shares=(0.5, 0.5)).loss
        for plan, state in zip((two_clusters(), one_after_another()), states, strict=True)
    ]
    assert losses[0] == losses[1]
    for name, tensor in states[0].model.state_dict().items():
        assert torch.equal(tensor, states[1].model.state_dict()[name])


def test_a_scheme_gives_an_exchange() -> None:
    """By the guard, which reads a plan's types; segments go up on their own, the last one first."""
    scheme = GuardedScheme("mine", exchanges.OneAfterAnother())
    plan = scheme.plan(0, observation([2, 2], 4))
    outcome = lab.run_one(plan, shares=(0.5, 0.5))
    up = [(src, dst) for src, dst, begin, _ in parameters(outcome) if dst == "bs"]
    assert sorted(up) == 3 * [("c0.cu", "bs")] + 3 * [("c1.cu", "bs")]
    first_up = min(begin for _, dst, begin, _ in parameters(outcome) if dst == "bs")
    last_gathered = max(end for src, dst, _, end in parameters(outcome) if src.startswith("c0.d"))
    assert first_up < last_gathered
    downs = [(begin, end) for src, _, begin, end in parameters(outcome) if src == "bs"]
    assert downs[1][0] == downs[0][1]


@pytest.mark.parametrize("broken", [("bs", "c0.cu"), ("c0.d0", "c0.cu")])
def test_others_go_on_that_wait_for_a_pipeline_that_fails(broken: tuple[str, str]) -> None:
    """Also where they wait for the training or the upload of a pipeline that never trains."""
    plan = two_clusters()
    waits = {"after": ("0.0 down", "0.0 up"), "after_training": (plan.placements()[0].pipeline,)}
    shipments = [
        dataclasses.replace(each, **waits) if each.name == "1.0 down" else each
        for each in arranged(plan.placements(), Arrangement()).shipments
    ]
    plan = dataclasses.replace(plan, exchange=Exchange(tuple(shipments)))
    links = {broken: Link(lab.FAST.rate_bps, outage_ns=(0, 99 * SECOND))}
    outcome = lab.run_one(plan, shares=(0.5, 0.5), links=links)
    failed, averaged = outcome.pipelines
    assert (failed.fate, averaged.fate) == ("failed", "averaged")
    assert failed.reason.startswith(f"{broken[0]} → {broken[1]}: ")
    sent = [d for d in outcome.deliveries if (d.dst, d.kind) == ("c1.cu", "model")]
    (began,) = (d.start_ns for d in sent)
    assert began == failed.end_ns
    assert outcome.phases_ns["broadcast"] > 2 * SECOND


def test_optimizer_states_wait_for_what_the_base_station_sends() -> None:
    """They move in a plan with an exchange of its own as in any other."""
    scheme = exchanges.OneAfterAnother()
    later = scheme.plan(0, observation([2], 4))
    plans = [lab.one_cluster((1, 3), 2), later]
    _, outcome = lab.run_rounds(plans, lab.fresh(lab.adamw))
    down, moved = (
        next(d for d in outcome.deliveries if (d.src, d.dst) == pair and d.kind == kind)
        for pair, kind in ((("bs", "c0.cu"), "model"), (("c0.d1", "c0.cu"), "parameters"))
    )
    assert moved.start_ns == down.end_ns
