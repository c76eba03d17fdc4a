"""Campaigns make every run once, whichever process dies, on this machine or on a cluster."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import studies
from distributed import LocalCluster
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from collapipe_ns3 import Study, StudyError, campaign
from collapipe_ns3.campaign import (
    Campaign,
    CampaignRun,
    parse_grid,
    parse_seeds,
    stale_runs,
    workers,
)
from collapipe_ns3.cli.app import app
from run_directory.whole import rounds_done

WALL = {"computes": ["wall_s"], "rounds": ["planning_wall_s"]}
TABLES = ("rounds", "computes", "transfers", "links", "devices")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def planned(folder: Path, out: str, **how: object) -> Campaign:
    chosen: dict[str, object] = {
        "schemes": ["pipeline", "vanilla_fl"],
        "seeds": [1, 2],
        "grid": {},
        "rounds": None,
    }
    study = studies.write(folder)
    runs = campaign.plan_runs(study, (), **{**chosen, **how})  # type: ignore[arg-type]  # any of them
    return campaign.create(study, runs, folder / out)


def same_tables(one: Path, other: Path) -> None:
    """Asserts that all runs of two campaigns are equal, except in wall-clock columns."""
    names = sorted(run.name for run in (one / "cells").iterdir())
    assert names == sorted(run.name for run in (other / "cells").iterdir())
    for name in names:
        for table in TABLES:
            paths = [place / "cells" / name / table for place in (one, other)]
            left, right = (pd.read_parquet(p).drop(columns=WALL.get(table, [])) for p in paths)
            pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_runs_are_every_scheme_with_every_seed_at_every_point(tmp_path: Path) -> None:
    grid = {"radio.d2e.bandwidth_hz": ["5e6", "10 MHz"], "training.local_steps": ["1"]}
    made = planned(tmp_path, "out", grid=grid)
    assert len({run.name for run in made.runs}) == 2 * 2 * 2
    studied = {run.name: Study.from_yaml(run.study).config for run in made.runs}
    first = studied["pipeline-seed1-radio.d2e.bandwidth_hz=5e6-training.local_steps=1"]
    assert (first.scheme.name, first.seed, first.radio.d2e.bandwidth_hz) == ("pipeline", 1, 5e6)


def test_the_campaign_file_has_the_point_of_each_run(tmp_path: Path) -> None:
    grid = {"radio.d2e.bandwidth_hz": ["10 MHz"], "scheme.settings.v": ["a=b"]}
    runs = tuple(
        CampaignRun(
            "collapipe", seed, tuple(f"{key}={value[0]}" for key, value in grid.items()), ""
        )
        for seed in (1, 2)
    )
    file = campaign.create("s.yaml", runs, tmp_path / "out").directory / "campaign.json"
    point = {"radio.d2e.bandwidth_hz": "10 MHz", "scheme.settings.v": "a=b"}
    assert json.loads(file.read_text())["points"] == {run.name: point for run in runs}


def test_a_campaign_file_of_an_earlier_version_is_completed(tmp_path: Path) -> None:
    """It has no points. The file of another campaign is still refused, with points or without."""
    runs = (CampaignRun("collapipe", 1, ("rounds=2",), ""), CampaignRun("local", 1, (), ""))
    file = campaign.create("s.yaml", runs, tmp_path).directory / "campaign.json"
    present = file.read_bytes()
    earlier = {key: each for key, each in json.loads(present).items() if key != "points"}
    file.write_text(json.dumps(earlier, indent=2))
    with pytest.raises(StudyError, match="holds another campaign"):
        campaign.create("s.yaml", runs[:1], tmp_path)
    campaign.create("s.yaml", runs, tmp_path)
    assert file.read_bytes() == present


def test_settings_of_a_scheme_go_to_the_schemes_that_have_them(tmp_path: Path) -> None:
    grid = {"scheme.settings.v": ["3", "30"], "scheme.settings.schedule": ["gpipe"]}
    made = planned(
        tmp_path, "out", schemes=["pipeline", "collapipe", "local"], grid=grid, seeds=[1]
    )
    settings = [
        (run.scheme, Study.from_yaml(run.study).config.scheme.settings) for run in made.runs
    ]
    assert settings == [
        ("pipeline", {"schedule": "gpipe"}),
        ("collapipe", {"v": 3, "schedule": "gpipe"}),
        ("local", {}),
        ("pipeline", {"schedule": "gpipe"}),
        ("collapipe", {"v": 30, "schedule": "gpipe"}),
        ("local", {}),
    ]
    done = call("compare", studies.write(tmp_path, scheme="collapipe"), "--schemes", "pipeline",
                "--seeds", "1", "--rounds", "1", "--set", "scheme.settings.micro_batches=2",
                "--out", str(tmp_path / "other"))  # fmt: skip
    assert done.exit_code == 0, done.stderr
    with pytest.raises(StudyError, match="did you mean micro_batches"):
        planned(tmp_path, "no", schemes=["pipeline"], grid={"scheme.settings.micro_batch": ["3"]})


_VALUES = st.text("aA1=-+. :/\\é'", min_size=1, max_size=6)
_RUNS = st.builds(
    CampaignRun,
    st.text("ab-./é", min_size=1, max_size=4),
    st.integers(0, 12),
    st.tuples(*(_VALUES.map(lambda value, key=key: f"{key}={value}") for key in ("a.b", "c"))),
    st.just(""),
)


@given(_RUNS, _RUNS)
@example(CampaignRun("a", 1, ("a.b=1 0", "c=1"), ""), CampaignRun("a", 1, ("a.b=10", "c=1"), ""))
@example(CampaignRun("a", 1, ("a.b=1:0", "c=1"), ""), CampaignRun("a", 1, ("a.b=1/0", "c=1"), ""))
@example(
    CampaignRun("a", 1, ("a.b=1", "c=2-c=3"), ""), CampaignRun("a", 1, ("a.b=1-c=2", "c=3"), "")
)
@example(CampaignRun("a/b", 1, ("a.b=1", "c=2"), ""), CampaignRun("ab", 1, ("a.b=1", "c=2"), ""))
def test_different_runs_have_different_directories(one: CampaignRun, other: CampaignRun) -> None:
    assert (one.name == other.name) == (one == other)
    assert Path("cells", one.name).resolve().parent == Path("cells").resolve()
    assert not one.name.startswith(".")


def test_names_of_runs_are_readable_and_not_too_long() -> None:
    run = CampaignRun("pipeline", 3, ("training.learning_rate=1e-3", "radio.d2e.stack=lte"), "")
    assert run.name == "pipeline-seed3-training.learning_rate=1e-3-radio.d2e.stack=lte"
    far = [CampaignRun("a" * 300, 3, (f"{'b' * 300}={each}",), "").name for each in (1, 2)]
    assert len(set(far)) == 2
    assert max(map(len, far)) <= 200


def test_every_wrong_run_is_reported_before_any_runs(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        planned(tmp_path, "out", schemes=["pipelin"], grid={"training.batch_size": ["8", "-1"]})
    assert {p.path for p in caught.value.problems} == {"scheme.name", "training.batch_size"}
    assert not (tmp_path / "out").exists()


def test_runs_here_are_the_runs_one_would_make_by_hand(tmp_path: Path) -> None:
    made = planned(tmp_path, "out")
    assert [ended.error for ended in workers.run_here(made, jobs=2)] == [""] * 4
    assert made.missing() == []
    by_hand = Study.load(studies.write(tmp_path)).run(
        scheme="vanilla_fl", seed=2, out=tmp_path / "hand"
    )
    run = next(run for run in made.runs if run.name == "vanilla_fl-seed2")
    transfers = pd.read_parquet(made.directory_of(run) / "transfers")
    pd.testing.assert_frame_equal(transfers, by_hand.transfers, check_exact=True)
    assert list(workers.run_here(made, jobs=2)) == []  # nothing is done again
    assert not list(made.directory.rglob("checkpoint.pt"))  # gigabytes, at the paper's scale


def test_a_run_that_fails_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    """One run's directory is held by a file in its place; another's process is killed."""
    made = planned(tmp_path, "out")
    held, killed, *others = made.runs
    made.directory_of(held).parent.mkdir(parents=True)
    made.directory_of(held).write_text("in the way")
    ended = {}
    for each in workers.run_here(made, jobs=1, on_round=lambda run: kill_worker(run == killed)):
        ended[each.run] = each.error
    assert "StudyError" in ended[held]
    assert "exit code -9" in ended[killed]
    assert [ended[run] for run in others] == ["", ""]
    assert made.missing() == [held, killed]
    made.directory_of(held).unlink()
    assert [each.error for each in workers.run_here(made, jobs=2)] == ["", ""]
    whole = planned(tmp_path, "whole")
    list(workers.run_here(whole, jobs=2))
    same_tables(whole.directory, made.directory)


def kill_worker(wanted: bool) -> None:
    """Kills the processes that the fork server has forked."""
    for child in multiprocessing_children() if wanted else []:
        os.kill(child, signal.SIGKILL)


def multiprocessing_children() -> list[int]:
    """The processes whose parent is a child of this one, as the fork server's are."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            parents[int(entry.name)] = int(fields[1])
    own = os.getpid()
    return [pid for pid, parent in parents.items() if parents.get(parent) == own]


