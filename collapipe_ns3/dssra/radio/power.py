"""Transmit power of a link: seconds against joules, in closed form.

A transfer of D bits at power p takes D/r(p), r = η·b·log2(1 + γp) with γ = g/(b·n). If a second of
it costs A and a joule B, then over p > 0

  (A + B·p) / log2(1 + γp)

has one stationary point, its minimum: with κ = γA/B - 1 and W₀ Lambert's function,

  p* = (exp(1 + W₀(κ/e)) - 1) / γ.

It is clipped to (p_min, p_max]; B = 0 gives p_max, A = 0 the least power there may be.

In a plan a link's seconds count in two ways: always, in the fill of a pipeline, and where it is the
slowest of several, in a beat. `cases` therefore bounds how slow any link may become, at
several multiples of the beats as they are, and takes the closed form within each bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import lambertw

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.radio.uses import Layout
from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.segments import Segments

_RANGE = 1e-4  # the least power over the greatest that is considered
_STEPS = 81  # powers tried where several links have one in common: half a decibel apart


def best_w(second: Array, joule: Array, gamma: Array, least_w: Array, most_w: Array) -> Array:
    """p* of every link, for the prices of a second and of a joule and γ in 1/W."""
    second, joule, gamma, least_w, most_w = np.broadcast_arrays(
        second, joule, gamma, least_w, most_w
    )
    found = np.array(most_w, dtype=float)
    priced = (joule > 0) & (gamma > 0)
    kappa = gamma[priced] * second[priced] / joule[priced] - 1
    # Where a second costs nothing, at the branch point W₀(-1/e) = -1, it is no power at all.
    inside = np.maximum(kappa / math.e, np.nextafter(-1 / math.e, 0))
    root = np.where(kappa > -1, 1 + lambertw(inside).real, 0.0)
    found[priced] = np.expm1(np.maximum(root, 0.0)) / gamma[priced]
    clipped: Array = np.clip(found, least_w, most_w)
    return clipped


def needed_w(seconds_per_bit: Array, efficiency_hz: Array, gamma: Array) -> Array:
    """The power at which a bit takes so long: (2^(1/(η·b·y)) - 1)/γ; none without a band."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        watts: Array = np.expm1(np.log(2) / (efficiency_hz * seconds_per_bit)) / gamma
    needed: Array = np.where(np.isnan(watts), 0.0, watts)
    return needed


@dataclass(frozen=True)
class Cases:
    """Other powers for every cluster, the present ones first, and what they come to.

    `watts` (C, P, L) by link; `times` (C, P) in seconds and `joules` (C, P) at their prices.
    """

    layout: Layout
    watts: Array
    times: Array
    joules: Array

    def radio(self, which: Ints) -> RadioSetting:
        """The radio with each cluster's case of this number, (P,)."""
        return _set(self.layout, self.watts[which, np.arange(len(which))])


