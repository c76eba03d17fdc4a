"""A few kills and corruptions; `python -m benchmarks.durability` makes many."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_kills_and_damage_leave_the_right_result_or_one_clear_error() -> None:
    """In a new process, which forks before any thread was started."""
    command = [sys.executable, "-m", "benchmarks.durability", "--kills", "10", "--corruptions", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 kills" in done.stdout
    assert "8 corruptions" in done.stdout
    assert "0 wrong" in done.stdout
