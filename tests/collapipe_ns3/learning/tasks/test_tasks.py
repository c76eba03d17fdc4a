"""The three tasks on text: batches, reports, metrics, settings that do not fit, and learning."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from collapipe_ns3.keywords import model_of, problems
from collapipe_ns3.learning.protocol import (
    BadTask,
    Reporting,
    Setup,
    WithDigest,
    WithFiles,
    WithSpec,
)
from collapipe_ns3.learning.tasks.intents import Intents
from collapipe_ns3.learning.tasks.ner import NER
from collapipe_ns3.learning.tasks.translation import Translation
from collapipe_ns3.learning.text import tokenizer as tokenizers

Task = Intents | NER | Translation
TASKS = (Intents, NER, Translation)

TINY = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_blocks": 1, "decoder_blocks": 1}


def setup(*sizes: int | None, batch_size: int = 8, seed: int = 1, **model: Any) -> Setup:
    return Setup(sizes or (64, 64), batch_size, seed, {**TINY, **model})


def refused(make: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(BadTask) as bad:
        make()
    return bad.value.key, str(bad.value)


# --- What all three have in common -----------------------------------------------------------


@pytest.mark.parametrize("kind", TASKS)
def test_batches_and_metrics_of_generated_data(kind: type[Task]) -> None:
    task = kind(setup(64, 128), evaluate_size=20)
    assert task.shares == [1 / 3, 2 / 3]
    model = task.model(1)
    for cluster in (0, 1):
        for batch in islice(task.batches(cluster, 0), 3):
            assert batch.sequences == 8
            assert batch.shape.tokens <= task.longest.tokens
            assert batch.shape.targets <= task.longest.targets
            assert torch.isfinite(model.uncut_loss(batch))
        assert task.lengths(cluster).tokens <= task.longest.tokens
    metrics = task.evaluate(model)
    assert task.metric.name in metrics
    assert task.metric.higher_is_better
    assert metrics["loss"] > 0
    assert metrics == task.evaluate(model)


@pytest.mark.parametrize("kind", TASKS)
def test_the_same_seed_gives_the_same_task(kind: type[Task]) -> None:
    one, same = kind(setup()), kind(setup())
    assert one.digest() == same.digest()
    assert one.files() == same.files()
    first, again = next(one.batches(1, 3)), next(same.batches(1, 3))
    assert torch.equal(first.inputs[0], again.inputs[0])
    assert kind(setup(seed=2)).digest() != one.digest()


@pytest.mark.parametrize("kind", TASKS)
def test_reports_and_files(kind: type[Task]) -> None:
    task = kind(setup(), evaluate_size=20, max_tokens=6, split="validation")
    assert isinstance(task, Reporting)
    assert isinstance(task, WithFiles)
    assert isinstance(task, WithDigest)
    report = task.report()
    assert json.loads(json.dumps(report)) == report
    assert report["clusters"] == [64, 64]
    assert report["evaluated"] == {"split": "validation", "examples": 20}
    assert report["truncated"]["train"] > 0
    assert task.longest.tokens <= 6
    stored = tokenizers.from_json(task.files()["tokenizer.json"], "stored")
    assert stored.vocabulary == report["tokenizer"]["tokens"]
    if report["labels"]:
        assert json.loads(task.files()["labels.json"]) == report["labels"]


@pytest.mark.parametrize("kind", TASKS)
def test_settings_are_checked_by_their_types_and_described(kind: type[Task]) -> None:
    model = model_of(kind, "task", skip=1)
    assert all(field.description for field in model.model_fields.values())
    assert not list(problems(model, {"division": "quantity", "max_tokens": 32}, ("task",)))
    wrong = {"division": "other", "max_tokens": 0, "split": "train", "beam": 1}
    assert {p.path for p in problems(model, wrong, ("task",))} == {f"task.{key}" for key in wrong}


@pytest.mark.parametrize("division", ["iid", "dirichlet", "quantity"])
@pytest.mark.parametrize("kind", TASKS)
def test_all_examples_are_divided_unless_clusters_have_sizes(
    kind: type[Task], division: Any
) -> None:
    task = kind(setup(64, None, None), division=division, evaluate_size=5)
    sizes = task.report()["clusters"]
    assert sizes[0] == 64
    assert sum(sizes) == task.report()["examples"]["train"]
    capped = kind(setup(64, None), cluster_size=100, evaluate_size=5)
    assert capped.report()["clusters"] == [64, 100]


@pytest.mark.parametrize("kind", TASKS)
def test_division_by_source_gives_clusters_whole_origins(kind: type[Task], tmp_path: Path) -> None:
    task = kind(setup(None, None), division="source", evaluate_size=5)
    assert sum(task.report()["clusters"]) == task.report()["examples"]["train"]
    data = folder(tmp_path, kind, {})
    key, message = refused(lambda: kind(setup(None), data=data, division="source"))
    assert key == "task.division"
    assert "does not say where examples are from" in message


@pytest.mark.parametrize("kind", TASKS)
def test_settings_are_checked_without_reading_data(kind: type[Task], tmp_path: Path) -> None:
    model = model_of(kind, "task", skip=1)

    def found(made: Setup, **settings: Any) -> dict[str, str]:
        checked = model.model_validate(settings)
        return dict(kind.problems(made, {name: getattr(checked, name) for name in settings_of}))

    settings_of = tuple(model.model_fields)
    assert found(setup(None), data=str(tmp_path)) == {}
    absent = str(tmp_path / "none")
    assert found(setup(None), data=absent) == {"task.data": f"there is no folder {absent}"}
    assert found(setup(None), tokenizer=absent) == {"task.tokenizer": f"there is no file {absent}"}
    small = found(setup(None, batch_size=20), cluster_size=10)
    assert small == {
        "training.batch_size": "expected at most 10, the examples of a cluster, not 20"
    }


@pytest.mark.parametrize("kind", TASKS)
def test_a_model_whose_library_is_missing_is_reported_with_the_way_to_install_it(
    kind: type[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collapipe_ns3.learning.models.find_spec", lambda name: None)
    settings = {"data": None, "tokenizer": None, "cluster_size": None}
    found = dict(kind.problems(setup(name=kind.models[-1]), settings))
    assert "pip install 'collapipe-ns3[hf]'" in found["model.name"]
    assert not dict(kind.problems(setup(name=kind.models[0]), settings))


def test_generated_data_is_as_large_as_the_clusters_need() -> None:
    for kind in (Intents, NER):
        assert kind(setup(3000, 2500), evaluate_size=5).report()["clusters"] == [3000, 2500]
    key, message = refused(lambda: Intents(setup(10**9)))
    assert key == "task.cluster_size"
    assert "can be drawn, not 1000000000" in message
    assert "the data has" in refused(lambda: Translation(setup(10**9)))[1]


@pytest.mark.parametrize("kind", TASKS)
def test_the_spec_is_that_of_the_model_where_it_is_built_in(kind: type[Task]) -> None:
    made = kind(setup(40, 40))
    assert isinstance(made, WithSpec)
    assert made.spec == getattr(made.model(1), "spec", None)
    other = "bart" if kind is Translation else "bert"
    assert kind(setup(40, 40, name=other)).spec is None


def test_importing_the_tasks_loads_no_heavy_libraries() -> None:
    code = (
        "import sys\n"
        "from collapipe_ns3.learning.tasks import intents, ner, translation\n"
        "heavy = {'torch', 'tokenizers', 'transformers', 'peft', 'sacrebleu', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- Data and settings that do not fit ---------------------------------------------------------

CSV = {
    "train.csv": "text,label\n" + "".join(f"good {i},x\nbad {i},y\n" for i in range(30)),
    "test.csv": "text,label\nfine,x\n",
}
CONLL = {
    "a.train": "".join(f"Eva\tB-per\nruns\tO\n{i}\tO\n\n" for i in range(60)),
    "a.test": "It\tO\nruns\tO\n",
}
LINES = {
    **{f"train.{end}": "".join(f"one {i}\n" for i in range(60)) for end in ("en", "de")},
    **{f"test.{end}": "four\n" for end in ("en", "de")},
}
FILES: dict[type[Task], dict[str, str]] = {Intents: CSV, NER: CONLL, Translation: LINES}


def folder(path: Path, kind: type[Task], changes: dict[str, str | bytes | None]) -> str:
    """A folder of valid data with some files changed, or removed."""
    for name, text in {**FILES[kind], **changes}.items():
        if text is not None:
            (path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@pytest.mark.parametrize("kind", TASKS)
def test_valid_data_is_read(tmp_path: Path, kind: type[Task]) -> None:
    task = kind(setup(None), data=folder(tmp_path, kind, {}), split="test")
    assert task.report()["source"] == str(tmp_path)
    assert task.evaluate(task.model(1))["loss"] > 0


@pytest.mark.parametrize(
    ("kind", "name", "content", "message"),
    [
        (Intents, "test.csv", "text,label\nfine,z\n", "test.csv:2: has the label 'z'"),
        (Intents, "test.csv", "text,kind\nfine,x\n", "test.csv:2: has no column 'label'"),
        (Intents, "test.csv", "text,label\nfür,x\n".encode("latin-1"), "test.csv:2: is not UTF-8"),
        (Intents, "test.csv", None, "no file has the word 'test' in its name"),
        (Intents, "test.csv", "", "test.csv: is empty"),
        (Intents, "test.csv", b"text,label\na\0b,x\n", "test.csv:2: has a NUL byte"),
        (NER, "a.test", "It\tO\nruns\n", "a.test:2: has one column, 'runs'"),
        (NER, "a.test", "It\tB-loc\n", "a.test:1: has the label 'loc'"),
        (NER, "a.test", "It\tQ\n", "a.test:1: has 'Q' as its tag"),
        (Translation, "test.de", "one\ntwo\n", "test.de: has 2 lines, but test.en has 1"),
        (
            Translation,
            "test.de",
            gzip.compress(b"one\n", mtime=0),
            "test.de: is a gzip file, but its name",
        ),
        (Translation, "test.de", "\n", "test.de: is empty"),
        (
            Translation,
            "test.de",
            None,
            "no file has the word 'test' in its name; there are train.de",
        ),
    ],
)
def test_bad_data_is_refused_by_file_and_line(
    tmp_path: Path, kind: type[Task], name: str, content: str | bytes | None, message: str
) -> None:
    data = folder(tmp_path, kind, {name: content})
    key, text = refused(lambda: kind(setup(None), data=data))
    assert key == "task.data"
    assert message in text


@pytest.mark.parametrize("kind", TASKS)
def test_byte_order_marks_and_windows_line_ends_change_nothing(
    tmp_path: Path, kind: type[Task]
) -> None:
    plain = kind(setup(None), data=folder(tmp_path, kind, {}))
    changed = {
        name: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
        for name, text in FILES[kind].items()
    }
    other = kind(setup(None), data=folder(tmp_path, kind, dict(changed)))
    assert other.files() == plain.files()
    assert torch.equal(next(other.batches(0, 0)).inputs[0], next(plain.batches(0, 0)).inputs[0])
    assert other.digest() != plain.digest()


def test_sentences_longer_than_the_model_are_cut_and_counted(tmp_path: Path) -> None:
    long = " ".join(["word"] * 50)
    data = folder(tmp_path, Intents, {"test.csv": f"text,label\n{long},x\nshort,y\n"})
    task = Intents(setup(None), data=data, max_tokens=10)
    assert task.report()["truncated"] == {"train": 0, "test": 1}
    assert task.evaluate(task.model(1))["loss"] > 0


def test_words_that_are_cut_count_as_missed_entities(tmp_path: Path) -> None:
    test = "the\tO\n" * 20 + "Eva\tB-per\n"
    task = NER(setup(None), data=folder(tmp_path, NER, {"a.test": test}), max_tokens=10)
    assert task.report()["encoded"]["test"]["entities_cut"] == 1
    assert task.evaluate(task.model(1))["f1"] == 0.0


def test_columns_can_be_named(tmp_path: Path) -> None:
    header = "say,means,text\n"
    rows = "".join(f"hello {i},greeting,-\nbye {i},farewell,-\n" for i in range(20))
    changes = {"train.csv": header + rows, "test.csv": f"{header}hello,greeting,-\n"}
    data = folder(tmp_path, Intents, dict(changes))
    key, message = refused(lambda: Intents(setup(None), data=data))
    assert (key, "has no column 'label'" in message) == ("task.data", True)
    task = Intents(setup(None), data=data, text_column="say", label_column="means")
    assert task.report()["labels"] == ["farewell", "greeting"]


def test_settings_that_do_not_fit_are_named_as_in_the_study(tmp_path: Path) -> None:
    assert "a batch needs 100" in refused(lambda: Intents(setup(batch_size=100)))[1]
    assert refused(lambda: NER(setup(), tokenizer=str(tmp_path)))[0] == "task.tokenizer"
    other = {"name": "transformer"}
    assert refused(lambda: NER(setup(**other)).model(1))[0] == "model.name"


def test_a_tokenizer_must_fit_the_checkpoint(tmp_path: Path) -> None:
    trained = tokenizers.train(["some text"], 300)
    (tmp_path / "tokenizer.json").write_bytes(trained.to_json())
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": trained.vocabulary}))
    model = {"name": "bert", "checkpoint": str(tmp_path)}
    task = Intents(setup(**model))
    assert task.report()["tokenizer"]["from"] == str(tmp_path)
    assert task.files()["tokenizer.json"] == trained.to_json()
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 200}))
    key, message = refused(lambda: Intents(setup(**model)))
    assert key == "model.checkpoint"
    assert "the model only 200" in message
    own = str(tmp_path / "tokenizer.json")
    assert refused(lambda: Intents(setup(**model), tokenizer=own))[0] == "task.tokenizer"
    (tmp_path / "tokenizer.json").unlink()
    assert refused(lambda: Intents(setup(**model)))[0] == "model.checkpoint"


def test_a_tokenizer_of_translation_has_the_marks_of_its_models(tmp_path: Path) -> None:
    """Else padding would be learned as a token, and decoding would begin with another one."""
    content = tokenizers.train(["some text"], 300).to_json().decode()
    swapped = (
        content.replace('"<pad>"', '"<x>"').replace('"<s>"', '"<pad>"').replace('"<x>"', '"<s>"')
    )
    (tmp_path / "tokenizer.json").write_text(swapped)
    key, message = refused(lambda: Translation(setup(), tokenizer=str(tmp_path)))
    assert key == "task.tokenizer"
    assert "are (1, 0, 2); translation expects (0, 1, 2)" in message
    (tmp_path / "tokenizer.json").write_text(content)
    Translation(setup(), tokenizer=str(tmp_path))


def test_other_weights_in_the_checkpoint_s_folder_are_other_data(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(tokenizers.train(["some text"], 300).to_json())
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    task = Intents(setup(name="bert", checkpoint=str(tmp_path)))
    before = task.digest()
    assert task.digest() == before
    (tmp_path / "model.safetensors").write_bytes(b"WEIGHTS")
    assert task.digest() != before


# --- Learning ----------------------------------------------------------------------------------


def trained(task: Task, steps: int, learning_rate: float) -> dict[str, float]:
    """The metrics after some steps of Adam on the batches of two clusters in turn."""
    model = task.model(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100))
    batches = [task.batches(cluster, 0) for cluster in (0, 1)]
    for step in range(steps):
        optimizer.zero_grad()
        model.uncut_loss(next(batches[step % 2])).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return task.evaluate(model)


def learner(**model: Any) -> Setup:
    return Setup((None, None), 32, 1, {"width": 64, "encoder_blocks": 4, **model})


@pytest.mark.slow
def test_intents_are_learned() -> None:
    """Words alone, without their order, give 0.52; the most frequent intent gives 0.08."""
    metrics = trained(Intents(learner()), 700, 1e-3)
    assert metrics["accuracy"] > 0.75
    assert metrics["macro_f1"] > 0.7


@pytest.mark.slow
def test_entities_are_learned() -> None:
    """Known words by their most frequent tag, and other capitalised words as persons, give 0.33."""
    metrics = trained(NER(learner()), 700, 1e-3)
    assert metrics["f1"] > 0.6
    assert metrics["f1_lenient"] >= 0.6


@pytest.mark.slow
def test_translation_is_learned() -> None:
    task = Translation(learner(encoder_blocks=2, decoder_blocks=2), evaluate_size=200)
    assert trained(task, 500, 1e-3)["bleu"] > 40


# --- The real sets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"), [(Intents, "banking77"), (NER, "wnut17"), (Translation, "multi30k")]
)
def test_real_sets_are_read_as_they_are(kind: type[Task], name: str) -> None:
    root = os.environ.get("COLLAPIPE_DATA")
    if not root:
        pytest.skip("COLLAPIPE_DATA names no folder with the real data sets")
    task = kind(setup(200, 200), data=str(Path(root) / name), evaluate_size=20)
    assert task.report()["clusters"] == [200, 200]
    assert task.evaluate(task.model(1))["loss"] > 0
