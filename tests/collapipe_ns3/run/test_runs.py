"""Whole runs over ns-3: they repeat, resume, conserve, and learn."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from itertools import count
from pathlib import Path

import pandas as pd
import pytest
import studies
from run_checks import conserve, same

import analysis
from collapipe_ns3 import Study, StudyError
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.result import Result
from collapipe_ns3.run.replay import replay


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.load(studies.write(tmp_path))


def test_devices_that_are_only_sounded_are_charged(tmp_path: Path) -> None:
    model = {**studies.TINY["model"], "encoder_blocks": 1}  # for one of the two devices
    study = Study.load(studies.write(tmp_path, model=model))
    result = study.run(scheme="collapipe", rounds=1, out=tmp_path / "run")
    conserve(result)
    idle = result.devices.query("device in ['c0.d0', 'c0.d1'] and blocks == 0")
    assert len(idle) == 1
    assert (idle["radio_energy_j"] > 0).all()


RADIOS: dict[str, dict[str, str]] = {"ofdma": {}, "wifi-lte": {"d2d": "wifi", "d2e": "lte"}}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study over each of `RADIOS`, run in another process: a directory for each."""
    folder = tmp_path_factory.mktemp("elsewhere")
    program = ["from collapipe_ns3 import Study"]
    for name, radio in RADIOS.items():
        (folder / name).mkdir()
        study = studies.write(folder / name, radio=radio)
        program.append(f"Study.load({study!r}).run(out={str(folder / name / 'run')!r})")
    subprocess.run([sys.executable, "-c", "\n".join(program)], check=True)
    return folder


@pytest.mark.parametrize("name", RADIOS)
def test_the_same_seed_gives_the_same_tables_in_one_process_and_in_two(
    tmp_path: Path, name: str, elsewhere: Path
) -> None:
    radio = RADIOS[name]
    study = Study.load(studies.write(tmp_path, radio=radio))
    first = studies.finished(2, radio=radio)
    conserve(first)
    same(first.directory, study.run(out=tmp_path / "second").directory)
    same(first.directory, elsewhere / name / "run")
    other = studies.finished(2, seed=2, radio=radio)
    assert other.rounds["loss"].tolist() != first.rounds["loss"].tolist()
    assert other.transfers["end_s"].tolist() != first.transfers["end_s"].tolist()


def test_a_run_that_was_stopped_continues_to_the_same_tables(study: Study, tmp_path: Path) -> None:
    whole = studies.finished(3)

    class StoppedError(Exception):
        pass

    steps = count(1)

    def stop(progress: object) -> None:
        if next(steps) == 2:
            raise StoppedError  # within the second round

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # a group, or what is in it
        study.run(rounds=3, out=tmp_path / "stopped", on_progress=stop)
    assert "StoppedError" in repr(caught.value)
    assert len(analysis.load(tmp_path / "stopped").rounds) == 1
    study.run(rounds=3, out=tmp_path / "stopped", resume=True)
    same(whole.directory, tmp_path / "stopped")
    study.run(rounds=3, out=tmp_path / "stopped", resume=True)  # nothing is left to do
    same(whole.directory, tmp_path / "stopped")


def test_what_is_known_of_gradients_survives_a_stop(tmp_path: Path) -> None:
    """With int8 a round's divergence depends on the norms of all rounds before."""
    wire = {"training": {"batch_size": 8, "local_steps": 1, "wire": "int8"}}
    study = Study.load(studies.write(tmp_path, **wire))
    whole = study.run(scheme="pipeline", rounds=2, out=tmp_path / "whole")
    study.run(scheme="pipeline", rounds=1, out=tmp_path / "grown")
    grown = study.run(scheme="pipeline", rounds=2, out=tmp_path / "grown", resume=True)
    assert (whole.rounds["divergence"] > 1).all()
    assert grown.rounds["divergence"].tolist() == whole.rounds["divergence"].tolist()


def test_a_finished_run_can_be_made_longer(study: Study, tmp_path: Path) -> None:
    whole = studies.finished(2)
    study.run(rounds=1, out=tmp_path / "grown")
    grown = study.run(rounds=2, out=tmp_path / "grown", resume=True)
    pd.testing.assert_frame_equal(whole.transfers, grown.transfers, check_exact=True)


