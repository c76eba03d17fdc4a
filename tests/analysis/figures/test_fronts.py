"""The markers and fronts are those of the runs' means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from synthetic_runs import write_campaign, write_run

from analysis import load
from analysis.figures.fronts import fronts, pareto


def _write(
    folder: Path, scheme: str, seed: int, round_s: float, mib: int, joules: float, **study: Any
) -> None:
    device = {"peak_memory_bytes": mib * 2**20, "compute_energy_j": joules - 1}
    write_run(
        folder,
        scheme=scheme,
        seed=seed,
        study=study,
        rounds=[{"duration_s": round_s}],
        devices=[{"device": "c0.d0", "radio_energy_j": 1.0, **device}],
    )


def _marker(figure: Figure, panel: int, scheme: str) -> list[tuple[float, float]]:
    handles, labels = figure.axes[panel].get_legend_handles_labels()
    line = handles[labels.index(scheme)][0]
    return [(float(x), float(y)) for x, y in line.get_xydata()]


def test_markers_are_the_means_over_seeds_and_the_front_joins_the_best(tmp_path: Path) -> None:
    for seed, round_s in enumerate((1.0, 3.0)):
        _write(tmp_path / f"a{seed}", "collapipe", seed, round_s, 30, 8.0)
        _write(tmp_path / f"b{seed}", "titanic", seed, 5.0, 20, 9.0)
        _write(tmp_path / f"c{seed}", "pipeline", seed, 6.0, 25, 4.0)
    figure = fronts(load(*sorted(tmp_path.iterdir())))
    assert _marker(figure, 0, "collapipe") == [(30.0, 2.0)]
    assert _marker(figure, 1, "collapipe") == [(8.0, 2.0)]
    assert figure.axes[0].get_ylim()[1] < 20  # the front goes on, the axis does not
    front = {
        panel: [line for line in figure.axes[panel].lines if line.get_label() == "Pareto front"]
        for panel in (0, 1)
    }
    # `pipeline` needs more memory and time than `titanic`, but less energy than both others.
    assert np.asarray(front[0][0].get_xydata())[1:-1].tolist() == [[20.0, 5.0], [30.0, 2.0]]
    assert np.asarray(front[1][0].get_xydata())[1:-1].tolist() == [[4.0, 6.0], [8.0, 2.0]]
    bars = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    # Student's t for two seeds at 95 %: 12.706 · s / √2, and s is √2 here.
    heights = [abs(path.vertices[1, 1] - path.vertices[0, 1]) for path in bars[1].get_paths()]
    assert heights == [pytest.approx(2 * 12.706, rel=1e-4)]


def test_the_points_on_a_front_are_numbered_and_listed(tmp_path: Path) -> None:
    points = {"x": "10 MHz", "y": "20 MHz", "z": "40 MHz"}
    for name, round_s, mib in zip(points, (4.0, 3.0, 3.5), (10, 20, 30), strict=True):
        radio = {"d2e": {"bandwidth_hz": points[name]}}
        _write(tmp_path / "cells" / name, "collapipe", 0, round_s, mib, 5.0, radio=radio)
    campaign = {name: {"radio.d2e.bandwidth_hz": point} for name, point in points.items()}
    figure = fronts(load(write_campaign(tmp_path, campaign)))
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2"]
    text = figure.get_supxlabel()
    key = "radio.d2e.bandwidth_hz"
    assert text.splitlines() == [f"1: {key} = 10 MHz", f"2: {key} = 20 MHz"]


def test_what_another_point_dominates_is_hollow(tmp_path: Path) -> None:
    """Of two equal in time and memory, the one with less energy is on the front."""
    _write(tmp_path / "a", "collapipe", 0, 2.0, 30, 8.0)
    _write(tmp_path / "b", "titanic", 0, 2.0, 30, 7.0)
    _write(tmp_path / "c", "pipeline", 0, 1.0, 40, 9.0)
    figure = fronts(load(*sorted(tmp_path.iterdir())))
    for axes in figure.axes:
        hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
        shown = [point for line in hollow for point in line.get_xydata()]
        assert [round_s for _, round_s in shown] == [2.0]
    assert "dominated" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_front_has_what_nothing_dominates() -> None:
    values = np.array([[1, 9], [2, 9], [3, 4], [3, 5], [3, 4], [8, 1], [0.5, np.nan]], float)
    assert pareto(values).tolist() == [[1, 9], [3, 4], [8, 1]]


def test_one_run_has_a_marker_and_no_front(tmp_path: Path) -> None:
    _write(tmp_path / "run", "collapipe", 0, 2.0, 10, 5.0)
    figure = fronts(load(tmp_path / "run"), width="column")
    assert _marker(figure, 1, "collapipe") == [(5.0, 2.0)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["collapipe"]
