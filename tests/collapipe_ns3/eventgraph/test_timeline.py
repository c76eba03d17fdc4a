"""The event graph takes exactly as long as the engine does, whatever the links and stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import exchanges
import lab
import pytest
import tied_model
from hypothesis import given, settings
from hypothesis import strategies as st
from relative_bias import RelativeBias
from timelines import LabCosts, Pair, agree, workload

from bridge.fixed import Link
from collapipe_ns3.costs.measured import measure_parts
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.eventgraph.timeline import Timeline, build_timeline
from collapipe_ns3.exchange import StateMove
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.protocol import Lengths
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage


def predicted(
    plan: RoundPlan,
    links: Mapping[Pair, Link],
    busy_ns: Mapping[str, int],
    local_steps: int,
    moves: Mapping[int, Sequence[StateMove]] | None = None,
    optimizer: str = "sgd",
    local_head: bool = False,
    flops_per_s: float = lab.INSTANT_FLOPS,
) -> Timeline:
    profiles = lab.profiles(list(dict.fromkeys(lab.nodes(plan))), busy_ns, flops_per_s)
    costs = LabCosts(profiles, links)
    return build_timeline(plan, workload(0, local_steps, optimizer, local_head), costs, moves)


def executed(plan: RoundPlan, local_head: bool, **how: object) -> RoundOutcome:
    """What the engine makes of a plan, in one of the two training modes."""
    return lab.run_one(plan, lab.fresh(lab.Recording(), local_head), **how)


def test_a_plan_may_choose_the_number_of_local_steps() -> None:
    plan = lab.one_cluster((1, 3), 2, "1f1b")
    chosen = dataclasses.replace(plan, local_steps=3)
    made = predicted(chosen, {}, {}, 1)
    assert (
        made.total_ns == predicted(plan, {}, {}, 3).total_ns > predicted(plan, {}, {}, 1).total_ns
    )
    assert predicted(dataclasses.replace(plan, local_steps=1), {}, {}, 3).total_ns < made.total_ns


CUTS = st.sampled_from([(4,), (1, 3), (3, 1), (2, 1, 1), (1, 1, 2), (1, 1, 1, 1)])
MICRO_BATCHES = st.sampled_from([1, 2, 3, 4, 6, 12])
SCHEDULES = st.sampled_from(["gpipe", "1f1b"])


def pairs_of(plan: RoundPlan) -> list[Pair]:
    """Every directed pair that a round may use."""
    found: list[Pair] = []
    for cluster in plan.clusters:
        control = f"c{cluster.cluster}.cu"
        devices = [stage.device for stage in cluster.pipelines[0].stages]
        nodes = [control, *devices]
        found += [(a, b) for a in nodes for b in nodes if a != b]
        found += [(control, "bs"), ("bs", control)]
    return found


def draw_links(
    data: st.DataObject, plan: RoundPlan, media: Sequence[str | None]
) -> dict[Pair, Link]:
    return {
        pair: Link(
            data.draw(st.integers(10**6, 10**11)),
            latency_ns=data.draw(st.integers(0, 10**6)),
            medium=data.draw(st.sampled_from(media)),
        )
        for pair in pairs_of(plan)
    }


def draw_busy(data: st.DataObject, plan: RoundPlan) -> dict[str, int]:
    return {n: data.draw(st.integers(1, 1_000_000)) for n in dict.fromkeys(lab.nodes(plan))}


@settings(max_examples=20)
@given(CUTS, MICRO_BATCHES, SCHEDULES, st.booleans(), st.integers(1, 2), st.data())
def test_one_cluster_on_links_of_their_own(
    cuts: tuple[int, ...],
    micro_batches: int,
    schedule: str,
    local_head: bool,
    local_steps: int,
    data: st.DataObject,
) -> None:
    plan = lab.one_cluster(cuts, micro_batches, schedule)
    links, busy = draw_links(data, plan, [None]), draw_busy(data, plan)
    made = predicted(plan, links, busy, local_steps, local_head=local_head)
    agree(made, executed(plan, local_head, links=links, busy_ns=busy, local_steps=local_steps))


@settings(max_examples=20)
@given(CUTS, MICRO_BATCHES, SCHEDULES, st.booleans(), st.data())
def test_one_cluster_on_shared_media(
    cuts: tuple[int, ...],
    micro_batches: int,
    schedule: str,
    local_head: bool,
    data: st.DataObject,
) -> None:
    plan = lab.one_cluster(cuts, micro_batches, schedule)
    links, busy = draw_links(data, plan, ["a", "b", None]), draw_busy(data, plan)
    made = predicted(plan, links, busy, 1, local_head=local_head)
    agree(made, executed(plan, local_head, links=links, busy_ns=busy))


@settings(max_examples=20)
@given(CUTS, st.sampled_from([1, 5, 7, 8, 11]), SCHEDULES, st.booleans(), st.booleans(), st.data())
def test_uneven_micro_batches_take_what_their_sizes_take(
    cuts: tuple[int, ...],
    micro_batches: int,
    schedule: str,
    recompute: bool,
    local_head: bool,
    data: st.DataObject,
) -> None:
    """On devices whose computations take as long as their FLOPs say."""
    plan = lab.one_cluster(cuts, micro_batches, schedule, recompute=recompute)
    links, busy = draw_links(data, plan, [None]), draw_busy(data, plan)
    made = predicted(plan, links, busy, 2, local_head=local_head, flops_per_s=1e8)
    how = {"links": links, "busy_ns": busy, "local_steps": 2, "flops_per_s": 1e8}
    agree(made, executed(plan, local_head, **how))


@settings(max_examples=10)
@given(st.sampled_from([(2,), (1, 1)]), st.integers(1, 4), SCHEDULES, st.data())
def test_the_exchange_of_tied_gradients(
    cuts: tuple[int, ...], micro_batches: int, schedule: str, data: st.DataObject
) -> None:
    plan = lab.one_cluster(cuts, micro_batches, schedule)
    links, busy = draw_links(data, plan, ["a", None]), draw_busy(data, plan)
    costs = tied_model.costs()
    work = Workload.of(
        costs,
        batch_size=8,
        local_steps=2,
        optimizer=OPTIMIZERS["sgd"],
        source_length=5,
        target_length=5,
    )
    known = LabCosts(lab.profiles(list(dict.fromkeys(lab.nodes(plan))), busy), links)
    state = TrainingState(tied_model.model(), lab.Recording(), costs)
    outcome = lab.run_one(
        plan,
        state,
        links=links,
        busy_ns=busy,
        local_steps=2,
        draw_batches=tied_model.batches,
    )
    agree(build_timeline(plan, work, known), outcome)


def classified(cluster: int, round: int) -> Iterator[Batch]:
    """The lab's batches with a class as the label of each sequence."""
    for batch in lab.batches(cluster, round):
        yield dataclasses.replace(batch, labels=(batch.labels[0][:, 0] % 3,))


