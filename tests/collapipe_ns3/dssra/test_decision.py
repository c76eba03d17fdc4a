"""The record of a decision: its prediction, its links, and its explanation as plain data."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import fleets
import numpy as np
import pytest

from collapipe_ns3.cli import gantt
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.dssra.decide import decide
from collapipe_ns3.dssra.decision import Decision
from collapipe_ns3.dssra.objective import value
from collapipe_ns3.dssra.planner import start_radio
from collapipe_ns3.dssra.planning_problem import Memory, workload
from collapipe_ns3.dssra.prediction_check import check_prediction
from collapipe_ns3.dssra.queues import Queues
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.learning.batch import BatchShape
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import DeviceUse
from collapipe_ns3.phases import PLANNED_PHASES, Phase
from collapipe_ns3.plan import Pipeline, PlanError, validate
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.memory import predict_memory
from collapipe_ns3.prediction.plan_timeline import predict_timeline, radio_of_plan
from collapipe_ns3.prediction.round_time import round_end_s
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes.pipeline import equal_segments


def seen(radio: str = "ofdma", clusters: int = 2, **how: Any) -> Observation:
    rng = np.random.default_rng(7)
    return fleets.observation(rng, clusters, 3, radio=radio, local_steps=2, **how)


def decided(observation: Observation, past: Memory | None = None, /, **how: Any) -> Decision:
    return decide(4, "collapipe", observation, past or Memory(), Settings(**how))


@pytest.mark.parametrize("radio", ["own", "ofdma", "shared"])
def test_the_plan_is_valid_and_its_links_are_what_the_radio_takes(radio: str) -> None:
    observation = seen(radio)
    decision = decided(observation, bands="divided")
    validate(
        decision.plan,
        devices=observation.devices,
        blocks=6,
        batch_size=12,
        schedules=tuple(SCHEDULES),
    )
    assert len(decision.plan.links) >= 4 * len(observation.devices)
    for link in decision.plan.links:
        assert link.tx_power_w is not None
        assert 0 < link.tx_power_w <= observation.profiles[link.src].max_tx_power_w
        assert (link.bandwidth_hz is not None) == (radio == "ofdma")
    powers = {(link.src, "bs" in (link.src, link.dst)): link.tx_power_w for link in
              decision.plan.links}  # fmt: skip
    if radio == "shared":
        for link in decision.plan.links:
            assert link.tx_power_w == powers[link.src, "bs" in (link.src, link.dst)]


def test_every_link_that_the_plan_uses_has_a_grant_and_no_band_is_overdrawn() -> None:
    observation = seen("ofdma")
    decision = decided(observation, bands="divided")
    granted = {(link.src, link.dst): link.bandwidth_hz for link in decision.plan.links}
    assert decision.timeline is not None
    carried = [bar for bar in decision.timeline.bars if bar.dst]
    assert carried
    for bar in carried:
        assert (granted[bar.src, bar.dst] or 0) > 0
    for medium in observation.media:
        used = sum(granted.get(pair) or 0.0 for pair in medium.links)
        assert used <= medium.bandwidth_hz * (1 + 1e-9)


def test_bands_are_shared_where_grants_would_leave_them_idle() -> None:
    """Links take turns in a pipeline: a part of the band for each would mostly be idle."""
    observation = seen("ofdma")
    free, shared, divided = (decided(observation, bands=b) for b in ("any", "shared", "divided"))
    best = min(shared.prediction.round_s, divided.prediction.round_s)
    assert free.prediction.round_s <= best * 1.02
    assert shared.bands == "shared"
    assert all(link.bandwidth_hz is None for link in shared.plan.links)
    assert divided.bands == "divided"


def test_the_terms_add_up_and_every_block_is_updated() -> None:
    observation = seen("own")
    queues = Queues({name: 2.0 for row in observation.devices for name in row}, 0.5)
    decision = decided(observation, Memory(queues=queues), energy_budget_j=3.0)
    assert decision.terms.total == pytest.approx(
        decision.terms.delay + decision.terms.energy + decision.terms.divergence
    )
    assert decision.terms.energy > 0
    assert decision.terms.divergence == pytest.approx(0.5 / 1.5)  # no losses: Γ is 1
    assert {update.block for update in decision.updates} == {"segments", "bandwidth", "power"}
    assert decision.to_json()["energy_queues"] == queues.energy


def test_the_objective_is_v_for_each_second_and_a_price_for_each_joule_at_idle_and_above() -> None:
    """V·T + Σ Q/Ē·(P·T + E'), with the whole energy of each node as it would be measured."""
    observation = fleets.at_socket(seen("own"))
    queues = Queues({name: 2.0 + k for row in observation.devices for k, name in enumerate(row)})
    decision = decided(observation, Memory(queues=queues), energy_budget_j=3.0, v=7.0)
    problem = decision.problem
    now = value(problem.objective, decision.state)
    round_s = round_end_s(problem.fleet, problem.work, now.ends.uploaded)
    joules = sum(
        queues.energy[name]
        / 3.0
        * (observation.profiles[name].power.idle_w * round_s + now.costs.energy[at])
        for name, at in problem.places.items()
        if name in queues.energy
    )
    assert now.total == pytest.approx(7.0 * round_s + joules + decision.terms.divergence)
    assert decision.terms.delay == pytest.approx(7.0 * round_s)
    assert decision.terms.energy == pytest.approx(joules)


@pytest.mark.parametrize("local_head", [False, True])
def test_the_prediction_is_that_of_the_event_graph_and_adds_up(local_head: bool) -> None:
    observation = seen("shared", local_head=local_head)
    decision = decided(observation)
    made = decision.timeline
    assert made is not None
    assert decision.prediction.by == "event graph"
    assert decision.prediction.round_s == pytest.approx(made.total_ns / 1e9)
    fleet = Fleet.of(observation, Knowledge())
    work = workload(observation, Settings())
    radio = radio_of_plan(decision.plan.links, observation.devices, fleet, start_radio(fleet, work))
    again = predict_timeline(decision.plan, observation.devices, fleet, work, radio)
    assert again.total_ns == made.total_ns
    returned = {bar.what[0] for bar in made.bars if (bar.src, bar.dst[-2:]) == ("bs", "cu")}
    assert ("B" in returned) == (not local_head)


def test_prediction_beside_measurement() -> None:
    decision = decided(seen("own"))
    seconds = zip(PLANNED_PHASES, (1.0, 2.0, 0.5, 0.25, 0.01), strict=True)
    phases_ns = {phase: round(1e9 * each) for phase, each in seconds}
    use = DeviceUse("c0.cu", 0, 0, 0, 1.0, 0.25, 0.75)
    found = check_prediction(decision.prediction, phases_ns, [use], 2)
    rows = {row.what: row for row in found}
    assert rows["round_s"].measured == pytest.approx(3.76)
    assert rows["step_s"].measured == pytest.approx(1.0)
    total = rows["c0.cu energy_j"]
    assert (total.name, total.quantity, total.measured) == ("c0.cu", "energy_j", 2.0)
    assert total.predicted == decision.prediction.energy_j["c0.cu"]
    parts = [rows[f"c0.cu {what}_energy_j"] for what in ("compute", "tx", "rx")]
    assert [part.measured for part in parts] == [1.0, 0.25, 0.75]
    assert sum(part.predicted for part in parts) == pytest.approx(total.predicted)
    assert {row.name for row in found} == {"round", "c0.cu"}
    assert rows["upload_s"].to_json().keys() == {
        *("what", "name", "quantity", "predicted", "measured")
    }
    upload = rows["upload_s"]
    assert upload.error == pytest.approx(upload.predicted / 0.25 - 1)


def test_it_is_plain_data() -> None:
    decision = decided(seen("ofdma"))
    data = json.loads(json.dumps(decision.to_json()))
    assert data["plan"] == json.loads(json.dumps(decision.plan.to_json()))
    assert data["prediction"]["by"] == "event graph"
    assert {"moves", "finalists", "terms", "links", "energy_queues"} <= data.keys()
    assert [link["measured"] for link in data["links"]] == [True] * len(decision.plan.links)


def test_links_that_were_guessed_are_marked() -> None:
    observation = seen("ofdma")
    decision = decided(dataclasses.replace(observation, links=observation.links[:-1]))
    guessed = [(view.src, view.dst) for view in decision.links if not view.measured]
    last = observation.links[-1]
    assert guessed == [(last.src, last.dst)]


def test_what_is_lacking_is_named_with_numbers() -> None:
    observation = seen("own")
    small = {
        name: dataclasses.replace(profile, memory_bytes=2**20)
        for name, profile in observation.profiles.items()
        if name.startswith("c1.d")
    }
    short = dataclasses.replace(observation, profiles={**observation.profiles, **small})
    with pytest.raises(PlanError) as caught:
        decided(short)
    problems = caught.value.problems
    assert {where for where, _ in problems} == {"cluster 1"}
    assert "expected room for 6 encoder blocks" in problems[0][1]
    assert "there is room for" in problems[0][1]
    lines = [what for _, what in problems[1:]]
    assert [line.split()[0] for line in lines] == ["c1.d0", "c1.d1", "c1.d2"]
    for line in lines:
        assert "has 1.00 MiB" in line
        missing = int(line.split("(")[1].split()[0])
        assert missing > 0


def test_a_memory_budget_spreads_the_blocks() -> None:
    observation = seen("own", memory=20.0)
    one = decided(observation, memory="all")
    spread = decided(observation, memory="all", memory_budget_bytes=3 * 2**20)
    most = [
        max(stage.blocks for c in d.plan.clusters for stage in c.pipelines[0].stages)
        for d in (one, spread)
    ]
    assert most[0] == 6
    assert most[1] <= 3


def test_a_fair_part_of_memory_is_less_than_an_even_split_takes() -> None:
    """For batches of usual and of the greatest length, for all blocks and schedules."""
    observation = seen("own", memory=20.0, batch_size=48)
    usual = observation.source_length
    for tokens in (usual, observation.model.max_length):
        assert tokens is not None
        batch = BatchShape(48, tokens, tokens)
        for cluster in decided(observation, memory="fair").plan.clusters:
            devices = observation.devices[cluster.cluster]
            even = Pipeline(equal_segments(devices, 6), 4, "gpipe")
            most, needed = (
                max(predict_memory(observation.model, pipe, batch, OPTIMIZERS["adamw"]).values())
                for pipe in (even, cluster.pipelines[0])
            )
            assert needed < most


def test_moved_states_have_links_to_travel_on() -> None:
    """The last round's blocks were elsewhere: links by way of the control unit get grants."""
    observation = seen("ofdma")
    decision = decided(observation, bands="divided", memory="all")
    turned = {
        cluster.cluster: dataclasses.replace(
            cluster.pipelines[0],
            stages=(dataclasses.replace(cluster.pipelines[0].stages[0], device=other, first=0,
                                        last=5),),
        )
        for cluster, other in zip(decision.plan.clusters, _unused(decision), strict=True)
    }  # fmt: skip
    again = decided(observation, Memory(pipelines=turned), move_rounds=10**9, bands="divided",
                    memory="all")  # fmt: skip
    granted = {(link.src, link.dst): link.bandwidth_hz for link in again.plan.links}
    assert again.timeline is not None
    assert decision.timeline is not None
    states = [bar for bar in again.timeline.bars if bar.what == "states"]
    assert len(states) == 2 * 2 * 6  # two hops a block, two clusters
    assert all((granted[bar.src, bar.dst] or 0) > 0 for bar in states)
    assert again.timeline.total_ns > decision.timeline.total_ns


def _unused(decision: Decision) -> list[str]:
    """A device of each cluster that the plan leaves out."""
    found = []
    for cluster in decision.plan.clusters:
        used = {stage.device for stage in cluster.pipelines[0].stages}
        found.append(next(d for k in range(3) if (d := f"c{cluster.cluster}.d{k}") not in used))
    return found


def test_moving_states_must_pay() -> None:
    """If moving must pay within one round, the last plan is kept where the new one gains less."""
    observation = seen("own")
    best = decided(observation)
    near = {c.cluster: c.pipelines[0] for c in best.plan.clusters}
    other = dataclasses.replace(observation, source_length=10)
    kept = decided(other, Memory(pipelines=near))
    assert {c.cluster: c.pipelines[0].stages for c in kept.plan.clusters} == {
        number: pipe.stages for number, pipe in near.items()
    }


@pytest.mark.parametrize(("rounds", "moves"), [(1, False), (5, True)])
def test_what_moving_takes_is_spread_over_the_rounds_it_has_to_pay_in(
    rounds: int, moves: bool
) -> None:
    """The device with all blocks is slowed to a sixteenth, so blocks move to other devices."""
    observation = seen("ofdma", clusters=1, memory=5.0)
    (before,) = decided(observation, memory="all").plan.clusters[0].pipelines
    (slowed,) = {stage.device for stage in before.stages}
    slow = Knowledge(speeds={slowed: observation.profiles[slowed].flops_per_s / 16})
    past = Memory(pipelines={0: before}, knowledge=slow)
    (after,) = decided(observation, past, memory="all", move_rounds=rounds).plan.clusters
    assert (after.pipelines[0].stages != before.stages) == moves


def test_the_chart_shows_when_everything_is_busy() -> None:
    decision = decided(seen("own", clusters=1), exchange="star")
    made = decision.timeline
    assert made is not None
    chart = gantt.rows(made)
    assert chart[0].name == "bs → c0.cu"
    for row in chart:
        assert all(a.start_ns <= b.start_ns for a, b in zip(row.bars, row.bars[1:], strict=False))
    lines = gantt.text(made, width=40).splitlines()
    assert len(lines) == len(chart) + 1
    assert lines[0].startswith("bs → c0.cu")
    first = lines[0].split("│")[1]
    assert len(first) == 40
    model = chart[0].bars[0]
    columns = round(40 * model.end_ns / made.total_ns)
    assert first[: columns - 1] == "█" * (columns - 1)
    assert lines[-1].endswith(f"{made.total_ns / 1e9:.4g} s")


def test_the_chart_of_one_cluster() -> None:
    made = decided(seen("own", clusters=2)).timeline
    assert made is not None
    names = {row.name for row in gantt.rows(made, cluster=1)}
    assert "c1.cu" in names
    assert not any("c0" in name for name in names)
    assert "bs" in names


def test_a_part_of_the_chart_has_what_goes_on_in_it() -> None:
    made = decided(seen("own")).timeline
    assert made is not None
    times = made.pipelines[0]
    begin_ns, end_ns = times.ends_ns[Phase.BROADCAST], times.steps_ns[0]
    step = gantt.text(made, 40, 0, begin_ns, end_ns).splitlines()
    bars = [
        bar for row in gantt.rows(made, 0) for bar in row.bars
        if bar.end_ns > begin_ns and bar.start_ns < end_ns
    ]  # fmt: skip
    assert len(step) - 1 == len({(bar.src, bar.dst) for bar in bars})
    assert step[-1].split()[0] == f"{begin_ns / 1e9:.4g}"
    assert step[-1].split()[2] == f"{end_ns / 1e9:.4g}"
