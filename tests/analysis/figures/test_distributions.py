"""The lines of the distributions are those of the transfers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import write_run

from analysis import load
from analysis.figures.distributions import distributions
from analysis.figures.reduction import cumulative
from analysis.figures.style import CannotDraw


def _transfer(kind: str, **changed: object) -> dict[str, object]:
    values = {"start_s": 1.0, "end_s": 1.5, "sinr_db": 20.0, "retransmissions": 0}
    return {"kind": kind, "bytes": 100, "outcome": "delivered", **values, **changed}


def _line(figure: Figure, panel: int, label: int) -> list[tuple[float, float]]:
    xy = figure.axes[panel].lines[label].get_xydata()
    return [(float(x), float(y)) for x, y in np.asarray(xy)]


def test_lines_are_the_shares_of_each_kind(tmp_path: Path) -> None:
    rows = [
        _transfer("gradient", end_s=1.25, retransmissions=3),
        _transfer("gradient", end_s=3.0),
        _transfer("gradient", end_s=3.0),
        _transfer("activation", sinr_db=7.0),
        _transfer("activation", outcome="lost", sinr_db=-5.0),
        _transfer("sounding", bytes=0),
    ]
    figure = distributions(load(write_run(tmp_path / "run", transfers=rows)))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["activation (1)", "gradient (3)"]
    assert _line(figure, 0, 0) == [(7.0, 0.0), (7.0, 1.0)]
    assert _line(figure, 1, 1) == [(0.25, 0.0), (0.25, pytest.approx(1 / 3)), (2.0, 1.0)]
    assert _line(figure, 2, 0) == [(0.0, pytest.approx(1 / 3)), (3.0, pytest.approx(1 / 3))]


def test_several_schemes_have_a_line_each(tmp_path: Path) -> None:
    for scheme in ("collapipe", "titanic"):
        rows = [_transfer("model", end_s=2.0 if scheme == "titanic" else 9.0)]
        write_run(tmp_path / scheme, scheme=scheme, transfers=rows)
    figure = distributions(load(tmp_path / "collapipe", tmp_path / "titanic"))
    ends = {line.get_label(): line.get_xdata()[-1] for line in figure.axes[1].lines}
    assert ends == {"collapipe (1)": 8.0, "titanic (1)": 1.0}


def test_a_kind_that_is_not_there_is_an_error_with_those_that_are(tmp_path: Path) -> None:
    runs = load(write_run(tmp_path / "run", transfers=[_transfer("model")]))
    with pytest.raises(CannotDraw, match="'gradients' arrived; there are model"):
        distributions(runs, kind="gradients")


def test_runs_without_transfers_are_an_error(tmp_path: Path) -> None:
    rows = [_transfer("sounding", bytes=0)]
    with pytest.raises(CannotDraw, match="no transfer that arrived"):
        distributions(load(write_run(tmp_path / "run", transfers=rows)))


def test_many_values_are_drawn_by_some_of_them() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    found, shares = cumulative(values)
    assert len(found) <= 501
    assert (found[0], found[-1]) == (values.min(), values.max())
    exact = [(values <= value).mean() for value in found]
    assert shares == pytest.approx(exact)
