"""Plans under hazards: expectations against simulated rounds, choices against all candidates."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import fleets
import numpy as np
import pytest
from objectives import problem

from collapipe_ns3.dssra.decide import decide
from collapipe_ns3.dssra.decision import Decision
from collapipe_ns3.dssra.objective import Objective, State, course, value
from collapipe_ns3.dssra.planner import optimise
from collapipe_ns3.dssra.planning_problem import Memory
from collapipe_ns3.dssra.risk import Course, Risk, device_seconds, expected, recoveries
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import Recovery
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.departures import Departures

DRAWS = 60_000

RECOVERIES = (
    Recovery("abandon"),
    Recovery("restart"),
    Recovery("restart", most_losses=1),
    Recovery("replicate", 1),
    Recovery("replicate", 3),
)


def a_course(seed: int, clusters: int = 3, steps: int = 7, radio: str = "shared") -> Course:
    p = problem(seed, clusters, 3, 4, radio, priced=False)
    p = replace(p, work=replace(p.work, local_steps=steps))
    state = optimise(p, 1).state
    return course(p, state, value(p, state))


def some_hazards(made: Course, losses: float, seed: int = 1) -> Array:
    """Hazards of all nodes, with about so many losses of a device in a round."""
    rng = np.random.default_rng(seed)
    shape = made.fleet.flops_per_s.shape
    found: Array = losses / float(made.ends.uploaded.max()) * rng.uniform(0.2, 1.8, shape)
    return found


def simulated(risk: Risk, made: Course, rng: np.random.Generator) -> tuple[Array, Array]:
    """(end of the round, whether each cluster has ended it) of draws, each device on its own.

    The parts of what is needed are written down here again, from the round's phases.
    """
    rows = made.fleet.clusters
    ends, kept = np.zeros((rows, DRAWS)), np.zeros((rows, DRAWS), dtype=bool)
    for row in range(rows):
        rates = risk.hazards[row][made.used[row]]
        whole_s = float(made.ends.gathered[row] - made.begin_s[row])
        lengths, costs = [whole_s], [0.0]
        if risk.recovery.policy == "replicate":
            parts = made.parts(risk.recovery)
            lengths = [
                float(each)
                for each, count in zip(parts.seconds[row], parts.counts[row], strict=True)
                for _ in range(int(count))
            ]
            costs = [
                float(each)
                for each, count in zip(parts.loss_s[row], parts.counts[row], strict=True)
                for _ in range(int(count))
            ]
        most = min(risk.recovery.most_losses, int(made.fleet.size[row]) - 1)
        most = 0 if risk.recovery.policy == "abandon" else most
        time, losses = np.full(DRAWS, made.begin_s[row]), np.zeros(DRAWS, dtype=int)
        alive = np.ones(DRAWS, dtype=bool)
        for length, cost in zip(lengths, costs, strict=True):
            busy = alive.copy()
            while busy.any():
                left = rng.exponential(1 / rates, (DRAWS, len(rates))).min(-1)
                lost = busy & (left < length)
                time[busy & ~lost] += length
                time[lost] += left[lost]
                losses[lost] += 1
                alive &= ~(lost & (losses > most))
                busy = lost & alive
                time[busy] += cost
        time[alive] += float(made.ends.uploaded[row] - made.ends.gathered[row])
        ends[row] = time
        kept[row] = alive & (rng.exponential(1 / risk.hazards[row, 0], DRAWS) > time)
    return ends.max(0), kept


@pytest.mark.parametrize("recovery", RECOVERIES, ids=str)
@pytest.mark.parametrize("losses", [0.03, 0.3])
def test_expectations_are_those_of_simulated_rounds(recovery: Recovery, losses: float) -> None:
    made = a_course(4)
    risk = Risk(some_hazards(made, losses), recovery)
    found = expected(risk, made)
    ends, kept = simulated(risk, made, np.random.default_rng(2))
    aggregated_s = found.round_s - ends.mean()
    # A maximum of means given the number of losses neglects how they spread: 1 % of the round.
    assert abs(aggregated_s) < 0.01 * found.round_s + 4 * ends.std() / math.sqrt(DRAWS)
    for row in range(3):
        # So does the time for which the control unit is needed.
        assert found.kept[row] == pytest.approx(kept[row].mean(), abs=0.01)


@pytest.mark.parametrize("recovery", RECOVERIES, ids=str)
def test_one_cluster_has_the_closed_form(recovery: Recovery) -> None:
    made = a_course(5, clusters=1)
    hazards = some_hazards(made, 0.2)
    hazards[:, 0] = 0
    risk, rate = Risk(hazards, recovery), float((hazards * made.used).sum())
    found, whole = expected(risk, made), float(made.ends.gathered[0] - made.begin_s[0])
    if recovery.policy == "abandon":
        assert found.kept[0] == pytest.approx(math.exp(-rate * whole))
    if recovery == Recovery("restart"):
        many = replace(risk, recovery=Recovery("restart", most_losses=900))
        made = replace(made, fleet=replace(made.fleet, size=np.array([900])))
        longer = math.expm1(rate * whole) / rate - whole
        assert expected(many, made).times[0] == pytest.approx(made.ends.uploaded[0] + longer)


def test_without_hazard_the_expectation_is_the_round_without_losses() -> None:
    made = a_course(6)
    for recovery in RECOVERIES[:3]:
        found = expected(Risk(np.zeros_like(made.fleet.flops_per_s), recovery), made)
        assert found.times == pytest.approx(made.ends.uploaded, rel=1e-12)
        assert found.progress == pytest.approx(1.0, rel=1e-12)


def test_prices_of_devices_add_up_to_what_their_losses_cost() -> None:
    made = a_course(7)
    for recovery in RECOVERIES:
        risk = Risk(some_hazards(made, 0.2), recovery)
        risk.hazards[:, 0] = 0
        seconds = device_seconds(risk, made)
        here, free = (expected(replace(risk, hazards=h), made) for h in
                      (risk.hazards, 0 * risk.hazards))  # fmt: skip
        added = (seconds.time * made.used).sum(-1)
        assert added == pytest.approx(here.times - free.times)


def observed(seed: int, clusters: int = 2, radio: str = "shared", steps: int = 6) -> Observation:
    rng = np.random.default_rng(seed)
    return fleets.observation(rng, clusters, 3, radio=radio, local_steps=steps, memory=20.0)


def decided(seen: Observation, past: Memory | None = None, /) -> Decision:
    return decide(1, "collapipe", seen, past or Memory(), Settings(memory="all"))


def with_alike_devices(seen: Observation, faster: float) -> Observation:
    """The devices of a cluster are alike, but the first is faster."""
    profiles = dict(seen.profiles)
    for names in seen.devices:
        for place, name in enumerate(names):
            like = profiles[names[0]]
            speed = 2e10 * (faster if place == 0 else 1.0)
            profiles[name] = replace(like, flops_per_s=speed, memory_bytes=2**30)
    return replace(seen, profiles=profiles)


def used_devices(decision: Decision) -> set[str]:
    return {
        stage.device
        for cluster in decision.plan.clusters
        for pipe in cluster.pipelines
        for stage in pipe.stages
    }


def test_a_slower_and_steadier_device_is_preferred_where_that_is_shorter_on_average() -> None:
    seen = with_alike_devices(observed(3), 1.3)
    round_s = decided(seen).prediction.round_s
    fast = {names[0] for names in seen.devices}
    assert fast <= used_devices(decided(seen))
    for recovery in (None, Recovery("restart"), Recovery("abandon")):
        rare = replace(seen, hazards=dict.fromkeys(fast, 1e-6 / round_s), recovery=recovery)
        assert used_devices(decided(rare)) == used_devices(decided(seen))
        often = replace(seen, hazards=dict.fromkeys(fast, 1.0 / round_s), recovery=recovery)
        found = decided(often)
        assert not fast & used_devices(found)
        # It is better in its own objective than the plan that was made without knowing.
        ignorant = decided(seen)
        objective = found.problem.objective
        assert value(objective, found.state).total < value(objective, ignorant.state).total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("losses", [0.02, 0.3, 1.5])
def test_the_recovery_is_the_best_of_all(seed: int, losses: float) -> None:
    seen = observed(20 + seed, clusters=1 + seed % 2, radio=["own", "shared"][seed % 2], steps=12)
    rng = np.random.default_rng(seed)
    round_s = decided(seen).prediction.round_s
    hazards = {
        name: losses / round_s * rng.uniform(0.2, 1.8) for names in seen.devices for name in names
    }
    found = decided(replace(seen, hazards=hazards))
    objective, state = found.problem.objective, found.state
    assert objective.risk is not None
    risk = objective.risk
    every = [Recovery("abandon"), Recovery("restart")]
    every += [Recovery("replicate", apart) for apart in range(1, 12)]
    totals = {
        each: value(replace(objective, risk=risk.with_recovery(each)), state).total
        for each in every
    }
    assert totals[found.plan.terms.recovery] <= 1.01 * min(totals.values())
    made = course(objective, state, value(objective, state))
    assert found.plan.terms.recovery in recoveries(risk, made)


def test_copies_that_cost_little_are_made_and_recoveries_without_memory_are_not() -> None:
    seen = observed(30, clusters=1, radio="own", steps=100)
    round_s = decided(seen).prediction.round_s
    often = {name: 2.0 / round_s for names in seen.devices for name in names}
    plan = decided(replace(seen, hazards=often)).plan
    assert plan.terms.recovery.policy == "replicate"
    control = control_unit(0)
    small = replace(seen.profiles[control], memory_bytes=1)
    tight = replace(seen, hazards=often, profiles={**seen.profiles, control: small})
    assert decided(tight).plan.terms.recovery == Recovery("abandon")


def test_a_recovery_of_the_study_is_kept_and_left_to_the_study() -> None:
    seen = observed(31)
    hazards = {name: 0.1 for names in seen.devices for name in names}
    found = decided(replace(seen, hazards=hazards, recovery=Recovery("replicate", 2)))
    assert found.plan.terms.recovery == Recovery()
    assert found.problem.objective.risk is not None
    assert found.problem.objective.risk.recovery == Recovery("replicate", 2)


def test_without_hazards_plan_and_explanation_are_the_same() -> None:
    seen = observed(32)
    plain = decided(seen)
    assert plain.problem.objective.risk is None
    steady = decided(replace(seen, hazards=dict.fromkeys(seen.profiles, 0.0)))
    assert json.dumps(steady.to_json()) == json.dumps(plain.to_json())
    assert "hazards" not in plain.to_json()


def test_what_was_learned_counts_where_the_study_says_nothing() -> None:
    seen = observed(33)
    name = seen.devices[0][1]
    past = Memory(departures=Departures({name: 2}, dict.fromkeys(seen.devices[0], 10.0)))
    found = decided(seen, past)
    said = found.to_json()["hazards"]
    profiles = {node: each.name for node, each in seen.profiles.items() if node != "bs"}
    assert said["per_s"][name] == pytest.approx(past.departures.hazards(profiles)[name])
    assert said["expected_s"] > 0
    given = decided(replace(seen, hazards={name: 0.25}), past)
    assert given.to_json()["hazards"]["per_s"] == {name: 0.25}


def test_the_objective_never_rises_under_hazards() -> None:
    rng = np.random.default_rng(8)
    for seed in range(12):
        p = problem(seed, 1 + seed % 3, 3, 4, ["own", "ofdma", "shared"][seed % 3])
        shape = (p.fleet.clusters, p.fleet.nodes)
        recovery = RECOVERIES[seed % len(RECOVERIES)]
        p = replace(p, risk=Risk(10 ** rng.uniform(-3, 0, shape), recovery))
        planned = optimise(p, 6)
        for update in planned.updates:
            assert update.after <= update.before
        assert planned.value.total == pytest.approx(planned.updates[-1].after)
        assert planned.value.total == pytest.approx(_by_hand(p, planned.state))


def _by_hand(p: Objective, state: State) -> float:
    """J from the expectation of the round and the terms of energy and divergence."""
    assert p.risk is not None
    now = value(p, state)
    likely = expected(p.risk, course(p, state, now))
    contributed = sum(share * kept for share, kept in zip(likely.share, likely.kept, strict=True))
    return float(p.time_price * likely.round_s / contributed + (now.energy + now.divergence).sum())


@pytest.mark.parametrize("recovery", RECOVERIES, ids=str)
def test_expected_times_go_to_the_prediction_where_losses_are_rare(recovery: Recovery) -> None:
    seen = observed(34, steps=8)
    rare = {name: 1e-9 for names in seen.devices for name in names}
    found = decided(replace(seen, hazards=rare, recovery=recovery))
    assert found.expectation is not None
    assert found.expectation.round_s == pytest.approx(found.prediction.round_s, rel=1e-6)
    # The prediction has the delay by copies.
    plain = decided(replace(seen, recovery=Recovery()))
    copies = -(-8 // recovery.copy_every) - 1 if recovery.policy == "replicate" else 0
    now = course(found.problem.objective, found.state, value(found.problem.objective, found.state))
    if found.plan.clusters == plain.plan.clusters:
        longer = found.prediction.round_s - plain.prediction.round_s
        slowest = int(np.argmax([each.end_s for each in found.prediction.clusters]))
        assert longer <= copies * now.copy_s[slowest] * (1 + 1e-9) + 1e-12
        assert (longer > 0) == (copies > 0)
