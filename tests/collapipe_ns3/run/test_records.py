"""The tables of a round: all documented columns, and a row for each event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import lab
import pandas as pd
import pytest

from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.run.records import RoundRecord
from run_directory.writing import RunDirectory

#: What others script against.
PROMISED = {
    "rounds": "round, duration_s, pipeline_s, gather_s, upload_s, aggregate_s, broadcast_s, "
    "sounding_s, computation_s, planning_wall_s, loss, metric, energy_j, "
    "peak_device_memory_bytes, divergence, compute_energy_j, tx_energy_j, rx_energy_j, "
    "device_energy_j",
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


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory(tmp_path / "run") as directory:
        directory.describe("name: tiny\n", {"seed": 7})
        yield directory


def add(run: RunDirectory, record: RoundRecord) -> None:
    run.add(record.files(), json.dumps(record.line()), b"state")


@pytest.mark.parametrize("table", PROMISED)
def test_a_table_has_the_promised_columns_and_a_row_for_each_thing(
    run: RunDirectory, outcome: RoundOutcome, table: str
) -> None:
    add(run, record(outcome))
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
    add(run, record(outcome))
    add(run, record(outcome, 1, outcome.duration_ns))
    for table in ("computes", "transfers"):
        frame = pd.read_parquet(run.path / table).groupby("round")["start_s"].agg(["min", "max"])
        assert frame.loc[0, "max"] <= outcome.duration_ns / 1e9 <= frame.loc[1, "min"]
        shift = frame.loc[1] - frame.loc[0]
        assert shift.tolist() == pytest.approx([outcome.duration_ns / 1e9] * 2)
    assert len((run.path / "plans.jsonl").read_text().splitlines()) == 2


def test_phases_add_up_and_bytes_are_conserved(run: RunDirectory, outcome: RoundOutcome) -> None:
    add(run, record(outcome))
    row = pd.read_parquet(run.path / "rounds").iloc[0]
    phases = ["broadcast_s", "pipeline_s", "gather_s", "upload_s", "aggregate_s", "sounding_s"]
    assert row[phases].sum() == pytest.approx(row["duration_s"], rel=1e-12)
    assert row["test_exact_match"] == row["metric"] == 0.5
    transfers = pd.read_parquet(run.path / "transfers")
    assert transfers["bytes"].sum() == sum(d.size_bytes for d in outcome.deliveries)


def test_energy_is_split_by_what_took_it_and_the_parts_add_up(
    run: RunDirectory, outcome: RoundOutcome
) -> None:
    add(run, record(outcome))
    devices = pd.read_parquet(run.path / "devices")
    row = pd.read_parquet(run.path / "rounds").iloc[0]
    both = devices["tx_energy_j"] + devices["rx_energy_j"]
    assert both.tolist() == pytest.approx(devices["radio_energy_j"].tolist())
    parts = ["compute_energy_j", "tx_energy_j", "rx_energy_j"]
    for part in parts:
        assert row[part] == pytest.approx(devices[part].sum())
        assert row[part] > 0
    assert row[parts].sum() == pytest.approx(row["energy_j"])
    of_stations = devices["device"].isin(["bs", "c0.cu", "c1.cu"])
    own = devices.loc[~of_stations, parts].to_numpy().sum()
    assert row["device_energy_j"] == pytest.approx(own)
    assert 0 < own < row["energy_j"]
