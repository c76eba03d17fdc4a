"""The energy of every node in a round by closed forms: for computing, sending and receiving.

  E = computing power × computing + Σ sending power × sending + receiving power × receiving

All of these are above idle, with the sending power of `collapipe_ns3.costs.power`: a static part
and the radiated power over the amplifier's efficiency. What a node takes at idle is the same under
all plans for each second of the round, so that it is a price of the round's time
(`collapipe_ns3.dssra.objective`).

A transfer is received by the node that it is for, and by all nodes that overhear its medium. Its
receiver acknowledges a transfer of a seconds on the air for ρ·a seconds (`Medium.replies`), at its
own power. So a node k whose own transfers are s_k seconds on the air, and those to it r_k seconds,
sends for x_k seconds and receives for y_k seconds:

  x_k = s_k + ρ·r_k,   y_k = r_k + ρ·s_k,   or, if it overhears,   y_k = (1 + ρ)·Σs - x_k

with Σs over all transfers on the medium, of all clusters. By how much nodes' radios took more or
less than that in earlier rounds is part of `Fleet.tx_ratio` and `Fleet.rx_power_w`.

Plans are compared by these; `prediction.timeline_energy` has the energy of a timeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.fleet import Fleet


@dataclass(frozen=True)
class Energy:
    """Joules above idle by node, (P, n).

    `least` is what a node would take without any part in the round.
    """

    compute: Array
    tx: Array
    rx: Array
    least: Array

    @property
    def total(self) -> Array:
        return self.compute + self.tx + self.rx


@dataclass(frozen=True)
class Transfers:
    """Transfers inside the clusters, (P, r): both ends, seconds on the air, watts radiated."""

    src: Ints
    dst: Ints
    air_s: Array
    src_w: Array
    dst_w: Array


def round_energy(
    fleet: Fleet,
    computing_s: Array,
    transfers: Sequence[Transfers],
    up_s: Array,
    up_w: Array,
    down_s: Array,
) -> Energy:
    """The energy of every node that computes for `computing_s` (P, n) and has these transfers.

    `up_s` and `down_s` (P,) are the control units' seconds on the air to and from the base station,
    `up_w` (P,) is what they radiate there.
    """
    rows = np.arange(fleet.clusters)[:, None]
    sent, received, tx = (np.zeros_like(computing_s) for _ in range(3))
    replies = fleet.links.sidelink.replies
    for each in transfers:
        np.add.at(sent, (rows, each.src), each.air_s)
        np.add.at(received, (rows, each.dst), each.air_s)
        src_w, dst_w = (
            fleet.tx_static_w[rows, ends] + fleet.tx_per_w[rows, ends] * radiated_w
            for ends, radiated_w in ((each.src, each.src_w), (each.dst, each.dst_w))
        )
        np.add.at(tx, (rows, each.src), src_w * each.air_s)
        np.add.at(tx, (rows, each.dst), dst_w * replies * each.air_s)
    on_air = fleet.on_air(sent.sum(-1))[:, None] * (1 + replies)
    apart = received + replies * sent
    heard = np.where(fleet.overhears, on_air - sent - replies * received, apart)
    others = np.where(fleet.overhears, on_air - (1 + replies) * (sent + received), 0.0)
    sending_w = fleet.tx_static_w[:, 0] + fleet.tx_per_w[:, 0] * up_w
    tx[:, 0] += sending_w * (up_s + fleet.links.downlink.replies * down_s)
    heard[:, 0] += down_s + fleet.links.uplink.replies * up_s
    compute = fleet.computing_w * computing_s
    least = fleet.rx_power_w * others
    # The control unit has the same tasks under every plan; only what it takes to send differs.
    least[:, 0] = compute[:, 0] + fleet.rx_power_w[:, 0] * heard[:, 0]
    return Energy(compute, fleet.tx_ratio * tx, fleet.rx_power_w * heard, least)


def overhearing_price(fleet: Fleet, joule: Array) -> Array:
    """The cost of a second on the air for all nodes that overhear each cluster's medium, (P,).

    `joule` (P, n) is the cost of a joule at each node.
    """
    return fleet.on_air((fleet.overhears * joule * fleet.rx_power_w).sum(-1))


def airtime_price(fleet: Fleet, joule: Array, overheard: Array, power_w: Array) -> Array:
    """The cost of a second on the air of each link, without what its sender takes, (R, n, n).

    `joule` (R, n) is the cost of a joule at each node, `overheard` (R,) is `overhearing_price`,
    `power_w` (R, n, n) is what each node radiates to each other one.
    """
    receiving, replies = joule * fleet.rx_power_w, fleet.links.sidelink.replies
    # Nodes that overhear receive all but what they send themselves: less of it at both ends.
    src = np.where(fleet.overhears, -receiving, replies * receiving)
    dst = np.where(fleet.overhears, -replies * receiving, receiving)
    drawn_w = fleet.sending_w(power_w)
    sent_back = replies * (joule * fleet.tx_ratio)[:, None, :] * drawn_w.swapaxes(1, 2)
    total: Array = (
        (1 + replies) * overheard[:, None, None] + src[:, :, None] + dst[:, None, :] + sent_back
    )
    return total
