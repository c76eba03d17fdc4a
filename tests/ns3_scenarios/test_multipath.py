"""Fading over time and frequency against its closed forms, over many draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from multipath_lab import LIGHT_M_S, Floats, Multipath, gains, rows, taps
from scipy import special, stats

DRAWS = 2000

#: TR 38.901, tables 7.7.2-1 to 7.7.2-3: the first and the last tap, and the number of taps.
ENDS = {
    "tdl-a": ((0.0, -13.4), (9.6586, -29.7), 23),
    "tdl-b": ((0.0, 0.0), (4.7834, -11.3), 23),
    "tdl-c": ((0.0, -4.4), (8.6523, -22.8), 24),
}


def estimate(products: Floats) -> tuple[Floats, Floats]:
    """The mean over draws, which are rows, and the half width of its 99.9 % interval."""
    error = products.std(axis=0, ddof=1) / math.sqrt(len(products))
    return products.mean(axis=0), stats.norm.ppf(0.9995) * error


def autocorrelation(fading: Multipath, way: Floats) -> tuple[Floats, Floats]:
    """Re E[h(0) h*(d)] over draws, for each row of a way from its first row on."""
    found = []
    for drawn in fading.draws(DRAWS):
        h = taps(drawn, way)[:, 0]
        found.append((h[0] * h.conj()).real)
    return estimate(np.array(found))


MOVED = np.linspace(0.0, 2.0, 21)  # wavelengths


@pytest.mark.parametrize("heading", [0.0, 0.7, 2.0])
def test_one_moving_end_decorrelates_as_bessels_function(heading: float) -> None:
    """J0(2π d), whatever the direction."""
    there = (50.0 + MOVED * math.cos(heading), MOVED * math.sin(heading))
    mean, half = autocorrelation(Multipath(), rows(len(MOVED), a=there))
    assert np.all(np.abs(mean - special.j0(2 * np.pi * MOVED)) <= half + 1e-6)


def test_two_moving_ends_decorrelate_as_the_product() -> None:
    """Akki and Haber 1986: J0(2π d1) J0(2π d2)."""
    way = rows(len(MOVED), a=(MOVED, 0.0), b=(9.0, 30.0 + 0.4 * MOVED))
    mean, half = autocorrelation(Multipath(), way)
    law = special.j0(2 * np.pi * MOVED) * special.j0(2 * np.pi * 0.4 * MOVED)
    assert np.all(np.abs(mean - law) <= half + 1e-6)


@pytest.mark.parametrize("moves", [False, True])
def test_the_environment_adds_its_doppler(moves: bool) -> None:
    doppler_hz = 5.0
    time_s = np.arange(21) * 0.02  # multiples of a hundredth of its period
    moved = 3.0 * time_s if moves else 0.0 * time_s
    way = rows(len(time_s), a=(moved, 0.0), time_s=time_s + 1e-9)
    mean, half = autocorrelation(Multipath(doppler_hz=doppler_hz), way)
    law = special.j0(2 * np.pi * doppler_hz * time_s) * special.j0(2 * np.pi * moved)
    assert np.all(np.abs(mean - law) <= half + 1e-6)


def test_doppler_shifts_are_those_of_the_carrier() -> None:
    """At twice the frequency, half the way is enough."""
    way = rows(len(MOVED), a=(MOVED / 2, 0.0))
    mean, half = autocorrelation(Multipath(centre_hz=2 * LIGHT_M_S), way)
    assert np.all(np.abs(mean - special.j0(2 * np.pi * MOVED)) <= half + 1e-6)


def test_the_envelope_is_rayleighs() -> None:
    """The power is exponential, of mean 1; quadratures are uncorrelated and equally strong."""
    h = np.array([taps(drawn, rows(1))[0, 0] for drawn in Multipath().draws(DRAWS)])
    power = np.abs(h) ** 2
    assert abs(power.mean() - 1) <= 3.3 / math.sqrt(DRAWS)
    assert stats.kstest(power, stats.expon().cdf).pvalue > 0.01
    assert abs((h**2).mean()) <= 3.3 * math.sqrt(2 / DRAWS)


@pytest.mark.parametrize("level", [0.3, 1.0, 1.7])
def test_levels_are_crossed_as_often_as_rice_has_it(level: float) -> None:
    """√(2π) f_d ρ exp(−ρ²) upward crossings of ρ times the root mean square a second."""
    moved = np.linspace(0.0, 20.0, 1001)  # wavelengths; a crossing can't hide within 1/50 of one
    found = []
    for drawn in Multipath().draws(DRAWS // 2):
        envelope = np.abs(taps(drawn, rows(len(moved), a=(moved, 0.0)))[:, 0])
        found.append(np.sum((envelope[:-1] < level) & (envelope[1:] >= level)) / moved[-1])
    mean, half = estimate(np.array(found))
    law = math.sqrt(2 * math.pi) * level * math.exp(-(level**2))
    assert abs(mean - law) <= half + 0.01 * law


def test_a_channel_is_where_the_nodes_are_whatever_the_way_there() -> None:
    fading = Multipath("tdl-a", 100e-9).draw("pair")
    slow = np.linspace(0, 3, 31)
    by_place = taps(fading, rows(31, a=(slow, 1.0), time_s=np.arange(31)))
    assert np.array_equal(by_place[::3], taps(fading, rows(11, a=(slow[::3], 1.0))))


@pytest.mark.parametrize("profile", ENDS)
def test_profiles_are_those_of_the_clause(profile: str) -> None:
    """Powers add up to 1, and the root mean square of the delays is the delay spread (7.7.3)."""
    spread_s = 100e-9
    line = Multipath(profile, spread_s).draw("pair").Line()
    found = [(tap.delay, tap.power) for tap in line.Taps()]
    first, last, count = ENDS[profile]
    assert len(found) == count
    delays, powers = np.array(found).T
    assert powers.sum() == pytest.approx(1.0)
    mean = (powers * delays).sum()
    assert math.sqrt((powers * (delays - mean) ** 2).sum()) == pytest.approx(spread_s, rel=2e-3)
    for at, (delay, db) in ((0, first), (-1, last)):
        assert delays[at] == pytest.approx(delay * spread_s)
        assert 10 * math.log10(powers[at] / powers.max()) == pytest.approx(db, abs=1e-9)


@pytest.mark.parametrize("profile", ENDS)
def test_the_gain_of_a_block_has_the_profiles_whole_power(profile: str) -> None:
    """The mean over draws is 1 in each block, and the power is exponential."""
    fading = Multipath(profile, 300e-9, centre_hz=2e9, blocks=50)
    found = np.array([gains(drawn, rows(1), 50)[0] for drawn in fading.draws(DRAWS)])
    mean, half = estimate(found)
    assert np.mean(np.abs(mean - 1) <= half) >= 0.98
    assert stats.kstest(found[:, 17], stats.expon().cdf).pvalue > 0.01
    each = np.array([np.abs(taps(drawn, rows(1))[0]) ** 2 for drawn in fading.draws(DRAWS)])
    powers = [tap.power for tap in fading.draw("pair").Line().Taps()]
    mean, half = estimate(each)
    assert np.all(np.abs(mean - powers) <= 1.2 * half)


@pytest.mark.parametrize("blocks", [6, 25, 100])
def test_the_gain_of_a_block_is_the_response_at_its_middle(blocks: int) -> None:
    fading = Multipath("tdl-b", 250e-9, centre_hz=2e9, blocks=blocks)
    where = rows(40, a=(np.linspace(0.0, 30.0, 40), 2.0))
    drawn = fading.draw("pair")
    delays_s = np.array([tap.delay for tap in drawn.Line().Taps()])
    phasors = np.exp(-2j * np.pi * np.outer(delays_s, fading.block_hz))
    expected = np.abs(taps(drawn, where) @ phasors) ** 2
    assert np.allclose(gains(drawn, where, blocks), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("profile", ENDS)
def test_frequencies_decorrelate_as_the_profiles_transform(profile: str) -> None:
    """E[|H(f)|² |H(f+Δ)|²] − 1 is |Σ p exp(−j2πΔτ)|² for Gaussian taps."""
    fading = Multipath(profile, 100e-9, centre_hz=2e9, blocks=50)
    found = np.array([gains(drawn, rows(1), 50)[0] for drawn in fading.draws(2 * DRAWS)])
    mean, half = estimate((found[:, :1] - 1) * (found - 1))
    apart_hz = fading.block_hz - fading.block_hz[0]
    line = fading.draw("pair").Line()
    law = np.abs(sum(tap.power * np.exp(-2j * np.pi * apart_hz * tap.delay) for tap in line.Taps()))
    # A tap of n waves adds −p²/n: its kurtosis is 2 − 1/n.
    lacking = sum(tap.power**2 for tap in line.Taps()) / 12
    assert np.all(np.abs(mean - law**2 + lacking) <= 1.2 * half)


def test_taps_are_independent_of_each_other() -> None:
    found = []
    for drawn in Multipath("tdl-c", 100e-9).draws(DRAWS):
        h = taps(drawn, rows(1))[0]
        found.append((h[0] * h[1:].conj()).real)
    mean, half = estimate(np.array(found))
    assert np.all(np.abs(mean) <= 1.2 * half)


def test_names_and_runs_draw_anew_and_the_same_again() -> None:
    fading, where = Multipath("tdl-b", 30e-9, 1.0), rows(1, a=(3.0, 4.0), time_s=7.0)
    first = taps(fading.draw("pair"), where)
    assert np.array_equal(taps(fading.draw("pair"), where), first)
    assert not np.isclose(taps(fading.draw("another"), where), first).any()
    assert not np.isclose(taps(fading.draw("pair", run=2), where), first).any()
