"""The transmit power of a link: time against energy, in closed form.

A transfer of D bits at power p takes D/r(p), r = η·b·log2(1 + γp) with γ = g/(b·n). If a second of
it costs A and a joule costs B, the cost of the transfer is proportional to

  (A + B·p) / log2(1 + γp),

which has one stationary point for p > 0, its minimum: with κ = γA/B - 1 and W₀ Lambert's function,

  p* = (exp(1 + W₀(κ/e)) - 1) / γ.

It is clipped to [p_min, p_max]. B = 0 gives p_max, and A = 0 gives p_min.

At the socket a sender takes P_static + p/η (`collapipe_ns3.costs.power`). With λ for a second of
the round and q for a joule of the sender, A = λ + q·P_static and B = q/η, so that

  κ = γ·η·(λ + q·P_static)/q - 1.

In a plan the time of a link counts in the fill of a pipeline, and in a beat if it is the slowest of
several. So `cases` bounds how slow any link may become, by several multiples of the present beats,
and uses the closed form within each bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import lambertw

from collapipe_ns3.dssra.objective import Objective, State, Value
from collapipe_ns3.dssra.radio.delays import delays
from collapipe_ns3.dssra.radio.interior import DOWNLINK
from collapipe_ns3.dssra.radio.used_links import UsedLinks
from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.radio_setting import RadioSetting

_RANGE = 1e-4  # The least power that is considered, relative to the greatest.
_STEPS = 81  # Powers that are tried where several links share one, half a decibel apart.


def best_w(second: Array, joule: Array, gamma: Array, least_w: Array, most_w: Array) -> Array:
    """p* of every link, for the prices of a second and of a joule, and γ in 1/W."""
    second, joule, gamma, least_w, most_w = np.broadcast_arrays(
        second, joule, gamma, least_w, most_w
    )
    found = np.array(most_w, dtype=float)
    priced = (joule > 0) & (gamma > 0)
    kappa = gamma[priced] * second[priced] / joule[priced] - 1
    # Where a second costs nothing, at the branch point W₀(-1/e) = -1, the power is 0.
    inside = np.maximum(kappa / math.e, np.nextafter(-1 / math.e, 0))
    root = np.where(kappa > -1, 1 + lambertw(inside).real, 0.0)
    found[priced] = np.expm1(np.maximum(root, 0.0)) / gamma[priced]
    clipped: Array = np.clip(found, least_w, most_w)
    return clipped


def needed_w(seconds_per_bit: Array, efficiency_hz: Array, gamma: Array) -> Array:
    """The power at which a bit takes y seconds: (2^(1/(η·b·y)) - 1)/γ; 0 without a bandwidth."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        watts: Array = np.expm1(np.log(2) / (efficiency_hz * seconds_per_bit)) / gamma
    needed: Array = np.where(np.isnan(watts), 0.0, watts)
    return needed


@dataclass(frozen=True)
class Trials:
    """What powers are tried for every cluster: each worth with each bound on delay.

    `worths` are prices of a second, in parts of V. `slower` are (beats, star): how many times their
    present values the beats, and the ends of the distribution and gathering, may become.
    """

    worths: Sequence[float]
    slower: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class PowerCases:
    """Powers that were tried for every cluster, the present ones first, and their costs.

    `watts` (C, P, L) are by link (`used_links`); `times` (C, P) are in seconds, `joules` (C, P) at
    the prices of energy.
    """

    links: UsedLinks
    watts: Array
    times: Array
    joules: Array

    def radio(self, which: Ints) -> RadioSetting:
        """The radio setting with each cluster's case of this number, (P,)."""
        return self.links.with_powers(self.watts[which, np.arange(len(which))])


@dataclass(frozen=True)
class _Link:
    """What the power of each link is chosen by, (P, L).

    `gamma` is γ in 1/W, `rate` η·b in Hz, `least_w` and `most_w` are the bounds of the power.
    `joule` is the price of a radiated joule per byte and second, `heard` that of a second on the
    air for all nodes that receive and for the static part of sending.
    """

    gamma: Array
    rate: Array
    least_w: Array
    most_w: Array
    joule: Array
    heard: Array


