"""docs/results.md is what the files of its campaigns say, and says nothing that they do not."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.compare import METRICS, Comparison
from benchmarks import aggregates, campaigns, pages, results, results_data, results_figure
from benchmarks.aggregates import NotTheCampaign
from benchmarks.campaigns import CAMPAIGNS, Campaign
from benchmarks.pages import DOCS, Unsupported
from benchmarks.results_data import Estimate, Results
from collapipe_ns3 import campaign as running

#: Numbers of the page's own text: settings of the studies, and facts that no campaign measures.
NOT_FROM_CAMPAIGNS = {
    "95 %",  # the confidence of intervals
    "12 to 200 GFLOP/s",
    "20 MHz",
    "25 MHz",
    "5 MHz",
    "16 sequences",
    "13 GB",  # of memory that a run takes, which runs do not record
    "72·d² FLOPs",
    "8·d bytes",
    "1F1B",
    "F1",
    "10 local steps",
    "batches of 32",
    "100 test examples",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A copy of the page and its files."""
    shutil.copytree(DOCS / "results", tmp_path / "results")
    shutil.copy(DOCS / "results.md", tmp_path)
    return tmp_path


def change(docs: Path, name: str, metric: str, scheme: str, **values: float) -> None:
    file = campaigns.file_of(name, docs)
    stored = json.loads(file.read_text())
    stored["metrics"][metric]["schemes"][scheme].update(values)
    file.write_text(json.dumps(stored))


def test_the_page_is_what_its_files_and_its_template_say() -> None:
    assert pages.differences("results", results_data.page(results_data.read_all())) == []


