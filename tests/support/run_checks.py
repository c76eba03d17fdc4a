"""What holds of the tables of every run, and what is equal in runs that repeat."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import analysis
from collapipe_ns3.result import Result

TABLES = ("rounds", "computes", "transfers", "links", "pipelines", "devices", "nodes")


def same(one: Path, other: Path) -> None:
    """Asserts that all tables are equal, except in wall-clock columns."""
    for table in TABLES:
        frames = [pd.read_parquet(path / table) for path in (one, other)]
        left, right = map(analysis.repeatable, frames)
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    assert (one / "plans.jsonl").read_bytes() == (other / "plans.jsonl").read_bytes()
    assert (one / "study.yaml").read_bytes() == (other / "study.yaml").read_bytes()


def conserve(result: Result) -> None:
    """Bytes sent = delivered + lost, no link busy longer than time passed, phases add up."""
    transfers, rounds = result.transfers, result.rounds
    lost = transfers["lost_bytes"]
    assert ((lost >= 0) & (lost <= transfers["bytes"])).all()
    assert ((lost == 0) == (transfers["outcome"] == "delivered")).all()
    assert (transfers["end_s"] > transfers["start_s"]).all()
    spans = rounds.set_index("round")["duration_s"]
    busy = transfers.groupby(["round", "src", "dst", "radio"], observed=True)["airtime_s"].sum()
    assert (busy <= busy.index.get_level_values("round").map(spans)).all()
    phases = ["broadcast_s", "pipeline_s", "gather_s", "upload_s", "aggregate_s", "sounding_s"]
    assert (rounds[phases].sum(axis=1) - rounds["duration_s"]).abs().max() < 1e-9
    local = result.computes[result.computes["cluster"] >= 0]
    # Under VanillaFL each device is a pipeline of its own; elsewhere a cluster has one.
    alone = rounds["scheme"].iloc[0] == "vanilla_fl"
    steps = local.groupby(["round", "cluster", *(["node"] if alone else [])], observed=True)
    longest = (steps["end_s"].max() - steps["start_s"].min()).groupby("round").max()
    assert (longest - rounds.set_index("round")["computation_s"]).abs().max() < 1e-9
    ends = rounds["start_s"] + rounds["duration_s"]
    assert ((ends.shift() - rounds["start_s"]).iloc[1:].abs() < 1e-9).all()
    energy = result.devices.groupby("round")[["compute_energy_j", "radio_energy_j"]].sum()
    assert (energy.sum(axis=1) - rounds.set_index("round")["energy_j"]).abs().max() < 1e-9
    sent = transfers.groupby(["round", "src"], observed=True)["energy_j"].sum().to_dict()
    spent = result.devices.set_index(["round", "device"])["radio_energy_j"].to_dict()
    for node, joules in sent.items():  # whoever sends is charged, if it is for a sounding alone
        assert joules <= spent[node] * (1 + 1e-9)
