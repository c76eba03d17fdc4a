"""The record of a round: its rows in each table, and its line in the list of plans.

`run_directory` writes it to disk.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bridge.network import Position
from collapipe_ns3.node_state import NodeState
from collapipe_ns3.nodes import cluster_of, control_unit
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.outcome import LostDevice, RoundOutcome, work_of
from collapipe_ns3.plan import ClusterPlan, RoundPlan
from collapipe_ns3.quantity import to_db, to_dbm
from collapipe_ns3.topology.node_facts import NodeFacts
from ns3_scenarios.handover import Attachment, CellChange
from run_directory.schemas import ENERGIES, PLACES, SCHEMAS

#: The columns of one row of a table.
TableRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeRecords:
    """What is recorded of the nodes in a round: positions at its start and end, energy budgets.

    `states` are heat and charge at its end. A node without a position, a budget or a state is
    missing there.
    """

    nodes: Sequence[NodeFacts] = ()
    start: Mapping[str, Position] = field(default_factory=dict)
    end: Mapping[str, Position] = field(default_factory=dict)
    energy_budgets_j: Mapping[str, float] = field(default_factory=dict)
    states: Mapping[str, NodeState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundCells:
    """The cells of control units in a round: at its start, at its end, and their changes.

    `interruption_s` is that of a change. At the start of the first round none is known.
    """

    start: Mapping[str, Attachment] = field(default_factory=dict)
    end: Mapping[str, Attachment] = field(default_factory=dict)
    changes: Sequence[CellChange] = ()
    interruption_s: float = 0.0

    def changed(self) -> frozenset[str]:
        """The control units that changed their cell."""
        return frozenset(change.node for change in self.changes)

    def to_json(self) -> dict[str, Any]:
        """The cells at the start as plain data, for a line of `plans.jsonl`; empty if unknown."""
        start = {node: dataclasses.asdict(each) for node, each in self.start.items()}
        return {"attachments": start} if start else {}


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """Everything that is recorded of one round.

    `links` are the links as the scheme was shown them, and `sounded` the pairs that were sounded
    before it planned. `metrics` are the task's test metrics after the round, the main one first.
    `start_ns` is when the round began, in simulated time since the run began. `divergence` is Σ ρΓ
    of the round (`collapipe_ns3.prediction.divergence`). `energy_queues` and `explanation` are
    those of the scheme. `nodes` is what the table of this name has, and `cells` the cells of
    control units with handover.
    """

    plan: RoundPlan
    outcome: RoundOutcome
    links: Sequence[MeasuredLink]
    metrics: Mapping[str, float]
    start_ns: int
    planning_wall_s: float
    seed: int
    sounded: Sequence[tuple[str, str]] = ()
    divergence: float = math.nan
    energy_queues: Mapping[str, float] = field(default_factory=dict)
    explanation: Mapping[str, Any] = field(default_factory=dict)
    nodes: NodeRecords = field(default_factory=NodeRecords)
    cells: RoundCells = field(default_factory=RoundCells)
    late: Sequence[Mapping[str, Any]] = ()

    def tables(self) -> dict[str, list[TableRow]]:
        """The rows of each table."""
        tables = {
            "computes": list(self._computes()),
            "transfers": list(self._transfers()),
            "links": list(self._links()),
            "pipelines": list(self._pipelines()),
            "devices": list(self._devices()),
            "rounds": [self._round()],
            "encodings": list(self._encodings()),
            "nodes": list(self._nodes()),
            "handovers": list(self._handovers()),
        }
        run = {"scheme": self.plan.scheme, "seed": self.seed, "round": self.plan.round}
        return {name: [{**run, **row} for row in rows] for name, rows in tables.items()}

    def files(self) -> dict[str, bytes]:
        """The Parquet file of each table."""
        return {name: _parquet(name, rows) for name, rows in self.tables().items()}

    def line(self) -> TableRow:
        """The round's line in `plans.jsonl`: the plan, the sounded links, and the explanation.

        So that later rounds can be replayed, it also has: with handover, the cells at the start of
        the round; of pipelines that failed or lost a device, who has the optimizer states after the
        round (`holders`); and the pipelines with which the round ended where it began with others
        (`ended`), as in the plan; and what was still on its way from earlier rounds (`late`).
        """
        line = {**self.plan.to_json(), "sounded": [list(pair) for pair in self.sounded]}
        line |= self.cells.to_json()
        if self.late:
            line["late"] = list(self.late)
        if self.outcome.holders:
            line["holders"] = {f"{c}.{n}": own for (c, n), own in self.outcome.holders.items()}
        if (ended := self._ended()) != self.plan.clusters:
            line["ended"] = dataclasses.replace(self.plan, clusters=ended).to_json()["clusters"]
        return {**line, **({"explanation": self.explanation} if self.explanation else {})}

    def _ended(self) -> tuple[ClusterPlan, ...]:
        """The pipelines with which the round ended."""
        last = {(each.cluster, each.index): each.pipeline for each in self.outcome.pipelines}
        return tuple(
            ClusterPlan(
                cluster.cluster,
                tuple(
                    last.get((cluster.cluster, index), pipeline)
                    for index, pipeline in enumerate(cluster.pipelines)
                ),
            )
            for cluster in self.plan.clusters
        )

    def _seconds(self, time_ns: int) -> float:
        """An instant of the episode, in seconds since the run began."""
        return (self.start_ns + time_ns - self.outcome.start_ns) / 1e9

    def _computes(self) -> Iterator[TableRow]:
        for done in self.outcome.computations:
            yield {
                "node": done.node,
                "action": done.action,
                "cluster": done.cluster,
                "stage": done.stage,
                "micro_batch": done.micro_batch,
                "start_s": self._seconds(done.start_ns),
                "end_s": self._seconds(done.end_ns),
                "flops": done.flops,
                "wall_s": done.wall_s,
                "pipeline": done.work.pipeline,
                "step": done.work.step,
                "outcome": done.outcome,
            }

    def _transfers(self) -> Iterator[TableRow]:
        for each in self.outcome.deliveries:
            work = work_of(each)
            yield {
                "kind": str(each.kind),
                "src": each.src,
                "dst": each.dst,
                "radio": each.radio,
                "outcome": each.outcome,
                "bytes": each.size_bytes,
                "lost_bytes": sum(end - begin for begin, end in each.lost),
                "retransmissions": each.retransmissions,
                "extrapolated_bytes": each.extrapolated_bytes,
                "start_s": self._seconds(each.start_ns),
                "end_s": self._seconds(each.end_ns),
                "sinr_db": to_db(each.sinr),
                "tx_power_dbm": to_dbm(each.tx_power_w),
                "bandwidth_hz": each.bandwidth_hz,
                "airtime_s": each.airtime_s,
                "energy_j": each.energy_j,
                "cluster": work.cluster,
                "pipeline": work.pipeline,
                "stage": work.stage,
                "micro_batch": work.micro_batch,
                "step": work.step,
                "group": each.group,
            }

    def _links(self) -> Iterator[TableRow]:
        for link in self.links:
            yield {
                "src": link.src,
                "dst": link.dst,
                "gain_db": to_db(link.gain),
                "interference_dbm_hz": to_dbm(link.interference_w_hz),
                "sinr_db": to_db(link.sinr),
                "goodput_bps": link.goodput_bps,
                "loss": link.loss,
                "age_s": link.age_s,
                "tx_power_dbm": to_dbm(link.tx_power_w),
            }

    def _pipelines(self) -> Iterator[TableRow]:
        for each in self.outcome.pipelines:
            yield {
                "cluster": each.cluster,
                "pipeline": each.index,
                "devices": each.devices,
                "micro_batches": each.pipeline.micro_batches,
                "schedule": each.pipeline.schedule,
                "fate": each.fate,
                "weight": each.weight,
                "loss": each.loss,
                "end_s": self._seconds(each.end_ns),
                "reason": each.reason,
                "lost": "; ".join(self._lost(device) for device in each.lost),
                "repeated_steps": each.repeated_steps,
                "stages": " → ".join(map(str, each.pipeline.stages)),
                "age": each.age,
            }

    def _lost(self, lost: LostDevice) -> str:
        """What became of a device that was lost, and of its work."""
        text = f"{lost.device} at {self._seconds(lost.at_ns):.9g} s"
        text = text if lost.at_step < 0 else f"{text} in local step {lost.at_step}"
        if lost.back_to_step < 0:
            return text
        states = f", optimizer states: {lost.states}" if lost.states != "none" else ""
        return f"{text}, on from local step {lost.back_to_step}{states}"

    def _devices(self) -> Iterator[TableRow]:
        absent = {absence.device: absence.reason for absence in self.plan.absences}
        for use in self.outcome.devices:
            state = self.nodes.states.get(use.device, NodeState())
            yield {
                "device": use.device,
                "cluster": use.cluster,
                "blocks": use.blocks,
                "peak_memory_bytes": use.peak_memory_bytes,
                "compute_energy_j": use.compute_energy_j,
                "tx_energy_j": use.tx_energy_j,
                "rx_energy_j": use.rx_energy_j,
                "radio_energy_j": use.radio_energy_j,
                "idle_energy_j": use.idle_energy_j,
                "energy_queue": self.energy_queues.get(use.device, math.nan),
                "sits_out": absent.get(use.device, ""),
                "away_s": use.away_s,
                "temperature_c": state.temperature_c,
                "throttled": state.throttled,
                "charge_j": state.charge_j,
                "empty": state.empty,
            }

    def _encodings(self) -> Iterator[TableRow]:
        for each in self.outcome.encodings:
            yield {
                "cluster": each.cluster,
                "pipeline": each.pipeline,
                "direction": each.direction,
                "unit": each.unit,
                "format": each.format,
                "whole": each.whole,
                "bytes": each.size_bytes,
                "distortion": each.distortion,
                "norm_sq": each.norm_sq,
                "dropped_error": each.dropped_error,
            }

    def _nodes(self) -> Iterator[TableRow]:
        unknown = (math.nan, math.nan, math.nan)
        of = self.nodes
        for each in of.nodes:
            places = (*of.start.get(each.node, unknown), *of.end.get(each.node, unknown))
            unit = control_unit(each.cluster)
            begins, ends = self.cells.start.get(unit), self.cells.end.get(unit)
            yield {
                "node": each.node,
                "role": str(each.role),
                "cluster": each.cluster,
                "profile": each.profile,
                **dict(zip(PLACES, places, strict=True)),
                "station": begins.station if begins else each.station,
                "memory_limit_bytes": each.memory_limit_bytes,
                "energy_budget_j": of.energy_budgets_j.get(each.node, math.nan),
                "end_station": ends.station if ends else each.station,
            }

    def _handovers(self) -> Iterator[TableRow]:
        for each in self.cells.changes:
            yield {
                "node": each.node,
                "cluster": cluster_of(each.node),
                "at_s": self._seconds(each.at_ns),
                "from_station": each.source,
                "to_station": each.target,
                "interruption_s": self.cells.interruption_s,
            }

    def _round(self) -> TableRow:
        outcome = self.outcome
        metric = next(iter(self.metrics.values()), math.nan)
        return {
            "start_s": self.start_ns / 1e9,
            "end_s": (self.start_ns + outcome.duration_ns) / 1e9,
            "duration_s": outcome.duration_ns / 1e9,
            **{f"{phase}_s": ns / 1e9 for phase, ns in outcome.phases_ns.items()},
            "computation_s": outcome.computation_ns / 1e9,
            "overlap_s": outcome.overlap_ns / 1e9,
            "waited_s": outcome.waited_ns / 1e9,
            "planning_wall_s": self.planning_wall_s,
            "loss": outcome.loss,
            "metric": metric,
            "energy_j": outcome.total_energy_j,
            "device_energy_j": outcome.device_energy_j,
            **{key: math.fsum(getattr(use, key) for use in outcome.devices) for key in ENERGIES},
            "divergence": self.divergence,
            "peak_device_memory_bytes": outcome.peak_device_memory_bytes,
            "failed_pipelines": sum(each.fate == "failed" for each in outcome.pipelines),
            "abandoned": "; ".join(f"cluster {n}: {why}" for n, why in outcome.abandoned.items()),
            **{f"test_{name}": value for name, value in self.metrics.items()},
        }


def _parquet(name: str, rows: Sequence[TableRow]) -> bytes:
    schema = SCHEMAS[name]
    extra = [key for key in (rows[0] if rows else {}) if key not in schema.names]
    for key in extra:  # the task's test metrics
        schema = schema.append(pa.field(key, pa.float64()))
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), file)
    return file.getvalue()
