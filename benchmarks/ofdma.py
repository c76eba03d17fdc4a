"""The speed of the OFDMA radio: payload per wall second relative to ns-3's LTE, and its scaling.

Both radios carry the same bytes from four control units at the same positions, with the same power,
over the same 100 resource blocks, of which each link has a quarter, and so at the same SINR. Set-up
is not included. The scaling figures are wall seconds per simulated second, all uplinks busy.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace

from bridge import loop as simulated
from ns3_scenarios import network
from ns3_scenarios.scenario import ClusterSpec, LteSpec, NodeSpec, OfdmaSpec, ScenarioSpec

REPEATS = 5
UPLINKS = 4
MESSAGES = 4
BYTES = 2_000_000  # of each uplink, compared with LTE
DIRECT_BYTES = 40_000_000  # of each uplink; fewer would be sent too fast to be timed
SCALING = (1, 4, 16, 64)
SCALING_NS = 2_000_000_000


def scenario(uplinks: int, d2e: LteSpec | OfdmaSpec) -> ScenarioSpec:
    """Control units on a line, 150 m away, where neither radio uses its highest or lowest code."""

    def cluster(n: int) -> ClusterSpec:
        return ClusterSpec(
            cu=NodeSpec(f"c{n}.cu", (150.0, 0.5 * n, 1.5), 0.1, 0.5),
            devices=(NodeSpec(f"c{n}.d0", (155.0, 0.5 * n, 1.5), 0.1, 0.5),),
        )

    return ScenarioSpec(
        bs=NodeSpec("bs", (0.0, 0.0, 1.5), 1.0, 1.0),
        clusters=tuple(cluster(n) for n in range(uplinks)),
        d2d=OfdmaSpec(),  # takes no time while nothing is sent
        d2e=d2e,
    )


def measure() -> dict[str, float]:
    """Ratios to LTE, medians of runs that alternate, and the wall time with 1 to 64 links."""
    lte = scenario(UPLINKS, LteSpec())
    tcp = scenario(UPLINKS, OfdmaSpec(transport="tcp"))
    direct = replace(tcp, d2e=OfdmaSpec())
    rates = [
        (_mb_a_second(lte, BYTES), _mb_a_second(tcp, BYTES), _mb_a_second(direct, DIRECT_BYTES))
        for _ in range(REPEATS)
    ]
    return {
        "ofdma_vs_lte_ratio": statistics.median(ours / theirs for theirs, ours, _ in rates),
        "ofdma_direct_vs_lte_ratio": statistics.median(ours / theirs for theirs, _, ours in rates),
        **{
            f"ofdma_scaling_{n}": statistics.median(_wall_a_second(n) for _ in range(REPEATS))
            for n in SCALING
        },
    }


def _mb_a_second(spec: ScenarioSpec, size_bytes: int) -> float:
    """Payload in MB per wall second, all uplinks together."""
    net = network.build(spec)

    async def main() -> float:
        began = time.perf_counter()
        share = size_bytes // MESSAGES
        deliveries = await asyncio.gather(
            *(
                net.transfer(cluster.cu.name, "bs", share)
                for _ in range(MESSAGES)
                for cluster in spec.clusters
            )
        )
        seconds = time.perf_counter() - began
        assert {delivery.outcome for delivery in deliveries} == {"delivered"}
        return UPLINKS * size_bytes / 1e6 / seconds

    try:
        return simulated.run(net, main())
    finally:
        net.close()


def _wall_a_second(uplinks: int) -> float:
    """Wall seconds per simulated second with this number of busy uplinks."""
    net = network.build(scenario(uplinks, OfdmaSpec()))

    async def main() -> float:
        busy = [net.transfer(f"c{n}.cu", "bs", 10**9) for n in range(uplinks)]
        began = time.perf_counter()
        await asyncio.sleep(SCALING_NS * 1e-9)
        seconds = time.perf_counter() - began
        for transfer in busy:
            transfer.cancel()
        return seconds / (SCALING_NS * 1e-9)

    try:
        return simulated.run(net, main())
    finally:
        net.close()


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:28} {value:10.4f}")