def test_a_changed_file_is_found(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--check"], docs) == 0
    change(docs, "mobile", "round_s", "titanic", percent=3.21, percent_ci95=0.5)
    assert results.main(["--check"], docs) == 1
    printed = capsys.readouterr().out
    assert "-| end-to-end delay | 130.5±10.0 | 0.59±0.27 | 2.48±0.60 |" in printed
    assert "+| end-to-end delay | 130.5±10.0 | 0.59±0.27 | 3.21±0.50 |" in printed
    assert re.search(r"^\+.*3\.21±0\.50 % in `mobile`", printed, re.M)  # the number in the text


@pytest.mark.parametrize(
    ("name", "metric", "scheme", "values", "sentence"),
    [
        ("mobile", "round_s", "vanilla_fl", {"percent": -3.0}, "rounds are shorter"),
        ("dense-interference", "round_s", "pipeline", {"percent_ci95": 20.0}, "rounds of pipeline"),
        ("dense-interference", "round_s", "titanic", {"percent_ci95": 1.0}, "insignificantly"),
        ("quickstart", "device_energy_j", "titanic", {"mean": 50.0}, "the least energy"),
    ],
)
def test_a_sentence_without_support_stops_the_page(
    docs: Path, name: str, metric: str, scheme: str, values: dict[str, float], sentence: str
) -> None:
    change(docs, name, metric, scheme, **values)
    with pytest.raises(Unsupported, match=sentence):
        results_data.page(results_data.read_all(docs))


def test_without_support_the_command_writes_no_page(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(docs, "quickstart", "round_s", "vanilla_fl", percent=-1.0)
    before = (docs / "results.md").read_text()
    assert results.main([], docs) == 1
    assert (docs / "results.md").read_text() == before
    assert "rounds are shorter than those of vanilla_fl in all studies" in capsys.readouterr().err


def test_numbers_in_the_text_come_from_the_files() -> None:
    """What remains of the template without its expressions has no number but those listed."""
    text = (DOCS / "results" / "results.md.j2").read_text()
    text = re.sub(r"(?m)^%%.*$", "", text)
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|<!--.*?-->|`[^`]*`", " ", text, flags=re.S)
    for each in sorted(NOT_FROM_CAMPAIGNS, key=len, reverse=True):
        assert each in text, f"{each} is not in the text any more"
        text = text.replace(each, "")
    assert re.findall(r".*\d.*", text) == []


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_command_on_the_page_is_that_of_its_campaign(name: str) -> None:
    campaign = CAMPAIGNS[name]
    found = Results.read(name, campaign)
    assert found.command == campaign.command
    assert found.seeds == running.parse_seeds(campaign.seeds)
    assert f"`{campaign.command}`" in (DOCS / "results.md").read_text()
    assert found.stored["claims_source"]["source"] == "arXiv 2509.19855"
    planned = running.plan_runs(
        campaign.study, campaign.sets, schemes=("collapipe",), seeds=[0], grid={}, rounds=None
    )
    assert len(planned) == 1


def test_the_options_of_a_campaign_are_those_of_the_command() -> None:
    from collapipe_ns3.cli.app import app

    campaign = Campaign("no-such-study", (), 2, ("a.b=1",), 1, "0,1", ("local",))
    answer = CliRunner().invoke(app, campaign.words())
    assert answer.exit_code == 2
    assert "no-such-study" in answer.output
    assert "No such option" not in answer.output


def compared(**columns: Any) -> Comparison:
    """A comparison of two schemes, with these values of all metrics of the second."""
    rows = [
        {"point": "", "metric": key, "scheme": scheme, "seeds": 2, "reached": 2, "stale": ""}
        | dict.fromkeys(("mean", "ci95", "difference", "difference_ci95", "percent"), 0.0)
        | {"percent_ci95": 0.0}
        | (columns if scheme == "other" else {})
        for key in METRICS
        for scheme in ("base", "other")
    ]
    runs = pd.DataFrame({"scheme": ["base", "other"], "devices_sitting_out": [0.0, 2.0]})
    energy = pd.DataFrame(
        {"point": "", "scheme": ["base", "other"], "device": "d0", "energy_j": [1.0, 2.5]}
    )
    return Comparison("base", runs, pd.DataFrame(rows), energy)


def test_aggregates_are_in_the_units_that_are_printed() -> None:
    values = {"mean": 3 * 2.0**20, "ci95": float("nan"), "percent": 12.0, "percent_ci95": 3.0}
    campaign = Campaign("s", ("peak_device_memory_bytes", "fairness"), schemes=("base", "other"))
    stored = aggregates.of_comparison(compared(**values))
    again = json.loads(aggregates.text_of({**stored, "schemes": ["base", "other"]}))
    memory = again["metrics"]["peak_device_memory_bytes"]
    assert memory["unit"] == "MiB"
    assert memory["schemes"]["other"]["mean"] == 3.0
    assert memory["schemes"]["other"]["ci95"] is None
    assert again["energy_j"] == {"d0": {"base": 1.0, "other": 2.5}}
    found = Results(campaign, again)
    assert found.sitting_out("other") == 2
    assert found.means().splitlines()[2] == "| device memory, MiB | 0 | 3 |"
    assert str(found.percent("round_s", "other")) == "12.0±3.0"


def test_a_metric_that_few_seeds_reached_is_counted() -> None:
    campaign = Campaign("s", ("time_to_loss_s",), schemes=("base", "other"))
    stored = aggregates.of_comparison(compared(mean=float("nan"), reached=1))
    found = Results(campaign, {**stored, "schemes": ["base", "other"]})
    assert found.means().splitlines()[2] == "| time to target loss, s | 0 | 1 of 2 |"


def test_signs_of_estimates() -> None:
    assert Estimate(2.0, 1.0).is_above_zero
    assert Estimate(-2.0, 1.0).is_below_zero
    assert Estimate(1.0, 2.0).includes_zero
    assert Estimate(-1.0, float("nan")).is_below_zero
    assert not Estimate(0.0, 0.0).is_above_zero


def test_numbers_in_words_and_spans() -> None:
    assert pages.span([77.6, 41.3, 41.4]) == "41 to 78"
    assert pages.span([2.51, 2.49], 1) == "2.5"
    assert pages.number(-3.14159, 2) == "−3.14"
    assert [pages.fraction(each) for each in (0.5, 0.34, 0.25, 0.14, 0.125)] == [
        "a half",
        "a third",
        "a quarter",
        "a seventh",
        "an eighth",
    ]
    assert results_data.efficiency(-13.11) == pytest.approx(15.09, abs=0.005)
    assert results_data.percent_less([0.25]) == [75.0]


def test_the_figure_has_the_ratios_of_the_files() -> None:
    found = results_data.read_all()
    panels = results_figure.figure(found).axes
    assert [each.get_title() for each in panels] == list(results_figure.PANELS.values())
    assert [each.get_text() for each in panels[0].get_yticklabels()] == list(found)
    energy = dict(zip(panels[2].get_legend_handles_labels()[1], panels[2].containers, strict=True))
    line, _, (interval,) = energy["titanic"].lines
    mobile = list(found).index("mobile")
    # As docs/results.md has it: -60.92±0.40 %.
    assert line.get_xdata()[mobile] == pytest.approx(1 - 0.6092, abs=5e-5)
    (left, _), (right, _) = interval.get_segments()[mobile]
    assert (left, right) == pytest.approx((1 - 0.6132, 1 - 0.6052), abs=1e-4)


def test_the_code_and_the_libraries_are_named() -> None:
    versions = {"ns3": "3.44", "torch": "2.13.0", "numpy": "2.4.6", "scipy": "1.17.1"}
    stored = {"rounded": False, "versions": versions, "commits": ["0123456789", "abcdef0123+"]}
    assert Results(CAMPAIGNS["mobile"], stored).measured == (
        "Measured at commit `0123456`, `abcdef0+` with ns3 3.44, torch 2.13.0, numpy 2.4.6, "
        "scipy 1.17.1."
    )


def test_a_campaign_that_is_not_there_is_named(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (docs / "runs" / "mobile").mkdir(parents=True)
    text = json.dumps({"study": "mobile", "cells": {"titanic-seed3": ""}})
    (docs / "runs" / "mobile" / "campaign.json").write_text(text)
    for name, missing in (("mobile", "titanic-seed3"), ("ner", "campaign.json")):
        assert results.main([name, "--finished", "--runs", str(docs / "runs")], docs) == 1
        assert missing in capsys.readouterr().err


def test_an_unknown_campaign_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        results.main(["quickstrat"])
    assert "did you mean quickstart?" in capsys.readouterr().err


@pytest.mark.slow
def test_a_campaign_is_made_once_and_its_file_and_page_are_written(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    small = replace(
        CAMPAIGNS["quickstart"], rounds=1, seeds="0-1", schemes=("pipeline", "collapipe")
    )
    monkeypatch.setattr(results, "CAMPAIGNS", {"quickstart": small})
    monkeypatch.setattr(results_data, "page", lambda found: "the page\n")  # of all four schemes
    arguments = ["quickstart", "--runs", str(docs / "runs")]
    assert results.main([*arguments, "--jobs", "2"], docs) == 0
    file = campaigns.file_of("quickstart", docs)
    text = file.read_text()
    stored = json.loads(text)
    assert stored["schemes"] == ["pipeline", "collapipe"]
    assert (stored["seeds"], stored["rounds"], stored["rounded"]) == ([0, 1], 1, False)
    assert stored["versions"]["torch"]
    assert set(stored["targets"]) == {"loss", "exact_match"}
    own = [
        json.loads(each.read_text())["seed"]
        for each in docs.glob("runs/quickstart/*/*/manifest.json")
    ]
    assert sorted(own) == [0, 0, 1, 1]
    rounds = [
        pd.read_parquet(each)["duration_s"].iloc[0]
        for each in docs.glob("runs/quickstart/cells/collapipe-*/rounds")
    ]
    mean = stored["metrics"]["round_s"]["schemes"]["collapipe"]["mean"]
    assert mean == pytest.approx(sum(rounds) / 2, rel=1e-6)
    assert (docs / "results.md").read_text() == "the page\n"
    capfd.readouterr()
    assert results.main(arguments, docs) == 0
    assert "4 runs, of which 4 were already there" in capfd.readouterr().out
    assert file.read_text() == text
    assert results.main([*arguments, "--finished"], docs) == 0
    with pytest.raises(NotTheCampaign, match="collapipe with seed 2, pipeline with seed 2"):
        aggregates.of_directory(replace(small, seeds="0-2"), docs / "runs" / "quickstart")
