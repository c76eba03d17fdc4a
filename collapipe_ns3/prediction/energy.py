"""What a round takes of every node: computing, sending and receiving, in joules.

  E = active power × computing + radiated power × sending + receiving power × receiving

Who receives is whom a transfer is for, and whoever overhears the medium. A transfer of a seconds
on the air is acknowledged for ρ·a by its receiver (`Medium.replies`), at that node's own power. So
what node k sends, x_k, and receives, y_k, on transfers by it of s_k and to it of r_k seconds is

  x_k = s_k + ρ·r_k,   y_k = r_k + ρ·s_k,   or, if it overhears,   y_k = (1 + ρ)·Σs - x_k

with Σs over all transfers of the medium, of whichever cluster. By how much nodes' radios took more
or less than that in earlier rounds is in `Fleet.tx_ratio` and `Fleet.rx_power_w`.

This is for plans under comparison; `prediction.timeline_energy` takes seconds from event graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.fleet import Fleet


@dataclass(frozen=True)
class Energy:
    """Joules by node, (P, n). `idle` is what a node would take that had no part in the round."""

    compute: Array
    tx: Array
    rx: Array
    idle: Array

    @property
    def total(self) -> Array:
        return self.compute + self.tx + self.rx


@dataclass(frozen=True)
class Transfers:
    """Transfers inside the clusters, (P, r): their ends, seconds on the air, the ends' watts."""

    src: Ints
    dst: Ints
    air_s: Array
    src_w: Array
    dst_w: Array


def spent(
    fleet: Fleet,
    computing_s: Array,
    transfers: Sequence[Transfers],
    up_s: Array,
    up_w: Array,
    down_s: Array,
) -> Energy:
    """The joules of every node that computes for so long and has these transfers.

    `computing_s` (P, n). Of the control units `up_s` and `down_s` (P,) are seconds on the air to
    and from the base station, and `up_w` their power there.
    """
    rows = np.arange(fleet.clusters)[:, None]
    sent, received, tx = (np.zeros_like(computing_s) for _ in range(3))
    replies = fleet.links.sidelink.replies
    for each in transfers:
        np.add.at(sent, (rows, each.src), each.air_s)
        np.add.at(received, (rows, each.dst), each.air_s)
        np.add.at(tx, (rows, each.src), each.src_w * each.air_s)
        np.add.at(tx, (rows, each.dst), each.dst_w * replies * each.air_s)
    on_air = fleet.on_air(sent.sum(-1))[:, None] * (1 + replies)
    apart = received + replies * sent
    heard = np.where(fleet.overhears, on_air - sent - replies * received, apart)
    others = np.where(fleet.overhears, on_air - (1 + replies) * (sent + received), 0.0)
    tx[:, 0] += up_w * (up_s + fleet.links.downlink.replies * down_s)
    heard[:, 0] += down_s + fleet.links.uplink.replies * up_s
    compute = fleet.active_power_w * computing_s
    idle = fleet.rx_power_w * others
    # The control unit's part can't be given to others; all that it may leave is its power.
    idle[:, 0] = compute[:, 0] + fleet.rx_power_w[:, 0] * heard[:, 0]
    return Energy(compute, fleet.tx_ratio * tx, fleet.rx_power_w * heard, idle)


def listening(fleet: Fleet, joule: Array) -> Array:
    """What a second on the air costs all who overhear each cluster's medium, (P,).

    `joule` (P, n) is what a joule of each node costs.
    """
    return fleet.on_air((fleet.overhears * joule * fleet.rx_power_w).sum(-1))


def heard(fleet: Fleet, joule: Array, overheard: Array, power_w: Array) -> Array:
    """What a second on the air of each link (R, n, n) costs, but for what its sender radiates.

    `overheard` (R,) is `listening`, `power_w` (R, n, n) every node's to every other.
    """
    receiving, replies = joule * fleet.rx_power_w, fleet.links.sidelink.replies
    # What overhears all but what it sends itself: less of that at both ends.
    src = np.where(fleet.overhears, -receiving, replies * receiving)
    dst = np.where(fleet.overhears, -replies * receiving, receiving)
    sent_back = replies * (joule * fleet.tx_ratio)[:, None, :] * power_w.swapaxes(1, 2)
    total: Array = (
        (1 + replies) * overheard[:, None, None] + src[:, :, None] + dst[:, None, :] + sent_back
    )
    return total
