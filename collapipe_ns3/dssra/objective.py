"""The objective of the round's problem P_t, and the best mixture of several plans.

  J = V·T + Σ_k (Q_k/Ē_k)·E_k + (Z/Γ̄)·Σ_n ρ_n·Γ_n

T is the round's time, which is that of the slowest cluster, E_k the energy of node k, and Γ_n the
divergence of cluster n. Q and Z are the queues, Ē and Γ̄ the budgets (`collapipe_ns3.dssra.queues`).
Where nodes may leave, T is the expected time for the progress of a round without losses
(`collapipe_ns3.dssra.risk`).

With the idle power P_k of node k, E_k is P_k·T and what the node's part in the round takes above
idle, E'_k. So idling is a part of the price of time, and a plan is charged only what it changes:

  J = (V + Σ_k (Q_k/Ē_k)·P_k)·T + Σ_k (Q_k/Ē_k)·E'_k + (Z/Γ̄)·Σ_n ρ_n·Γ_n
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.risk import Course, Expectation, Risk, expected
from collapipe_ns3.dssra.segments.problem import Choices
from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Loads, RoundCosts, round_costs
from collapipe_ns3.prediction.round_time import (
    STAR,
    ExchangeForm,
    PhaseEnds,
    phase_ends,
    round_end_s,
)
from collapipe_ns3.prediction.segments import Segments


@dataclass(frozen=True)
class Objective:
    """The round's objective: what plans are for, and what they are charged.

    `time_price` is for a second of the round: V, and the `idle_price` Σ P·Q/Ē of what all nodes
    take at idle. `energy_prices` (P, n) are Q/Ē, for a joule of each node; `divergence_price` is
    Z/Γ̄. `choices` and `least_sinr` bound what is chosen. `form` is how parameters travel, and
    `format_divergence` the divergence of its formats. `risk` is None where no node is expected to
    leave.
    """

    fleet: Fleet
    work: Workload
    noise: GradientNoise
    time_price: float
    energy_prices: Array
    divergence_price: float
    choices: Choices
    least_sinr: float
    form: ExchangeForm = STAR
    format_divergence: float = 0.0
    idle_price: float = 0.0
    risk: Risk | None = None

    @property
    def divergence_prices(self) -> Array:
        """The price of a unit of each cluster's divergence, (P,)."""
        return self.divergence_price * self.fleet.share


@dataclass(frozen=True)
class State:
    """A plan for all clusters, in the form in which it is optimised."""

    segments: Segments
    radio: RadioSetting


@dataclass(frozen=True)
class Value:
    """What a state costs by the closed forms.

    `ends` are in seconds after the round's start, without losses; `gamma` (P,) is Γ. `delay`,
    `idle`, `energy` (P,) and `divergence` (P,) are the terms of J, the latter two by cluster: V·T,
    and the energy at idle and above it.

    Where nodes may leave, `expectation` is what the round is expected to be, and `missing` (P,) the
    part of the price of time that is for what lost clusters would have contributed.
    """

    costs: RoundCosts
    loads: Loads
    ends: PhaseEnds
    gamma: Array
    delay: float
    idle: float
    energy: Array
    divergence: Array
    expectation: Expectation | None = None
    missing: Array | None = None

    @property
    def times(self) -> Array:
        """When each cluster's upload ends, or is expected to end, (P,)."""
        return self.ends.uploaded if self.expectation is None else self.expectation.times

    @property
    def budgeted(self) -> Array:
        """The terms of each cluster other than time, (P,)."""
        return self.energy + self.divergence

    @property
    def penalties(self) -> Array:
        """What a choice for one cluster adds to J besides the end of the round, (P,)."""
        return self.budgeted if self.missing is None else self.budgeted + self.missing

    @property
    def total(self) -> float:
        """J."""
        return self.delay + self.idle + float(self.budgeted.sum())


