"""Runs that other code made: refused, made again, or used and marked, as the options say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import studies
from typer.testing import CliRunner, Result

from collapipe_ns3 import campaign
from collapipe_ns3.campaign import Campaign, CampaignRun, stale_runs
from collapipe_ns3.cli.app import app
from collapipe_ns3.problems import StudyError
from run_directory.whole import examine
from run_directory.writing import RunDirectory

#: A scheme in a package of its own: PipeLine with a number of micro-batches from another module.
PACKAGE = {
    "my_scheme/__init__.py": "",
    "my_scheme/plan.py": (
        "from collapipe_ns3.schemes.pipeline import PipeLine\n"
        "from my_scheme.numbers import COUNT\n"
        "class Mine(PipeLine):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__(micro_batches=COUNT)\n"
    ),
    "my_scheme/numbers.py": "COUNT = 1\n",
    "my_scheme-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: my-scheme\nVersion: 1\n",
    "my_scheme-1.dist-info/entry_points.txt": (
        "[collapipe_ns3.schemes]\nmine = my_scheme.plan:Mine\n"
    ),
}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def planned(folder: Path) -> Campaign:
    study = studies.write(folder)
    runs = campaign.plan_runs(
        study, (), schemes=["pipeline", "vanilla_fl"], seeds=[1], grid={}, rounds=None
    )
    return campaign.create(study, runs, folder / "out")


def leave(made: Campaign, run: CampaignRun, manifest: dict[str, Any], rounds: int = 2) -> Path:
    """Writes a run's directory with this manifest, which says by which code it was made."""
    place = made.directory_of(run)
    with RunDirectory(place) as directory:
        directory.describe(run.study, manifest)
        for number in range(rounds):
            directory.add({}, json.dumps({"round": number}), b"")
        if rounds == 2:  # all that there are to be
            directory.delete_checkpoint(examine(place))
    return place


def test_runs_that_other_code_made_are_found_whether_finished_or_not(tmp_path: Path) -> None:
    made = planned(tmp_path)
    present = stale_runs.present_code(made.runs)
    one, other = made.runs
    assert stale_runs.find(made, present) == {}
    leave(made, one, {"code": present[one].to_json()})
    assert stale_runs.find(made, present) == {}
    code = present[other].to_json()
    older = {**code, "versions": {**code["versions"], "numpy": "1.0"}}
    leave(made, other, {"code": older}, rounds=1)
    (change,) = stale_runs.find(made, present)[other]
    assert change.startswith("numpy 1.0 → ")


def test_a_run_of_unknown_code_does_not_fit(tmp_path: Path) -> None:
    """Such as the runs of an earlier version."""
    made = planned(tmp_path)
    place = leave(made, made.runs[0], {})
    present = stale_runs.present_code(made.runs)
    stale = stale_runs.find(made, present)
    assert stale == {made.runs[0]: ("its code is not recorded",)}
    with pytest.raises(StudyError, match="1 of 2 runs were made by other code") as caught:
        stale_runs.refuse("tiny", made, stale)
    assert caught.value.problems[1].message == "pipeline-seed1: its code is not recorded"
    assert place.exists()


def test_a_run_without_a_round_has_nothing_of_other_code(tmp_path: Path) -> None:
    made = planned(tmp_path)
    leave(made, made.runs[0], {}, rounds=0)
    assert stale_runs.find(made, stale_runs.present_code(made.runs)) == {}


def test_what_is_discarded_is_gone_and_nothing_else(tmp_path: Path) -> None:
    made = planned(tmp_path)
    for run in made.runs:
        leave(made, run, {})
    one, other = made.runs
    stale_runs.discard(made, [one])
    assert not made.directory_of(one).exists()
    assert {each.name for each in (made.directory / "cells").iterdir()} == {other.name}
    assert made.missing() == [one]


def test_the_command_refuses_and_changes_nothing(tmp_path: Path) -> None:
    made = planned(tmp_path)
    leave(made, made.runs[0], {})
    before = {path: path.stat().st_mtime_ns for path in made.directory_of(made.runs[0]).rglob("*")}
    command = ["compare", str(tmp_path / "tiny.yaml"), "--schemes", "pipeline,vanilla_fl"]
    command += ["--seeds", "1", "--out", str(made.directory)]
    done = call(*command)
    assert done.exit_code == 2
    message = " ".join(done.stderr.split())
    assert "pipeline-seed1: its code is not recorded" in message
    assert "--fresh makes them again, --keep-stale uses them and marks them" in message
    assert {path: path.stat().st_mtime_ns for path in before} == before
    problems = json.loads(call(*command, "--json").stdout)["problems"]
    assert {each["path"] for each in problems} == {"--out"}
    both = call(*command, "--fresh", "--keep-stale")
    assert both.exit_code == 2
    assert "expected this or --keep-stale, not both" in " ".join(both.stderr.split())


@pytest.mark.slow
def test_after_an_edit_of_a_scheme_its_runs_alone_are_refused_kept_or_made_again(
    tmp_path: Path,
) -> None:
    """The edit is in a module that the scheme's own module imports."""
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "collapipe_ns3", "compare", studies.write(tmp_path)]
    command += ["--schemes", "mine,pipeline", "--seeds", "1", "--jobs", "2", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}

    def compared(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *options], env=environment, capture_output=True, text=True, check=False
        )

    first = compared()
    assert first.returncode == 0, first.stderr
    assert "2 runs, of which 0 were already there" in first.stdout
    assert [line.partition(":")[0] for line in first.stderr.splitlines()[-2:]] == [
        "1 of 2",
        "2 of 2",
    ]
    (tmp_path / "my_scheme" / "numbers.py").write_text("COUNT = 2\n")

    refused = compared()
    assert refused.returncode == 2, refused.stdout
    what = "scheme mine (my_scheme.plan:Mine): my_scheme/numbers.py changed"
    assert f"mine-seed1: {what}" in refused.stderr
    assert "pipeline-seed1" not in refused.stderr

    kept = json.loads(compared("--keep-stale", "--json").stdout)
    assert kept["already_there"] == 2
    assert {run["scheme"]: run["stale"] for run in kept["runs"]} == {"mine": what, "pipeline": ""}
    summary = pd.read_parquet(out / "comparison.parquet")
    assert set(summary.loc[summary["stale"] != "", "scheme"]) == {"mine"}
    text = (out / "comparison.md").read_text()
    assert "| mine* | pipeline |" in text
    assert f"\\* mine: made by other code than the present: {what}" in text

    fresh = json.loads(compared("--fresh", "--json").stdout)
    assert fresh["already_there"] == 1
    assert {run["stale"] for run in fresh["runs"]} == {""}
    plans = (out / "cells" / "mine-seed1" / "plans.jsonl").read_text().splitlines()
    (pipeline,) = json.loads(plans[0])["clusters"][0]["pipelines"]
    assert pipeline["micro_batches"] == 2
    assert "*" not in (out / "comparison.md").read_text()
