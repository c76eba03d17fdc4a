"""Predictions are drawn over measurements, with the distribution of their relative error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import write_run

from analysis import Runs, load
from analysis.figures.prediction import prediction
from analysis.figures.style import CannotDraw, Width


def _plan(**quantities: tuple[float, float]) -> Mapping[str, object]:
    rows = [
        {"what": key, "name": "round", "quantity": key, "predicted": predicted, "measured": found}
        for key, (predicted, found) in quantities.items()
    ]
    return {"explanation": {"measured": rows}}


def _runs(folder: Path, *plans: Mapping[str, object]) -> Runs:
    return load(write_run(folder / "run", rounds=len(plans), plans=plans))


def _points(figure: Figure, panel: int, label: str) -> list[list[float]]:
    found = next(each for each in figure.axes[panel].collections if each.get_label() == label)
    points: list[list[float]] = np.asarray(found.get_offsets()).tolist()
    return points


def test_each_prediction_is_a_point_and_the_median_of_the_errors_a_number(tmp_path: Path) -> None:
    runs = _runs(
        tmp_path,
        _plan(round_s=(1.1, 1.0), energy_j=(5.0, 5.0), rx_energy_j=(0.0, 1.0)),
        _plan(round_s=(1.0, 2.0)),
        _plan(round_s=(3.6, 3.0)),
    )
    figure = prediction(runs)
    assert _points(figure, 0, "round") == [[1.0, 1.1], [2.0, 1.0], [3.0, 3.6]]
    assert _points(figure, 2, "total") == [[5.0, 5.0]]
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    # A prediction of 0 has no place on logarithmic axes, but an error of -100 %.
    assert texts == ["+10.0 %", "median", "0.0 %", "−100.0 %", "median"]
    assert _points(figure, 2, "receiving") == []
    box = figure.axes[1].patches[0]
    # The errors are -50, 10 and 20 %, so the quartiles are -20 and 15 %.
    assert [box.get_x(), box.get_x() + box.get_width()] == pytest.approx([-20.0, 15.0])
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["round"]


def test_a_point_on_the_diagonal_is_a_right_prediction(tmp_path: Path) -> None:
    axes = prediction(_runs(tmp_path, _plan(step_s=(0.2, 0.2)))).axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    diagonal = np.asarray(axes.lines[0].get_xydata())
    assert diagonal[:, 0].tolist() == diagonal[:, 1].tolist()


@pytest.mark.parametrize("width", ["column", "page"])
def test_without_energies_there_are_durations_only(tmp_path: Path, width: Width) -> None:
    figure = prediction(_runs(tmp_path, _plan(gather_s=(0.2, 0.1))), width=width)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["measured duration (s)", "relative error of the prediction (%)"]


def test_schemes_that_predict_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(CannotDraw, match="collapipe predicted nothing"):
        prediction(_runs(tmp_path, {}))
