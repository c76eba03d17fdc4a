"""The exchange as a decision: groups, streaming, and what is compared with what."""

from __future__ import annotations

import itertools
from dataclasses import replace

import fleets
import numpy as np
import pytest

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, arranged, automatic_chunk_bytes
from collapipe_ns3.dssra import exchanges, finalists
from collapipe_ns3.dssra.decide import decide
from collapipe_ns3.dssra.decision import Decision
from collapipe_ns3.dssra.objective import State, value
from collapipe_ns3.dssra.planner import optimise
from collapipe_ns3.dssra.planning_problem import Memory, PlanningProblem
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.exchange import MOST_LEGS, chunk_problems, whole
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import Stage, validate
from collapipe_ns3.prediction.memory import memory_problems
from collapipe_ns3.prediction.round_time import STAR, Encoding, ExchangeForm
from collapipe_ns3.schedule import SCHEDULES


def seen(radio: str, seed: int = 7, clusters: int = 3, multicast: bool = True) -> Observation:
    observation = fleets.observation(
        np.random.default_rng(seed), clusters, 3, radio=radio, local_steps=2
    )
    media = tuple(replace(medium, multicast=multicast) for medium in observation.media)
    return replace(observation, media=media)


def decided(observation: Observation, exchange: str = "any") -> Decision:
    return decide(0, "collapipe", observation, Memory(), Settings(exchange=exchange))  # type: ignore[arg-type]


