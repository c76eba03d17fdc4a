"""The figure in docs/radio.md: goodput over SINR, compared with Shannon's bound and ns-3's LTE.

`python -m benchmarks.radio_figure docs/radio.png`. One control unit sends to a base station 40 m
away, alone on 100 resource blocks, at powers that give SINRs from −5 to 30 dB, as measured by the
receiver.
"""

from __future__ import annotations

import argparse
import math
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from bridge import loop as simulated
from ns3_scenarios import network
from ns3_scenarios.scenario import ClusterSpec, LteSpec, NodeSpec, OfdmaSpec, ScenarioSpec

BAND_HZ = 18e6
UPLINK = ("c0.cu", "bs")
LASTING_S = 1.5  # approximate duration of a transfer
STACKS: dict[str, LteSpec | OfdmaSpec] = {
    "OFDMA, direct": OfdmaSpec(transport="direct"),
    "OFDMA, TCP": OfdmaSpec(transport="tcp"),
    "ns-3's LTE, TCP": LteSpec(),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A power for one link."""

    src: str
    dst: str
    tx_power_w: float | None
    bandwidth_hz: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """The measurements of one transfer."""

    sinr_db: float
    goodput_bps: float


def scenario(d2e: LteSpec | OfdmaSpec) -> ScenarioSpec:
    cluster = ClusterSpec(
        cu=NodeSpec("c0.cu", (40.0, 0.0, 1.5), 1.0, 0.5),
        devices=(NodeSpec("c0.d0", (45.0, 0.0, 1.5), 0.1, 0.5),),
    )
    return ScenarioSpec(NodeSpec("bs", (0.0, 0.0, 1.5), 1.0, 1.0), (cluster,), OfdmaSpec(), d2e)


def measured(d2e: LteSpec | OfdmaSpec, dbm: float) -> Point:
    """A transfer at this power, and the SINR that was measured before it."""
    with closing(network.build(scenario(d2e))) as net:
        net.apply([Grant(*UPLINK, 10 ** (dbm / 10 - 3))])

        async def carried() -> Point:
            await net.sound([UPLINK])
            link = next(each for each in net.link_state() if (each.src, each.dst) == UPLINK)
            most_bps = BAND_HZ * math.log2(1 + link.sinr)
            delivery = await net.transfer(*UPLINK, round(0.5 * most_bps * LASTING_S / 8))
            seconds = (delivery.end_ns - delivery.start_ns) * 1e-9
            return Point(10 * math.log10(link.sinr), 8 * delivery.size_bytes / seconds)

        return simulated.run(net, carried())


def sweep(count: int) -> dict[str, list[Point]]:
    """Measures every stack at powers that give −5 to 30 dB."""
    high = measured(replace(OfdmaSpec(), transport="direct"), 20.0).sinr_db
    powers_dbm = 20.0 - high + np.linspace(-5, 30, count)
    return {
        name: [measured(spec, float(dbm)) for dbm in powers_dbm] for name, spec in STACKS.items()
    }


def figure(curves: dict[str, list[Point]], path: str) -> None:
    """Efficiency under Shannon's bound, and goodput as a share of it."""
    from matplotlib import pyplot

    made, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    over_db = np.linspace(-6, 31, 100)
    left.plot(over_db, np.log2(1 + 10 ** (over_db / 10)), "k--", label="Shannon")
    for (name, points), style in zip(curves.items(), ("o-", "s-", "^-"), strict=True):
        sinr_db = [point.sinr_db for point in points]
        per_hz = np.array([point.goodput_bps for point in points]) / BAND_HZ
        bound = np.log2(1 + 10 ** (np.array(sinr_db) / 10))
        left.plot(sinr_db, per_hz, style, ms=3, label=name)
        right.plot(sinr_db, per_hz / bound, style, ms=3, label=name)
    left.set(xlabel="measured SINR / dB", ylabel="goodput / bit/s/Hz", ylim=(0, 10.5))
    right.set(xlabel="measured SINR / dB", ylabel="goodput over Shannon's bound", ylim=(0, 1))
    left.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    made.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description="Goodput over SINR of OFDMA and LTE uplinks.")
    parser.add_argument("file", help="the figure, such as docs/radio.png")
    parser.add_argument("--points", type=int, default=15)
    arguments = parser.parse_args()
    curves = sweep(arguments.points)
    for name, points in curves.items():
        print(name)
        for point in points:
            print(f"  {point.sinr_db:6.2f} dB  {point.goodput_bps / 1e6:7.2f} Mbit/s")
    figure(curves, arguments.file)


if __name__ == "__main__":
    main()
