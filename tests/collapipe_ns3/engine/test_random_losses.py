"""Random losses of devices under every recovery: nothing hangs, and the model is the right one.

With SGD, a pipeline that recovers ends with what it would have trained without any loss, however
often it begins again and from whatever copy. The global model is therefore the average of that of
all pipelines that are in it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache

import lab
import losses
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapipe_ns3.arrangement import Arrangement, Group
from collapipe_ns3.faults import Faults, Steps
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import RecoveryPolicy

NODES = (*losses.DEVICES, "c0.d3", "c0.cu", "c1.d0", "c1.d1")
ARRANGEMENTS = (
    Arrangement(),
    Arrangement(chunk_bytes=900),
    Arrangement((Group((0, 1)),), (0,), chunk_bytes=2000),
)
ROUND_NS = 12_000_000


@st.composite
def absences(draw: st.DrawFn) -> Steps:
    """A node that leaves, and may return and leave again."""
    times_ns = sorted(draw(st.sets(st.integers(0, ROUND_NS), min_size=1, max_size=4)))
    return Steps(1.0, times_ns, [float(n % 2) for n in range(len(times_ns))])


@dataclass(frozen=True)
class Case:
    """Who is away when, and the terms of the plans."""

    up: dict[str, Steps]
    policy: RecoveryPolicy
    copy_every: int
    most_losses: int
    arrangement: Arrangement

    def run(self, rounds: int, state: lab.TrainingState) -> list[RoundOutcome]:
        plans = [
            losses.plan(
                self.policy,
                number,
                clusters=2,
                copy_every=self.copy_every,
                most_losses=self.most_losses,
                arrangement=self.arrangement,
            )
            for number in range(rounds)
        ]
        return losses.run(plans, state, faults=Faults(up=self.up), spare=["c0.d3"])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    # Most often devices of cluster 0 leave, which has several.
    up = draw(st.dictionaries(st.sampled_from(losses.DEVICES), absences(), min_size=1))
    up |= draw(st.dictionaries(st.sampled_from(NODES), absences(), max_size=2))
    policies: list[RecoveryPolicy] = ["restart", "replicate"]
    return Case(
        up,
        draw(st.sampled_from(policies)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
        draw(st.sampled_from(ARRANGEMENTS)),
    )


@cache
def trained() -> dict[tuple[int, int], dict[str, torch.Tensor]]:
    """What every pipeline makes of the model."""
    state = lab.fresh(losses.sgd)
    losses.run([losses.plan("restart", clusters=2)], state)
    return {key: dict(replica.model.averaged()) for key, replica in state.replicas.items()}


def told(outcome: RoundOutcome) -> str:
    computations = [dataclasses.replace(each, wall_s=0.0) for each in outcome.computations]
    return repr(dataclasses.replace(outcome, computations=computations))


def check(case: Case) -> None:
    first, second = (case.run(2, lab.fresh(losses.sgd)) for _ in range(2))
    assert list(map(told, first)) == list(map(told, second))
    state = lab.fresh(losses.sgd)
    (outcome,) = case.run(1, state)
    averaged = {(p.cluster, p.index): p for p in outcome.pipelines if p.fate == "averaged"}
    for fate in averaged.values():
        assert len(fate.step_losses) == losses.STEPS
        assert len(fate.lost) <= case.most_losses
        assert not {each.device for each in fate.lost} & set(losses.devices(fate))
    if averaged:
        total = sum(losses.SHARES[cluster] for cluster, _ in averaged)
        weights = {place: losses.SHARES[place[0]] / total for place in averaged}
        for name, tensor in state.model.averaged().items():
            parts = [weight * trained()[place][name] for place, weight in weights.items()]
            torch.testing.assert_close(tensor, torch.stack(parts).sum(0), rtol=1e-6, atol=1e-8)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_a_pipeline_that_goes_on_trains_what_it_would_have_trained(
    case: Case,
) -> None:
    check(case)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_so_it_does_in_many_more(
    case: Case,
) -> None:
    check(case)
