"""What the radios of a scenario are to a planner: bands, who uses them, and how."""

from __future__ import annotations

from collections.abc import Iterable

from collapipe_ns3.schemes import Medium
from collapipe_ns3.stations import by_station
from ns3_scenarios.radios import lte, ofdma
from ns3_scenarios.scenario import (
    BLOCK_HZ,
    LTE_RESOURCE_BLOCKS,
    LteSpec,
    ScenarioSpec,
    WifiSpec,
    wifi_channel,
)


def media(spec: ScenarioSpec) -> tuple[Medium, ...]:
    """Every medium of a scenario: Wi-Fi's channels, LTE's two carriers, OFDMA's cells."""
    known_as = {ends: pair for pair, ends in by_station(spec).items()}
    found: list[Medium] = []
    if isinstance(spec.d2d, WifiSpec):
        found += _channels(spec, spec.d2d)
    if isinstance(spec.d2e, LteSpec):
        hertz = LTE_RESOURCE_BLOCKS[spec.d2e.bandwidth_hz] * BLOCK_HZ
        both = lte.pairs(spec)
        up = frozenset(pair for pair in both if pair[1] == spec.bs.name)
        found.append(Medium("LTE uplink", up, hertz, shared=True))
        found.append(Medium("LTE downlink", frozenset(both) - up, hertz, shared=True))
    found += (
        Medium(
            cell.name,
            frozenset(known_as.get(pair, pair) for pair in cell.pairs),
            band.blocks * BLOCK_HZ,
            grants=True,
            half_duplex=True,
        )
        for radio in ofdma.radios(spec)
        for band in radio.bands
        for cell in band.cells
    )
    return tuple(found)


def _channels(spec: ScenarioSpec, d2d: WifiSpec) -> Iterable[Medium]:
    """A medium a channel, for all the clusters that use it."""
    links: dict[int, set[tuple[str, str]]] = {}
    for cluster in spec.clusters:
        names = [node.name for node in cluster.nodes]
        pairs = {(a, b) for a in names for b in names if a != b}
        links.setdefault(wifi_channel(d2d, cluster), set()).update(pairs)
    for channel, pairs in links.items():
        yield Medium(f"Wi-Fi channel {channel}", frozenset(pairs), d2d.bandwidth_hz, shared=True)