@pytest.mark.parametrize("scheme", ["pipeline", "titanic", "vanilla_fl"])
def test_any_round_can_be_run_again_alone(tmp_path: Path, scheme: str) -> None:
    run = studies.finished(3, scheme)
    for number in (2, 0):
        again = replay(run.directory, number)
        assert again.different == ()
        assert len(again.outcome.deliveries) == (run.transfers["round"] == number).sum()
    with pytest.raises(StudyError, match="rounds 0 to 2"):
        replay(run.directory, 3)
    with pytest.raises(StudyError, match="no run directory"):
        replay(tmp_path, 0)


def test_a_notebooks_cell_which_runs_in_a_loop_may_run_a_study(
    study: Study, tmp_path: Path
) -> None:
    async def cell() -> Result:
        return study.run(out=tmp_path / "cell")

    result = asyncio.run(cell())
    same(result.directory, studies.finished(2).directory)


def test_a_notebooks_cell_may_plan_and_preview_a_study(study: Study) -> None:
    async def cell() -> tuple[RoundPlan, RoundPlan]:
        return study.plan(), study.preview().plan

    assert asyncio.run(cell()) == (study.plan(), study.plan())


def test_what_cannot_be_resumed_or_written_is_reported(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no run to resume"):
        study.run(out=tmp_path / "none", resume=True)
    study.run(rounds=1, out=tmp_path / "run")
    with pytest.raises(StudyError, match="is not empty"):
        study.run(out=tmp_path / "run")
    with pytest.raises(StudyError, match="another study, scheme or seed"):
        study.run(seed=5, out=tmp_path / "run", resume=True)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(StudyError, match=r"run/checkpoint\.pt: was changed or damaged"):
        study.run(rounds=2, out=tmp_path / "run", resume=True)
    (tmp_path / "run" / "checkpoint.pt").unlink()
    with pytest.raises(StudyError, match=r"run/checkpoint\.pt: is missing"):
        study.run(rounds=2, out=tmp_path / "run", resume=True)
    assert len(analysis.load(tmp_path / "run").rounds) == 1
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="Not a directory"):
        study.run(out=tmp_path / "file" / "run")
    assert not (tmp_path / "none").exists()


def test_runs_without_a_place_get_one_of_their_own(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(study.run(rounds=1).directory) for _ in range(2)]
    assert names == ["runs/tiny-pipeline-seed1", "runs/tiny-pipeline-seed1-2"]


FAR = {"cu": "jetson-nano", "position": [9e5, 0], "devices": ["raspberry-pi-4"]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"clusters": [studies.TINY["clusters"][0], FAR], "radio": {"d2e": "lte"}},
            "not all control units could attach",
        ),
        ({"ns3": {"ns3::LteEnbRrc::SrsPeriodicity": 77}, "radio": {"d2e": "lte"}}, "77"),
        ({"scheme": {"settings": {"micro_batches": 9}}}, "expected 1 to 8 micro-batches"),
        (
            {"clusters": [{"cu": "jetson-nano", "devices": [
                {"profile": "raspberry-pi-4", "memory_bytes": 75_000}]}]},
            "c0.d0 needs",
        ),
    ],
)  # fmt: skip
def test_what_only_shows_when_it_is_tried_is_a_study_error_too(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    study = Study.load(studies.write(tmp_path, **changes))
    with pytest.raises(StudyError, match=says):
        study.run(out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_clusters_out_of_reach_are_abandoned_and_the_round_says_why(tmp_path: Path) -> None:
    lost = {"profile": "raspberry-pi-4", "position": [5e3, 0]}
    far = {"cu": "jetson-nano", "position": [0, 30], "devices": [lost]}
    study = Study.load(studies.write(tmp_path, clusters=[studies.TINY["clusters"][0], far]))
    result = study.run(rounds=1, out=tmp_path / "run")
    conserve(result)
    (abandoned,) = result.rounds["abandoned"]
    assert abandoned.startswith("cluster 1: c1.cu → c1.d0: model of")
    assert "3 times" in abandoned
    assert result.rounds["loss"].notna().all()


@pytest.mark.slow
def test_quickstart_learns(tmp_path: Path) -> None:
    """The run of `make run`: the loss falls every few rounds, exact matches increase."""
    result = Study.load("quickstart").run(out=tmp_path / "run")
    conserve(result)
    loss, metric = result.rounds["loss"], result.rounds["metric"]
    assert (loss.diff(3).dropna() < 0).all()
    assert loss.iloc[-1] < 0.25 * loss.iloc[0]
    assert metric.iloc[0] < 0.05
    assert metric.iloc[-1] > 0.4
    assert set(result.transfers["radio"]) == {"ofdma"}
