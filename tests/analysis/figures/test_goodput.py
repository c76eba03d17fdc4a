"""The spectral efficiency of transfers is drawn over SINR, with the curve of the radio's medium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from synthetic_runs import write_run

from analysis import Runs, load
from analysis.figures.goodput import goodput
from analysis.figures.reduction import MOST_POINTS
from analysis.figures.style import CannotDraw

_CURVE = {"sinr_db": [0.0, 10.0, 20.0], "goodput_bps": [1e6, 2e6, 4e6], "bandwidth_hz": 1e6}


def _runs(
    folder: Path,
    transfers: Sequence[Mapping[str, object]],
    media: Sequence[Mapping[str, object]] = (),
) -> Runs:
    values = {"bytes": 1000, "airtime_s": 0.004, "bandwidth_hz": 1e6, "sinr_db": 15.0}
    rows = [{"kind": "gradient", **values, **row} for row in transfers]
    return load(write_run(folder / "run", transfers=rows, media=media))


def _medium(name: str, stack: str, **changed: object) -> dict[str, object]:
    return {"medium": name, "stack": stack, "shared": False, "links": [], **_CURVE, **changed}


def _points(axes: Axes) -> list[list[float]]:
    points = np.concatenate([np.asarray(each.get_offsets()) for each in axes.collections])
    found: list[list[float]] = points.tolist()
    return found


def test_points_are_payload_bits_for_each_second_and_hertz_on_the_air(tmp_path: Path) -> None:
    transfers = [
        {},
        {"kind": "model", "bytes": 500, "sinr_db": 3.0, "bandwidth_hz": 2e6},
        {"outcome": "lost"},
        {"kind": "sounding", "bytes": 0},
        {"airtime_s": 0.0},
        {"sinr_db": float("nan")},
    ]
    axes = goodput(_runs(tmp_path, transfers)).axes[0]
    assert _points(axes) == [[3.0, 0.5], [15.0, 2.0]]


def test_each_radio_has_the_curve_of_its_own_media_once(tmp_path: Path) -> None:
    media = [
        _medium("uplink", "ofdma"),
        _medium("downlink", "ofdma", bandwidth_hz=2e6, goodput_bps=[2e6, 4e6, 8e6]),
        _medium("sidelinks", "wifi", goodput_bps=[0.5e6, 0.5e6, 0.5e6]),
    ]
    figure = goodput(_runs(tmp_path, [{"radio": "wifi"}, {"radio": "ofdma"}], media))
    assert [axes.get_title() for axes in figure.axes] == ["ofdma", "wifi"]
    curves = [
        [np.asarray(line.get_ydata()).tolist() for line in axes.lines] for axes in figure.axes
    ]
    # The curve ends where the transfers do: at 15 dB with a margin, so before 20 dB.
    assert curves == [[[1.0, 2.0]], [[0.5, 0.5]]]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["gradient", "expected by planners"]


def test_runs_of_earlier_versions_have_no_curve(tmp_path: Path) -> None:
    figure = goodput(_runs(tmp_path, [{}]), width="column")
    assert not figure.axes[0].lines
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["gradient"]


def test_many_transfers_are_thinned_in_the_same_way_each_time(tmp_path: Path) -> None:
    count = 3 * MOST_POINTS
    kinds = ("model", "gradient", "gradient")
    transfers = [{"kind": kinds[n % 3], "sinr_db": float(n)} for n in range(count)]
    runs = _runs(tmp_path, transfers)
    axes = goodput(runs).axes[0]
    sizes = {each.get_label(): len(each.get_offsets()) for each in axes.collections}
    assert sizes == {"model": MOST_POINTS // 3, "gradient": round(MOST_POINTS * 2 / 3)}
    assert _points(axes) == _points(goodput(runs).axes[0])


def test_transfers_of_which_nothing_was_measured_can_not_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(CannotDraw, match="SINR and airtime"):
        goodput(_runs(tmp_path, [{"sinr_db": float("nan")}]))
