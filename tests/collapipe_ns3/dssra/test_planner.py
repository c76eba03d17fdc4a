"""The planner: the objective never rises, the best mixture of cases, exhaustive search."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from objectives import problem

from collapipe_ns3.dssra.objective import Objective, State, best_choice, value
from collapipe_ns3.dssra.planner import NoRoom, equal_shares, optimise, start_radio
from collapipe_ns3.dssra.segments.problem import divisors
from collapipe_ns3.prediction.directions import Direction
from collapipe_ns3.prediction.segments import Segments


@settings(max_examples=25)
@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(["own", "ofdma", "shared"]),
    st.booleans(),
)
def test_the_objective_never_rises_and_the_bands_are_kept(
    seed: int, clusters: int, devices: int, radio: str, priced: bool
) -> None:
    p = problem(seed, clusters, devices, 4, radio, priced=priced)
    planned = optimise(p, 6)
    values = [planned.updates[0].before, *(update.after for update in planned.updates)]
    assert all(after <= before for before, after in itertools.pairwise(values))
    for before, update in zip(values, planned.updates, strict=False):
        assert update.before == pytest.approx(before)
    assert planned.value.total == pytest.approx(values[-1])
    assert value(p, planned.state).total == pytest.approx(planned.value.total)
    sweeps = max(update.sweep for update in planned.updates)
    last = [update for update in planned.updates if update.sweep == sweeps]
    assert sweeps == 5 or last[0].before - last[-1].after < 1e-3 * abs(last[0].before)
    fleet, made = p.fleet, planned.state.radio
    if radio == "ofdma":
        hz = made.sidelink.bandwidth_hz
        used = hz[:, 1:].sum((1, 2)) + hz[:, 0, 1:].sum(-1)
        assert (used <= fleet.links.sidelink.band_hz * (1 + 1e-9)).all()
        assert made.uplink.bandwidth_hz.sum() <= fleet.links.uplink.band_hz[0] * (1 + 1e-9)
        assert made.downlink.bandwidth_hz.sum() <= fleet.links.downlink.band_hz[0] * (1 + 1e-9)
    assert (made.sidelink.power_w <= fleet.max_power_w[:, :, None] * (1 + 1e-12)).all()
    assert (made.uplink.power_w <= fleet.max_power_w[:, 0] * (1 + 1e-12)).all()
    assert (planned.state.segments.counts.sum(-1) == 4).all()


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4), st.floats(0, 5))
def test_the_best_choice_is_that_of_all_combinations(
    seed: int, clusters: int, cases: int, second: float
) -> None:
    rng = np.random.default_rng(seed)
    times, penalties = rng.uniform(0, 1, (2, cases, clusters))

    def cost(which: tuple[int, ...]) -> float:
        at = list(which), list(range(clusters))
        return float(second * times[at].max() + penalties[at].sum())

    least = min(cost(which) for which in itertools.product(range(cases), repeat=clusters))
    assert cost(tuple(best_choice(times, penalties, second))) == pytest.approx(least)


def all_segments(devices: int, blocks: int, modes: tuple[int, ...]) -> list[Segments]:
    """Every plan of one cluster under GPipe."""
    found = []
    for m, size in itertools.product(modes, range(1, min(devices, blocks) + 1)):
        for order in itertools.permutations(range(1, devices + 1), size):
            for cut in itertools.combinations(range(1, blocks), size - 1):
                counts = np.diff([0, *cut, blocks])
                spare = (0, devices - size)
                found.append(
                    Segments(
                        np.pad(order, spare)[None],
                        np.pad(counts, spare)[None],
                        np.array([m]),
                        np.array([False]),
                    )
                )
    return found


def exhaustive(p: Objective, powers: int, bands: int) -> float:
    """The least J over a grid of everything: segments, powers, and, with grants, bandwidths.

    One cluster of one device with grants, or of two without.
    """
    fleet, best = p.fleet, math.inf
    levels = np.geomspace(1e-3, 1.0, powers)
    nodes = fleet.nodes
    start = start_radio(fleet, p.work)
    parts = np.linspace(0.5 / bands, 1 - 0.5 / bands, bands)
    for segs in all_segments(nodes - 1, p.work.blocks, p.choices.micro_batches):
        base = equal_shares(fleet, start, segs)
        for up in levels:
            if fleet.links.sidelink.grants:
                for there, back, part in itertools.product(levels, levels, parts):
                    d2d_w, d2d_hz = base.sidelink.power_w.copy(), base.sidelink.bandwidth_hz.copy()
                    d2d_w[0, 0, 1] *= there
                    d2d_w[0, 1, 0] *= back
                    d2d_hz[0, 0, 1] = part * fleet.links.sidelink.band_hz[0]
                    d2d_hz[0, 1, 0] = (1 - part) * fleet.links.sidelink.band_hz[0]
                    radio = base.with_bandwidth_hz(sidelink=d2d_hz).with_power_w(
                        sidelink=d2d_w, uplink=base.uplink.power_w * up
                    )
                    best = min(best, value(p, State(segs, radio)).total)
            else:
                for each in itertools.product(levels, repeat=nodes):
                    d2d_w = base.sidelink.power_w * np.array(each)[None, :, None]
                    radio = base.with_power_w(sidelink=d2d_w, uplink=base.uplink.power_w * up)
                    best = min(best, value(p, State(segs, radio)).total)
    return best


@pytest.mark.slow
def test_the_gap_to_an_exhaustive_grid_of_tiny_instances() -> None:
    """The objective is on average below the best of a grid, and at most 0.5 % above it."""
    gaps = []
    for seed in range(2):
        for radio, devices in (("ofdma", 1), ("shared", 2), ("own", 2)):
            p = problem(seed, 1, devices, 2, radio, micro_batches=(1, 4))
            grid = exhaustive(p, powers=6, bands=7)
            gaps.append(optimise(p, 6).value.total / grid - 1)
    assert np.mean(gaps) < 0.0, gaps
    assert max(gaps) < 0.005, gaps


def test_equal_clusters_share_a_band_equally() -> None:
    p = problem(1, 3, 2, 4, "ofdma", priced=False)
    rows = np.zeros(3, dtype=np.intp)
    alike = replace(p, fleet=replace(p.fleet.take(rows), share=np.full(3, 1 / 3)))
    radio = optimise(alike, 6).state.radio
    for direction in (Direction.UPLINK, Direction.DOWNLINK):
        third = np.full(3, alike.fleet.links[direction].band_hz[0] / 3)
        assert radio[direction].bandwidth_hz == pytest.approx(third, rel=1e-3)


def test_the_cluster_that_others_wait_for_gets_more_of_the_band() -> None:
    p = problem(1, 2, 2, 4, "ofdma", priced=False)
    weak = p.fleet.links.uplink.snr.copy()
    weak[1] /= 30
    links = replace(p.fleet.links, uplink=replace(p.fleet.links.uplink, snr=weak))
    slowed = replace(p, fleet=replace(p.fleet, links=links))
    before, after = (optimise(each, 6).state.radio.uplink.bandwidth_hz for each in (p, slowed))
    assert after[1] / after.sum() > before[1] / before.sum()


def test_dear_energy_lowers_powers_and_free_energy_does_not() -> None:
    p = problem(2, 2, 2, 4, "shared", priced=False)
    free = optimise(p, 6).state.radio
    assert free.sidelink.power_w == pytest.approx(np.broadcast_to(p.fleet.max_power_w[..., None],
                                                       free.sidelink.power_w.shape))  # fmt: skip
    dear = optimise(replace(p, energy_prices=np.full_like(p.energy_prices, 30.0)), 6).state.radio
    assert dear.uplink.power_w.max() < free.uplink.power_w.max()


def test_a_cluster_that_has_no_room_is_named() -> None:
    p = problem(3, 2, 2, 4, "own", memory=20.0)
    memory = p.fleet.memory_bytes.copy()
    memory[1] = 1e5
    with pytest.raises(NoRoom) as caught:
        optimise(replace(p, fleet=replace(p.fleet, memory_bytes=memory)), 6)
    assert caught.value.clusters.tolist() == [False, True]


def test_the_divisors_of_a_batch() -> None:
    assert divisors(12) == (1, 2, 3, 4, 6, 12)
    assert divisors(12, 4) == (1, 2, 3, 4)
    assert divisors(7) == (1, 7)