@pytest.mark.parametrize("micro_batches", [1, 5])
@pytest.mark.parametrize("cuts", [(4,), (1, 2, 1)])
def test_a_model_of_ones_own_takes_what_was_measured(
    cuts: tuple[int, ...], micro_batches: int
) -> None:
    """A tensor travels that does not grow with the sequences; some parameters are frozen."""
    model = RelativeBias(words=11, width=8, longest=6, blocks=4, classes=3)
    costs = measure_parts(model, next(classified(0, 0)), Lengths(6, 1))
    plan = lab.one_cluster(cuts, micro_batches, "1f1b")
    links = {pair: Link(10**7, latency_ns=7) for pair in pairs_of(plan)}
    work = Workload.of(
        costs,
        batch_size=12,
        local_steps=2,
        optimizer=OPTIMIZERS["sgd"],
        source_length=6,
        target_length=1,
    )
    profiles = lab.profiles(list(dict.fromkeys(lab.nodes(plan))), {}, 1e8)
    made = build_timeline(plan, work, LabCosts(profiles, links))
    state = TrainingState(model, lab.adamw, costs)
    outcome = lab.run_one(
        plan, state, links=links, local_steps=2, flops_per_s=1e8, draw_batches=classified
    )
    agree(made, outcome)


@settings(max_examples=12)
@given(
    st.lists(st.tuples(CUTS, MICRO_BATCHES, SCHEDULES), min_size=2, max_size=3),
    st.booleans(),
    st.data(),
)
def test_clusters_that_share_media_and_the_base_station(
    shapes: list[tuple[tuple[int, ...], int, str]], local_head: bool, data: st.DataObject
) -> None:
    clusters = tuple(
        ClusterPlan(n, (lab.pipeline(n, cuts, micro_batches, schedule),))
        for n, (cuts, micro_batches, schedule) in enumerate(shapes)
    )
    plan = RoundPlan(0, "test", clusters)
    links, busy = draw_links(data, plan, ["a", "b", None]), draw_busy(data, plan)
    shares = [1 / len(shapes)] * len(shapes)
    outcome = executed(plan, local_head, links=links, busy_ns=busy, shares=shares)
    agree(predicted(plan, links, busy, 1, local_head=local_head), outcome)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(CUTS, MICRO_BATCHES, SCHEDULES), min_size=1, max_size=3),
    st.booleans(),
    st.integers(1, 2),
    st.data(),
)
def test_exchanges_that_the_plan_gives(
    shapes: list[tuple[tuple[int, ...], int, str]],
    local_head: bool,
    local_steps: int,
    data: st.DataObject,
) -> None:
    clusters = tuple(
        ClusterPlan(n, (lab.pipeline(n, cuts, micro_batches, schedule),))
        for n, (cuts, micro_batches, schedule) in enumerate(shapes)
    )
    plan = RoundPlan(0, "test", clusters)
    plan = dataclasses.replace(plan, exchange=exchanges.drawn(data, plan))
    links, busy = draw_links(data, plan, ["a", "b", None]), draw_busy(data, plan)
    how = {"links": links, "busy_ns": busy, "local_steps": local_steps}
    outcome = executed(plan, local_head, shares=[1 / len(shapes)] * len(shapes), **how)
    agree(predicted(plan, links, busy, local_steps, local_head=local_head), outcome)


