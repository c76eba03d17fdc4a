"""What a round leaves behind: rows for the records, and what a scheme may learn from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from bridge.network import Delivery
from collapipe_ns3.nodes import Role, role
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.plan import Pipeline


class Phase(StrEnum):
    """The phases of a round, in their order.

    Links are sounded, and the plan is made. Then each pipeline receives the global model
    (broadcast), does its local steps (pipeline), collects the parameters of its stages at the
    control unit (gather) and sends them to the base station (upload), which averages all models
    (aggregate).
    """

    SOUNDING = "sounding"
    BROADCAST = "broadcast"
    PIPELINE = "pipeline"
    GATHER = "gather"
    UPLOAD = "upload"
    AGGREGATE = "aggregate"


#: The phases that every pipeline goes through on its own.
PIPELINE_PHASES = (Phase.BROADCAST, Phase.PIPELINE, Phase.GATHER, Phase.UPLOAD)

#: The phases whose time depends on the plan: all but sounding, which comes before it.
PLANNED_PHASES = (*PIPELINE_PHASES, Phase.AGGREGATE)


def durations_ns(start_ns: int, ends_ns: Mapping[Phase, int]) -> dict[Phase, int]:
    """How long phases took that follow one another, from the instants at which they ended."""
    starts_ns = [start_ns, *ends_ns.values()]
    return {
        phase: end_ns - begin_ns
        for begin_ns, (phase, end_ns) in zip(starts_ns, ends_ns.items(), strict=False)
    }


@dataclass(frozen=True, slots=True)
class Computation:
    """One stage's action on one micro-batch (F, B) or on its parameters (step, -1)."""

    node: str
    cluster: int
    stage: int
    micro_batch: int
    action: Literal["F", "B", "step", "aggregate"]
    start_ns: int
    end_ns: int
    flops: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What one node held, and what it spent, in a round."""

    device: str
    cluster: int
    blocks: int
    peak_memory_bytes: int
    compute_energy_j: float
    tx_energy_j: float
    rx_energy_j: float

    @property
    def role(self) -> Role:
        """What the node is."""
        return role(self.device)

    @property
    def radio_energy_j(self) -> float:
        return self.tx_energy_j + self.rx_energy_j

    @property
    def energy_j(self) -> float:
        """Computation and radio."""
        return self.compute_energy_j + self.radio_energy_j


@dataclass(frozen=True, slots=True)
class GradientNorms:
    """Squared norms of one step's gradient as its micro-batches came in.

    `prefix_squares[m - 1]` is ‖mean gradient of the first m micro-batches‖², each of `sequences`.
    """

    cluster: int
    sequences: int
    prefix_squares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PipelineDistortion:
    """How much the tensors of a pipeline were distorted on their way in a round.

    `distortion` is Σ ε over all hops of a micro-batch, forward and backward, the mean over the
    round's micro-batches; `weight` is the pipeline's part of the average.
    """

    cluster: int
    weight: float
    sequences: int
    micro_batches: int
    distortion: float


@dataclass(frozen=True, slots=True)
class PipelineFate:
    """What became of one pipeline in a round.

    An averaged one has its `weight` in the average (those of all averaged pipelines add to 1) and
    its `loss`, the mean over its local steps; a failed one has the weight 0, no loss, and a
    `reason`. `end_ns` is when its last parameters had arrived, or when it failed.
    """

    cluster: int
    index: int  # of the pipeline in its cluster
    pipeline: Pipeline
    fate: Literal["averaged", "failed"]
    weight: float
    loss: float
    end_ns: int
    reason: str = ""

    @property
    def devices(self) -> str:
        """The devices of its segments in order, for people."""
        return " → ".join(stage.device for stage in self.pipeline.stages)


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """One executed round. Times are nanoseconds since the network's episode began.

    `loss` is the training loss, the mean over local steps and clusters weighted by their data;
    nan where no pipeline was averaged. `pipelines` says of each planned pipeline what became of it;
    `sat_out` are the clusters for which none was planned, each with the reasons of the absences.
    `computation_ns` is the longest that a pipeline took for its local steps, the transfers between
    its stages included: unlike `phases` it hides nothing behind another pipeline's broadcast.
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
    sat_out: Mapping[int, str] = field(default_factory=dict)

    @property
    def duration_ns(self) -> int:
        return sum(self.phases_ns.values())

    @property
    def abandoned(self) -> dict[int, str]:
        """Each cluster of which every pipeline failed, and why; the others' work was averaged."""
        averaged = {each.cluster for each in self.pipelines if each.fate == "averaged"}
        failed: dict[int, list[str]] = {}
        for each in self.pipelines:
            if each.cluster not in averaged:
                failed.setdefault(each.cluster, []).append(each.reason)
        return {cluster: "; ".join(reasons) for cluster, reasons in failed.items()}

    @property
    def energy_j(self) -> dict[str, float]:
        """Energy of each node, computation and radio."""
        return {use.device: use.energy_j for use in self.devices}

    @property
    def total_energy_j(self) -> float:
        return math.fsum(self.energy_j.values())

    @property
    def device_energy_j(self) -> float:
        """Energy of the clusters' devices, without control units and base stations."""
        return math.fsum(use.energy_j for use in self.devices if use.role is Role.DEVICE)

    @property
    def peak_device_memory_bytes(self) -> int:
        """The largest peak of any device that held encoder blocks."""
        trained = (use for use in self.devices if use.blocks and use.role is Role.DEVICE)
        return max((use.peak_memory_bytes for use in trained), default=0)
