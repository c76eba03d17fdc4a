"""The media of a scenario: the bands of its radio stacks, as planners are given them."""

from __future__ import annotations

from collections.abc import Mapping

from collapipe_ns3.observed import Medium
from collapipe_ns3.topology.stations import by_station
from ns3_scenarios.radios.registry import stacks
from ns3_scenarios.radios.stack import RadioBand
from ns3_scenarios.scenario import Pair, ScenarioSpec


def media(spec: ScenarioSpec) -> tuple[Medium, ...]:
    """Every medium of a scenario: Wi-Fi's channels, LTE's two carriers, OFDMA's cells.

    The links of control units with their stations are listed as links with the server.
    """
    known_as = {ends: pair for pair, ends in by_station(spec).items()}
    return tuple(
        _medium(stack.name, band, known_as) for stack in stacks(spec) for band in stack.bands()
    )


def _medium(stack: str, band: RadioBand, known_as: Mapping[Pair, Pair]) -> Medium:
    return Medium(
        name=band.name,
        links=frozenset(known_as.get(pair, pair) for pair in band.links),
        bandwidth_hz=band.bandwidth_hz,
        grants=band.grants,
        shared=band.shared,
        at_once=band.at_once,
        half_duplex=band.half_duplex,
        slot_s=band.slot_s,
        overhear=band.overhear,
        densities=band.densities,
        efficiency=band.efficiency,
        overhead=band.overhead,
        replies=band.replies,
        latency_s=band.latency_s,
        repeat_s=band.repeat_s,
        least_hz=band.least_hz,
        stack=stack,
        multicast=band.multicast,
    )
