"""No file of a user's is imported in place of a package of this project without being named."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from collapipe_ns3.shadowing import PACKAGES

ROOT = Path(__file__).parents[2]


def started(script: Path, *, cwd: Path, module: bool = False) -> subprocess.CompletedProcess[str]:
    """The script run by Python, or the command line started as a module there."""
    what = ["-m", "collapipe_ns3", "--version"] if module else [str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *what],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_other_packages_are_all_packages_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in found} == {"collapipe_ns3", *PACKAGES}


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("kind", ["file", "package"])
def test_what_hides_a_package_is_named(tmp_path: Path, name: str, kind: str) -> None:
    hiding = tmp_path / f"{name}.py" if kind == "file" else tmp_path / name / "__init__.py"
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text("")
    script = tmp_path / "mine.py"
    script.write_text("from collapipe_ns3 import Study\n")
    for done in (
        started(script, cwd=tmp_path),
        started(script, cwd=tmp_path, module=True),
    ):
        assert done.returncode == 1
        assert f"{hiding} hides the package {name} of collapipe-ns3: rename it" in done.stderr


def test_a_script_of_such_a_name_is_named_too(tmp_path: Path) -> None:
    script = tmp_path / "bridge.py"
    script.write_text("import collapipe_ns3\n")
    done = started(script, cwd=tmp_path)
    assert f"{script} hides the package bridge of collapipe-ns3" in done.stderr


def test_other_files_beside_a_script_hide_nothing(tmp_path: Path) -> None:
    for name in ("plan.py", "schemes.py", "display.py", "config.py"):
        (tmp_path / name).write_text("raise RuntimeError\n")
    script = tmp_path / "mine.py"
    script.write_text(
        "from collapipe_ns3 import Study\nprint(Study.load('quickstart').config.name)"
    )
    done = started(script, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "quickstart\n")