def value(objective: Objective, state: State) -> Value:
    """J and its terms."""
    fleet, work = objective.fleet, objective.work
    found, asked = round_costs(fleet, work, state.radio, state.segments)
    ends = phase_ends(fleet, work, found, objective.form)
    m = state.segments.micro_batches.astype(float)
    gamma = objective.noise.divergence(work.batch_size, m, found.distortion)
    round_s = round_end_s(fleet, work, ends.uploaded)
    made = Value(
        costs=found,
        loads=asked,
        ends=ends,
        gamma=gamma,
        delay=(objective.time_price - objective.idle_price) * round_s,
        idle=objective.idle_price * round_s,
        energy=(objective.energy_prices * found.energy).sum(-1),
        divergence=objective.divergence_prices * (gamma + objective.format_divergence),
    )
    if objective.risk is None:
        return made
    likely = expected(objective.risk, course(objective, state, made))
    return replace(
        made,
        delay=(objective.time_price - objective.idle_price) * likely.counted_s,
        idle=objective.idle_price * likely.counted_s,
        expectation=likely,
        missing=objective.time_price * likely.missing_s,
    )


def course(objective: Objective, state: State, now: Value) -> Course:
    """The round of a state, of which this is the value, without losses."""
    return Course(objective.fleet, objective.work, state.segments, now.costs, now.ends)


def best_choice(times: Array, penalties: Array, time_price: float) -> Ints:
    """The case of every cluster, (P,), with which V·max time + Σ penalties is lowest.

    `times` and `penalties` (C, P) are those of C cases. This is exact: for each limit on the
    slowest cluster's time every cluster takes the cheapest case within it, and all limits that
    matter are tried.
    """
    clusters = times.shape[1]
    order = np.argsort(times, 0, kind="stable")
    sorted_times = np.take_along_axis(times, order, 0)
    cheapest = np.minimum.accumulate(np.take_along_axis(penalties, order, 0), 0)
    limits = np.unique(times[times >= sorted_times[0].max()])
    at = np.stack(
        [np.searchsorted(sorted_times[:, n], limits, side="right") - 1 for n in range(clusters)], -1
    )
    totals = time_price * limits + np.take_along_axis(cheapest, at, 0).sum(-1)
    limit = limits[totals.argmin()]
    within = np.where(times <= limit, penalties, np.inf)
    # Of equally cheap cases the quickest.
    best = within.min(0)
    quickest = np.where(within <= best + 1e-12 * np.abs(best), times, np.inf)
    chosen: Ints = quickest.argmin(0)
    return chosen


def same(one: State, other: State) -> bool:
    """Whether two states have the same segments."""
    a, b = one.segments, other.segments
    used = a.counts > 0
    return bool(
        (a.counts == b.counts).all()
        and (np.where(used, a.order, 0) == np.where(used, b.order, 0)).all()
        and (a.micro_batches == b.micro_batches).all()
        and (a.one_f == b.one_f).all()
    )


def mixed(fleet: Fleet, states: Sequence[State], which: Ints) -> State:
    """The state in which each cluster's part is that of the state numbered by `which`, (P,).

    The bandwidths of uplinks and of downlinks are scaled down where their sum exceeds the band.
    """
    made = states[0]
    for number, state in enumerate(states[1:], start=1):
        rows = which == number
        made = State(
            made.segments.put(rows, state.segments),
            made.radio.put(rows, state.radio),
        )
    radio, links = made.radio, fleet.links
    if links.uplink.grants:
        hz = radio.uplink.bandwidth_hz
        radio = radio.with_bandwidth_hz(uplink=hz * min(links.uplink.band_hz[0] / hz.sum(), 1.0))
    if links.downlink.grants:
        hz, watts = radio.downlink.bandwidth_hz, radio.downlink.power_w
        part = min(links.downlink.band_hz[0] / hz.sum(), 1.0)
        radio = radio.with_bandwidth_hz(downlink=hz * part).with_power_w(downlink=watts * part)
    return replace(made, radio=radio)
