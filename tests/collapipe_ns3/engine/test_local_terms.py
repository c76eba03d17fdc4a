"""Local terms of aggregations in the engine, against the same steps in plain torch."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from itertools import islice

import lab
import pytest
import torch
from timelines import LabCosts, agree, workload
from torch import Tensor, nn

from bridge.fixed import Link
from bridge.network import TransferKind
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.eventgraph.timeline import build_timeline
from collapipe_ns3.exchange import StateMove
from collapipe_ns3.learning.aggregation import VARIATE
from collapipe_ns3.learning.aggregators import FedNova, Scaffold
from collapipe_ns3.learning.local_term import LocalTerm
from collapipe_ns3.learning.models.transformer import TranslationModel
from collapipe_ns3.learning.updates import UpdateRule
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan

VARIATES = LocalTerm(variates=True)
RATE = 0.1  # of the lab's SGD
BOTH_WAYS = lab.COSTS.parameter_bytes - lab.COSTS.last.parameter_bytes


def two_clusters(round: int) -> RoundPlan:
    first, second = lab.pipeline(0, (2, 2), 3, "gpipe"), lab.pipeline(1, (1, 3), 4, "1f1b")
    return RoundPlan(round, "test", (ClusterPlan(0, (first,)), ClusterPlan(1, (second,))))


def rounds_of(number: int) -> list[RoundPlan]:
    return [two_clusters(round) for round in range(number)]


def sending_variates() -> TrainingState:
    """A fresh state with SGD, whose parameters travel with control variates."""
    state = lab.fresh(lab.Recording())
    state.costs = dataclasses.replace(state.costs, sent=2)
    return state


def by_name(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in model.named_parameters()}


def trained(
    model: TranslationModel,
    cluster: int,
    round: int,
    rates: Sequence[float],
    mu: float = 0.0,
    correction: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """What a cluster has after local steps in plain torch, with these terms in the gradient."""
    mine = copy.deepcopy(model).train()
    start = by_name(mine)
    for rate, batch in zip(rates, islice(lab.batches(cluster, round), len(rates)), strict=True):
        mine.zero_grad()
        mine.uncut_loss(batch).backward()
        with torch.no_grad():
            for name, each in mine.named_parameters():
                assert each.grad is not None
                step = each.grad + mu * (each - start[name])
                each -= rate * (step + (correction[name] if correction else 0.0))
    return by_name(mine)


def close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_the_proximal_term_is_in_every_step() -> None:
    state = lab.fresh(lab.Recording())
    expected = trained(state.model, 0, 0, (RATE,) * 3, mu=2.0)
    without = trained(state.model, 0, 0, (RATE,) * 3)
    plan = lab.one_cluster((1, 3), 3)
    lab.run_one(plan, state, local_steps=3, term=LocalTerm(mu=2.0))
    close(by_name(state.model), expected)
    different = [name for name, w in without.items() if not torch.allclose(w, expected[name])]
    assert len(different) > len(without) / 2


def test_scaffold_over_three_rounds_equals_the_same_in_plain_torch() -> None:
    """Algorithm 1 with option II, with learning rates that change from step to step."""
    updates, steps, shares = UpdateRule("linear", 2, 12), 3, (0.25, 0.75)
    state = sending_variates()
    model = copy.deepcopy(state.model)
    server = {name: torch.zeros_like(w) for name, w in by_name(model).items()}
    own = [dict(server), dict(server)]
    for round in range(3):
        rates = [RATE * updates.factor(steps * round + n) for n in range(steps)]
        start, moved, changed = by_name(model), [], []
        for cluster in (0, 1):
            correction = {name: c - own[cluster][name] for name, c in server.items()}
            w = trained(model, cluster, round, rates, correction=correction)
            new = {
                name: own[cluster][name] - server[name] + (start[name] - w[name]) / sum(rates)
                for name in w
            }
            moved.append({name: w[name] - start[name] for name in w})
            changed.append({name: new[name] - own[cluster][name] for name in w})
            own[cluster] = new
        for name, each in model.named_parameters():
            with torch.no_grad():
                each += sum(s * m[name] for s, m in zip(shares, moved, strict=True))
            server[name] = server[name] + sum(
                s * c[name] for s, c in zip(shares, changed, strict=True)
            )
    lab.run_rounds(
        rounds_of(3),
        state,
        local_steps=steps,
        shares=shares,
        updates=updates,
        aggregator=Scaffold(),
        term=VARIATES,
    )
    close(by_name(state.model), by_name(model))
    close(state.server[VARIATE], server)
    for cluster in (0, 1):
        close(state.replica(cluster, 0).variate, own[cluster])


def test_variates_are_means_of_clipped_gradients_by_parts_own_learning_rates() -> None:
    """In the first round of one step they are the gradients, whatever the rates and norms."""
    updates, state = UpdateRule(clip_norm=0.05, head_factor=3.0), sending_variates()
    gradients = lab.Recording()
    plan = lab.one_cluster((2, 2), 3)
    lab.run_one(plan, state, updates=updates, aggregator=Scaffold(), term=VARIATES)
    other = lab.fresh(gradients)
    lab.run_one(plan, other, updates=updates)
    given = gradients.by_name(other.replica(0, 0).model)
    close(state.replica(0, 0).variate, {name: each[0] for name, each in given.items()})
    close(by_name(state.model), by_name(other.model))


def test_a_failed_pipeline_keeps_its_variate_and_the_servers_share_of_it() -> None:
    state = sending_variates()
    how = {"shares": (0.5, 0.5), "aggregator": Scaffold(), "term": VARIATES}
    lab.run_rounds([two_clusters(0)], state, **how)
    before = {name: c.clone() for name, c in state.replica(1, 0).variate.items()}
    other = {name: c.clone() for name, c in state.replica(0, 0).variate.items()}
    unreachable = {("c1.cu", "c1.d1"): Link(lab.FAST.rate_bps, outage_ns=(0, 10**12))}
    (failing,) = lab.run_rounds([two_clusters(1)], state, links=unreachable, **how)
    assert [each.fate for each in failing.pipelines] == ["averaged", "failed"]
    after = state.replica(1, 0).variate
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    changed = state.replica(0, 0).variate
    assert not all(torch.equal(other[name], changed[name]) for name in other)
    mean = {name: 0.5 * changed[name] + 0.5 * after[name] for name in after}
    close(state.server[VARIATE], mean)


def test_a_lost_part_of_a_variate_begins_with_zeros_and_the_servers_stays_right() -> None:
    state = sending_variates()
    how = {"shares": (0.5, 0.5), "aggregator": Scaffold(), "term": VARIATES}
    lab.run_rounds([two_clusters(0)], state, **how)
    server, model = dict(state.server[VARIATE]), copy.deepcopy(state.model)
    own = {name: each.clone() for name, each in state.replica(0, 0).variate.items()}
    state.void(["c0.d1"])
    lost = set(own) - set(state.replica(0, 0).variate)
    assert 0 < len(lost) < len(own)
    lab.run_rounds([two_clusters(1)], state, **how)
    zeros = {name: torch.zeros_like(c) if name in lost else c for name, c in own.items()}
    correction = {name: c - zeros[name] for name, c in server.items()}
    w = trained(model, 0, 1, (RATE,), correction=correction)
    start, after = by_name(model), state.replica(0, 0).variate
    close(after, {name: (start[name] - w[name]) / RATE - correction[name] for name in w})
    other = state.replica(1, 0).variate
    close(state.server[VARIATE], {name: 0.5 * after[name] + 0.5 * other[name] for name in after})


def test_momentum_that_begins_anew_does_not_move() -> None:
    """A block moves to another device between two rounds, whose steps are those of plain torch."""
    term = LocalTerm(fresh_optimizer=True)

    def run(fresh: bool) -> tuple[RoundOutcome, TrainingState]:
        state = lab.fresh(lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9))
        moved = dataclasses.replace(lab.one_cluster((3, 1), 3), round=1)
        plans = [lab.one_cluster((1, 3), 3), moved]
        how = {"term": term if fresh else LocalTerm(), "aggregator": FedNova(0.9)}
        return lab.run_rounds(plans, state, local_steps=2, **how)[1], state

    with_states, _ = run(fresh=False)
    anew, state = run(fresh=True)
    blocks = 2 * lab.COSTS.blocks[0].parameter_bytes
    sent = [sum(d.size_bytes for d in each.deliveries) for each in (with_states, anew)]
    assert sent[0] - sent[1] == 2 * blocks  # over two hops
    model = lab.model()
    for round in range(2):
        mine = copy.deepcopy(model).train()
        optimizer = torch.optim.SGD(mine.parameters(), lr=0.1, momentum=0.9)
        for batch in islice(lab.batches(0, round), 2):
            optimizer.zero_grad()
            mine.uncut_loss(batch).backward()
            optimizer.step()
        model = mine
    close(by_name(state.model), by_name(model))


def parameter_bytes(outcome: RoundOutcome) -> int:
    kinds = (TransferKind.MODEL, TransferKind.PARAMETERS)
    return sum(each.size_bytes for each in outcome.deliveries if each.kind in kinds)


def test_variates_double_what_travels_and_nothing_else() -> None:
    plan = lab.one_cluster((1, 3), 3)
    plain = lab.run_one(plan)
    (twice,) = lab.run_rounds([plan], sending_variates(), aggregator=Scaffold(), term=VARIATES)
    blocks = lab.COSTS.parameter_bytes - lab.COSTS.first.parameter_bytes
    blocks -= lab.COSTS.last.parameter_bytes
    assert parameter_bytes(plain) == 2 * (BOTH_WAYS + blocks)
    assert parameter_bytes(twice) == 2 * parameter_bytes(plain)
    others = [
        sorted((d.src, d.dst, d.size_bytes) for d in each.deliveries if d.kind == "activation")
        for each in (plain, twice)
    ]
    assert others[0] == others[1]


@pytest.mark.parametrize("term", [LocalTerm(mu=0.1), VARIATES], ids=["fedprox", "scaffold"])
def test_a_step_takes_the_time_of_its_term(term: LocalTerm) -> None:
    plan = lab.one_cluster((1, 3), 3)
    plain, changed = (lab.run_one(plan, flops_per_s=1e6, term=each) for each in (LocalTerm(), term))
    for node, part in (("c0.cu", lab.COSTS.first), ("c0.d1", lab.COSTS.segment(1, 3))):
        took = [
            next(
                d.end_ns - d.start_ns
                for d in each.computations
                if (d.node, d.action) == (node, "step")
            )
            for each in (plain, changed)
        ]
        # At 1 MFLOP/s a FLOP takes 1000 ns.
        assert took[1] - took[0] == 1000 * term.flops * part.parameters


def test_the_event_graph_agrees_with_the_engine_under_scaffold() -> None:
    """Over two rounds; in the second, a block's control variate moves to another device."""
    links = {
        pair: Link(10**8, latency_ns=1000)
        for pair in (("bs", "c0.cu"), ("c0.cu", "bs"), ("c0.cu", "c0.d0"), ("c0.d0", "c0.cu"))
    }
    plans = [
        lab.one_cluster((1, 3), 3, "1f1b"),
        dataclasses.replace(lab.one_cluster((2, 2), 3, "1f1b"), round=1),
    ]
    outcomes = lab.run_rounds(
        plans,
        sending_variates(),
        links=links,
        flops_per_s=1e9,
        local_steps=2,
        aggregator=Scaffold(),
        term=VARIATES,
        draw_batches=lambda cluster, round: lab.batches(cluster, 0),
    )
    work = dataclasses.replace(
        workload(0, 2),
        model=dataclasses.replace(lab.COSTS, sent=2),
        optimizer_flops_per_byte=(2 + VARIATES.flops) / 4,
        aggregation=Scaffold().flops,
    )
    profiles = lab.profiles(lab.nodes(plans[0]), {}, 1e9)
    block = lab.COSTS.blocks[1].parameter_bytes
    moves = [{}, {0: [StateMove("c0.d1", "c0.d0", block)]}]
    for plan, outcome, moved in zip(plans, outcomes, moves, strict=True):
        agree(build_timeline(plan, work, LabCosts(profiles, links), moved), outcome)


