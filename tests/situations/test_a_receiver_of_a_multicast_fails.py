"""One receiver of the base station's multicast can't be reached: its cluster alone is abandoned."""

from __future__ import annotations

import dataclasses

import lab
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.plan import ClusterPlan, RoundPlan, Terms

SECOND = 1_000_000_000


def plan(chunk_bytes: int | None) -> RoundPlan:
    pipes = (lab.pipeline(0, (2, 2), 2, "gpipe"), lab.pipeline(1, (4,), 2, "gpipe"))
    made = RoundPlan(0, "test", tuple(ClusterPlan(n, (pipe,)) for n, pipe in enumerate(pipes)))
    arrangement = Arrangement((Group((0, 1)),), chunk_bytes=chunk_bytes)
    return dataclasses.replace(made, exchange=arranged(made.placements(), arrangement))


@pytest.mark.parametrize("chunk_bytes", [None, 3000])
def test_the_other_goes_on_as_if_it_were_alone(chunk_bytes: int | None) -> None:
    dead = {("bs", "c1.cu"): Link(lab.FAST.rate_bps, outage_ns=(0, 99 * SECOND))}
    state = lab.fresh(lab.adamw)
    outcome = lab.run_one(plan(chunk_bytes), state, shares=(0.5, 0.5), links=dead)
    averaged, failed = outcome.pipelines
    assert (averaged.fate, failed.fate) == ("averaged", "failed")
    assert failed.reason.startswith("bs → c1.cu: model of ")
    assert "lost 3 times" in failed.reason
    assert averaged.end_ns < SECOND
    assert failed.end_ns >= 2 * SECOND
    other = lab.fresh(lab.adamw)
    alone = lab.run_one(plan(chunk_bytes), other, shares=(0.5, 0.5))
    assert alone.pipelines[0].loss == averaged.loss
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(tensor, other.replica(0, 0).model.state_dict()[name])


def test_one_that_comes_back_is_sent_to_alone_after_the_pause() -> None:
    """The others have everything by then, and nothing of the pause is spent by them."""
    size = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes
    away = {("bs", "c1.cu"): Link(lab.FAST.rate_bps, outage_ns=(0, 5000))}
    made = dataclasses.replace(plan(None), terms=Terms(resends=1, resend_after_s=0.002))
    outcome = lab.run_one(made, shares=(0.5, 0.5), links=away)
    assert [each.fate for each in outcome.pipelines] == ["averaged", "averaged"]
    sent = [d for d in outcome.deliveries if d.src == "bs" and d.kind == "model"]
    first, other, again = sorted(sent, key=lambda d: (d.start_ns, d.end_ns))
    assert (first.dst, first.outcome, other.outcome) == ("c1.cu", "lost", "delivered")
    assert first.group == other.group != 0
    assert (again.dst, again.group) == ("c1.cu", 0)
    assert (again.start_ns, again.end_ns) == (
        first.end_ns + 2_000_000,
        first.end_ns + 2_000_000 + size,
    )
    assert outcome.pipelines[0].end_ns < 1_000_000
