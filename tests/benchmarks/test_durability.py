"""A few kills and corruptions; `python -m benchmarks.durability` makes many."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("study", "corruptions"), [("tiny", 8), ("levers", 0)])
def test_kills_and_damage_leave_the_right_result_or_one_clear_error(
    study: str, corruptions: int
) -> None:
    """In a new process, which forks before any thread was started."""
    counts = ["--kills", "10", "--corruptions", str(corruptions)]
    command = [sys.executable, "-m", "benchmarks.durability", "--study", study, *counts]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 kills" in done.stdout
    assert f"{corruptions} corruptions" in done.stdout
    assert "0 wrong" in done.stdout