@pytest.mark.slow
def test_a_campaign_killed_in_the_middle_ends_with_the_tables_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    study = studies.write(tmp_path, rounds=3)
    options = ["--schemes", "pipeline,vanilla_fl", "--seeds", "1-2", "--jobs", "2"]
    options += ["--grid", "training.local_steps=1,2"]
    command = [sys.executable, "-m", "collapipe_ns3", "compare", study, *options]
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    killed = tmp_path / "killed"
    running = subprocess.Popen(
        [*command, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(list(killed.glob("cells/*/rounds/*.parquet"))) < 10:
        assert running.poll() is None
        time.sleep(0.05)
    running.kill()
    running.wait()
    done = [run for run in killed.glob("cells/[!.]*") if rounds_done(run) == 3]
    assert 0 < len(done) < 8
    written = [run / "rounds" / "00002.parquet" for run in done]
    stamps = {file: file.stat().st_mtime_ns for file in written}
    subprocess.run([*command, "--out", str(killed)], check=True, capture_output=True)
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())
    same_tables(tmp_path / "whole", killed)


def diverging(folder: Path) -> str:
    """A study whose training diverges in its first step."""
    training = {"batch_size": 8, "local_steps": 9, "optimizer": "sgd", "learning_rate": 1000}
    return studies.write(folder, training=training)


@pytest.mark.slow
def test_a_run_that_diverged_is_a_result_here_and_on_dask(tmp_path: Path) -> None:
    study = diverging(tmp_path)
    runs = campaign.plan_runs(study, (), schemes=["pipeline"], seeds=[1], grid={}, rounds=None)
    here, there = (campaign.create(study, runs, tmp_path / name) for name in ("here", "there"))
    assert [each.error for each in workers.run_here(here, jobs=1)] == [""]
    packed, error = workers.execute_packed(runs[0].study, None)
    assert error == ""
    workers._unpack(packed, there.directory_of(runs[0]))
    assert there.missing() == []
    same_tables(here.directory, there.directory)
    assert pd.read_parquet(here.directory_of(runs[0]) / "rounds")["loss"].isna().all()


@pytest.mark.slow
def test_a_machine_of_a_cluster_with_other_code_runs_no_run_unless_that_is_wanted(
    tmp_path: Path,
) -> None:
    run = planned(tmp_path, "out", schemes=["pipeline"], seeds=[1]).runs[0]
    code = stale_runs.present_code([run])[run].to_json()
    packed, error = workers.execute_packed(run.study, code)
    assert error == ""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["code"] == code
    assert "checkpoint.pt" not in archive.namelist()
    older = {**code, "versions": {**code["versions"], "torch": "1.13"}}
    _, error = workers.execute_packed(run.study, older)
    assert error == f"this machine has other code: torch 1.13 → {code['versions']['torch']}"


@pytest.mark.slow
def test_a_dask_cluster_runs_the_same_runs(tmp_path: Path) -> None:
    here, there = planned(tmp_path, "here"), planned(tmp_path, "there")
    list(workers.run_here(here, jobs=2))
    with LocalCluster(  # worker processes, as on other machines
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        ended = list(workers.run_on_dask(there, cluster.scheduler_address))
    assert [each.error for each in ended] == [""] * 4
    same_tables(here.directory, there.directory)


def test_the_command_prints_one_table_and_writes_the_files(tmp_path: Path) -> None:
    study = studies.write(tmp_path)
    out = tmp_path / "out"
    command = ["compare", study, "--schemes", "pipeline,titanic", "--seeds", "1,2", "--jobs", "2"]
    done = call(*command, "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert "end-to-end delay" in done.stdout
    assert done.stdout.count("time to target loss") == 2  # means, and differences
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    names = {"comparison.parquet", "runs.parquet", "comparison.md", "comparison.png"}
    assert names <= {file.name for file in out.iterdir()}
    again = json.loads(call(*command, "--out", str(out), "--json").stdout)
    assert again["ok"]
    assert {row["scheme"] for row in again["summary"]} == {"pipeline", "titanic"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--seeds", "4-1"], "--seeds: expected the smaller seed first"),
        (["--seeds", "one"], "--seeds: expected seeds as in 0-4"),
        (["--grid", "rounds"], "--grid: expected a grid as in"),
        (["--grid", "seed=1,2"], "--grid: expected --seeds for seed"),
        (["--grid", "scheme.name=titanic"], "--grid: expected --schemes"),
        (["--grid", "rounds=1", "--grid", "rounds=2"], "--grid: expected all values of rounds"),
        (["--grid", "rounds=1,2", "--rounds", "3"], "--grid: expected rounds here or in --rounds"),
        (["--reference", "pipelin"], "--reference: no scheme 'pipelin' among them; did you mean"),
        (["--target-loss", "nan"], "--target-loss: expected a number"),
        (["--schemes", "pipeline,titanik"], "did you mean titanic?"),
        (["--schemes", "pipeline", "--jobs", "0"], "--jobs"),
        (["--out", "/proc/nothing"], "--out: /proc/nothing"),
    ],
)
def test_a_wrong_campaign_is_exit_code_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    done = call("compare", studies.write(tmp_path), "--schemes", "pipeline", *arguments, *out)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    study, out = studies.write(tmp_path), str(tmp_path / "out")
    for address in ("tcp://127.0.0.1:9", "nowhere"):
        command = ["compare", study, "--schemes", "pipeline", "--scheduler", address, "--out", out]
        done = call(*command)
        assert done.exit_code == 2, done.output
        assert "--scheduler" in done.stderr


def test_a_directory_of_another_campaign_is_left_alone(tmp_path: Path) -> None:
    planned(tmp_path, "out")
    with pytest.raises(StudyError, match="holds another campaign"):
        planned(tmp_path, "out", seeds=[3])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(StudyError, match="is not empty"):
        planned(tmp_path, "other")


def test_a_campaign_is_one_processes_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["compare", studies.write(tmp_path), "--schemes", "pipeline", "--seeds", "1"]
    with campaign.locked(planned(tmp_path, "out", schemes=["pipeline"], seeds=[1]), "tiny"):
        done = call(*command, "--out", str(out))
    assert done.exit_code == 2
    assert "another process is running this campaign" in " ".join(done.stderr.split())
    assert not (out / "cells").exists()


def test_a_run_that_was_run_from_another_study_is_not_complete(tmp_path: Path) -> None:
    made = planned(tmp_path, "out", schemes=["pipeline"], seeds=[1], rounds=1)
    (run,) = made.runs
    Study.load(studies.write(tmp_path)).run(seed=2, rounds=1, out=made.directory_of(run))
    assert made.missing() == [run]
    (ended,) = workers.run_here(made, jobs=1)
    assert "holds another run" in ended.error


def test_seeds_and_grids_are_read_as_one_writes_them() -> None:
    assert parse_seeds("0-2, 7,1") == [0, 1, 2, 7]
    assert parse_grid(["a.b=1,2,1", "c=x"]) == {"a.b": ["1", "2"], "c": ["x"]}


def test_wrong_options_and_wrong_schemes_are_reported_together(tmp_path: Path) -> None:
    options = ["--schemes", "pipeline,titanik", "--seeds", "4-1", "--grid", "rounds"]
    done = call("compare", studies.write(tmp_path), *options)
    assert done.exit_code == 2
    for says in ("--seeds", "--grid", "did you mean titanic?"):
        assert says in done.stderr


def test_a_scheme_named_twice_is_run_once(tmp_path: Path) -> None:
    study, out = studies.write(tmp_path), str(tmp_path / "out")
    options = ["--schemes", "pipeline, pipeline", "--seeds", "1", "--rounds", "1", "--json"]
    facts = json.loads(call("compare", study, *options, "--out", out).stdout)
    assert len(facts["runs"]) == 1
