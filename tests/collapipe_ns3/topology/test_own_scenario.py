"""Networks of the user's own: the documents' example runs, and what is wrong is told in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import studies
import yaml
from run_checks import belong

from collapipe_ns3 import Study
from collapipe_ns3.reading.study_file import check
from collapipe_ns3.run.replay import replay
from collapipe_ns3.topology.own_scenario import ScenarioFailed

DOCUMENT = Path(__file__).parents[3] / "docs" / "own-scenario.md"


def block(language: str, name: str) -> str:
    """The document's block of code for the file of this name."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return next(text for text in blocks if text.startswith(f"# {name}\n"))


def write_module(folder: Path, name: str, text: str) -> str:
    """A module in the working directory, of a name that no other test imports."""
    module = f"{name}_{folder.name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(text)
    return module


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_documents_example_trains_and_repeats(tmp_path: Path) -> None:
    write_module(tmp_path, "wired", "")
    (tmp_path / "wired.py").write_text(block("python", "wired.py"))
    data = studies.tiny(**{**yaml.safe_load(block("yaml", "wired.yaml")), "rounds": 2})
    data["clusters"] = studies.TINY["clusters"] * 1
    (tmp_path / "wired.yaml").write_text(yaml.safe_dump(data))
    study = Study.load("wired.yaml")
    first, again = study.run(out="first"), study.run(out="again")
    assert list(first.transfers["radio"].unique()) == ["ethernet"]
    assert set(first.transfers["outcome"]) == {"delivered"}
    assert first.rounds["loss"].notna().all()
    # At 5 ms each way no transfer to the base station takes less, and the segment has none of it.
    took = first.transfers.assign(s=first.transfers["end_s"] - first.transfers["start_s"])
    far = took["src"].eq("bs") | took["dst"].eq("bs")
    assert took[far]["s"].min() > 5e-3 > took[~far]["s"].min()
    assert first.transfers.equals(again.transfers)
    belong(first.computes, first.transfers)
    assert {*first.nodes["node"]} == {"bs", "c0.cu", "c0.d0", "c0.d1"}
    assert first.nodes[["x_m", "y_m", "z_m", "end_x_m"]].isna().all(axis=None)
    assert json.loads((first.directory / "media.json").read_text()) == []
    assert replay(first.directory, 1).different == ()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("nowhere", "expected module:function"),
        (":build", "expected module:function"),
        ("no_such_module_at_all:build", "neither installed nor in the working directory"),
        ("{module}:buidl", "did you mean build?"),
        ("{broken}:build", "ZeroDivisionError"),
        ("{needing}:build", "'no_such_thing', which isn't installed"),
    ],
)
def test_a_function_that_cannot_be_found_is_told(tmp_path: Path, function: str, says: str) -> None:
    names = {
        "module": write_module(tmp_path, "fine", "def build(spec): ..."),
        "broken": write_module(tmp_path, "broken", "1 / 0"),
        "needing": write_module(tmp_path, "needing", "import no_such_thing"),
    }
    _, found = check(studies.tiny(scenario=function.format(**names)))
    assert says in {problem.path: problem.message for problem in found}["scenario.function"]


def test_settings_are_those_of_the_function(tmp_path: Path) -> None:
    module = write_module(tmp_path, "fine", "def build(spec, delay_ms: float = 1.0): ...")
    settings = {"delay": 3, "delay_ms": "much"}
    _, found = check(studies.tiny(scenario={"function": f"{module}:build", "settings": settings}))
    said = {problem.path: problem.message for problem in found}
    assert "did you mean delay_ms?" in said["scenario.settings.delay"]
    assert "expected a number" in said["scenario.settings.delay_ms"]


