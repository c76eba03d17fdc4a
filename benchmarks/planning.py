"""The time to plan a round: for a hundred clusters of ten devices, and for `quickstart`.

The large fleet is synthetic (`benchmarks.longterm`), with all links measured; the links of
`quickstart` are sounded in ns-3. Each plan is the first of a new scheme, which has no earlier plan
to start from. Times are of a process that uses one core.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

from benchmarks.longterm import World
from collapipe_ns3 import Study
from collapipe_ns3.observed import Observation
from collapipe_ns3.schemes.collapipe import CollaPipe

CLUSTERS, DEVICES, BLOCKS = 100, 10, 24
REPEATS = 5


def measure() -> dict[str, float]:
    """Seconds for the large fleet, milliseconds for `quickstart`; medians."""
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.planning"],
        env=os.environ | alone,
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def measure_here() -> dict[str, float]:
    """The same times, measured in this process with as many cores as it uses."""
    world = World(seed=1, clusters=CLUSTERS, devices=DEVICES).observation()
    large = replace(world, model=replace(world.model, blocks=world.model.blocks[:1] * BLOCKS))
    run = Study.load("quickstart", scheme="collapipe").prepare()
    _, links = run.try_out()
    return {
        "plan_1000_devices_s": _seconds(large),
        "plan_quickstart_ms": _seconds(run.observation(links)) * 1e3,
    }


def _seconds(observation: Observation) -> float:
    """The median over several new schemes, with warm caches."""
    CollaPipe().plan(0, observation)
    taken = []
    for _ in range(REPEATS):
        scheme = CollaPipe()
        began = time.process_time()
        scheme.plan(0, observation)
        taken.append(time.process_time() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    print(json.dumps(measure_here()))
