"""The sections of a study for radios and for propagation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from collapipe_ns3.config.section import Attribute, Count, Decibels, Keys, Section
from collapipe_ns3.quantity import Dbm, Hertz, Metres, Seconds, to_w
from ns3_scenarios import channel, handover
from ns3_scenarios.channel import Channel, kind_of
from ns3_scenarios.handover import MOST_DB, MOST_TIME_TO_TRIGGER_S
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
OFDMA_FILLED = 0.9  # the share of a channel in resource blocks; the rest are guard bands


def _as_wide_as_ofdma(hertz: float, info: ValidationInfo) -> float:
    """Refuses a channel with too few or too many resource blocks for OFDMA."""
    least, most = (n * BLOCK_HZ / OFDMA_FILLED for n in (OFDMA_FEWEST_BLOCKS, OFDMA_MOST_BLOCKS))
    if info.data.get("stack") == "ofdma" and not least <= hertz <= most:
        raise ValueError(
            f"expected {megahertz(least)} to {megahertz(most)} for ofdma, not {megahertz(hertz)}"
        )
    return hertz


ChannelHertz = Annotated[Hertz, Field(gt=0), AfterValidator(_as_wide_as_ofdma)]


class Power(Section):
    """The transmit power where a plan sets none: fixed, or by fractional power control.

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
    """`fixed`: a power for all nodes; `fractional`: a power that depends on the path loss."""
    tx_power_dbm: Annotated[Dbm | None, Field(ge=-100, le=80, examples=[20.0])] = None
    """Of every node but base stations, or its maximum power if that is less."""
    p0_dbm: Annotated[Dbm, Field(ge=-300, le=80)] | None = None
    """Power received in a resource block if the path loss is compensated in full; −80 dBm."""
    alpha: float | None = None
    """The share of the path loss in dB that is compensated, 0 to 1; 0.8."""

    def control(self) -> PowerControl:
        """The power control of the scenario."""
        if self.kind == "fixed":
            return FixedPower(to_w(self.tx_power_dbm or 0.0))
        return OpenLoop(**self.given("p0_dbm", "alpha"))


class _Radio(Section):
    """The keys of both tiers; only OFDMA has those from `transport` on."""

    shorthand = "stack"
    chooses = "stack"

    power: Power | None = None
    """Where a plan sets no power; left out, nodes send at their maximum power."""
    noise_figure_db: Decibels | None = None
    """Noise figure of the receivers; 9 dB, Wi-Fi 7 dB."""
    antenna_gain_db: Decibels | None = None
    """Gain of each antenna, when sending and when receiving; 0 dB."""
    transport: Literal["tcp", "udp", "direct"] | None = None
    """TCP, UDP, or by default the link layer alone, without IP."""
    acknowledged: bool | None = None
    """Whether the link layer resends what HARQ didn't deliver; by default unless over udp."""
    engine: Literal["tti", "spectrum"] | None = None
    """`tti`: one event per TTI; `spectrum`: ns-3's spectrum channel. The results are the same."""
    carrier_hz: Annotated[Hertz, Field(gt=0)] | None = None
    """Frequency at which path loss is calculated; 2.1 GHz."""
    tti_s: Annotated[Seconds, Field(gt=0)] | None = None
    """Transmission time interval, 0.125 to 1 ms; 1 ms."""
    target_bler: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The target block error rate of link adaptation."""
    max_transmissions: Annotated[int, Field(ge=1)] | None = None
    """Of a block by HARQ, the first included."""

    def _common(
        self, own: WifiSpec | LteSpec | OfdmaSpec, model: ChannelModel | None, *names: str
    ) -> dict[str, Any]:
        """The spec's power and channel, and these fields of it where the study has them."""
        return {
            **self.given(*names),
            "power": self.power.control() if self.power else None,
            "propagation": model.over(own.propagation) if model else own.propagation,
        }


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
    """`ofdma`: this project's scheduled radio; `wifi`: ns-3's 802.11ax, ad hoc."""
    bandwidth_hz: ChannelHertz | None = None
    """Of the channel; 20 MHz for OFDMA, of which a tenth is guard band, and 80 MHz for Wi-Fi."""
    reuse: Count | None = None
    """OFDMA: how many sub-bands the clusters take in turn; with 1 they all interfere."""
    underlay: bool | None = None
    """OFDMA: whether the sidelinks use the resource blocks of the uplink to the base station."""

    @property
    def keeps_gains(self) -> bool:
        """Whether the simulation keeps a gain for each pair of nodes that share a band."""
        return self.stack == "ofdma"

    def spec(self, model: ChannelModel | None = None) -> WifiSpec | OfdmaSpec:
        """The radio of the scenario, with this channel model or the stack's own."""
        if self.stack == "wifi":
            wifi = WifiSpec()
            hertz = self.bandwidth_hz or wifi.bandwidth_hz
            return WifiSpec(hertz, **self._common(wifi, model, *_FRONT_END_KEYS))
        names = (*_FRONT_END_KEYS, *_OFDMA_KEYS, "reuse", "underlay")
        hertz = ofdma_bandwidth_hz(self.bandwidth_hz)
        return OfdmaSpec(hertz, **self._common(OfdmaSpec(), model, *names))


