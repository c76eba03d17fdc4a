"""A small dose of kills and damage; `python -m benchmarks.durability` has the large one."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_kills_and_damage_leave_the_right_result_or_one_clear_error() -> None:
    """In a process of its own, which forks before anything has started threads."""
    command = [sys.executable, "-m", "benchmarks.durability", "--kills", "10", "--corruptions", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 kills" in done.stdout
    assert "8 corruptions" in done.stdout
    assert "0 wrong" in done.stdout
