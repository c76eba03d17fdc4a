"""The interferers of a scenario put onto the radios of ns-3."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ns3_scenarios.interferers import Background, Interferer, Jammer
from ns3_scenarios.scenario import (
    BLOCK_HZ,
    LTE_RESOURCE_BLOCKS,
    LteSpec,
    NodeSpec,
    OfdmaSpec,
    ScenarioSpec,
    WifiSpec,
    default_wifi_channel,
)

_S = 1e9
_WIFI_ZERO_HZ = 5e9  # of the channel numbers, which count in steps of 5 MHz (IEEE 802.11)
_WIFI_STEP_HZ = 5e6


def interferer_nodes(spec: ScenarioSpec) -> Iterator[NodeSpec]:
    """Every interferer's nodes."""
    for interferer in spec.interferers:
        motion = interferer.motion if isinstance(interferer, Jammer) else None
        for name, place in interferer.places.items():
            yield NodeSpec(name, place, interferer.tx_power_w, 0.0, motion)


def surround_wifi(
    spec: ScenarioSpec, radio: WifiSpec, episode: Any, numbers: Mapping[str, int], native: Any
) -> None:
    """Jammers and other pairs on the Wi-Fi channel."""
    around = episode.Around()
    for interferer in _on(spec, "d2d"):
        channel = interferer.channel or default_wifi_channel(radio)
        nodes = [numbers[name] for name in interferer.places]
        if isinstance(interferer, Jammer):
            middle_hz = _WIFI_ZERO_HZ + _WIFI_STEP_HZ * channel
            where = ("wifi", middle_hz, radio.bandwidth_hz)
            around.AddJammer(nodes[0], *where, interferer.tx_power_w, _pulses(interferer, native))
            continue
        width_mhz = round(radio.bandwidth_hz / 1e6)
        episode.AddWifiCell(nodes, f"{{{channel}, {width_mhz}, BAND_5GHZ, 0}}")
        for node in nodes:
            episode.SetTxPower(node, "wifi", interferer.tx_power_w)
        around.AddWifiTraffic(*nodes, *_traffic(interferer, native))


def surround_lte(
    spec: ScenarioSpec, radio: LteSpec, episode: Any, numbers: Mapping[str, int], native: Any
) -> None:
    """Jammers on the LTE carriers."""
    around = episode.Around()
    bandwidth_hz = LTE_RESOURCE_BLOCKS[radio.bandwidth_hz] * BLOCK_HZ
    for way in ("uplink", "downlink"):
        for jammer in _on(spec, way):
            where = (f"lte {way}", 0.0, bandwidth_hz)
            pulses = _pulses(jammer, native)
            around.AddJammer(numbers[jammer.name], *where, jammer.tx_power_w, pulses)


def ofdma_members(
    spec: ScenarioSpec, radio: OfdmaSpec, serves: set[str]
) -> Iterator[tuple[str, float]]:
    """The nodes of interferers that are in an OFDMA radio, with what each radiates in a band."""
    for interferer in spec.interferers:
        if interferer.band in serves:
            everywhere = isinstance(interferer, Jammer) and interferer.channel is None
            bands = radio.reuse if everywhere and interferer.band == "d2d" else 1
            for name in interferer.places:
                yield name, interferer.tx_power_w / bands


def surround_ofdma(
    spec: ScenarioSpec,
    serves: tuple[str, ...],
    sub_band: int,
    place: int,
    cells: Any,
    episode: Any,
    numbers: Mapping[str, int],
    native: Any,
) -> None:
    """Jammers and other links in band `place` of an OFDMA radio, which is this sub-band of all."""
    around = episode.Around()
    for interferer in spec.interferers:
        if interferer.band not in serves:
            continue
        nodes = [numbers[name] for name in interferer.places]
        if isinstance(interferer, Jammer):
            if interferer.channel in (None, sub_band):
                cells.AddJammer(place, nodes[0], _pulses(interferer, native))
        elif (interferer.channel or 0) == sub_band:
            cells.AddBackground(place, *nodes)
            around.AddOfdmaTraffic(cells, *nodes, *_traffic(interferer, native))


def _on(spec: ScenarioSpec, band: str) -> Iterator[Interferer]:
    return (interferer for interferer in spec.interferers if interferer.band == band)


def _traffic(background: Background, native: Any) -> tuple[int, int, Any]:
    return background.packet_bytes, background.interval_ns, _window(background, native)


def _window(interferer: Interferer, native: Any) -> Any:
    pulses = native.Pulses()
    pulses.on = round(interferer.on_s * _S)
    if math.isfinite(interferer.off_s):
        pulses.off = round(interferer.off_s * _S)
    return pulses


def _pulses(interferer: Interferer, native: Any) -> Any:
    pulses = _window(interferer, native)
    if isinstance(interferer, Jammer):
        pulses.period = round(interferer.period_s * _S)
        pulses.width = max(round(interferer.duty_cycle * pulses.period), 1)
    return pulses
