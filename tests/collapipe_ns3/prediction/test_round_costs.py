"""Closed forms against the event graph: equal where they are exact, close where they estimate."""

from __future__ import annotations

import dataclasses

import fleets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.planner import equal_shares, start_radio
from collapipe_ns3.learning.aggregation import AVERAGE_FLOPS
from collapipe_ns3.learning.aggregators import Scaffold
from collapipe_ns3.learning.local_term import LocalTerm
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.plan_timeline import cluster_plans, predict_timeline
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import round_costs
from collapipe_ns3.prediction.round_time import aggregate_s, phase_ends
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.transfer_services import Service

SERVICES = {
    "channel": Service(1e-3, 1.5, 1.5),
    "up": Service(1e-2, 1.2, 1.2),
    "down": Service(5e-3, 1.0),
    **{f"d2d {n}": Service(2e-3, 1.1, 1.1) for n in range(3)},
}


def drawn(
    seed: int,
    clusters: int,
    radio: str,
    one_f: bool,
    local_head: bool = False,
    variates: bool = False,
) -> tuple[float, float, list[float], list[float]]:
    """(round, round by event graph, steps, steps by event graph) of random plans.

    With `variates`, they have the costs of SCAFFOLD.
    """
    term = LocalTerm(variates=variates)
    rng = np.random.default_rng(seed)
    devices = int(rng.integers(1, 5))
    seen = fleets.observation(
        rng, clusters, devices, radio=radio, local_steps=2, local_head=local_head
    )
    seen = dataclasses.replace(seen, model=dataclasses.replace(seen.model, sent=term.sent))
    fleet = Fleet.of(seen, Knowledge(services=SERVICES))
    work = Workload.of(
        seen.model,
        batch_size=12,
        local_steps=2,
        optimizer=OPTIMIZERS["adamw"].with_term(term),
        source_length=9,
        target_length=10,
        aggregation=Scaffold().flops if variates else AVERAGE_FLOPS,
    )
    shape = (clusters, devices)
    order, counts = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
    for cluster in range(clusters):
        size = int(rng.integers(1, devices + 1))
        order[cluster, :size] = rng.permutation(devices)[:size] + 1
        cuts = np.sort(rng.choice(np.arange(1, 6), size - 1, replace=False))
        counts[cluster, :size] = np.diff([0, *cuts, 6])
    m = rng.choice([1, 2, 3, 4, 6, 12], clusters)
    segments = Segments(order, counts, m, np.full(clusters, one_f))
    radio_set: RadioSetting = equal_shares(fleet, start_radio(fleet, work), segments)
    found, _ = round_costs(fleet, work, radio_set, segments)
    round_s = float(phase_ends(fleet, work, found).uploaded.max()) + aggregate_s(fleet, work)
    plan = RoundPlan(0, "test", cluster_plans(segments, seen.devices))
    made = predict_timeline(plan, seen.devices, fleet, work, radio_set)
    steps = [(t.steps_ns[1] - t.steps_ns[0]) / 1e9 for t in made.pipelines]
    return round_s, made.total_ns / 1e9, found.step.tolist(), steps


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.booleans())
def test_gpipe_on_links_of_their_own_is_exact(seed: int, variates: bool) -> None:
    round_s, graph_s, steps, graph_steps = drawn(seed, 1, "own", one_f=False, variates=variates)
    assert round_s == pytest.approx(graph_s, rel=1e-6)
    assert steps == pytest.approx(graph_steps, rel=1e-6)


@pytest.mark.parametrize(
    ("radio", "one_f", "clusters", "mean", "tail"),
    [
        ("own", True, 1, 0.06, 0.25),
        ("shared", False, 1, 0.01, 0.02),
        ("shared", True, 1, 0.06, 0.25),
        ("shared", False, 3, 0.10, 0.25),
        ("ofdma", False, 1, 0.06, 0.20),
        ("ofdma", True, 1, 0.08, 0.25),
        ("ofdma", False, 3, 0.06, 0.20),
    ],
)
def test_estimates_are_close(
    radio: str, one_f: bool, clusters: int, mean: float, tail: float
) -> None:
    """Errors of a step, mean and 95th percentile, over a hundred random plans."""
    errors: list[float] = []
    for seed in range(100):
        _, _, steps, graph_steps = drawn(seed, clusters, radio, one_f)
        errors += [abs(a / b - 1) for a, b in zip(steps, graph_steps, strict=True)]
    assert np.mean(errors) < mean
    assert np.percentile(errors, 95) < tail


@pytest.mark.parametrize("one_f", [False, True])
def test_with_a_local_head_a_step_is_estimated_too_long(one_f: bool) -> None:
    """As if the backward pass waited for the edge server, for which nothing waits until the end."""
    ratios: list[float] = []
    for seed in range(60):
        _, _, steps, graph_steps = drawn(seed, 1, "own", one_f, local_head=True)
        ratios += [a / b for a, b in zip(steps, graph_steps, strict=True)]
    assert 1.0 < np.mean(ratios) < 1.35
    assert min(ratios) > 0.98
