"""Markers of memory are at the largest peaks, and bars at the limits, in MiB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from synthetic_runs import write_run

import analysis
from analysis.figures.registry import CannotDraw, draw

MIB = 2**20


def _device(name: str, peak_mib: float, round_number: int = 0) -> dict[str, Any]:
    peak = round(peak_mib * MIB)
    return {"device": name, "peak_memory_bytes": peak, "round": round_number}


def _limit(name: str, mib: float) -> dict[str, Any]:
    return {"node": name, "role": "device", "memory_limit_bytes": mib * MIB}


def _markers(axes: Axes, scheme: str) -> dict[str, float]:
    """The memory of each device in MiB, by the row in which its marker is."""
    (line,) = [each for each in axes.lines if each.get_label() == scheme]
    names = [label.get_text() for label in axes.get_yticklabels()]
    places = np.round(np.asarray(line.get_ydata(), float)).astype(int)
    return dict(zip([names[place] for place in places], line.get_xdata(), strict=True))


def _lines(axes: Axes, label: str) -> list[tuple[float, float]]:
    """From where to where the lines of a collection are, in MiB."""
    found = [each for each in axes.collections if each.get_label() == label]
    return [
        (float(segment[0, 0]), float(segment[1, 0]))
        for each in found
        for segment in each.get_segments()
    ]


def test_markers_are_at_the_largest_peaks_over_rounds_and_seeds(tmp_path: Path) -> None:
    first = [_device("c0.d0", 2.0), _device("c0.d0", 3.0, 1), _device("c0.d1", 9.0)]
    second = [_device("c0.d0", 5.0), _device("c0.d0", 1.0, 1), _device("c0.d1", 9.0)]
    runs = analysis.load(
        write_run(tmp_path / "one", seed=1, rounds=2, devices=first),
        write_run(tmp_path / "two", seed=2, rounds=2, devices=second),
        write_run(tmp_path / "other", scheme="titanic", devices=[_device("c0.d1", 7.0)]),
    )
    (axes,) = draw("memory", runs).axes
    assert _markers(axes, "collapipe") == {"c0.d0": 5.0, "c0.d1": 9.0}
    assert _markers(axes, "titanic") == {"c0.d1": 7.0}
    whiskers = [segment for each in axes.collections for segment in each.get_segments()]
    assert {(float(s[0, 0]), float(s[1, 0])) for s in whiskers} == {(3, 5), (9, 9), (7, 7)}


def test_limits_are_bars(tmp_path: Path) -> None:
    devices = [_device("c0.d0", 2.0), _device("c0.d10", 2.0), _device("c0.d2", 2.0)]
    nodes = [_limit("c0.d0", 4.0), _limit("c0.d2", 8.0), _limit("c0.d9", 1.0)]
    run = analysis.load(write_run(tmp_path / "run", devices=devices, nodes=nodes))
    (axes,) = draw("memory", run).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c0.d0", "c0.d2", "c0.d10"]
    assert _lines(axes, "limit") == [(4.0, 4.0), (8.0, 8.0)]
    assert axes.get_xscale() == "linear"
    assert axes.get_xlabel() == "peak memory (MiB)"


def test_a_far_limit_has_a_logarithmic_axis(tmp_path: Path) -> None:
    limits = [_limit("c0.d0", 4000.0)]
    run = write_run(tmp_path / "run", devices=[_device("c0.d0", 2.0)], nodes=limits)
    (axes,) = draw("memory", analysis.load(run)).axes
    assert axes.get_xscale() == "log"


def test_directories_without_nodes_have_no_limits(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", devices=[_device("c0.d0", 2.0)], without=["nodes"])
    figure = draw("memory", analysis.load(path))
    assert _markers(figure.axes[0], "collapipe") == {"c0.d0": 2.0}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["collapipe"]


def test_control_units_and_devices_without_a_part_are_left_out(tmp_path: Path) -> None:
    devices = [_device("c0.cu", 8.0), _device("bs", 8.0), _device("c0.d0", 2.0)]
    run = write_run(tmp_path / "run", devices=[*devices, _device("c0.d1", 0.0)])
    assert _markers(draw("memory", analysis.load(run)).axes[0], "collapipe") == {"c0.d0": 2.0}


def test_of_many_devices_those_with_the_largest_peaks_are_shown(tmp_path: Path) -> None:
    devices = [_device(f"c0.d{number}", 1.0 + number) for number in range(60)]
    run = analysis.load(write_run(tmp_path / "run", devices=devices))
    (axes,) = draw("memory", run, most_devices=3).axes
    assert _markers(axes, "collapipe") == {"c0.d57": 58.0, "c0.d58": 59.0, "c0.d59": 60.0}
    assert axes.get_title("left") == "3 of 60 devices, those with the largest\npeaks"


def test_at_least_one_device_is_shown(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path / "run", devices=[_device("c0.d0", 1.0)]))
    for figure in ("memory", "energy"):
        with pytest.raises(CannotDraw, match="at least 1 device, not 0"):
            draw(figure, run, most_devices=0)


def test_runs_without_parts_on_devices_are_refused(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path / "run", devices=[_device("bs", 5.0)]))
    with pytest.raises(CannotDraw, match="no device held a part"):
        draw("memory", run)


def test_an_unknown_figure_is_answered_with_all_names(tmp_path: Path) -> None:
    runs = analysis.load(write_run(tmp_path / "run"))
    with pytest.raises(KeyError, match=r"no figure 'memroy'; there are timeline, .*memory"):
        draw("memroy", runs)


def test_mistakes_in_options_are_answered_with_those_there_are(tmp_path: Path) -> None:
    runs = analysis.load(write_run(tmp_path / "run"))
    with pytest.raises(TypeError, match="timeline has no option 'round'; it has width, run, round"):
        draw("timeline", runs, round=0)
    with pytest.raises(ValueError, match="width: expected column or page, not 'wide'"):
        draw("memory", runs, width="wide")
    with pytest.raises(IndexError, match="no run 1: there are 1"):
        runs[1]
