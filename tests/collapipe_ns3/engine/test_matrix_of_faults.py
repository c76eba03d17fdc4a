"""Every fault at every phase of a round × how pipelines recover × every scheme.

In each cell the global model is the average, computed by hand, of what those pipelines have trained
in the round without the fault that must be in it; bytes, computations and energy add up
(`lab.run_rounds` checks them); and the next round, planned without the nodes that are away, runs.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import lab
import losses
import pytest
import torch

from bridge.fixed import Link
from collapipe_ns3 import schemes
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.faults import Faults
from collapipe_ns3.learning.aggregation import (
    Aggregate,
    Before,
    FederatedAveraging,
    Parameters,
    PipelineFailure,
    PipelineResult,
    ServerFlops,
)
from collapipe_ns3.observed import MeasuredLink, Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import Recovery, RecoveryPolicy, RoundPlan

DEVICES = (("c0.d0", "c0.d1", "c0.d2"), ("c1.d0", "c1.d1"))
NODES = ("bs", "c0.cu", "c1.cu", *DEVICES[0], *DEVICES[1])
SHARES = (0.4, 0.6)
LINK = Link(rate_bps=80_000_000)  # a byte in 100 ns
FLOPS_PER_S = 1e9
STEPS = 3
OUT_NS = 400_000  # how long a link or the base station is out
RETURN_NS = 1_000  # how long a device is away that returns: it is back before the next round

SCHEMES = ("collapipe", "pipeline", "titanic", "vanilla_fl")
POLICIES: tuple[RecoveryPolicy, ...] = ("abandon", "restart", "replicate")
FAULTS = ("device leaves", "device returns", "control unit leaves", "device slow", "link out",
          "base station out")  # fmt: skip
PHASES = ("broadcast", "forward", "backward", "step", "gather", "upload", "aggregate")
CELLS = list(itertools.product(FAULTS, PHASES, POLICIES, SCHEMES))

#: A cell for every pair of a fault and a phase, with all policies and schemes in turn.
FAST = [
    (fault, phase, POLICIES[n % 3], SCHEMES[(n + n // 12) % 4])
    for n, (fault, phase) in enumerate(itertools.product(FAULTS, PHASES))
]


def observation(absent: frozenset[str] = frozenset()) -> Observation:
    goodput = float(LINK.rate_bps)
    pairs = [("bs", "c0.cu"), ("bs", "c1.cu")]
    for number, devices in enumerate(DEVICES):
        pairs += itertools.combinations((f"c{number}.cu", *devices), 2)
    measured = (
        MeasuredLink(*pair, 1e-8, 4e-21, 1e5, goodput, 0.0, 0.0, 0.1)
        for a, b in pairs
        for pair in ((a, b), (b, a))
    )
    return Observation(
        devices=DEVICES,
        profiles=lab.profiles(NODES, losses.BUSY_NS, FLOPS_PER_S),
        model=lab.COSTS,
        batch_size=12,
        local_steps=STEPS,
        optimizer=OPTIMIZERS["sgd"],
        links=tuple(measured),
        shares=SHARES,
        absent=dict.fromkeys(absent, "away"),
    )


@cache
def planned(scheme: str, number: int, absent: frozenset[str] = frozenset()) -> RoundPlan:
    return schemes.make(scheme, {}).plan(number, observation(absent))


@dataclass
class Results:
    """Federated averaging that keeps a round's results by pipeline, and the models that it made."""

    given: dict[tuple[int, int], tuple[float, Parameters]] = field(default_factory=dict)
    made: list[Parameters] = field(default_factory=list)
    flops: ServerFlops = FederatedAveraging().flops

    def aggregate(
        self,
        before: Before,
        results: Sequence[PipelineResult],
        failures: Sequence[PipelineFailure],
    ) -> Aggregate:
        for each in results:
            copies = {name: tensor.clone() for name, tensor in each.parameters.items()}
            self.given[each.cluster, each.pipeline] = each.weight, copies
        made = FederatedAveraging().aggregate(before, results, failures)
        self.made.append({name: tensor.clone() for name, tensor in made.parameters.items()})
        return made


def run(plans: Sequence[RoundPlan], faults: Faults, results: Results) -> list[RoundOutcome]:
    return lab.run_rounds(
        plans,
        lab.fresh(losses.sgd),
        default=LINK,
        busy_ns=losses.BUSY_NS,
        flops_per_s=FLOPS_PER_S,
        local_steps=STEPS,
        shares=SHARES,
        faults=faults,
        aggregator=results,
        spare=NODES,
    )


@cache
def undisturbed(scheme: str, policy: RecoveryPolicy) -> tuple[RoundOutcome, Results]:
    results = Results()
    (outcome,) = run([with_recovery(planned(scheme, 0), policy)], Faults(), results)
    return outcome, results


