"""The keys of a study file, with their types, units, bounds and defaults.

A key that names a unit takes a number in it, or text with a unit (`collapipe_ns3.quantity`).
Conditions on several keys are checked in `collapipe_ns3.reading.checks`.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Strict, Tag, WithJsonSchema, field_validator

from bridge.formats import ParameterFormat, Wire
from collapipe_ns3.config.aggregation import Aggregation
from collapipe_ns3.config.faults import Faults
from collapipe_ns3.config.radio import Propagation, Radio
from collapipe_ns3.config.section import Attribute, Count, Keys, Position, Section
from collapipe_ns3.config.surroundings import Interferer, Mobility, Motion
from collapipe_ns3.costs.devices import DeviceProfile, UnknownProfile, profile
from collapipe_ns3.costs.optimizers import OptimizerKind, optimizer_kind
from collapipe_ns3.costs.power import EnergyModel, RadioPower, Rest
from collapipe_ns3.learning.aggregation import Aggregator
from collapipe_ns3.learning.models import MODELS
from collapipe_ns3.learning.protocol import Setup
from collapipe_ns3.learning.updates import CLIPPING_FLOPS, Schedule, UpdateRule
from collapipe_ns3.names import did_you_mean
from collapipe_ns3.plan import Deadline, Recovery, RecoveryPolicy
from collapipe_ns3.quantity import Bytes, Dbm, FlopsPerSecond, Metres, Seconds, Watts, to_w
from ns3_scenarios.scenario import Fidelity

MAST_M = 10.0  # default height of base stations, m


_Blocks = Annotated[int, Field(ge=1, le=1000)]
_Sequences = Annotated[int, Field(ge=1, le=10_000_000)]


class Scheme(Section):
    """The scheme that plans the rounds, by name, with its settings."""

    shorthand = "name"

    name: Annotated[str, Field(examples=["pipeline"])] = "pipeline"
    """A name that `collapipe-ns3 schemes` lists."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the scheme's constructor."""


class Scenario(Section):
    """A user's own function that builds the network; see docs/own-scenario.md."""

    shorthand = "function"

    function: Annotated[str, Field(examples=["my_package.my_module:build"])]
    """`module:function`."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the function."""


class Lora(Section):
    """Low-rank changes of frozen blocks; the last part is trained as a whole."""

    rank: Annotated[int, Field(ge=1, le=4096)] = 8
    """The rank of each change, which is the product of two matrices B·A."""
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 16.0
    """The change is multiplied by alpha / rank."""
    targets: Annotated[tuple[str, ...], Strict(False)] = ()
    """Last names of the linear layers of a block that are changed; by default the usual ones."""
    train_a: bool = False
    """Whether A is trained too. If it is frozen, and so the same everywhere, averages are exact."""


class Model(Section):
    """The model; the tasks that take a model by name say which."""

    shorthand = "name"

    name: str = "transformer"
    """A name in `collapipe_ns3.learning.models.MODELS`: an encoder-decoder, or an encoder."""
    width: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Features of a token in every block."""
    heads: Annotated[int, Field(ge=1, le=65_536)] = 4
    """Attention heads of a block; they divide the width."""
    feed_forward: Annotated[int, Field(ge=1, le=262_144)] = 256
    """Features of the hidden layer of a block's feed-forward network."""
    encoder_blocks: _Blocks = 6
    """Blocks of the encoder, which the segments of a pipeline divide among devices."""
    decoder_blocks: _Blocks = 2
    """Only models with a decoder have them."""
    norm: Literal["pre", "post"] = "pre"
    """Where a built-in model normalises: before each sub-layer, or after it."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the activations that dropout sets to zero in training."""
    tied_output: bool = False
    """Whether the target embedding is also the output layer of `transformer`."""
    pooling: Literal["mean", "first"] = "mean"
    """What `encoder` classifies a sequence by: the mean of its tokens, or the first one."""
    checkpoint: str | None = None
    """A folder with a pretrained model of Hugging Face's transformers, in safetensors."""
    lora: Lora | None = None
    """Low-rank changes that are trained instead of the blocks; by default all weights are."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MODELS:
            raise ValueError(f"no model {name!r}; {did_you_mean(name, MODELS)}")
        return name


class Task(Section):
    """The learning task, by name; its other keys are the task's own settings."""

    model_config = ConfigDict(extra="allow")

    shorthand = "name"

    name: Annotated[str, Field(examples=["numbers"])] = "numbers"
    """A name that `collapipe-ns3 tasks` lists."""

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the task's constructor."""
        return dict(self.model_extra or {})


