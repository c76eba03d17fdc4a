"""The tables of a round: all documented columns, and a row for each event."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import lab
import pandas as pd
import pytest
import tied_model
from run_checks import belong

from bridge.network import TransferKind
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.nodes import Role
from collapipe_ns3.outcome import ParameterEncoding, RoundOutcome, TransferLabel, WorkItem
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.run.records import NodeRecords, RoundRecord
from collapipe_ns3.topology.node_facts import NodeFacts
from run_directory.writing import RunDirectory

#: What others script against.
PROMISED = {
    "rounds": "round, duration_s, pipeline_s, gather_s, upload_s, aggregate_s, broadcast_s, "
    "sounding_s, computation_s, planning_wall_s, loss, metric, energy_j, "
    "peak_device_memory_bytes, divergence, compute_energy_j, tx_energy_j, rx_energy_j, "
    "device_energy_j, overlap_s",
    "computes": "round, node, cluster, stage, micro_batch, action, start_s, end_s, flops, wall_s, "
    "pipeline, step",
    "transfers": "round, kind, src, dst, radio, bytes, start_s, end_s, retransmissions, "
    "lost_bytes, sinr_db, tx_power_dbm, bandwidth_hz, airtime_s, energy_j, "
    "cluster, pipeline, stage, micro_batch, step",
    "links": "round, src, dst, gain_db, interference_dbm_hz, sinr_db, goodput_bps, loss, age_s",
    "devices": "round, device, cluster, blocks, peak_memory_bytes, compute_energy_j, "
    "radio_energy_j, energy_queue, tx_energy_j, rx_energy_j",
    "encodings": "round, cluster, pipeline, direction, unit, format, whole, bytes, distortion, "
    "norm_sq, dropped_error",
    "nodes": "round, node, role, cluster, profile, x_m, y_m, z_m, end_x_m, end_y_m, end_z_m, "
    "station, memory_limit_bytes, energy_budget_j, end_station",
}

FACTS = (
    NodeFacts("bs", Role.BASE_STATION, -1, "edge-server", "", 2.0**34),
    NodeFacts("c0.d0", Role.DEVICE, 0, "jetson-nano", "bs", 3.0),
    NodeFacts("jammer0", Role.INTERFERER),
)

PLAN = lab.one_cluster((2, 2), 2)


@pytest.fixture(scope="module")
def outcome() -> RoundOutcome:
    rows = (
        ParameterEncoding(0, 0, "down", "block 0", "int8 differences", True, 100, 0.0, 0.0),
        ParameterEncoding(0, 0, "up", "block 0", "bf16", False, 50, 1e-6, 2.0, True),
    )
    return dataclasses.replace(lab.run_one(PLAN), encodings=rows)


def record(outcome: RoundOutcome, number: int = 0, start_ns: int = 0) -> RoundRecord:
    plan = type(PLAN)(number, PLAN.scheme, PLAN.clusters)
    nodes = NodeRecords(FACTS, {"c0.d0": (1, 2, 3)}, {"c0.d0": (4, 5, 6)}, {"c0.d0": 2.5})
    metrics = {"exact_match": 0.5}
    return RoundRecord(plan, outcome, outcome.links, metrics, start_ns, 0.01, 7, nodes=nodes)


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
        "encodings": 2,
        "nodes": len(FACTS),
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


def test_what_is_not_known_of_a_node_is_missing(run: RunDirectory, outcome: RoundOutcome) -> None:
    add(run, record(outcome))
    nodes = pd.read_parquet(run.path / "nodes").set_index("node")
    places = ["x_m", "y_m", "z_m", "end_x_m", "end_y_m", "end_z_m"]
    assert nodes.loc["c0.d0", [*places, "energy_budget_j"]].tolist() == [1, 2, 3, 4, 5, 6, 2.5]
    assert nodes.loc["bs", [*places, "energy_budget_j"]].isna().all()
    jammer = nodes.loc["jammer0"]
    assert jammer[["role", "cluster", "profile", "station"]].tolist() == ["interferer", -1, "", ""]
    assert pd.isna(jammer["memory_limit_bytes"])


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_transfers_and_computations_say_the_same_of_their_work(
    run: RunDirectory, schedule: str
) -> None:
    plan = lab.one_cluster((1, 2, 1), 3, schedule)
    add(run, record(lab.run_one(plan, local_steps=2, default=lab.Hop(1))))
    computes, transfers = (pd.read_parquet(run.path / t) for t in ("computes", "transfers"))
    belong(computes, transfers)
    # Of 5 stages: 4 borders forward, 4 backward, each crossed by 3 micro-batches in 2 steps; the
    # last border is crossed in two hops, by way of the control unit.
    counted = transfers[transfers["micro_batch"] >= 0].groupby("kind", observed=True).size()
    assert counted.to_dict() == {"activation": 30, "gradient": 30, "labels": 6}
    assert sorted(set(computes["step"])) == [-1, 0, 1]


def frames(plan: RoundPlan, outcome: RoundOutcome) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `computes` and `transfers`."""
    tables = RoundRecord(plan, outcome, (), {}, 0, 0.0, 1).tables()
    return pd.DataFrame(tables["computes"]), pd.DataFrame(tables["transfers"])


