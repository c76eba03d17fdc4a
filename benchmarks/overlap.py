"""The overlap of torch and ns-3: the time of a co-simulation over that of its slower half alone.

In every step, torch computes while ns-3 simulates a number of events that takes about as long. The
two halves and the whole are measured alternately, and the median ratio is reported. It needs two
idle cores: on a busy machine, even independent processes would not overlap.
"""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks.ns3_clock import BareClock
from bridge import loop as simulated
from bridge.compute import TorchThread

REPEATS = 9
STEPS = 20
EVENTS = 40_000  # one per microsecond of simulated time
STEP_NS = (EVENTS + 2) * 1000
WIDTH = 256


def measure() -> dict[str, float]:
    """`overlap_ratio`, and the wall times (s) that it is computed from."""
    products = _products_as_long_as_the_events()
    runs = [
        (_wall_s(0, EVENTS), _wall_s(products, 0), _wall_s(products, EVENTS))
        for _ in range(REPEATS)
    ]
    ratios = [both_s / max(ns3_s, torch_s) for ns3_s, torch_s, both_s in runs]
    ns3_s, torch_s, both_s = (statistics.median(side) for side in zip(*runs, strict=True))
    return {
        "overlap_ratio": statistics.median(ratios),
        "overlap_ns3_s": ns3_s,
        "overlap_torch_s": torch_s,
        "overlap_both_s": both_s,
    }


def _wall_s(products: int, events: int) -> float:
    """Wall time of all steps, each with this many matrix products and events at the same time."""
    clock = BareClock()
    matrix = torch.rand(WIDTH, WIDTH) / WIDTH

    def work() -> float:
        result = matrix
        for _ in range(products):
            result = result @ matrix
        return float(result.sum())

    async def main() -> float:
        with TorchThread() as thread:
            began = time.perf_counter()
            for _ in range(STEPS):
                clock.load(events)
                await thread.run(work, STEP_NS)
            return time.perf_counter() - began

    try:
        return simulated.run(clock, main())
    finally:
        clock.close()


def _products_as_long_as_the_events() -> int:
    trial = 100
    _wall_s(trial, EVENTS)  # now everything is loaded and warm
    return max(round(trial * _wall_s(0, EVENTS) / _wall_s(trial, 0)), 1)


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:8.3f}")
