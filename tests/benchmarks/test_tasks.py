"""The benchmarks of tasks: baselines, what is kept, the document; a quick run of everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pages, tasks, tasks_document
from benchmarks.tasks_baselines import capitalised, of_classes, of_pairs, of_tags
from benchmarks.tasks_rows import DATA, MINILM, QUICK, ROWS
from benchmarks.tasks_run import Stopwatch, finished, result_file, train_centrally
from collapipe_ns3 import Study
from collapipe_ns3.learning.data.examples import Labelled, Pair, Tagged, generated


def test_baselines_of_classes() -> None:
    pytest.importorskip("sklearn")
    train = [Labelled(f"pay {n}", "pay") for n in "abc"] + [
        Labelled(f"stop {n}", "stop") for n in "ab"
    ]
    test = [Labelled("pay d", "pay"), Labelled("stop d", "stop"), Labelled("stop e", "stop")]
    data = generated("here", {"train": train, "validation": [], "test": test}, ["pay", "stop"])
    found = of_classes(data)
    assert found["most frequent class"] == pytest.approx(1 / 3)
    assert found["TF-IDF + logistic regression"] == 1.0


def test_baselines_of_pairs() -> None:
    pytest.importorskip("sklearn")
    train = [
        Pair("one big red dog", "ein großer roter Hund"),
        Pair("no cat is here", "hier ist keine Katze"),
    ]
    test = [
        Pair("a big red dog", "ein großer roter Hund"),
        Pair("one cat is here", "hier ist eine Katze"),
    ]
    data = generated("here", {"train": train, "validation": test, "test": test}, [])
    found = of_pairs(data)
    assert found["copy of the source"] < 20
    assert found["most similar training sentence"] > found["one sentence for all"] > 0


def test_rows_of_capitalised_words_are_persons() -> None:
    words = ("Ann", "Lee", "met", "Bo", "in", "Rome")
    assert capitalised(words) == ["B-person", "I-person", "O", "B-person", "O", "B-person"]
    tags = ("B-person", "I-person", "O", "B-person", "O", "B-place")
    examples = [Tagged(words, tags)]
    data = generated("here", dict.fromkeys(("train", "validation", "test"), examples), ["person"])
    assert of_tags(data) == {"capitalised words as persons": pytest.approx(2 / 3)}


def test_a_row_without_its_data_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(DATA, raising=False)
    assert DATA in ROWS["banking77"].lacking()
    monkeypatch.setenv(DATA, str(tmp_path))
    (tmp_path / "wnut17").mkdir()
    monkeypatch.delenv(MINILM, raising=False)
    assert MINILM in ROWS["wnut17"].lacking()
    monkeypatch.setenv(MINILM, str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    assert MINILM in ROWS["wnut17"].lacking()
    (tmp_path / "banking77").mkdir()
    assert ROWS["banking77"].lacking() == ""
    assert ROWS["banking77"].load(2, "test").config.task.settings["evaluate_size"] is None


def test_a_result_is_kept_as_long_as_the_settings_are_the_same(tmp_path: Path) -> None:
    row = QUICK["intents-quick"]
    file = result_file(tmp_path, "intents-quick", "over-ns3", 1)
    assert not finished(file, row, 1)
    file.parent.mkdir()
    file.write_text(json.dumps({"study": row.load(1).to_yaml()}))
    assert finished(file, row, 1)
    assert not finished(file, row, 2)


def test_the_time_of_a_continued_run_includes_what_went_before(tmp_path: Path) -> None:
    file = tmp_path / "time.json"
    file.write_text('{"wall_s": 100.0, "cpu_s": 50.0}')
    spent = Stopwatch.in_file(file)
    spent.store()
    assert json.loads(file.read_text())["wall_s"] >= 100
    assert Stopwatch.in_file(file).before_cpu_s > 50


def test_central_training_repeats_exactly() -> None:
    sets = ["rounds=1", "training.local_steps=1", "model.width=8", "model.feed_forward=8"]
    study = Study.load("intents", [*sets, "task.cluster_size=64", "task.evaluate_size=10"])
    trained, again = train_centrally(study), train_centrally(study)
    for name, tensor in trained.state_dict().items():
        assert tensor.equal(again.state_dict()[name]), name


def results_of(tmp_path: Path, kind: str, seed: int, value: float) -> None:
    file = result_file(tmp_path, "banking77", kind, seed)
    file.parent.mkdir(exist_ok=True)
    point = {"simulated_s": 10.0, "accuracy": value}
    result: dict[str, Any] = {
        "commit": "0123456789abcdef",
        "command": "-m benchmarks.tasks_run over-ns3 banking77 1 /somewhere",
        "test": {"accuracy": value, "loss": 1.0},
        "validation": [point] if kind == "over-ns3" else {"accuracy": value},
        "wall_s": 60.0,
        "cpu_s": 30.0,
    }
    file.write_text(json.dumps(result))


def test_the_document_names_the_mean_the_worst_seed_and_what_is_missing(tmp_path: Path) -> None:
    for seed, value in ((1, 0.9), (2, 0.8)):
        results_of(tmp_path, "over-ns3", seed, value)
    results_of(tmp_path, "central", 1, 0.95)
    tasks_document.write(tmp_path, tmp_path)
    text = (tmp_path / "tasks.md").read_text()
    summary = "| Banking77 | accuracy | 0.8 | 0.850 | 0.800 | 2 of 3 | 0.950 | "
    assert summary + "reached by the finished seeds |" in text
    assert "| over ns-3, seed 2 | 0.800 | 1.000 | 10 | 1.0 | 0.5 |" in text
    assert "/somewhere" not in text
    assert "No seed has been run." in text
    assert (tmp_path / "tasks.png").stat().st_size > 1000
    found = tasks_document.read(tmp_path)["banking77"]
    assert found.values(found.central) == [0.95]


def test_the_document_is_what_its_file_and_template_say(tmp_path: Path) -> None:
    assert pages.differences("tasks", tasks_document.page()) == []
    (tmp_path / "results").mkdir()
    stored = json.loads(tasks_document.file_of(pages.DOCS).read_text())
    stored["rows"]["wnut17"]["over_ns3"]["2"]["test"]["f1"] = 0.25
    tasks_document.file_of(tmp_path).write_text(json.dumps(stored))
    different = pages.differences("tasks", tasks_document.page(tmp_path))
    assert any(line.startswith("+| WNUT-17") and "0.250" in line for line in different)
    assert any(line.startswith("+| WNUT-17") and line.endswith("missed |") for line in different)


def test_commits_that_were_rebased_are_named_by_those_that_replaced_them(tmp_path: Path) -> None:
    results_of(tmp_path, "over-ns3", 1, 0.9)
    tasks_document.write(tmp_path, tmp_path)
    assert "at commit 0123456." in (tmp_path / "tasks.md").read_text()
    file = tasks_document.file_of(tmp_path)
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "rebased": {"0123456789abcdef": "fedcba9"}}))
    tasks_document.write(tmp_path, tmp_path)
    assert "at a commit that was rebased as fedcba9." in (tmp_path / "tasks.md").read_text()


@pytest.mark.slow
def test_the_quick_version_learns_all_three_tasks_and_is_not_run_twice(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--results", str(tmp_path), "--jobs", "2"]
    assert tasks.main(arguments) == 0, capfd.readouterr().out
    written = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*.json")}
    assert len(written) == 3 * 4  # over ns-3, its time, centrally, baselines
    assert tasks.main(arguments) == 0
    assert written == {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*.json")}
