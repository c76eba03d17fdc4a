"""What a run leaves on disk: tables as Parquet, a file a round, and what is needed to go on.

A run directory holds `study.yaml` (the study as resolved), `manifest.json` (versions, seeds,
machine), `plans.jsonl` (a line a round), `checkpoint.pt`, and a folder a table with a Parquet file
a round, so that `pandas.read_parquet("RUN_DIR/transfers")` reads the whole table. Every file is
written under another name and renamed when it is whole; a round's row in `rounds` comes last, and
a round without it does not count.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from collapipe_ns3.engine.outcome import RoundOutcome
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.quantity import to_db, to_dbm
from collapipe_ns3.schemes import MeasuredLink

Row = dict[str, Any]


class InUse(OSError):
    """A run directory that another process is writing."""


#: What the energy of a node is made of.
_ENERGIES = ("compute_energy_j", "tx_energy_j", "rx_energy_j")

_WORD = pa.dictionary(pa.int32(), pa.string())
_RUN = [("scheme", _WORD), ("seed", pa.int64()), ("round", pa.int64())]

#: The columns of each table; seconds are simulated and run on over the rounds of a run, except
#: where a name says `wall`.
SCHEMAS: Mapping[str, pa.Schema] = {
    name: pa.schema([*_RUN, *columns])
    for name, columns in {
        "computes": [
            *[(key, _WORD) for key in ("node", "action")],
            *[(key, pa.int64()) for key in ("cluster", "stage", "micro_batch")],
            *[(key, pa.float64()) for key in ("start_s", "end_s", "flops", "wall_s")],
        ],
        "transfers": [
            *[(key, _WORD) for key in ("kind", "src", "dst", "radio", "outcome")],
            *[(key, pa.int64()) for key in ("bytes", "lost_bytes", "retransmissions")],
            ("extrapolated_bytes", pa.int64()),
            *[(key, pa.float64()) for key in ("start_s", "end_s", "sinr_db", "tx_power_dbm")],
            *[(key, pa.float64()) for key in ("bandwidth_hz", "airtime_s", "energy_j")],
        ],
        "links": [
            *[(key, _WORD) for key in ("src", "dst")],
            *[(key, pa.float64()) for key in ("gain_db", "interference_dbm_hz", "sinr_db")],
            *[(key, pa.float64()) for key in ("goodput_bps", "loss", "age_s", "tx_power_dbm")],
        ],
        "pipelines": [
            *[(key, pa.int64()) for key in ("cluster", "pipeline", "micro_batches")],
            *[(key, _WORD) for key in ("devices", "schedule", "fate")],
            *[(key, pa.float64()) for key in ("weight", "loss", "end_s")],
            ("reason", pa.string()),
        ],
        "devices": [
            ("device", _WORD),
            *[(key, pa.int64()) for key in ("cluster", "blocks", "peak_memory_bytes")],
            *[(key, pa.float64()) for key in _ENERGIES],
            ("radio_energy_j", pa.float64()),  # of sending and receiving together
            *[("energy_queue", pa.float64()), ("sits_out", pa.string())],
        ],
        "rounds": [
            *[(key, pa.float64()) for key in ("start_s", "end_s", "duration_s", "broadcast_s")],
            *[(key, pa.float64()) for key in ("pipeline_s", "gather_s", "upload_s")],
            *[(key, pa.float64()) for key in ("aggregate_s", "sounding_s", "computation_s")],
            ("planning_wall_s", pa.float64()),
            *[(key, pa.float64()) for key in ("loss", "metric", "energy_j")],
            *[(key, pa.float64()) for key in _ENERGIES],
            ("divergence", pa.float64()),
            *[("peak_device_memory_bytes", pa.int64()), ("failed_pipelines", pa.int64())],
            ("abandoned", pa.string()),
        ],
    }.items()
}


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round as it is written down. `start_ns` is when it began on the run's own clock.

    `sounded` are the links that were measured before it was planned; `explanation` is what the
    scheme says of its plan.
    """

    plan: RoundPlan
    outcome: RoundOutcome
    shown: Sequence[MeasuredLink]
    figures: Mapping[str, float]
    start_ns: int
    planning_wall_s: float
    seed: int
    sounded: Sequence[tuple[str, str]] = ()
    divergence: float = math.nan
    energy_queues: Mapping[str, float] = field(default_factory=dict)
    explanation: Mapping[str, Any] = field(default_factory=dict)

    def tables(self) -> dict[str, list[Row]]:
        """The rows of each table, `rounds` last."""
        tables = {
            "computes": list(self._computes()),
            "transfers": list(self._transfers()),
            "links": list(self._links()),
            "pipelines": list(self._pipelines()),
            "devices": list(self._devices()),
            "rounds": [self._round()],
        }
        run = {"scheme": self.plan.scheme, "seed": self.seed, "round": self.plan.round}
        return {name: [{**run, **row} for row in rows] for name, rows in tables.items()}

    def line(self) -> Row:
        """The round's line in `plans.jsonl`: the plan, what it was made from, how it came about."""
        line = {**self.plan.to_json(), "sounded": [list(pair) for pair in self.sounded]}
        return {**line, **({"explanation": self.explanation} if self.explanation else {})}

    def _seconds(self, time_ns: int) -> float:
        """An instant of the episode, in seconds since the run began."""
        return (self.start_ns + time_ns - self.outcome.start_ns) / 1e9

    def _computes(self) -> Iterator[Row]:
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
            }

    def _transfers(self) -> Iterator[Row]:
        for each in self.outcome.deliveries:
            yield {
                "kind": each.kind,
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
            }

    def _links(self) -> Iterator[Row]:
        for link in self.shown:
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

    def _pipelines(self) -> Iterator[Row]:
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
            }

    def _devices(self) -> Iterator[Row]:
        absent = {absence.device: absence.reason for absence in self.plan.absences}
        for use in self.outcome.devices:
            yield {
                "device": use.device,
                "cluster": use.cluster,
                "blocks": use.blocks,
                "peak_memory_bytes": use.peak_memory_bytes,
                "compute_energy_j": use.compute_energy_j,
                "tx_energy_j": use.tx_energy_j,
                "rx_energy_j": use.rx_energy_j,
                "radio_energy_j": use.radio_energy_j,
                "energy_queue": self.energy_queues.get(use.device, math.nan),
                "sits_out": absent.get(use.device, ""),
            }

    def _round(self) -> Row:
        outcome, phases = self.outcome, self.outcome.phases
        metric = next(iter(self.figures.values()), math.nan)
        return {
            "start_s": self.start_ns / 1e9,
            "end_s": (self.start_ns + outcome.duration_ns) / 1e9,
            "duration_s": outcome.duration_ns / 1e9,
            "broadcast_s": phases.broadcast_ns / 1e9,
            "pipeline_s": phases.pipeline_ns / 1e9,
            "gather_s": phases.gather_ns / 1e9,
            "upload_s": phases.upload_ns / 1e9,
            "aggregate_s": phases.aggregate_ns / 1e9,
            "sounding_s": phases.sounding_ns / 1e9,
            "computation_s": outcome.computation_ns / 1e9,
            "planning_wall_s": self.planning_wall_s,
            "loss": outcome.loss,
            "metric": metric,
            "energy_j": outcome.total_energy_j,
            **{key: math.fsum(getattr(use, key) for use in outcome.devices) for key in _ENERGIES},
            "divergence": self.divergence,
            "peak_device_memory_bytes": outcome.peak_device_memory_bytes,
            "failed_pipelines": sum(each.fate == "failed" for each in outcome.pipelines),
            "abandoned": "; ".join(f"cluster {n}: {why}" for n, why in outcome.abandoned.items()),
            **{f"test_{name}": value for name, value in self.figures.items()},
        }


