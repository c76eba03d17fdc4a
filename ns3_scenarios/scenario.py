"""What a network is made of, as plain data: nodes, clusters, radios; and what can be wrong with it.

Positions in metres, powers in watts, bandwidths in hertz. Nothing here needs ns-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

#: A value of an ns-3 attribute as it may be written in a study.
AttributeValue = str | int | float | bool

#: 5 GHz channels by width in hertz: their IEEE 802.11 numbers, the default first.
WIFI_CHANNELS: Mapping[float, tuple[int, ...]] = {
    20e6: (36, 40, 44, 48, 52, 56, 60, 64, 100, 104, 108, 112, 116, 120, 124, 128, 132, 136, 140,
           144, 149, 153, 157, 161, 165, 169, 173, 177),
    40e6: (38, 46, 54, 62, 102, 110, 118, 126, 134, 142, 151, 159, 167, 175),
    80e6: (42, 58, 106, 122, 138, 155, 171),
    160e6: (50, 114, 163),
}  # fmt: skip

#: LTE's channel bandwidths in hertz and the resource blocks of 180 kHz in them (3GPP TS 36.101).
LTE_RESOURCE_BLOCKS: Mapping[float, int] = {
    1.4e6: 6,
    3e6: 15,
    5e6: 25,
    10e6: 50,
    15e6: 75,
    20e6: 100,
}

WIFI_MOST_NODES = 254  # in a cell, as its subnet has addresses
LTE_MOST_UES = 320  # as many as one sounding period has subframes


@dataclass(frozen=True, slots=True)
class LossModel:
    """An ns-3 propagation loss model by the name of its type, with attributes of its own.

    The default is the log-distance law L = L0 + 10·n·log10(d / 1 m) with exponent n = 3 and the
    free-space loss of 5.2 GHz at one metre, L0 = 46.7 dB.
    """

    type_name: str = "ns3::LogDistancePropagationLossModel"
    attributes: Mapping[str, AttributeValue] = field(
        default_factory=lambda: {"Exponent": 3.0, "ReferenceLoss": 46.7}
    )


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node: where it is, the most it can radiate, and what its receiver draws."""

    name: str
    position: tuple[float, float, float]
    max_tx_power_w: float
    rx_power_w: float


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A control unit and its devices; `channel` is a Wi-Fi channel number, None the default."""

    cu: NodeSpec
    devices: tuple[NodeSpec, ...]
    channel: int | None = None

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The control unit, then the devices."""
        return (self.cu, *self.devices)


@dataclass(frozen=True, slots=True)
class WifiSpec:
    """802.11ax ad hoc in the 5 GHz band, between the nodes of each cluster."""

    bandwidth_hz: float = 80e6
    loss: LossModel = field(default_factory=LossModel)


@dataclass(frozen=True, slots=True)
class LteSpec:
    """LTE between the control units and the base station; one carrier each way."""

    bandwidth_hz: float = 20e6
    # Free space at band 1's 2.1 GHz would be 38.9 dB at one metre.
    loss: LossModel = field(
        default_factory=lambda: LossModel(attributes={"Exponent": 3.0, "ReferenceLoss": 38.9})
    )


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """One episode's network. `ns3_defaults` are attribute defaults, `type::attribute` → value."""

    bs: NodeSpec
    clusters: tuple[ClusterSpec, ...]
    d2d: WifiSpec = field(default_factory=WifiSpec)
    d2e: LteSpec = field(default_factory=LteSpec)
    seed: int = 1
    run: int = 1
    ns3_defaults: Mapping[str, AttributeValue] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The base station, then cluster by cluster."""
        return (self.bs, *(node for cluster in self.clusters for node in cluster.nodes))


def wifi_channel(spec: ScenarioSpec, cluster: ClusterSpec) -> int:
    """The channel number that a cluster uses."""
    if cluster.channel is not None:
        return cluster.channel
    return WIFI_CHANNELS[spec.d2d.bandwidth_hz][0]


def problems(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """Everything that is wrong with a scenario, as (path in it, what was expected)."""
    return [*_node_problems(spec), *_radio_problems(spec), *_seed_problems(spec)]


def _node_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    places = [("bs", spec.bs)]
    for n, cluster in enumerate(spec.clusters):
        places.append((f"clusters[{n}].cu", cluster.cu))
        if not cluster.devices:
            yield f"clusters[{n}].devices", "expected at least one device"
        if len(cluster.nodes) > WIFI_MOST_NODES:
            yield f"clusters[{n}].devices", f"expected at most {WIFI_MOST_NODES - 1}"
        places += [(f"clusters[{n}].devices[{k}]", node) for k, node in enumerate(cluster.devices)]
    if not spec.clusters:
        yield "clusters", "expected at least one cluster"
    if len(spec.clusters) > LTE_MOST_UES:
        yield "clusters", f"expected at most {LTE_MOST_UES}, one LTE terminal each"
    names: dict[str, str] = {}
    at: dict[tuple[float, float, float], str] = {}
    for path, node in places:
        if (first := names.setdefault(node.name, path)) != path:
            yield f"{path}.name", f"expected a name of its own: {node.name!r} is {first}'s"
        if len(node.position) != 3 or not all(map(math.isfinite, node.position)):
            yield f"{path}.position", f"expected three finite metres, not {node.position}"
        elif (other := at.setdefault(node.position, path)) != path:
            yield f"{path}.position", f"expected a place of its own: {other} is there"
        if not 0 < node.max_tx_power_w < math.inf:
            yield f"{path}.max_tx_power_w", f"expected watts above 0, not {node.max_tx_power_w}"
        if not 0 <= node.rx_power_w < math.inf:
            yield f"{path}.rx_power_w", f"expected watts from 0 up, not {node.rx_power_w}"


def _radio_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if spec.d2d.bandwidth_hz not in WIFI_CHANNELS:
        choices = ", ".join(f"{width:g}" for width in WIFI_CHANNELS)
        yield "d2d.bandwidth_hz", f"expected one of {choices}, not {spec.d2d.bandwidth_hz:g}"
    else:
        numbers = WIFI_CHANNELS[spec.d2d.bandwidth_hz]
        for n, cluster in enumerate(spec.clusters):
            if cluster.channel is not None and cluster.channel not in numbers:
                nearest = min(numbers, key=lambda number, to=cluster.channel: abs(number - to))  # type: ignore[misc]  # the default binds the loop's value
                yield (
                    f"clusters[{n}].channel",
                    f"expected a 5 GHz channel of {spec.d2d.bandwidth_hz:g} Hz, not "
                    f"{cluster.channel}; the nearest is {nearest}",
                )
    if spec.d2e.bandwidth_hz not in LTE_RESOURCE_BLOCKS:
        choices = ", ".join(f"{width:g}" for width in LTE_RESOURCE_BLOCKS)
        yield "d2e.bandwidth_hz", f"expected one of {choices}, not {spec.d2e.bandwidth_hz:g}"


def _seed_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if not 0 < spec.seed < 2**32:
        yield "seed", f"expected 1 to {2**32 - 1}, not {spec.seed}"
    if not 0 <= spec.run < 2**64:
        yield "run", f"expected 0 to {2**64 - 1}, not {spec.run}"
