"""DSSRA's planner: block coordinate descent on the round's objective.

Segments, then bandwidth, then power, each with the others as they are, until a sweep lowers the
objective by less than a thousandth. What a block finds is taken where it lowers the objective, else
left, so the objective never rises. Segments come with the bandwidth that suits them, since links
that were not used have none. Where clusters differ in what they gain, each takes the case that
lowers the sum (`objective.best_choice`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.objective import Objective, State, Value, best_choice, mixed, same, value
from collapipe_ns3.dssra.radio import bandwidth, power
from collapipe_ns3.dssra.segments.problem import Prices, SegmentProblem
from collapipe_ns3.dssra.segments.scheduling import schedule
from collapipe_ns3.prediction.arrays import Array, Mask
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import LinkSetting
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Loads
from collapipe_ns3.prediction.segments import Segments

_SETTLED = 1e-3  # of the objective: a sweep that gains less is the last
_TOLERANCE = 1e-4  # of the objective, within which bands are divided

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
    """Clusters whose memory no plan fits: `clusters` (P,) marks them."""

    def __init__(self, clusters: Mask) -> None:
        self.clusters = clusters
        super().__init__(f"no plan fits the memory of clusters {np.flatnonzero(clusters).tolist()}")


@dataclass(frozen=True, slots=True)
class BlockUpdate:
    """What a block of a sweep did to the objective."""

    sweep: int
    block: str
    before: float
    after: float


@dataclass(frozen=True)
class Planned:
    """The plan, what it costs by the closed forms, and how it came about.

    `others` are the last sweep's best plans of every schedule.
    """

    state: State
    value: Value
    updates: tuple[BlockUpdate, ...]
    others: tuple[State, ...]


def optimise(objective: Objective, most_sweeps: int, start: Segments | None = None) -> Planned:
    """Block coordinate descent from full power and equal bandwidths. Raises `NoRoom`.

    The first segments are the best at these, or `start`.
    """
    clusters = objective.fleet.clusters
    radio, none = start_radio(objective.fleet, objective.work), np.zeros((2, clusters))
    pace = np.ones(clusters)  # of V, for a second of each cluster
    if start is None:
        others = scheduled(objective, radio, Loads(none, none, none), pace, None)
    else:
        others = (State(start, equal_shares(objective.fleet, radio, start)),)
    state, now = _best(objective, [(other, value(objective, other)) for other in others])
    updates: list[BlockUpdate] = []

    def note(block: str, before: float) -> None:
        updates.append(BlockUpdate(sweep, block, before, now.total))

    for sweep in range(most_sweeps):
        first = now.total
        if sweep:
            others = scheduled(objective, state.radio, now.loads, pace, state)
            new = [divided(objective, other) for other in others if not same(other, state)]
            state, now = _best(objective, [(state, now), *((o, value(objective, o)) for o in new)])
            note("segments", first)
        for name, block in (("bandwidth", divided), ("power", powered)):
            before = now.total
            state, now = _tried(objective, state, now, block)
            note(name, before)
        if sweep and first - now.total < _SETTLED * abs(first):
            break
        pace = _patience(objective, now, pace)
    return Planned(state, now, tuple(updates), others)


def _tried(
    objective: Objective,
    state: State,
    now: Value,
    block: Callable[[Objective, State, Value], State],
) -> tuple[State, Value]:
    """What a block makes of a state, where that is better."""
    found = block(objective, state, now)
    if found is state:
        return state, now
    worth = value(objective, found)
    return (found, worth) if worth.total < now.total else (state, now)


def scheduled(
    objective: Objective, radio: RadioSetting, loads: Loads, pace: Array, start: State | None
) -> tuple[State, ...]:
    """The best segments of each schedule, their links' bandwidths equal. Raises `NoRoom`.

    A cluster that has none under one schedule has that of the other.
    """
    prices = Prices.of(
        objective.fleet, objective.second * pace, objective.joule, objective.divergences
    )
    subproblem = SegmentProblem(
        objective.fleet,
        objective.work,
        radio,
        prices,
        loads,
        objective.noise,
        objective.choices,
        windows=True,
    )
    found = schedule(subproblem, start.segments if start else None)
    short = ~np.any([each.exists for each in found], axis=0)
    if short.any():
        raise NoRoom(short)
    states = []
    for each in found:
        segs = each.segments
        for other in found:
            segs = segs.put(~each.exists & other.exists, other.segments)
        states.append(State(segs, equal_shares(objective.fleet, radio, segs)))
    return tuple(states)


def divided(objective: Objective, state: State, now: Value | None = None) -> State:
    """The state with all bands divided at their best; itself where there are none to divide."""
    fleet = objective.fleet
    links = fleet.links
    if not (links.sidelink.grants or links.uplink.grants or links.downlink.grants):
        return state
    radio = bandwidth.divide(objective, state, now or value(objective, state), _TOLERANCE)
    return replace(state, radio=radio)


def powered(objective: Objective, state: State, now: Value) -> State:
    """The state with the powers at their best."""
    if not (objective.joule > 0).any():
        return state
    found = power.cases(objective, state, now, _TRIALS)
    which = best_choice(found.times, found.joules, objective.second)
    return replace(state, radio=found.radio(which))


def start_radio(fleet: Fleet, work: Workload) -> RadioSetting:
    """Full power; bands up and down divided so that all uploads, and downloads, end together."""
    shape = (fleet.clusters, fleet.nodes, fleet.nodes)
    up, down = fleet.links.uplink, fleet.links.downlink
    up_w, down_w = fleet.max_power_w[:, 0], np.full(fleet.clusters, fleet.server.max_power_w)
    up_hz, down_hz = up.natural_hz, down.natural_hz
    if up.grants:
        bits = 8.0 * work.upload_bytes * up.bulk
        capacity, band = up_w * up.snr, float(up.band_hz[0])
        _, up_hz = bandwidth.fastest(up.latency, bits, up.efficiency, capacity, band)
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


def equal_shares(fleet: Fleet, radio: RadioSetting, segs: Segments) -> RadioSetting:
    """The radio with each cluster's band divided equally among the links that its segments use."""
    sidelink = fleet.links.sidelink
    if not sidelink.grants:
        return radio
    used = np.maximum(4 * segs.size - 2, 2)
    shape = radio.sidelink.bandwidth_hz.shape
    each = np.broadcast_to((sidelink.band_hz / used)[:, None, None], shape)
    return radio.with_bandwidth_hz(sidelink=each.copy())


def _best(objective: Objective, options: list[tuple[State, Value]]) -> tuple[State, Value]:
    """The best of several states, or of each cluster's part from the one that suits it."""
    if len(options) > 1:
        times = np.stack([each.times for _, each in options])
        penalties = np.stack([each.penalties for _, each in options])
        which = best_choice(times, penalties, objective.second)
        if (which != which[0]).any():
            mixture = mixed(objective.fleet, [state for state, _ in options], which)
            options = [*options, (mixture, value(objective, mixture))]
    return min(options, key=lambda option: option[1].total)


def _patience(objective: Objective, now: Value, pace: Array) -> Array:
    """What seconds are worth in the next sweep: less to a cluster that others keep waiting.

    Only where it has something else to gain, energy.
    """
    waits = now.times < 0.95 * now.times.max()
    return np.where(
        waits & (objective.joule > 0).any(-1), np.maximum(pace / 4, 1 / 64), np.minimum(4 * pace, 1)
    )
