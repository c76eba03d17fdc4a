"""Path loss, line of sight, shadowing and fading against the formulas of their sources."""

from __future__ import annotations

import itertools
import math
from contextlib import closing

import numpy as np
import pytest
from channel_lab import ChannelLab, Point
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ns3_scenarios.channel import Channel, Fading, Shadowing

LIGHT = 3e8  # as TR 38.901 has it; ns-3 has 299 792 458 m/s, which shows in the breakpoint alone


def umi_db(d2_m: float, d3_m: float, bs_m: float, ut_m: float, ghz: float, sight: bool) -> float:
    """TR 38.901, table 7.4.1-1, UMi street canyon."""
    bp_m = 4 * (bs_m - 1) * (ut_m - 1) * ghz * 1e9 / LIGHT
    if d2_m <= bp_m:
        los = 32.4 + 21 * math.log10(d3_m) + 20 * math.log10(ghz)
    else:
        los = 32.4 + 40 * math.log10(d3_m) + 20 * math.log10(ghz)
        los -= 9.5 * math.log10(bp_m**2 + (bs_m - ut_m) ** 2)
    nlos = 22.4 + 35.3 * math.log10(d3_m) + 21.3 * math.log10(ghz) - 0.3 * (ut_m - 1.5)
    return los if sight else max(los, nlos)


def uma_db(d2_m: float, d3_m: float, bs_m: float, ut_m: float, ghz: float, sight: bool) -> float:
    """TR 38.901, table 7.4.1-1, UMa."""
    bp_m = 4 * (bs_m - 1) * (ut_m - 1) * ghz * 1e9 / LIGHT
    if d2_m <= bp_m:
        los = 28 + 22 * math.log10(d3_m) + 20 * math.log10(ghz)
    else:
        los = 28 + 40 * math.log10(d3_m) + 20 * math.log10(ghz)
        los -= 9 * math.log10(bp_m**2 + (bs_m - ut_m) ** 2)
    nlos = 13.54 + 39.08 * math.log10(d3_m) + 20 * math.log10(ghz) - 0.6 * (ut_m - 1.5)
    return los if sight else max(los, nlos)


def p1411_db(d2_m: float, d3_m: float, bs_m: float, ut_m: float, ghz: float, sight: bool) -> float:
    """ITU-R P.1411, 4.1.1 (mean of both bounds) and 4.2.1, with ns-3's usual city; both below."""
    del d2_m
    wave_m = 299_792_458 / (ghz * 1e9)
    mhz = ghz * 1e3
    if sight:
        bp_m = 4 * bs_m * ut_m / wave_m
        at_bp = abs(20 * math.log10(wave_m**2 / (8 * math.pi * bs_m * ut_m)))
        ratio = math.log10(d3_m / bp_m)
        low = at_bp + (20 if d3_m <= bp_m else 40) * ratio
        high = at_bp + 20 + (25 if d3_m <= bp_m else 40) * ratio
        return (low + high) / 2
    roof_m, street_m, extent_m, apart_m = 20.0, 20.0, 80.0, 50.0
    below_m = bs_m - roof_m
    settled_m = wave_m * d3_m**2 / below_m**2
    if settled_m < extent_m:
        shadow = 54 - (1.6 * below_m * d3_m / 1000 if d3_m < 500 else 0.8 * below_m)
        slope = 18 - 15 * below_m / ut_m
        by_frequency = -8.0 if mhz > 2000 else -4 + 0.7 * (mhz / 925 - 1)
        screens = shadow + slope * math.log10(d3_m / 1000) + by_frequency * math.log10(mhz)
        screens -= 9 * math.log10(apart_m)
    else:
        angle = math.atan(below_m / apart_m)
        far_m = math.hypot(below_m, apart_m)
        factor = apart_m / (2 * math.pi * d3_m) * math.sqrt(wave_m / far_m)
        factor *= 1 / angle - 1 / (2 * math.pi + angle)
        screens = -10 * math.log10(factor**2)
    free = 32.4 + 20 * math.log10(d3_m / 1000) + 20 * math.log10(mhz)
    orientation = 2.5 + 0.075 * (45 - 35)
    street = -8.2 - 10 * math.log10(street_m) + 10 * math.log10(mhz)
    street += 20 * math.log10(roof_m - ut_m) + orientation
    return free + street + screens if street + screens > 0 else free


LAWS = {"umi": umi_db, "uma": uma_db, "p1411": p1411_db}
MASTS_M = {"umi": 10.0, "uma": 25.0, "p1411": 1.6}


