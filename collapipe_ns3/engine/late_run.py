"""Sends in a round what is missing of late work of earlier rounds, and finds what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bridge.loop import TaskGroup, simulated_loop
from bridge.network import Delivery
from bridge.payload import length
from collapipe_ns3.engine.exchange_run import ExchangeRun
from collapipe_ns3.engine.late_work import LateWork, RestOfLeg
from collapipe_ns3.engine.pipeline_step import first_of
from collapipe_ns3.engine.presence import NodeLost
from collapipe_ns3.engine.site import Site, TransferFailed
from collapipe_ns3.exchange import Arrival, Leg, PipelineId
from collapipe_ns3.outcome import TransferLabel
from collapipe_ns3.phases import Phase


def rest_of(
    exchange: ExchangeRun, pipeline: PipelineId, deliveries: Sequence[Delivery]
) -> tuple[RestOfLeg, ...]:
    """What is missing of a pipeline's legs, by how the transfers of a round have ended."""
    latest = {
        each.kind.leg: each
        for each in deliveries
        if isinstance(each.kind, TransferLabel)
        and (each.kind.work.cluster, each.kind.work.pipeline) == (pipeline.cluster, pipeline.index)
    }
    missing: dict[Arrival, int] = {}
    for arrival in exchange.legs.arrivals[pipeline]:
        size = _missing(exchange.legs.all[arrival.leg], latest.get(arrival.leg))
        if size and not exchange.has_arrived(arrival):
            missing[arrival] = size
    places = {arrival: place for place, arrival in enumerate(missing)}
    return tuple(
        RestOfLeg(
            exchange.legs.all[arrival.leg].src,
            arrival.node,
            size,
            exchange.legs.all[arrival.leg].phase,
            tuple(places[each] for each in _awaited(exchange.legs.all[arrival.leg], places)),
        )
        for arrival, size in missing.items()
    )


def _awaited(leg: Leg, places: Mapping[Arrival, int]) -> Iterable[Arrival]:
    return (each for each in leg.after if isinstance(each, Arrival) and each in places)


def _missing(leg: Leg, latest: Delivery | None) -> int:
    """The bytes of a leg that have not arrived, given its latest transfer."""
    if latest is None:
        return leg.size_bytes
    if latest.outcome in ("lost", "refused"):  # all of it would have been sent again
        return latest.size_bytes
    return length(latest.lost)


@dataclass(slots=True)
class LateRun:
    """Sends in a round what is missing of late work; `has_arrived`, or there is a `failure`."""

    work: LateWork
    has_arrived: bool = False
    end_ns: int = 0
    failure: str = ""
    rest: tuple[RestOfLeg, ...] = ()

    async def run(self, site: Site, group: TaskGroup) -> None:
        """Sends until all has arrived, a transfer has failed for good, or a node has left.

        If it is cancelled, `rest` is what is missing then.
        """
        exchange = ExchangeRun(site, self.work.legs(), group)
        first = len(site.network.deliveries)
        try:
            async with TaskGroup() as outer:
                watch = outer.create_task(self._watch(site, exchange))
                async with TaskGroup() as own:
                    exchange.begin(self.work.id, own)
                watch.cancel()
            self.has_arrived = True
        except* (TransferFailed, NodeLost) as failures:
            self.failure = str(first_of(failures))
        finally:
            self.rest = rest_of(exchange, self.work.id, site.network.deliveries[first:])
            exchange.close(self.work.id)
            self.end_ns = simulated_loop().now_ns()

    async def _watch(self, site: Site, exchange: ExchangeRun) -> None:
        """Raises `NodeLost` when a node is away that has still to send or to receive something."""
        nodes = sorted(exchange.nodes(self.work.id))
        changes = bool(site.presence)
        while changes:
            for node in site.presence.away(nodes):
                if exchange.uses(self.work.id, node):
                    exchange.fails(self.work.id)
                    raise site.presence.lost(node, Phase.UPLOAD)
            changes = await site.presence.changes(nodes)
