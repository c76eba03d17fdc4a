"""A multicast's rows are one transmission: sums over transfers count it once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_runs import write_run

from analysis import Runs, load
from analysis.chrome_trace import chrome_trace
from analysis.compare import metrics
from analysis.figures.goodput import goodput
from analysis.multicasts import group_of, once, whole_airtime_s
from analysis.report.summary import facts
from analysis.round_timeline import round_bars

SENT = {"src": "bs", "bytes": 1000, "airtime_s": 0.001, "bandwidth_hz": 1e6, "sinr_db": 15.0}

#: Three receivers of one multicast, of which the last one was lost, and one transfer to one alone.
ROWS: Sequence[dict[str, Any]] = (
    {**SENT, "dst": "c0.cu", "group": 1, "end_s": 0.4},
    {**SENT, "dst": "c1.cu", "group": 1, "end_s": 0.5, "sinr_db": 7.0},
    {**SENT, "dst": "c0.cu", "group": 0, "bytes": 200},
    {**SENT, "dst": "c2.cu", "group": 1, "end_s": 0.3, "outcome": "lost", "sinr_db": -9.0},
)


def runs(folder: Path, rows: Sequence[dict[str, Any]] = ROWS, **how: Any) -> Runs:
    return load(write_run(folder, transfers=rows, **how))


def test_it_counts_once_with_its_whole_airtime(tmp_path: Path) -> None:
    transfers = runs(tmp_path / "run").transfers
    assert once(transfers)["bytes"].tolist() == [1000, 200]
    assert whole_airtime_s(transfers).tolist() == pytest.approx([0.003, 0.003, 0.001, 0.003])


def test_numbers_are_those_of_a_round_of_a_run(tmp_path: Path) -> None:
    """Two rounds of each of two runs have a multicast number 1."""
    both = [{**row, "round": number} for number in range(2) for row in ROWS]
    for seed in (1, 2):
        write_run(tmp_path / f"run{seed}", transfers=both, rounds=2, seed=seed)
    transfers = load(tmp_path).transfers
    assert once(transfers)["bytes"].tolist() == [1000, 200] * 4
    assert whole_airtime_s(transfers).max() == pytest.approx(0.003)


def test_earlier_versions_had_none(tmp_path: Path) -> None:
    transfers = runs(tmp_path / "run").transfers.drop(columns="group")
    for was in (transfers, transfers.assign(group=np.nan)):
        assert group_of(was).tolist() == [0] * 4
        assert len(once(was)) == 4
        assert whole_airtime_s(was).tolist() == was["airtime_s"].tolist()


def test_payload_is_what_was_on_the_air(tmp_path: Path) -> None:
    made = runs(tmp_path / "run")
    assert {each.label: each.value for each in facts(made)}["payload of all transfers"] == (
        "0.0012 MB"
    )
    assert metrics(made, 1.0, 1.0, 1.0)["bytes_on_air"] == 1200


def test_the_figure_of_goodput_has_its_weakest_receiver_that_got_it(tmp_path: Path) -> None:
    (axes,) = goodput(runs(tmp_path / "run")).axes
    points = np.concatenate([np.asarray(each.get_offsets()) for each in axes.collections])
    assert sorted(points.tolist()) == [
        [7.0, pytest.approx(8 * 1000 / (0.003 * 1e6))],
        [15.0, pytest.approx(8 * 200 / (0.001 * 1e6))],
    ]


def test_it_is_one_bar_at_its_sender_and_one_at_each_receiver(tmp_path: Path) -> None:
    bars = round_bars(runs(tmp_path / "run"), 0)
    sent = bars[bars["track"] == "ofdma sent"].sort_values("group")
    assert sent["peer"].tolist() == ["c0.cu", "c0.cu, c1.cu, c2.cu"]
    assert sent["end_s"].tolist() == [1.0, 0.5]
    assert sent["label"].tolist() == ["activation → c0.cu", "activation → c0.cu, c1.cu, c2.cu"]
    heard = bars[bars["track"] == "ofdma received"]
    assert heard[heard["group"] == 1].set_index("node")["end_s"].to_dict() == {
        "c0.cu": 0.4,
        "c1.cu": 0.5,
        "c2.cu": 0.3,
    }
    assert set(bars.loc[~bars["track"].str.startswith("ofdma"), "group"]) <= {0}


def test_in_a_trace_its_one_event_leads_to_each_receiver(tmp_path: Path) -> None:
    events = json.loads(chrome_trace(runs(tmp_path / "run"), [0]))["traceEvents"]
    slices = [each for each in events if each.get("cat") == "transfer" and each["ph"] == "X"]
    assert len(slices) == 2 + 4
    begins = [each for each in events if each["ph"] == "s"]
    ends = [each for each in events if each["ph"] == "f"]
    assert sorted(each["id"] for each in begins) == sorted(each["id"] for each in ends)
    assert len({each["id"] for each in ends}) == len(ends) == 4
    of_group = [each for each in slices if "c2.cu" in each["args"]["peer"]]
    assert [each["dur"] for each in of_group] == [0.5e6]
    places = {(each["ts"], each["pid"], each["tid"]) for each in of_group}
    assert sum((each["ts"], each["pid"], each["tid"]) in places for each in begins) == 3