DEAF = """
from ns3_scenarios import runtime
from ns3_scenarios.hosts import HostNetwork
def build(spec):
    ns = runtime.load()
    nodes = {node.name: ns.CreateObject[ns.Node]() for node in spec.nodes}
    everyone = ns.NodeContainer()
    for node in nodes.values():
        everyone.Add(node)
    ns.InternetStackHelper().Install(everyone)
    return HostNetwork(nodes, {name: "10.0.0.1" for name in nodes})
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def build(spec): return 3", "expected a Network, not int"),
        ("def build(spec): raise KeyError('c9')", "KeyError: 'c9' (strange"),
        (
            "from ns3_scenarios import runtime\n"
            "def build(spec): runtime.load().DataRate('12 apples')",
            "being tried out",
        ),
        (DEAF, "nothing came through"),
    ],
)
def test_what_is_no_network_is_told_before_the_first_round(
    tmp_path: Path, text: str, says: str
) -> None:
    module = write_module(tmp_path, "strange", text)
    study = Study(studies.config(scenario=f"{module}:build"))
    with pytest.raises(ScenarioFailed) as caught:
        study.run(out="run")
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"scenario {module}:build, round 0, being tried out: ")
    assert not Path("run").exists()


PLACED = """
from ns3_scenarios import runtime
from ns3_scenarios.hosts import HostNetwork
from wired import build as wired
def build(spec):
    network = wired(spec)
    ns = runtime.load()
    for node in spec.clusters[0].nodes:
        model = ns.CreateObject[ns.ConstantVelocityMobilityModel]()
        model.SetPosition(ns.Vector(*node.position))
        model.SetVelocity(ns.Vector(3, 4, 0))
        network._kept[node.name].AggregateObject(model)
    return network
"""


def test_positions_of_hosts_are_recorded_where_they_have_any(tmp_path: Path) -> None:
    (tmp_path / "wired.py").write_text(block("python", "wired.py"))
    module = write_module(tmp_path, "placed", PLACED)
    study = Study(studies.config(scenario=f"{module}:build", rounds=1))
    result = study.run(scheme="pipeline", out="run")
    nodes = result.nodes.set_index("node")
    assert nodes.loc["bs", ["x_m", "end_x_m"]].isna().all()
    assert nodes.loc["c0.d1", ["x_m", "y_m"]].tolist() == [22, 14]
    moved = nodes.loc["c0.d1", ["end_x_m", "end_y_m"]] - [22, 14]
    lasted_s = result.rounds["duration_s"].iloc[0]
    assert moved.tolist() == pytest.approx([3 * lasted_s, 4 * lasted_s])


CHANGED = """
from ns3_scenarios import network
class Changed:
    def __init__(self, spec):
        self.network = network.build(spec)
    def __getattr__(self, name):
        return getattr(self.network, name)
    def {call}(self, *arguments):
        if self.network.now_ns() < 1_000_000 and not arguments:
            return self.network.{call}()
        {does}
def build(spec):
    return Changed(spec)
"""


@pytest.mark.parametrize(
    ("call", "does", "says"),
    [
        ("link_state", "return None", "TypeError: 'NoneType' object is not iterable ("),
        ("link_state", "raise SystemExit", "SystemExit (strange"),
        ("link_state", "return [1]", "AttributeError: 'int' object has no attribute 'src' ("),
        ("usage", "raise KeyError('bs')", "KeyError: 'bs' (strange"),
        ("usage", "return 7", "TypeError: 'int' object is not iterable ("),
        ("positions", "return 7", "AttributeError: 'int' object has no attribute 'items' ("),
        ("positions", "return {'bs': 1}", "TypeError: 'int' object is not iterable ("),
    ],
)
def test_what_a_network_does_amid_a_round_names_the_scenario(
    call: str, does: str, says: str, tmp_path: Path
) -> None:
    module = write_module(tmp_path, "strange", CHANGED.format(call=call, does=does))
    study = Study(studies.config(scenario=f"{module}:build", rounds=1))
    with pytest.raises(ScenarioFailed) as caught:
        study.run(out="run")
    assert str(caught.value).startswith(f"scenario {module}:build, round 0: ")
    assert says in str(caught.value)
