"""Ctrl-C on a campaign: a message says what is kept and how to continue it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import studies

from run_directory.whole import rounds_done


def start(study: str, out: Path, *options: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, which is what a terminal interrupts."""
    command = [sys.executable, "-m", "collapipe_ns3", "compare", study, "--out", str(out)]
    return subprocess.Popen(
        [*command, "--schemes", "pipeline,vanilla_fl", "--seeds", "1", "--jobs", "2", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(running: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    while not happened():
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)


def whole_rounds(out: Path) -> list[Path]:
    """The files of rounds that count; one more may have been written in part."""
    return [
        place / "rounds" / f"{number:05}.parquet"
        for place in out.glob("cells/[!.]*")
        for number in range(rounds_done(place))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("of_all", [True, False], ids=["the group", "the command alone"])
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path: Path, of_all: bool) -> None:
    out = tmp_path / "out"
    study = studies.write(tmp_path, rounds=200)
    running = start(study, out)
    wait_for(running, lambda: len({path.parent for path in whole_rounds(out)}) == 2)
    (os.killpg if of_all else os.kill)(running.pid, signal.SIGINT)
    _, message = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in message
    lines = message.splitlines()
    assert lines[0] == "2 runs; 0 were already there"
    assert lines[-2] == (
        f"stopped after 0 of 2 runs; {out} holds them and the rounds so far of 2 more; "
        "continue with:"
    )
    again = shlex.split(lines[-1])
    assert again[:3] == ["collapipe-ns3", "compare", study]
    assert again[3:5] == ["--out", str(out)]
    before = {path: path.stat().st_mtime_ns for path in whole_rounds(out)}
    assert len(before) >= 2

    going_on = start(study, out, "--json")
    wait_for(going_on, lambda: len(whole_rounds(out)) > len(before) + 2)
    os.killpg(going_on.pid, signal.SIGINT)
    facts = json.loads(going_on.communicate(timeout=60)[0])
    assert facts["error"] == "interrupted"
    assert (facts["cells"], facts["cells_done"], facts["cells_begun"]) == (2, 0, 2)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


@pytest.mark.slow
def test_ctrl_c_before_the_first_round_is_as_quiet(tmp_path: Path) -> None:
    """The fork server is still loading torch and ns-3 then."""
    out = tmp_path / "out"
    running = start(studies.write(tmp_path), out)
    wait_for(running, lambda: (out / ".lock").exists())
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGINT)
    _, message = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in message
    assert "stopped after 0 of 2 runs; nothing is left of it; continue with:" in message
