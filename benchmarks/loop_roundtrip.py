"""The wall time of awaiting one ns-3 event: from the task through loop and ns-3 and back."""

from __future__ import annotations

import statistics
import time

from benchmarks.ns3_clock import BareClock
from bridge import loop as simulated

REPEATS = 5
ROUNDTRIPS = 20_000


def measure() -> dict[str, float]:
    """Microseconds of wall time per awaited ns-3 event, the median of several runs."""
    return {"loop_roundtrip_us": statistics.median(_roundtrip_us() for _ in range(REPEATS))}


def _roundtrip_us() -> float:
    clock = BareClock()

    async def main() -> float:
        began = time.perf_counter()
        for _ in range(ROUNDTRIPS):
            await clock.after(1000)
        return (time.perf_counter() - began) / ROUNDTRIPS * 1e6

    try:
        return simulated.run(clock, main())
    finally:
        clock.close()


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:8.3f}")
