"""The interferers of a scenario as radio stacks install them: nodes, pulses and traffic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ns3_scenarios.interferers import Background, Interferer, Jammer
from ns3_scenarios.scenario import NodeSpec, ScenarioSpec

_S = 1e9


def interferer_nodes(spec: ScenarioSpec) -> Iterator[NodeSpec]:
    """Every interferer's nodes."""
    for interferer in spec.interferers:
        motion = interferer.motion if isinstance(interferer, Jammer) else None
        for name, place in interferer.places.items():
            yield NodeSpec(name, place, interferer.tx_power_w, 0.0, motion)


def interferers_in(spec: ScenarioSpec, band: str) -> Iterator[Interferer]:
    """The interferers in a band, one of `interferers.BANDS`."""
    return (interferer for interferer in spec.interferers if interferer.band == band)


def native_traffic(background: Background, native: Any) -> tuple[int, int, Any]:
    """Bytes of a datagram, ns from one to the next, and the times of sending as `Pulses`."""
    return background.packet_bytes, background.interval_ns, _window(background, native)


def native_pulses(interferer: Interferer, native: Any) -> Any:
    """When an interferer is on, as the native `Pulses`."""
    pulses = _window(interferer, native)
    if isinstance(interferer, Jammer):
        pulses.period = round(interferer.period_s * _S)
        pulses.width = max(round(interferer.duty_cycle * pulses.period), 1)
    return pulses


def _window(interferer: Interferer, native: Any) -> Any:
    pulses = native.Pulses()
    pulses.on = round(interferer.on_s * _S)
    if math.isfinite(interferer.off_s):
        pulses.off = round(interferer.off_s * _S)
    return pulses
