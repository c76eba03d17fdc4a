"""Planning needs neither torch nor ns-3: it starts quickly and can be used without either."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import planning_alone

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCHEMES = sorted(PROJECT["entry-points"]["collapipe_ns3.schemes"])

#: What planning consists of: packages with all their modules, and single modules.
PLANNING = (
    "collapipe_ns3.schemes",
    "collapipe_ns3.dssra",
    "collapipe_ns3.prediction",
    "collapipe_ns3.eventgraph",
    "collapipe_ns3.costs.predicted",
    "collapipe_ns3.costs.workload",
    "collapipe_ns3.observed",
    "collapipe_ns3.plan",
    "collapipe_ns3.schedule",
)


def modules(name: str) -> list[str]:
    """A package and all modules below it, or a single module."""
    path = ROOT.joinpath(*name.split("."))
    if not path.is_dir():
        assert path.with_suffix(".py").exists(), f"no module {name}"
        return [name]
    inside = sorted(path.rglob("*.py"))
    parts = [each.relative_to(ROOT).with_suffix("").parts for each in inside]
    return [".".join(each).removesuffix(".__init__") for each in parts]


def alone(modules: list[str], planning: list[str]) -> subprocess.CompletedProcess[str]:
    """Imports modules and plans with schemes in a process without torch and ns-3."""
    command = [sys.executable, planning_alone.__file__, json.dumps(modules), json.dumps(planning)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_all_modules_of_planning_and_every_scheme_work_without_torch_and_ns3() -> None:
    everything = [module for name in PLANNING for module in modules(name)]
    assert len(everything) > 40
    done = alone(everything, SCHEMES)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["clusters"] == {name: 1 if name == "oracle" else 2 for name in SCHEMES}
    assert (found["asked"], found["loaded"]) == ([], [])


def test_the_check_finds_an_import_of_torch() -> None:
    done = alone(["collapipe_ns3.engine.pipeline_step"], [])
    assert done.returncode == 1
    assert "planning imports torch" in done.stderr
