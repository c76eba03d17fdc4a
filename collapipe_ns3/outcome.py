"""The outcome of an executed round, which is recorded and which a scheme learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

from bridge.network import Delivery
from collapipe_ns3.nodes import Role, cluster_of, role
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import Pipeline


@dataclass(frozen=True, slots=True)
class WorkItem:
    """The part of a round's work that a computation or a transfer belongs to.

    `pipeline` is the number of the pipeline in its cluster, `stage` that of the stage in the
    pipeline, and `step` that of the local step. A field is -1 where it does not apply.
    """

    cluster: int = -1
    pipeline: int = -1
    stage: int = -1
    micro_batch: int = -1
    step: int = -1

    def at(self, stage: int, micro_batch: int = -1) -> Self:
        """The work of a stage of this pipeline in the same step."""
        return type(self)(self.cluster, self.pipeline, stage, micro_batch, self.step)


class TransferLabel(str):
    """The kind of a transfer, as text, together with the work that it belongs to.

    A network hands it back as the `kind` of the `Delivery`. `leg` is the number of the leg of an
    exchange that it belongs to, -1 for others.
    """

    __slots__ = ("leg", "work")

    work: WorkItem
    leg: int

    def __new__(cls, kind: str, work: WorkItem, leg: int = -1) -> Self:
        label = super().__new__(cls, kind)
        label.work = work
        label.leg = leg
        return label

    def __getnewargs__(self) -> tuple[str, WorkItem, int]:  # type: ignore[override]
        return str(self), self.work, self.leg


def work_of(delivery: Delivery) -> WorkItem:
    """The work that a transfer belongs to.

    Of soundings, and of what several pipelines share, only the cluster of the link is known.
    """
    if isinstance(delivery.kind, TransferLabel):
        return delivery.kind.work
    return WorkItem(max(cluster_of(delivery.src), cluster_of(delivery.dst)))


@dataclass(frozen=True, slots=True)
class Computation:
    """One computation of a node, from `start_ns` to `end_ns`, which took `wall_s` in reality.

    A stage's forward (F) or backward (B) of a micro-batch, or its optimizer step; or the base
    station's aggregation of all models. `work` has the micro-batch of the former two only, and is
    empty for the aggregation. A computation that was cut, as its node left or its pipeline failed,
    ends at that instant; its FLOPs are those that it would have taken.
    """

    node: str
    work: WorkItem
    action: Literal["F", "B", "step", "aggregate"]
    start_ns: int
    end_ns: int
    flops: float
    wall_s: float
    outcome: Literal["done", "cut"] = "done"

    @property
    def cluster(self) -> int:
        return self.work.cluster

    @property
    def stage(self) -> int:
        return self.work.stage

    @property
    def micro_batch(self) -> int:
        return self.work.micro_batch


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """A node's share of a round: its encoder blocks, its peak memory and its energy.

    `cluster` is -1 for the base station. The energy of radios includes soundings. All energies but
    `idle_energy_j` are above idle, so that their sum is what the node took from its supply
    (`collapipe_ns3.costs.power`). `away_s` is for how long it was away.
    """

    device: str
    cluster: int
    blocks: int
    peak_memory_bytes: int
    compute_energy_j: float
    tx_energy_j: float
    rx_energy_j: float
    idle_energy_j: float = 0.0
    away_s: float = 0.0

    @property
    def role(self) -> Role:
        """What the node is."""
        return role(self.device)

    @property
    def radio_energy_j(self) -> float:
        return self.tx_energy_j + self.rx_energy_j

    @property
    def energy_j(self) -> float:
        """The energy of computation, radio and idling."""
        return self.compute_energy_j + self.radio_energy_j + self.idle_energy_j


@dataclass(frozen=True, slots=True)
class GradientNorms:
    """Squared norms of the gradient of one local step while its micro-batches accumulated.

    `prefix_squares[m - 1]` is ‖mean gradient of the first m micro-batches‖². Each micro-batch has
    `sequences` sequences.
    """

    cluster: int
    sequences: int
    prefix_squares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PipelineDistortion:
    """How much a pipeline's activations and gradients were distorted by their transfers in a round.

    `distortion` is Σ ε over all hops of a micro-batch, forward and backward, averaged over the
    round's micro-batches, where ε is the distortion of a tensor by one hop
    (`collapipe_ns3.engine.air`). `weight` is the pipeline's weight in the average of the models,
    and `sequences` is the size of its batches.
    """

    cluster: int
    weight: float
    sequences: int
    micro_batches: int
    distortion: float


@dataclass(frozen=True, slots=True)
class ParameterEncoding:
    """How a unit of a pipeline that was averaged travelled, in another format than fp32.

    `direction` is that of the broadcast (down), or of the trained unit (up). A unit that went
    `whole` has travelled in fp32, since its node lacked the reference of differences. `size_bytes`
    is its size on each hop.

    `norm_sq` is ‖x‖² of what was encoded (a difference, or the parameters themselves), and
    `distortion` is ‖e‖²/‖x‖² with e the error of what was decoded, so that the node or the base
    station has the unit with the squared error `distortion` · `norm_sq`. Both are 0 where nothing
    was encoded. A unit that went whole while others got the difference has what these have.

    With `dropped_error`, what the previous node had not sent of the unit's differences was dropped.
    """

    cluster: int
    pipeline: int  # its number in the cluster
    direction: Literal["down", "up"]
    unit: str
    format: str
    whole: bool
    size_bytes: int
    distortion: float
    norm_sq: float
    dropped_error: bool = False


@dataclass(frozen=True, slots=True)
class LostDevice:
    """A device that left while a pipeline needed it.

    `at_ns` is when it left and `at_step` the local step in which it did. `back_to_step` is the step
    that the pipeline began again with, -1 where it was abandoned, and `states` what the device's
    optimizer states became on the next one.
    """

    device: str
    at_ns: int
    at_step: int
    back_to_step: int = -1
    states: Literal["zeros", "copy", "none"] = "none"


@dataclass(frozen=True, slots=True)
class PipelineFate:
    """What became of one pipeline in a round.

    An averaged pipeline has the `weight` of its model in the new global model, which the
    aggregation says; in federated averaging they add up to 1. It has a `loss`, the mean over its
    local steps, each of which is in `step_losses`. A failed one has the weight 0, nan as its loss,
    no `step_losses`, and a `reason`. `end_ns` is when its last parameters arrived, or when it
    failed. `index` is the number of the pipeline in its cluster.

    A late one has not arrived by the round's deadline; it has the weight 0 and a `reason`. An
    averaged one of an earlier round, which was late, has its `age` in rounds. `lost` are the
    devices that it lost, each with what became of its work, and `repeated_steps` the local steps
    that were computed again because of them; `pipeline` is the one that it ended with.
    """

    cluster: int
    index: int
    pipeline: Pipeline
    fate: Literal["averaged", "failed", "late"]
    weight: float
    loss: float
    end_ns: int
    reason: str = ""
    step_losses: Sequence[float] = ()
    age: int = 0
    lost: Sequence[LostDevice] = ()
    repeated_steps: int = 0

    @property
    def devices(self) -> str:
        """The devices of its segments in order, as printed text."""
        return " → ".join(stage.device for stage in self.pipeline.stages)


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """One executed round. Instants are nanoseconds since the network's episode began.

    `phases_ns` has the duration of each phase, in their order, of the pipeline that finished last.
    The phases of other pipelines overlap these, so the phases listed here add up to the round's
    duration.

    `computation_ns` is the longest time that any pipeline took for its local steps, including the
    transfers between its stages. It may be longer than the pipeline phase, which is that of the
    pipeline that finished last. `overlap_ns` is how long any parameters of the pipeline that
    finished last were on their way during its local steps; 0 unless the exchange is streamed.

    `loss` is the training loss, the mean over local steps and clusters weighted by their data, nan
    where no pipeline was averaged. `pipelines` says what became of each planned pipeline, and
    `sat_out` names the clusters for which none was planned, with the reasons of the absences.
    A round without planned pipelines waits for a node to return, for `waited_ns`, which is its
    pipeline phase. `gradients`, `distortions` and `encodings` are of the averaged pipelines; the
    latter are those of parameters in other formats than fp32.

    `holders` say which node has the optimizer states of each unit after the round, by (cluster,
    pipeline), for those pipelines that failed or lost a device: of others it follows from the plan.
    A unit is missing there if nobody has any states of it.
    """

    round: int
    start_ns: int
    phases_ns: Mapping[Phase, int]
    computation_ns: int
    loss: float
    computations: Sequence[Computation]
    deliveries: Sequence[Delivery]
    links: Sequence[MeasuredLink]
    devices: Sequence[DeviceUse]
    pipelines: Sequence[PipelineFate]
    gradients: Sequence[GradientNorms] = ()
    distortions: Sequence[PipelineDistortion] = ()
    overlap_ns: int = 0
    sat_out: Mapping[int, str] = field(default_factory=dict)
    waited_ns: int = 0
    encodings: Sequence[ParameterEncoding] = ()
    holders: Mapping[tuple[int, int], Mapping[str, str]] = field(default_factory=dict)

    @property
    def duration_ns(self) -> int:
        return sum(self.phases_ns.values())

    @property
    def abandoned(self) -> dict[int, str]:
        """The clusters in which every pipeline failed, and why."""
        averaged = {each.cluster for each in self.pipelines if each.fate == "averaged"}
        failed: dict[int, list[str]] = {}
        for each in self.pipelines:
            if each.cluster not in averaged:
                failed.setdefault(each.cluster, []).append(each.reason)
        return {cluster: "; ".join(reasons) for cluster, reasons in failed.items()}

    @property
    def energy_j(self) -> dict[str, float]:
        """Energy of each node in joules, for computation and radio."""
        return {use.device: use.energy_j for use in self.devices}

    @property
    def total_energy_j(self) -> float:
        return math.fsum(self.energy_j.values())

    @property
    def device_energy_j(self) -> float:
        """Energy of all devices in joules; control units and base stations are not counted."""
        return math.fsum(use.energy_j for use in self.devices if use.role is Role.DEVICE)

    @property
    def peak_device_memory_bytes(self) -> int:
        """The largest peak memory of any device that held encoder blocks."""
        trained = (use for use in self.devices if use.blocks and use.role is Role.DEVICE)
        return max((use.peak_memory_bytes for use in trained), default=0)
