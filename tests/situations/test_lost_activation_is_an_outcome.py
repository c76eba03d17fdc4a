"""A link fails in the middle of a step: it is tried again, then its cluster sits out the round."""

import dataclasses
from itertools import pairwise

import lab
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3.plan import ClusterPlan, RoundPlan, Terms

PLAN = RoundPlan(
    0,
    "test",
    (
        ClusterPlan(0, (lab.pipeline(0, (2, 2), 2, "gpipe"),)),
        ClusterPlan(1, (lab.pipeline(1, (2, 2), 2, "gpipe"),)),
    ),
)
SECOND = 1_000_000_000


def failing(until_ns: int) -> dict[tuple[str, str], Link]:
    """Cluster 0's first device reaches its second from `until_ns` on."""
    return {("c0.d0", "c0.d1"): Link(lab.FAST.rate_bps, outage_ns=(0, until_ns))}


def test_a_short_outage_costs_time_and_nothing_else() -> None:
    calm, stormy = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    smooth = lab.run_one(PLAN, calm, shares=(0.5, 0.5))
    outcome = lab.run_one(PLAN, stormy, links=failing(SECOND // 2), shares=(0.5, 0.5))
    assert not outcome.abandoned
    assert outcome.loss == smooth.loss
    assert outcome.duration_ns > smooth.duration_ns + SECOND // 2
    lost = [d for d in outcome.deliveries if d.outcome == "lost"]
    assert [(d.src, d.dst, d.kind) for d in lost] == 2 * [("c0.d0", "c0.d1", "activation")]
    for name, parameter in calm.model.state_dict().items():
        assert torch.equal(parameter, stormy.model.state_dict()[name])


def test_a_long_outage_makes_the_cluster_sit_out_of_the_average() -> None:
    state, alone = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    outcome = lab.run_one(PLAN, state, links=failing(99 * SECOND), shares=(0.5, 0.5))
    assert list(outcome.abandoned) == [0]
    assert outcome.abandoned[0].startswith("c0.d0 → c0.d1: activation of ")
    assert "lost 3 times, at last at 2.0" in outcome.abandoned[0]

    only = RoundPlan(0, "test", PLAN.clusters[1:])
    quiet = lab.run_one(only, alone, shares=(0.5, 0.5))
    assert outcome.loss == quiet.loss
    for name, parameter in alone.model.state_dict().items():
        assert torch.equal(parameter, state.model.state_dict()[name])


def test_the_next_round_goes_on_from_the_average() -> None:
    state, again = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    for each in (state, again):
        first = lab.run_one(PLAN, each, links=failing(99 * SECOND), shares=(0.5, 0.5))
        second = lab.run_one(PLAN, each, shares=(0.5, 0.5))
        assert not second.abandoned
        assert second.loss < first.loss
    for name, parameter in again.model.state_dict().items():
        assert torch.equal(parameter, state.model.state_dict()[name])


def test_no_cluster_left_keeps_the_model_and_says_so() -> None:
    state = lab.fresh(lab.adamw)
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    outcome = lab.run_one(
        RoundPlan(0, "test", PLAN.clusters[:1]), state, links=failing(99 * SECOND)
    )
    assert outcome.loss != outcome.loss
    assert all(torch.equal(before[n], t) for n, t in state.model.state_dict().items())


@pytest.mark.parametrize(
    ("terms", "failed"),
    [
        (Terms(resends=0), "lost once, at 0.0"),
        (Terms(resends=1), "lost 2 times, at last at 1.0"),
        (Terms(resends=3, resend_after_s=2.5), "lost 4 times, at last at 7.5"),
        (Terms(resends=1, resend_after_s=0.0), "lost 2 times, at last at 0.0"),
    ],
)
def test_the_plans_terms_say_how_often_and_how_soon_it_is_tried_again(
    terms: Terms, failed: str
) -> None:
    one_message = ClusterPlan(0, (lab.pipeline(0, (2, 2), 1, "gpipe"),))
    plan = RoundPlan(0, "test", (one_message,), terms=terms)
    outcome = lab.run_one(plan, lab.fresh(lab.adamw), links=failing(99 * SECOND))
    assert failed in outcome.abandoned[0]
    lost = [d.start_ns for d in outcome.deliveries if d.outcome == "lost"]
    assert len(lost) == terms.resends + 1
    pauses = [after - before for before, after in pairwise(lost)]
    assert pauses == pytest.approx([terms.resend_after_s * SECOND] * terms.resends, abs=1000)


def test_an_outage_shorter_than_the_pause_is_outlasted() -> None:
    plan = dataclasses.replace(PLAN, terms=Terms(resends=1, resend_after_s=5.0))
    calm, stormy = lab.fresh(lab.adamw), lab.fresh(lab.adamw)
    smooth = lab.run_one(plan, calm, shares=(0.5, 0.5))
    outcome = lab.run_one(plan, stormy, links=failing(4 * SECOND), shares=(0.5, 0.5))
    assert not outcome.abandoned
    assert outcome.loss == smooth.loss
    assert outcome.duration_ns > smooth.duration_ns + 4 * SECOND
