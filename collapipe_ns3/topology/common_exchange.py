"""The exchange that a study gives to every scheme, as an arrangement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bridge.formats import ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, automatic_chunk_bytes
from collapipe_ns3.config.study import CommonExchange
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.exchange import MOST_LEGS, Blocks, Units
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Medium


def common_arrangement(
    exchange: CommonExchange,
    devices: Sequence[Sequence[str]],
    media: Sequence[Medium],
    model: ModelCosts,
) -> Arrangement:
    """The arrangement of all clusters for this model; `devices` lists the devices of each.

    Clusters with a downlink in common are a group where it can multicast, and other clusters are
    one each: even without multicast, a control unit receives what several of its pipelines need
    once. No group waits for another, as with several stations they have bands of their own. Within
    a cluster control units send multicasts where the sidelinks can.

    Nothing is known of the links of a user's own network, which are in none of the media. Its
    clusters are one group where the study asks for multicast, and otherwise one each.
    """
    medium_of = {pair: medium for medium in media for pair in medium.links}
    groups: dict[str, list[int]] = {}
    within: list[int] = []
    for cluster, members in enumerate(devices):
        control = control_unit(cluster)
        down = medium_of.get((SERVER, control))
        alone = f"cluster {cluster} alone"
        name = "" if down is None else down.name
        groups.setdefault(name if _multicasts(exchange, down) else alone, []).append(cluster)
        if all(_multicasts(exchange, medium_of.get((control, device))) for device in members):
            within.append(cluster)
    down_format, up_format = exchange.down.of_parameters(), exchange.up.of_parameters()
    made = Arrangement(
        groups=tuple(Group(tuple(clusters), down_format) for clusters in groups.values()),
        within=tuple(within),
        uploads=dict.fromkeys(range(len(devices)), up_format),
        chunk_bytes=int(exchange.chunk_bytes) if isinstance(exchange.chunk_bytes, float) else None,
        in_turn=False,
    )
    if exchange.chunk_bytes != "auto":
        return made
    size = automatic_chunk_bytes(_sent_bytes(model, down_format))
    return replace(made, chunk_bytes=max(size, _least_chunk_bytes(made, devices, model)))


def _sent_bytes(model: ModelCosts, format: ParameterFormat) -> int:
    """What the base station sends of the model: all except the last part, which it keeps."""
    units = Units(embedding=True, blocks=(Blocks(0, model.encoder_blocks - 1),))
    return model.units_bytes(units, format)


def _least_chunk_bytes(
    arrangement: Arrangement, devices: Sequence[Sequence[str]], model: ModelCosts
) -> int:
    """The size from which on no plan has more than `MOST_LEGS` transfers, in fp32 as they count.

    There are the most where every device has the whole model, in a pipeline of its own. Then the
    whole model is sent once to each group, once to all devices of a cluster or to each of them, and
    over two hops from each device to the base station. Each of these shipments can end with a chunk
    that is not full.
    """
    shipments = len(arrangement.groups)
    for cluster, members in enumerate(devices):
        shipments += (1 if cluster in arrangement.within else len(members)) + 2 * len(members)
    most = len(arrangement.groups) + 3 * sum(map(len, devices))  # with several stages, too
    return -(-shipments * model.sent * model.parameter_bytes // max(MOST_LEGS - most, 1))


def _multicasts(exchange: CommonExchange, medium: Medium | None) -> bool:
    """Whether what is sent to several receivers over this medium is one transmission."""
    if medium is None:
        return exchange.multicast is True
    return exchange.multicast is not False and medium.multicast


def multicast_problems(
    exchange: CommonExchange, media: Sequence[Medium]
) -> Iterator[tuple[str, str]]:
    """The tiers of the study's radios, and why they can't multicast although the study says so."""
    if exchange.multicast is not True:
        return
    for tier, used in (
        ("d2e", [each for each in media if any(src == SERVER for src, _ in each.links)]),
        ("d2d", [each for each in media if not any(SERVER in pair for pair in each.links)]),
    ):
        if unable := [medium.stack for medium in used if not medium.multicast]:
            what = f"{unable[0]} can't send to several receivers at once as it is set up here"
            yield tier, f"{what}; OFDMA with transport: direct can"
