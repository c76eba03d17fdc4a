"""What fading over time costs: processor time of busy OFDMA links, relative to block fading.

Uplinks to one station share its band, so each has a part of the resource blocks; sidelinks of
clusters in one band all interfere. With `moving`, control units move, so that gains are evaluated
in every TTI; else the environment has a Doppler shift of 5 Hz. Set-up is not included.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace

from bridge import loop as simulated
from ns3_scenarios import network
from ns3_scenarios.channel import Fading, Multipath
from ns3_scenarios.mobility import Trajectory
from ns3_scenarios.scenario import ClusterSpec, NodeSpec, OfdmaSpec, ScenarioSpec

REPEATS = 3
CLUSTERS = (1, 16)
SIMULATED_NS = 1_000_000_000
FADINGS = {
    "clarke": Multipath("clarke", doppler_hz=5.0),
    "tdl": Multipath("tdl-a", 100e-9, 5.0),
}


def scenario(clusters: int, fading: Fading | Multipath, *, moving: bool) -> ScenarioSpec:
    """Clusters on a line; control units 150 m from the station, with a device each."""

    def cluster(n: int) -> ClusterSpec:
        place = (150.0, 20.0 * n, 1.5)
        away = Trajectory(((0.0, *place), (100.0, 650.0, 20.0 * n, 1.5))) if moving else None
        return ClusterSpec(
            cu=NodeSpec(f"c{n}.cu", place, 0.1, 0.5, away),
            devices=(NodeSpec(f"c{n}.d0", (155.0, 20.0 * n, 1.5), 0.1, 0.5),),
        )

    usual = OfdmaSpec()
    radio = replace(usual, propagation=replace(usual.propagation, fading=fading))
    return ScenarioSpec(
        bs=NodeSpec("bs", (0.0, 0.0, 1.5), 1.0, 1.0),
        clusters=tuple(map(cluster, range(clusters))),
        d2d=radio,
        d2e=radio,
    )


def measure() -> dict[str, float]:
    """Ratios, medians of runs that alternate; `up`: uplinks, `side`: sidelinks."""
    found: dict[str, float] = {}
    for tier, name in (("d2e", "up"), ("d2d", "side")):
        for clusters in CLUSTERS:
            for kind, fading in FADINGS.items():
                for moving in (False, True):
                    block = scenario(clusters, Fading(), moving=moving)
                    over_time = scenario(clusters, fading, moving=moving)
                    key = f"fading_{name}_{kind}_{'moving' if moving else 'still'}_{clusters}"
                    found[key] = statistics.median(
                        _seconds(over_time, tier) / _seconds(block, tier) for _ in range(REPEATS)
                    )
    return found


def _seconds(spec: ScenarioSpec, tier: str) -> float:
    """Processor seconds in which all links of the tier are busy for `SIMULATED_NS`."""
    net = network.build(spec)

    async def main() -> float:
        far = "bs" if tier == "d2e" else ""
        busy = [
            net.transfer(each.cu.name, far or each.devices[0].name, 10**9) for each in spec.clusters
        ]
        began = time.process_time()
        await asyncio.sleep(SIMULATED_NS * 1e-9)
        seconds = time.process_time() - began
        for transfer in busy:
            transfer.cancel()
        return seconds

    try:
        return simulated.run(net, main())
    finally:
        net.close()


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:32} {value:8.2f}")
