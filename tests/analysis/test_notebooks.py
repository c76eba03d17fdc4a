"""Every notebook runs from start to end, with a kernel of the environment that runs the tests."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from ipykernel.kernelspec import install
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent.parent / "analysis" / "notebooks"
FILES = sorted(NOTEBOOKS.glob("*.py"))

KERNEL = "collapipe-ns3-tests"

#: The command with which notebooks make the campaign that they share.
CAMPAIGN = re.compile(r"^# !(collapipe-ns3 compare .*--out runs/campaign)$", re.MULTILINE)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The working directory of all notebooks, with the campaign that they share in it."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "notebooks"
    shared.mkdir(exist_ok=True)
    with (shared / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other processes of the tests wait here
        install(kernel_name=KERNEL, prefix=str(shared / "kernels"))
        subprocess.run(campaign().split(), cwd=shared, env=environment(shared), check=True)
    return shared


def environment(folder: Path) -> dict[str, str]:
    """The variables of the kernels, so that they and their commands are of this environment."""
    commands = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PATH": str(folder / "kernels" / "share" / "jupyter"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def campaign() -> str:
    """The command of the shared campaign, which must be the same in every notebook that has it."""
    commands = {found for file in FILES for found in CAMPAIGN.findall(file.read_text())}
    assert len(commands) == 1, f"notebooks make different campaigns in one directory: {commands}"
    return commands.pop()


def test_there_are_notebooks() -> None:
    assert len(FILES) >= 7


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    notebook = jupytext.read(file)
    client = NotebookClient(
        notebook, timeout=240, kernel_name=KERNEL, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    commands = [cell for cell in notebook.cells if cell.source.startswith("!")]
    assert all(
        "error:" not in output.get("text", "").lower()
        for cell in commands
        for output in cell["outputs"]
    )
    pictures = [output for output in shown if "image/png" in output.get("data", {})]
    drawn = [cell for cell in notebook.cells if "figures.draw(" in cell.source]
    assert len(pictures) == len(drawn)
