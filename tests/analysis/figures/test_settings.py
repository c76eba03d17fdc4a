"""Runs are averaged over seeds only where nothing but scheme and seed distinguishes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import write_campaign, write_run

import analysis
from analysis.figures.registry import CannotDraw, draw
from analysis.figures.settings import settings_of


def _labels(*paths: Path) -> dict[str, list[str]]:
    return {
        each.label: [run.name for run in each.runs.runs]
        for each in settings_of(analysis.load(*paths))
    }


def test_runs_of_a_study_that_was_changed_are_no_seeds_of_each_other(tmp_path: Path) -> None:
    model = [{"model": {"width": width}} for width in (64, 128)]
    paths = [
        write_run(tmp_path / "a", seed=1, study=model[0]),
        write_run(tmp_path / "b", seed=2, study=model[0]),
        write_run(tmp_path / "c", seed=3, study=model[1], rounds=2),
    ]
    assert _labels(*paths) == {"model.width = 64": ["a", "b"], "model.width = 128": ["c"]}


def test_settings_of_a_scheme_distinguish_its_runs_only_if_they_differ(tmp_path: Path) -> None:
    def study(scheme: str, **settings: float) -> dict[str, object]:
        return {"scheme": {"name": scheme, "settings": settings}}

    paths = [
        write_run(tmp_path / "a", study=study("collapipe", energy_budget_j=1.5)),
        write_run(tmp_path / "b", scheme="titanic", study=study("titanic")),
    ]
    assert _labels(*paths) == {"": ["a", "b"]}
    paths.append(write_run(tmp_path / "c", seed=2, study=study("collapipe", energy_budget_j=3.0)))
    key = "scheme.settings.energy_budget_j"
    labels = {f"{key} = 1.5": ["a"], f"{key} = (not set)": ["b"], f"{key} = 3.0": ["c"]}
    assert _labels(*paths) == labels


def test_a_section_that_some_runs_do_not_have_is_one_setting(tmp_path: Path) -> None:
    given = {"chunk_bytes": 1000, "down": {"numbers": "int8"}}
    paths = [
        write_run(tmp_path / "a", study={"training": {"exchange": None}}),
        write_run(tmp_path / "b", study={"training": {"exchange": given}}),
    ]
    assert _labels(*paths) == {
        "training.exchange = null": ["a"],
        "training.exchange = {chunk_bytes: 1000, down.numbers: int8}": ["b"],
    }


def test_a_repetition_of_a_run_does_not_count_as_a_seed(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 2), ("c", 1))]
    assert _labels(*paths) == {"": ["a", "b"]}


def test_a_grid_whose_runs_differ_otherwise_too_is_refused(tmp_path: Path) -> None:
    points = {}
    for name, power, width in (("a", 10, 64), ("b", 20, 64), ("c", 20, 128)):
        points[name] = {"radio.power": str(power)}
        study = {"radio": {"power": power}, "model": {"width": width}}
        write_run(tmp_path / "cells" / name, study=study)
    with pytest.raises(CannotDraw, match="more than the keys of their grid"):
        draw("grid", analysis.load(write_campaign(tmp_path, points)))
