"""The scheme: run by the engine, learning from it, and the same again from a checkpoint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import fleets
import lab
import numpy as np
import pytest

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from collapipe_ns3 import schemes
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.power import EnergyModel, RadioPower
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.observed import Observation, measured_links
from collapipe_ns3.outcome import GradientNorms, RoundOutcome
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.schemes.collapipe import CollaPipe

DEVICES = (("c0.d0", "c0.d1", "c0.d2"),)
NODES = ("bs", "c0.cu", *DEVICES[0])


def profile(name: str, flops_per_s: float) -> DeviceProfile:
    return DeviceProfile(name, flops_per_s, 1e-6, 2**30, 5.0, 0.1, 0.05, "made up")


def at_socket(known: Mapping[str, DeviceProfile]) -> dict[str, DeviceProfile]:
    """The same with all powers; a radio takes 0.05 W more while it receives than at rest."""
    radio, socket = RadioPower(0.1, 0.25, 0.3, 0.6, 0.2), EnergyModel("socket")
    return {
        name: dataclasses.replace(each, idle_power_w=2.0, radio=radio, energy=socket)
        for name, each in known.items()
    }


def profiles(**slower: float) -> dict[str, DeviceProfile]:
    """Devices of 1 GFLOP/s, or so many times slower."""
    return {node: profile(node, 1e9 / slower.get(node.replace(".", "_"), 1.0)) for node in NODES}


def observation(known: Mapping[str, DeviceProfile]) -> Observation:
    batch = next(lab.batches(0, 0))
    return Observation(
        devices=DEVICES,
        profiles=known,
        model=closed_form(lab.SPEC),
        batch_size=12,
        local_steps=2,
        optimizer=OPTIMIZERS["adamw"],
        source_length=batch.inputs[0].shape[1],
        target_length=batch.labels[0].shape[1],
    )


def execute(
    plan: RoundPlan,
    state: TrainingState,
    real: Mapping[str, DeviceProfile],
    links: Mapping[tuple[str, str], Link] | None = None,
) -> tuple[RoundOutcome, FixedRateNetwork]:
    network = FixedRateNetwork(NODES, Link(100_000_000, latency_ns=10_000), links)
    training = Training(lambda cluster, round: lab.batches(0, 0), (1.0,), 2, OPTIMIZERS["adamw"])
    with TorchThread() as thread:
        site = Site(network, dict(real), thread)
        return simulated.run(network, run_round(site, state, plan, training)), network


def rounds(
    scheme: CollaPipe,
    real: Mapping[str, DeviceProfile],
    count: int,
    state: TrainingState | None = None,
    links: Mapping[tuple[str, str], Link] | None = None,
    shown: Mapping[str, DeviceProfile] | None = None,
) -> tuple[list[RoundPlan], list[RoundOutcome]]:
    """Rounds as a study runs them. `shown` are the profiles that the scheme is shown."""
    seen, state = observation(shown or profiles()), state or lab.fresh(lab.adamw)
    plans, outcomes = [], []
    for number in range(count):
        plan = scheme.plan(number, seen)
        outcome, network = execute(plan, state, real, links)
        scheme.learn(outcome)
        known = {(link.src, link.dst): link for link in seen.links}
        known |= {link.pair: link for link in measured_links(network)}
        seen = dataclasses.replace(seen, links=tuple(known.values()))
        plans.append(plan)
        outcomes.append(outcome)
    return plans, outcomes


def test_it_is_found_by_name_and_checks_its_settings() -> None:
    assert "collapipe" in schemes.SCHEMES.names()
    made = schemes.make("collapipe", {"v": 3.0, "energy_budgets_j": {"c0.d0": 1.0}})
    assert isinstance(made, CollaPipe)
    assert made.settings.v == 3.0
    with pytest.raises(ValueError, match="greater than 0"):
        schemes.make("collapipe", {"v": -1.0})
    with pytest.raises(ValueError, match="ewma"):
        schemes.make("collapipe", {"ewma": 2.0})


def test_what_it_predicts_is_what_the_engine_does_once_links_are_known() -> None:
    scheme = CollaPipe()
    _, outcomes = rounds(scheme, profiles(), 3)
    assert scheme.decision is not None
    predicted = scheme.decision.prediction
    assert predicted.round_s == pytest.approx(outcomes[-1].duration_ns / 1e9, rel=0.01)
    assert predicted.phases_s["pipeline"] == pytest.approx(
        outcomes[-1].phases_ns["pipeline"] / 1e9, rel=0.01
    )
    for device in DEVICES[0]:
        measured = outcomes[-1].energy_j.get(device, 0.0)
        assert predicted.energy_j[device] == pytest.approx(measured, rel=0.02, abs=1e-9)


def test_it_predicts_every_nodes_energy_at_the_socket_part_by_part() -> None:
    scheme, known = CollaPipe(), at_socket(profiles())
    _, outcomes = rounds(scheme, known, 4, shown=known)
    assert scheme.decision is not None
    for use in outcomes[-1].devices:
        joules = scheme.decision.prediction.joules[use.device]
        for part in ("compute", "tx", "rx", "idle"):
            measured_j = getattr(use, f"{part}_energy_j")
            assert getattr(joules, f"{part}_j") == pytest.approx(measured_j, rel=1e-9), part
        assert joules.total_j == pytest.approx(use.energy_j, rel=1e-9)


def test_planning_again_changes_nothing() -> None:
    scheme, seen = CollaPipe(), observation(profiles())
    first = scheme.plan(0, seen)
    assert scheme.plan(0, seen) == first
    assert scheme.memory() == CollaPipe().memory()


def test_from_a_checkpoint_it_goes_on_as_if_it_had_never_stopped() -> None:
    whole, resumed = CollaPipe(energy_budget_j=0.01), CollaPipe(energy_budget_j=0.01)
    rounds(whole, profiles(), 2)
    kept = json.loads(json.dumps(whole.memory()))
    assert kept != json.loads(json.dumps(resumed.memory()))
    resumed.remember(kept)
    assert resumed.memory() == whole.memory()
    seen = observation(profiles())
    assert resumed.plan(2, seen) == whole.plan(2, seen)


def test_a_device_that_has_slowed_down_gets_less_to_do() -> None:
    """By their profiles all devices are equal; rounds show that one is nine times slower."""
    scheme = CollaPipe(most_micro_batches=3)
    plans, outcomes = rounds(scheme, profiles(), 2)
    used = plans[-1].clusters[0].pipelines[0].stages[0].device
    slow = profiles(**{used.replace(".", "_"): 9.0})
    state = lab.fresh(lab.adamw)
    plans, outcomes = rounds(scheme, slow, 3, state)

    def blocks(plan: RoundPlan) -> int:
        return sum(s.blocks for s in plan.clusters[0].pipelines[0].stages if s.device == used)

    assert blocks(plans[-1]) < blocks(plans[0])
    frozen, _ = execute(plans[0], lab.fresh(lab.adamw), slow)
    assert outcomes[-1].duration_ns < frozen.duration_ns


def test_a_link_that_has_become_slow_is_planned_around() -> None:
    scheme = CollaPipe()
    plans, _ = rounds(scheme, profiles(), 2)
    device = plans[-1].clusters[0].pipelines[0].stages[0].device
    slow = {
        pair: Link(1_000_000, latency_ns=10_000, gain=1e-13)
        for other in ("c0.cu", *DEVICES[0])
        if other != device
        for pair in ((device, other), (other, device))
    }
    plans, outcomes = rounds(scheme, profiles(), 3, links=slow)
    stages = plans[-1].clusters[0].pipelines[0].stages
    assert device not in {stage.device for stage in stages}
    frozen, _ = execute(plans[0], lab.fresh(lab.adamw), profiles(), slow)
    assert outcomes[-1].duration_ns < frozen.duration_ns / 2


def test_queues_grow_with_measured_energy_alone() -> None:
    scheme = CollaPipe(energy_budget_j=1e-6)
    _, outcomes = rounds(scheme, profiles(), 3)
    expected = dict.fromkeys(DEVICES[0], 0.0)
    for outcome in outcomes:
        for device in expected:
            used = outcome.energy_j.get(device, 0.0)
            expected[device] = max(expected[device] + used / 1e-6 - 1, 0.0)
    assert scheme.past.queues.energy == pytest.approx(expected)
    assert scheme.past.queues.divergence == 0.0  # nothing was lost: Γ is 1, below its budget


def test_losses_fill_the_divergence_queue() -> None:
    scheme, seen = CollaPipe(divergence_budget=1.0), observation(profiles())
    plan = scheme.plan(0, seen)
    outcome, _ = execute(plan, lab.fresh(lab.adamw), profiles())
    distortions = [dataclasses.replace(each, distortion=0.5) for each in outcome.distortions]
    scheme.learn(dataclasses.replace(outcome, distortions=distortions))
    assert scheme.past.queues.divergence > 0


def test_gradients_teach_it_their_noise() -> None:
    scheme, seen = CollaPipe(), observation(profiles())
    outcome, _ = execute(scheme.plan(0, seen), lab.fresh(lab.adamw), profiles())
    norms = GradientNorms(0, 4, (3.0, 2.0, 5 / 3))  # 1 + 2/m: ‖∇F‖² of 1 and σ²/4 of 2
    scheme.learn(dataclasses.replace(outcome, gradients=(norms,)))
    assert scheme.past.noise.variance == pytest.approx(8.0)
    assert scheme.past.noise.square == pytest.approx(1.0)


def test_it_explains_a_plan_and_how_it_went() -> None:
    scheme, seen = CollaPipe(energy_budget_j=1.0), observation(profiles())
    assert scheme.explain(None) == {}
    plan = scheme.plan(0, seen)
    assert "measured" not in scheme.explain(None)
    outcome, _ = execute(plan, lab.fresh(lab.adamw), profiles())
    told = json.loads(json.dumps(scheme.explain(outcome)))
    rows = {row["what"]: row for row in told["measured"]}
    assert rows["round_s"]["measured"] == pytest.approx(outcome.duration_ns / 1e9)
    assert rows["round_s"]["predicted"] == pytest.approx(told["prediction"]["broadcast_s"] + sum(
        told["prediction"][f"{name}_s"] for name in ("pipeline", "gather", "upload", "aggregate")
    ))  # fmt: skip
    scheme.learn(outcome)
    assert set(scheme.energy_queues()) == set(DEVICES[0])


def test_it_asks_for_what_it_does_not_know() -> None:
    scheme = CollaPipe(stale_s=1.0)
    rng = np.random.default_rng(0)
    seen = fleets.observation(rng, 1, 2)
    assert scheme.sounding(seen) == []
    assert len(scheme.sounding(dataclasses.replace(seen, links=()))) == 3 * 2 + 2


def test_an_outcome_before_any_plan_teaches_nothing() -> None:
    scheme = CollaPipe()
    outcome, _ = execute(CollaPipe().plan(0, observation(profiles())), lab.fresh(lab.adamw),
                         profiles())  # fmt: skip
    scheme.learn(outcome)
    assert scheme.memory() == CollaPipe().memory()


def test_a_link_that_has_changed_has_its_cluster_sounded_before_and_after_a_restart() -> None:
    scheme, seen = CollaPipe(stale_s=1e9), fleets.observation(np.random.default_rng(0), 1, 2)
    outcome, _ = execute(CollaPipe().plan(0, observation(profiles())), lab.fresh(lab.adamw),
                         profiles())  # fmt: skip
    scheme.plan(0, seen)
    scheme.learn(dataclasses.replace(outcome, computations=(), deliveries=(), links=()))
    restarted = CollaPipe(stale_s=1e9)
    restarted.remember(json.loads(json.dumps(scheme.memory())))
    first = next(link for link in seen.links if "bs" not in (link.src, link.dst))
    worse = dataclasses.replace(first, gain=first.gain / 10)
    links = [worse if link is first else link for link in seen.links]
    changed = dataclasses.replace(seen, links=tuple(links))
    for each in (scheme, restarted):
        assert each.sounding(seen) == []
        assert len(each.sounding(changed)) == 3 * 2