def two_pipelines(placed: bool) -> RoundPlan:
    """Two pipelines of one cluster; the second has the whole model on one device if `placed`."""
    ends = ("c0.d2", "c0.d2") if placed else (None, None)
    pair = (
        Pipeline((Stage("c0.d0", 0, 1), Stage("c0.d1", 2, 3)), 3, "1f1b", 0.5),
        Pipeline((Stage("c0.d2", 0, 3),), 2, "gpipe", 0.5, *ends),
    )
    return RoundPlan(0, "test", (ClusterPlan(0, pair),))


@settings(max_examples=10)
@given(st.booleans(), st.booleans(), st.data())
def test_pipelines_of_one_cluster(placed: bool, explicit: bool, data: st.DataObject) -> None:
    plan = two_pipelines(placed)
    if explicit:
        plan = dataclasses.replace(plan, exchange=exchanges.drawn(data, plan))
    links, busy = draw_links(data, plan, ["a", "b", None]), draw_busy(data, plan)
    agree(
        predicted(plan, links, busy, 2),
        executed(plan, False, links=links, busy_ns=busy, local_steps=2),
    )


@pytest.mark.parametrize("local_head", [False, True])
@settings(max_examples=8)
@given(st.data())
def test_equal_times_in_exchanges_that_the_plan_gives(
    local_head: bool, data: st.DataObject
) -> None:
    """Ties decide who is served first, also among pipelines."""
    clusters = tuple(ClusterPlan(n, (lab.pipeline(n, (2, 2), 3, "1f1b"),)) for n in range(2))
    plan = RoundPlan(0, "test", clusters)
    plan = dataclasses.replace(plan, exchange=exchanges.drawn(data, plan))
    links = dict.fromkeys(pairs_of(plan), lab.Hop(rate_bps=1, medium="air"))
    busy = dict.fromkeys(lab.nodes(plan), 10_000)
    outcome = executed(plan, local_head, links=links, busy_ns=busy, shares=[0.5, 0.5])
    agree(predicted(plan, links, busy, 1, local_head=local_head), outcome)


@pytest.mark.parametrize("local_head", [False, True])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("cuts", [(4,), (2, 2), (1, 1, 2)])
def test_equal_times_at_every_turn(cuts: tuple[int, ...], schedule: str, local_head: bool) -> None:
    """Ties decide who is served first: one medium for all, and transfers as long as tasks."""
    plan = lab.one_cluster(cuts, 6, schedule)
    hop = lab.Hop(rate_bps=1, medium="air")
    links = dict.fromkeys(pairs_of(plan), hop)
    busy = dict.fromkeys(lab.nodes(plan), 10_000)
    made = predicted(plan, links, busy, 2, local_head=local_head)
    agree(made, executed(plan, local_head, links=links, busy_ns=busy, local_steps=2))


def test_optimizer_states_of_moved_blocks_travel_with_the_model() -> None:
    plans = [lab.one_cluster((2, 2), 2), lab.one_cluster((1, 3), 2)]
    links = {pair: Link(10**8, latency_ns=7, medium="air") for pair in pairs_of(plans[0])}
    _, outcome = lab.run_rounds(plans, lab.fresh(lab.adamw), links=links)
    moves = {0: [StateMove("c0.d0", "c0.d1", workload(0, 1, "adamw").state_bytes[1])]}
    agree(predicted(plans[1], links, {}, 1, moves), outcome)
