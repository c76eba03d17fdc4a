"""Every loop of the planner ends: at its bound, or in an error that is handled."""

from __future__ import annotations

import warnings
from dataclasses import replace

import fleets
import numpy as np
import pytest
import wild
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.fixed import FixedDelivery
from collapipe_ns3.dssra.planner import start_radio
from collapipe_ns3.dssra.planning_problem import workload
from collapipe_ns3.dssra.radio import bandwidth, interior
from collapipe_ns3.dssra.radio.bandwidth import bandwidths_for_equal_ends, required_hz
from collapipe_ns3.dssra.radio.interior import Program, airtime, solve
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.eventgraph import graph
from collapipe_ns3.eventgraph.graph import EventGraph, Hold, TooManyEvents, execute
from collapipe_ns3.eventgraph.slots import Lane
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.round_time import processor_sharing_ends_s
from collapipe_ns3.prediction.transfer_services import learned_services
from collapipe_ns3.run.preview import predicted_timeline
from collapipe_ns3.schemes import titanic
from collapipe_ns3.schemes.collapipe import CollaPipe
from collapipe_ns3.schemes.oracle import Oracle
from collapipe_ns3.schemes.titanic import Offer, select


def uploads(capacity: list[float], start: list[float]) -> Program:
    """Clusters that share only the uplink band, of 20 MHz."""
    clusters = len(capacity)
    shape = (clusters, 2)
    up = np.zeros(shape, dtype=bool)
    up[:, 0] = True
    return Program(
        capacity=np.repeat(np.array(capacity)[:, None], 2, 1),
        rate=np.ones(shape),
        flat=np.zeros(shape, dtype=bool),
        free=up,
        band=np.full(shape, 2e7),
        own=np.zeros(shape, dtype=bool),
        start=np.stack([start, np.ones(clusters)], -1),
        fixed=np.zeros(clusters),
        fill=np.where(up, 1e6, 0.0),
        beat=np.zeros((clusters, 1)),
        rows=np.zeros((clusters, 1, 2)),
        least=np.zeros((clusters, 1)),
        group=np.ones((clusters, 1, 1), dtype=bool),
        price=1.0,
        energy=np.zeros(shape),
    )


@pytest.mark.parametrize("share", [1e-6, 1e-9, 0.0])
def test_bands_are_divided_if_a_link_starts_with_almost_no_bandwidth(share: float) -> None:
    """One cluster is near, and one so far away that it takes the whole band."""
    program = uploads([1e13, 1e5], [2e7 * share, 2e7 * (1 - share)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve(program)
    assert found.steps < 60
    assert (found.bandwidth[:, 0] > 0).all()
    assert found.bandwidth[:, 0].sum() <= 2e7 * (1 + 1e-9)
    times = airtime(program, found.bandwidth)[0][:, 0]
    equal = airtime(program, np.full((2, 2), 1e7))[0][:, 0]
    assert times.max() <= equal.max() * (1 + 1e-6)


@settings(max_examples=100)
@given(st.lists(st.floats(-200, 200), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_bands_are_divided_in_so_many_steps_over_any_gains(db: list[float], seed: int) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.full(len(db), 0.1))
    program = uploads([1e7 * 10 ** (each / 10) for each in db], list(2e7 * shares))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve(program)
    assert found.steps <= 60
    assert np.isfinite(found.bandwidth).all()
    assert (found.bandwidth > 0).all()


def test_the_interior_point_method_ends_where_no_step_is_left() -> None:
    assert solve(uploads([1e7, 1e8], [1e7, 1e7]), tolerance=0.0).steps <= 60
    made = interior._Interior(uploads([1e7, 1e8], [1e7, 1e7]))
    assert made._within(1.0, np.full((2, 2), -1e30)) == 0.0
    assert made._within(1.0, np.zeros((2, 2))) == 1.0
    made.duals = replace(made.duals, time=np.full(2, np.nan))
    with np.errstate(invalid="ignore"):
        assert not made._step()


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(-200, 200), st.floats(0, 1e3)), min_size=1, max_size=40),
    st.floats(1e3, 1e9),
)
def test_the_fastest_division_is_found_or_is_equal_over_any_gains(
    links: list[tuple[float, float]], bits: float
) -> None:
    db, offset = np.array([each[0] for each in links]), np.array([each[1] for each in links])
    capacity = 1e7 * 10 ** (db / 10)
    each, efficiency = np.full(len(db), bits), np.full(len(db), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        time, hz = bandwidths_for_equal_ends(offset, each, efficiency, capacity, 2e7)
    assert np.isfinite(time)
    assert (hz > 0).all()
    assert hz.sum() <= 2e7 * (1 + 1e-6)


@pytest.mark.parametrize("bound", ["_MOST_WIDENINGS", "_MOST_BISECTIONS", "_MOST_NEWTON"])
def test_the_fastest_division_ends_at_its_bounds(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bandwidth, bound, 1)
    some = np.ones(3)
    time, hz = bandwidths_for_equal_ends(
        0 * some, 1e6 * some, some, np.array([1e3, 1e7, 1e12]), 2e7
    )
    assert np.isfinite(time)
    assert hz.sum() <= 2e7 * (1 + 1e-6)
    assert np.isfinite(required_hz(0.9999 * some, some)).all()


def test_what_never_ends_on_a_shared_medium_keeps_nobody_from_ending() -> None:
    ends = processor_sharing_ends_s(np.array([0.0, 1.0, 5.0]), np.array([np.inf, 2.0, np.inf]))
    assert ends.tolist() == [np.inf, 5.0, np.inf]
    assert processor_sharing_ends_s(np.zeros(2), np.full(2, np.inf)).tolist() == [np.inf, np.inf]


def test_a_graph_that_steps_slot_by_slot_for_ever_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph, "_MOST_EVENTS", 1_000)
    made = EventGraph()
    for src, dst in ("ab", "bc"):  # b either sends or receives: the two take turns
        made.add(hold_ns=10**18, lane=("band", Lane(src, (dst,), 10**6, True)))
    with pytest.raises(TooManyEvents, match="2 tasks"):
        execute(made)


