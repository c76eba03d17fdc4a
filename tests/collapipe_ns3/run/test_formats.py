"""Runs whose parameters travel as int8 differences down and top-k differences up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import plugging
import pytest
import run_checks
import studies
import torch

from collapipe_ns3 import Study, load
from collapipe_ns3.reading import study_file
from collapipe_ns3.result import Result
from collapipe_ns3.run.replay import replay

FORMATS: dict[str, Any] = {
    "down": {"numbers": "int8", "difference": True},
    "up": {"numbers": "fp16", "difference": True, "largest": 0.1},
}

#: One after the other and whole, and with every lever: multicasts of chunks that are forwarded.
WAYS: dict[str, dict[str, Any]] = {
    "star": {"multicast": False, "chunk_bytes": None},
    "streamed": {"multicast": True, "chunk_bytes": 3000},
}

pytestmark = pytest.mark.slow


def study(way: str) -> Study:
    training = {**studies.TINY["training"], "exchange": {**WAYS[way], **FORMATS}}
    config, found = study_file.check(studies.many(2, 2, training=training))
    assert config is not None
    assert not found, found
    return Study(config)


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def result(way: str, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return study(way).run(rounds=3, scheme="pipeline", out=tmp_path_factory.mktemp(way) / "run")


def test_every_unit_that_travels_has_a_row_in_each_direction(result: Result) -> None:
    rows = result.encodings
    assert len(rows) == 3 * 2 * 2 * 3  # rounds, directions, clusters; embedding and two blocks
    assert rows["whole"].tolist() == ((rows["round"] == 0) & (rows["direction"] == "down")).tolist()
    assert not rows["dropped_error"].any()
    up = rows[rows["direction"] == "up"]
    assert up["distortion"].between(0.1, 0.9).all()  # 1 − k/n for equal magnitudes
    down = rows[(rows["direction"] == "down") & (rows["round"] > 0)]
    assert down["distortion"].between(1e-8, 1e-3).all()
    assert (down["norm_sq"] > 0).all()


def test_the_bytes_of_rows_are_those_on_the_air(way: str, result: Result) -> None:
    rows, sent = result.encodings, result.transfers
    size = rows.groupby(["round", "cluster", "direction"], observed=True)["bytes"].sum()
    up = sent[(sent["kind"] == "parameters") & (sent["dst"] == "bs")]
    down = sent[(sent["kind"] == "model") & (sent["src"] == "bs")]
    for round in range(3):
        for cluster in range(2):
            for direction, hop in (("up", up["src"]), ("down", down["dst"])):
                table = up if direction == "up" else down
                own = table[(table["round"] == round) & (hop == f"c{cluster}.cu")]
                assert own["bytes"].sum() == size[round, cluster, direction]
    assert size[1, 0, "down"] < 0.4 * size[0, 0, "down"]
    assert (len(down) > 2 * 3) == (way == "streamed")  # in chunks


def test_a_round_is_replayed_alone(result: Result) -> None:
    assert replay(result.directory, 1).different == ()
    assert replay(result.directory, 2).different == ()


#: The last cluster has no pipeline in round 1.
ONE_SITS_OUT = """
    def plan(self, round, observation):
        plan = super().plan(round, observation)
        if round != 1:
            return plan
        *others, last = plan.clusters
        return replace(plan, clusters=(*others, replace(last, pipelines=())))
"""


def test_what_a_cluster_keeps_that_sits_out_is_kept_in_a_replay_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugging.install(tmp_path, ONE_SITS_OUT)
    monkeypatch.syspath_prepend(tmp_path)
    result = study("star").run(rounds=3, scheme="mine", out=tmp_path / "run")
    out, held = result.devices[result.devices["round"] == 1], "peak_memory_bytes"
    assert (out.loc[out["cluster"] == 1, held] > 0).any()
    assert replay(result.directory, 1).different == ()
    assert replay(result.directory, 2).different == ()


def test_a_run_that_stopped_goes_on_with_the_same_bytes(
    way: str, result: Result, tmp_path: Path
) -> None:
    study(way).run(rounds=2, scheme="pipeline", out=tmp_path / "run")
    study(way).run(rounds=3, scheme="pipeline", out=tmp_path / "run", resume=True)
    run_checks.same(result.directory, tmp_path / "run")
    pd.testing.assert_frame_equal(load(tmp_path / "run").encodings, result.encodings)
    one, other = (load_checkpoint(path) for path in (result.directory, tmp_path / "run"))
    assert alike(one["training"]["kept"], other["training"]["kept"])
    assert len(one["training"]["kept"]["unsent"]) == 2 * 3


def load_checkpoint(path: Path) -> Any:
    return torch.load(path / "checkpoint.pt", weights_only=True)


def alike(one: Any, other: Any) -> bool:
    """Whether two values of a checkpoint are equal, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)