def cases(objective: Objective, state: State, now: Value, trials: Trials) -> PowerCases:
    """Powers that suit several prices of a second and bounds on delay. `now` is the state's value.

    No power falls below the objective's least SINR (where it was above), under which a link's model
    says little.
    """
    links = UsedLinks(objective, state)
    terms, per_byte, watts = delays(links, now.loads), links.seconds_per_byte(), links.power_w()
    link = _link(links, watts)
    present = np.where(per_byte > 0, per_byte, 1.0)  # Any number, where there is no link.
    values = terms.values(per_byte)
    theta = np.where(terms.group, terms.highest(values)[:, None], 0.0).sum(-1)
    spare = np.divide(theta, values, where=values > 0, out=np.ones_like(values))
    is_beat = terms.group[..., :2].any(-1)
    found = [watts]
    for worth in trials.worths:
        second = objective.time_price * worth * terms.fill + link.heard
        wanted = best_w(second, link.joule, link.gamma, link.least_w, link.most_w)
        if not links.fleet.links.sidelink.grants:
            wanted = _best_of_senders(links, link, second, wanted)
        for beats, star in trials.slower:
            stretch = np.where(is_beat, beats, star) * spare
            bound = np.where(terms.rows > 0, stretch[..., None], np.inf).min(1) * present
            floor = needed_w(bound / 8, link.rate, link.gamma)
            powers = np.clip(np.maximum(wanted, floor), link.least_w, link.most_w)
            if not links.fleet.links.sidelink.grants:
                powers = _highest_of_senders(links, powers)
            found.append(powers)
    tried = np.stack(found)
    with np.errstate(divide="ignore"):
        ys = np.where(per_byte > 0, 8 / (link.rate * np.log2(1 + link.gamma * tried)), 0.0)
    tried_values = terms.least + np.einsum("prl,cpl->cpr", terms.rows, ys)
    thetas = np.where(terms.group, tried_values[..., None], -np.inf).max(-2)
    modelled = (terms.fill * ys).sum(-1) + (terms.beat * thetas).sum(-1)
    joules = ((link.heard + link.joule * tried) * ys).sum(-1)
    return PowerCases(links, tried, now.times + modelled - modelled[0], joules)


def _link(links: UsedLinks, watts: Array) -> _Link:
    hz, snr = links.bandwidth_hz(), links.fleet.links
    gamma = links.joined(snr.sidelink.snr, snr.uplink.snr, snr.downlink.snr) / np.maximum(hz, 1.0)
    allowed = links.fleet.max_power_w
    most = links.with_edge(links.of_senders(allowed), allowed[:, 0], watts[:, DOWNLINK])
    least = np.maximum(_RANGE * most, links.objective.least_sinr / gamma)
    prices = links.energy_prices()
    return _Link(
        gamma=gamma,
        rate=hz * links.efficiency(),
        least_w=np.minimum(least, watts),
        most_w=most,
        joule=prices.per_watt,
        heard=prices.total - prices.per_watt * watts,
    )


def _best_of_senders(links: UsedLinks, link: _Link, second: Array, wanted: Array) -> Array:
    """The best power of every sender for all its sidelinks together, at this price of a second."""
    part = np.geomspace(_RANGE, 1.0, _STEPS)[:, None, None]
    tried = part * link.most_w
    cost = (second + link.joule * tried) / np.log2(1 + link.gamma * tried)
    enough = links.used & (tried >= link.least_w)
    cost = np.where(enough, cost, np.where(links.used, np.inf, 0.0))
    found = wanted.copy()
    for node in range(links.fleet.nodes):
        own = links.used & (links.src == node)
        best = np.where(own, cost, 0.0).sum(-1).argmin(0)
        found = np.where(own, part[best, 0] * link.most_w, found)
    return found


def _highest_of_senders(links: UsedLinks, watts: Array) -> Array:
    """Every sender's highest power for all its sidelinks."""
    found = watts.copy()
    for node in range(links.fleet.nodes):
        own = links.used & (links.src == node)
        highest = np.where(own, watts, 0.0).max(-1, keepdims=True)
        found = np.where(own, highest, found)
    return found