class Format(Section):
    """A format of parameters on the air."""

    shorthand = "numbers"

    numbers: Wire = "fp32"
    """Format of each number; int8 has a scale for each row, and rounds stochastically."""
    difference: bool = False
    """Whether the difference is sent from what sender and receiver hold already, where they do."""
    largest: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of each tensor's numbers that is sent, those of the largest magnitude; null: all."""

    def of_parameters(self) -> ParameterFormat:
        """The same as a format of `bridge`."""
        return ParameterFormat(self.numbers, self.difference, self.largest)


def _form_of_chunks(value: object) -> str:
    without_digits = isinstance(value, str) and not any(map(str.isdigit, value))
    return "(word)" if without_digits else "(size)"


_Chunks = Annotated[
    Annotated[Bytes, Field(ge=1000, le=1e15), Tag("(size)")]
    | Annotated[Literal["auto"], Tag("(word)")],
    Discriminator(_form_of_chunks),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 1000, "maximum": 1e15}, {"type": "string"}],
            "description": "in B, text with a unit, or auto",
        }
    ),
]


class CommonExchange(Section):
    """How parameters travel under every scheme, whatever its own plan says."""

    multicast: bool | None = None
    """Whether nodes that need the same parameters are sent them in one transmission; null: where
    the radio can."""
    chunk_bytes: _Chunks | None = "auto"
    """Parameters travel in chunks of this size, each of which goes on as soon as it has arrived;
    `auto`: about 1/128 of what the base station sends of the model; null: store and forward."""
    down: Format = Format()
    """Format of what the base station sends."""
    up: Format = Format()
    """Format of what clusters have trained."""


class LocalSteps(Section):
    """The bounds within which a plan chooses the number of local steps."""

    least: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """The fewest of a round, and those of a plan that chooses no number."""
    most: Annotated[int, Field(ge=1, le=1_000_000, examples=[1])]
    """The most of a round."""


def _form_of_steps(value: object) -> str:
    return "(range)" if isinstance(value, dict | LocalSteps) else "(number)"


class CommonRecovery(Section):
    """What becomes of a pipeline that loses a device, under every scheme."""

    shorthand = "policy"

    policy: Annotated[RecoveryPolicy, Field(examples=["restart"])]
    """`abandon`: it fails for the round; `restart`: the round's local steps begin again on the
    devices that are left; `replicate`: they go on from the last copy on the control unit."""
    copy_every: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Local steps between two copies of every segment to the control unit, for `replicate`."""
    most_losses: Annotated[int, Field(ge=0, le=1000)] = 3
    """Devices that a pipeline replaces in a round, at most; the next loss abandons it."""

    def of_plan(self) -> Recovery:
        """The same as a term of a plan."""
        return Recovery(self.policy, self.copy_every, self.most_losses)


class CommonDeadline(Section):
    """When the base station stops to wait in a round, under every scheme."""

    after_s: Annotated[Seconds, Field(gt=0, le=1e9, examples=[10.0])]
    """Time from the beginning of the broadcast."""
    quorum: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the round's clusters whose results it has to have; it waits until it has them."""
    late: Literal["drop", "keep"] = "drop"
    """What becomes of later results: `drop`, or `keep`: they enter the average of a later round."""
    most_age: Annotated[int, Field(ge=0, le=1_000_000_000)] = 3
    """Rounds after which kept results are dropped."""

    def of_plan(self) -> Deadline:
        """The same as a term of a plan."""
        return Deadline(self.after_s, self.quorum, self.late, self.most_age)


