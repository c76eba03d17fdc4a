"""The parts of a study that say what the radios are, and how their signals weaken."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from collapipe_ns3.config.section import Attribute, Count, Decibels, Keys, Section
from collapipe_ns3.quantity import Dbm, Hertz, Metres, Seconds, to_w
from ns3_scenarios import channel
from ns3_scenarios.channel import Channel, kind_of
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.power import FixedPower, OpenLoop, PowerControl
from ns3_scenarios.scenario import (
    OFDMA_FEWEST_BLOCKS,
    OFDMA_MOST_BLOCKS,
    LteSpec,
    OfdmaSpec,
    WifiSpec,
    megahertz,
)

OFDMA_CHANNEL_HZ = 20e6
OFDMA_FILLED = 0.9  # of a channel by its resource blocks; the rest are guard bands


def _as_wide_as_ofdma(hertz: float, info: ValidationInfo) -> float:
    """A channel whose resource blocks OFDMA can number."""
    least, most = (n * BLOCK_HZ / OFDMA_FILLED for n in (OFDMA_FEWEST_BLOCKS, OFDMA_MOST_BLOCKS))
    if info.data.get("stack") == "ofdma" and not least <= hertz <= most:
        raise ValueError(
            f"expected {megahertz(least)} to {megahertz(most)} for ofdma, not {megahertz(hertz)}"
        )
    return hertz


ChannelHertz = Annotated[Hertz, Field(gt=0), AfterValidator(_as_wide_as_ofdma)]


class Power(Section):
    """What nodes radiate where a plan sets no power: a fixed one, or by fractional control.

    Fractional control (3GPP TS 38.213, 7.1.1) is for OFDMA and for LTE's uplink.
    """

    shorthand = "kind"
    chooses = "kind"
    only: ClassVar[Keys] = {
        "tx_power_dbm": ("fixed",),
        "p0_dbm": ("fractional",),
        "alpha": ("fractional",),
    }
    needs: ClassVar[Keys] = {"fixed": ("tx_power_dbm",)}

    kind: Annotated[Literal["fixed", "fractional"], Field(examples=["fractional"])]
    tx_power_dbm: Annotated[Dbm | None, Field(ge=-100, le=80, examples=[20.0])] = None
    """Of every node but base stations, or the most that it can where that is less."""
    p0_dbm: Annotated[Dbm, Field(ge=-300, le=80)] | None = None
    """Received in a resource block, of a path loss that is made up for in full; −80 dBm."""
    alpha: float | None = None
    """How much of the path loss is made up for, 0 to 1; 0.8."""

    def control(self) -> PowerControl:
        """As the scenario has it."""
        if self.kind == "fixed":
            return FixedPower(to_w(self.tx_power_dbm or 0.0))
        return OpenLoop(**self.given("p0_dbm", "alpha"))


class _Radio(Section):
    """Keys that both tiers have. Those of the scheduled OFDMA radio the other stacks lack."""

    shorthand = "stack"
    chooses = "stack"

    power: Power | None = None
    """Where a plan sets no power; left out, nodes radiate the most that they can."""
    noise_figure_db: Decibels | None = None
    antenna_gain_db: Decibels | None = None
    transport: Literal["tcp", "udp", "direct"] | None = None
    """What carries the bytes: TCP, UDP, or by default the link layer alone, without IP."""
    acknowledged: bool | None = None
    """Whether the link layer repeats what HARQ gave up on; by default unless transport is udp."""
    engine: Literal["tti", "spectrum"] | None = None
    """`tti`: an event a TTI; `spectrum`: ns-3's spectrum channel. The results are the same."""
    carrier_hz: Annotated[Hertz, Field(gt=0)] | None = None
    tti_s: Annotated[Seconds, Field(gt=0)] | None = None
    target_bler: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Block error rate that link adaptation aims at."""
    max_transmissions: Annotated[int, Field(ge=1)] | None = None
    """Of a block by HARQ, the first included."""


_OFDMA_KEYS = (
    "transport",
    "acknowledged",
    "engine",
    "carrier_hz",
    "tti_s",
    "target_bler",
    "max_transmissions",
)
_FRONT_END_KEYS = ("noise_figure_db", "antenna_gain_db")
_STATION_KEYS = ("station_noise_figure_db", "station_antenna_gain_db")


class DeviceRadio(_Radio):
    """The radio inside the clusters: scheduled OFDMA sidelinks, or 802.11ax ad hoc."""

    only: ClassVar[Keys] = dict.fromkeys((*_OFDMA_KEYS, "reuse", "underlay"), ("ofdma",))

    stack: Literal["ofdma", "wifi"] = "ofdma"
    bandwidth_hz: ChannelHertz | None = None
    """Of the channel; 20 MHz for OFDMA, of which a tenth is guard band, and 80 MHz for Wi-Fi."""
    reuse: Count | None = None
    """OFDMA: how many sub-bands the clusters take in turn; with 1 they all interfere."""
    underlay: bool | None = None
    """OFDMA: whether the sidelinks use the resource blocks of the uplink to the base station."""

    def spec(self, of: ChannelModel | None = None) -> WifiSpec | OfdmaSpec:
        """The radio as the scenario has it, with this channel or the stack's own."""
        own = WifiSpec() if self.stack == "wifi" else OfdmaSpec()
        common = {
            **self.given(*_FRONT_END_KEYS),
            "power": self.power.control() if self.power else None,
            "propagation": of.over(own.propagation) if of else own.propagation,
        }
        if self.stack == "wifi":
            return WifiSpec(self.bandwidth_hz or WifiSpec().bandwidth_hz, **common)
        given = self.given(*_OFDMA_KEYS, "reuse", "underlay")
        return OfdmaSpec(ofdma_bandwidth_hz(self.bandwidth_hz), **common, **given)


