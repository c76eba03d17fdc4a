"""What a run directory holds of its task: metric, report, digest and files."""

from __future__ import annotations

from pathlib import Path

import plugging
import pytest
import studies

import analysis
from collapipe_ns3 import Study
from collapipe_ns3.learning.registry import TaskFailed, factory
from collapipe_ns3.problems import StudyError
from run_directory.whole import task_file

TASK = """
    metric = Metric("perplexity", "nats", higher_is_better=False)

    def report(self) -> dict[str, Any]:
        return {"left_out": {"empty": 2}}

    def files(self) -> dict[str, bytes]:
        return {"words.txt": b"one two"}

    def digest(self) -> str:
        return "ab" * 32

    def evaluate(self, model: Any) -> dict[str, float]:
        return {"other": 2.0, "perplexity": 3.0}
"""
HEAD = "from collapipe_ns3.learning.protocol import Metric"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study with a task of another package."""
    monkeypatch.syspath_prepend(tmp_path)
    plugging.install_task(tmp_path, TASK, HEAD)
    return Study.load(studies.write(tmp_path, task={"name": "mine"}))


def plugged() -> type:
    """The class of the task, in which a test may replace functions."""
    made = factory("mine")
    assert isinstance(made, type)
    return made


@pytest.mark.slow
def test_the_manifest_has_the_task_and_the_directory_its_files(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run = study.run(rounds=1, out=out)
    assert run.manifest["task"] == {
        "name": "mine",
        "metric": {"name": "perplexity", "unit": "nats", "higher_is_better": False},
        "report": {"left_out": {"empty": 2}},
        "digest": "ab" * 32,
    }
    assert task_file(out, "words.txt").read_bytes() == b"one two"
    (row,) = run.rounds.to_dict("records")
    assert (row["metric"], row["test_perplexity"], row["test_other"]) == (3.0, 3.0, 2.0)
    assert "test_loss" not in row

    study.run(rounds=2, out=out, resume=True)
    assert len(analysis.load(out).rounds) == 2

    monkeypatch.setattr(plugged(), "digest", lambda self: "cd" * 32)
    with pytest.raises(StudyError, match="made with other data of the task mine"):
        study.run(rounds=3, out=out, resume=True)


def test_a_task_with_an_impossible_file_name_is_refused(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugged(), "files", lambda self: {"../a": b""})
    with pytest.raises(TaskFailed, match=r"task mine: .* not '\.\./a'"):
        study.run(rounds=1, out=tmp_path / "run")


def test_a_main_metric_that_is_not_evaluated_is_an_error_of_the_task(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugged(), "evaluate", lambda self, model: {"loss": 1.0})
    with pytest.raises(TaskFailed, match=r"its main metric perplexity is not among .* loss"):
        study.run(rounds=1, out=tmp_path / "run")


def test_failures_of_the_task_s_code_name_it(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: object, cluster: int, round: int) -> object:
        return iter(())

    monkeypatch.setattr(plugged(), "batches", none)
    with pytest.raises(TaskFailed, match=r"task mine, .* the batches came to an end"):
        study.run(rounds=1, out=tmp_path / "run")
