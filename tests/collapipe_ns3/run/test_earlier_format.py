"""Runs of the format before are read, replayed and continued, with what they lack as missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import studies
from earlier_format import ADDED_BY_4, LATER_TABLES, as_format_3

import analysis
from collapipe_ns3 import Study
from collapipe_ns3.result import load
from collapipe_ns3.run.replay import replay
from run_directory.digests import FORMAT
from run_directory.tables import read_round
from run_directory.whole import TABLES, examine


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """Two rounds of the tiny study, as format 3 had them."""
    path = Path(shutil.copytree(studies.finished(2).directory, tmp_path / "former"))
    as_format_3(path, ADDED_BY_4)
    return path


def test_it_is_read_and_replayed_without_what_it_lacks(former: Path) -> None:
    now, was = studies.finished(2), load(former)
    assert was.nodes.empty
    for table in set(TABLES) - set(LATER_TABLES):
        kept = [c for c in getattr(now, table) if c not in ADDED_BY_4.get(table, ())]
        pd.testing.assert_frame_equal(getattr(was, table), getattr(now, table)[kept])
    assert examine(former).media == []
    assert replay(former, 1).different == ()
    pd.testing.assert_series_equal(
        analysis.load(former).transfers["end_s"], was.transfers["end_s"], check_exact=True
    )


def test_resumed_its_earlier_rounds_have_missing_values(former: Path) -> None:
    Study(studies.config()).run(rounds=3, out=former, resume=True)
    mixed, whole = load(former), studies.finished(3)
    assert json.loads((former / "manifest.json").read_text())["format"] == FORMAT
    assert examine(former).media == examine(whole.directory).media != []
    for table, added in ADDED_BY_4.items():
        rows, expected = getattr(mixed, table), getattr(whole, table)
        old = rows["round"] < 2
        assert rows.loc[old, list(added)].isna().all(axis=None)
        assert {*rows.columns} == {*expected.columns}
        for name in added:
            assert rows.loc[~old, name].tolist() == expected.loc[~old, name].tolist()
        same = [name for name in expected if name not in added and "wall" not in name]
        pd.testing.assert_frame_equal(rows[same], expected[same], check_exact=True)
    assert mixed.nodes["round"].unique().tolist() == [2]
    assert mixed.nodes.equals(whole.nodes[whole.nodes["round"] == 2].reset_index(drop=True))
    assert read_round(examine(former), "nodes", 1).empty
    assert len(read_round(examine(former), "nodes", 2)) == len(mixed.nodes)
    assert replay(former, 1).different == replay(former, 2).different == ()
    loaded = analysis.load(former)
    assert loaded.transfers.loc[loaded.transfers["round"] < 2, "micro_batch"].isna().all()
    assert loaded.nodes["round"].unique().tolist() == [2]