class EdgeRadio(_Radio):
    """The radio between control units and base station; the bandwidth is that of each way."""

    only: ClassVar[Keys] = dict.fromkeys((*_OFDMA_KEYS, "duplex"), ("ofdma",))

    stack: Literal["ofdma", "lte"] = "ofdma"
    bandwidth_hz: ChannelHertz | None = None
    """Of the channel, 20 MHz by default; a tenth of it is guard band."""
    duplex: Literal["fdd", "tdd"] | None = None
    """OFDMA: whether both ways have a band each, or take turns in one."""
    station_noise_figure_db: Decibels | None = None
    station_antenna_gain_db: Decibels | None = None

    def spec(self, of: ChannelModel | None = None) -> LteSpec | OfdmaSpec:
        """The radio as the scenario has it, with this channel or the stack's own."""
        own = LteSpec() if self.stack == "lte" else OfdmaSpec()
        common = {
            **self.given(*_FRONT_END_KEYS, *_STATION_KEYS),
            "power": self.power.control() if self.power else None,
            "propagation": of.over(own.propagation) if of else own.propagation,
        }
        if self.stack == "lte":
            return LteSpec(self.bandwidth_hz or LteSpec().bandwidth_hz, **common)
        given = self.given(*_OFDMA_KEYS, "duplex")
        return OfdmaSpec(ofdma_bandwidth_hz(self.bandwidth_hz), **common, **given)


def ofdma_bandwidth_hz(channel_hz: float | None) -> float:
    """What the resource blocks fill of a channel: as many as leave a tenth of it for guard bands.

    Of 5, 10, 15 and 20 MHz that is 25, 50, 75 and 100 blocks, as in LTE (3GPP TS 36.101, table
    5.6-1). None is 20 MHz.
    """
    return int(OFDMA_FILLED * (channel_hz or OFDMA_CHANNEL_HZ) / BLOCK_HZ + 1e-9) * BLOCK_HZ


class Radio(Section):
    """The two radios: device to device, and device to edge."""

    d2d: DeviceRadio = DeviceRadio()
    d2e: EdgeRadio = EdgeRadio()


class Shadowing(Section):
    """Log-normal shadowing; what is left out is as the channel's model has it. 0 dB: none."""

    sigma_db: Decibels | None = None
    distance_m: Metres | None = None
    """Over which its correlation falls to 1/e (Gudmundson 1991; 3GPP TR 38.901, 7.4.4)."""


class Fading(Section):
    """Block fading: a power gain of mean 1, drawn anew each round for every pair of nodes."""

    shorthand = "kind"
    chooses = "kind"
    only: ClassVar[Keys] = {"m": ("nakagami",)}
    needs: ClassVar[Keys] = {"nakagami": ("m",)}

    kind: Literal["rayleigh", "nakagami"] = "rayleigh"
    m: Annotated[float | None, Field(examples=[3.0])] = None
    """The shape: 1 is Rayleigh's, and the larger, the steadier."""


class ChannelModel(Section):
    """How one radio's signals weaken: path loss, shadowing, fading.

    The model is `log-distance`, 3GPP's `umi`, `uma` and `indoor` (TR 38.901), `p1411` (ITU-R
    P.1411, between devices in streets), or any of ns-3's propagation loss models, whose attributes
    may be given. Of the stack's own model single attributes may be given.
    """

    shorthand = "model"

    model: str = Channel().kind
    attributes: dict[str, Attribute] = Field(default_factory=dict)
    shadowing: Shadowing = Shadowing()
    fading: Fading | None = None

    def over(self, own: Channel) -> Channel:
        """The channel, with what a stack has of its own where it is the same model."""
        same = self.model in (own.kind, kind_of(own).loss)
        return Channel(
            self.model,
            {**(own.attributes if same else {}), **self.attributes},
            channel.Shadowing(self.shadowing.sigma_db, self.shadowing.distance_m),
            channel.Fading(self.fading.m or 1.0) if self.fading else None,
        )


class Propagation(Section):
    """How the radios' signals weaken; what is left out is as the radio's stack has it."""

    d2d: ChannelModel | None = None
    d2e: ChannelModel | None = None