class RunDirectory:
    """A run's files, for one process at a time. Use as a context manager.

    Raises `OSError` where the directory can't be made or written, and `InUse` where another
    process has it; with `wait` that process's end is waited for.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = (path / ".lock").open("w")  # the kernel lets go of it when the process dies
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            self._lock.close()
            raise InUse(errno.EBUSY, "another process is writing a run there") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    def describe(self, study: str, manifest: Mapping[str, Any]) -> None:
        """Writes down what the run is."""
        _write_text(self.path / "study.yaml", study)
        _write_text(self.path / "manifest.json", json.dumps(manifest, indent=2) + "\n")

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    def keep(self, rounds: int) -> None:
        """Drops everything of rounds from this number on: what a killed run left half done."""
        for table in SCHEMAS:
            for file in (self.path / table).glob("*.parquet"):
                if file.stem.isdigit() and int(file.stem) >= rounds:
                    file.unlink()
        plans = self.path / "plans.jsonl"
        if plans.exists():
            _write_text(plans, "".join(plans.read_text().splitlines(keepends=True)[:rounds]))

    def write(self, record: RoundRecord, checkpoint: bytes) -> None:
        """Adds a round: its plan, its tables, its row in `rounds`, and where the run then is."""
        with (self.path / "plans.jsonl").open("a", encoding="utf-8") as plans:
            plans.write(json.dumps(record.line()) + "\n")
        for table, rows in record.tables().items():
            folder = self.path / table
            folder.mkdir(exist_ok=True)
            with _whole(folder / f"{record.plan.round:05}.parquet") as file:
                pq.write_table(_table(table, rows), file)
        with _whole(self.checkpoint) as file:
            file.write(checkpoint)


def _table(name: str, rows: Sequence[Row]) -> pa.Table:
    schema = SCHEMAS[name]
    extra = [key for key in (rows[0] if rows else {}) if key not in schema.names]
    for key in extra:  # the task's own figures
        schema = schema.append(pa.field(key, pa.float64()))
    return pa.Table.from_pylist(list(rows), schema)


def _write_text(path: Path, text: str) -> None:
    with _whole(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
