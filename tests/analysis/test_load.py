"""Run directories are loaded as tidy frames, with whole rounds only."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import studies

import analysis
from analysis.load import TABLES, NotARun
from collapipe_ns3 import Study


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return Study.load(studies.write(folder)).run(out=folder / "run").directory


def test_a_run_is_read_with_what_it_was_run_with(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    assert run.study["name"] == "tiny"
    assert run.manifest["versions"]["ns3"]
    assert [plan["round"] for plan in run.plans] == [0, 1]
    assert run.rounds["round"].tolist() == [0, 1]


def test_tables_of_several_runs_concatenate(run_dir: Path) -> None:
    run = analysis.load(run_dir)
    for name in TABLES:
        table: pd.DataFrame = getattr(run, name)
        assert list(table.columns[:3]) == ["scheme", "seed", "round"]
        both = pd.concat([table, table.assign(seed=2)], ignore_index=True)
        assert both.groupby("seed").size().tolist() == [len(table)] * 2


def test_half_a_round_is_left_out(run_dir: Path, tmp_path: Path) -> None:
    """The files are those of a process that was killed within the third round."""
    copied = Path(shutil.copytree(run_dir, tmp_path / "run"))
    shutil.copy(copied / "transfers" / "00001.parquet", copied / "transfers" / "00002.parquet")
    with (copied / "plans.jsonl").open("a") as plans:
        plans.write('{"round": 2, "sch')
    run, whole = analysis.load(copied), analysis.load(run_dir)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(run, name), getattr(whole, name))
    assert run.plans == whole.plans


def test_what_is_no_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="no run directory"):
        analysis.load(tmp_path)
