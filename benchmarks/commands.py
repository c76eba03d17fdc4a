"""The time until a command answers: processor seconds of its process, the smallest of several.

Processor time is used as it hardly depends on the load of the machine, unlike wall time.
"""

from __future__ import annotations

import resource
import subprocess
import sys

REPEATS = 3
COMMANDS = {
    "help": ["--help"],
    "studies": ["studies"],
    "schema": ["schema"],
    "validate": ["validate", "quickstart"],
}


def measure() -> dict[str, float]:
    """Processor seconds of each command; `validate` has a warm ns-3 cache."""
    return {f"command_{name}_s": _least_s(arguments) for name, arguments in COMMANDS.items()}


def _least_s(arguments: list[str]) -> float:
    _processor_s(arguments)  # now bytecode and caches are warm
    return min(_processor_s(arguments) for _ in range(REPEATS))


def _processor_s(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "collapipe_ns3", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:8.3f}")
