"""What a transfer takes beside its time on the air, learned by replaying what was measured.

The transfers of a round are put through the event graph of their medium, each asked for when it
really was and holding α times its airtime. By how much they really ended later than there is their
links' latency (retransmissions, acknowledgements), on average; α (access to the channel, TCP) is
the one for which the rest varies least. It changes by a quarter a round at most, and only where
that explains more: rounds differ by chance, and a plan must not be left for what was chance.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.network import Delivery, TransferKind
from collapipe_ns3.eventgraph.graph import EventGraph, Hold, TooManyEvents, execute
from collapipe_ns3.observed import Medium
from collapipe_ns3.prediction.directions import Pair
from collapipe_ns3.prediction.transfer_claims import Band, transfer_claims

#: The transfers of whole models and optimizer states; all others carry single micro-batches.
BULK = (TransferKind.MODEL, TransferKind.PARAMETERS, TransferKind.STATES)

_STEPS = (0.8, 0.9, 1.1, 1.25)  # of α, tried each round
_BULK_STEPS = (0.6, 0.75, 0.9, 0.95, 1.05, 1.1, 1.3, 1.6)
_GAIN = 0.95  # of the error: what a change of α must bring
_MOST_OVERHEAD = 8.0
_MOST = 300  # transfers that are replayed a medium


@dataclass(frozen=True, slots=True)
class Service:
    """What a medium's transfers take beyond their airtime: a latency, and a factor on it.

    `bulk` is that factor for parameters, which come seldom and in bulk: TCP then has its window
    still to open.
    """

    latency_s: float = 0.0
    overhead: float = 1.0
    bulk: float = 1.0


def learned(
    before: Mapping[str, Service],
    deliveries: Iterable[Delivery],
    media: Sequence[Medium],
    granted: Container[Pair],
) -> tuple[dict[str, Service], dict[Pair, float]]:
    """Each medium's service after a round, and each link's latency in it."""
    of_pair = {pair: medium for medium in media for pair in medium.links}
    by_medium: dict[str, list[Delivery]] = {}
    for each in deliveries:
        pair = (each.src, each.dst)
        if each.outcome == "delivered" and each.airtime_s > 0:
            medium = of_pair.get(pair)
            name = medium.name if medium else link_name(*pair)
            by_medium.setdefault(name, []).append(each)
    services: dict[str, Service] = {}
    latencies: dict[Pair, float] = {}
    for name, sent in by_medium.items():
        medium = of_pair.get((sent[0].src, sent[0].dst))
        known = before.get(name) or (Service(0.0, medium.overhead, medium.overhead) if medium
                                     else Service())  # fmt: skip
        sent.sort(key=lambda each: each.start_ns)
        stream = _Replay([e for e in sent if e.kind not in BULK][:_MOST], medium, granted)
        overhead, late = stream.best(known.overhead, _STEPS)
        latencies |= late
        bulk = _Replay([e for e in sent if e.kind in BULK][:_MOST], medium, granted, late)
        latency_s = float(np.mean(list(late.values()))) if late else known.latency_s
        services[name] = Service(latency_s, overhead, bulk.best(known.bulk, _BULK_STEPS)[0])
    return services, latencies


def link_name(src: str, dst: str) -> str:
    """What a link without a medium is called among the services."""
    return f"{src} → {dst}"


class _Replay:
    """Transfers over one medium, to be gone through again. `late` fixes the links' latencies."""

    def __init__(
        self,
        sent: Sequence[Delivery],
        medium: Medium | None,
        granted: Container[Pair],
        late: Mapping[Pair, float] | None = None,
    ) -> None:
        self.sent, self.late = sent, late
        self.pairs = [(each.src, each.dst) for each in sent]
        hz = [each.bandwidth_hz if pair in granted else None
              for each, pair in zip(sent, self.pairs, strict=True)]  # fmt: skip
        grants: dict[Pair, float | None] = {}
        for pair, each in zip(self.pairs, hz, strict=True):
            grants[pair] = max(each, grants.get(pair) or 0.0) if each else None
        shared = Band.of(medium) if medium else None
        self.claims = {pair: transfer_claims(pair, shared, grants[pair]) for pair in grants}
        # Airtime counts by the part of the band that was used, where the band is what is held.
        band = medium.bandwidth_hz if medium else 0.0
        self.air_ns = np.array(
            [
                each.airtime_s * 1e9 * (each.bandwidth_hz / band if self._of_band(pair) else 1.0)
                for each, pair in zip(sent, self.pairs, strict=True)
            ]
        )

    def _of_band(self, pair: Pair) -> bool:
        found = self.claims[pair]
        return found.lane is not None or any(how is Hold.EVENLY for _, how in found.claims)

    def best(self, overhead: float, steps: Sequence[float]) -> tuple[float, dict[Pair, float]]:
        """α, from what it was before, and the mean latency of each link."""
        if not self.sent:
            return overhead, {}
        error, late = self.error(overhead)
        best = overhead, late
        for step in steps:
            tried = min(max(overhead * step, 1.0), _MOST_OVERHEAD)
            other, late = self.error(tried)
            if other < _GAIN * error:
                error, best = other, (tried, late)
        return best

    def error(self, overhead: float) -> tuple[float, dict[Pair, float]]:
        """Σ of what is left unexplained, squared, and what each link was late on average."""
        origin_ns = self.sent[0].start_ns // 10**9 * 10**9  # slots keep their places
        graph = EventGraph()
        tasks = []
        for each, pair, air_ns in zip(self.sent, self.pairs, self.air_ns, strict=True):
            asked = graph.add(latency_ns=each.start_ns - origin_ns)
            claimed = self.claims[pair]
            tasks.append(
                graph.add(
                    [asked],
                    hold_ns=round(overhead * air_ns),
                    claims=claimed.claims,
                    transfer=True,
                    lane=claimed.lane,
                )
            )
        try:
            ends = execute(graph).end_ns
        except TooManyEvents:
            return math.inf, {}  # such an α explains nothing
        rest: dict[Pair, list[float]] = {}
        for each, pair, task in zip(self.sent, self.pairs, tasks, strict=True):
            late_s = (each.end_ns - origin_ns - ends[task]) / 1e9
            rest.setdefault(pair, []).append(late_s)
        late = {pair: max(float(np.mean(each)), 0.0) for pair, each in rest.items()}
        known = late if self.late is None else self.late
        total = sum(
            float(np.sum((np.array(each) - known.get(pair, 0.0)) ** 2))
            for pair, each in rest.items()
        )
        return total, late
