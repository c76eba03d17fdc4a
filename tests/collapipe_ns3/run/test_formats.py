"""Runs whose parameters travel as int8 differences down and top-k differences up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import run_checks
import studies

from collapipe_ns3 import Study, load
from collapipe_ns3.result import Result
from collapipe_ns3.run.replay import replay

EXCHANGE: dict[str, Any] = {
    "multicast": False,
    "chunk_bytes": None,
    "down": {"numbers": "int8", "difference": True},
    "up": {"numbers": "fp16", "difference": True, "largest": 0.1},
}

pytestmark = pytest.mark.slow


def study() -> Study:
    training = {**studies.TINY["training"], "exchange": EXCHANGE}
    return Study(studies.config(training=training))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return study().run(rounds=3, out=tmp_path_factory.mktemp("formats") / "run")


def test_every_unit_that_travels_has_a_row_in_each_direction(result: Result) -> None:
    rows = result.encodings
    assert len(rows) == 3 * 2 * 3  # rounds, directions; embedding and two blocks
    assert rows["whole"].tolist() == ((rows["round"] == 0) & (rows["direction"] == "down")).tolist()
    assert not rows["dropped_error"].any()
    up = rows[rows["direction"] == "up"]
    assert up["distortion"].between(0.1, 0.9).all()  # 1 − k/n for equal magnitudes
    down = rows[(rows["direction"] == "down") & (rows["round"] > 0)]
    assert down["distortion"].between(1e-8, 1e-3).all()
    assert (down["norm_sq"] > 0).all()


def test_the_bytes_of_rows_are_those_of_the_uploads(result: Result) -> None:
    rows = result.encodings
    up = rows[rows["direction"] == "up"].groupby("round")["bytes"].sum()
    sent = result.transfers
    sent = sent[(sent["kind"] == "parameters") & (sent["dst"] == "bs")]
    assert sent.groupby("round")["bytes"].sum().tolist() == up.tolist()
    broadcasts = result.transfers[lambda t: (t["kind"] == "model") & (t["src"] == "bs")]
    down = rows[rows["direction"] == "down"].groupby("round")["bytes"].sum()
    assert broadcasts.groupby("round")["bytes"].sum().tolist() == down.tolist()
    assert down[1] < 0.4 * down[0]


def test_a_round_is_replayed_alone(result: Result) -> None:
    assert replay(result.directory, 1).different == ()
    assert replay(result.directory, 2).different == ()


def test_a_run_that_stopped_goes_on_with_the_same_bytes(result: Result, tmp_path: Path) -> None:
    study().run(rounds=2, out=tmp_path / "run")
    study().run(rounds=3, out=tmp_path / "run", resume=True)
    run_checks.same(result.directory, tmp_path / "run")
    pd.testing.assert_frame_equal(load(tmp_path / "run").encodings, result.encodings)
