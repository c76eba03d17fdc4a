"""Recovery with what else a round may have: dropout, a local head, terms of aggregations, 1F1B."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import lab
import losses
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.local_term import NO_TERM, LocalTerm
from collapipe_ns3.learning.models import transformer
from collapipe_ns3.plan import RecoveryPolicy

FAST = Link(rate_bps=800_000_000)


def momentum(parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def dropping() -> TrainingState:
    spec = dataclasses.replace(lab.SPEC, dropout=0.3)
    return TrainingState(transformer.build(spec, 3), losses.sgd, closed_form(spec))


def local_head() -> TrainingState:
    return lab.fresh(losses.sgd, local_head=True)


def plain() -> TrainingState:
    return lab.fresh(losses.sgd)


def with_momentum() -> TrainingState:
    return lab.fresh(momentum)


@pytest.mark.parametrize(
    ("make", "policy", "term", "schedule"),
    [
        (dropping, "restart", NO_TERM, "1f1b"),
        (dropping, "replicate", NO_TERM, "gpipe"),
        (local_head, "restart", NO_TERM, "gpipe"),
        (local_head, "replicate", NO_TERM, "1f1b"),
        (plain, "restart", LocalTerm(mu=0.1), "gpipe"),
        (with_momentum, "replicate", LocalTerm(mu=0.1), "gpipe"),
        (plain, "replicate", LocalTerm(variates=True), "gpipe"),
        (with_momentum, "replicate", LocalTerm(fresh_optimizer=True), "1f1b"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_two_rounds_with_a_loss_in_the_second_end_like_those_without(
    make: object, policy: RecoveryPolicy, term: LocalTerm, schedule: str
) -> None:
    plans = [losses.plan(policy, number, schedule=schedule) for number in (0, 1)]
    state, expected = make(), make()  # type: ignore[operator]
    before, whole = losses.run(plans, expected, default=FAST, term=term)
    at_ns = before.duration_ns + losses.middle(whole, "c0.d1", "B", 2)
    outcome = losses.run(plans, state, {"c0.d1": (at_ns, None)}, default=FAST, term=term)[1]
    (lost,) = outcome.pipelines[0].lost
    assert lost.back_to_step == (0 if policy == "restart" else 2)
    assert losses.same(state, expected)
    variates = [dict(each.replica(0, 0).variate) for each in (state, expected)]
    assert variates[0].keys() == variates[1].keys()
    assert all(torch.equal(variates[0][name], variates[1][name]) for name in variates[0])


def test_the_new_holder_gets_what_the_term_needs_of_the_global_model() -> None:
    """With FedProx every node has its units of the global model beside them."""
    sizes = {}
    for term in (NO_TERM, LocalTerm(mu=0.1)):
        (whole,) = losses.run([losses.plan("replicate")], plain(), default=FAST, term=term)
        at_ns = losses.middle(whole, "c0.d1", "B", 2)
        (found,) = losses.run(
            [losses.plan("replicate")], plain(), {"c0.d1": (at_ns, None)}, default=FAST, term=term
        )
        sizes[term.mu] = sum(
            d.size_bytes
            for d in found.deliveries
            if d.start_ns >= at_ns
            and (d.src, d.dst) == ("c0.cu", "c0.d2")
            and d.kind == "parameters"
        )
    block = lab.COSTS.blocks[0].parameter_bytes
    assert sizes == {0.0: block, 0.1: 2 * block}
