"""What a network is made of, as plain data: nodes, clusters, radios, and what is around them.

Positions in metres, powers in watts, bandwidths in hertz. A radio's `power` says what its nodes
radiate where a plan doesn't; None: the most that they can. Nothing here needs ns-3; what can be
wrong with it is in `ns3_scenarios.checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ns3_scenarios.channel import AttributeValue, Channel
from ns3_scenarios.interferers import Interferer
from ns3_scenarios.mobility import Motion, Point, Trajectory
from ns3_scenarios.power import PowerControl

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


#: See `ScenarioSpec`.
Fidelity = Literal["packet", "sampled"]


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

    `channel` is a Wi-Fi channel number, or the number of a sub-band of the OFDMA radio; None is the
    default. `station` names the base station that serves it; None is `ScenarioSpec.bs`. With
    `together`, devices move with the control unit, their positions relative to it, except those on
    a `Trajectory`, whose corners are absolute.
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

    def carries(self, device: NodeSpec) -> bool:
        """Whether a device moves with the control unit, its position relative to it."""
        moves = self.together and self.cu.motion is not None
        return moves and not isinstance(device.motion, Trajectory)


@dataclass(frozen=True, slots=True)
class WifiSpec:
    """802.11ax ad hoc in the 5 GHz band, between the nodes of each cluster."""

    bandwidth_hz: float = 80e6
    noise_figure_db: float = 7.0  # ns-3's
    antenna_gain_db: float = 0.0
    # Free space at 5.2 GHz would be 46.7 dB at one metre.
    propagation: Channel = field(default_factory=lambda: _log_distance(46.7))
    power: PowerControl | None = None

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
    power: PowerControl | None = None

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
    power: PowerControl | None = None

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
    them; with OFDMA as D2E. `interferers` are on its channels and no part of it. By its
    `fidelity` every byte goes as packets, or long transfers are sampled (`native/fast-forward.h`).
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
    interferers: tuple[Interferer, ...] = ()
    fidelity: Fidelity = "packet"

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The base stations, then cluster by cluster."""
        inside = (node for cluster in self.clusters for node in cluster.nodes)
        return (self.bs, *self.stations, *inside)


def default_wifi_channel(spec: WifiSpec) -> int:
    """The channel number where none is given."""
    return WIFI_CHANNELS[spec.bandwidth_hz][0]


def wifi_channel(spec: WifiSpec, cluster: ClusterSpec) -> int:
    """The channel number that a cluster uses."""
    return default_wifi_channel(spec) if cluster.channel is None else cluster.channel


def megahertz(hertz: float) -> str:
    """A bandwidth as messages have it."""
    return f"{hertz / 1e6:.6g} MHz"