def cases(
    fleet: Fleet,
    work: Workload,
    radio: RadioSetting,
    segments: Segments,
    loads: Loads,
    times: Array,
    energy_price: Array,
    worths: Sequence[float],
    slower: Sequence[tuple[float, float]],
    least_sinr: float,
) -> Cases:
    """Powers that suit several prices of a second (`worths`) and bounds on delay (`slower`).

    `times` (P,) are the clusters' present ones. `slower` are how many times their present values
    the beats, and the ends of the model's way out and back, may become. No power falls below
    `least_sinr` (where it was above), under which a link's model says little.
    """
    made = Layout(fleet, work, radio, segments, loads)
    delays = made.delays()
    y = made.seconds_per_byte()
    some = np.where(y > 0, y, 1.0)  # where there is no link, any number does
    held = delays.least + (delays.rows * y[:, None]).sum(-1)
    theta = np.where(delays.group, delays.theta(held)[:, None], 0.0).sum(-1)
    spare = np.divide(theta, held, where=held > 0, out=np.ones_like(held))
    links = fleet.links
    watts = made.joined(radio.sidelink.power_w, radio.uplink.power_w, radio.downlink.power_w)
    hz = made.joined(
        radio.sidelink.bandwidth_hz, radio.uplink.bandwidth_hz, radio.downlink.bandwidth_hz
    )
    snr = made.joined(links.sidelink.snr, links.uplink.snr, links.downlink.snr)
    rate = hz * made.joined(
        links.sidelink.efficiency, links.uplink.efficiency, links.downlink.efficiency
    )
    gamma = snr / np.maximum(hz, 1.0)
    allowed = fleet.max_power_w
    most = made.with_edge(allowed[made.rows_at, made.src], allowed[:, 0], watts[:, -1])
    least = np.minimum(np.maximum(_RANGE * most, least_sinr / gamma), watts)
    total, joule = made.prices(energy_price)
    heard = total - joule * watts
    found = [watts]
    for worth in worths:
        second = worth * delays.fill + heard
        wanted = best_w(second, joule, gamma, least, most)
        if not fleet.links.sidelink.grants:
            wanted = _in_common(made, wanted, second, joule, gamma, least, most)
        for beats, star in slower:
            stretch = np.where(delays.group[..., :2].any(-1), beats, star) * spare
            bound = np.where(delays.rows > 0, stretch[..., None], np.inf).min(1) * some
            floor = needed_w(bound / 8, rate, gamma)
            powers = np.clip(np.maximum(wanted, floor), least, most)
            found.append(powers if fleet.links.sidelink.grants else _one_each(made, powers))
    tried = np.stack(found)
    with np.errstate(divide="ignore"):
        ys = np.where(y > 0, 8 / (rate * np.log2(1 + gamma * tried)), 0.0)
    beats = delays.least + np.einsum("prl,cpl->cpr", delays.rows, ys)
    thetas = np.where(delays.group, beats[..., None], -np.inf).max(-2)
    modelled = (delays.fill * ys).sum(-1) + (delays.beat * thetas).sum(-1)
    joules = ((heard + joule * tried) * ys).sum(-1)
    return Cases(made, tried, times + modelled - modelled[0], joules)


def _in_common(
    made: Layout,
    wanted: Array,
    second: Array,
    joule: Array,
    gamma: Array,
    least: Array,
    most: Array,
) -> Array:
    """The best power of every sender for all of its links inside the cluster together."""
    part = np.geomspace(_RANGE, 1.0, _STEPS)[:, None, None]
    tried = part * most
    cost = (second + joule * tried) / np.log2(1 + gamma * tried)
    cost = np.where(made.used & (tried >= least), cost, np.where(made.used, np.inf, 0.0))
    nodes = made.fleet.nodes
    found = wanted.copy()
    for node in range(nodes):
        own = made.used & (made.src == node)
        best = np.where(own, cost, 0.0).sum(-1).argmin(0)
        found = np.where(own, part[best, 0] * most, found)
    return found


def _one_each(made: Layout, watts: Array) -> Array:
    """Every sender's highest power for all of its links inside the cluster."""
    found = watts.copy()
    for node in range(made.fleet.nodes):
        own = made.used & (made.src == node)
        highest = np.where(own, watts, 0.0).max(-1, keepdims=True)
        found = np.where(own, highest, found)
    return found


def _set(made: Layout, watts: Array) -> RadioSetting:
    """The radio with these powers (P, L); without grants a sender's holds for all that it sends."""
    radio = made.given
    sidelink_w = radio.sidelink.power_w.copy()
    rows = np.broadcast_to(made.rows_at, made.src.shape)[made.used]
    src, dst = made.src[made.used], made.dst[made.used]
    if made.fleet.links.sidelink.grants:
        sidelink_w[rows, src, dst] = watts[made.used]
    else:
        sidelink_w[rows, src] = watts[made.used][:, None]
    return radio.with_power_w(sidelink=sidelink_w, uplink=watts[:, -2])
