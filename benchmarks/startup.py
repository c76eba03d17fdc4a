"""The start-up time of ns-3: `from ns import ns`, compared with this project's way of loading it.

`startup_ratio` is the wall time of `from ns import ns` over the time from the start of a process
to the first simulated event of an ns3_scenarios network, with a warm cache. Each is measured in new
processes, alternately, and the medians are compared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 3

PLAIN = """
import time
started = time.monotonic()
from ns import ns
print(time.monotonic() - started)
"""

# All processes share the monotonic clock, so the parent process can pass the time of the start.
OURS = """
import time
from ns3_scenarios import network
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, ScenarioSpec

device = NodeSpec("c0.d0", (50.0, 8.0, 1.5), 0.1, 0.5)
cluster = ClusterSpec(cu=NodeSpec("c0.cu", (50.0, 0.0, 1.5), 0.1, 0.5), devices=(device,))
built = network.build(ScenarioSpec(NodeSpec("bs", (0.0, 0.0, 10.0), 1.0, 1.0), (cluster,)))
built.advance(1)
print(time.monotonic())
"""


def measure() -> dict[str, float]:
    """The ratio, and the two medians (s) that it is computed from."""
    _first_event_s()  # now the cache is warm
    pairs = [(_plain_import_s(), _first_event_s()) for _ in range(REPEATS)]
    plain_s, ours_s = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "startup_ratio": plain_s / ours_s,
        "startup_plain_import_s": plain_s,
        "startup_first_event_s": ours_s,
    }


def _plain_import_s() -> float:
    return float(_output(PLAIN))


def _first_event_s() -> float:
    started = time.monotonic()
    return float(_output(OURS)) - started


def _output(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:8.3f}")
