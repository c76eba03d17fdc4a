"""Bars of energy have the lengths that follow from the tables of devices and nodes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from synthetic_runs import write_run

import analysis
from analysis.figures.registry import CannotDraw, draw


def _device(
    name: str, compute_j: float, send_j: float, receive_j: float, number: int = 0, **more: Any
) -> dict[str, Any]:
    radio = {"tx_energy_j": send_j, "rx_energy_j": receive_j}
    return {"device": name, "round": number, "compute_energy_j": compute_j, **radio, **more}


def _budget(name: str, joules: float, number: int = 0) -> dict[str, Any]:
    return {"node": name, "round": number, "energy_budget_j": joules}


def _boxes(axes: Axes, component: str) -> list[tuple[float, float, float, float]]:
    (found,) = [
        each
        for each in axes.containers
        if isinstance(each, BarContainer) and each.get_label() == component
    ]
    return [patch.get_bbox().bounds for patch in found]


def _lengths(axes: Axes, component: str) -> dict[str, tuple[float, float]]:
    """The start and length of each device's bar, in joules."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    boxes = _boxes(axes, component)
    return {name: (box[0], box[2]) for name, box in zip(names, boxes, strict=True)}


def _budgets(axes: Axes) -> list[float]:
    return [
        float(segment[0, 0])
        for each in axes.collections
        if each.get_label() == "budget"
        for segment in each.get_segments()
    ]


def test_bars_are_means_over_rounds_then_seeds_stacked_by_component(tmp_path: Path) -> None:
    first = [_device("c0.d0", 2.0, 1.0, 0.5), _device("c0.d0", 4.0, 1.0, 0.5, 1)]
    second = [_device("c0.d0", 7.0, 3.0, 0.5)]
    runs = analysis.load(
        write_run(tmp_path / "one", seed=1, rounds=2, devices=first),
        write_run(tmp_path / "two", seed=2, devices=second),
    )
    (axes,) = draw("energy", runs).subfigs[0].axes
    assert _lengths(axes, "compute") == {"c0.d0": (0.0, 5.0)}
    assert _lengths(axes, "send") == {"c0.d0": (5.0, 2.0)}
    assert _lengths(axes, "receive") == {"c0.d0": (7.0, 0.5)}


def test_each_scheme_has_a_panel_of_the_same_devices(tmp_path: Path) -> None:
    runs = analysis.load(
        write_run(tmp_path / "a", devices=[_device("c0.d0", 2.0, 0.0, 0.0)]),
        write_run(tmp_path / "b", scheme="local", devices=[_device("c0.d1", 3.0, 0.0, 0.0)]),
    )
    one, other = draw("energy", runs).subfigs[0].axes
    assert [axes.get_title("left") for axes in (one, other)] == ["collapipe", "local"]
    assert [box[2] for box in _boxes(one, "compute")] == [2.0, 0.0]
    assert [box[2] for box in _boxes(other, "compute")] == [0.0, 3.0]
    assert one.get_xlim() == other.get_xlim()


def test_budgets_are_bars_and_their_sum_a_line_over_rounds(tmp_path: Path) -> None:
    devices = [_device(f"c0.d{n}", 1.0, 1.0, 1.0, r) for n in (0, 1) for r in (0, 1)]
    nodes = [_budget(f"c0.d{n}", 2.0 + n, r) for n in (0, 1) for r in (0, 1)]
    run = write_run(tmp_path / "run", rounds=2, devices=devices, nodes=nodes)
    above, below = draw("energy", analysis.load(run)).subfigs
    assert _budgets(above.axes[0]) == [2.0, 3.0]
    together = below.axes[0]
    assert [box[3] for box in _boxes(together, "send")] == [2.0, 2.0]
    assert [box[1] for box in _boxes(together, "send")] == [2.0, 2.0]
    (stairs,) = [each for each in together.patches if hasattr(each, "get_data")]
    assert stairs.get_data().values.tolist() == [5.0, 5.0]


def test_virtual_queues_are_lines_over_rounds(tmp_path: Path) -> None:
    devices = [_device("c0.d0", 1.0, 1.0, 1.0, r, energy_queue=q) for r, q in enumerate((0.5, 2))]
    more = [_device("c0.cu", 1.0, 1.0, 1.0, r, energy_queue=math.nan) for r in (0, 1)]
    run = write_run(tmp_path / "run", rounds=2, devices=[*devices, *more])
    queues = draw("energy", analysis.load(run)).subfigs[1].axes[1]
    assert queues.get_ylabel() == "virtual queue (budgets)"
    assert {line.get_label(): list(line.get_ydata()) for line in queues.lines} == {
        "c0.d0": [0.5, 2.0]
    }


def test_the_nodes_with_the_largest_values_have_names(tmp_path: Path) -> None:
    devices = [_device(f"c0.d{n}", float(n), 0.0, 0.0) for n in range(9)]
    lines = draw("energy", analysis.load(write_run(tmp_path / "run", devices=devices)))
    axes = lines.subfigs[1].axes[1]
    assert axes.get_ylabel() == "energy of a device (J)"
    named = {
        str(line.get_label()): float(np.asarray(line.get_ydata())[0])
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }
    assert named == {"c0.d5": 5.0, "c0.d6": 6.0, "c0.d7": 7.0, "c0.d8": 8.0}


def test_directories_without_nodes_have_no_budgets(tmp_path: Path) -> None:
    devices = [_device("c0.d0", 1.0, 1.0, 1.0)]
    run = write_run(tmp_path / "run", devices=devices, without=["nodes"])
    figure = draw("energy", analysis.load(run))
    assert _budgets(figure.subfigs[0].axes[0]) == []
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["compute", "send", "receive"]


def test_the_run_below_is_chosen_by_name(tmp_path: Path) -> None:
    runs = analysis.load(
        write_run(tmp_path / "a", seed=1, devices=[_device("c0.d0", 2.0, 0.0, 0.0)]),
        write_run(tmp_path / "b", seed=2, devices=[_device("c0.d0", 4.0, 0.0, 0.0)]),
    )
    for name, joules in (("a", 2.0), ("b", 4.0)):
        below = draw("energy", runs, run=name).subfigs[1]
        assert below.get_suptitle() == f"run {name}"
        assert [box[3] for box in _boxes(below.axes[0], "compute")] == [joules]
    with pytest.raises(CannotDraw, match="no run 'c'; there are a, b"):
        draw("energy", runs, run="c")


def test_of_many_devices_those_that_use_most_are_shown(tmp_path: Path) -> None:
    devices = [_device(f"c0.d{number}", 1.0 + number, 0.0, 0.0) for number in range(50)]
    run = analysis.load(write_run(tmp_path / "run", devices=devices))
    above = draw("energy", run, most_devices=2).subfigs[0]
    assert list(_lengths(above.axes[0], "compute")) == ["c0.d48", "c0.d49"]
    assert above.get_suptitle() == "2 of 50 devices, those that use most"


def test_runs_without_devices_are_refused(tmp_path: Path) -> None:
    run = analysis.load(write_run(tmp_path / "run", devices=[_device("bs", 5.0, 0.0, 0.0)]))
    with pytest.raises(CannotDraw, match="no device"):
        draw("energy", run)
