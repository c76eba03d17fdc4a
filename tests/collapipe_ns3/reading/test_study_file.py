"""Studies are read completely, or all of their errors are reported at once, with their places."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import studies
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from collapipe_ns3 import Study
from collapipe_ns3.cli.terminal import failures
from collapipe_ns3.problems import StudyError
from collapipe_ns3.reading import study_file
from collapipe_ns3.reading.study_file import bundled, check, dump, read

EVERYTHING_WRONG = """
name: "bad name!"
rounds: 0
sceme: pipeline
scheme: {name: pipelin}
seed: 1e-3
model: {width: 63, heads: 4, encoder_blocks: -1}
training: {optimizer: adamm, learning_rate: 1e-3}
clusters:
  - cu: jetson-nan
    devices: [raspberry-pi-4, phone-flagshi, {profile: jetson-nano, tx_power_dbm: 20 apples}]
  - cu: {position: [1, x]}
    devices: []
    channel: 43
radio: {d2e: {stack: lte, bandwidth_hz: 7 MHz, duplex: tdd}, d2d: wify}
propagation: {d2d: {model: ns3::FriisLoss}}
ns3: {ns3::TcpSocket::SegmentSiz: 3, ns3::TcpSocket::SegmentSize: big}
"""

EXPECTED = {
    "name": "letters, digits",
    "rounds": "1 or more",
    "sceme": "did you mean scheme?",
    "scheme.name": "did you mean pipeline?",
    "seed": "a whole number",
    "model.encoder_blocks": "1 or more",
    "model.heads": "divisor of the width 63",
    "training.optimizer": "did you mean adam?",
    "clusters[0].cu.profile": "did you mean jetson-nano?",
    "clusters[0].devices[1].profile": "did you mean phone-flagship?",
    "clusters[0].devices[2].tx_power_dbm": "dBm",
    "clusters[1].cu.profile": "is missing",
    "clusters[1].cu.position[1]": "not 'x'",
    "clusters[1].devices": "at least 1",
    "clusters[1].channel": "sub-band",
    "radio.d2e.bandwidth_hz": "1.4",
    "radio.d2e.duplex": "lte has no such key",
    "radio.d2d.stack": "did you mean wifi?",
    "propagation.d2d.model": "FriisPropagationLossModel",
    "ns3.ns3::TcpSocket::SegmentSiz": "SegmentSize",
    "ns3.ns3::TcpSocket::SegmentSize": "whole number",
}


def written(folder: Path, text: str) -> str:
    path = folder / "study.yaml"
    path.write_text(text)
    return str(path)


def errors_of(study: str, *sets: str) -> dict[str, str]:
    with pytest.raises(StudyError) as caught:
        read(study, sets)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_every_error_is_reported_at_once_with_its_place_and_the_nearest(tmp_path: Path) -> None:
    found = errors_of(written(tmp_path, EVERYTHING_WRONG))
    assert found.keys() == EXPECTED.keys()
    assert {path: w for path, w in EXPECTED.items() if w not in found[path]} == {}


@pytest.mark.parametrize("name", bundled())
def test_bundled_studies_are_sound_and_named_as_their_files(name: str) -> None:
    config = read(name)
    assert config.name == name
    assert config.description


@pytest.mark.parametrize("name", bundled())
def test_what_is_dumped_reads_the_same_again(name: str, tmp_path: Path) -> None:
    config = read(name)
    assert read(written(tmp_path, dump(config))) == config


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("rounds: [1", 1, "expected"),
        ("name: a\nrounds: 1\nrounds: 2", 3, "the key 'rounds' stands twice, first in line 2"),
        ("- a", 1, "expected keys with values"),
        ("", 1, "expected keys with values"),
        ("\na: &x [*x]", 2, "stands within what it names"),
        ("a: *x", 1, "names nothing"),
        ("name: a\n---\nname: b", 2, "expected one document"),
        ("name: a\nrounds: !!bool maybe", 2, "'maybe' is no bool"),
        ("rounds: !!int abc", 1, "'abc' is no int"),
        ("rounds: !!int _", 1, "'_' is no int"),
        ("seed: 1\nrounds: " + "9" * 5000, 2, "at most 100 digits"),
        ("seed: 1\nrounds: !!int " + "9" * 5000, 2, "at most 100 digits"),
        ("seed: !!int 0x" + "f" * 5000, 1, "at most 100 digits"),
        ("rounds: !!python/name:os.system x", 1, "expected a plain value"),
        ("a: !!set {x}", 1, "expected keys with values or a list, not !!set"),
        ("? [1]\n: 2", 1, "expected a text as a key"),
        ("? " + "k" * 300 + "\n: 2", 1, "at most 200 characters, not 300"),
        ("<<: 3", 1, "to merge"),
        ("a: 1\nb: \0", 2, "can't stand in YAML"),
        ('name: "\\ud800"', 1, ""),
        ("a: 1\nx: " + "[" * 50, 2, "nested too deep"),
        ("a: 1\nx: " + "[" * 3000, 2, "depth"),
    ],
)
def test_what_is_no_study_at_all_is_reported_with_its_line(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(StudyError) as caught:
        read(file)
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == (file, line)
    assert says in caught.value.problems[0].message


SCATTERED = """\
name: scattered
rounds: 0
model:
  width: 63
  heads: 4
  encoder_blocks: -1
