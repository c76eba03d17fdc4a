"""Lines, heat maps and regime maps have the means of the campaign's runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle
from synthetic_runs import write_campaign, write_run

from analysis import Runs, load
from analysis.figures.grid import grid
from analysis.figures.style import BLUE, ORANGE, CannotDraw

#: The text of a value in the grid, by the number that the resolved study has.
_MHZ = {5e6: "5 MHz", 20e6: "20e6"}


def _campaign(
    folder: Path,
    values: Mapping[str, Sequence[float | str]],
    round_s: Callable[..., float],
    schemes: Sequence[str] = ("collapipe", "titanic"),
    seeds: int = 2,
) -> Runs:
    """Runs of each scheme and seed at each point; `round_s` has scheme, seed and the values."""
    points: dict[str, dict[str, str]] = {}
    for scheme, seed, *at in itertools.product(schemes, range(seeds), *values.values()):
        name = "-".join(map(str, [scheme, seed, *at]))
        study: dict[str, object] = {}
        for key, value in zip(values, at, strict=True):
            section, _, last = key.partition(".")
            study.setdefault(section, {})[last] = value  # type: ignore[index]
        rounds = [{"duration_s": round_s(scheme, seed, *at)}]
        write_run(folder / "cells" / name, scheme=scheme, seed=seed, rounds=rounds, study=study)
        texts = (_MHZ.get(value, str(value)) for value in at)
        points[name] = dict(zip(values, texts, strict=True))
    return load(write_campaign(folder, points))


def test_one_key_gives_lines_over_numbers_with_intervals(tmp_path: Path) -> None:
    runs = _campaign(
        tmp_path,
        {"radio.bandwidth_hz": [20e6, 5e6]},
        lambda scheme, seed, hz: 1e8 / hz + seed + 3 * (scheme == "titanic"),
    )
    axes = grid(runs).axes[0]
    line = axes.get_lines()[0]
    assert np.asarray(line.get_xydata()).tolist() == [[5e6, 20.5], [20e6, 5.5]]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert (labels, axes.get_xlabel()) == (["5", "20"], "radio.bandwidth_hz (MHz)")
    assert axes.get_ylabel() == "end-to-end delay (s)"
    bars = next(each for each in axes.containers if isinstance(each, ErrorbarContainer))
    low, high = bars.lines[2][0].get_segments()[0][:, 1]
    # Student's t for two seeds at 95 %: 12.706 · s / √2, with s = 1 / √2.
    assert high - low == pytest.approx(12.706, rel=1e-4)


def test_two_keys_give_a_heat_map_of_each_scheme(tmp_path: Path) -> None:
    runs = _campaign(
        tmp_path,
        {"task.kind": ["b", "a"], "radio.bandwidth_hz": [5e6, 20e6, 40e6]},
        lambda scheme, seed, kind, hz: hz / 1e6 + 100 * (kind == "b") + seed,
        schemes=("titanic",),
    )
    axes = grid(runs).axes[0]
    assert axes.get_title() == "titanic"
    cells = np.asarray(axes.images[0].get_array())
    assert cells.tolist() == [[5.5, 20.5, 40.5], [105.5, 120.5, 140.5]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axes.texts][:3] == ["5.5", "20.5", "40.5"]


def test_a_regime_map_has_the_best_scheme_and_its_advantage(tmp_path: Path) -> None:
    """With 20 MHz the difference of the seeds is -1 and 3: its interval includes 0."""

    def round_s(scheme: str, seed: int, hz: float, size: float) -> float:
        if hz == 5e6:
            return {"collapipe": 8.0, "titanic": 10.0}[scheme] + 0.01 * seed * size
        return {"collapipe": 21.0 if seed else 19.0, "titanic": 18.0 if seed else 20.0}[scheme]

    values = {"radio.bandwidth_hz": [5e6, 20e6], "training.batch": [1.0, 2.0]}
    axes = grid(_campaign(tmp_path, values, round_s), show="best").axes[0]
    found = {
        patch.get_xy(): to_hex(patch.get_facecolor())
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    }
    assert found[-0.5, -0.5] == BLUE.lower()
    assert found[0.5, -0.5] == ORANGE.lower()
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[0, 0] == "20 %"
    assert texts[1, 0] == "(5.0 %)"


def test_a_third_key_gives_more_panels(tmp_path: Path) -> None:
    values = {"a.x": [1.0, 2.0], "a.y": [1.0, 2.0], "a.z": [3.0, 4.0]}
    runs = _campaign(tmp_path, values, lambda _, seed, x, y, z: x + y + z, ["titanic"], seeds=1)
    panels = [axes for axes in grid(runs, width="column").axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["titanic, z=3", "titanic, z=4"]
    assert np.asarray(panels[1].images[0].get_array()).tolist() == [[6, 7], [7, 8]]


def test_what_can_not_be_drawn_is_said(tmp_path: Path) -> None:
    one = load(write_run(tmp_path / "one"))
    with pytest.raises(CannotDraw, match="not from a grid"):
        grid(one)
    runs = _campaign(tmp_path / "c", {"a.x": [1.0, 2.0]}, lambda *_: 1.0, ["titanic"], seeds=1)
    with pytest.raises(CannotDraw, match="no metric 'speed'; there are round_s"):
        grid(runs, metric="speed")
    with pytest.raises(CannotDraw, match="not all runs are of the same grid: one"):
        grid(load(tmp_path / "one", tmp_path / "c"))