class Training(Section):
    """The settings of training."""

    optimizer: Annotated[str, Field(examples=["adamw"])] = "adamw"
    """An optimizer of `torch.optim` by its name in lower case."""
    optimizer_settings: dict[str, Any] = Field(default_factory=dict)
    """Keywords of the optimizer's constructor, such as `weight_decay`."""
    learning_rate: Annotated[float, Field(gt=0, le=1e3)] = 2e-3
    """The learning rate after the warm-up."""
    schedule: Schedule = "constant"
    """How the learning rate falls after the warm-up: to zero at the last step of all rounds."""
    warm_up_steps: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Local steps over which the learning rate rises to its full value."""
    head_learning_rate_factor: Annotated[float, Field(gt=0, le=1e3)] = 1.0
    """Learning rate of the last part (decoder or head) and of a local head, as a multiple of
    `learning_rate`."""
    clip_norm: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """The largest norm of a part's gradient; each node clips the parts that it holds."""
    batch_size: _Sequences = 64
    """Sequences that a cluster processes in one local step, in all micro-batches together."""
    local_steps: Annotated[
        Annotated[int, Field(ge=1, le=1_000_000), Tag("(number)")]
        | Annotated[LocalSteps, Tag("(range)")],
        Discriminator(_form_of_steps),
    ] = 4
    """Steps of each cluster between two aggregations, or bounds within which plans choose them."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label's probability that is spread over all classes or words."""
    mode: Literal["end_to_end", "local_head"] = "end_to_end"
    """`end_to_end`: the edge server sends gradients back; `local_head`: a light head on the control
    unit trains the blocks, and the edge server trains the last part on uploaded features."""
    wire: Wire = "fp32"
    """Format of activations and gradients on the air; int8 rounds stochastically."""
    exchange: CommonExchange | None = None
    """How parameters travel under every scheme; null: each scheme decides."""
    recovery: CommonRecovery | None = None
    """What becomes of a pipeline that loses a device, under every scheme; null: each scheme
    decides, those of the paper abandon it."""
    deadline: CommonDeadline | None = None
    """When the base station stops to wait, under every scheme; null: each scheme decides, those of
    the paper always wait for all."""
    aggregation: Aggregation = Aggregation()
    """How the base station makes the new global model from what clusters have trained."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products; parameters, gradients and optimizer states are always float32."""

    @property
    def least_steps(self) -> int:
        """The local steps of a round where its plan gives no number."""
        return self.local_steps if isinstance(self.local_steps, int) else self.local_steps.least

    @property
    def most_steps(self) -> int:
        """The most local steps that a plan may choose."""
        return self.local_steps if isinstance(self.local_steps, int) else self.local_steps.most

    @property
    def optimizer_alone(self) -> OptimizerKind:
        """The optimizer with its settings and the costs of clipping. Raises BadOptimizer."""
        kind = optimizer_kind(self.optimizer, self.optimizer_settings)
        clipping = 0 if self.clip_norm is None else CLIPPING_FLOPS
        return dataclasses.replace(kind, flops=kind.flops + clipping)

    @property
    def kind(self) -> OptimizerKind:
        """`optimizer_alone` with what an aggregation adds to its steps. Raises BadOptimizer."""
        return self.optimizer_alone.with_term(self.aggregation.term)

    def updates(self, rounds: int) -> UpdateRule:
        """The learning rate of each step of so many rounds, and the clipping of gradients."""
        return UpdateRule(
            schedule=self.schedule,
            warm_up_steps=self.warm_up_steps,
            total_steps=rounds * self.most_steps,
            clip_norm=self.clip_norm,
            head_factor=self.head_learning_rate_factor,
        )


