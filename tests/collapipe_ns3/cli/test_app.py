"""The command line: what it prints, where, and the exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import studies
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

import analysis
from collapipe_ns3.cli.app import app
from collapipe_ns3.reading import study_file
from run_directory.whole import rounds_done

BAD = "rounds: 0\nsceme: x\nclusters: [{cu: jetson-nan, devices: []}]\nname: bad\n"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture
def study(tmp_path: Path) -> str:
    return studies.write(tmp_path)


def test_a_run_ends_with_a_table_of_its_rounds(study: str, tmp_path: Path) -> None:
    done = call("run", study, "--out", str(tmp_path / "run"))
    assert done.exit_code == 0, done.stderr
    assert "tiny: pipeline, seed 1" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["0", "1"]
    assert all(len(row) == 10 for row in rows)
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    assert str(tmp_path / "run") in done.stdout


def test_json_is_one_object_and_all_there_is_on_stdout(study: str, tmp_path: Path) -> None:
    place = str(tmp_path / "run")
    done = call("run", study, "--json", "--rounds", "1", "--seed", "3", "--out", place)
    printed = json.loads(done.stdout)
    assert (printed["ok"], printed["seed"], printed["scheme"]) == (True, 3, "pipeline")
    assert printed["directory"] == place
    assert printed["rounds"][0]["divergence"] == 1.0  # nothing was lost on the way
    assert analysis.load(place).rounds["loss"].tolist() == [printed["rounds"][0]["loss"]]


def test_json_of_the_other_commands_has_what_their_text_has(study: str) -> None:
    def printed(*arguments: str) -> Any:
        return json.loads(call(*arguments, "--json").stdout)

    assert list(printed("studies")) == list(study_file.bundled())
    assert printed("show", study) == study_file.resolved(study_file.read(study)).model_dump(
        mode="json"
    )
    checked = printed("validate", study)
    assert checked == {"ok": True, "study": study, "problems": [], "warnings": []}


def test_the_doctor_finds_this_machine_well_in_text_and_in_json() -> None:
    done = call("doctor")
    assert done.exit_code == 0, done.stdout
    facts = json.loads(call("doctor", "--json").stdout)
    assert facts["ok"]
    assert {"Python", "torch", "ns-3 loads", "one second simulated"} <= facts["findings"].keys()
    assert [name for name in facts["findings"] if name not in done.stdout] == []


@pytest.mark.parametrize("command", ["run", "show", "validate"])
def test_bad_input_is_exit_code_2_with_every_error(tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    done = call(command, str(tmp_path / "bad.yaml"), "--json")
    assert done.exit_code == 2
    printed = json.loads(done.stdout)
    paths = {problem["path"] for problem in printed["problems"]}
    assert paths == {"rounds", "sceme", "clusters[0].cu.profile", "clusters[0].devices"}
    assert all(path in done.stderr for path in paths)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "quikstart"], "did you mean quickstart?"),
        (["run", "quickstart", "--scheme", "pipelin"], "did you mean pipeline?"),
        (["run", "quickstart", "--rounds", "0"], "rounds: expected 1 or more"),
        (["run", "quickstart", "--set", "radio.d2e.bandwidth_hz=-5 MHz"], "more than 0"),
        (["run", "quickstart", "--set", "radio.d2d.bandwidth_hz=400 MHz"], "1.2 MHz to 110 MHz"),
        (["run", "quickstart", "--set", "ns3.ns3::Nope::X=1"], "ns3::Nope"),
        (["run", "quickstart", "--device", "gpu"], "gpu"),
        (["run", "quickstart", "--rounds", "many"], "an integer"),
        (["run", "quickstart", "--sead", "1"], "--seed"),
        (["show", "nothing.yaml"], "No such file"),
        (["walidate"], "validate"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_in_a_few_words(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path / "run")] if arguments[0] == "run" else []
    done = call(*arguments, *out)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "quickstart", "--rounds", "abc"], "'--rounds'"),
        (["compare", "quickstart", "--jobs", "0"], "'--jobs'"),
        (["replay", "a-run"], "--round"),
        (["run"], "STUDY"),
        (["run", "quickstart", "another"], "another"),
        (["run", "quickstart", "--nope"], "--nope"),
        (["nope"], "nope"),
        (["--nope"], "--nope"),
    ],
)
def test_a_usage_error_is_one_json_object_too(arguments: list[str], says: str) -> None:
    done = call(*arguments, "--json")
    assert done.exit_code == 2
    printed = json.loads(done.stdout)
    assert printed.keys() == {"ok", "error"}
    assert printed["ok"] is False
    assert says in printed["error"]
    plain = call(*arguments)
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert call(*arguments, "--", "--json").stdout == ""  # an argument, not the option


def test_a_directory_that_cannot_be_written_is_exit_code_2(study: str) -> None:
    done = call("run", study, "--out", "/proc/run")  # which nobody may make, not even root
    assert done.exit_code == 2
    assert "--out: /proc/run" in done.stderr


def test_a_place_that_is_a_file_is_exit_code_2(study: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call("run", study, "--out", str(tmp_path / "file" / "run"))
    assert done.exit_code == 2
    assert "Not a directory" in done.stderr


def test_a_round_without_any_cluster_is_no_success(tmp_path: Path) -> None:
    far = [{"cu": "jetson-nano", "position": [9e5, 0], "devices": ["raspberry-pi-4"]}]
    study = studies.write(tmp_path, clusters=far, rounds=1)
    done = call("run", study, "--out", str(tmp_path / "run"))
    assert done.exit_code == 1
    assert "abandoned cluster 0" in done.stdout


def test_a_round_that_waits_for_a_device_is_no_failure(tmp_path: Path) -> None:
    faults = {"nodes": [{"away_s": [[0, 1.25]]}]}
    study = studies.write(tmp_path, faults=faults, rounds=2)
    done = call("run", study, "--out", str(tmp_path / "run"))
    assert done.exit_code == 0, done.stderr
    assert "round 0: waited 1.25 s for a device to return" in done.stdout
    assert "diverged" not in done.stdout
    again = call("run", study, "--json", "--out", str(tmp_path / "other"))
    assert json.loads(again.stdout)["ok"] is True


@pytest.mark.slow
def test_ctrl_c_leaves_a_readable_run_that_can_be_resumed(study: str, tmp_path: Path) -> None:
    place = tmp_path / "run"
    command = [sys.executable, "-m", "collapipe_ns3", "run", study, "--out", str(place)]
    running = subprocess.Popen(
        [*command, "--rounds", "200"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while rounds_done(place) < 2:
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, printed = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in printed
    assert "--resume" in printed
    done = len(analysis.load(place).rounds)
    assert 2 <= done < 200
    assert f"stopped after {done} of 200 rounds" in printed
    resumed = call("run", study, "--out", str(place), "--resume", "--rounds", str(done + 1))
    assert resumed.exit_code == 0, resumed.stderr
    assert analysis.load(place).rounds["round"].tolist() == list(range(done + 1))


def test_show_prints_what_can_be_read_again(study: str, tmp_path: Path) -> None:
    wide = "description=" + "wide " * 60
    shown = call("show", study, "--set", "rounds=5", "--set", wide)
    (tmp_path / "shown.yaml").write_text(shown.stdout)
    given = study_file.read(study, ["rounds=5", wide])
    assert study_file.read(str(tmp_path / "shown.yaml")) == study_file.resolved(given)
    assert "c0.d1" in shown.stderr


def test_the_schema_accepts_the_bundled_studies_and_refuses_others() -> None:
    schema = json.loads(call("schema").stdout)
    validator = Draft202012Validator(schema)
    for name in study_file.bundled():
        config = study_file.read(name).model_dump(mode="json")
        assert not list(validator.iter_errors(config))
    assert list(validator.iter_errors({"name": "x", "clusters": [], "sceme": 1}))


@pytest.mark.parametrize("scheme", ["collapipe", "vanilla_fl"])
def test_a_plan_is_shown_with_links_and_timeline(study: str, scheme: str) -> None:
    done = call("plan", study, "--scheme", scheme)
    assert done.exit_code == 0, done.stderr
    parts = ["measured links", "plan", "predicted timeline"]
    parts[2:2] = ["explanation"] * (scheme == "collapipe")
    assert [line for line in done.stdout.splitlines() if line in parts] == parts
    assert "c0.cu → bs" in done.stdout
    assert "█" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    printed = json.loads(call("plan", study, "--scheme", scheme, "--json").stdout)
    assert printed["plan"]["scheme"] == scheme
    assert {(link["src"], link["dst"]) for link in printed["links"]} >= {("c0.cu", "bs")}
    assert printed["predicted"]["round_s"] > max(
        pipeline["pipeline_s"] for pipeline in printed["predicted"]["pipelines"]
    )
    assert bool(printed["explanation"]) == (scheme == "collapipe")


def test_budgets_are_of_nodes_that_there_are_in_units_as_one_writes_them(study: str) -> None:
    wrong = "scheme.settings.energy_budgets_j={c0.d9: 1}"
    done = call("validate", study, "--set", "scheme.name=collapipe", "--set", wrong)
    assert done.exit_code == 2
    assert "energy_budgets_j: no node 'c0.d9'; did you mean c0.d" in done.stderr.replace("\n", " ")
    sized = ["--set", "scheme.settings.memory_budget_bytes=512 MiB"]
    assert call("plan", study, "--scheme", "collapipe", *sized).exit_code == 0


def test_settings_may_be_those_of_the_scheme_that_is_named(study: str) -> None:
    own = ["--set", "scheme.settings.most_micro_batches=2"]
    printed = json.loads(call("plan", study, "--scheme", "collapipe", *own, "--json").stdout)
    pipelines = [each for c in printed["plan"]["clusters"] for each in c["pipelines"]]
    assert max(each["micro_batches"] for each in pipelines) <= 2
