"""The contract of plug-ins: bundled schemes fulfil it, and each violation fails its check."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import plugging
import pytest
from typer.testing import CliRunner, Result

from collapipe_ns3 import schemes
from collapipe_ns3.cli.app import app
from collapipe_ns3.contract import Check, run_checks
from collapipe_ns3.contract.scenario import ScenarioContract
from collapipe_ns3.contract.scheme import SchemeContract
from collapipe_ns3.topology.own_scenario import find


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("collapipe", marks=pytest.mark.slow),
        *("local", "oracle", "pipeline", "titanic", "vanilla_fl"),
    ],
)
def test_what_is_bundled_keeps_the_contract(name: str) -> None:
    checks = list(run_checks(SchemeContract(name, schemes.factory(name)).stages()))
    assert [each for each in checks if each.state != "ok"] == []


#: The document's example, with the exchange of the other one on the same page.
WITH_EXCHANGE = """
class OneAfterAnother(Fastest):
    def plan(self, round, observation):
        return one_after_another(super().plan(round, observation))
"""


@pytest.mark.parametrize("scheme", ["Fastest", "OneAfterAnother"])
def test_the_documents_examples_keep_it_too(scheme: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "own-scheme.md").read_text()
    fastest, exchange = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "fastest.py").write_text(f"{fastest}\n{exchange}\n{WITH_EXCHANGE}")
    done = call("check", f"fastest:{scheme}")
    assert done.exit_code == 0, done.output


WRONG_SCHEMES = {
    "settings have types and defaults": """\
    def __init__(self, micro_batches=4):
        super().__init__(micro_batches)
""",
    "has the calls of a scheme": """\
    def memory(self):
        return {}
""",
    "asks for soundings of existing links only": """\
    def sounding(self, observation):
        return [("c0.cu", "c9.d9")]
""",
    "plans for one cluster": """\
    def plan(self, round, observation):
        plan = super().plan(round, observation)
        (pipe,) = plan.clusters[0].pipelines
        return replace(plan, clusters=(replace(plan.clusters[0], pipelines=(
            replace(pipe, micro_batches=4.0),)),))
""",
    "plans for several clusters": """\
    def plan(self, round, observation):
        (devices,) = observation.devices
        return super().plan(round, observation)
""",
    "plans for weak links": """\
    def plan(self, round, observation):
        if any(link.sinr < 1 for link in observation.links):
            raise ArithmeticError
        return super().plan(round, observation)
""",
    "plans for links without measurements": """\
    def plan(self, round, observation):
        observation.links[0]
        return super().plan(round, observation)
""",
    "repeats its plan for the same observation": """\
    made = [2]
    def plan(self, round, observation):
        self.made.append(6 - self.made[-1])
        self.micro_batches = self.made[-1]
        return super().plan(round, observation)
""",
    "does not change its observation": """\
    def plan(self, round, observation):
        observation.profiles.pop("bs", None)
        return super().plan(round, observation)
""",
    "learns from a round": """\
    def learn(self, outcome):
        outcome.duration_s
""",
    "learns from a round in which pipelines failed": """\
    def learn(self, outcome):
        1 / sum(each.fate == "averaged" for each in outcome.pipelines)
""",
    "explains its plan in plain JSON": """\
    def explain(self, outcome):
        return {"seen": {1, 2}}
""",
    "reports energy queues and budgets of existing nodes only": """\
    def energy_queues(self):
        return {"c7.d7": 1.0}
""",
    "keeps in its memory all that its next plan depends on": """\
    def learn(self, outcome):
        self.micro_batches = 2
""",
    "runs with the same results twice": """\
    learned = []
    def learn(self, outcome):
        self.learned.extend([1] * outcome.round)
    def plan(self, round, observation):
        self.micro_batches = 2 if round and self.learned else 4
        return super().plan(round, observation)
""",
    "resumes after a stop with the same results": """\
    rounds = 0
    def learn(self, outcome):
        self.rounds += 1
    def memory(self):
        return {"rounds": self.rounds}
    def remember(self, memory):
        self.rounds = {0: 0, 1: 1}[memory["rounds"]]
