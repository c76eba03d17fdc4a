"""Bars of rounds by phase have the lengths that follow from the table of rounds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from scipy import stats
from synthetic_runs import write_campaign, write_run

import analysis
from analysis.figures.registry import CannotDraw, draw


def _round(pipeline_s: float, upload_s: float, **changes: Any) -> dict[str, Any]:
    phases = {"pipeline_s": pipeline_s, "upload_s": upload_s}
    return {"duration_s": pipeline_s + upload_s, **phases, **changes}


def _bars(axes: Axes, phase: str) -> list[tuple[float, float, float, float]]:
    """The boxes (x, y, width, height) of a phase's bars."""
    (found,) = [
        each
        for each in axes.containers
        if isinstance(each, BarContainer) and each.get_label() == phase
    ]
    return [patch.get_bbox().bounds for patch in found]


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_of_one_run_each_bar_is_a_round(tmp_path: Path) -> None:
    rounds = [_round(2.0, 1.0), _round(3.0, 0.5)]
    figure = draw("phases", analysis.load(write_run(tmp_path / "run", rounds=rounds)))
    (axes,) = figure.axes
    heights = {phase: [box[3] for box in _bars(axes, phase)] for phase in ("pipeline", "upload")}
    assert heights == {"pipeline": [2.0, 3.0], "upload": [1.0, 0.5]}
    assert [box[1] for box in _bars(axes, "upload")] == [2.0, 3.0]
    assert axes.get_ylabel() == "duration of the round (s)"


def test_dots_cover_the_part_of_the_pipeline_that_overlaps_the_exchange(tmp_path: Path) -> None:
    label = "overlap"
    rounds = [_round(2.0, 1.0, broadcast_s=0.5, overlap_s=0.25), _round(3.0, 0.5, overlap_s=0.75)]
    streamed = write_run(tmp_path / "a", rounds=rounds)
    (axes,) = draw("phases", analysis.load(streamed)).axes
    assert [box[1:4:2] for box in _bars(axes, label)] == [(0.5, 0.25), (0.0, 0.75)]
    baseline = write_run(tmp_path / "b", scheme="titanic", rounds=[_round(7.0, 1.0)])
    (axes,) = draw("phases", analysis.load(streamed, baseline)).axes
    assert [box[0:3:2] for box in _bars(axes, label)] == [(0.25, 0.5), (0.0, 0.0)]
    figure = draw("phases", analysis.load(baseline))
    assert label not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_schemes_have_means_over_rounds_and_intervals_over_seeds(tmp_path: Path) -> None:
    """Runs count the same, whatever the number of their rounds."""
    paths = [
        write_run(tmp_path / "a1", seed=1, rounds=[_round(2.0, 1.0), _round(4.0, 1.0)]),
        write_run(tmp_path / "a2", seed=2, rounds=[_round(5.0, 2.0)]),
        write_run(tmp_path / "b1", scheme="titanic", rounds=[_round(7.0, 1.0)]),
    ]
    figure = draw("phases", analysis.load(*paths))
    (axes,) = figure.axes
    assert [box[2] for box in _bars(axes, "pipeline")] == [4.0, 7.0]
    assert [box[2] for box in _bars(axes, "upload")] == [1.5, 1.0]
    assert [box[0] for box in _bars(axes, "upload")] == [4.0, 7.0]
    half = stats.t.ppf(0.975, 1) * 4.5**0.5 / 2**0.5  # of the totals 4 and 7
    (line,) = axes.collections
    assert line.get_segments()[0][:, 0] == pytest.approx([5.5 - half, 5.5 + half])
    assert _texts(figure) == ["6 ± 19", "8"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["collapipe", "titanic"]
    assert axes.get_xlabel() == "mean duration of a round (s), 1 to 2 seeds"


def test_phases_that_a_round_did_not_have_count_as_0_so_that_they_add_up(tmp_path: Path) -> None:
    rounds = [_round(2.0, 1.0), _round(4.0, 0.0) | {"upload_s": math.nan}]
    paths = [write_run(tmp_path / str(seed), seed=seed, rounds=rounds) for seed in (1, 2)]
    (axes,) = draw("phases", analysis.load(*paths)).axes
    assert [_bars(axes, phase)[0][2] for phase in ("pipeline", "upload")] == [3.0, 0.5]


def test_points_of_a_grid_are_panels_of_the_same_scale(tmp_path: Path) -> None:
    points = {"one": {"radio.power": "10"}, "two": {"radio.power": "20"}}
    campaign = write_campaign(tmp_path / "campaign", points)
    for seconds, name in ((1.0, "one"), (9.0, "two")):
        write_run(campaign / "cells" / name, rounds=[_round(seconds, 0.0)])
    figure = draw("phases", analysis.load(campaign))
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["radio.power = 10", "radio.power = 20"]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert figure.axes[0].get_xlim()[1] > 9.0


def test_studies_are_panels_of_their_own_scale(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / name, study={"name": name}, rounds=[_round(seconds, 0.0)])
        for name, seconds in (("small", 1.0), ("large", 100.0))
    ]
    figure = draw("phases", analysis.load(*paths))
    assert [axes.get_title("left") for axes in figure.axes] == ["small", "large"]
    assert figure.axes[0].get_xlim()[1] < 2 < 100 < figure.axes[1].get_xlim()[1]


def test_directories_without_soundings_are_drawn(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", rounds=[_round(1.0, 1.0)], without=["rounds.sounding_s"])
    figure = draw("phases", analysis.load(path))
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert "sounding" not in labels
    assert "pipeline" in labels


def test_directories_without_any_phase_are_refused(tmp_path: Path) -> None:
    phases = ("sounding", "broadcast", "pipeline", "gather", "upload", "aggregate")
    path = write_run(tmp_path / "run", without=[f"rounds.{phase}_s" for phase in phases])
    with pytest.raises(CannotDraw, match="no phases"):
        draw("phases", analysis.load(path))


def test_panels_grow_with_the_lines_of_their_titles(tmp_path: Path) -> None:
    def height(value: str) -> float:
        paths = [
            write_run(tmp_path / value / name, study={"some": {"key": f"{value}{name}"}})
            for name in ("a", "b")
        ]
        return float(draw("phases", analysis.load(*paths)).get_size_inches()[1])

    assert height("long " * 20) > height("short") + 0.2
