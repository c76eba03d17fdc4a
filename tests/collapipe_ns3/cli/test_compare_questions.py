"""`compare` answers several questions, each by a campaign of its own, and says which."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3 import Study, campaign
from collapipe_ns3.cli import compare_questions
from collapipe_ns3.cli.app import app
from collapipe_ns3.cli.compare_questions import Question, Schemes

MEMORY, ENERGY = "scheme.settings.memory_budget_bytes", "scheme.settings.energy_budget_j"


def call(*arguments: str, columns: int = 80) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(columns)})


def refusal(tmp_path: Path, *arguments: str, **changes: object) -> str:
    """What `compare` says on stderr, which must be that the options are wrong."""
    out = tmp_path / "out"
    done = call("compare", studies.write(tmp_path, **changes), *arguments, "--out", str(out))
    assert done.exit_code == 2, done.output
    assert not out.exists()
    return " ".join(done.stderr.split())


def test_questions_are_named_once_in_their_order() -> None:
    assert compare_questions.asked([]) == (Question.PAPERS,)
    assert compare_questions.asked(["energy", "papers", "energy"]) == ("energy", "papers")
    assert compare_questions.asked(["memory", "all"]) == tuple(Question)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--question", "paper"], "no question 'paper'; did you mean papers?"),
        (
            ["--question", "memory", "--schemes", "pipeline,collapipe"],
            "memory compares collapipe with titanic: expected two schemes of --schemes",
        ),
        (
            ["--question", "memory", "--set", f"{MEMORY}=1 MB"],
            f"memory sets the budget itself: expected no {MEMORY}",
        ),
        (
            ["--question", "energy", "--grid", f"{ENERGY}=1,2"],
            f"energy sets the budget itself: expected no {ENERGY}",
        ),
        (
            ["--question", "memory", "--schemes", "pipeline,titanic"],
            "memory needs a reference with the setting memory_budget_bytes, and pipeline has none",
        ),
        (["--question", "energy", "--budgets-of", "titan"], "did you mean titanic?"),
        (
            ["--question", "all", "--set", "training.exchange.down=fp16"],
            "expected one of them, or a study without it",
        ),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    assert says in refusal(tmp_path, *arguments)


def test_the_heading_says_what_exchange_all_schemes_have() -> None:
    def of(exchange: object) -> str:
        training = {**studies.TINY["training"], "exchange": exchange}
        study = studies.config(training=training)
        schemes = Schemes(["titanic", "collapipe"], "collapipe", "titanic")
        return compare_questions.heading(Question.PAPERS, schemes, study, ())

    same = "all schemes with the same exchange of parameters:"
    assert of(None) == "each scheme as its paper has it"
    assert of({}) == f"{same} multicast where the radio can, chunks of automatic size, fp32"
    assert "chunks of 0.25 MB" in of({"chunk_bytes": "250 kB"})
    up = {"numbers": "int8", "difference": True}
    given = of({"multicast": False, "chunk_bytes": None, "up": up})
    assert given == f"{same} no multicast, store and forward, fp32 down and int8 differences up"


def test_a_budget_of_energy_that_is_not_kept_is_said() -> None:
    schemes = Schemes(["titanic", "collapipe"], "collapipe", "titanic")

    def notes(question: Question, joules: list[float]) -> list[str]:
        names = ["collapipe", "collapipe", "titanic", "titanic"]
        runs = pd.DataFrame({"scheme": names, "device_energy_j": joules})
        return list(compare_questions.unkept(question, schemes, runs))

    (note,) = notes(Question.ENERGY, [6.0, 8.0, 2.0, 3.0])
    assert "collapipe did not keep its budget: all devices took 7 J in a round, and 2.5 J" in note
    assert notes(Question.ENERGY, [2.0, 3.0, 3.0, 2.0]) == []
    assert notes(Question.MEMORY, [6.0, 8.0, 2.0, 3.0]) == []


@pytest.mark.slow
def test_the_same_exchange_changes_when_parameters_travel_and_nothing_that_is_learned(
    tmp_path: Path,
) -> None:
    side = {"cu": "jetson-nano", "position": [-20, 10], "devices": ["raspberry-pi-4"]}
    study = studies.write(tmp_path, clusters=[*studies.TINY["clusters"], side])
    out, schemes = tmp_path / "out", ("pipeline", "vanilla_fl")
    options = ["--schemes", ",".join(schemes), "--seeds", "1", "--jobs", "1"]
    asked = ["--question", "papers", "--question", "exchange", "--out", str(out)]
    done = call("compare", study, *options, *asked)
    assert done.exit_code == 0, done.stderr
    assert "papers: each scheme as its paper has it" in done.stdout
    assert "exchange: all schemes with the same exchange of parameters: multicast" in done.stdout
    content = json.loads((tmp_path / "out-exchange" / "campaign.json").read_text())
    assert set(content["cells"]) == {"pipeline-seed1", "vanilla_fl-seed1"}
    for text in content["cells"].values():
        exchange = Study.from_yaml(text).config.training.exchange
        assert exchange is not None
        assert (exchange.multicast, exchange.chunk_bytes) == (None, "auto")
    for scheme in schemes:
        alone, same = (
            {name: pd.read_parquet(folder / "cells" / f"{scheme}-seed1" / name)
             for name in ("rounds", "transfers")}
            for folder in (out, tmp_path / "out-exchange")
        )  # fmt: skip
        for column in ("loss", "test_loss", "metric"):
            assert alone["rounds"][column].tolist() == same["rounds"][column].tolist()
        assert same["rounds"]["duration_s"].sum() < alone["rounds"]["duration_s"].sum()
        # The base station sends each pipeline its own model, or all of them one.
        pipelines = {"pipeline": 2, "vanilla_fl": 3}[scheme]
        sent = alone["transfers"].query("kind == 'model' and src == 'bs'")
        assert sent.groupby("round").size().tolist() == [pipelines] * 2
        assert set(sent["group"]) == {0}
        # Each chunk of the model is one multicast to both control units.
        sent = same["transfers"].query("kind == 'model' and src == 'bs'")
        assert (sent["group"] > 0).all()
        for _, chunk in sent.groupby(["round", "group"]):
            assert chunk["dst"].tolist() == ["c0.cu", "c1.cu"]


@pytest.mark.slow
def test_budgets_are_what_titanic_took_with_the_same_seed(tmp_path: Path) -> None:
    model = {**studies.TINY["model"], "encoder_blocks": 4}
    study, out = studies.write(tmp_path, model=model, rounds=2), tmp_path / "out"
    command = ["compare", study, "--schemes", "titanic,collapipe", "--seeds", "1,2", "--jobs", "1"]
    command += ["--question", "memory", "--question", "energy", "--out", str(out)]
    done = call(*command)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    first, second = (
        next(number for number, line in enumerate(lines) if line.startswith(f"{each}: collapipe "))
        for each in ("memory", "energy")
    )
    assert first < second
    assert done.stdout.count("2 runs, of which 0 were already there") == 2
    # TITANIC's figures from its tables alone, without the code of comparisons.
    took: dict[str, dict[str, float]] = {"memory": {}, "energy": {}}
    for seed in (1, 2):
        devices = pd.read_parquet(out / "cells" / f"titanic-seed{seed}" / "devices")
        devices = devices[devices["device"].isin(["c0.d0", "c0.d1"])]
        parts = ["idle_energy_j", "compute_energy_j", "radio_energy_j"]
        joules = devices[parts].to_numpy().sum()
        name = f"collapipe-seed{seed}"
        took["memory"][name] = devices["peak_memory_bytes"].max()
        took["energy"][name] = joules / 2 / 2  # of a device, in a round
    for question, key in (("memory", MEMORY), ("energy", ENERGY)):
        folder = tmp_path / f"out-{question}"
        cells = json.loads((folder / "campaign.json").read_text())["cells"]
        assert set(cells) == {"collapipe-seed1", "collapipe-seed2"}
        for name, text in cells.items():
            settings = Study.from_yaml(text).config.scheme.settings
            assert settings[key.rpartition(".")[2]] == pytest.approx(took[question][name])
            assert settings.get("memory", "fair") == ("all" if question == "memory" else "fair")
        assert "% from collapipe" not in (folder / "comparison.md").read_text()
        assert f"ollapipe with the {question} that titanic takes" in (
            (folder / "comparison.md").read_text()
        )
    # One cell is lost: the same command makes this run again, and no other.
    before = {name: (tmp_path / name / "comparison.parquet").read_bytes()
              for name in ("out-memory", "out-energy")}  # fmt: skip
    shutil.rmtree(tmp_path / "out-energy" / "cells" / "collapipe-seed2")
    again = call(*command, "--json")
    assert again.exit_code == 0, again.stderr
    of_memory, of_energy = json.loads(again.stdout)["questions"]
    assert (of_memory["already_there"], of_energy["already_there"]) == (2, 1)
    assert of_energy["derived"] == pytest.approx(took["energy"])
    assert of_memory["reference"] == of_energy["reference"] == "collapipe"
    assert {row["scheme"] for row in of_memory["runs"]} == {"titanic", "collapipe"}
    for name, content in before.items():
        assert (tmp_path / name / "comparison.parquet").read_bytes() == content
    # What it takes is not more than what it was given.
    runs = pd.DataFrame(of_memory["runs"]).set_index(["scheme", "seed"])
    taken = runs["peak_device_memory_bytes"]
    assert (taken["collapipe"] <= taken["titanic"]).all()


@pytest.mark.slow
def test_where_titanic_fails_there_is_no_budget(tmp_path: Path) -> None:
    study, out = studies.write(tmp_path), tmp_path / "out"
    options = ["--schemes", "titanic,collapipe", "--seeds", "1", "--rounds", "1", "--jobs", "1"]
    how = {"schemes": ["titanic", "collapipe"], "seeds": [1], "rounds": 1, "grid": {}}
    made = campaign.create(study, campaign.plan_runs(study, (), **how), out)  # type: ignore[arg-type]  # as the command has it
    another = made.directory_of(made.runs[0])
    Study.load(study, scheme="titanic").run(seed=2, rounds=1, out=another)
    done = call("compare", study, *options, "--question", "memory", "--json", "--out", str(out))
    assert done.exit_code == 1
    facts = json.loads(done.stdout)
    assert "holds another run" in facts["failed"]["titanic-seed1"]
    assert (facts["derived"], facts["summary"]) == ({}, [])
    assert not (tmp_path / "out-memory").exists()
