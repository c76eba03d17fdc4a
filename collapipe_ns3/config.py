"""A study: every key that a study file may have, with its type, unit, bounds and default.

A key that names a unit takes a number in it, or text with a unit (`collapipe_ns3.quantity`). What
more than one key must agree on is checked in `collapipe_ns3.checks`.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from collapipe_ns3.devices import DeviceProfile, UnknownProfile, profile
from collapipe_ns3.quantity import Bytes, Dbm, FlopsPerSecond, Hertz, Metres, Seconds, Watts, to_w
from ns3_scenarios.channel import Channel, kind_of
from ns3_scenarios.scenario import BLOCK_HZ, Fidelity, LteSpec, OfdmaSpec, WifiSpec

Count = Annotated[int, Field(ge=1, le=10**9)]
Decibels = Annotated[float, Field(ge=-100, le=100)]

#: East and north of the base station's mast, and height above ground (1.5 m where it is left out).
Position = Annotated[
    tuple[Annotated[Metres, Field(ge=-1e6, le=1e6)], ...],
    Strict(False),
    Field(min_length=2, max_length=3),
]


def _plain(value: object) -> object:
    if not isinstance(value, str | int | float | bool):
        raise ValueError(f"expected text, a number, true or false, not {value!r}")  # noqa: TRY004  # pydantic reports ValueErrors
    return value


_Attribute = Annotated[
    Any,
    AfterValidator(_plain),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


class Section(BaseModel):
    """A mapping of the study file; one with a `shorthand` may be written as that key alone."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    shorthand: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, value: object) -> object:
        return {cls.shorthand: value} if cls.shorthand and isinstance(value, str) else value


class Scheme(Section):
    """What plans the rounds, by name, with settings of its own."""

    shorthand = "name"

    name: Annotated[str, Field(examples=["pipeline"])] = "pipeline"
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keywords of the scheme's constructor."""


class Model(Section):
    """An encoder-decoder Transformer."""

    shorthand = "name"

    name: Literal["transformer"] = "transformer"
    width: Count = 64
    heads: Count = 4
    feed_forward: Count = 256
    encoder_blocks: Count = 6
    decoder_blocks: Count = 2


class Task(Section):
    """What is learned: translation of number and date phrases, made without any download."""

    shorthand = "name"

    name: Literal["numbers"] = "numbers"
    limit: Annotated[int, Field(ge=10, le=100_000)] = 10_000
    """Cardinals are below this, ordinals below this and 1000."""
    kinds: Annotated[
        tuple[Literal["cardinal", "ordinal", "year", "date"], ...],
        Strict(False),
        Field(min_length=1),
    ] = ("cardinal", "ordinal", "year", "date")
    phrases: Annotated[int, Field(ge=1, le=100)] = 1
    """Phrases in a sequence, for sequences as long as sentences or paragraphs."""
    test_size: Annotated[int, Field(ge=10)] = 500
    """Sequences of phrases that no cluster has, on which the model is judged."""
    cluster_size: Count = 4000
    """Sequences that each cluster has."""
    dirichlet_alpha: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """How alike the clusters' mixtures of kinds are: the smaller, the less."""

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"expected each kind once, not {', '.join(kinds)}")
        return kinds


class Training(Section):
    """How the model is trained."""

    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=1e3)] = 2e-3
    batch_size: Count = 64
    """Sequences that a cluster takes in one local step, over all micro-batches."""
    local_steps: Count = 4
    """Steps of every cluster between two aggregations."""