class Node(Section):
    """A node: a device profile, and values that replace those of the profile."""

    shorthand = "profile"

    profile: Annotated[str, Field(examples=["raspberry-pi-4"])]
    """A name that `collapipe-ns3 profiles` lists."""
    position: Position | None = None
    """East, north, and height above ground (default 1.5 m); by default drawn, see `placement`."""
    motion: Motion | None = None
    """Motion of the node; a trajectory (`way`) begins at its own position. A control unit takes its
    devices along."""
    tx_power_dbm: Annotated[Dbm, Field(ge=-100, le=80)] | None = None
    """The most that it can radiate."""
    rx_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    """Power of a radio while it receives; by default that of the profile, as the next keys."""
    active_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    """Power of the board while it computes, that at idle included."""
    idle_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    """Power of the board at idle, without radios; only `energy: socket` counts this and the next
    four keys."""
    radio_idle_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    """Power of a radio that listens. A device has one radio, a control unit two, and the base
    stations one each."""
    radio_sleep_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    """Power of a radio that sleeps, see `energy.radio_rest`."""
    tx_static_power_w: Annotated[Watts, Field(ge=0, le=1e6)] | None = None
    """Power of a radio that sends, without what depends on the radiated power."""
    pa_efficiency: Annotated[float, Field(gt=0, le=1)] | None = None
    """Radiated power over what radiating it takes in addition: the power amplifier's efficiency."""
    flops_per_s: Annotated[FlopsPerSecond, Field(ge=1e3, le=1e18)] | None = None
    """FLOPs that it computes in a second of training in float32."""
    flops_per_s_bf16: Annotated[FlopsPerSecond, Field(ge=1e3, le=1e18)] | None = None
    """Where `training.precision` is bfloat16; by default that of float32."""
    overhead_s: Annotated[Seconds, Field(ge=0, le=3600)] | None = None
    """Time that is added to every computation."""
    memory_bytes: Annotated[Bytes, Field(gt=0, le=1e15)] | None = None
    """Memory that training may use."""

    @field_validator("profile")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            profile(name)
        except UnknownProfile as error:
            raise ValueError(str(error)) from None
        return name

    def device_profile(self) -> DeviceProfile:
        """The profile with this node's own values."""
        own: dict[str, Any] = {
            "rx_power_w": self.rx_power_w,
            "active_power_w": self.active_power_w,
            "idle_power_w": self.idle_power_w,
            "flops_per_s": self.flops_per_s,
            "flops_per_s_bf16": self.flops_per_s_bf16,
            "overhead_s": self.overhead_s,
            "memory_bytes": None if self.memory_bytes is None else int(self.memory_bytes),
            "max_tx_power_w": None if self.tx_power_dbm is None else to_w(self.tx_power_dbm),
        }
        given = {key: value for key, value in own.items() if value is not None}
        found = profile(self.profile)
        return dataclasses.replace(found, radio=self._radio(found.radio), **given)

    def _radio(self, usual: RadioPower) -> RadioPower:
        """The powers of its radios, with this node's own values."""
        own = {
            "sleep_w": self.radio_sleep_power_w,
            "idle_w": self.radio_idle_power_w,
            "rx_w": self.rx_power_w,
            "tx_static_w": self.tx_static_power_w,
            "pa_efficiency": self.pa_efficiency,
        }
        return dataclasses.replace(usual, **{k: v for k, v in own.items() if v is not None})


class Energy(Section):
    """How the energy of nodes is counted, see docs/energy.md."""

    shorthand = "model"
    chooses = "model"
    only: ClassVar[Keys] = {"radio_rest": ("socket",)}

    model: Literal["socket", "radiated"] = "socket"
    """`socket`: all that a node takes from its supply; `radiated`: only the radiated power while it
    sends, the power of `rx_power_w` while it receives, and `active_power_w` while it computes."""
    radio_rest: Rest | None = None
    """What radios do between transmissions and receptions: listen (`idle`, the default), or `sleep`
    without any cost of waking up, which is a lower limit."""

    def energy_model(self) -> EnergyModel:
        """The model of the nodes' profiles."""
        return EnergyModel(self.model, self.radio_rest or "idle")


class Server(Node):
    """The base station with its edge server."""

    profile: str = "edge-server"
    """A name that `collapipe-ns3 profiles` lists."""


class Cluster(Section):
    """A control unit, which holds the data, and the devices that compute for it."""

    cu: Annotated[Node, Field(examples=["jetson-nano"])]
    """The control unit."""
    devices: Annotated[
        tuple[Node, ...],
        Strict(False),
        Field(min_length=1, max_length=1000, examples=[["raspberry-pi-4"]]),
    ]
    """The devices, which compute the segments of the encoder."""
    position: Position | None = None
    """Position of the control unit; by default drawn within the cell."""
    motion: Motion | None = None
    """Motion of the control unit."""
    together: bool = True
    """Whether devices move with the control unit; those on a trajectory of their own never do."""
    station: str | None = None
    """The base station that serves it: `bs`, or one of the `stations` (`bs1`, `bs2`, …)."""
    channel: int | None = None
    """A Wi-Fi channel number or an OFDMA sub-band; clusters without one share one channel."""
    size: _Sequences | None = None
    """Sequences that this cluster has; by default the task's `cluster_size`."""


