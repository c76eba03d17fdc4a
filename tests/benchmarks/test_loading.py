"""The benchmark of loading with a small campaign."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analysis
from benchmarks.loading import GROUP, SCHEMES, WAYS, in_new_process, write_campaign
from run_directory.schemas import SCHEMAS


@pytest.mark.slow
def test_a_group_by_takes_hardly_more_memory_than_pyarrow_alone(tmp_path: Path) -> None:
    """A million transfers, of which all columns are 180 MB and those that are needed 16 MB."""
    campaign = write_campaign(tmp_path / "campaign", rounds=5, transfers=10_000)
    measured = {way: in_new_process(way, campaign) for way in WAYS}
    assert measured["group"]["total"] == measured["scan"]["total"] == measured["all"]["total"]
    assert measured["digests"]["total"] == 20 * 5 * len(SCHEMAS)  # runs, rounds, tables
    # The imports of each process are within these peaks.
    assert measured["group"]["peak_mb"] < 1.25 * measured["scan"]["peak_mb"]
    assert measured["group"]["peak_mb"] < 0.7 * measured["all"]["peak_mb"]


def test_the_campaign_of_the_benchmark_is_what_its_files_say(tmp_path: Path) -> None:
    runs = analysis.load(write_campaign(tmp_path / "campaign", rounds=2, transfers=30))
    assert [run.scheme for run in runs.runs] == [scheme for scheme in SCHEMES for _ in range(5)]
    by_group = runs.transfers.groupby(GROUP, observed=True)["bytes"].sum()
    files = tmp_path.glob("campaign/cells/*/transfers/*.parquet")
    every = pd.concat(
        [pd.read_parquet(file).astype({"kind": str, "scheme": str}) for file in files]
    )
    expected = every.groupby(GROUP)["bytes"].sum()
    assert len(every) == 20 * 2 * 30
    assert by_group.to_dict() == expected.to_dict()
