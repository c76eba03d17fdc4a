"""What holds of the tables of every run, and what is equal in runs that repeat."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import analysis
from collapipe_ns3.result import Result

TABLES = (
    "rounds",
    "computes",
    "transfers",
    "links",
    "pipelines",
    "devices",
    "encodings",
    "nodes",
    "handovers",
)


def same(one: Path, other: Path) -> None:
    """Asserts that all tables are equal, except in wall-clock columns."""
    for table in TABLES:
        frames = [pd.read_parquet(path / table) for path in (one, other)]
        left, right = map(analysis.repeatable, frames)
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    assert (one / "plans.jsonl").read_bytes() == (other / "plans.jsonl").read_bytes()
    assert (one / "study.yaml").read_bytes() == (other / "study.yaml").read_bytes()


#: What a transfer or a computation of a local step belongs to.
WORK = ["round", "cluster", "pipeline", "stage", "micro_batch", "step"]


def belong(computes: pd.DataFrame, transfers: pd.DataFrame, mode: str = "end_to_end") -> None:
    """Every transfer says what it carries.

    An activation leaves the node that computed it when its forward pass ends, a gradient when its
    backward pass ends, both over the same work; and what needs it begins after it has arrived.
    """
    sent = transfers[transfers["kind"] != "sounding"]
    assert (sent["cluster"] >= 0).all()
    for_several = (sent["kind"] == "model") & (sent["group"] > 0)
    assert ((sent["pipeline"] >= 0) | for_several).all()
    within = sent["step"] >= 0
    assert set(sent.loc[~within, "kind"]) <= {"model", "parameters"}
    assert set(sent.loc[within, "kind"]) <= {"activation", "gradient", "labels"}
    assert (sent.loc[~within, ["stage", "micro_batch"]] == -1).all(axis=None)
    for end in ("src", "dst"):
        named = sent[end].astype(str).str.extract(r"^c(\d+)\.")[0]
        assert (named.isna() | (named.astype(float) == sent["cluster"])).all()
    sounded = transfers[transfers["kind"] == "sounding"]
    assert (sounded["cluster"] >= 0).all()
    assert (sounded[["pipeline", *WORK[3:]]] == -1).all(axis=None)
    local = computes[computes["action"] != "aggregate"]
    assert (local[["pipeline", "step"]] >= 0).all(axis=None)
    last = computes.groupby(["cluster", "pipeline"])["stage"].max()
    for kind, action, onward in (("activation", "F", 1), ("gradient", "B", -1), ("labels", "F", 0)):
        hops = sent[(sent["kind"] == kind) & (sent["micro_batch"] >= 0)].sort_values("start_s")
        first = hops.groupby(WORK).first()
        done = computes[computes["action"] == action].set_index(WORK)
        assert done.index.is_unique
        made = done.loc[first.index]
        if mode == "local_head" and kind == "activation":
            # The local head passes on the features that it received, without waiting for its own.
            heads = last.loc[[*zip(*map(first.index.get_level_values, WORK[1:3]), strict=True)]] - 1
            own = first.index.get_level_values("stage") != heads.to_numpy()
            first, made = first[own], made[own]
        if kind != "labels":  # they are there from the start
            assert (made["end_s"] == first["start_s"]).all()
        assert (made["node"].astype(str) == first["src"].astype(str)).all()
        arrived = hops.groupby(WORK)["end_s"].max().reset_index()
        if kind == "labels":
            ends = arrived.set_index(["cluster", "pipeline"]).index
            arrived["stage"] = last.loc[ends].to_numpy()
        arrived["stage"] += onward
        needing = done.reindex(pd.MultiIndex.from_frame(arrived[WORK]))
        begins = needing["start_s"].to_numpy()
        assert (pd.isna(begins) | (begins >= arrived["end_s"].to_numpy())).all()
        assert not len(arrived) or (begins >= arrived["end_s"].to_numpy()).any()


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
    belong(result.computes, transfers, result.study.config.training.mode)
    ends = rounds["start_s"] + rounds["duration_s"]
    assert ((ends.shift() - rounds["start_s"]).iloc[1:].abs() < 1e-9).all()
    parts = ["idle_energy_j", "compute_energy_j", "radio_energy_j"]
    energy = result.devices.groupby("round")[parts].sum()
    assert (energy.sum(axis=1) - rounds.set_index("round")["energy_j"]).abs().max() < 1e-9
    sent = transfers.groupby(["round", "src"], observed=True)["energy_j"].sum().to_dict()
    spent = result.devices.set_index(["round", "device"])["radio_energy_j"].to_dict()
    for node, joules in sent.items():  # whoever sends is charged, if it is for a sounding alone
        assert joules <= spent[node] * (1 + 1e-9)
