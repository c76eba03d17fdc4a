"""The number of local steps: drift from losses, and the choice against its closed form."""

from __future__ import annotations

import json
from dataclasses import replace

import fleets
import numpy as np
import pytest

from collapipe_ns3.dssra.decide import decide
from collapipe_ns3.dssra.local_steps import (
    Drift,
    RoundPrice,
    StepsChoice,
    candidates,
    choose,
    within,
)
from collapipe_ns3.dssra.planning_problem import Memory
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.outcome import PipelineFate
from collapipe_ns3.plan import Pipeline, Stage
from collapipe_ns3.schemes.collapipe import CollaPipe

KAPPA = 1e-3
FALL = 0.02  # of the loss in each local step


def fate(cluster: int, losses: list[float]) -> PipelineFate:
    pipeline = Pipeline((Stage("d", 0, 5),), 1, "gpipe")
    mean = float(np.mean(losses))
    return PipelineFate(cluster, 0, pipeline, "averaged", 0.5, mean, 0, step_losses=losses)


def trained(
    counts: list[int], noise: float = 0.0, weight: float = 0.5, kappa: float = KAPPA
) -> Drift:
    """Rounds with so many steps each, of two clusters whose losses differ by 1.

    Steps lower the loss by `FALL`, and averaging gives the part κτ² of that back.
    """
    rng = np.random.default_rng(5)
    drift, level = Drift(), 4.0
    for count in counts:
        falling = level - FALL * np.arange(count)
        both = [falling + side + noise * rng.standard_normal(count) for side in (0.5, -0.5)]
        drift = drift.after([fate(n, each.tolist()) for n, each in enumerate(both)], weight)
        level -= FALL * count * (1 - kappa * count**2)
    return drift


def best_of_all(exchange_s: float, step_s: float, kappa: float) -> float:
    """The τ at which d/dτ (t_e + τ·t_s)/(τ - κτ³) = 0: 2κ·t_s·τ³ + 3κ·t_e·τ² - t_e = 0."""
    roots = np.roots([2 * kappa * step_s, 3 * kappa * exchange_s, 0.0, -exchange_s])
    return float(next(root.real for root in roots if abs(root.imag) < 1e-9 and root.real > 0))


def chosen(drift: Drift, exchange_s: float, step_s: float, *bounds: int) -> StepsChoice:
    steps = within(drift, *bounds)
    few, many = (RoundPrice(exchange_s + n * step_s, 0.0) for n in (steps[0], steps[-1]))
    return choose(drift, steps, 10.0, few, many)


def test_drift_is_measured_exactly_without_noise_and_nearly_with_it() -> None:
    assert trained([4, 8, 8, 2]).kappa == pytest.approx(KAPPA)
    assert trained([1, 8, 8]).kappa == pytest.approx(KAPPA, rel=0.01)  # 1 step: no drift
    noisy = trained([8] * 60, noise=FALL, weight=0.1)
    assert noisy.kappa == pytest.approx(KAPPA, rel=0.5)


@pytest.mark.parametrize(("exchange_s", "step_s"), [(10.0, 0.1), (1.0, 0.1), (1.0, 1.0)])
def test_the_choice_is_the_candidate_that_is_best_by_the_closed_form(
    exchange_s: float, step_s: float
) -> None:
    drift = trained([20, 20])
    best = best_of_all(exchange_s, step_s, KAPPA)
    choice = chosen(drift, exchange_s, step_s, 2, 40)
    assert choice.drift == pytest.approx(KAPPA)
    assert 1 / np.sqrt(2) - 0.1 <= choice.steps / best <= np.sqrt(2) + 0.1
    useful = [n for n in candidates(2, 40) if KAPPA * n**2 < 1]
    every = {n: (exchange_s + n * step_s) / (n - KAPPA * n**3) for n in useful}
    assert choice.steps == min(every, key=every.__getitem__)