@pytest.mark.parametrize(
    ("term", "tensors"), [(LocalTerm(mu=0.1), 1), (VARIATES, 3)], ids=["fedprox", "scaffold"]
)
def test_nodes_hold_what_the_term_needs(term: LocalTerm, tensors: int) -> None:
    plan = lab.one_cluster((1, 3), 3)
    plain, changed = (lab.run_one(plan, term=each) for each in (LocalTerm(), term))
    needs = {
        "c0.cu": lab.COSTS.first,
        "c0.d0": lab.COSTS.segment(0, 0),
        "c0.d1": lab.COSTS.segment(1, 3),
        "bs": lab.COSTS.last,
    }
    for was, now in zip(plain.devices, changed.devices, strict=True):
        more = now.peak_memory_bytes - was.peak_memory_bytes
        assert more == tensors * needs[now.device].parameter_bytes


def test_what_an_aggregation_keeps_is_in_the_checkpoint() -> None:
    state = sending_variates()
    how = {"shares": (0.5, 0.5), "aggregator": Scaffold(), "term": VARIATES}
    lab.run_rounds(rounds_of(2), state, **how)
    again = sending_variates()
    again.load_checkpoint(copy.deepcopy(state.to_checkpoint()))
    for each in (state, again):
        lab.run_rounds([two_clusters(2)], each, **how)
    for name, w in by_name(state.model).items():
        assert torch.equal(w, dict(again.model.named_parameters())[name]), name
        assert torch.equal(state.server[VARIATE][name], again.server[VARIATE][name]), name
    assert "server" not in lab.fresh(lab.adamw).to_checkpoint()
