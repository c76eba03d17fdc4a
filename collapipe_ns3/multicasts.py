"""Whether the radios of a study can send what an exchange has for several receivers at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.network import Multicast, Network
from collapipe_ns3.exchange import Exchange, Problem, Shipment
from collapipe_ns3.observed import Medium


def media_problems(exchange: Exchange | None, media: Sequence[Medium]) -> Iterator[Problem]:
    """Shipments to several receivers that no single transmission over these media can reach.

    Links in none of the media are those of a network of the user's own: whether it can multicast is
    known once it is built, see `network_problems`.
    """
    medium_of = {pair: medium for medium in media for pair in medium.links}
    for shipment in _multicasts(exchange):
        used = [medium_of.get((shipment.src, node)) for node in shipment.receivers]
        known = {medium.name: medium for medium in used if medium is not None}
        where = f"shipment {shipment.name}"
        if unable := [medium for medium in known.values() if not medium.multicast]:
            stacks = " and ".join(dict.fromkeys(medium.stack or medium.name for medium in unable))
            what = f"{stacks} can't send to {len(shipment.receivers)} receivers at once as it is"
            yield where, f"{what} set up here; OFDMA with transport: direct can"
        elif len(known) + (None in used) > 1:
            cells = " and ".join(sorted(known))
            what = f"its receivers are in different cells, {cells}, and one transmission is in one"
            yield where, f"{what}: expected a shipment for each cell"


def network_problems(exchange: Exchange | None, network: Network) -> Iterator[Problem]:
    """Shipments to several receivers, where the network has no call for them."""
    if isinstance(network, Multicast):
        return
    for shipment in _multicasts(exchange):
        what = "the network can't send to several receivers at once, as it has no method multicast"
        yield f"shipment {shipment.name}", f"{what} (see bridge.network.Multicast)"


def _multicasts(exchange: Exchange | None) -> Iterator[Shipment]:
    shipments = () if exchange is None else exchange.shipments
    return (shipment for shipment in shipments if len(shipment.receivers) > 1)
