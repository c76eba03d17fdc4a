"""Studies and results from Python: keys are changed, runs are loaded, progress is shown."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import studies
from rich.console import Console

import collapipe_ns3
from collapipe_ns3 import Study, StudyError
from collapipe_ns3.run.progress import shown
from collapipe_ns3.run.runner import Progress
from run_directory.whole import NotARun


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    return studies.write(tmp_path)


def test_keys_are_set_as_keywords_and_by_path(tiny: str) -> None:
    study = Study.load(tiny, training__local_steps=3, radio__d2d__stack="ofdma")
    assert study.config.training.local_steps == 3
    assert study == Study.load(tiny, ["training.local_steps=3", "radio.d2d.stack=ofdma"])
    changed = study.with_(set={"clusters[0].size": 48, "training.learning_rate": 0.01}, seed=9)
    assert changed.config.clusters[0].size == 48
    assert changed.config.training.learning_rate == 0.01
    assert (changed.config.seed, study.config.seed) == (9, 1)
    attribute = changed.with_(set={"ns3.ns3::TcpSocket::SegmentSize": 1000})
    assert attribute.config.ns3 == {"ns3::TcpSocket::SegmentSize": 1000}
    assert changed.config.ns3 == {}


def test_a_study_that_is_changed_to_what_it_is_stays_the_same(tiny: str) -> None:
    study = Study.load(tiny)
    assert study.with_() == study
    assert study.with_(set={"training.local_steps": 1}) == study


def test_values_may_be_numbers_and_arrays_of_numpy(tiny: str) -> None:
    study = Study.load(
        tiny, training__local_steps=np.int64(2), training__learning_rate=np.float32(1)
    )
    assert study.config.training.local_steps == 2
    place = study.with_(set={"clusters[0].position": np.array([1.0, 2.0])})
    assert place.config.clusters[0].position == (1.0, 2.0)


def test_a_value_is_not_shared_with_the_study(tiny: str) -> None:
    settings: dict[str, Any] = {"micro_batches": 2}
    study = Study.load(tiny, scheme__settings=settings)
    settings["micro_batches"] = 1
    assert study.config.scheme.settings == {"micro_batches": 2}


def test_everything_wrong_with_keys_is_reported_with_the_key_that_it_comes_from(tiny: str) -> None:
    with pytest.raises(StudyError) as raised:
        Study.load(tiny, training__local_stepz=3, rounds=0).with_()
    first, second = sorted(raised.value.problems, key=lambda problem: problem.path)
    assert first.path == "rounds"
    assert (second.path, second.file) == ("training.local_stepz", "training.local_stepz = 3")
    assert "local_steps" in second.message
    with pytest.raises(StudyError, match=r"clusters\[7\].size = 3: .*there are 1"):
        Study.load(tiny).with_(set={"clusters[7].size": 3})


def test_settings_survive_a_change_of_scheme_and_back(tiny: str) -> None:
    study = Study.load(tiny, scheme__settings={"micro_batches": 2})
    other = study.with_(scheme="titanic", set={"scheme.settings.least_devices": 1})
    assert other.config.scheme.settings == {"least_devices": 1}
    back = other.with_(scheme="pipeline")
    assert back.config.scheme.settings == {"micro_batches": 2}
    assert back == study
    assert back.with_(scheme="titanic") == other


def test_the_settings_of_a_file_survive_loading_it_with_another_scheme(tmp_path: Path) -> None:
    scheme = {"name": "pipeline", "settings": {"micro_batches": 2}}
    path = studies.write(tmp_path, scheme=scheme)
    other = Study.load(path, scheme="titanic")
    assert other.config.scheme.settings == {}
    assert other.with_(scheme="pipeline") == Study.load(path)


def test_a_run_directory_is_loaded_with_all_that_it_holds(tiny: str, tmp_path: Path) -> None:
    study = Study.load(tiny, scheme__settings={"micro_batches": 2})
    result = study.run(seed=5, out=tmp_path / "run")
    loaded = collapipe_ns3.load(tmp_path / "run")
    assert loaded == result
    assert loaded.study == study.with_(seed=5)
    assert loaded.study.run(out=tmp_path / "again").rounds["loss"].equals(loaded.rounds["loss"])
    assert (loaded.manifest["seed"], loaded.manifest["scheme"]) == (5, "pipeline")
    assert [plan["round"] for plan in loaded.plans] == loaded.rounds["round"].tolist() == [0, 1]
    json.dumps(loaded.plans)
    with pytest.raises(NotARun):
        collapipe_ns3.load(tmp_path / "none")


def step(round: int, step: int) -> Progress:
    return Progress(round, step, steps=2, simulated_s=1.25 * step, loss=3.0)


def test_progress_is_a_line_a_round_where_nobody_watches(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Study.load(tiny).run(out=tmp_path / "run", progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["round 1/2", "round 2/2"]
    assert "s simulated, loss" in lines[0]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_progress_on_a_terminal_fits_into_one_line(width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, color_system=None)
    with shown(2, console) as show:
        for each in (step(0, 1), step(0, 2), step(1, 1)):
            show(each)
    lines = file.getvalue().replace("\r", "\n").splitlines()
    assert any("round 2/2" in line for line in lines)
    assert max(map(len, lines)) <= width + len("\x1b[2K\x1b[?25l")


def test_progress_in_a_notebook_is_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown_lines: list[str] = []

    class Line:
        def update(self, data: dict[str, str], raw: bool) -> None:
            shown_lines.append(data["text/plain"])

    module = ModuleType("IPython.display")
    module.display = lambda data, raw, display_id: Line()  # type: ignore[attr-defined] # as IPython's
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    with shown(2, Console(file=io.StringIO(), force_jupyter=True)) as show:
        show(step(0, 1))
        show(step(1, 2))
    assert shown_lines == [
        "round 1/2, step 1/2: 1.25 s simulated, loss 3.000",
        "round 2/2, step 2/2: 2.50 s simulated, loss 3.000",
    ]
