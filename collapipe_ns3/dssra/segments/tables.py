"""The segment problem of a cluster as tables: what each device, hop and order adds to its cost.

With the radio fixed, a cluster pays for an order of devices and the blocks on each

  J = constant + Σ_k device[k, blocks] + Σ_hops hop[i, j]
      + Σ_g weight_g · max(floor_g, max_k beat_g[k, blocks], path_g)
      + v · (max_k out[k, blocks] + max_k back[k, blocks])

A beat is the time between two micro-batches (`collapipe_ns3.prediction.step_time`): under GPipe of
the forward line (g = 0) and the backward line (g = 1), under 1F1B of both together (g = 0 alone).
`path_g` depends on the order alone: the longest hop, the sum of all on a shared medium, the most
that one half-duplex radio does. The last term is the model's way out and the gathering, where the
links to the devices are apart; on a shared medium these are sums and lie in `device`. Left out are
optimizer steps, labels and the limits of 1F1B's window, which are the same or small for all
candidates; `assess.costs` and the event graph have them.

Rows are cases (a cluster, a number of micro-batches, a schedule, a number of segments).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.energy import heard, listening
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import LinkSetting
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Loads


@dataclass(frozen=True)
class Prices:
    """What the objective charges: `time` (P,) a second of a cluster's round, `energy` (P, n) a
    joule of a node, `divergence` (P,) a unit of it. `listening` (P,) is what a second on the air
    costs those who overhear it (`collapipe_ns3.prediction.energy.listening`)."""

    time: Array
    energy: Array
    divergence: Array
    listening: Array

    @classmethod
    def of(cls, fleet: Fleet, time: Array, energy: Array, divergence: Array) -> Self:
        return cls(time, energy, divergence, listening(fleet, energy))

    def take(self, rows: Ints) -> Prices:
        return Prices(
            self.time[rows], self.energy[rows], self.divergence[rows], self.listening[rows]
        )


@dataclass(frozen=True)
class Cases:
    """The rows: clusters by number, micro-batches, schedule, and the number of segments."""

    cluster: Ints
    micro_batches: Ints
    one_f: Mask
    size: Ints

    def take(self, rows: Ints) -> Cases:
        return Cases(
            self.cluster[rows], self.micro_batches[rows], self.one_f[rows], self.size[rows]
        )

    def __len__(self) -> int:
        return len(self.cluster)


@dataclass(frozen=True)
class Tables:
    """See the module. Devices are 0 … K-1 here, hops go between nodes 0 … K.

    `scale` is by how much a plan of 0 … K devices stretches all transfers inside the cluster,
    against the number that these tables were made for: the more links, the less band for each.
    `device`, `beat` and the star's two have blocks 0 … N along their last axis; `room` is how many
    micro-batches a device can keep through so many blocks.
    """

    constant: Array  # (R,)
    device: Array  # (R, K, N+1)
    beat: Array  # (R, 2, K, N+1)
    star: Array  # (R, 2, K, N+1)
    hop: Array  # (R, n, n)
    path: Array  # (R, 2, n, n)
    floor: Array  # (R, 2)
    weight: Array  # (R, 2)
    time: Array  # (R,)
    room: Array  # (R, K, N+1)
    scale: Array  # (R, K+1)
    micro_batches: Array  # (R,)
    one_f: Mask  # (R,)
    shared: bool
    half_duplex: bool

    def kept(self, place: Ints, size: Ints) -> Array:
        """Micro-batches kept at place 1 … s of pipelines of s devices; row by row.

        All M under GPipe; min(s + 2 - place, M) under 1F1B (`collapipe_ns3.schedule`).
        """
        m = over(self.micro_batches, place)
        ahead = np.minimum(size + 2 - place, m)
        kept: Array = np.where(over(self.one_f, place), ahead, m)
        return kept

    def take(self, rows: slice | Ints) -> Tables:
        """The tables of these rows."""
        whole = {"shared", "half_duplex"}
        changes: dict[str, Any] = {
            f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in whole
        }
        return replace(self, **changes)

    def paths(self, orders: Ints) -> tuple[Array, Array]:
        """Added costs (R, O) and path beats (R, 2, O) of orders (O, s) of devices."""
        ends = np.zeros((len(orders), 1), dtype=np.intp)
        nodes = np.concatenate([ends, orders + 1, ends], -1)
        a, b = nodes[:, :-1], nodes[:, 1:]
        held = self.path[:, :, a, b]
        if self.shared:
            beats = held.sum(-1)
        elif self.half_duplex:
            at_devices = (held[..., :-1] + held[..., 1:]).max(-1)
            beats = np.maximum(at_devices, held[..., 0] + held[..., -1])
        else:
            beats = held.max(-1)
        return self.hop[:, a, b].sum(-1), beats


def over(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Values by row beside an array with further axes."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def nominal_pace(fleet: Fleet, radio: RadioSetting, cases: Cases) -> Array:
    """Seconds a byte of every pair, for a plan whose links share the band equally.

    A pipeline of s devices uses 4s - 2 directed links (two with one device).
    """
    links, rows = fleet.links.sidelink, cases.cluster
    hz = links.natural_hz[rows]
    if links.grants:
        used = np.maximum(4 * cases.size - 2, 2)
        hz = np.broadcast_to((links.band_hz[rows] / used)[:, None, None], hz.shape)
    return links.take(rows).seconds_per_byte(LinkSetting(radio.sidelink.power_w[rows], hz))


def _scale(fleet: Fleet, radio: RadioSetting, cases: Cases, pace: Array) -> Array:
    devices = pace.shape[1] - 1
    if not fleet.links.sidelink.grants:
        return np.ones((len(cases), devices + 1))
    off = ~np.eye(devices + 1, dtype=bool)
    usual = pace[:, off].mean(-1)
    sizes = [
        nominal_pace(fleet, radio, replace(cases, size=np.full(len(cases), size)))[:, off].mean(-1)
        for size in range(1, devices + 1)
    ]
    scale: Array = np.stack([usual, *sizes], -1) / usual[:, None]
    return scale


def _charged(price: Array, amount: Array) -> Array:
    """Price times amount; what is free costs nothing, even where it takes for ever."""
    with np.errstate(invalid="ignore"):
        return np.where(price > 0, price * amount, 0.0)


def tables(
    fleet: Fleet,
    work: Workload,
    radio: RadioSetting,
    cases: Cases,
    prices: Prices,
    loads: Loads,
    noise: GradientNoise,
) -> Tables:
    """The tables of these cases. `radio` gives the powers; bandwidths are the nominal ones."""
    rows = cases.cluster
    pace = nominal_pace(fleet, radio, cases)
    m = cases.micro_batches.astype(float)
    u = work.batch_size / m
    one_f = cases.one_f
    price = prices.take(rows)
    steps = work.local_steps
    v = price.time * steps
    blocks = np.arange(work.blocks + 1)
    used = blocks > 0

    speed = fleet.flops_per_s[rows][:, 1:, None]
    fixed = fleet.overhead_s[rows][:, 1:, None] * used
    forward = fixed + blocks * u[:, None, None] * work.block.forward_flops / speed
    backward = fixed + blocks * u[:, None, None] * work.block.backward_flops / speed
    optimizer = fixed + blocks * work.step_flops(work.block.parameter_bytes) / speed
    both = forward + backward
    beat = np.stack(
        [
            np.where(one_f[:, None, None], both, forward),
            np.where(one_f[:, None, None], 0, backward),
        ],
        1,
    )

    active = fleet.active_power_w[rows]
    energy = price.energy
    device = v[:, None, None] * both
    watts = (energy * active)[:, 1:, None]
    device = device + watts * steps * (m[:, None, None] * both + optimizer)

    those = fleet.take(rows)
    d2d, power = those.links.sidelink, radio.sidelink.power_w[rows]
    sent = (energy * those.tx_ratio)[:, :, None] * power
    air = d2d.duty * (sent + heard(those, energy, price.listening, power))
    size = blocks * work.block.parameter_bytes * d2d.bulk[:, None, None]
    out_pace, back_pace = pace[:, 0, 1:, None], pace[:, 1:, 0, None]
    out, back = size * np.where(used, out_pace, 0.0), size * np.where(used, back_pace, 0.0)
    device = device + _charged(air[:, 0, 1:, None], out) + _charged(air[:, 1:, 0, None], back)
    if d2d.shared:
        device = device + price.time[:, None, None] * (out + back)
        star = np.zeros((len(rows), 2, *out.shape[1:]))
    else:
        latency = d2d.latency
        star = np.stack(
            [out + latency[:, 0, 1:, None] * used, back + latency[:, 1:, 0, None] * used], 1
        )

    there = u[:, None, None] * work.activation_bytes * pace
    home = (u[:, None, None] * work.gradient_bytes * pace).swapaxes(1, 2)
    latency, rest_s = d2d.latency + d2d.latency.swapaxes(1, 2), d2d.slot_s / 2
    signal = noise.divergence(work.batch_size, m, np.ones(len(m))) - 1
    distorted = (price.divergence * signal)[:, None, None]
    hop = (
        v[:, None, None] * (there + home + latency)
        + steps
        * m[:, None, None]
        * (_charged(air, there + rest_s) + _charged(air.swapaxes(1, 2), home + rest_s))
        + distorted * (d2d.epsilon + d2d.epsilon.swapaxes(1, 2))
    )
    together = there + home if d2d.shared or d2d.half_duplex else np.maximum(there, home)
    path = np.stack(
        [np.where(one_f[:, None, None], together, there), np.where(one_f[:, None, None], 0, home)],
        1,
    )
    links = fleet.links
    floor, fill = _ends(fleet, work, radio, cases, loads)
    control = (fleet.overhead_s[rows][:, 0]) * (2 * m + 1)
    constant = (
        v * fill
        + (energy * active)[:, 0] * steps * control
        + price.divergence
        + price.divergence * signal * (links.uplink.epsilon[rows] + links.downlink.epsilon[rows])
    )
    weight = np.stack([v * (m - 1), np.where(one_f, 0, v * (m - 1))], -1)
    # A beat without weight costs nothing, even where it takes for ever.
    counts = weight > 0
    path = np.where(counts[..., None, None] | np.isfinite(path), path, 0.0)
    floor = np.where(counts | np.isfinite(floor), floor, 0.0)
    return Tables(
        constant=constant,
        device=device,
        beat=beat,
        star=star,
        hop=hop,
        path=path,
        floor=floor,
        weight=weight,
        time=price.time,
        room=rooms(fleet, work, cases),
        scale=_scale(fleet, radio, cases, pace),
        micro_batches=m,
        one_f=one_f,
        shared=d2d.shared,
        half_duplex=d2d.half_duplex,
    )


def _ends(
    fleet: Fleet, work: Workload, radio: RadioSetting, cases: Cases, loads: Loads
) -> tuple[Array, Array]:
    """What control unit, base station and the hops between them add: beats (R, 2) and fill (R,)."""
    rows = cases.cluster
    m = cases.micro_batches.astype(float)
    u = work.batch_size / m
    links = fleet.links
    up = u * work.activation_bytes * links.uplink.seconds_per_byte(radio.uplink)[rows]
    down = u * work.gradient_bytes * links.downlink.seconds_per_byte(radio.downlink)[rows]
    flops = np.stack([u * work.decoder.forward_flops, u * work.decoder.backward_flops], -1)
    decoder = fleet.server_overhead_s + flops / fleet.server_flops_per_s
    embedding = np.array([work.embedding.forward_flops, work.embedding.backward_flops])
    speed = fleet.flops_per_s[rows][:, :1]
    control = fleet.overhead_s[rows][:, :1] + u[:, None] * embedding / speed
    asked = loads.floor()[:, rows].T / m[:, None]
    edge = np.stack([up, down], -1)
    gpipe = np.maximum.reduce([decoder, control, edge, asked])
    computed = np.maximum(decoder.sum(-1), control.sum(-1))
    one_f = np.maximum.reduce([computed, up, down, asked.sum(-1)])
    floor = np.where(cases.one_f[:, None], np.stack([one_f, 0 * one_f], -1), gpipe)
    latency = (fleet.links.uplink.latency + fleet.links.downlink.latency)[rows]
    return floor, (control + decoder + edge).sum(-1) + latency


def rooms(fleet: Fleet, work: Workload, cases: Cases) -> Array:
    """Micro-batches that a device has memory to keep beside 0 … N blocks in training, (R, K, N+1).

    Negative where not even the blocks fit. What a device has must do for the longest batches, its
    fair part for usual ones too.
    """
    memory = fleet.memory_bytes[cases.cluster][:, 1:, None]
    fair, usual = fleet.fair_bytes[cases.cluster][:, None, None], work.block.activation_bytes
    blocks = np.arange(work.blocks + 1)
    sequences = (work.batch_size // cases.micro_batches)[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        longest = (memory / blocks - work.held_bytes) / (work.saved_bytes * sequences)
        room = np.floor(
            np.minimum(longest, (fair / blocks - work.held_bytes) / (usual * sequences)) + 1e-9
        )
    return np.where(blocks > 0, room, np.inf)
