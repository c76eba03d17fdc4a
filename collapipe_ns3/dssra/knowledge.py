"""What was learned from executed rounds: how fast nodes really are and what a transfer takes.

A transfer's time is a latency, and a hold of α times its time on the air: α has the access to the
channel, acknowledgements and retransmissions in it. Both are fitted to busy periods. A busy period
of a link, or of a shared medium with all its links, lasts from when something is asked of it until
nothing is, so that transfers which queue behind or slow down each other are counted once:

  duration ≈ latency + α·Σ airtime    (non-negative least squares of the relative errors)

Airtime counts by the part of the medium's band that was used, where links divide a band by turns.

What a second of airtime carries is put down as η = bits / (airtime·b·log2(1 + SINR)) of the
bandwidth and SINR that the transfer had, so that a plan can ask for another power or bandwidth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from scipy.optimize import nnls

from collapipe_ns3.devices import DeviceProfile
from collapipe_ns3.schemes import Computed, Medium, Outcome, Sent

#: A directed link by its ends' names.
Pair = tuple[str, str]

_LEAST_OVERHEAD = 1.0  # a transfer holds its link for its time on the air at least


@dataclass(frozen=True, slots=True)
class Service:
    """What a transfer takes beyond its airtime: a latency, and a factor on the airtime."""

    latency_s: float = 0.0
    overhead: float = 1.0


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
        weight: float,
    ) -> Knowledge:
        """The knowledge after another round, whose figures count with `weight` in (0, 1]."""
        return Knowledge(
            speeds=_mixed(self.speeds, _speeds(outcome.computations, profiles), weight),
            efficiencies=_mixed(self.efficiencies, _efficiencies(outcome.deliveries), weight),
            services=_mixed_services(self.services, _services(outcome.deliveries, media), weight),
            losses=_mixed(self.losses, losses(outcome.deliveries), weight),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "speeds": dict(self.speeds),
            "efficiencies": [[*pair, value] for pair, value in self.efficiencies.items()],
            "services": {k: [s.latency_s, s.overhead] for k, s in self.services.items()},
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
    latencies, overheads = (
        _mixed(
            {k: getattr(s, name) for k, s in old.items()},
            {k: getattr(s, name) for k, s in new.items()},
            weight,
        )
        for name in ("latency_s", "overhead")
    )
    return {key: Service(latencies[key], overheads[key]) for key in latencies}


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


def _efficiencies(deliveries: Iterable[Sent]) -> dict[Pair, float]:
    bits: dict[Pair, float] = {}
    bound: dict[Pair, float] = {}
    for each in deliveries:
        pair = (each.src, each.dst)
        bits[pair] = bits.get(pair, 0.0) + 8 * _arrived(each)
        # What came in the tail of a frame that counted for another transfer has no airtime.
        if each.sinr > 0 and each.bandwidth_hz > 0:
            capacity = each.airtime_s * each.bandwidth_hz * math.log2(1 + each.sinr)
            bound[pair] = bound.get(pair, 0.0) + capacity
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


def _services(deliveries: Iterable[Sent], media: Sequence[Medium]) -> dict[str, Service]:
    of_pair = {pair: medium for medium in media for pair in medium.links}
    by_queue: dict[tuple[str, Pair | None], list[Sent]] = {}
    for each in deliveries:
        if each.outcome == "delivered":
            pair = (each.src, each.dst)
            medium = of_pair.get(pair)
            name = medium.name if medium else link_name(*pair)
            shared = medium is not None and medium.shared
            by_queue.setdefault((name, None if shared else pair), []).append(each)
    bands = {medium.name: medium.bandwidth_hz for medium in media if medium.shared}
    periods: dict[str, list[tuple[float, float]]] = {}
    for (name, _), transfers in by_queue.items():
        periods.setdefault(name, []).extend(_busy_periods(transfers, bands.get(name)))
    return {name: fitted for name, found in periods.items() if (fitted := _fit(found))}


def _busy_periods(transfers: list[Sent], band_hz: float | None) -> list[tuple[float, float]]:
    """(seconds, seconds on the air) of each stretch in which something was under way."""
    periods: list[tuple[float, float]] = []
    began_ns = ends_ns = -1
    airtime_s = 0.0
    for each in sorted(transfers, key=lambda t: t.start_ns):
        if each.start_ns >= ends_ns:
            if ends_ns >= 0:
                periods.append(((ends_ns - began_ns) / 1e9, airtime_s))
            began_ns, ends_ns, airtime_s = each.start_ns, each.end_ns, 0.0
        ends_ns = max(ends_ns, each.end_ns)
        if each.airtime_s > 0:
            airtime_s += each.airtime_s * (each.bandwidth_hz / band_hz if band_hz else 1.0)
    return [*periods, ((ends_ns - began_ns) / 1e9, airtime_s)]


def _fit(periods: Sequence[tuple[float, float]]) -> Service | None:
    """Latency and α from busy periods that did take airtime."""
    found = np.array([(s, air) for s, air in periods if s > 0 and air > 0])
    if not len(found):
        return None
    seconds, air = found.T
    columns = np.stack([1 / seconds, air / seconds], -1)
    (latency_s, overhead), _ = nnls(columns, np.ones(len(found)))
    if overhead < _LEAST_OVERHEAD:
        # All periods alike, or too short for airtime to show: no more than what is left is latency.
        latency_s = float(np.maximum(1 - air / seconds, 0) @ (1 / seconds) / np.sum(seconds**-2.0))
        overhead = _LEAST_OVERHEAD
    return Service(float(latency_s), float(overhead))