@pytest.mark.parametrize("kind", LAWS)
@settings(max_examples=25)
@given(
    angle=st.floats(0, 6.28),
    log_distance=st.floats(1.0, 3.3),
    height_m=st.floats(1.5, 9.0),
    ghz=st.sampled_from([0.8, 2.1, 5.2]),
)
def test_path_loss_is_that_of_the_clause(
    kind: str, angle: float, log_distance: float, height_m: float, ghz: float
) -> None:
    d2_m, mast_m = 10**log_distance, MASTS_M[kind]
    terminal_m = 1.5 if kind == "p1411" else height_m
    with closing(ChannelLab(Channel(kind, shadowing=None), carrier_hz=ghz * 1e9)) as lab:
        there = (d2_m * math.cos(angle), d2_m * math.sin(angle), terminal_m)
        got_db = -lab.gain_between_db((0.0, 0.0, mast_m), there)
        sight = lab.in_sight("bs", "c0.cu")
    d3_m = math.hypot(d2_m, mast_m - terminal_m)
    assert got_db == pytest.approx(LAWS[kind](d2_m, d3_m, mast_m, terminal_m, ghz, sight), abs=0.02)


def test_log_distance_starts_from_free_space_at_the_carrier() -> None:
    with closing(ChannelLab(Channel(attributes={"Exponent": 2.0}), carrier_hz=3.5e9)) as lab:
        got_db = -lab.gain_between_db((0.0, 0.0, 1.5), (100.0, 0.0, 1.5))
    assert got_db == pytest.approx(20 * math.log10(4 * math.pi * 100 * 3.5e9 / 299_792_458))


def test_any_loss_model_of_ns3_will_do_by_its_name() -> None:
    with closing(ChannelLab(Channel("ns3::FriisPropagationLossModel"), carrier_hz=5.2e9)) as lab:
        got_db = -lab.gain_between_db((0.0, 0.0, 1.5), (30.0, 0.0, 1.5))
    assert got_db == pytest.approx(20 * math.log10(4 * math.pi * 30 * 5.2e9 / 299_792_458))


def sight_probability(kind: str, d2_m: float) -> float:
    """TR 38.901, table 7.4.2-1, for terminals at 1.5 m."""
    far_m = {"umi": 36.0, "uma": 63.0}[kind]
    return 18 / d2_m + math.exp(-d2_m / far_m) * (1 - 18 / d2_m) if d2_m > 18 else 1.0


@pytest.mark.parametrize(("kind", "d2_m"), [("umi", 15.0), ("umi", 60.0), ("uma", 150.0)])
def test_line_of_sight_is_as_frequent_as_the_clause_has_it(kind: str, d2_m: float) -> None:
    """For positions far from each other, draws are independent."""
    tries = 1500
    with closing(ChannelLab(Channel(kind, shadowing=None))) as lab:
        seen = 0
        for n in range(tries):
            lab.put("bs", 1000.0 * n + 25.0, 25.0, MASTS_M[kind])
            lab.put("c0.cu", 1000.0 * n + 25.0 + d2_m, 25.0, 1.5)
            seen += lab.in_sight("bs", "c0.cu")
    expected = sight_probability(kind, d2_m)
    assert abs(seen / tries - expected) <= 4 * math.sqrt(expected * (1 - expected) / tries)


def test_near_each_other_one_sees_what_the_other_sees() -> None:
    """In one square, the nearer of two nodes has sight if the farther has; it is reciprocal."""
    with closing(ChannelLab(Channel("umi", shadowing=None))) as lab:
        differ = 0
        for n in range(300):
            lab.put("bs", 1000.0 * n + 25.0, 25.0, 10.0)
            seen = []
            for d2_m in (78.0, 90.0, 112.0):
                lab.put("c0.cu", 1000.0 * n + 25.0 + d2_m, 25.0, 1.5)
                seen.append(lab.in_sight("bs", "c0.cu"))
                assert lab.in_sight("c0.cu", "bs") == seen[-1]
            assert seen == sorted(seen, reverse=True)
            differ += seen[0] != seen[-1]
    assert 0 < differ < 60  # they do where only the one's probability reaches the draw


RUNS = 24
PLACES = 120


def shadowing_db(channel: Channel, move: tuple[float, float], end: int) -> np.ndarray:
    """Shadowing at a position and after a move of one end, for many positions and lasting runs."""
    rows = []
    plain = Channel(channel.kind, channel.attributes, shadowing=None)
    for run in range(1, RUNS + 1):
        values = []
        for each in (channel, plain):
            with closing(ChannelLab(each, lasting_run=run)) as lab:
                for n in range(PLACES):
                    here: list[Point] = [(777.0 * n, 131.0 * n, 1.5), (777.0 * n + 40, 0.0, 1.5)]
                    first = lab.gain_between_db(*here)
                    x, y, z = here[end]
                    here[end] = (x + move[0], y + move[1], z)
                    values.append((first, lab.gain_between_db(*here)))
        rows.append(np.array(values[:PLACES]) - np.array(values[PLACES:]))
    return np.concatenate(rows)


