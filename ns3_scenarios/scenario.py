"""What a network is made of, as plain data: nodes, clusters, radios; and what can be wrong with it.

Positions in metres, powers in watts, bandwidths in hertz. Nothing here needs ns-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ns3_scenarios.channel import AttributeValue, Channel, channel_problems
from ns3_scenarios.mobility import Motion, Point, Way, motion_problems

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

#: A resource block of the OFDMA radio: 12 subcarriers of 15 kHz (3GPP TS 36.211, 5.2.3).
BLOCK_HZ = 180e3
OFDMA_FEWEST_BLOCKS, OFDMA_MOST_BLOCKS = 6, 550  # 1.08 to 99 MHz

_NOISE_AND_ANTENNAS = (("noise_figure_db", 0.0, 50.0), ("antenna_gain_db", -50.0, 50.0))
_STATIONS = tuple((f"station_{name}", low, high) for name, low, high in _NOISE_AND_ANTENNAS)


def _log_distance(loss_at_1_m_db: float) -> Channel:
    """L = L0 + 10·n·log10(d / 1 m) with n = 3."""
    return Channel(attributes={"Exponent": 3.0, "ReferenceLoss": loss_at_1_m_db})


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node: where it is at the run's time 0, the most it can radiate, what its receiver draws.

    `motion` None: it stands still, or goes along with its control unit.
    """

    name: str
    position: Point
    max_tx_power_w: float
    rx_power_w: float
    motion: Motion | None = None


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A control unit and its devices.

    `channel` is a Wi-Fi channel number, or the number of a sub-band of the OFDMA radio, None the
    default. `station` names the base station that serves it, None `ScenarioSpec.bs`. `together`:
    devices move with the control unit, and relative to it; but for those on a `Way`, which are
    where that says.
    """

    cu: NodeSpec
    devices: tuple[NodeSpec, ...]
    channel: int | None = None
    station: str | None = None
    together: bool = True

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The control unit, then the devices."""
        return (self.cu, *self.devices)


@dataclass(frozen=True, slots=True)
class WifiSpec:
    """802.11ax ad hoc in the 5 GHz band, between the nodes of each cluster."""

    bandwidth_hz: float = 80e6
    noise_figure_db: float = 7.0  # ns-3's
    antenna_gain_db: float = 0.0
    # Free space at 5.2 GHz would be 46.7 dB at one metre.
    propagation: Channel = field(default_factory=lambda: _log_distance(46.7))

    @property
    def carrier_hz(self) -> float:
        """Where path loss is calculated, whatever the channel."""
        return 5.2e9


@dataclass(frozen=True, slots=True)
class LteSpec:
    """LTE between the control units and the base station; one carrier each way."""

    bandwidth_hz: float = 20e6
    # ns-3's.
    noise_figure_db: float = 9.0
    station_noise_figure_db: float = 5.0
    antenna_gain_db: float = 0.0
    station_antenna_gain_db: float = 0.0
    # Free space at band 1's 2.1 GHz would be 38.9 dB at one metre.
    propagation: Channel = field(default_factory=lambda: _log_distance(38.9))

    @property
    def carrier_hz(self) -> float:
        """Where path loss is calculated, both ways: the downlink of band 1."""
        return 2.12e9


