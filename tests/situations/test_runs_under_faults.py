"""Every scheme under all kinds of faults at once: runs end whole, are resumed and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import run_checks
import studies

from collapipe_ns3 import Study
from collapipe_ns3.run.replay import replay

#: Devices leave about once a round, and the base station, a link and a control unit now and then.
FAULTS: dict[str, Any] = {
    "nodes": [
        {
            "mtbf_s": 0.3,
            "mttr_s": 0.1,
            "slow": [{"mean_between_s": 0.2, "mean_lasting_s": 0.1, "factor": 3}],
        },
        {"nodes": ["c0.cu"], "mtbf_s": 1, "mttr_s": 0.2},
        {"nodes": ["bs"], "mtbf_s": 0.5, "mttr_s": 0.05},
        {"nodes": ["c0.d0"], "battery": {"capacity_j": 3}, "charging": [{"power_w": 3}]},
        {
            "nodes": ["c0.d1"],
            "thermal": {"k_per_w": 20, "tau_s": 1, "limit_c": 26, "resume_c": 25.5, "factor": 3},
        },
    ],
    "links": [{"src": "c0.cu", "dst": "c0.d0", "mtbf_s": 0.3, "mttr_s": 0.1}],
}
CLUSTER = {"cu": "jetson-nano", "devices": ["raspberry-pi-4", "phone-midrange", "jetson-nano"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "on_outage", "recovery"),
    [
        ("collapipe", "wait", "restart"),
        ("collapipe", "fail", "replicate"),
        ("pipeline", "fail", "abandon"),
        ("titanic", "wait", "replicate"),
        ("vanilla_fl", "fail", "restart"),
        ("oracle", "wait", "restart"),
    ],
)
def test_a_run_ends_whole_and_is_resumed_and_replayed(
    scheme: str, on_outage: str, recovery: str, tmp_path: Path
) -> None:
    """Bytes and computations are accounted for, whatever was cut."""
    alone = scheme == "oracle"
    study = Study(
        studies.config(
            faults={**FAULTS, "on_outage": on_outage},
            training={"batch_size": 8, "local_steps": 2, "recovery": recovery},
            clusters=[{**CLUSTER, "position": [20, 10]}, {**CLUSTER, "position": [-20, 15]}][
                : 1 if alone else 2
            ],
            scheme={"name": scheme, "settings": {"most_plans": 5000} if alone else {}},
            seed=3,
        )
    )
    whole = study.run(rounds=3, out=tmp_path / "whole")
    for rounds in (2, 3):
        parts = study.run(rounds=rounds, out=tmp_path / "parts", resume=rounds > 2)
    run_checks.same(whole.directory, parts.directory)
    for number in range(len(whole.rounds)):
        assert replay(whole.directory, number).different == ()
    sent = whole.transfers
    assert set(sent["outcome"].astype(str)) <= {"delivered", "cut", "lost", "partial", "refused"}
    assert (sent["lost_bytes"] <= sent["bytes"]).all()
    assert (sent.loc[sent["outcome"] == "delivered", "lost_bytes"] == 0).all()
    lost = whole.devices["away_s"].sum() + whole.rounds["waited_s"].sum()
    assert lost > 0
    weights = whole.pipelines.groupby("round")["weight"].sum()
    assert weights.map(lambda total: total == 0 or abs(total - 1) < 1e-12).all()
