"""Bandwidth: what a rate needs in closed form, and how all bands are divided at once.

A link of capacity parameter c = p·g/n (Hz) carries b·log2(1 + c/b) bit/s in b hertz, which rises
with b towards c/ln 2. Its inverse at rate R, with β = R·ln 2/c in (0, 1), is

  b = c / (y - 1),  y = -W₋₁(-β·e^(-β)) / β

with W₋₁ the lower branch of Lambert's function. Near β = 1 (low SINR) both branches meet and that
is ill-conditioned; there the root is found by Newton's method in log b.
"""

from __future__ import annotations

import numpy as np
from scipy.special import lambertw

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.radio.interior import solve
from collapipe_ns3.dssra.radio.uses import Layout
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.segments import Segments

_CLOSED_FORM_TO = 0.8  # β up to which Lambert's function is good to the last digits
_MOST_NEWTON = 60
_MOST_WIDENINGS = 40  # of a bracket, each twice as wide
_MOST_BISECTIONS = 200  # Brent's method takes some tens
_NO_TIME = 1e-300  # seconds


def required_hz(rate_bps: Array, capacity_hz: Array) -> Array:
    """The bandwidth in which a link carries this rate; infinite where none does."""
    rate, c = np.broadcast_arrays(np.asarray(rate_bps, float), np.asarray(capacity_hz, float))
    beta = rate * np.log(2) / c
    found = np.full(beta.shape, np.inf)
    easy = (beta > 0) & (beta <= _CLOSED_FORM_TO)
    b = beta[easy]
    y = -lambertw(-b * np.exp(-b), -1).real / b
    found[easy] = c[easy] / (y - 1)
    hard = (beta > _CLOSED_FORM_TO) & (beta < 1)
    found[hard] = _newton(beta[hard]) * c[hard]
    found[beta <= 0] = 0.0
    return found


def _newton(beta: Array) -> Array:
    """The root x of x·log(1 + 1/x) = β in log x, from below: the function is concave there."""
    z = np.log(0.5 / (1 - beta))
    for _ in range(_MOST_NEWTON):
        x = np.exp(z)
        # log1p keeps what the difference from 1 needs where x is large.
        value = x * np.log1p(1 / x)
        slope = value - x / (1 + x)
        step = (value - beta) / slope
        z = z - np.clip(step, -1.0, 1.0)
        if np.all(np.abs(step) < 1e-14 * np.maximum(np.abs(z), 1.0)):
            break
    return np.exp(z)


def fastest(
    offset_s: Array, bits: Array, efficiency: Array, capacity_hz: Array, band_hz: float
) -> tuple[float, Array]:
    """The least T and the bandwidths (n,) with offset + bits / (η·r(b)) ≤ T and Σ b ≤ band.

    Without prices on energy that is all there is to dividing a band among transfers: bisection on
    T, each link given what T requires (Brent's method on the sum). Every bit and capacity must be
    above 0 and finite.
    """
    from scipy.optimize import brentq  # half a second, for which reading a study need not wait

    def needed(time: float) -> Array:
        return required_hz(bits / (efficiency * np.maximum(time - offset_s, _NO_TIME)), capacity_hz)

    def excess(time: float) -> float:
        return float(np.log(needed(time).sum() / band_hz)) if time > low else np.inf

    low = float((offset_s + bits * np.log(2) / (efficiency * capacity_hz)).max())
    equal = band_hz / len(bits)
    share = efficiency * equal * np.log2(1 + capacity_hz / equal)
    # At so little SINR that the logarithm is 0 to all digits, more bandwidth carries no more.
    share = np.where(share > 0, share, efficiency * capacity_hz / np.log(2))
    high = float((offset_s + bits / share).max())
    lowest, high = low + 1e-12 * max(high - low, _NO_TIME), high * (1 + 1e-12)
    # At `high` every link has enough with an equal part, and at `lowest` one needs nearly all that
    # there could be: a bracket, but for rounding, which counts where SINR is so low that bandwidth
    # hardly matters. There the end is moved out; and if even then nothing is left to choose, equal
    # parts are as good as any.
    for _ in range(_MOST_WIDENINGS):
        if excess(high) <= 0:
            break
        high = low + 2 * (high - low) + 1e-9 * abs(low)
    if not excess(lowest) > 0 >= excess(high):
        return high, np.full(len(bits), equal)
    time, _ = brentq(
        lambda t: np.minimum(excess(t), 1e6),
        lowest,
        high,
        xtol=1e-15,
        maxiter=_MOST_BISECTIONS,
        full_output=True,
        disp=False,
    )
    hz = needed(time)
    over = float(hz.sum() / band_hz)
    return float(time), hz / over if over > 1 + 1e-9 else hz


def divide(
    fleet: Fleet,
    work: Workload,
    radio: RadioSetting,
    segments: Segments,
    loads: Loads,
    energy_price: Array,
    time_price: float,
    times: Array,
    tolerance: float,
) -> RadioSetting:
    """The radio with the best bandwidths of all links that take grants.

    `times` (P,) are the clusters' present times by the closed forms: what the program leaves out
    (labels, optimizer steps) is kept as it is. `energy_price` (P, n) is by joule, `time_price` by
    second of the slowest cluster.
    """
    made = Layout(fleet, work, radio, segments, loads)
    solution = solve(made.program(energy_price, time_price, times), tolerance)
    return made.radio(solution.bandwidth)
