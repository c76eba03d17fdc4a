"""DSSRA's planner: block coordinate descent on the round's objective.

The blocks are the segments, the bandwidths and the powers. Each is optimised with the others fixed,
in sweeps, until a sweep lowers the objective by less than a thousandth. An update is kept only if
it lowers the objective, so the objective never rises. New segments come with bandwidths for their
links, since links that were not used have none. Where clusters gain from different updates, each
cluster takes the one with which the total objective is lowest (`objective.best_choice`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Self

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.objective import (
    Objective,
    State,
    Value,
    best_choice,
    course,
    mixed,
    same,
    value,
)
from collapipe_ns3.dssra.radio import bandwidth, power
from collapipe_ns3.dssra.risk import Risk, device_seconds
from collapipe_ns3.dssra.segments.problem import Prices, SegmentProblem, sidelinks_used
from collapipe_ns3.dssra.segments.scheduling import schedule
from collapipe_ns3.prediction.arrays import Array, Mask
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import LinkSetting
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.segments import Segments

_SETTLED = 1e-3  # of the objective: a sweep that lowers it by less is the last
_TOLERANCE = 1e-4  # of the objective: the error to which bands are divided

#: The powers that are tried. A second is worth less in clusters that others need not wait for.
_TRIALS = power.Trials(
    worths=(1.0, 0.2, 0.02),
    slower=tuple(
        (beats, star)
        for beats in (0.7, 0.85, 1.0, 1.15, 1.4, 2.0, 4.0, np.inf)
        for star in (0.8, 1.0, 1.5, np.inf)
    ),
)


class NoRoom(ValueError):
    """No plan fits the memory of some clusters, which `clusters` (P,) marks."""

    def __init__(self, clusters: Mask) -> None:
        self.clusters = clusters
        super().__init__(f"no plan fits the memory of clusters {np.flatnonzero(clusters).tolist()}")


@dataclass(frozen=True, slots=True)
class BlockUpdate:
    """The objective before and after one block of a sweep was updated."""

    sweep: int
    block: str
    before: float
    after: float


@dataclass(frozen=True)
class Planned:
    """The plan, its value by the closed forms, and how it was found.

    `others` are the last sweep's best plans of every schedule.
    """

    state: State
    value: Value
    updates: tuple[BlockUpdate, ...]
    others: tuple[State, ...]


@dataclass(frozen=True)
class _Option:
    """A state and its value."""

    state: State
    value: Value

    @classmethod
    def of(cls, objective: Objective, state: State) -> Self:
        return cls(state, value(objective, state))


def optimise(objective: Objective, most_sweeps: int, start: Segments | None = None) -> Planned:
    """Block coordinate descent from full power and equal bandwidths. Raises `NoRoom`.

    The first segments are `start` or, if it is None, the best at these powers and bandwidths.
    """
    clusters = objective.fleet.clusters
    radio = start_radio(objective.fleet, objective.work)
    weights = np.ones(clusters)  # the price of a second of each cluster, as a fraction of V
    if start is None:
        others = scheduled(objective, radio, Loads.none(clusters), weights, None)
    else:
        others = (State(start, equal_shares(objective.fleet, radio, start)),)
    best = _best(objective, [_Option.of(objective, other) for other in others])
    updates: list[BlockUpdate] = []
    for sweep in range(most_sweeps):
        first = best.value.total
        if sweep:
            state, loads = best.state, best.value.loads
            others = scheduled(objective, state.radio, loads, weights, state)
            new = [divided(objective, other) for other in others if not same(other, state)]
            best = _best(objective, [best, *(_Option.of(objective, other) for other in new)])
            updates.append(BlockUpdate(sweep, "segments", first, best.value.total))
        before = best.value.total
        best = _better(objective, best, divided(objective, best.state, best.value))
        updates.append(BlockUpdate(sweep, "bandwidth", before, best.value.total))
        before = best.value.total
        best = _better(objective, best, powered(objective, best.state, best.value))
        updates.append(BlockUpdate(sweep, "power", before, best.value.total))
        if sweep and first - best.value.total < _SETTLED * abs(first):
            break
        weights = _second_weights(objective, best.value, weights)
    return Planned(best.state, best.value, tuple(updates), others)


def _better(objective: Objective, now: _Option, state: State) -> _Option:
    """The new state if its value is lower, otherwise the present one."""
    if state is now.state:
        return now
    new = _Option.of(objective, state)
    return new if new.value.total < now.value.total else now


def scheduled(
    objective: Objective, radio: RadioSetting, loads: Loads, weights: Array, start: State | None
) -> tuple[State, ...]:
    """The best segments of each schedule, at equal bandwidths. Raises `NoRoom`.

    `weights` (P,) are the price of a second of each cluster, as a fraction of V. A cluster without
    a plan under one schedule has that of the other.
    """
    time_prices = objective.time_price * weights
    prices = Prices.of(
        objective.fleet, time_prices, objective.energy_prices, objective.divergence_prices
    )
    if objective.risk is not None and start is not None:
        prices = replace(prices, use=_use_prices(objective, objective.risk, start, weights))
    problem = SegmentProblem(
        objective.fleet,
        objective.work,
        radio,
        prices,
        loads,
        objective.noise,
        objective.choices,
        windows=True,
        streamed=objective.form.streamed,
    )
    found = schedule(problem, start.segments if start else None)
    without = ~np.any([each.exists for each in found], axis=0)
    if without.any():
        raise NoRoom(without)
    states = []
    for each in found:
        segments = each.segments
        for other in found:
            segments = segments.put(~each.exists & other.exists, other.segments)
        states.append(State(segments, equal_shares(objective.fleet, radio, segments)))
    return tuple(states)


def _use_prices(objective: Objective, risk: Risk, now: State, weights: Array) -> Array:
    """The price of using each device, (P, n), at its exposure in the present state."""
    seconds = device_seconds(risk, course(objective, now, value(objective, now)))
    prices: Array = objective.time_price * (weights[:, None] * seconds.time + seconds.missing)
    return np.maximum(prices, 0.0)


def divided(objective: Objective, state: State, now: Value | None = None) -> State:
    """The state with the best division of all bands; the same state where no link takes grants.

    `now` is the state's value, if it is known.
    """
    links = objective.fleet.links
    if not (links.sidelink.grants or links.uplink.grants or links.downlink.grants):
        return state
    radio = bandwidth.best_bandwidths(objective, state, now or value(objective, state), _TOLERANCE)
    return replace(state, radio=radio)


def powered(objective: Objective, state: State, now: Value) -> State:
    """The state with the best powers; the same state where energy has no price.

    `now` is the state's value.
    """
    if not (objective.energy_prices > 0).any():
        return state
    found = power.cases(objective, state, now, _TRIALS)
    which = best_choice(found.times, found.joules, objective.time_price)
    return replace(state, radio=found.radio(which))


def start_radio(fleet: Fleet, work: Workload) -> RadioSetting:
    """Full power, and bands divided so that all uploads end together, and all downloads."""
    shape = (fleet.clusters, fleet.nodes, fleet.nodes)
    up, down = fleet.links.uplink, fleet.links.downlink
    up_w, down_w = fleet.max_power_w[:, 0], np.full(fleet.clusters, fleet.server.max_power_w)
    up_hz, down_hz = up.natural_hz, down.natural_hz
    if up.grants:
        bits = 8.0 * work.upload_bytes * up.bulk
        capacity, band = up_w * up.snr, float(up.band_hz[0])
        _, up_hz = bandwidth.bandwidths_for_equal_ends(
            up.latency, bits, up.efficiency, capacity, band
        )
    if down.grants:
        band = float(down.band_hz[0])
        slow = down.bulk / (down.efficiency * np.log2(1 + down_w * down.snr / band))
        down_hz = band * slow / slow.sum()
        down_w = down_w * down_hz / band
    return RadioSetting(
        sidelink=LinkSetting(
            np.broadcast_to(fleet.max_power_w[:, :, None], shape).copy(),
            fleet.links.sidelink.natural_hz,
        ),
        uplink=LinkSetting(up_w, up_hz),
        downlink=LinkSetting(down_w, down_hz),
    )


def equal_shares(fleet: Fleet, radio: RadioSetting, segments: Segments) -> RadioSetting:
    """The radio setting with each cluster's band shared equally by the sidelinks in use."""
    sidelink = fleet.links.sidelink
    if not sidelink.grants:
        return radio
    shape = radio.sidelink.bandwidth_hz.shape
    each_hz = (sidelink.band_hz / sidelinks_used(segments.size))[:, None, None]
    return radio.with_bandwidth_hz(sidelink=np.broadcast_to(each_hz, shape).copy())


def _best(objective: Objective, options: list[_Option]) -> _Option:
    """The best option, or the best mixture of options by cluster if that is better."""
    if len(options) > 1:
        times = np.stack([option.value.times for option in options])
        penalties = np.stack([option.value.penalties for option in options])
        which = best_choice(times, penalties, objective.time_price)
        if (which != which[0]).any():
            mixture = mixed(objective.fleet, [option.state for option in options], which)
            options = [*options, _Option.of(objective, mixture)]
    return min(options, key=attrgetter("value.total"))


def _second_weights(objective: Objective, now: Value, weights: Array) -> Array:
    """The weights of a second in the next sweep, (P,).

    They fall for clusters that have to wait for others, if these can save energy instead.
    """
    waits = now.times < 0.95 * now.times.max()
    saves = (objective.energy_prices > 0).any(-1)
    return np.where(waits & saves, np.maximum(weights / 4, 1 / 64), np.minimum(4 * weights, 1))