def test_a_local_head_passes_features_on_under_its_own_stage() -> None:
    state = lab.fresh(lab.adamw, local_head=True)
    computes, transfers = frames(PLAN, lab.run_one(PLAN, state, default=lab.Hop(1)))
    belong(computes, transfers, "local_head")
    # Stages: embedding, two segments, the head on the control unit, the decoder.
    features = transfers[(transfers["kind"] == "activation") & (transfers["dst"] == "bs")]
    assert features[["src", "stage", "micro_batch"]].to_numpy().tolist() == [
        ["c0.cu", 3, 0],
        ["c0.cu", 3, 1],
    ]


def test_tied_gradients_belong_to_a_stage_and_a_step() -> None:
    state = TrainingState(tied_model.model(), lab.adamw, tied_model.costs())
    plan = lab.one_cluster((2,), 3)
    how = {"local_steps": 2, "draw_batches": tied_model.batches, "default": lab.Hop(1)}
    computes, transfers = frames(plan, lab.run_one(plan, state, **how))
    belong(computes, transfers)
    tied = transfers[(transfers["kind"] == "gradient") & (transfers["micro_batch"] == -1)]
    rows = tied[["src", "dst", "stage", "step"]].sort_values(["step", "stage"])
    both = [("c0.cu", "bs", 0), ("bs", "c0.cu", 2)]
    expected = [(*ends, step) for step in (0, 1) for ends in both]
    assert [*rows.itertuples(index=False, name=None)] == expected


def test_pipelines_of_one_cluster_are_told_apart() -> None:
    devices = ("c0.d0", "c0.d1", "c0.d2")
    pipelines = tuple(
        Pipeline((Stage(name, 0, 3),), 2, "gpipe", 1 / 3, embedding=name, decoder=name)
        for name in devices
    )
    plan = RoundPlan(0, "test", (ClusterPlan(0, pipelines),))
    computes, transfers = frames(plan, lab.run_one(plan, lab.fresh(lab.adamw)))
    belong(computes, transfers)
    local = computes[computes["action"] != "aggregate"]
    assert dict(zip(local["node"], local["pipeline"], strict=True)) == {
        name: number for number, name in enumerate(devices)
    }
    within = transfers[transfers["src"].isin(devices) | transfers["dst"].isin(devices)]
    assert len(within) == 2 * len(devices)
    for each in within.itertuples():
        assert devices[each.pipeline] in (each.src, each.dst)
    between = transfers[transfers["src"] == "bs"]
    assert sorted(between["pipeline"]) == [0, 1, 2]


def test_moved_optimizer_states_belong_to_their_pipeline_and_to_no_step() -> None:
    plans = [lab.one_cluster((2, 2), 2), lab.one_cluster((1, 3), 2)]
    second = lab.run_rounds(plans, lab.fresh(lab.adamw))[1]
    computes, transfers = frames(plans[1], second)
    belong(computes, transfers)
    begun = transfers[(transfers["kind"] == "parameters") & (transfers["dst"] == "c0.d1")]
    (moved,) = begun[["src", "cluster", "pipeline", "stage", "step"]].to_numpy().tolist()
    assert moved == ["c0.cu", 0, 0, -1, -1]


def test_a_label_is_text_that_survives_a_copy() -> None:
    label = TransferLabel(TransferKind.MODEL, WorkItem(3, 1))
    assert label == "model" == str(label) == f"{label}"
    assert hash(label) == hash(TransferKind.MODEL)
    for copied in (copy.deepcopy(label), pickle.loads(pickle.dumps(label))):
        assert (copied, copied.work) == (label, WorkItem(3, 1))