class Station(Section):
    """A further base station, otherwise like the server's; the core network has no delay."""

    position: Annotated[Position, Field(examples=[[1e4, 0.0, 10.0]])]
    """East, north and height of its antenna."""
    motion: Motion | None = None
    """Motion of the station; by default it stands still."""


class Placement(Section):
    """The discs that nodes without a position are drawn in, uniformly over the area."""

    cell_radius_m: Annotated[Metres, Field(gt=1, le=1e6)] = 60.0
    """Distance of control units from the base station, at most."""
    cluster_radius_m: Annotated[Metres, Field(gt=1, le=1e6)] = 10.0
    """Distance of devices from their control unit, at most."""


class StudyConfig(Section):
    """A study. Every run of it with the same seed and code gives the same bytes.

    The memory that it needs on the machine that runs it is predicted from its model, nodes and
    data, and may be at most 256 GiB.
    """

    name: Annotated[
        str,
        Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", examples=["my-study"]),
    ]
    """The name of the study, which the directories of its runs begin with."""
    description: Annotated[str, Field(max_length=10_000)] = ""
    """What `collapipe-ns3 studies` prints beside the name."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """The seed of all randomness: weights, data, positions, channels."""
    rounds: Count = 10
    """The number of rounds."""
    scheme: Scheme = Scheme()
    """What plans the rounds."""
    scenario: Scenario | None = None
    """A function that builds the network instead of the study's radios."""
    model: Model = Model()
    """The model that is trained."""
    task: Task = Task()
    """The learning task: its data and its metrics."""
    training: Training = Training()
    """Optimizer, batches, local steps, and formats of numbers."""
    clusters: Annotated[tuple[Cluster, ...], Strict(False), Field(min_length=1, max_length=1000)]
    """The clusters, each with a control unit and devices."""
    server: Server = Server(position=(0.0, 0.0, MAST_M))
    """The first base station and its edge server."""
    stations: Annotated[tuple[Station, ...], Strict(False), Field(max_length=1000)] = ()
    """Further base stations, which share the edge server."""
    placement: Placement = Placement()
    """Where nodes without a position are drawn."""
    mobility: Mobility = Mobility()
    """A file with the movements of nodes."""
    radio: Radio = Radio()
    """The radios."""
    propagation: Propagation = Propagation()
    """The channels of the radios."""
    energy: Energy = Energy()
    """How the energy of nodes is counted."""
    interferers: Annotated[tuple[Interferer, ...], Strict(False), Field(max_length=1000)] = ()
    """Jammers and background traffic."""
    faults: Faults = Faults()
    """Nodes that leave, slow down and come back, and outages of links."""
    fidelity: Fidelity = "packet"
    """`packet`: every byte is simulated as packets; `sampled`: of a long transfer only a prefix is,
    until its goodput has settled, and the rest is extrapolated from it."""
    ns3: dict[str, Attribute] = Field(default_factory=dict)
    """Default values of ns-3 attributes, by `ns3::Type::Attribute`."""

    def aggregator(self) -> Aggregator:
        """The server part of the aggregation."""
        training = self.training
        return training.aggregation.aggregator(len(self.clusters), training.optimizer_settings)

    def learning_setup(self) -> Setup:
        """What the task is made from, apart from its own settings."""
        return Setup(
            cluster_sizes=tuple(cluster.size for cluster in self.clusters),
            batch_size=self.training.batch_size,
            seed=self.seed,
            model=self.model.model_dump(),
            label_smoothing=self.training.label_smoothing,
        )

    @field_validator("server")
    @classmethod
    def _on_a_mast(cls, server: Server) -> Server:
        if server.position is not None:
            return server
        return server.model_copy(update={"position": (0.0, 0.0, MAST_M)})
