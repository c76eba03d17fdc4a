"""What a transfer claims of its radio in the event graph: a lane, a turn, or its own link."""

from __future__ import annotations

from dataclasses import dataclass

from collapipe_ns3.eventgraph.graph import Claim, Hold
from collapipe_ns3.eventgraph.slots import Lane
from collapipe_ns3.observed import Medium


@dataclass(frozen=True, slots=True)
class Band:
    """How links use the band of a medium; see `collapipe_ns3.observed.Medium` for the terms."""

    name: str
    bandwidth_hz: float
    grants: bool
    shared: bool
    half_duplex: bool
    slot_s: float

    @classmethod
    def of(cls, medium: Medium) -> Band:
        """The band of a medium."""
        return cls(
            name=medium.name,
            bandwidth_hz=medium.bandwidth_hz,
            grants=medium.grants,
            shared=medium.shared,
            half_duplex=medium.half_duplex,
            slot_s=medium.slot_s,
        )


@dataclass(frozen=True, slots=True)
class TransferClaims:
    """What a link's transfers claim: resources, or a lane of the slotted band of this name."""

    claims: tuple[Claim, ...]
    lane: tuple[str, Lane] | None = None

    @property
    def of_band(self) -> bool:
        """Whether transfers hold the band of the medium, and not their link alone."""
        return self.lane is not None or any(how is Hold.EVENLY for _, how in self.claims)


def transfer_claims(
    src: str,
    receivers: tuple[str, ...],
    band: Band | None,
    granted_hz: float | None,
    spread: float = 0.0,
) -> TransferClaims:
    """What a transfer to these receivers claims; without a `band`, it uses its links alone.

    A transfer to several receivers is one multicast. `granted_hz` is the bandwidth that a plan has
    granted to the link, or to this group of receivers, None or 0 without a grant. `spread` is
    `collapipe_ns3.eventgraph.slots.Lane.spread` where there is no grant.
    """
    own = [((src, dst), Hold.ALONE) for dst in receivers]
    if band is None:
        return TransferClaims(tuple(own))
    if band.slot_s:
        share = granted_hz / band.bandwidth_hz if granted_hz else 0.0
        slot_ns = round(band.slot_s * 1e9)
        lane = Lane(src, receivers, slot_ns, band.half_duplex, share, 0.0 if share else spread)
        return TransferClaims((), (band.name, lane))
    if band.shared or (band.grants and not granted_hz):
        return TransferClaims((*own, (band.name, Hold.EVENLY)))
    if band.half_duplex:
        sending = (band.name, src), Hold.SENDING
        receiving = [((band.name, dst), Hold.RECEIVING) for dst in receivers]
        return TransferClaims((*own, sending, *receiving))
    return TransferClaims(tuple(own))
