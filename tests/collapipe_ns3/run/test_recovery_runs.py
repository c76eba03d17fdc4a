"""Runs in which devices are lost and replaced: replay, resume, and what their files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import run_checks
import studies

from collapipe_ns3 import Study
from collapipe_ns3.result import Result
from collapipe_ns3.run.replay import replay

THREE = ["raspberry-pi-4", {"profile": "phone-midrange", "position": [22, 14]}, "jetson-nano"]
CLUSTERS = [{"cu": "jetson-nano", "position": [20, 10], "devices": THREE}]
MODEL = {**studies.TINY["model"], "encoder_blocks": 4}


def study(policy: str, away_s: list[list[float | None]], **training: Any) -> Study:
    faults = {"nodes": [{"nodes": ["c0.d1"], "away_s": away_s}]}
    training = {"batch_size": 8, "local_steps": 3, "recovery": {"policy": policy}, **training}
    config = studies.config(
        faults=faults,
        clusters=CLUSTERS,
        model=MODEL,
        training=training,
        scheme={"name": "pipeline", "settings": {"micro_batches": 2}},
    )
    return Study(config)


def middle_s(result: Result, round: int, step: int) -> float:
    """The middle of the device's backward passes of a local step."""
    done = result.computes
    own = done[
        (done["round"] == round)
        & (done["node"] == "c0.d1")
        & (done["action"] == "B")
        & (done["step"] == step)
    ]
    return float((own["start_s"].min() + own["end_s"].max()) / 2)


#: Differences down, and up the largest tenth of differences: nodes keep references, and errors.
DIFFERENCES = {
    "down": {"numbers": "int8", "difference": True},
    "up": {"difference": True, "largest": 0.1},
}

#: Policies, with other settings of training: SCAFFOLD's control variates are states, too.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "restart": ("restart", {}),
    "replicate": ("replicate", {}),
    "differences": ("restart", {"exchange": DIFFERENCES}),
    "scaffold": ("restart", {"optimizer": "sgd", "aggregation": "scaffold"}),
}


@pytest.fixture(scope="module", params=CASES)
def recovered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, Result]:
    """The device is lost in the second of three rounds, and back before the third."""
    folder = tmp_path_factory.mktemp(request.param)
    policy, training = CASES[request.param]
    whole = study(policy, [[1e6, None]], **training).run(rounds=2, out=folder / "whole")
    at_s = middle_s(whole, 1, 2)
    made = study(policy, [[at_s, at_s + 1e-3]], **training)
    return made, made.run(rounds=3, out=folder / "run")


def test_the_device_is_replaced_and_takes_part_again(
    recovered: tuple[Study, Result],
) -> None:
    made, result = recovered
    rows = result.pipelines
    repeated = 2 if made.config.training.recovery.policy == "restart" else 0
    assert list(rows["fate"]) == ["averaged"] * 3
    assert list(rows["lost"] != "") == [False, True, False]
    assert rows["lost"].iloc[1].startswith("c0.d1 at ")
    assert list(rows["repeated_steps"]) == [0, repeated, 0]
    assert list(rows["devices"]) == [
        "c0.d0 → c0.d1 → c0.d2",
        "c0.d0 → c0.d2",
        "c0.d0 → c0.d1 → c0.d2",
    ]
    assert list(rows["stages"]) == [
        "c0.d0[0-1] → c0.d1[2] → c0.d2[3]",
        "c0.d0[0] → c0.d2[1-3]",  # which is the fastest
        "c0.d0[0-1] → c0.d1[2] → c0.d2[3]",
    ]


def test_every_round_is_replayed(recovered: tuple[Study, Result]) -> None:
    """The third needs to know that the states of block 2 come from c0.d2."""
    _, result = recovered
    for number in range(3):
        again = replay(result.directory, number)
        assert again.different == ()


def test_it_is_resumed_after_the_round_with_the_loss(
    recovered: tuple[Study, Result], tmp_path: Path
) -> None:
    made, whole = recovered
    for rounds in (2, 3):
        made.run(rounds=rounds, out=tmp_path / "run", resume=rounds > 2)
    run_checks.same(whole.directory, tmp_path / "run")