scheme: pipelin
clusters:
  - cu: jetson-nan
    devices:
      - raspberry-pi-4
      - {profile: jetson-nano,
         tx_power_dbm: 20 apples}
  - devices: [raspberry-pi-4]
ns3: {ns3::TcpSocket::SegmentSiz: 3,
      ns3::TcpSocket::SegmentSize: big}
"""


def test_every_error_has_its_file_and_line(tmp_path: Path) -> None:
    file = written(tmp_path, SCATTERED)
    with pytest.raises(StudyError) as caught:
        read(file, ["training.learning_rate=-1", "model.heads=5"])
    assert {problem.path: (problem.file, problem.line) for problem in caught.value.problems} == {
        "rounds": (file, 2),
        "model.encoder_blocks": (file, 6),
        "scheme.name": (file, 7),
        "clusters[0].cu.profile": (file, 9),
        "clusters[0].devices[1].tx_power_dbm": (file, 13),
        "clusters[1].cu": (file, 14),
        "ns3.ns3::TcpSocket::SegmentSiz": (file, 15),
        "ns3.ns3::TcpSocket::SegmentSize": (file, 16),
        "training.learning_rate": ("--set training.learning_rate=-1", None),
        "model.heads": ("--set model.heads=5", None),
    }
    assert f"{file}:2: rounds: expected 1 or more, not 0" in str(caught.value)
    assert "--set model.heads=5: model.heads: expected a divisor" in str(caught.value)


def test_of_a_text_the_line_alone_is_known() -> None:
    with pytest.raises(StudyError) as caught:
        study_file.parse("given as text", "name: x\nrounds: 0\nclusters: []")
    assert str(caught.value).splitlines()[1] == "  line 2: rounds: expected 1 or more, not 0"


def test_json_has_file_and_line_of_each_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = studies.write(tmp_path, rounds=0)
    with pytest.raises(typer.Exit), failures(file, as_json=True):
        read(file)
    problem = json.loads(capsys.readouterr().out)["problems"][0]
    line = Path(file).read_text().splitlines().index("rounds: 0") + 1
    assert (problem["path"], problem["file"], problem["line"]) == ("rounds", file, line)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "expected at most 1000000 values, aliases expanded"),
        ("".join(f"k{n}: {n}\n" for n in range(20_000)), "and 19902 more in form"),
        ("k: 1\n" * 20_000, "stands twice"),
        ("rounds: " + "1" * 1_000_000, "at most 100 digits"),
        ("name: '" + "1" * 1_000_000 + "'", "at most 100 characters"),
        ("server: {memory_bytes: '" + "1" * 1_000_000 + "'}", "expected a number"),
        ("server: " + "x" * 1_000_000, "no device profile"),
        ("clusters: [" + "{cu: a, devices: [{}]}," * 2_000 + "]", "more in form"),
        ("task: {kinds: [" + "x, " * 10_000 + "]}", "more in form"),
    ],
)
def test_reading_takes_time_in_proportion(text: str, says: str) -> None:
    began = time.process_time()
    with pytest.raises(StudyError) as caught:
        study_file.parse("x", text)
    assert time.process_time() - began < 10  # all but the first took minutes or more
    assert says in str(caught.value)
    assert len(str(caught.value)) < 100_000


def test_what_an_alias_stands_for_is_a_copy() -> None:
    text = yaml.safe_dump(studies.tiny()).replace("clusters:\n- ", "clusters:\n- &c\n  ")
    text = text.replace("model:", "- <<: *c\n  position: [-9, 9]\nmodel:")
    settings = ["clusters[1].cu=phone-midrange", "clusters[1].devices[1].position=[-8, 8]"]
    config = study_file.parse("x", text, settings)
    assert [cluster.cu.profile for cluster in config.clusters] == ["jetson-nano", "phone-midrange"]
    assert config.clusters[1].position == (-9, 9)


@pytest.mark.parametrize(
    "wrong",
    [
        "name: 2024-13-45",
        "rounds: !!int abc",
        "rounds: " + "9" * 5000,
        "x: " + "[" * 3000,
        "seed: 99999999999999999999",
        "training: {learning_rate: 1e300}",
        "server: {rx_power_w: 1e6 dBm}",
        "server: {memory_bytes: 1e999999 GiB}",
        "radio: {d2e: {bandwidth_hz: 1e99999999 MHz}}",
        "server: {overhead_s: 1e300}",
        "server: {flops_per_s: 1e-300}",
        "server: {rx_power_w: 1e308}",
    ],
)
def test_values_out_of_all_bounds_are_reported(tmp_path: Path, wrong: str) -> None:
    assert errors_of(written(tmp_path, f"{wrong}\n"))


def test_a_key_of_the_server_alone_leaves_the_rest_as_it_is() -> None:
    config = read("quickstart", ["server.tx_power_dbm=30"])
    assert (config.server.profile, config.server.tx_power_dbm) == ("edge-server", 30.0)
    assert config.server.position == (0.0, 0.0, 10.0)


@pytest.mark.parametrize("name", ["x" * 300, "y" * 5000 + ".yaml", "a/\udcff"])
def test_names_that_no_file_can_have_are_reported(name: str) -> None:
    assert errors_of(name)


def test_what_measurement_rests_on_cannot_be_changed() -> None:
    found = errors_of("quickstart", "ns3.ns3::LteUePhy::EnableUplinkPowerControl=true")
    assert "can't be changed" in found["ns3.ns3::LteUePhy::EnableUplinkPowerControl"]
    found = errors_of("quickstart", "ns3.ns3::LteEnbPhy::UeSinrSamplePeriod=50")
    assert "can't be changed" in found["ns3.ns3::LteEnbPhy::UeSinrSamplePeriod"]


def test_a_default_of_ns3_that_would_change_nothing_is_reported() -> None:
    path = "ns3.ns3::LogDistancePropagationLossModel::Exponent"
    found = errors_of("quickstart", f"{path}=2")
    assert "propagation.d2d.attributes.Exponent and propagation.d2e" in found[path]
    open_ = "ns3.ns3::LogDistancePropagationLossModel::ReferenceDistance"
    assert read("quickstart", [f"{open_}=2.0"]).ns3


def test_yaml_floats_need_no_dot(tmp_path: Path) -> None:
    data = studies.tiny(training={"batch_size": 8})
    text = yaml.safe_dump(data).replace("batch_size: 8", "batch_size: 8\n  learning_rate: 1e-3")
    assert read(written(tmp_path, text)).training.learning_rate == 1e-3


def test_unknown_studies_and_unreadable_files_are_reported(tmp_path: Path) -> None:
    assert "did you mean quickstart?" in errors_of("quikstart")[""]
    assert "No such file" in errors_of(str(tmp_path / "none.yaml"))[""]
    assert "Is a directory" in errors_of(f"{tmp_path}/")[""]
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in errors_of(str(tmp_path / "binary.yaml"))[""]


def test_settings_reach_every_key() -> None:
    config = read(
        "quickstart",
        [
            "rounds=3",
            "training.learning_rate=1e-4",
            "radio.d2e.bandwidth_hz=10 MHz",
            "clusters[0].devices[1].flops_per_s=7e9",
            "clusters.1.cu.memory_bytes=1 GiB",
            "scheme.settings.most_micro_batches=8",
            "propagation.d2d.attributes.Exponent=2.5",
            "ns3.ns3::TcpSocket::SegmentSize=1000",
        ],
    )
    assert config.rounds == 3
    assert config.training.learning_rate == 1e-4
    assert config.radio.d2e.bandwidth_hz == 10e6
    assert config.clusters[0].devices[1].profile == "phone-flagship"
    assert config.clusters[0].devices[1].flops_per_s == 7e9
    assert config.clusters[1].cu.memory_bytes == 2**30
    assert config.scheme.settings == {"most_micro_batches": 8}
    assert config.propagation.d2d is not None
    assert config.propagation.d2d.attributes == {"Exponent": 2.5}
    assert config.ns3 == {"ns3::TcpSocket::SegmentSize": 1000}


def test_a_shorthand_is_spelled_out_for_a_setting(tmp_path: Path) -> None:
    file = studies.write(tmp_path, scheme="pipeline", radio={"d2e": "lte"})
    config = read(file, ["scheme.settings.schedule=1f1b", "radio.d2e.bandwidth_hz=5e6"])
    assert config.scheme.settings == {"schedule": "1f1b"}
    assert config.radio.d2e.bandwidth_hz == 5e6


@pytest.mark.parametrize(
    ("setting", "path", "says"),
    [
        ("rounds", "", "expected a.b=value"),
        ("=3", "", "expected a.b=value"),
        ("rounds=[", "rounds", "no YAML value"),
        ("rounds=!!bool maybe", "rounds", "'maybe' is no bool"),
        ("clusters[²].cu=phone-midrange", "clusters[²].cu", "counted from 0"),
        ("clusters[" + "9" * 5000 + "].cu=x", "", "no such key"),
        (".".join("a" * 5000) + "=1", "", "no such key"),
        ("rounds.x=1", "rounds.x", "has no keys"),
        ("clusters[7].cu=phone-midrange", "clusters[7].cu", "there are 2, counted from 0"),
        ("clusters[x].cu=phone-midrange", "clusters[x].cu", "counted from 0"),
        ("clusters[0].devices[9]=phone-midrange", "clusters[0].devices[9]", "there are 3"),
        ("round=3", "round", "did you mean rounds?"),
        ("scheme.settings.micro_batch=3", "scheme.settings.micro_batch", "micro_batches"),
        ("scheme.settings.most_micro_batches=0", "scheme.settings.most_micro_batches", "1 or more"),
        ("scheme.settings.bands=divide", "scheme.settings.bands", "did you mean divided?"),
    ],
)
def test_a_setting_that_cannot_be_put_is_reported(setting: str, path: str, says: str) -> None:
    assert says in errors_of("quickstart", setting)[path]


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        (
            {"training": {"batch_size": 64}},
            "training.batch_size",
            "at most 32, the sequences of a cluster",
        ),
        (
            {"model": {**studies.TINY["model"], "width": 2**15, "feed_forward": 2**17}},
            "clusters[0].devices",
            "there is room for 0",
        ),
        (
            {"model": {"width": 1024, "feed_forward": 4096, "decoder_blocks": 1000}},
            "server.memory_bytes",
            "for the decoder",
        ),
        ({"task": {**studies.TINY["task"], "kinds": ["year", "year"]}}, "task.kinds", "once"),
        (
            {"server": {"profile": "edge-server", "position": [20, 10, 1.5]}},
            "clusters[0].position",
            "place of its own",
        ),
    ],
)
def test_keys_that_do_not_agree_are_reported(changes: dict[str, Any], path: str, says: str) -> None:
    _, found = check(studies.tiny(**changes))
    assert says in {problem.path: problem.message for problem in found}[path]


_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["-1", "1e9999", "5 dBm", "wifi", "ns3::Node", "🙂"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def _places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    found = [here] if here else []
    for key, value in inner:
        deeper = isinstance(value, dict | list)
        found += _places(value, (*here, key)) if deeper else [(*here, key)]
    return found


@settings(max_examples=100)
@given(st.data(), _JUNK)
def test_nothing_that_is_written_gets_past_as_anything_but_an_error(
    data: st.DataObject, junk: Any
) -> None:
    study = yaml.safe_load(study_file.dump(studies.config()))
    *way, last = data.draw(st.sampled_from(_places(study)))
    here = study
    for part in way:
        here = here[part]
    here[last] = junk
    config, found = check(study)
    assert (config is None) <= bool(found)
    assert all(problem.message for problem in found)


def test_what_only_planning_and_warnings_find_has_its_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = studies.write(tmp_path)
    lines = Path(file).read_text().splitlines()
    study = Study.load(file, ["clusters[0].cu.tx_power_dbm=60"])
    (warning,) = study.warnings
    assert str(warning).startswith("--set clusters[0].cu.tx_power_dbm=60: clusters[0].cu")
    monkeypatch.setattr("os.sysconf", lambda name: 10)  # bytes of a page, and so many pages
    with pytest.raises(StudyError) as caught:
        study.plan()
    problem = caught.value.problems[0]
    assert (problem.path, problem.file) == ("model", file)
    assert problem.line == lines.index("model:") + 1


def test_a_number_that_python_does_not_write_is_refused() -> None:
    with pytest.raises(StudyError, match="thousands of digits"):
        Study(studies.config()).with_(rounds=10**5000)


def test_wrong_settings_of_an_optimizer_are_reported_at_their_keys(tmp_path: Path) -> None:
    """Together with all other errors, of whatever kind."""
    settings = "{weight_deca: 0.1, eps: -1, momentum: 0.9}"
    text = f"training: {{optimizer: adam, optimizer_settings: {settings}, learning_rate: x}}\n"
    found = errors_of(written(tmp_path, text + "clusters: []\nrounds: 0\n"))
    at = "training.optimizer_settings"
    assert found.keys() >= {"rounds", "training.learning_rate", f"{at}.momentum"}
    assert "did you mean weight_decay?" in found[f"{at}.weight_deca"]
    assert found[f"{at}.eps"] == "Invalid epsilon value: -1"


def test_keys_that_the_model_does_not_use_are_refused() -> None:
    study = studies.tiny(model={**studies.TINY["model"], "checkpoint": "somewhere"})
    with pytest.raises(StudyError) as caught:
        study_file.parse("x", yaml.safe_dump(study))
    (problem,) = caught.value.problems
    assert problem.path == "model.checkpoint"
    assert "transformer has no such key; it is one of bert, " in problem.message


def test_a_model_that_does_not_exist_is_reported_once() -> None:
    study = studies.tiny(task={"name": "intents"}, model="brt")
    with pytest.raises(StudyError) as caught:
        study_file.parse("x", yaml.safe_dump(study))
    assert [str(each) for each in caught.value.problems if each.path == "model.name"] == [
        "line 12: model.name: no model 'brt'; did you mean bert?"
    ]
