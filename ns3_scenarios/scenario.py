"""What a network is made of, as plain data: nodes, clusters, radios and interferers.

Positions are in metres, powers in watts, bandwidths in hertz. Nothing here needs ns-3. The checks
of a scenario are in `ns3_scenarios.checks`, and in `ns3_scenarios.radios` those of each radio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ns3_scenarios.channel import AttributeValue, Channel
from ns3_scenarios.handover import Attachment, Handover
from ns3_scenarios.interferers import Interferer
from ns3_scenarios.mobility import Motion, Point, Trajectory
from ns3_scenarios.numerology import BLOCK_HZ, TTI_S
from ns3_scenarios.power import PowerControl

OFDMA_FEWEST_BLOCKS, OFDMA_MOST_BLOCKS = 6, 550  # resource blocks: 1.08 to 99 MHz

#: A directed pair of nodes by their names.
Pair = tuple[str, str]

#: Links between devices, or between control units and base stations.
Tier = Literal["d2d", "d2e"]

#: See `ScenarioSpec`.
Fidelity = Literal["packet", "sampled"]


def _log_distance(loss_at_1_m_db: float) -> Channel:
    """L = L0 + 10·n·log10(d / 1 m) with n = 3."""
    return Channel(attributes={"Exponent": 3.0, "ReferenceLoss": loss_at_1_m_db})


class RadioSpec(Protocol):
    """What the spec of every radio has; the stack of its type is in `ns3_scenarios.radios`.

    `carrier_hz` is the frequency at which path loss is calculated. `power` is the control of
    transmit powers that a plan doesn't set; None is the maximum power of each node.
    """

    @property
    def bandwidth_hz(self) -> float: ...
    @property
    def carrier_hz(self) -> float: ...
    @property
    def noise_figure_db(self) -> float: ...
    @property
    def antenna_gain_db(self) -> float: ...
    @property
    def propagation(self) -> Channel: ...
    @property
    def power(self) -> PowerControl | None: ...


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node: its position at the run's time 0, its maximum transmit power, its receiver's power.

    With `motion` None it stands still, or moves with its control unit.
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
    default. `station` names the base station that serves it, with handover at the start; None is
    `ScenarioSpec.bs`. `attachment` is the rest of its state then. With `together`, devices move
    with the control unit, their positions relative to it, except those on a `Trajectory`, whose
    corners are absolute.
    """

    cu: NodeSpec
    devices: tuple[NodeSpec, ...]
    channel: int | None = None
    station: str | None = None
    together: bool = True
    attachment: Attachment | None = None

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
        """The same for all channels."""
        return 5.2e9


@dataclass(frozen=True, slots=True)
class LteSpec:
    """LTE between the control units and the base station; one carrier in each direction."""

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
        """That of band 1's downlink, in both directions."""
        return 2.12e9


@dataclass(frozen=True, slots=True)
class OfdmaSpec:
    """The scheduled OFDMA radio, between devices or between control units and base stations.

    `bandwidth_hz` is that of the resource blocks, a multiple of `BLOCK_HZ`; for D2E with frequency
    division duplex, that of each direction. With `acknowledged` the link layer sends again what
    HARQ failed to deliver; None means unless the transport is UDP.

    For D2D only: `reuse` is the number of sub-bands of the band, which clusters take in turn (1:
    all clusters use the whole band, and interfere). With `underlay` the links use the resource
    blocks of the D2E uplink; the channel of D2E then holds for pairs that include a base station,
    that of D2D for pairs of devices. For D2E only: `duplex`.
    """

    bandwidth_hz: float = 18e6
    carrier_hz: float = 2.1e9
    tti_s: float = TTI_S
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
    """The network of one episode. `ns3_defaults` are attribute defaults, `type::attribute` → value.

    `run` is ns-3's run number (RngRun) for what is drawn anew in each episode, such as fading;
    `lasting_run` is the run number for what stays the same in all episodes of a run: line of sight,
    shadowing and random motion. `start_ns` is the run's time at the start of the episode.
    `stations` are further base stations, for clusters that name them. `interferers` are on the
    network's channels and not part of it. With `handover`, control units change between all base
    stations. With the fidelity `packet` every byte is simulated in
    packets, with `sampled` long transfers are extrapolated (`native/fast-forward.h`).
    """

    bs: NodeSpec
    clusters: tuple[ClusterSpec, ...]
    d2d: RadioSpec = field(default_factory=WifiSpec)
    d2e: RadioSpec = field(default_factory=LteSpec)
    seed: int = 1
    run: int = 1
    lasting_run: int = 1
    start_ns: int = 0
    ns3_defaults: Mapping[str, AttributeValue] = field(default_factory=dict)
    stations: tuple[NodeSpec, ...] = ()
    interferers: tuple[Interferer, ...] = ()
    fidelity: Fidelity = "packet"
    handover: Handover | None = None

    @property
    def radios(self) -> Mapping[Tier, RadioSpec]:
        """The radio of each tier."""
        return {"d2d": self.d2d, "d2e": self.d2e}

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The base stations, then cluster by cluster."""
        inside = (node for cluster in self.clusters for node in cluster.nodes)
        return (self.bs, *self.stations, *inside)


def megahertz(hertz: float) -> str:
    """A bandwidth as messages print it."""
    return f"{hertz / 1e6:.6g} MHz"