def with_recovery(plan: RoundPlan, policy: RecoveryPolicy) -> RoundPlan:
    terms = dataclasses.replace(plan.terms, recovery=Recovery(policy))
    return dataclasses.replace(plan, terms=terms)


def victim(plan: RoundPlan) -> str:
    """The device of the last segment of cluster 0's first pipeline."""
    return plan.clusters[0].pipelines[0].stages[-1].device


def instant(outcome: RoundOutcome, node: str, phase: str) -> int:
    """The middle of something that a phase consists of."""
    if phase == "aggregate":
        return losses.middle(outcome, "bs", "aggregate")
    if phase in ("gather", "upload"):
        ends = {(node, "c0.cu") if phase == "gather" else ("c0.cu", "bs")}
        sent = [
            d
            for d in outcome.deliveries
            if (d.src, d.dst) in ends and d.kind == "parameters" and losses.step_of(d) < 0
        ]
        # In a streamed exchange, the upload begins before all is gathered.
        chosen = sent[0] if phase == "gather" else sent[-1]
        return (chosen.start_ns + chosen.end_ns) // 2
    action = {"broadcast": "model", "forward": "F", "backward": "B", "step": "step"}[phase]
    return losses.middle(outcome, node, action, -1 if phase == "broadcast" else 1)


def faults_at(fault: str, node: str, at_ns: int) -> Faults:
    up = {
        "device leaves": {node: lab.away((at_ns, None))},
        "device returns": {node: lab.away((at_ns, at_ns + RETURN_NS))},
        "control unit leaves": {"c0.cu": lab.away((at_ns, None))},
        "base station out": {"bs": lab.away((at_ns, at_ns + OUT_NS))},
    }.get(fault, {})
    out = lab.away((at_ns, at_ns + OUT_NS))
    links = dict.fromkeys((("c0.cu", node), (node, "c0.cu")), out) if fault == "link out" else {}
    slow = {node: lab.Steps(1.0, (at_ns,), (5.0,))} if fault == "device slow" else {}
    return Faults(up=up, links=links, slowness=slow)


def contributing(
    outcome: RoundOutcome, fault: str, phase: str, policy: RecoveryPolicy, node: str, at_ns: int
) -> set[tuple[int, int]]:
    """The pipelines that have to be in the average."""
    found = set()
    for each in outcome.pipelines:
        stages = {stage.device for stage in each.pipeline.stages}
        needed = node in stages and phase not in ("upload", "aggregate")
        replaced = policy != "abandon" and each.pipeline.embedding is None
        fails = (fault in ("device leaves", "device returns") and needed and not replaced) or (
            fault == "control unit leaves" and each.cluster == 0 and each.end_ns > at_ns
        )
        if not fails:
            found.add((each.cluster, each.index))
    return found


def average(results: Sequence[tuple[float, Parameters]]) -> Parameters:
    total = sum(weight for weight, _ in results)
    return {
        name: torch.stack([weight / total * own[name] for weight, own in results]).sum(0)
        for name in results[0][1]
    }


def check(fault: str, phase: str, policy: RecoveryPolicy, scheme: str) -> None:
    plan = planned(scheme, 0)
    before, results = undisturbed(scheme, policy)
    node = victim(plan)
    at_ns = instant(before, node, phase)
    gone = {"device leaves": {node}, "control unit leaves": {"c0.cu"}}.get(fault, set())
    following = with_recovery(planned(scheme, 1, frozenset(gone)), policy)
    made = Results()
    first, second = run(
        [with_recovery(plan, policy), following], faults_at(fault, node, at_ns), made
    )
    expected = contributing(before, fault, phase, policy, node, at_ns)
    averaged = {(p.cluster, p.index) for p in first.pipelines if p.fate == "averaged"}
    assert averaged == expected
    by_hand = average([results.given[place] for place in sorted(expected)])
    for name, tensor in by_hand.items():
        torch.testing.assert_close(made.made[0][name], tensor, rtol=1e-6, atol=1e-8)
    assert sum(p.weight for p in first.pipelines) == pytest.approx(1.0)
    assert {p.fate for p in second.pipelines} == {"averaged"}
    assert not {s.device for p in second.pipelines for s in p.pipeline.stages} & gone


@pytest.mark.parametrize(("fault", "phase", "policy", "scheme"), FAST)
def test_a_cell_for_every_fault_and_phase(
    fault: str, phase: str, policy: RecoveryPolicy, scheme: str
) -> None:
    check(fault, phase, policy, scheme)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "phase", "policy", "scheme"), [cell for cell in CELLS if cell not in FAST]
)
def test_every_other_cell(fault: str, phase: str, policy: RecoveryPolicy, scheme: str) -> None:
    check(fault, phase, policy, scheme)
