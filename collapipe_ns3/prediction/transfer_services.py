"""What transfers take beyond their time on the air, learned by replaying measured transfers.

A transfer holds its link for α times its airtime, for access to the channel and TCP, and arrives a
latency later, after retransmissions and acknowledgements. To learn both, the transfers of a round
are put through the event graph of their medium, each requested when it really was, and a multicast
once for all of its receivers. A link's latency is by how much its transfers really ended later than
in the event graph, on average. α is the value for which the rest of the difference varies least. It
changes by a quarter per round at most, and only where that explains clearly more: rounds differ by
chance, and chance must not change a plan.

Parameters, which come in bulk, have an α of their own. All transfers that wait for each other are
in the graph, also those of the other kind.
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
_MOST_REPLAYED = 300  # transfers of the kind that is learned on each medium
_MOST_BESIDE = 1_000  # other transfers at the same time


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
        replay = _Replay(sent, False, medium, granted)
        overhead, late = replay.best(known.overhead, _STEPS, known.bulk)
        latencies |= late
        replay = _Replay(sent, True, medium, granted, late)
        bulk_overhead, _ = replay.best(known.bulk, _BULK_STEPS, overhead)
        latency_s = float(np.mean(list(late.values()))) if late else known.latency_s
        services[name] = Service(latency_s, overhead, bulk_overhead)
    return services, latencies


def link_name(src: str, dst: str) -> str:
    """The name of a link without a medium among the services."""
    return f"{src} → {dst}"


def _replayed(sent: Sequence[Transmission], bulk: bool) -> list[tuple[Transmission, bool]]:
    """The first transmissions of one kind and all others on the medium meanwhile, by their starts.

    With each comes whether it is learned from. Where there are too many others, those that ended
    when some were on the medium that are not among them are not learned from.
    """
    first = [place for place, each in enumerate(sent) if _is_bulk(each) == bulk][:_MOST_REPLAYED]
    if not first:
        return []
    start_ns, end_ns = sent[first[0]].start_ns, max(sent[place].end_ns for place in first)
    chosen = set(first)
    beside = [
        place
        for place, each in enumerate(sent)
        if place not in chosen and each.start_ns < end_ns and start_ns < each.end_ns
    ]
    if len(beside) > _MOST_BESIDE:
        end_ns = sent[beside[_MOST_BESIDE]].start_ns
    replayed = sorted([*first, *beside[:_MOST_BESIDE]])
    return [(sent[each], each in chosen and sent[each].end_ns <= end_ns) for each in replayed]


def _is_bulk(sent: Transmission) -> bool:
    return sent.kind in BULK


class _Replay:
    """Transmissions over one medium, put through its event graph to learn of one kind of them.

    These are those in `bulk`, or the others. With `latencies_s` the links' latencies are these;
    without, they are learned as well.
    """

    def __init__(
        self,
        sent: Sequence[Transmission],
        bulk: bool,
        medium: Medium | None,
        granted: Container[Pair],
        latencies_s: Mapping[Pair, float] | None = None,
    ) -> None:
        replayed = _replayed(sent, bulk)
        self.sent = [each for each, _ in replayed]
        self.learned = [learned for _, learned in replayed]
        self.bulk, self.latencies_s = bulk, latencies_s
        grants: dict[Pair, float | None] = {}
        for each in self.sent:
            hz = each.bandwidth_hz if each.way in granted else None
            grants[each.way] = max(hz, grants.get(each.way) or 0.0) if hz else None
        band = Band.of(medium) if medium else None
        self.claims = {
            each.way: transfer_claims(each.src, each.receivers, band, grants[each.way])
            for each in self.sent
        }
        # Where transfers hold the band, airtime counts by the part of it that they used.
        band_hz = medium.bandwidth_hz if medium else 0.0
        self.air_ns = np.array(
            [
                each.airtime_s
                * 1e9
                * (each.bandwidth_hz / band_hz if self.claims[each.way].of_band else 1.0)
                for each in self.sent
            ]
        )

    def best(
        self, overhead: float, steps: Sequence[float], other: float
    ) -> tuple[float, dict[Pair, float]]:
        """α after this round, from α before it, and the mean latency of each link in seconds.

        `other` is the α of transmissions of the other kind.
        """
        if not any(self.learned):
            return overhead, {}
        error, late = self.error(overhead, other)
        best = overhead, late
        for step in steps:
            tried = min(max(overhead * step, 1.0), _MOST_OVERHEAD)
            smaller, late = self.error(tried, other)
            if smaller < _GAIN * error:
                error, best = smaller, (tried, late)
        return best

    def error(self, overhead: float, other: float) -> tuple[float, dict[Pair, float]]:
        """The sum of the squared differences that this α leaves unexplained, in s².

        And by how much the transfers of each link were late on average, in seconds.
        """
        origin_ns = self.sent[0].start_ns // 10**9 * 10**9  # slots keep their places
        graph = EventGraph()
        arrivals: list[tuple[int, Delivery]] = []
        for each, learned, air_ns in zip(self.sent, self.learned, self.air_ns, strict=True):
            requested = graph.add(latency_ns=each.start_ns - origin_ns)
            claimed = self.claims[each.way]
            task = graph.add(
                [requested],
                hold_ns=round((overhead if _is_bulk(each) == self.bulk else other) * air_ns),
                claims=claimed.claims,
                transfer=True,
                lane=claimed.lane,
            )
            if learned:
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
