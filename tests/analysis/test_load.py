"""Run directories are read as tidy frames, whole rounds only."""

from __future__ import annotations

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
    copied = tmp_path / "run"
    copied.mkdir()
    for file in run_dir.rglob("*"):
        if file.is_file() and not str(file).endswith("rounds/00001.parquet"):
            target = copied / file.relative_to(run_dir)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    run = analysis.load(copied)
    assert all(set(getattr(run, name)["round"]) <= {0} for name in TABLES)
    assert len(run.plans) == 1
    assert len(run.transfers)


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="no run directory"):
        analysis.load(tmp_path)