@pytest.mark.parametrize(("share", "end"), [(0.3, 0), (1.0, 1), (2.0, 0)])
def test_shadowing_is_normal_and_forgets_over_distance(share: float, end: int) -> None:
    """Gudmundson's law: the correlation after a move of Δ is exp(−Δ/d), whichever end moves."""
    sigma_db, distance_m = 6.0, 20.0
    channel = Channel(shadowing=Shadowing(sigma_db, distance_m))
    moved = share * distance_m
    values = shadowing_db(channel, (0.6 * moved, 0.8 * moved), end)
    assert values.mean() == pytest.approx(0.0, abs=0.3)
    assert values.std() == pytest.approx(sigma_db, rel=0.04)
    assert stats.kstest(values[:, 0] / sigma_db, "norm").pvalue > 0.01
    correlation = np.corrcoef(values.T)[0, 1]
    assert correlation == pytest.approx(math.exp(-share), abs=0.05)


def test_3gpp_shadowing_has_the_deviation_of_the_state() -> None:
    """TR 38.901, table 7.4.1-1: 4 dB with line of sight in UMi, 7.82 dB without."""
    parts: dict[bool, list[float]] = {True: [], False: []}
    for run in range(1, 13):
        with closing(ChannelLab(Channel("umi"), lasting_run=run)) as lab:
            for n in range(150):
                got_db = lab.gain_between_db((999.0 * n, 0, 10.0), (999.0 * n + 60.0, 0, 1.5))
                sight = lab.in_sight("bs", "c0.cu")
                law_db = umi_db(60.0, math.hypot(60, 8.5), 10.0, 1.5, 2.1, sight)
                parts[sight].append(got_db + law_db)
    assert np.std(parts[True]) == pytest.approx(4.0, rel=0.08)
    assert np.std(parts[False]) == pytest.approx(7.82, rel=0.08)


@pytest.mark.parametrize(
    ("m", "law"), [(1.0, stats.expon()), (3.5, stats.gamma(3.5, scale=1 / 3.5))]
)
def test_block_fading_has_the_law_of_its_m(m: float, law: stats.rv_continuous) -> None:
    """Over rounds and pairs: Rayleigh's power is exponential, Nakagami's is Gamma."""
    names = [f"n{k}" for k in range(8)]
    pairs = list(itertools.combinations(names, 2))
    gains = []
    for run in range(1, 61):
        with closing(ChannelLab(Channel(fading=Fading(m)), names, run=run)) as lab:
            faded = [lab.gain_db(a, b) for a, b in pairs]
            assert [lab.gain_db(b, a) for a, b in pairs] == faded
        with closing(ChannelLab(Channel(), names, run=run)) as lab:
            gains.append([f - lab.gain_db(a, b) for f, (a, b) in zip(faded, pairs, strict=True)])
    linear = 10 ** (np.array(gains) / 10)
    assert stats.kstest(linear.ravel(), law.cdf).pvalue > 0.01
    over_rounds = np.corrcoef(linear[:-1].ravel(), linear[1:].ravel())[0, 1]
    over_pairs = np.corrcoef(linear[:, :-1].ravel(), linear[:, 1:].ravel())[0, 1]
    assert abs(over_rounds) < 0.08
    assert abs(over_pairs) < 0.08


RICH = Channel("umi", fading=Fading())


def gains_db(
    channel: Channel, asked: list[tuple[str, str]], *, run: int = 1, lasting_run: int = 1
) -> dict[frozenset[str], float]:
    """Gains between four nodes, evaluated in this order."""
    names = ("bs", "a", "b", "c")
    with closing(ChannelLab(channel, names, run=run, lasting_run=lasting_run)) as lab:
        lab.put("bs", 0, 0, 10.0)
        for n, name in enumerate("abc"):
            lab.put(name, 40.0 + 60 * n, 30.0, 1.5)
        return {frozenset(pair): lab.gain_db(*pair) for pair in asked}


PAIRS = list(itertools.combinations(("bs", "a", "b", "c"), 2))


def test_gains_do_not_depend_on_who_asks_when() -> None:
    assert gains_db(RICH, PAIRS) == gains_db(RICH, [(b, a) for a, b in PAIRS[::-1]])


def test_what_lasts_is_the_same_in_every_round_and_fading_is_not() -> None:
    lasting = Channel("umi")
    assert gains_db(lasting, PAIRS, run=1) == gains_db(lasting, PAIRS, run=2)
    assert gains_db(lasting, PAIRS) != gains_db(lasting, PAIRS, lasting_run=2)
    first, second = gains_db(RICH, PAIRS, run=1), gains_db(RICH, PAIRS, run=2)
    assert all(first[pair] != second[pair] for pair in first)
    assert gains_db(RICH, PAIRS, run=2) == second


def test_another_node_changes_nobodys_channel() -> None:
    with closing(ChannelLab(RICH, ("bs", "a"))) as lab:
        alone_db = lab.gain_between_db((0, 0, 10.0), (80.0, 5.0, 1.5))
    with closing(ChannelLab(RICH, ("bs", "new", "a"))) as lab:
        lab.put("bs", 0, 0, 10.0)
        lab.put("a", 80.0, 5.0, 1.5)
        assert lab.gain_db("bs", "a") == alone_db
