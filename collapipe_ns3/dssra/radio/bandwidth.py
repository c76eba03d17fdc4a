"""Bandwidth: what a rate needs, in closed form, and the division of all bands at once.

A link of capacity parameter c = p·g/n (Hz) carries b·log2(1 + c/b) bit/s in b hertz, which rises
with b towards c/ln 2. Its inverse at rate R, with β = R·ln 2/c in (0, 1), is

  b = c / (y - 1),  y = -W₋₁(-β·e^(-β)) / β

with W₋₁ the lower branch of Lambert's function. Near β = 1 (low SINR) both branches meet and this
is ill-conditioned, so there the root is found by Newton's method in log b.

`interior` solves the program that `best_bandwidths` states. Descents start from the bandwidths of
`dssra.planner.start_radio`, and links without a grant share the band in the radio's own scheduler.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import lambertw

from collapipe_ns3.dssra.objective import Objective, State, Value
from collapipe_ns3.dssra.radio.delays import delays
from collapipe_ns3.dssra.radio.interior import DOWNLINK, UPLINK, Program, solve
from collapipe_ns3.dssra.radio.used_links import UsedLinks
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.radio_setting import RadioSetting

_CLOSED_FORM_TO = 0.8  # Up to this β Lambert's function is exact to the last digits.
_MOST_NEWTON = 60
_MOST_WIDENINGS = 40  # of a bracket, each time to twice its width
_MOST_BISECTIONS = 200  # Brent's method takes some tens.
_NO_TIME = 1e-300  # in seconds


def required_hz(rate_bps: Array, capacity_hz: Array) -> Array:
    """The bandwidth that a link needs for this rate; infinite where no bandwidth suffices."""
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
    """The root x of x·log(1 + 1/x) = β, searched in log x from below, where it is concave."""
    z = np.log(0.5 / (1 - beta))
    for _ in range(_MOST_NEWTON):
        x = np.exp(z)
        # log1p keeps the digits of 1/x where x is large.
        value = x * np.log1p(1 / x)
        slope = value - x / (1 + x)
        step = (value - beta) / slope
        z = z - np.clip(step, -1.0, 1.0)
        if np.all(np.abs(step) < 1e-14 * np.maximum(np.abs(z), 1.0)):
            break
    return np.exp(z)


def bandwidths_for_equal_ends(
    offset_s: Array, bits: Array, efficiency: Array, capacity_hz: Array, band_hz: float
) -> tuple[float, Array]:
    """The least T and the bandwidths (n,) with offset + bits / (η·r(b)) ≤ T and Σ b ≤ band.

    This divides a band among transfers where energy has no price: a root is searched for T (Brent's
    method on the sum of the bandwidths that T requires). All bits and capacities must be positive
    and finite.
    """
    from scipy.optimize import brentq  # Half a second, for which reading a study need not wait.

    division = _Division(offset_s, bits, efficiency, capacity_hz, band_hz)
    low, equal = division.low_s, band_hz / len(bits)
    share = efficiency * equal * np.log2(1 + capacity_hz / equal)
    # At so little SINR that the logarithm is 0 to all digits, more bandwidth carries no more.
    share = np.where(share > 0, share, efficiency * capacity_hz / np.log(2))
    high = float((offset_s + bits / share).max())
    lowest, high = low + 1e-12 * max(high - low, _NO_TIME), high * (1 + 1e-12)
    # At `high` every link has enough with an equal part, and at `lowest` one link needs an almost
    # unlimited bandwidth. So this is a bracket of T, except for rounding errors, which matter where
    # SINR is so low that bandwidth hardly changes the rate. There the end is moved out; if nothing
    # is left to choose even then, equal parts are as good as any.
    for _ in range(_MOST_WIDENINGS):
        if division.excess(high) <= 0:
            break
        high = low + 2 * (high - low) + 1e-9 * abs(low)
    if not division.excess(lowest) > 0 >= division.excess(high):
        return high, np.full(len(bits), equal)
    time, _ = brentq(
        division.bounded_excess,
        lowest,
        high,
        xtol=1e-15,
        maxiter=_MOST_BISECTIONS,
        full_output=True,
        disp=False,
    )
    hz = division.needed_hz(time)
    over = float(hz.sum() / band_hz)
    return float(time), hz / over if over > 1 + 1e-9 else hz


@dataclass(frozen=True)
class _Division:
    """The division of a band among transfers; see `bandwidths_for_equal_ends`."""

    offset_s: Array
    bits: Array
    efficiency: Array
    capacity_hz: Array
    band_hz: float

    @cached_property
    def low_s(self) -> float:
        """The lower limit of the time, which no finite bandwidth reaches."""
        fastest_bps = self.efficiency * self.capacity_hz
        return float((self.offset_s + self.bits * np.log(2) / fastest_bps).max())

    def needed_hz(self, time_s: float) -> Array:
        """The bandwidths with which all transfers end at this time."""
        left_s = np.maximum(time_s - self.offset_s, _NO_TIME)
        return required_hz(self.bits / (self.efficiency * left_s), self.capacity_hz)

    def excess(self, time_s: float) -> float:
        """By how much these exceed the band, as a logarithm."""
        if not time_s > self.low_s:
            return np.inf
        return float(np.log(self.needed_hz(time_s).sum() / self.band_hz))

    def bounded_excess(self, time_s: float) -> float:
        """The excess, finite as root finding needs it."""
        return min(self.excess(time_s), 1e6)


def best_bandwidths(
    objective: Objective, state: State, now: Value, tolerance: float
) -> RadioSetting:
    """The state's radio setting with the best bandwidths of all links that take grants.

    `now` is the value of the state: what the program leaves out (labels, optimizer steps) is kept
    as it is. The bandwidths are optimal to within `tolerance` of the objective.
    """
    links = UsedLinks(objective, state)
    return links.with_bandwidths(solve(_program(links, now), tolerance).bandwidth)


def _program(links: UsedLinks, now: Value) -> Program:
    """The convex program of the bandwidths (`interior`)."""
    fleet, radio = links.fleet, links.radio
    sidelink, up, down = fleet.links.sidelink, fleet.links.uplink, fleet.links.downlink
    rate = links.efficiency()
    # The base station spreads its power over its whole band.
    band_hz = np.where(np.isfinite(down.band_hz), down.band_hz, 1.0)
    rate[:, DOWNLINK] *= np.log2(1 + fleet.server.max_power_w * down.snr / band_hz)
    flat = np.zeros(rate.shape, dtype=bool)
    flat[:, DOWNLINK] = True
    own = links.used & sidelink.grants
    free = own.copy()
    free[:, UPLINK], free[:, DOWNLINK] = up.grants, down.grants
    band = links.with_edge(
        np.broadcast_to(sidelink.band_hz[:, None], rate.shape), up.band_hz, down.band_hz
    )
    per_byte = links.seconds_per_byte()
    terms = delays(links, now.loads)
    chosen, fixed = np.where(free, per_byte, 0.0), np.where(free, 0.0, per_byte)
    least = terms.values(fixed)
    theta = terms.highest((terms.rows * chosen[:, None]).sum(-1) + least)
    modelled = (terms.fill * chosen).sum(-1) + (terms.beat * theta).sum(-1)
    return Program(
        capacity=links.joined(
            radio.sidelink.power_w * sidelink.snr,
            radio.uplink.power_w * up.snr,
            fleet.server.max_power_w * down.snr,
        ),
        rate=rate,
        flat=flat,
        free=free,
        band=np.where(free, band, 1.0),
        own=own,
        start=np.where(free, links.bandwidth_hz(), 1.0),
        fixed=now.times - modelled,
        fill=terms.fill,
        beat=terms.beat,
        rows=terms.rows,
        least=least,
        group=terms.group,
        price=links.objective.time_price,
        energy=links.energy_prices().total,
    )