""",
}


def failed(checks: list[Check]) -> list[str]:
    return [each.name for each in checks if each.state == "failed"]


@pytest.mark.parametrize("breached", WRONG_SCHEMES)
def test_each_breach_of_a_scheme_fails_the_check_for_it(breached: str, tmp_path: Path) -> None:
    module = plugging.install(tmp_path, WRONG_SCHEMES[breached]).stem
    contract = SchemeContract("mine", importlib.import_module(module).Mine)
    checks = list(run_checks(contract.stages()))
    assert failed(checks) == [breached], checks
    (note,) = [each.note for each in checks if each.state == "failed"]
    assert note


def test_a_scheme_that_computes_forever_fails(tmp_path: Path) -> None:
    code = "    def plan(self, round, observation):\n        while True: pass\n"
    module = plugging.install(tmp_path, code).stem
    contract = SchemeContract("mine", importlib.import_module(module).Mine, watchdog_s=1.0)
    assert failed(list(run_checks(contract.stages()))) == ["plans for one cluster"]


SCENARIO = """
from ns3_scenarios import network, runtime
class Changed:
    def __init__(self, spec):
        self.network = network.build(spec)
    def __getattr__(self, name):
        return getattr(self.network, name)
{calls}
def build(spec{settings}):
    made = Changed(spec)
{after}
    return made
"""

WRONG_SCENARIOS = {
    "settings have types and defaults": {"settings": ", delay_ms=3"},
    "builds a network that carries data on every link": {
        "calls": "    def transfer(self, src, dst, size_bytes, kind=''):\n"
        "        raise KeyError(dst)"
    },
    "begins at time 0": {"after": "    made.network.advance(1000)"},
    "refuses unknown nodes": {
        "calls": "    def transfer(self, src, dst, size_bytes, kind=''):\n"
        "        dst = 'c0.cu' if dst == 'nobody' else dst\n"
        "        return self.network.transfer(src, dst, size_bytes, kind)"
    },
    "sends multicasts as one transmission, or has none": {
        "calls": "    def multicast(self, src, receivers, size_bytes, kind=''):\n"
        "        return [self.network.transfer(src, dst, size_bytes, kind) for dst in receivers]"
    },
    "builds the same network for the same seed": {
        "calls": "    sizes = [1]\n"
        "    def transfer(self, src, dst, size_bytes, kind=''):\n"
        "        self.sizes.append(self.sizes[-1] + 1000)\n"
        "        return self.network.transfer(src, dst, size_bytes + self.sizes[-1], kind)"
    },
    "can be closed twice": {
        "calls": "    def close(self):\n        self.network.close()\n        del self.network"
    },
    "runs rounds with the same results twice": {"after": "    assert not spec.start_ns"},
}


@pytest.mark.parametrize("breached", ["", *WRONG_SCENARIOS])
def test_each_breach_of_a_scenario_fails_the_check_for_it(breached: str, tmp_path: Path) -> None:
    parts = {"calls": "", "settings": "", "after": "", **WRONG_SCENARIOS.get(breached, {})}
    module = f"scenario_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{module}.py").write_text(SCENARIO.format(**parts))
    name = f"{module}:build"
    checks = list(run_checks(ScenarioContract(name, find(name)).stages()))
    assert failed(checks) == [breached] * bool(breached), checks


def test_the_command_says_each_check_and_ends_with_1_where_one_failed(tmp_path: Path) -> None:
    plugging.install(tmp_path, WRONG_SCHEMES["plans for one cluster"])
    done = call("check", "mine")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "ok      settings have types and defaults"
    assert "failed  plans for one cluster: scheme mine, planning round 0: " in done.stdout
    assert lines[-1] == "not run resumes after a stop with the same results"
    printed = json.loads(call("check", "mine", "--json").stdout)
    assert (printed["ok"], printed["plugin"]) == (False, "mine")
    assert {each["state"] for each in printed["checks"]} == {"ok", "failed", "not run"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pipelin", "did you mean pipeline?"),
        ("no_such_module_at_all:Mine", "neither installed nor in the working directory"),
        ("collapipe_ns3.schemes.pipeline:PipeLin", "did you mean PipeLine?"),
    ],
)
def test_a_plug_in_that_is_not_there_is_exit_code_2(name: str, says: str) -> None:
    done = call("check", name, "--json")
    assert done.exit_code == 2
    assert says in json.loads(done.stdout)["error"]
    assert says in done.stderr