@pytest.mark.parametrize("radio", ["own", "ofdma", "shared"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_plan_is_valid_and_not_slower_than_with_the_exchange_of_plans_without_one(
    radio: str, seed: int
) -> None:
    observation = seen(radio, seed)
    decision, star = decided(observation), decided(observation, "star")
    validate(
        decision.plan,
        devices=observation.devices,
        blocks=6,
        batch_size=12,
        schedules=tuple(SCHEDULES),
    )
    assert star.plan.exchange is None
    compared = {each.exchange: each for each in reversed(decision.finalists)}
    assert str(STAR) in compared
    chosen = min(decision.finalists, key=lambda each: each.objective)
    assert chosen.exchange == str(decision.problem.objective.form)
    assert decision.prediction.round_s <= star.prediction.round_s * (1 + 1e-9)


@pytest.mark.parametrize("multicast", [True, False])
def test_many_clusters_have_chunks_so_large_that_the_plan_can_be_executed(multicast: bool) -> None:
    observation = seen("ofdma", clusters=60, multicast=multicast)
    blocks = tuple(replace(block, trained=block.trained * 40) for block in observation.model.blocks)
    wide = replace(observation.model, blocks=blocks)
    roomy = {n: replace(p, memory_bytes=2**40) for n, p in observation.profiles.items()}
    decision = decided(replace(observation, model=wide, profiles=roomy))
    exchange = decision.plan.exchange
    assert exchange is not None
    bytes_of = whole(wide.units_bytes)
    assert list(chunk_problems(exchange, bytes_of)) == []
    finer = replace(exchange, chunk_bytes=automatic_chunk_bytes(decision.problem.work.upload_bytes))
    assert list(chunk_problems(finer, bytes_of)) != []


def test_more_shipments_than_there_may_be_transfers_are_not_streamed() -> None:
    observation = seen("ofdma", clusters=4)
    problem = PlanningProblem.of(observation, Memory(), Settings())
    assert exchanges.can_stream(problem)
    many = np.full(4, MOST_LEGS)
    fleet = replace(problem.fleet, size=many)
    larger = replace(problem, objective=replace(problem.objective, fleet=fleet))
    assert not exchanges.can_stream(larger)


def test_a_radio_that_can_multicast_gets_the_model_to_several_clusters_at_once() -> None:
    able, unable = decided(seen("shared")), decided(seen("shared", multicast=False))
    assert able.plan.exchange is not None
    assert max(len(each.receivers) for each in able.plan.exchange.shipments) > 1
    if unable.plan.exchange is not None:
        assert all(len(each.receivers) == 1 for each in unable.plan.exchange.shipments)
    assert able.prediction.round_s < unable.prediction.round_s


def test_the_exchange_that_the_study_gives_is_planned_for_and_executed() -> None:
    given = Arrangement((Group((0, 2)),), within=(), chunk_bytes=50_000)
    decision = decided(replace(seen("shared"), exchange=given))
    assert decision.plan.exchange == arranged(decision.plan.placements(), given)
    form = decision.problem.objective.form
    assert form.groups == ((0, 2), (1,))
    assert form.chunk_bytes == 50_000
    assert all(each.exchange == str(form) for each in decision.finalists)


INT8 = ParameterFormat("int8", difference=True)
TENTH = ParameterFormat("int8", difference=True, largest=0.1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("up", [INT8, TENTH])
def test_segments_fit_beside_what_the_formats_that_the_study_gives_need(
    seed: int, up: ParameterFormat
) -> None:
    """Devices keep references, and error memories of top-k, besides the blocks that they train."""
    given = Arrangement((Group((0, 1, 2), INT8),), uploads={0: up, 1: up}, chunk_bytes=50_000)
    rng = np.random.default_rng(seed)
    observation = fleets.observation(rng, 3, 3, radio="shared", local_steps=2, memory=0.7)
    observation = replace(observation, exchange=given)
    settings = Settings(memory="all")
    decision = decide(0, "collapipe", observation, Memory(), settings)
    assert list(memory_problems(decision.plan, observation)) == []
    form = decision.problem.objective.form
    assert (form.down.format, [each.format for each in form.up]) == (INT8, [up, up, FP32])
    assert form.down.part < 0.3


def test_what_formats_need_is_no_part_of_what_is_fair() -> None:
    observation = fleets.observation(np.random.default_rng(1), 2, 3, memory=100.0)
    plain = PlanningProblem.of(observation, Memory(), Settings())
    form = ExchangeForm(down=Encoding(INT8, 0.3))
    kept = plain.with_form(form)
    assert kept.work.format_bytes == max(b.parameter_bytes for b in observation.model.blocks)
    assert (kept.fleet.fair_longest_bytes == plain.fleet.fair_longest_bytes).all()
    states = [optimise(each.objective, 1).state.segments for each in (plain, kept)]
    assert (states[0].counts == states[1].counts).all()
    assert kept.with_form(STAR).work == plain.work


@pytest.mark.parametrize("most_tasks", [0, 10**6])
def test_to_move_nothing_is_always_a_finalist(
    most_tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where there is no time for it: what moves travels whole, with its states."""
    observation = seen("shared")
    turned = {
        cluster.cluster: replace(
            cluster.pipelines[0],
            stages=tuple(
                replace(stage, device=f"c{cluster.cluster}.d{place}")
                for place, stage in enumerate(reversed(cluster.pipelines[0].stages))
            ),
        )
        for cluster in decided(observation).plan.clusters
    }
    turned = {n: replace(pipe, stages=_in_order(pipe.stages)) for n, pipe in turned.items()}
    monkeypatch.setattr(finalists, "_MOST_TASKS_STREAMED", most_tasks)
    settings = Settings(exchange="any")
    again = decide(1, "collapipe", observation, Memory(pipelines=turned), settings)
    assert "last round" in [each.name for each in again.finalists]


def _in_order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The same devices with their numbers of blocks, from block 0 on."""
    ends = list(itertools.accumulate((stage.blocks for stage in stages), initial=0))
    return tuple(
        replace(stage, first=begin, last=end - 1)
        for stage, begin, end in zip(stages, ends[:-1], ends[1:], strict=True)
    )


def with_slow_downlink(problem: PlanningProblem, row: int, factor: float) -> PlanningProblem:
    links = problem.fleet.links
    efficiency = links.downlink.efficiency.copy()
    efficiency[row] /= factor
    slower = replace(links, downlink=replace(links.downlink, efficiency=efficiency))
    objective = replace(problem.objective, fleet=replace(problem.fleet, links=slower))
    return replace(problem, objective=objective)


def orders_of_two_groups(clusters: int) -> list[tuple[tuple[int, ...], ...]]:
    rows = range(clusters)
    found: list[tuple[tuple[int, ...], ...]] = [(tuple(rows),)]
    for size in range(1, clusters):
        found += [
            (first, tuple(row for row in rows if row not in first))
            for first in itertools.combinations(rows, size)
        ]
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("factor", [1.0, 3.0, 20.0])
def test_the_groups_are_the_best_of_all_that_serve_the_clusters_in_one_or_two(
    seed: int, factor: float
) -> None:
    problem = PlanningProblem.of(seen("shared", seed, clusters=4), Memory(), Settings())
    problem = with_slow_downlink(problem.with_bands("shared"), seed % 4, factor)
    problem = problem.with_form(exchanges.streamed(problem))
    state: State = optimise(problem.objective, 1).state
    best = exchanges.with_best_groups(problem, state)

    def round_s(groups: tuple[tuple[int, ...], ...]) -> float:
        form = replace(problem.objective.form, groups=groups)
        return float(value(problem.with_form(form).objective, state).times.max())

    least = min(map(round_s, orders_of_two_groups(4)))
    assert round_s(best.objective.form.groups) <= 1.011 * least


def test_a_cluster_far_away_does_not_keep_the_others_waiting() -> None:
    problem = PlanningProblem.of(seen("shared", clusters=4), Memory(), Settings())
    problem = with_slow_downlink(problem.with_bands("shared"), 2, 20.0)
    problem = problem.with_form(exchanges.streamed(problem))
    state = optimise(problem.objective, 1).state
    groups = exchanges.with_best_groups(problem, state).objective.form.groups
    assert groups[0] == (0, 1, 3) or groups == ((0, 1, 2, 3),)