class Node(Section):
    """A node: a device profile, and what differs from it."""

    shorthand = "profile"

    profile: Annotated[str, Field(examples=["raspberry-pi-4"])]
    position: Position | None = None
    tx_power_dbm: Annotated[Dbm, Field(ge=-100, le=80)] | None = None
    """The most it can radiate."""
    rx_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    active_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    flops_per_s: Annotated[FlopsPerSecond, Field(ge=1e3, le=1e18)] | None = None
    overhead_s: Annotated[Seconds, Field(ge=0, le=3600)] | None = None
    memory_bytes: Annotated[Bytes, Field(gt=0, le=1e15)] | None = None

    @field_validator("profile")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            profile(name)
        except UnknownProfile as error:
            raise ValueError(str(error)) from None
        return name

    def device_profile(self) -> DeviceProfile:
        """The profile with this node's own figures in it."""
        own: dict[str, Any] = {
            "rx_power_w": self.rx_power_w,
            "active_power_w": self.active_power_w,
            "flops_per_s": self.flops_per_s,
            "overhead_s": self.overhead_s,
            "memory_bytes": None if self.memory_bytes is None else int(self.memory_bytes),
            "max_tx_power_w": None if self.tx_power_dbm is None else to_w(self.tx_power_dbm),
        }
        given = {key: value for key, value in own.items() if value is not None}
        return dataclasses.replace(profile(self.profile), **given)


class Server(Node):
    """The base station with its edge server."""

    profile: str = "edge-server"


class Cluster(Section):
    """A control unit, which has the data, and the devices that compute for it."""

    cu: Annotated[Node, Field(examples=["jetson-nano"])]
    devices: Annotated[
        tuple[Node, ...], Strict(False), Field(min_length=1, examples=[["raspberry-pi-4"]])
    ]
    position: Position | None = None
    """Where the control unit is; drawn within the cell where it is left out."""
    channel: int | None = None
    """A Wi-Fi channel number or an OFDMA sub-band; clusters without one share the same."""
    size: Count | None = None
    """Sequences that this cluster has, where that is not the task's `cluster_size`."""


class Placement(Section):
    """Within what distances the nodes without a position are drawn, uniformly over the disc."""

    cell_radius_m: Annotated[Metres, Field(gt=1, le=1e6)] = 60.0
    """Control units around the base station."""
    cluster_radius_m: Annotated[Metres, Field(gt=1, le=1e6)] = 10.0
    """Devices around their control unit."""


