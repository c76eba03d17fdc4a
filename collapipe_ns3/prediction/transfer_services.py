"""What transfers take beyond their time on the air, learned by replaying measured transfers.

A transfer holds its link for α times its airtime, for access to the channel and TCP, and arrives a
latency later, after retransmissions and acknowledgements. To learn both, the transfers of a round
are put through the event graph of their medium, each requested when it really was, and a multicast
once for all of its receivers. A link's latency is by how much its transfers really ended later than
in the event graph, on average. α is the value for which the rest of the difference varies least. It
changes by a quarter per round at most, and only where that explains clearly more: rounds differ by
chance, and chance must not change a plan.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.network import Delivery, TransferKind
from collapipe_ns3.eventgraph.graph import EventGraph, TooManyEvents, execute
from collapipe_ns3.observed import Medium
from collapipe_ns3.prediction.directions import Pair
from collapipe_ns3.prediction.transfer_claims import Band, transfer_claims
from collapipe_ns3.prediction.transmissions import Transmission, transmissions

#: The transfers of whole models and optimizer states; all others carry single micro-batches.
BULK = (TransferKind.MODEL, TransferKind.PARAMETERS, TransferKind.STATES)

_STEPS = (0.8, 0.9, 1.1, 1.25)  # factors on α that are tried each round
_BULK_STEPS = (0.6, 0.75, 0.9, 0.95, 1.05, 1.1, 1.3, 1.6)
_GAIN = 0.95  # a change of α must reduce the error to this part
_MOST_OVERHEAD = 8.0
_MOST_REPLAYED = 300  # transfers on each medium


@dataclass(frozen=True, slots=True)
class Service:
    """What a medium's transfers take beyond their airtime: a latency, and a factor α on it.

    `bulk` is that factor for parameters, which are sent rarely and in bulk, so that TCP still has
    its window to open.
    """

    latency_s: float = 0.0
    overhead: float = 1.0
    bulk: float = 1.0


def learned_services(
    before: Mapping[str, Service],
    deliveries: Iterable[Delivery],
    media: Sequence[Medium],
    granted: Container[Pair],
) -> tuple[dict[str, Service], dict[Pair, float]]:
    """Each medium's service after a round, and each link's latency in that round in seconds.

    `granted` are the links and groups that had a bandwidth of their own. What a receiver has not
    got is left out, and so are multicasts over links in no medium, as each of these is its own.
    """
    of_pair = {pair: medium for medium in media for pair in medium.links}
    by_medium: dict[str, list[Transmission]] = {}
    for each in transmissions(deliveries):
        medium = of_pair.get((each.src, each.receivers[0]))
        used = each.arrived(whole=True) and each.airtime_s > 0
        if used and (medium or len(each.receivers) == 1):
            name = medium.name if medium else link_name(*each.way)
            by_medium.setdefault(name, []).append(each)
    services: dict[str, Service] = {}
    latencies: dict[Pair, float] = {}
    for name, sent in by_medium.items():
        medium = of_pair.get((sent[0].src, sent[0].receivers[0]))
        known = before.get(name) or (Service(0.0, medium.overhead, medium.overhead) if medium
                                     else Service())  # fmt: skip
        sent.sort(key=lambda each: each.start_ns)
        stream = [each for each in sent if each.kind not in BULK][:_MOST_REPLAYED]
        overhead, late = _Replay(stream, medium, granted).best(known.overhead, _STEPS)
        latencies |= late
        bulk = [each for each in sent if each.kind in BULK][:_MOST_REPLAYED]
        bulk_overhead, _ = _Replay(bulk, medium, granted, late).best(known.bulk, _BULK_STEPS)
        latency_s = float(np.mean(list(late.values()))) if late else known.latency_s
        services[name] = Service(latency_s, overhead, bulk_overhead)
    return services, latencies


def link_name(src: str, dst: str) -> str:
    """The name of a link without a medium among the services."""
    return f"{src} → {dst}"


class _Replay:
    """Transfers over one medium, put through its event graph.

    With `latencies_s` the links' latencies are these; without, they are learned as well.
    """

    def __init__(
        self,
        sent: Sequence[Transmission],
        medium: Medium | None,
        granted: Container[Pair],
        latencies_s: Mapping[Pair, float] | None = None,
    ) -> None:
        self.sent, self.latencies_s = sent, latencies_s
        grants: dict[Pair, float | None] = {}
        for each in sent:
            hz = each.bandwidth_hz if each.way in granted else None
            grants[each.way] = max(hz, grants.get(each.way) or 0.0) if hz else None
        band = Band.of(medium) if medium else None
        self.claims = {
            each.way: transfer_claims(each.src, each.receivers, band, grants[each.way])
            for each in sent
        }
        # Where transfers hold the band, airtime counts by the part of it that they used.
        band_hz = medium.bandwidth_hz if medium else 0.0
        self.air_ns = np.array(
            [
                each.airtime_s
                * 1e9
                * (each.bandwidth_hz / band_hz if self.claims[each.way].of_band else 1.0)
                for each in sent
            ]
        )

    def best(self, overhead: float, steps: Sequence[float]) -> tuple[float, dict[Pair, float]]:
        """α after this round, from α before it, and the mean latency of each link in seconds."""
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
        """The sum of the squared differences that this α leaves unexplained, in s².

        And by how much the transfers of each link were late on average, in seconds.
        """
        origin_ns = self.sent[0].start_ns // 10**9 * 10**9  # slots keep their places
        graph = EventGraph()
        arrivals: list[tuple[int, Delivery]] = []
        for each, air_ns in zip(self.sent, self.air_ns, strict=True):
            requested = graph.add(latency_ns=each.start_ns - origin_ns)
            claimed = self.claims[each.way]
            task = graph.add(
                [requested],
                hold_ns=round(overhead * air_ns),
                claims=claimed.claims,
                transfer=True,
                lane=claimed.lane,
            )
            arrivals += [(task, delivery) for delivery in each.deliveries]
        try:
            ends = execute(graph).end_ns
        except TooManyEvents:
            return math.inf, {}  # such an α explains nothing
        rest: dict[Pair, list[float]] = {}
        for task, delivery in arrivals:
            late_s = (delivery.end_ns - origin_ns - ends[task]) / 1e9
            rest.setdefault((delivery.src, delivery.dst), []).append(late_s)
        late = {pair: max(float(np.mean(each)), 0.0) for pair, each in rest.items()}
        known = late if self.latencies_s is None else self.latencies_s
        total = sum(
            float(np.sum((np.array(each) - known.get(pair, 0.0)) ** 2))
            for pair, each in rest.items()
        )
        return total, late
