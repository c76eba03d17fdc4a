"""Run directories: the columns that were promised, and every file whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab
import pandas as pd
import pyarrow.parquet as pq
import pytest

from collapipe_ns3.engine.outcome import RoundOutcome
from collapipe_ns3.records import SCHEMAS, InUse, RoundRecord, RunDirectory

#: What others script against.
PROMISED = {
    "rounds": "round, duration_s, pipeline_s, gather_s, upload_s, aggregate_s, broadcast_s, "
    "sounding_s, computation_s, planning_wall_s, loss, metric, energy_j, "
    "peak_device_memory_bytes, divergence, compute_energy_j, tx_energy_j, rx_energy_j",
    "computes": "round, node, cluster, stage, micro_batch, action, start_s, end_s, flops, wall_s",
    "transfers": "round, kind, src, dst, radio, bytes, start_s, end_s, retransmissions, "
    "lost_bytes, sinr_db, tx_power_dbm, bandwidth_hz, airtime_s, energy_j",
    "links": "round, src, dst, gain_db, interference_dbm_hz, sinr_db, goodput_bps, loss, age_s",
    "devices": "round, device, cluster, blocks, peak_memory_bytes, compute_energy_j, "
    "radio_energy_j, energy_queue, tx_energy_j, rx_energy_j",
}

PLAN = lab.one_cluster((2, 2), 2)


@pytest.fixture(scope="module")
def outcome() -> RoundOutcome:
    return lab.run_one(PLAN)


def record(outcome: RoundOutcome, number: int = 0, start_ns: int = 0) -> RoundRecord:
    plan = type(PLAN)(number, PLAN.scheme, PLAN.clusters)
    return RoundRecord(plan, outcome, outcome.links, {"exact_match": 0.5}, start_ns, 0.01, 7)


def files(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory(tmp_path / "run") as directory:
        directory.describe("name: tiny\n", {"seed": 7})
        yield directory


def test_a_directory_is_one_processes_at_a_time(run: RunDirectory) -> None:
    with pytest.raises(InUse, match="another process"):
        RunDirectory(run.path)


@pytest.mark.parametrize("table", PROMISED)
def test_a_table_has_the_promised_columns_and_a_row_for_each_thing(
    run: RunDirectory, outcome: RoundOutcome, table: str
) -> None:
    run.write(record(outcome), b"state")
    frame = pd.read_parquet(run.path / table)
    assert {"scheme", "seed", *PROMISED[table].split(", ")} <= set(frame.columns)
    rows = {
        "rounds": 1,
        "computes": len(outcome.computations),
        "transfers": len(outcome.deliveries),
        "links": len(outcome.links),
        "devices": len(outcome.devices),
    }
    assert len(frame) == rows[table] > 0
    assert set(frame["seed"]) == {7}
    assert set(frame["scheme"]) == {"test"}


def test_times_run_on_over_rounds(run: RunDirectory, outcome: RoundOutcome) -> None:
    run.write(record(outcome), b"")
    run.write(record(outcome, 1, outcome.duration_ns), b"")
    for table in ("computes", "transfers"):
        frame = pd.read_parquet(run.path / table).groupby("round")["start_s"].agg(["min", "max"])
        assert frame.loc[0, "max"] <= outcome.duration_ns / 1e9 <= frame.loc[1, "min"]
        shift = frame.loc[1] - frame.loc[0]
        assert shift.tolist() == pytest.approx([outcome.duration_ns / 1e9] * 2)
    assert len((run.path / "plans.jsonl").read_text().splitlines()) == 2


def test_phases_add_up_and_bytes_are_conserved(run: RunDirectory, outcome: RoundOutcome) -> None:
    run.write(record(outcome), b"")
    row = pd.read_parquet(run.path / "rounds").iloc[0]
    phases = ["broadcast_s", "pipeline_s", "gather_s", "upload_s", "aggregate_s", "sounding_s"]
    assert row[phases].sum() == pytest.approx(row["duration_s"], rel=1e-12)
    assert row["test_exact_match"] == row["metric"] == 0.5
    transfers = pd.read_parquet(run.path / "transfers")
    assert transfers["bytes"].sum() == sum(d.size_bytes for d in outcome.deliveries)


def test_energy_is_split_by_what_took_it_and_the_parts_add_up(
    run: RunDirectory, outcome: RoundOutcome
) -> None:
    run.write(record(outcome), b"")
    devices = pd.read_parquet(run.path / "devices")
    row = pd.read_parquet(run.path / "rounds").iloc[0]
    both = devices["tx_energy_j"] + devices["rx_energy_j"]
    assert both.tolist() == pytest.approx(devices["radio_energy_j"].tolist())
    parts = ["compute_energy_j", "tx_energy_j", "rx_energy_j"]
    for part in parts:
        assert row[part] == pytest.approx(devices[part].sum())
        assert row[part] > 0
    assert row[parts].sum() == pytest.approx(row["energy_j"])


@pytest.mark.parametrize("failing", [*SCHEMAS, "checkpoint"])
def test_a_round_that_could_not_be_written_whole_does_not_count(
    run: RunDirectory, outcome: RoundOutcome, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write(record(outcome), b"state 0")
    before = files(run.path)

    def write(table: Any, file: Any) -> None:
        if file.name.endswith(f"{failing}/.00001.parquet.part"):
            file.write(b"half")
            raise OSError(28, "No space left on device")
        pq_write(table, file)

    pq_write = pq.write_table
    monkeypatch.setattr(pq, "write_table", write)
    state: Any = b"state 1" if failing != "checkpoint" else None
    with pytest.raises((OSError, TypeError)):
        run.write(record(outcome, 1), state)
    assert not [name for name in files(run.path) if "part" in Path(name).suffix]
    assert run.checkpoint.read_bytes() == b"state 0"
    run.keep(1)
    assert files(run.path) == before
    assert len((run.path / "plans.jsonl").read_text().splitlines()) == 1