class _Ofdma(Section):
    """Keys of the scheduled OFDMA radio, which the other stacks don't have."""

    transport: Literal["tcp", "udp", "direct"] | None = None
    """What carries the bytes; `direct` is the link layer alone, without IP."""
    engine: Literal["tti", "spectrum"] | None = None
    """`tti`: an event a TTI; `spectrum`: ns-3's spectrum channel. The results are the same."""
    carrier_hz: Annotated[Hertz, Field(gt=0)] | None = None
    tti_s: Annotated[Seconds, Field(gt=0)] | None = None
    target_bler: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Block error rate that link adaptation aims at."""
    max_transmissions: Annotated[int, Field(ge=1)] | None = None
    """Of a block by HARQ, the first included."""
    noise_figure_db: Decibels | None = None
    antenna_gain_db: Decibels | None = None

    def _given(self, *names: str) -> dict[str, Any]:
        """The keys of these names that a study gives."""
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


_OFDMA_KEYS = tuple(_Ofdma.model_fields)


class DeviceRadio(_Ofdma):
    """The radio inside the clusters: scheduled OFDMA sidelinks, or 802.11ax ad hoc."""

    shorthand = "stack"

    stack: Literal["ofdma", "wifi"] = "ofdma"
    bandwidth_hz: Annotated[Hertz, Field(gt=0)] | None = None
    """Of the channel; 20 MHz for OFDMA, of which a tenth is guard band, and 80 MHz for Wi-Fi."""
    reuse: Count | None = None
    """OFDMA: how many sub-bands the clusters take in turn; with 1 they all interfere."""
    underlay: bool | None = None
    """OFDMA: whether the sidelinks use the resource blocks of the uplink to the base station."""

    def spec(self) -> WifiSpec | OfdmaSpec:
        """The radio as the scenario has it, with its own loss model."""
        if self.stack == "wifi":
            return WifiSpec(self.bandwidth_hz or WifiSpec().bandwidth_hz)
        bandwidth_hz = ofdma_bandwidth_hz(self.bandwidth_hz or OFDMA_CHANNEL_HZ)
        given = self._given(*_OFDMA_KEYS, "reuse", "underlay")
        return OfdmaSpec(bandwidth_hz=bandwidth_hz, **{"transport": "tcp", **given})


class EdgeRadio(_Ofdma):
    """The radio between control units and base station; the bandwidth is that of each way."""

    shorthand = "stack"

    stack: Literal["ofdma", "lte"] = "ofdma"
    bandwidth_hz: Annotated[Hertz, Field(gt=0)] | None = None
    """Of the channel, 20 MHz by default; a tenth of it is guard band."""
    duplex: Literal["fdd", "tdd"] | None = None
    """OFDMA: whether both ways have a band each, or take turns in one."""
    station_noise_figure_db: Decibels | None = None
    station_antenna_gain_db: Decibels | None = None

    def spec(self) -> LteSpec | OfdmaSpec:
        """The radio as the scenario has it, with its own loss model."""
        if self.stack == "lte":
            return LteSpec(self.bandwidth_hz or LteSpec().bandwidth_hz)
        bandwidth_hz = ofdma_bandwidth_hz(self.bandwidth_hz or OFDMA_CHANNEL_HZ)
        station = ("station_noise_figure_db", "station_antenna_gain_db")
        given = self._given(*_OFDMA_KEYS, "duplex", *station)
        return OfdmaSpec(bandwidth_hz=bandwidth_hz, **{"transport": "tcp", **given})


OFDMA_CHANNEL_HZ = 20e6


def ofdma_bandwidth_hz(channel_hz: float) -> float:
    """What the resource blocks fill of a channel: as many as leave a tenth of it for guard bands.

    Of 5, 10, 15 and 20 MHz that is 25, 50, 75 and 100 blocks, as in LTE (3GPP TS 36.101, table
    5.6-1).
    """
    return max(int(0.9 * channel_hz / BLOCK_HZ + 1e-9), 1) * BLOCK_HZ


class Radio(Section):
    """The two radios: device to device, and device to edge."""

    d2d: DeviceRadio = DeviceRadio()
    d2e: EdgeRadio = EdgeRadio()


class Loss(Section):
    """An ns-3 propagation loss model; of the stack's own model single attributes may be given."""

    shorthand = "model"

    model: str = Channel().kind
    attributes: dict[str, _Attribute] = Field(default_factory=dict)

    def over(self, own: Channel) -> Channel:
        """The channel, with what a stack has of its own where it is the same model."""
        same = self.model in (own.kind, kind_of(own).loss)
        return Channel(self.model, {**(own.attributes if same else {}), **self.attributes})


class Propagation(Section):
    """How the radios' signals weaken; what is left out is as the radio's stack has it."""

    d2d: Loss | None = None
    d2e: Loss | None = None


class StudyConfig(Section):
    """A study. Every run of it with the same seed gives the same bytes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", examples=["my-study"])]
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    rounds: Count = 10
    scheme: Scheme = Scheme()
    model: Model = Model()
    task: Task = Task()
    training: Training = Training()
    clusters: Annotated[tuple[Cluster, ...], Strict(False), Field(min_length=1)]
    server: Server = Server(position=(0.0, 0.0, 10.0))
    placement: Placement = Placement()
    radio: Radio = Radio()
    propagation: Propagation = Propagation()
    fidelity: Fidelity = "packet"
    """`packet`: every byte goes as packets; `sampled`: of long transfers a prefix does, until its
    goodput has settled, and the rest is taken to go on like it."""
    ns3: dict[str, _Attribute] = Field(default_factory=dict)
    """Defaults of ns-3 attributes, `ns3::Type::Attribute` to value."""

    @field_validator("server")
    @classmethod
    def _on_a_mast(cls, server: Server) -> Server:
        if server.position is not None:
            return server
        return server.model_copy(update={"position": (0.0, 0.0, 10.0)})