@dataclass(frozen=True, slots=True)
class OfdmaSpec:
    """The scheduled OFDMA radio, between devices or between control units and base stations.

    `bandwidth_hz` is what the resource blocks fill, a multiple of 180 kHz; as D2E with frequency
    division it is that each way. `acknowledged` says whether the link layer sends again what HARQ
    gave up on; None: unless the transport is UDP. In an underlay the channel of D2E holds for pairs
    with a base station in them, that of D2D for pairs of devices.

    For D2D alone: `reuse` is the number of sub-bands that the band is divided into, which clusters
    take in turn (1: all use the whole band, and interfere); with `underlay` the links use the
    resource blocks of the D2E uplink. For D2E alone: `duplex`.
    """

    bandwidth_hz: float = 18e6
    carrier_hz: float = 2.1e9
    tti_s: float = 1e-3
    target_bler: float = 0.1
    max_transmissions: int = 4
    acknowledged: bool | None = None
    transport: Literal["direct", "tcp", "udp"] = "direct"
    engine: Literal["tti", "spectrum"] = "tti"
    duplex: Literal["fdd", "tdd"] = "fdd"
    reuse: int = 1
    underlay: bool = False
    # Those of ns-3's LTE terminals and base stations.
    noise_figure_db: float = 9.0
    station_noise_figure_db: float = 5.0
    antenna_gain_db: float = 0.0
    station_antenna_gain_db: float = 0.0
    # Free space at 2.1 GHz would be 38.9 dB at one metre.
    propagation: Channel = field(default_factory=lambda: _log_distance(38.9))

    @property
    def blocks(self) -> int:
        """Resource blocks in the band."""
        return round(self.bandwidth_hz / BLOCK_HZ)

    @property
    def sends_again(self) -> bool:
        """Whether the link layer is acknowledged."""
        return self.transport != "udp" if self.acknowledged is None else self.acknowledged


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """One episode's network. `ns3_defaults` are attribute defaults, `type::attribute` → value.

    `run` is ns-3's run number (RngRun) for what is drawn anew each episode, fading included;
    `lasting_run` that for what outlasts it: line of sight, shadowing, ways. `start_ns` is the run's
    own time at the episode's start. `stations` are further base stations, for clusters that name
    them; with OFDMA as D2E.
    """

    bs: NodeSpec
    clusters: tuple[ClusterSpec, ...]
    d2d: WifiSpec | OfdmaSpec = field(default_factory=WifiSpec)
    d2e: LteSpec | OfdmaSpec = field(default_factory=LteSpec)
    seed: int = 1
    run: int = 1
    lasting_run: int = 1
    start_ns: int = 0
    ns3_defaults: Mapping[str, AttributeValue] = field(default_factory=dict)
    stations: tuple[NodeSpec, ...] = ()

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The base stations, then cluster by cluster."""
        inside = (node for cluster in self.clusters for node in cluster.nodes)
        return (self.bs, *self.stations, *inside)


def wifi_channel(spec: WifiSpec, cluster: ClusterSpec) -> int:
    """The channel number that a cluster uses."""
    return WIFI_CHANNELS[spec.bandwidth_hz][0] if cluster.channel is None else cluster.channel


def problems(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """Everything that is wrong with a scenario, as (path in it, what was expected)."""
    return [
        *_node_problems(spec),
        *_station_problems(spec),
        *_d2d_problems(spec),
        *_d2e_problems(spec),
        *_channel_problems(spec),
        *_seed_problems(spec),
    ]


def _node_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    places = [("bs", spec.bs)]
    places += [(f"stations[{n}]", station) for n, station in enumerate(spec.stations)]
    for n, cluster in enumerate(spec.clusters):
        places.append((f"clusters[{n}].cu", cluster.cu))
        if not cluster.devices:
            yield f"clusters[{n}].devices", "expected at least one device"
        places += [(f"clusters[{n}].devices[{k}]", node) for k, node in enumerate(cluster.devices)]
    if not spec.clusters:
        yield "clusters", "expected at least one cluster"
    names: dict[str, str] = {}
    at: dict[Point, str] = {}
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
        if node.motion is not None:
            yield from motion_problems(f"{path}.motion", node.motion)


def _station_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    names = [spec.bs.name, *(station.name for station in spec.stations)]
    for n, cluster in enumerate(spec.clusters):
        if cluster.station is not None and cluster.station not in names:
            yield (
                f"clusters[{n}].station",
                f"expected one of {', '.join(names)}, not {cluster.station!r}",
            )
    if spec.stations and not isinstance(spec.d2e, OfdmaSpec):
        yield "stations", "expected none: LTE has one base station here; take OFDMA as d2e"


def _d2d_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec.d2d, OfdmaSpec):
        yield from _ofdma_problems("d2d", spec.d2d)
        yield from _sidelink_problems(spec, spec.d2d)
        return
    yield from _within("d2d", spec.d2d, _NOISE_AND_ANTENNAS)
    for n, cluster in enumerate(spec.clusters):
        if len(cluster.nodes) > WIFI_MOST_NODES:
            yield f"clusters[{n}].devices", f"expected at most {WIFI_MOST_NODES - 1}"
    if spec.d2d.bandwidth_hz not in WIFI_CHANNELS:
        choices = ", ".join(f"{width:g}" for width in WIFI_CHANNELS)
        yield "d2d.bandwidth_hz", f"expected one of {choices}, not {spec.d2d.bandwidth_hz:g}"
        return
    numbers = WIFI_CHANNELS[spec.d2d.bandwidth_hz]
    for n, cluster in enumerate(spec.clusters):
        if cluster.channel is not None and cluster.channel not in numbers:
            nearest = min(numbers, key=lambda number, to=cluster.channel: abs(number - to))  # type: ignore[misc]  # the default binds the loop's value
            yield (
                f"clusters[{n}].channel",
                f"expected a 5 GHz channel of {spec.d2d.bandwidth_hz:g} Hz, not "
                f"{cluster.channel}; the nearest is {nearest}",
            )


def _sidelink_problems(spec: ScenarioSpec, d2d: OfdmaSpec) -> Iterator[tuple[str, str]]:
    if d2d.duplex != "fdd":
        yield "d2d.duplex", "expected the default: all links of a cluster share one band"
    if d2d.reuse < 1 or d2d.blocks // max(d2d.reuse, 1) < OFDMA_FEWEST_BLOCKS:
        most = max(d2d.blocks // OFDMA_FEWEST_BLOCKS, 1)
        yield "d2d.reuse", f"expected 1 to {most} sub-bands in this bandwidth, not {d2d.reuse}"
    for n, cluster in enumerate(spec.clusters):
        if cluster.channel is not None and not 0 <= cluster.channel < d2d.reuse:
            yield (
                f"clusters[{n}].channel",
                f"expected the number of a sub-band, 0 to {d2d.reuse - 1}, not {cluster.channel}",
            )
    if not d2d.underlay:
        return
    if not isinstance(spec.d2e, OfdmaSpec):
        yield "d2d.underlay", "expected OFDMA as d2e, whose uplink blocks it could use"
        return
    if d2d.reuse != 1:
        yield "d2d.reuse", "expected 1: the underlay uses all of the uplink's blocks"
    for name in (
        "bandwidth_hz",
        "carrier_hz",
        "tti_s",
        "target_bler",
        "max_transmissions",
        "engine",
    ):
        mine, theirs = getattr(d2d, name), getattr(spec.d2e, name)
        if mine != theirs:
            yield f"d2d.{name}", f"expected {theirs!r}, d2e's, whose blocks it uses; not {mine!r}"


def _d2e_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if isinstance(spec.d2e, OfdmaSpec):
        yield from _ofdma_problems("d2e", spec.d2e)
        if spec.d2e.reuse != 1:
            yield "d2e.reuse", "expected 1: sub-bands are for clusters"
        if spec.d2e.underlay:
            yield "d2e.underlay", "expected false: it is d2d that may use d2e's blocks"
        return
    yield from _within("d2e", spec.d2e, (*_NOISE_AND_ANTENNAS, *_STATIONS))
    if len(spec.clusters) > LTE_MOST_UES:
        yield "clusters", f"expected at most {LTE_MOST_UES}, one LTE terminal each"
    if spec.d2e.bandwidth_hz not in LTE_RESOURCE_BLOCKS:
        choices = ", ".join(f"{width:g}" for width in LTE_RESOURCE_BLOCKS)
        yield "d2e.bandwidth_hz", f"expected one of {choices}, not {spec.d2e.bandwidth_hz:g}"


def _ofdma_problems(path: str, ofdma: OfdmaSpec) -> Iterator[tuple[str, str]]:
    blocks = ofdma.bandwidth_hz / BLOCK_HZ
    if not OFDMA_FEWEST_BLOCKS <= blocks <= OFDMA_MOST_BLOCKS or abs(blocks - round(blocks)) > 1e-6:
        near = OFDMA_FEWEST_BLOCKS
        if math.isfinite(blocks):
            near = min(max(round(blocks), OFDMA_FEWEST_BLOCKS), OFDMA_MOST_BLOCKS)
        yield (
            f"{path}.bandwidth_hz",
            f"expected {OFDMA_FEWEST_BLOCKS} to {OFDMA_MOST_BLOCKS} resource blocks of 180 kHz, "
            f"not {ofdma.bandwidth_hz:g} Hz; the nearest is {near * BLOCK_HZ:g} Hz",
        )
    yield from _within(
        path,
        ofdma,
        (
            ("carrier_hz", 100e6, 100e9),
            ("tti_s", 125e-6, 1e-3),
            ("target_bler", 1e-4, 0.9),
            ("max_transmissions", 1, 4),
            *_NOISE_AND_ANTENNAS,
            *_STATIONS,
        ),
    )
    for name, choices in (
        ("transport", ("direct", "tcp", "udp")),
        ("engine", ("tti", "spectrum")),
        ("duplex", ("fdd", "tdd")),
    ):
        if (value := getattr(ofdma, name)) not in choices:
            yield f"{path}.{name}", f"expected {' or '.join(choices)}, not {value!r}"


def _channel_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    lowest_m = min(height_m for node in spec.nodes for height_m in _heights_m(node))
    for path, radio in (("d2d", spec.d2d), ("d2e", spec.d2e)):
        place = f"{path}.propagation"
        yield from channel_problems(place, radio.propagation, radio.carrier_hz, lowest_m)


def _heights_m(node: NodeSpec) -> Iterator[float]:
    yield node.position[-1] if node.position else 0.0
    if isinstance(node.motion, Way):
        yield from (corner[3] for corner in node.motion.corners)


def _within(
    path: str, of: object, ranges: Sequence[tuple[str, float, float]]
) -> Iterator[tuple[str, str]]:
    for name, low, high in ranges:
        value = getattr(of, name)
        if not low <= value <= high:
            yield f"{path}.{name}", f"expected {low:g} to {high:g}, not {value:g}"


def _seed_problems(spec: ScenarioSpec) -> Iterator[tuple[str, str]]:
    if not 0 < spec.seed < 2**32:
        yield "seed", f"expected 1 to {2**32 - 1}, not {spec.seed}"
    for name, run in (("run", spec.run), ("lasting_run", spec.lasting_run)):
        if not 0 <= run < 2**64:
            yield name, f"expected 0 to {2**64 - 1}, not {run}"
    if not 0 <= spec.start_ns < 2**62:
        yield "start_ns", f"expected nanoseconds from 0 up, not {spec.start_ns}"
