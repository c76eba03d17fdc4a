"""The timeline draws each bar where the tables have it, and the bubble shares beside the nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import write_run

import analysis
from analysis.figures.registry import CannotDraw, draw


def _place(step: int, stage: int, cluster: int = 0) -> dict[str, int]:
    return {"cluster": cluster, "pipeline": 0, "stage": stage, "step": step}


def _compute(
    node: str, action: str, start_s: float, end_s: float, place: Mapping[str, int], number: int = -1
) -> dict[str, Any]:
    times = {"start_s": start_s, "end_s": end_s}
    return {"node": node, "action": action, "micro_batch": number, "round": 0, **times, **place}


#: Two stages of one cluster; two local steps, from 101 s to 105 s and from 105 s to 109 s.
COMPUTES = [
    _compute("c0.cu", "F", 101.0, 102.0, _place(0, 0), 0),
    _compute("c0.d0", "F", 102.0, 103.5, _place(0, 1), 0),
    _compute("c0.cu", "step", 104.0, 105.0, _place(0, 0)),
    _compute("c0.cu", "F", 105.0, 106.0, _place(1, 0), 0),
    _compute("c0.d0", "B", 106.0, 107.5, _place(1, 1), 0),
    _compute("c0.cu", "step", 108.0, 109.0, _place(1, 0)),
    _compute("bs", "aggregate", 109.5, 110.0, {**_place(-1, -1), "cluster": -1, "pipeline": -1}),
]
TRANSFERS = [
    {"kind": "model", "src": "bs", "dst": "c0.cu", "start_s": 100.5, "end_s": 101.0},
    {"kind": "sounding", "src": "c0.cu", "dst": "c0.d9", "start_s": 100.0, "end_s": 100.5},
    {"kind": "activation", "src": "c0.cu", "dst": "c0.d0", "start_s": 101.5, "end_s": 102.0},
]
ROUND = {"start_s": 100.0, "duration_s": 10.0, "sounding_s": 0.5, "broadcast_s": 0.5}
PHASES = {"pipeline_s": 8.0, "gather_s": 0.0, "upload_s": 0.5, "aggregate_s": 0.5}


@pytest.fixture
def run(tmp_path: Path) -> analysis.Runs:
    rounds = [{**ROUND, **PHASES}, {"start_s": 110.0, "duration_s": 3.0}]
    path = write_run(tmp_path / "one", rounds=rounds, computes=COMPUTES, transfers=TRANSFERS)
    return analysis.load(path)


def _bars(figure: Figure, panel: int, label: str) -> list[tuple[float, float]]:
    """The starts and ends of the bars with this label (node, lane, kind), in seconds."""
    found = []
    for each in figure.axes[panel].collections:
        if each.get_label() == label:
            corners = [path.vertices[:, 0] for path in each.get_paths()]
            found += [(float(x.min()), float(x.max())) for x in map(np.asarray, corners)]
    return sorted(found)


def _names(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].get_yticklabels()]


def test_bars_are_where_the_tables_have_them_in_time_since_the_round_began(
    run: analysis.Runs,
) -> None:
    figure = draw("timeline", run)
    overview, detail = 0, 1
    assert figure.axes[overview].get_xlim() == (0.0, 10.0)
    assert _bars(figure, overview, "c0.cu compute step") == [(4.0, 5.0), (8.0, 9.0)]
    assert _bars(figure, overview, "bs compute aggregate") == [(9.5, 10.0)]
    assert _bars(figure, overview, "bs sent model") == [(0.5, 1.0)]
    assert _bars(figure, overview, "c0.cu received model") == [(0.5, 1.0)]
    assert figure.axes[detail].get_xlim() == (1.0, 5.0)
    assert _bars(figure, detail, "c0.cu compute F") == [(1.0, 2.0)]
    assert _bars(figure, detail, "c0.d0 received activation") == [(1.5, 2.0)]


def test_waiting_is_what_is_left_of_the_pipeline_phase(run: analysis.Runs) -> None:
    figure = draw("timeline", run, window_s=(0.0, 10.0))
    assert _bars(figure, 1, "c0.cu compute wait") == [(2.0, 4.0), (6.0, 8.0)]
    assert _bars(figure, 1, "c0.d0 compute wait") == [(1.0, 2.0), (3.5, 6.0), (7.5, 9.0)]
    assert _bars(figure, 1, "bs compute wait") == []


def test_bubble_shares_are_beside_the_nodes(run: analysis.Runs) -> None:
    """The control unit computes 4 s of 8 s, and the device 3 s."""
    figure = draw("timeline", run)
    (right,) = [each for each in figure.axes[1].child_axes if each.get_ylabel() == "bubble share"]
    beside = dict(zip(right.get_yticks(), right.get_yticklabels(), strict=True))
    rows = dict(zip(_names(figure, 1), figure.axes[1].get_yticks(), strict=True))
    shares = {name: beside[y].get_text() for name, y in rows.items() if y in beside}
    assert shares == {"c0.cu": "50 %", "c0.d0": "62 %"}


def test_nodes_are_grouped_by_cluster_and_devices_that_only_sound_are_left_out(
    run: analysis.Runs,
) -> None:
    figure = draw("timeline", run)
    rows = dict(zip(_names(figure, 0), figure.axes[0].get_yticks(), strict=True))
    assert sorted(rows, key=lambda name: rows[name]) == ["cluster 0", "c0.cu", "c0.d0", "bs"]
    notes = [text.get_text() for text in figure.axes[1].texts]
    assert "not shown: a device that only took part in the sounding" in notes


def test_title_says_which_round_and_that_it_is_the_slowest(run: analysis.Runs) -> None:
    assert draw("timeline", run).get_suptitle() == "one\nround 0, the slowest, 10 s"


def test_a_local_step_is_chosen(run: analysis.Runs) -> None:
    figure = draw("timeline", run, step=1)
    assert figure.axes[1].get_xlim() == (5.0, 9.0)
    assert figure.axes[1].get_title("left") == "Local step 1 (thick line above)"


def test_micro_batches_are_numbered_where_there_is_room(run: analysis.Runs) -> None:
    figure = draw("timeline", run)
    assert [text.get_text() for text in figure.axes[1].texts].count("0") == 2
    assert "0" not in [text.get_text() for text in figure.axes[0].texts]


def test_of_many_nodes_the_detail_shows_the_cluster_that_trained_last(tmp_path: Path) -> None:
    computes = [
        _compute(f"c{cluster}.d{device}", "F", 0.0, ends_s, _place(0, device + 1, cluster), 0)
        for cluster, ends_s in enumerate((0.5, 0.9, 0.7))
        for device in range(6)
    ]
    run = analysis.load(write_run(tmp_path / "wide", computes=computes))
    nodes = {f"c1.d{device}" for device in range(6)}
    assert set(_names(draw("timeline", run), 1)) == {"cluster 1", *nodes}
    assert "cluster 2" in _names(draw("timeline", run, cluster=2), 1)
    assert len(_names(draw("timeline", run), 0)) == 18 + 3


def test_a_round_without_training_is_drawn_as_a_whole(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path / "idle", transfers=[TRANSFERS[0] | {"start_s": 0.5}]))
    figure = draw("timeline", run)
    assert figure.axes[1].get_xlim() == figure.axes[0].get_xlim() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": "two"}, "no run 'two'; there are one"),
        ({"round_number": 5}, "has no round 5; it has the rounds 0 to 1"),
        ({"round_number": 1}, "in round 1 of run one no node did anything"),
        ({"cluster": 3}, "no cluster 3 took part in the round; there are: 0"),
        ({"step": 2}, "no local step 2; there are 0 to 1"),
        ({"window_s": (11.0, 12.0)}, "from 11 s to 12 s has no part of the round"),
        ({"window_s": (math.nan, math.inf)}, "from nan s to inf s has no part of the round"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(
    run: analysis.Runs, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CannotDraw, match=message):
        draw("timeline", run, **options)
