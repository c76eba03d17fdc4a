"""Lines of loss and metric are means over seeds of what the tables of rounds have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats
from synthetic_runs import write_run

import analysis
from analysis.figures.learning import Values, mean_curve
from analysis.figures.registry import CannotDraw, draw


def _values(at: list[float], values: list[float]) -> Values:
    return Values(np.array(at), np.array(values))


def _rounds(*losses: float, seconds: float = 1.0, **changes: Any) -> list[dict[str, Any]]:
    """Rounds with these losses on the test set; the metric is a tenth of each."""
    return [
        {"duration_s": seconds, "test_loss": loss, "metric": loss / 10, "loss": 7.0, **changes}
        for loss in losses
    ]


def _axes(figure: Figure) -> Iterator[Axes]:
    for part in figure.subfigs:
        yield from part.axes


def _line(axes: Axes, scheme: str) -> tuple[list[float], list[float]]:
    (line,) = [each for each in axes.lines if each.get_label() == scheme]
    return list(line.get_xdata()), list(line.get_ydata())


def test_mean_of_step_functions_by_hand() -> None:
    """Until 2 s the second run has no value, and after 5 s the first one has ended."""
    curve = mean_curve([_values([1, 3, 5], [8, 6, 4]), _values([2, 4, 6], [10, 12, 14])])
    assert curve.at.tolist() == [2, 3, 4, 5]
    assert curve.mean.tolist() == [(8 + 10) / 2, (6 + 10) / 2, (6 + 12) / 2, (4 + 12) / 2]
    quantile = stats.t.ppf(0.975, 1)
    assert curve.half[0] == pytest.approx(quantile * math.sqrt(2) / math.sqrt(2))


def test_one_run_has_no_interval() -> None:
    curve = mean_curve([_values([1, 3], [8, 6])])
    assert curve.mean.tolist() == [8, 6]
    assert np.isnan(curve.half).all()


def test_runs_that_never_overlap_have_one_mean() -> None:
    curve = mean_curve([_values([1, 2], [8, 6]), _values([5, 6], [4, 2])])
    assert (curve.at.tolist(), curve.mean.tolist()) == ([5], [5])


def test_there_is_no_mean_where_a_run_diverged() -> None:
    curve = mean_curve([_values([1, 2, 3], [8, 6, 4]), _values([1, 2, 3], [8, math.inf, math.nan])])
    assert curve.mean[0] == 8
    assert np.isnan(curve.mean[1:]).all()
    assert np.isnan(curve.half[1:]).all()


def test_lines_are_test_loss_and_metric_over_the_ends_of_rounds(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path / "run", rounds=_rounds(3.0, 2.0, seconds=1.5)))
    over_time, over_rounds, metric_over_time, metric_over_rounds = _axes(draw("learning", run))
    assert _line(over_time, "collapipe") == ([1.5, 3.0], [3.0, 2.0])
    assert _line(over_rounds, "collapipe") == ([1, 2], [3.0, 2.0])
    assert _line(metric_over_time, "collapipe") == ([1.5, 3.0], [0.3, 0.2])
    assert over_time.lines[0].get_drawstyle() == "steps-post"
    assert over_time.get_ylabel() == "test loss"
    assert metric_over_rounds.get_xlabel() == "finished rounds"


def test_the_metric_has_the_name_unit_and_direction_of_the_manifest(tmp_path: Path) -> None:
    metric = {"name": "perplexity", "unit": "bit", "higher_is_better": False}
    manifest = {"task": {"name": "own", "metric": metric}}
    path = write_run(tmp_path / "run", rounds=_rounds(3.0), manifest=manifest)
    labels = [axes.get_ylabel() for axes in _axes(draw("learning", analysis.load(path)))]
    assert "perplexity (bit)\n(lower is better)" in labels


def test_schemes_have_a_mean_and_a_band_over_seeds(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / f"{scheme}{seed}", scheme=scheme, seed=seed, rounds=_rounds(loss))
        for scheme, seed, loss in (("collapipe", 1, 2.0), ("collapipe", 2, 4.0), ("local", 1, 9.0))
    ]
    axes = next(_axes(draw("learning", analysis.load(*paths))))
    assert _line(axes, "collapipe")[1] == [3.0]
    assert _line(axes, "local")[1] == [9.0]
    low, high = axes.collections[0].get_datalim(axes.transData).intervaly
    half = stats.t.ppf(0.975, 1) * math.sqrt(2) / math.sqrt(2)
    assert (low, high) == pytest.approx((3.0 - half, 3.0 + half))


def test_a_task_without_a_loss_has_only_its_metric(tmp_path: Path) -> None:
    rounds = [{"metric": 0.5, "loss": 2.0}]
    figure = draw("learning", analysis.load(write_run(tmp_path / "run", rounds=rounds)))
    assert [axes.get_ylabel() for axes in _axes(figure)] == [
        "exact_match\n(higher is better)",
        "",
    ]


def test_diverged_runs_are_counted_and_the_others_shown(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "good", seed=1, rounds=_rounds(3.0, 2.0, 1.0)),
        write_run(tmp_path / "bad", seed=2, rounds=_rounds(3.0, math.inf, math.nan)),
    ]
    figure = draw("learning", analysis.load(*paths))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["collapipe (1 diverged)"]
    thin = [list(line.get_ydata()) for line in next(_axes(figure)).lines if line.get_lw() < 1]
    assert [3.0, 2.0, 1.0] in thin


def test_tasks_have_rows_of_their_own(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / name, study={"name": name}, rounds=_rounds(3.0))
        for name in ("one", "other")
    ]
    figure = draw("learning", analysis.load(*paths))
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == ["one", "other"]


def test_runs_without_any_value_are_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", rounds=[{"metric": math.nan, "loss": math.nan}])
    with pytest.raises(CannotDraw, match="neither a loss nor a metric"):
        draw("learning", analysis.load(path))
