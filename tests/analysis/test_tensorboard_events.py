"""Event files: what TensorBoard reads from them, and how they grow with their runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import write_run

import analysis
from analysis import tensorboard_events
from analysis.tensorboard_events import EVENT_FILE, LiveEvents, folder_of, write_events

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROUNDS = [
    {"duration_s": 1.5, "pipeline_s": 0.75, "loss": 3.25, "device_energy_j": 8.1, "test_f1": 0.1},
    {"duration_s": 2.5, "pipeline_s": 1.75, "loss": 2.25, "device_energy_j": 7.1, "test_f1": 0.3},
    {"duration_s": 0.5, "pipeline_s": 0.25, "loss": 1.25, "device_energy_j": 6.1, "test_f1": 0.7},
]


@pytest.fixture
def run(tmp_path: Path) -> analysis.Runs:
    return analysis.load(write_run(tmp_path / "run", rounds=ROUNDS))


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def scalar(events: EventAccumulator, tag: str) -> list[tuple[int, float, float]]:
    """The step, wall time and value of each event."""
    return [(each.step, each.wall_time, each.value) for each in events.Scalars(tag)]


def test_tensorboard_reads_every_round_at_its_simulated_time(
    run: analysis.Runs, tmp_path: Path
) -> None:
    write_events(run.runs[0], tmp_path / "events")
    events = read(tmp_path / "events")
    times = run.rounds["end_s"].tolist()
    assert times == [1.5, 4.0, 4.5]
    for tag, column in (
        ("training/loss", "loss"),
        ("round/duration_s", "duration_s"),
        ("phases/pipeline_s", "pipeline_s"),
        ("energy/devices_j", "device_energy_j"),
        ("test/f1", "test_f1"),
    ):
        values = [float(np.float32(value)) for value in run.rounds[column]]
        assert scalar(events, tag) == list(zip(range(3), times, values, strict=True))


def test_every_measured_quantity_of_a_round_has_a_tag(run: analysis.Runs, tmp_path: Path) -> None:
    write_events(run.runs[0], tmp_path / "events")
    tags = set(read(tmp_path / "events").Tags()["scalars"])
    left_out = {"round", "seed", "start_s", "end_s", "planning_wall_s", "metric"}
    columns = set(run.rounds.select_dtypes("number")) - left_out
    assert len(tags) == len(columns), (sorted(tags), sorted(columns))


def test_the_study_is_there_as_text(run: analysis.Runs, tmp_path: Path) -> None:
    write_events(run.runs[0], tmp_path / "events")
    [text] = read(tmp_path / "events").Tensors("study")
    assert (text.step, text.wall_time) == (0, 0.0)
    assert text.tensor_proto.string_val[0].decode() == f"```yaml\n{run.runs[0].whole.study}```\n"


def test_no_number_is_kept_where_training_diverged_and_left_out_where_unmeasured(
    tmp_path: Path,
) -> None:
    row = {"loss": math.nan, "test_f1": math.nan, "divergence": math.nan}
    [each] = analysis.load(write_run(tmp_path / "run", rounds=[row])).runs
    write_events(each, tmp_path / "events")
    events = read(tmp_path / "events")
    for tag in ("training/loss", "test/f1"):
        [(_, _, value)] = scalar(events, tag)
        assert math.isnan(value)
    assert "training/divergence" not in events.Tags()["scalars"]


def test_the_metric_of_a_run_without_named_metrics_is_there(tmp_path: Path) -> None:
    [each] = analysis.load(write_run(tmp_path / "run", rounds=[{"metric": 0.5}])).runs
    write_events(each, tmp_path / "events")
    assert scalar(read(tmp_path / "events"), "test/metric") == [(0, 1.0, 0.5)]


def finishing(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    """From now on, runs have so many finished rounds."""
    monkeypatch.setattr(tensorboard_events, "rounds_done", lambda directory: rounds)


def test_a_tensorboard_that_is_open_sees_each_round_once(
    run: analysis.Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveEvents(run.directory, tmp_path / "events")
    finishing(monkeypatch, 0)
    live.update()
    assert not (tmp_path / "events").exists()
    opened: EventAccumulator | None = None
    for done in (1, 2, 2, 3):
        finishing(monkeypatch, done)
        live.update()
        opened = opened or EventAccumulator(str(tmp_path / "events"))
        opened.Reload()
        assert [step for step, _, _ in scalar(opened, "training/loss")] == list(range(done))


def test_a_live_file_has_the_bytes_of_one_that_is_written_at_the_end(
    run: analysis.Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_events(run.runs[0], tmp_path / "whole")
    for done in (1, 2, 3):  # each by another process, as after stops
        finishing(monkeypatch, done)
        LiveEvents(run.directory, tmp_path / "live").update()
    whole, live = (tmp_path / each / EVENT_FILE for each in ("whole", "live"))
    assert whole.read_bytes() == live.read_bytes()


def test_a_file_that_a_killed_process_left_is_completed(run: analysis.Runs, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    write_events(run.runs[0], folder)
    file = folder / EVENT_FILE
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        place = file.stat().st_ino
        LiveEvents(run.directory, folder).update()
        assert file.read_bytes() == whole
        assert file.stat().st_ino == place, "a TensorBoard that has it open would miss the rest"
    assert [each.name for each in folder.iterdir()] == [EVENT_FILE]


def test_events_of_another_run_are_replaced(run: analysis.Runs, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", seed=2, rounds=[*ROUNDS, *ROUNDS])
    write_events(analysis.load(other).runs[0], tmp_path / "events")
    write_events(run.runs[0], tmp_path / "events")
    assert [step for step, _, _ in scalar(read(tmp_path / "events"), "training/loss")] == [0, 1, 2]


def test_the_files_do_not_depend_on_wall_clock_times(run: analysis.Runs, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{**row, "planning_wall_s": 9.0} for row in ROUNDS]
    again = analysis.load(write_run(tmp_path / "again", rounds=rows))
    assert not pd.Series(again.rounds["planning_wall_s"]).equals(run.rounds["planning_wall_s"])
    for each, name in ((run, "one"), (again, "other")):
        write_events(each.runs[0], tmp_path / name)
    one, other = (tmp_path / name / EVENT_FILE for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_folders_have_the_names_of_runs_and_campaigns(tmp_path: Path) -> None:
    assert folder_of(tmp_path / "runs" / "q1") == Path("q1")
    assert folder_of(tmp_path / "campaign" / "cells" / "pipeline-seed0") == Path(
        "campaign/pipeline-seed0"
    )
