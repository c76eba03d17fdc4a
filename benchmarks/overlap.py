"""How well torch and ns-3 overlap: a co-simulation against the larger of its two halves alone.

Computation and network are of like size and both take part in every step: while torch computes,
ns-3 simulates as many events as take it as long. The two halves and the whole are taken in turn,
and the median of the ratios is told. It means something only where two cores are free: on a busy
machine two processes that share nothing would not overlap either.
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
EVENTS = 40_000  # a microsecond of simulated time apart
STEP_NS = (EVENTS + 2) * 1000
WIDTH = 256


def measure() -> dict[str, float]:
    """`overlap_ratio`, and the seconds of wall time that it is made of."""
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
    """Wall time of all steps, each so many matrix products beside so many events."""
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
    _wall_s(trial, EVENTS)  # everything is loaded and warm from here on
    return max(round(trial * _wall_s(0, EVENTS) / _wall_s(trial, 0)), 1)


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:8.3f}")
