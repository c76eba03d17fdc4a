"""When the phases of a round end, in closed form.

All clusters begin at the same time. Of their transfers, those that are on a shared medium at the
same time share it evenly. The round ends when the last upload has ended and the server has averaged
the models. The other predictor of a round is its event graph (`plan_timeline.predict_timeline`),
which is exact and takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.round_costs import RoundCosts


@dataclass(frozen=True)
class PhaseEnds:
    """When each cluster has ended the phases of a round, in seconds after its start, (P,).

    `downloaded`: its control unit has the model; `distributed`: its devices have their segments;
    `gathered`: the control unit has all segments again; `uploaded`: the base station has them.
    """

    downloaded: Array
    distributed: Array
    gathered: Array
    uploaded: Array


def phase_ends(fleet: Fleet, work: Workload, costs: RoundCosts) -> PhaseEnds:
    """When each cluster ends the phases of its round, where all begin at the same time."""
    rows, links = len(costs.step), fleet.links
    everyone, media = np.zeros(rows, dtype=np.intp), fleet.medium
    down = _ended(np.zeros(rows), costs.download, everyone, links.downlink.shared)
    down = down + links.downlink.latency
    begun = _ended(down, costs.distribute, media, links.sidelink.shared)
    trained = begun + work.local_steps * costs.step
    gathered = _ended(trained, costs.gather, media, links.sidelink.shared)
    up = _ended(gathered, costs.upload, everyone, links.uplink.shared) + links.uplink.latency
    return PhaseEnds(down, begun, gathered, up)


def _ended(ready: Array, holds: Array, media: Ints, shared: bool) -> Array:
    """When transfers that begin at these times have ended, on shared media or alone."""
    if not shared:
        return ready + holds
    ends = ready.copy()
    for medium in np.unique(media):
        those = media == medium
        ends[those] = processor_sharing_ends_s(ready[those], holds[those])
    return ends


def round_end_s(fleet: Fleet, work: Workload, uploaded_s: Array) -> float:
    """When the round ends, in seconds after its start.

    `uploaded_s` (P,) is when each cluster's upload has ended.
    """
    return float(uploaded_s.max()) + aggregate_s(fleet, work)


def aggregate_s(fleet: Fleet, work: Workload) -> float:
    """The federated average at the edge server, in seconds."""
    flops = 2 * fleet.clusters * work.model_parameters
    return fleet.server.overhead_s + flops / fleet.server.flops_per_s


def processor_sharing_ends_s(ready_s: Array, holds_s: Array) -> Array:
    """When each of n transfers ends that share one resource evenly, each ready at its own time.

    Of k transfers in progress each proceeds at 1/k of its speed. Arrays have the shape (n,). A
    transfer that would hold the resource for ever never ends, and the others still share with it.
    """
    left = holds_s.astype(float).copy()
    ends = np.array(ready_s, dtype=float)
    coming = [int(n) for n in np.argsort(ready_s, kind="stable")]
    active: list[int] = []
    now_s = 0.0
    # Each iteration starts a transfer, or ends one in progress.
    for _ in range(2 * len(ends)):
        if not (coming or active):
            break
        if not active:
            now_s = float(ready_s[coming[0]])
        while coming and ready_s[coming[0]] <= now_s:
            active.append(coming.pop(0))
        first = left[active].min()
        until_s = now_s + first * len(active)
        if coming and ready_s[coming[0]] < until_s:
            left[active] -= (ready_s[coming[0]] - now_s) / len(active)
            now_s = float(ready_s[coming[0]])
            continue
        if not np.isfinite(until_s):
            ends[active + coming] = np.inf
            break
        left[active] -= first
        now_s = until_s
        # Fractions that rounding leaves would never be done.
        done = [n for n in active if np.isfinite(left[n]) and left[n] <= 1e-12 * holds_s[n]]
        ends[done] = now_s
        active = [n for n in active if n not in done]
    return ends
