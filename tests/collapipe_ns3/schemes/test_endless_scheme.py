"""A user's scheme that computes for ever: Ctrl-C and the watchdog end every command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import studies

#: Says by a file that it has begun, then never ends.
SCHEME = """
from pathlib import Path

from collapipe_ns3.schemes.pipeline import PipeLine


class Endless(PipeLine):
    def __init__(self, begun: str, first_round: int = 0) -> None:
        super().__init__(micro_batches=1)
        self.begun, self.first_round = begun, first_round

    def plan(self, round, observation):
        while round >= self.first_round:
            Path(self.begun).touch()
            try:
                sum(range(1000))
            except Exception:
                pass
        return super().plan(round, observation)
"""
FILES = {
    "endless_scheme.py": SCHEME,
    "endless-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: endless\nVersion: 1\n",
    "endless-1.dist-info/entry_points.txt": (
        "[collapipe_ns3.schemes]\nendless = endless_scheme:Endless\n"
    ),
}


def started(
    folder: Path, command: str, *arguments: str, first_round: int = 0
) -> subprocess.Popen[str]:
    for name, text in FILES.items():
        path = folder / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings = {"begun": str(folder / "begun"), "first_round": first_round}
    study = studies.write(folder, scheme={"name": "endless", "settings": settings})
    paths = [str(folder / "packages"), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "collapipe_ns3", command, study, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,  # a terminal tells all processes of a command, as `killpg` does
    )


def wait_for(path: Path, running: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--out", "run"),
        ("plan",),
        ("validate",),
        ("compare", "--schemes", "endless", "--seeds", "1", "--out", "campaign"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_ctrl_c_ends_it_promptly(arguments: tuple[str, ...], tmp_path: Path) -> None:
    running = started(tmp_path, *arguments)
    wait_for(tmp_path / "begun", running)
    began = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "Traceback" not in said
    assert time.monotonic() - began < 30  # wall time of a busy machine; it would be for ever


@pytest.mark.slow
def test_the_watchdog_ends_a_run_and_names_scheme_and_round(tmp_path: Path) -> None:
    running = started(tmp_path, "run", "--out", "run", "--watchdog", "2", first_round=1)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 1, said
    assert "scheme endless, planning round 1: it has not ended after 2 s of wall time" in said
    assert "endless_scheme.py, line" in said
    assert "Traceback" not in said
    assert (tmp_path / "run" / "rounds" / "00000.parquet").exists()