class EdgeRadio(_Radio):
    """The radio between control units and base station; the bandwidth is that of each direction."""

    only: ClassVar[Keys] = dict.fromkeys((*_OFDMA_KEYS, "duplex"), ("ofdma",))

    stack: Literal["ofdma", "lte"] = "ofdma"
    """`ofdma`: this project's scheduled radio; `lte`: ns-3's LTE with its core network."""
    bandwidth_hz: ChannelHertz | None = None
    """Of the channel, 20 MHz by default; a tenth of it is guard band."""
    duplex: Literal["fdd", "tdd"] | None = None
    """OFDMA: whether each direction has a band of its own, or both take turns in one."""
    station_noise_figure_db: Decibels | None = None
    """Noise figure of base stations; 5 dB."""
    station_antenna_gain_db: Decibels | None = None
    """Gain of each antenna of base stations; 0 dB."""

    def spec(self, model: ChannelModel | None = None) -> LteSpec | OfdmaSpec:
        """The radio of the scenario, with this channel model or the stack's own."""
        if self.stack == "lte":
            lte = LteSpec()
            hertz = self.bandwidth_hz or lte.bandwidth_hz
            return LteSpec(hertz, **self._common(lte, model, *_FRONT_END_KEYS, *_STATION_KEYS))
        names = (*_FRONT_END_KEYS, *_STATION_KEYS, *_OFDMA_KEYS, "duplex")
        hertz = ofdma_bandwidth_hz(self.bandwidth_hz)
        return OfdmaSpec(hertz, **self._common(OfdmaSpec(), model, *names))


def ofdma_bandwidth_hz(channel_hz: float | None) -> float:
    """The bandwidth of a channel's resource blocks, which leave a tenth of it for guard bands.

    Channels of 5, 10, 15 and 20 MHz have 25, 50, 75 and 100 blocks, as in LTE (3GPP TS 36.101,
    table 5.6-1). None is 20 MHz.
    """
    return int(OFDMA_FILLED * (channel_hz or OFDMA_CHANNEL_HZ) / BLOCK_HZ + 1e-9) * BLOCK_HZ


class Handover(Section):
    """When control units change their base station, by event A3 (3GPP TS 38.331, 5.5.4.4).

    They measure the signals of all stations regularly, without fading. A unit changes to a station
    whose signal has been stronger than that of its own by more than offset and hysteresis together,
    at all measurements for the time to trigger.
    """

    offset_db: Annotated[float, Field(ge=-MOST_DB, le=MOST_DB)] = 3.0
    """Added to the signal of the unit's own station."""
    hysteresis_db: Annotated[float, Field(ge=0, le=MOST_DB)] = 1.0
    """Subtracted from the signals of the others."""
    time_to_trigger: Annotated[Seconds, Field(ge=0, le=MOST_TIME_TO_TRIGGER_S)] = 0.16
    """How long another station must have been better."""
    interruption: Annotated[Seconds, Field(ge=0, le=60)] = 0.05
    """How long a unit that changes its station sends and receives nothing over this radio."""
    in_flight: Literal["continue", "lost"] = "continue"
    """What becomes of the unit's transfers that are under way in both directions: they go on in the
    new cell, or are lost."""
    measured_every: Annotated[Seconds, Field(ge=1e-3, le=60)] = 0.04
    """The time between two measurements."""

    def handover(self) -> handover.Handover:
        """The handover of the scenario."""
        return handover.Handover(
            offset_db=self.offset_db,
            hysteresis_db=self.hysteresis_db,
            time_to_trigger_s=self.time_to_trigger,
            interruption_s=self.interruption,
            in_flight=self.in_flight,
            measured_every_s=self.measured_every,
        )


