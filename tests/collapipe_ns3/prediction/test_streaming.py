"""The closed forms of exchanges against the event graph, which simulates every chunk."""

from __future__ import annotations

from dataclasses import replace

import fleets
import numpy as np
import pytest

from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.dssra.objective import State
from collapipe_ns3.dssra.planner import equal_shares, start_radio
from collapipe_ns3.dssra.planning_problem import Memory, PlanningProblem
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.plan_timeline import cluster_plans, predict_timeline
from collapipe_ns3.prediction.round_costs import round_costs
from collapipe_ns3.prediction.round_time import ExchangeForm, PhaseEnds, phase_ends
from collapipe_ns3.prediction.segments import Segments


def problem(seed: int, clusters: int, radio: str, local_steps: int = 2) -> PlanningProblem:
    seen = fleets.observation(
        np.random.default_rng(seed), clusters, 3, radio=radio, local_steps=local_steps
    )
    media = tuple(replace(medium, multicast=True) for medium in seen.media)
    return PlanningProblem.of(replace(seen, media=media), Memory(), Settings())


def some_state(seed: int, on: PlanningProblem) -> State:
    """Random segments on all devices, at full power and equal bandwidths."""
    rng = np.random.default_rng(seed)
    clusters, devices = on.fleet.clusters, on.fleet.nodes - 1
    order = np.stack([rng.permutation(devices) + 1 for _ in range(clusters)])
    cuts = np.sort(rng.choice(np.arange(1, on.work.blocks), (clusters, devices - 1)), -1)
    cuts = np.where(cuts[:, :1] == cuts[:, 1:], [[2, 4]], cuts)
    counts = np.diff(np.pad(cuts, ((0, 0), (1, 1)), constant_values=(0, on.work.blocks)), axis=-1)
    micro_batches = rng.choice([1, 2, 4], clusters)
    segments = Segments(order, counts, micro_batches, np.zeros(clusters, dtype=bool))
    return State(segments, equal_shares(on.fleet, start_radio(on.fleet, on.work), segments))


def both(on: PlanningProblem, state: State, form: ExchangeForm) -> tuple[PhaseEnds, Timeline]:
    """The round by the closed forms and by the event graph."""
    costs, _ = round_costs(on.fleet, on.work, state.radio, state.segments)
    plan = RoundPlan(0, "", cluster_plans(state.segments, on.devices))
    groups = tuple(Group(rows) for rows in form.groups)
    arrangement = Arrangement(groups, chunk_bytes=form.chunk_bytes, in_turn=form.in_turn)
    plan = replace(plan, exchange=arranged(plan.placements(), arrangement))
    made = predict_timeline(plan, on.devices, on.fleet, on.work, state.radio)
    return phase_ends(on.fleet, on.work, costs, form), made


def graph_s(made: Timeline, phase: Phase) -> Array:
    return np.array([times.ends_ns[phase] / 1e9 for times in made.pipelines])


def groups_of(clusters: int, count: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(n, clusters, count)) for n in range(count))


#: Errors of the closed forms: of the round's end, and of a cluster's training. Where clusters share
#: one channel, they are estimates of who waits for whom.
ROUND = {"own": 0.015, "shared": 0.05}
TRAINED = {"own": 0.03, "shared": 0.12}


@pytest.mark.parametrize("radio", ["own", "shared"])
@pytest.mark.parametrize("groups", [0, 1, 2])
@pytest.mark.parametrize("chunks", [16, 64])
def test_a_streamed_round_ends_as_by_the_event_graph(radio: str, groups: int, chunks: int) -> None:
    for seed in range(8):
        on = problem(seed, 2, radio)
        form = ExchangeForm(groups_of(2, groups) if groups else (), on.work.upload_bytes // chunks)
        ends, made = both(on, some_state(seed, on), form)
        round_s = graph_s(made, Phase.UPLOAD).max()
        assert ends.uploaded.max() == pytest.approx(round_s, rel=ROUND[radio])
        trained_s = graph_s(made, Phase.PIPELINE)
        assert ends.trained == pytest.approx(trained_s, rel=TRAINED[radio])
        begun_s = graph_s(made, Phase.BROADCAST)
        a_chunk_s = ends.downloaded.max() / chunks
        assert ends.distributed == pytest.approx(begun_s, rel=0.02, abs=a_chunk_s)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_multicast_takes_as_long_as_its_weakest_receiver(groups: int) -> None:
    on = problem(3, 4, "shared")
    state = some_state(3, on)
    form = ExchangeForm(groups_of(4, groups))
    ends, made = both(on, state, form)
    costs, _ = round_costs(on.fleet, on.work, state.radio, state.segments)
    latency_s = on.fleet.links.downlink.latency[0]
    takes = [costs.download[list(rows)].max() + latency_s for rows in form.groups]
    for rows, arrived in zip(form.groups, np.cumsum(takes), strict=True):
        assert ends.downloaded[list(rows)] == pytest.approx(arrived)
    received = {
        bar.dst: bar.end_ns / 1e9 for bar in made.bars if bar.src == "bs" and bar.what == "model"
    }
    assert ends.downloaded == pytest.approx([received[f"c{n}.cu"] for n in range(4)], rel=1e-2)


def test_what_is_streamed_ends_earlier_and_smaller_chunks_do_not_end_later() -> None:
    on = problem(5, 2, "own")
    state = some_state(5, on)
    star, _ = both(on, state, ExchangeForm())
    size = on.work.upload_bytes
    rounds = [
        both(on, state, ExchangeForm((), size // chunks))[0].uploaded.max()
        for chunks in (1, 4, 16, 64, 256)
    ]
    assert rounds[0] <= star.uploaded.max() * (1 + 1e-9)
    assert rounds == sorted(rounds, reverse=True)