def test_bounds_are_kept_and_drift_is_not_extrapolated_far() -> None:
    assert candidates(2, 20) == [2, 3, 4, 5, 7, 10, 14, 20]
    assert candidates(3, 3) == [3]
    assert [within(Drift(), 2, 20), within(trained([2]), 2, 20)] == [[2], [2]]
    assert within(trained([2, 2]), 2, 20) == [2, 3, 4]
    # Without drift, the more steps the better; with much of it, the fewer.
    assert chosen(trained([20, 20], kappa=0.0), 9.0, 0.1, 2, 20).steps == 20
    assert chosen(trained([8, 8], kappa=0.3), 9.0, 0.1, 2, 20).steps == 2
    # Where the loss does not fall, nothing is known.
    assert Drift(lost=0.1, scale=-0.1, steps=8, most=8).kappa is None


def test_energy_that_exceeds_its_budget_makes_rounds_shorter() -> None:
    drift = trained([20, 20])
    few, many = RoundPrice(10.0, 0.0), RoundPrice(12.0, 1000.0)
    steps = within(drift, 2, 20)
    assert (
        choose(drift, steps, 10.0, few, many).steps
        < choose(drift, steps, 10.0, few, replace(many, penalties=0.0)).steps
    )


def test_failed_pipelines_and_clusters_that_come_and_go_show_no_drift() -> None:
    before = trained([4])
    failed = replace(fate(0, [9.0]), fate="failed", step_losses=())
    assert before.after([failed], 0.5) == before
    other = before.after([fate(2, [9.0, 8.0])], 0.5)
    assert other.kappa is None
    assert set(other.lines) == {2}


def test_the_plan_has_the_choice_and_is_predicted_for_it() -> None:
    seen = fleets.observation(np.random.default_rng(3), 2, 3, radio="shared", local_steps=2)
    seen = replace(seen, most_local_steps=20)
    first = decide(0, "collapipe", seen, Memory(), Settings())
    assert first.plan.local_steps == 2
    assert first.local_steps == StepsChoice(2, None)
    later = decide(1, "collapipe", seen, Memory(drift=trained([5, 5], kappa=0.0)), Settings())
    assert later.local_steps is not None
    assert later.plan.local_steps == later.problem.work.local_steps == later.local_steps.steps == 10
    assert [each.steps for each in later.local_steps.candidates] == [2, 3, 4, 5, 7, 10]
    assert later.prediction.round_s == pytest.approx(
        later.local_steps.candidates[-1].round_s, rel=0.1
    )
    assert later.to_json()["local_steps"]["steps"] == 10


def test_a_plain_number_leaves_plans_as_they_are() -> None:
    seen = fleets.observation(np.random.default_rng(3), 2, 3, radio="shared", local_steps=2)
    known = Memory(drift=trained([2, 2], kappa=0.0))
    plain = decide(1, "collapipe", seen, Memory(), Settings())
    equal = decide(1, "collapipe", replace(seen, most_local_steps=2), known, Settings())
    assert plain.plan.local_steps is None
    assert equal.to_json() == plain.to_json()
    assert "local_steps" not in plain.to_json()


def test_from_a_checkpoint_the_choice_is_the_same() -> None:
    seen = fleets.observation(np.random.default_rng(3), 2, 3, radio="shared", local_steps=2)
    seen = replace(seen, most_local_steps=20)
    whole, resumed = CollaPipe(), CollaPipe()
    whole.past = replace(whole.past, drift=trained([5, 4]))
    resumed.remember(json.loads(json.dumps(whole.memory())))
    assert resumed.past.drift == whole.past.drift
    plan = whole.plan(2, seen)
    assert plan.local_steps != 2
    assert resumed.plan(2, seen) == plan
    more = [fate(0, [3.0, 2.9, 2.8]), fate(1, [2.0, 1.9, 1.8])]
    assert resumed.past.drift.after(more, 0.5) == whole.past.drift.after(more, 0.5)