def test_a_graph_of_a_few_tasks_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_MOST_EVENTS", 1)
    made = EventGraph()
    task = -1
    for _ in range(100):
        task = made.add([task] if task >= 0 else [], hold_ns=7, claims=((0, Hold.ALONE),))
    assert execute(made).makespan_ns == 700


@pytest.fixture
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event graphs may have no events."""
    monkeypatch.setattr(graph, "_MOST_EVENTS", 0)
    monkeypatch.setattr(graph, "_MOST_EVENTS_A_TASK", 0)


@pytest.mark.usefixtures("no_graphs")
def test_without_event_graphs_closed_forms_decide_and_predict() -> None:
    seen = fleets.observation(np.random.default_rng(2), 2, 3, radio="ofdma")
    scheme = CollaPipe()
    plan = scheme.plan(0, seen)
    assert all(cluster.pipelines for cluster in plan.clusters)
    assert scheme.decision is not None
    assert scheme.decision.prediction.by == "closed forms"
    assert scheme.decision.timeline is None
    assert predicted_timeline(plan, seen) is None


@pytest.mark.usefixtures("no_graphs")
def test_without_event_graphs_the_oracle_takes_the_first_plan() -> None:
    seen = fleets.observation(np.random.default_rng(2), 1, 1, batch_size=2, memory=9.0)
    assert Oracle().plan(0, seen).clusters[0].pipelines


@pytest.mark.usefixtures("no_graphs")
def test_transfers_that_cannot_be_replayed_teach_nothing() -> None:
    sent = FixedDelivery(
        "a", "b", "activation", 1000, 0, 10**9, "delivered", (), 0, 9.0, 0.1, 2e7, 0.1, 0.01
    )
    services, latencies = learned_services({}, [sent], (), ())
    assert latencies == {}
    assert [each.overhead for each in services.values()] == [1.0]


def test_titanics_program_ends_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = [Offer(0.1 * k, 0.3 + 0.01 * k, 3) for k in range(8)]
    assert sum(select(offers, 12, 2)) == 12
    monkeypatch.setattr(titanic, "_MOST_NODES", 0)
    with pytest.raises(RuntimeError, match=r"integer program: .*limit"):
        select(offers, 12, 2)


def test_the_start_is_finite_with_an_uplink_that_is_only_just_of_use() -> None:
    seen = fleets.observation(np.random.default_rng(2), 2, 2)
    seen = replace(seen, media=wild.slotted(seen.devices))
    links = [
        replace(link, gain=link.gain * 1e-7) if link.src == "c1.cu" else link for link in seen.links
    ]
    seen = replace(seen, links=tuple(links))
    radio = start_radio(Fleet.of(seen, Knowledge()), workload(seen, Settings()))
    for setting in (radio.sidelink, radio.uplink, radio.downlink):
        assert np.isfinite(setting.power_w).all()
        assert np.isfinite(setting.bandwidth_hz).all()
    assert (radio.uplink.bandwidth_hz > 0).all()
