"""What was learned from executed rounds: how fast nodes really are and what a transfer takes.

A transfer holds its link for α times its time on the air and has arrived a latency L after that:
α has the access to the channel, acknowledgements and retransmissions in it. Transfers of a link
queue, and those of all links of a shared medium take turns, so that of the i-th to end

  end_i ≈ L + max(start_i, end_(i-1) - L) + α·airtime_i,

and L and α are those of the least squares of the errors, weighted by how long each transfer took:
errors are taken to add up as a random walk's do. Airtime counts by the part of the medium's band
that was used, where links divide it.

What a second of airtime carries is put down as η = bits / (airtime·b·log2(1 + p·g/(b·n))), with the
transfers' own bandwidth and power, and gain and interference as the link's state has them: those
that the next plan is made from, so that at the same power and bandwidth it expects the same rate.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize_scalar

from collapipe_ns3.devices import DeviceProfile
from collapipe_ns3.dssra.delay import Array
from collapipe_ns3.schemes import Computed, MeasuredLink, Medium, Outcome, Sent

#: A directed link by its ends' names.
Pair = tuple[str, str]

_LATENCIES = 60  # tried before the best is refined
_MOST_OVERHEAD = 8.0  # more is chance, or something else that the link waited for

_BULK_WEIGHT = 1e-4

#: What comes in bulk, by the engine's names.
_BULK = ("model", "parameters")


@dataclass(frozen=True, slots=True)
class Service:
    """What a transfer takes beyond its airtime: a latency, and a factor on the airtime.

    `bulk` is by how much that factor is larger for parameters, which come seldom and in bulk: TCP
    then has its window still to open.
    """

    latency_s: float = 0.0
    overhead: float = 1.0
    bulk: float = 1.0


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Measured figures, each an exponentially weighted mean over rounds.

    `speeds` are FLOP/s by node, `efficiencies` η by link, `services` by medium, or by link where a
    link is in no medium, `losses` shares of bytes by link.
    """

    speeds: Mapping[str, float] = field(default_factory=dict)
    efficiencies: Mapping[Pair, float] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    losses: Mapping[Pair, float] = field(default_factory=dict)

    def after(
        self,
        outcome: Outcome,
        profiles: Mapping[str, DeviceProfile],
        media: Sequence[Medium],
        granted: Container[Pair],
        weight: float,
    ) -> Knowledge:
        """The knowledge after another round, whose figures count with `weight` in (0, 1].

        `granted` are the links that had a bandwidth of their own.
        """
        # Probes are short, and reference signals carry nothing: they say nothing of transfers.
        carried = [each for each in outcome.deliveries if each.kind != "sounding"]
        efficiencies = _efficiencies(carried, outcome.links)
        services = _services(carried, media, granted)
        return Knowledge(
            speeds=_mixed(self.speeds, _speeds(outcome.computations, profiles), weight),
            efficiencies=_mixed(self.efficiencies, efficiencies, weight),
            services=_mixed_services(self.services, services, weight),
            losses=_mixed(self.losses, losses(carried), weight),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "speeds": dict(self.speeds),
            "efficiencies": [[*pair, value] for pair, value in self.efficiencies.items()],
            "services": {k: [s.latency_s, s.overhead, s.bulk] for k, s in self.services.items()},
            "losses": [[*pair, value] for pair, value in self.losses.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            speeds=dict(data["speeds"]),
            efficiencies={(src, dst): value for src, dst, value in data["efficiencies"]},
            services={key: Service(*values) for key, values in data["services"].items()},
            losses={(src, dst): value for src, dst, value in data["losses"]},
        )


def link_name(src: str, dst: str) -> str:
    """What a link without a medium is called among the services."""
    return f"{src} → {dst}"


def _mixed(old: Mapping[Any, float], new: Mapping[Any, float], weight: float) -> dict[Any, float]:
    return {**old, **{k: weight * v + (1 - weight) * old.get(k, v) for k, v in new.items()}}


def _mixed_services(
    old: Mapping[str, Service], new: Mapping[str, Service], weight: float
) -> dict[str, Service]:
    latencies, overheads, bulks = (
        _mixed(
            {k: getattr(s, name) for k, s in old.items()},
            {k: getattr(s, name) for k, s in new.items()},
            weight,
        )
        for name in ("latency_s", "overhead", "bulk")
    )
    return {key: Service(latencies[key], overheads[key], bulks[key]) for key in latencies}


def _speeds(
    computations: Iterable[Computed], profiles: Mapping[str, DeviceProfile]
) -> dict[str, float]:
    """FLOPs over the time they took beyond each computation's fixed cost."""
    flops: dict[str, float] = {}
    busy_s: dict[str, float] = {}
    for done in computations:
        spent_s = (done.end_ns - done.start_ns) / 1e9 - profiles[done.node].overhead_s
        if done.flops > 0 and spent_s > 0:
            flops[done.node] = flops.get(done.node, 0.0) + done.flops
            busy_s[done.node] = busy_s.get(done.node, 0.0) + spent_s
    return {node: flops[node] / busy_s[node] for node in flops}


def _efficiencies(deliveries: Iterable[Sent], links: Iterable[MeasuredLink]) -> dict[Pair, float]:
    state = {(link.src, link.dst): link for link in links}
    bits: dict[Pair, float] = {}
    bound: dict[Pair, float] = {}
    for each in deliveries:
        pair = (each.src, each.dst)
        link = state.get(pair)
        if link is None or not (link.gain > 0 and link.interference_w_hz > 0):
            continue
        bits[pair] = bits.get(pair, 0.0) + 8 * _arrived(each)
        # What was cut while it queued has no airtime.
        if each.airtime_s > 0 and each.bandwidth_hz > 0:
            snr = each.tx_power_w * link.gain / link.interference_w_hz
            density = math.log2(1 + snr / each.bandwidth_hz)
            carried = each.airtime_s * each.bandwidth_hz * density
            bound[pair] = bound.get(pair, 0.0) + carried
    return {pair: bits[pair] / bound[pair] for pair in bound if bits[pair] and bound[pair]}


def losses(deliveries: Iterable[Sent]) -> dict[Pair, float]:
    """The share of bytes that did not arrive, by link."""
    sent: dict[Pair, int] = {}
    arrived: dict[Pair, int] = {}
    for each in deliveries:
        if each.outcome != "cut":
            pair = (each.src, each.dst)
            sent[pair] = sent.get(pair, 0) + each.size_bytes
            arrived[pair] = arrived.get(pair, 0) + _arrived(each)
    return {pair: 1 - arrived[pair] / sent[pair] for pair in sent}


def _arrived(each: Sent) -> int:
    return each.size_bytes - sum(end - start for start, end in each.lost)


def _services(
    deliveries: Iterable[Sent], media: Sequence[Medium], granted: Container[Pair]
) -> dict[str, Service]:
    of_pair = {pair: medium for medium in media for pair in medium.links}
    by_queue: dict[tuple[str, Pair | None], list[Sent]] = {}
    for each in deliveries:
        if each.outcome == "delivered":
            pair = (each.src, each.dst)
            medium = of_pair.get(pair)
            name = medium.name if medium else link_name(*pair)
            shared = medium is not None and (
                medium.shared or (medium.grants and pair not in granted)
            )
            by_queue.setdefault((name, None if shared else pair), []).append(each)
    bands = {medium.name: medium.bandwidth_hz for medium in media}
    seen: dict[str, list[Array]] = {}
    for (name, link), transfers in by_queue.items():
        band_hz = bands.get(name) if link is None else None
        seen.setdefault(name, []).append(_turns(transfers, band_hz))
    return {
        name: fitted
        for name, turns in seen.items()
        if (fitted := _fit(np.concatenate(turns))) is not None
    }


def _turns(transfers: list[Sent], band_hz: float | None) -> Array:
    """Rows of (seconds from start to end, seconds since the one before ended, airtime, bulk?)."""
    rows = []
    before_ns = -math.inf
    for each in sorted(transfers, key=lambda t: t.end_ns):
        part = each.bandwidth_hz / band_hz if band_hz else 1.0
        airtime_s = each.airtime_s * part if each.airtime_s > 0 else 0.0
        took_s = (each.end_ns - each.start_ns) / 1e9
        since_s = (each.end_ns - before_ns) / 1e9
        rows.append((took_s, since_s, airtime_s, float(each.kind in _BULK)))
        before_ns = each.end_ns
    return np.array(rows)


def _fit(turns: Array) -> Service | None:
    """Latency, α, and how much larger α is in bulk.

    What comes in bulk counts for little in the first two: where all else is of one size, latency
    and α can't be told apart, and it decides.
    """
    took, since, air, bulk = turns[turns[:, 0] > 0].T
    if not air.any():
        return None
    weight = np.where(bulk > 0, _BULK_WEIGHT, 1.0) / took

    def at(latency_s: float) -> tuple[float, float]:
        """The error at this latency, and the best α for it."""
        hold = np.minimum(took - latency_s, since)
        overhead = _ratio(hold, air, weight)
        return float(np.sum(weight * (hold - overhead * air) ** 2)), overhead

    tried = np.linspace(0, np.median(took), _LATENCIES)
    best = int(np.argmin([at(latency_s)[0] for latency_s in tried]))
    around = tried[max(best - 1, 0)], tried[min(best + 1, _LATENCIES - 1)]
    options = {"xatol": 1e-9}
    found = minimize_scalar(lambda s: at(s)[0], bounds=around, method="bounded", options=options)
    latency_s = float(found.x)
    overhead = at(latency_s)[1]
    heavy = weight * (bulk > 0)
    if not (heavy * air).any():
        return Service(latency_s, overhead)
    hold = np.minimum(took - latency_s, since)
    return Service(latency_s, overhead, _ratio(hold, air, heavy) / overhead)


def _ratio(hold: Array, air: Array, weight: Array) -> float:
    """α: seconds held for a second on the air, 1 to `_MOST_OVERHEAD`."""
    ratio = float(np.sum(weight * hold * air) / np.sum(weight * air**2))
    return min(max(ratio, 1.0), _MOST_OVERHEAD)
