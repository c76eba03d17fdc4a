"""The links of a plan: the powers and bandwidths that it sets, and those that planners assume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from collapipe_ns3.dssra.objective import State
from collapipe_ns3.dssra.planning_problem import PlanningProblem
from collapipe_ns3.exchange import StateMove
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.plan import LinkPlan
from collapipe_ns3.prediction.directions import place_of_link
from collapipe_ns3.prediction.plan_timeline import used_links
from collapipe_ns3.prediction.radio_setting import RadioSetting

#: Part of a cluster's band for each link that only moving optimizer states use.
_MOVING = 0.02


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link that the plan uses, as the planner assumes it; `measured` is false for a guess."""

    src: str
    dst: str
    measured: bool
    power_w: float
    bandwidth_hz: float
    sinr: float
    rate_bps: float
    latency_s: float
    epsilon: float


def with_state_moves(
    problem: PlanningProblem, radio: RadioSetting, moves: Mapping[int, Sequence[StateMove]]
) -> RadioSetting:
    """The radio with a small part of each band for links that only moving states use."""
    if not problem.fleet.links.sidelink.grants or not moves:
        return radio
    places, hz = problem.places, radio.sidelink.bandwidth_hz.copy()
    for cluster, each in moves.items():
        n = problem.clusters.index(cluster)
        pairs = {(places[move.src][1], 0) for move in each}
        pairs |= {(0, places[move.dst][1]) for move in each}
        missing = sorted(pair for pair in pairs if hz[n][pair] <= 0)
        hz[n] *= 1 - _MOVING * len(missing)
        for pair in missing:
            hz[n][pair] = _MOVING * problem.fleet.links.sidelink.band_hz[n]
    return radio.with_bandwidth_hz(sidelink=hz)


def link_plans(
    problem: PlanningProblem, state: State, moves: Mapping[int, Sequence[StateMove]]
) -> tuple[LinkPlan, ...]:
    """Power of every link that is used, and its bandwidth where the radio takes grants."""
    found: list[LinkPlan] = []
    for cluster, pipeline in problem.pipelines(state.segments).items():
        pairs = used_links(pipeline, cluster)
        for move in moves.get(cluster, ()):
            pairs += list(pairwise((move.src, control_unit(cluster), move.dst)))
        for src, dst in dict.fromkeys(pairs):
            direction, at = place_of_link(problem.places, src, dst)
            links, setting = problem.fleet.links[direction], state.radio[direction]
            most = problem.observation.profiles[src].max_tx_power_w
            watts = min(float(setting.power_w[at]), most)
            hertz = float(setting.bandwidth_hz[at]) if links.grants else None
            found.append(LinkPlan(src, dst, watts, hertz))
    return tuple(found)


def link_views(
    problem: PlanningProblem, radio: RadioSetting, plans: Sequence[LinkPlan]
) -> tuple[LinkView, ...]:
    """The links of the plan as the planner assumes them."""
    found = []
    for plan in plans:
        direction, at = place_of_link(problem.places, plan.src, plan.dst)
        links, setting = problem.fleet.links[direction], radio[direction]
        watts, hertz = float(setting.power_w[at]), float(setting.bandwidth_hz[at])
        sinr = watts * float(links.snr[at]) / hertz
        found.append(
            LinkView(
                src=plan.src,
                dst=plan.dst,
                measured=bool(links.measured[at]),
                power_w=watts,
                bandwidth_hz=hertz,
                sinr=sinr,
                rate_bps=float(links.efficiency[at] * hertz * np.log2(1 + sinr)),
                latency_s=float(links.latency[at]),
                epsilon=float(links.epsilon[at]),
            )
        )
    return tuple(found)