class Radio(Section):
    """The two radios: device to device, and device to edge."""

    d2d: DeviceRadio = DeviceRadio()
    """Device to device: between a control unit and its devices, and among these."""
    d2e: EdgeRadio = EdgeRadio()
    """Device to edge: between control units and base stations."""
    handover: Handover | None = None
    """Whether control units change between the base stations; by default each keeps its own."""


class Shadowing(Section):
    """Log-normal shadowing; keys left out are as in the channel's model. 0 dB: none."""

    sigma_db: Decibels | None = None
    """Standard deviation."""
    distance_m: Metres | None = None
    """Where its correlation falls to 1/e (Gudmundson 1991; 3GPP TR 38.901, 7.4.4)."""


_TAPPED = ("tdl-a", "tdl-b", "tdl-c")


class Fading(Section):
    """Small-scale fading: a power gain of mean 1 for every pair of nodes.

    `rayleigh` and `nakagami` are block fading: the gain is drawn for each round. The others, for
    OFDMA, depend on the run's time and the nodes' positions: `clarke` is Rayleigh fading with
    Clarke's Doppler spectrum, the same over the band; `tdl-a`, `tdl-b` and `tdl-c` are the tapped
    delay lines of 3GPP TR 38.901, 7.7.2, which also differ between resource blocks.
    """

    shorthand = "kind"
    chooses = "kind"
    only: ClassVar[Keys] = {
        "m": ("nakagami",),
        "doppler_hz": ("clarke", *_TAPPED),
        "delay_spread_s": _TAPPED,
    }
    needs: ClassVar[Keys] = {
        "nakagami": ("m",),
        **dict.fromkeys(_TAPPED, ("delay_spread_s",)),
    }

    kind: Literal["rayleigh", "nakagami", "clarke", "tdl-a", "tdl-b", "tdl-c"] = "rayleigh"
    """Block fading by the distribution of its gain, or fading over time by its delay profile."""
    m: Annotated[float | None, Field(examples=[3.0])] = None
    """The shape: 1 is Rayleigh fading; the larger, the less the gain varies."""
    delay_spread_s: Annotated[Seconds | None, Field(examples=[100e-9])] = None
    """Root mean square of the delays; 3GPP TR 38.901, 7.7.3, has 10 ns to 1 µs."""
    doppler_hz: Hertz | None = None
    """Maximum Doppler shift due to the environment, added to that of motion; 0 Hz."""

    def model(self) -> channel.Fading | channel.Multipath:
        """The fading of the scenario."""
        if self.kind == "rayleigh" or self.kind == "nakagami":
            return channel.Fading(self.m or 1.0)
        return channel.Multipath(self.kind, self.delay_spread_s or 0.0, self.doppler_hz or 0.0)


class ChannelModel(Section):
    """One radio's propagation: path loss, shadowing, fading.

    The model is `log-distance`, 3GPP's `umi`, `uma` and `indoor` (TR 38.901), `p1411` (ITU-R
    P.1411, between devices in streets), or any of ns-3's propagation loss models. `attributes` sets
    attributes of the model; if it is the stack's own, the others are as the stack has them.
    """

    shorthand = "model"

    model: str = Channel().kind
    """`log-distance`, `umi`, `uma`, `indoor`, `p1411`, or the type name of an ns-3 model."""
    attributes: dict[str, Attribute] = Field(default_factory=dict)
    """Attributes of the model, by name."""
    shadowing: Shadowing = Shadowing()
    """Log-normal shadowing."""
    fading: Fading | None = None
    """Small-scale fading; by default none."""

    def over(self, own: Channel) -> Channel:
        """The channel; attributes left out are those of a stack's own channel of this model."""
        same = self.model in (own.kind, kind_of(own).loss)
        return Channel(
            self.model,
            {**(own.attributes if same else {}), **self.attributes},
            channel.Shadowing(self.shadowing.sigma_db, self.shadowing.distance_m),
            self.fading.model() if self.fading else None,
        )


class Propagation(Section):
    """The propagation of each radio; a model left out is that of the radio's stack."""

    d2d: ChannelModel | None = None
    """Of the radio between devices."""
    d2e: ChannelModel | None = None
    """Of the radio between control units and base stations."""
