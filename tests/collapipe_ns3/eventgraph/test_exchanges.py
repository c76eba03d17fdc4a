"""Exchanges of any shape take exactly as long in the event graph as in the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import exchanges
import lab
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timelines import LabCosts, Pair, agree, workload

from bridge.fixed import Link
from collapipe_ns3.engine.state import OptimizerMaker
from collapipe_ns3.eventgraph.timeline import build_timeline
from collapipe_ns3.exchange import StateMove, exchange_problems
from collapipe_ns3.plan import ClusterPlan, LinkPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.prediction.plan_timeline import moved_states
from collapipe_ns3.references import format_problems

NODES = 4  # devices of each cluster


def drawn_plan(data: st.DataObject) -> RoundPlan:
    """One to three clusters, each with one pipeline or two, which may have all on devices."""
    clusters = []
    for number in range(data.draw(st.integers(1, 3))):
        devices = [f"c{number}.d{k}" for k in range(NODES)]
        several = data.draw(st.booleans())
        split = data.draw(st.integers(1, NODES - 1)) if several else NODES
        parts = [devices[:split], devices[split:]] if several else [devices]
        pipes = tuple(drawn_pipeline(data, names, 1 / len(parts)) for names in parts)
        clusters.append(ClusterPlan(number, pipes))
    return RoundPlan(0, "test", tuple(clusters))


def drawn_pipeline(data: st.DataObject, devices: Sequence[str], share: float) -> Pipeline:
    cuts = data.draw(
        st.sampled_from([c for c in ((4,), (1, 3), (2, 1, 1)) if len(c) <= len(devices)])
    )
    stages, first = [], 0
    for name, blocks in zip(devices, cuts, strict=False):
        stages.append(Stage(name, first, first + blocks - 1))
        first += blocks
    ends = (None, None)
    if len(cuts) == 1:
        ends = data.draw(st.sampled_from([(None, None), (devices[0], devices[0])]))
    micro_batches = data.draw(st.integers(1, 3))
    schedule = data.draw(st.sampled_from(["gpipe", "1f1b"]))
    return Pipeline(tuple(stages), micro_batches, schedule, share, *ends)


def pairs_of(plan: RoundPlan) -> list[Pair]:
    """All links in clusters, and between control units and the base station."""
    found: list[Pair] = []
    for cluster in plan.clusters:
        control = f"c{cluster.cluster}.cu"
        names = [control, *(f"c{cluster.cluster}.d{k}" for k in range(NODES))]
        found += [(a, b) for a in names for b in names if a != b]
        found += [(control, "bs"), ("bs", control)]
    return found


@dataclasses.dataclass(frozen=True)
class Lab:
    """Links and speeds, and how long is trained."""

    links: dict[Pair, Link]
    busy_ns: dict[str, int]
    local_steps: int = 1
    local_head: bool = False

    @classmethod
    def drawn(cls, data: st.DataObject, plan: RoundPlan, media: Sequence[str | None]) -> Lab:
        """Of few rates and latencies, so that much happens at one instant."""
        link = st.builds(
            Link,
            st.sampled_from([10**8, 3 * 10**8, 10**9, 7 * 10**9]),
            latency_ns=st.sampled_from([0, 1, 5_000]),
            medium=st.sampled_from(media),
        )
        return cls(
            {pair: data.draw(link) for pair in pairs_of(plan)},
            {n: data.draw(st.integers(1, 100_000)) for n in dict.fromkeys(lab.nodes(plan))},
            data.draw(st.integers(1, 2)),
            data.draw(st.booleans()),
        )

    def check(self, *plans: RoundPlan, optimizer: OptimizerMaker | None = None) -> None:
        """Prediction and execution of the last of these plans agree, after the others."""
        for plan in plans:
            assert_valid(plan)
        # So that the network has all nodes that hold anything, whatever the plan uses.
        links = tuple(LinkPlan(*pair) for pair in self.links)
        *earlier, plan = (dataclasses.replace(each, links=links) for each in plans)
        state = lab.fresh(optimizer or lab.Recording(), self.local_head)
        how = {
            "links": self.links,
            "busy_ns": self.busy_ns,
            "local_steps": self.local_steps,
            "shares": [1 / len(plan.clusters)] * len(plan.clusters),
        }
        for each in earlier:
            lab.run_one(each, state, **how)
        references = state.kept.references
        outcome = lab.run_one(plan, state, **how)
        profiles = lab.profiles(list(dict.fromkeys(lab.nodes(plan))), self.busy_ns)
        work = workload(0, self.local_steps, "sgd", self.local_head)
        moves = None if optimizer is None else moves_between(*plans)
        made = build_timeline(plan, work, LabCosts(profiles, self.links), moves, references)
        agree(made, outcome)


def assert_valid(plan: RoundPlan) -> None:
    devices = [[f"c{c.cluster}.d{k}" for k in range(NODES)] for c in plan.clusters]
    assert plan.exchange is not None
    assert exchange_problems(plan.exchange, plan.placements(), devices, 4) == []
    assert list(format_problems(plan.exchange)) == []


def moves_between(before: RoundPlan, after: RoundPlan) -> dict[int, list[StateMove]]:
    """The optimizer states that move between two plans of one pipeline a cluster."""
    was, now = ({c.cluster: c.pipelines[0] for c in plan.clusters} for plan in (before, after))
    return moved_states(was, now, workload(0, 1, "adamw"))


@pytest.mark.parametrize("media", [(None,), ("a", "b", None)], ids=["own", "shared"])
@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@settings(max_examples=6)
@given(st.data())
def test_trees(
    streamed: bool, multicast: bool, media: Sequence[str | None], data: st.DataObject
) -> None:
    plan = drawn_plan(data)
    drawn = exchanges.drawn_trees(data, plan, multicast=multicast, streamed=streamed)
    Lab.drawn(data, plan, media).check(dataclasses.replace(plan, exchange=drawn))


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_more_trees(data: st.DataObject) -> None:
    """On links of their own: on shared media the order of requests at one instant varies."""
    plan = drawn_plan(data)
    drawn = exchanges.drawn_trees(data, plan)
    Lab.drawn(data, plan, [None]).check(dataclasses.replace(plan, exchange=drawn))


@settings(max_examples=6)
@given(st.data())
def test_differences_from_what_nodes_hold_after_a_round(data: st.DataObject) -> None:
    """Units go whole to nodes that hold no reference of them."""
    plans = []
    for _ in range(2):
        clusters = tuple(
            ClusterPlan(n, (drawn_pipeline(data, [f"c{n}.d{k}" for k in range(NODES)], 1.0),))
            for n in range(2)
        )
        plan = RoundPlan(len(plans), "test", clusters)
        drawn = exchanges.drawn_trees(data, plan, formats=exchanges.FORMATS[2:])
        plans.append(dataclasses.replace(plan, exchange=drawn))
    Lab.drawn(data, plans[1], [None]).check(*plans)


@settings(max_examples=10)
@given(st.data())
def test_equal_times_at_every_turn(data: st.DataObject) -> None:
    """Ties decide who is served first: every transfer takes as long as every computation."""
    plan = drawn_plan(data)
    plan = dataclasses.replace(plan, exchange=exchanges.drawn_trees(data, plan))
    links: dict[Pair, Link] = dict.fromkeys(pairs_of(plan), lab.Hop(rate_bps=1))
    Lab(links, dict.fromkeys(lab.nodes(plan), 10_000), 2).check(plan)


@settings(max_examples=6)
@given(st.data())
def test_optimizer_states_that_move(data: st.DataObject) -> None:
    plans = []
    count = data.draw(st.integers(1, 2))
    for _ in range(2):
        cuts = data.draw(st.sampled_from([(4,), (1, 3), (2, 2), (2, 1, 1), (1, 1, 1, 1)]))
        clusters = tuple(ClusterPlan(n, (lab.pipeline(n, cuts, 2, "1f1b"),)) for n in range(count))
        plan = RoundPlan(0, "test", clusters)
        plans.append(dataclasses.replace(plan, exchange=exchanges.drawn_trees(data, plan)))
    Lab.drawn(data, plans[1], ["a", None]).check(*plans, optimizer=lab.adamw)
