"""Observations of networks as unlike as there could be, and of ones with a silent link."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import FrameType

import fleets
import numpy as np

from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Medium, Observation
from ns3_scenarios.numerology import BLOCK_HZ, TTI_S

#: SINR and bit/s/Hz of some of LTE's codes (`ns3_scenarios.radios.lte_codes`).
CODES = ((0.204, 0.15), (0.468, 0.4), (1.41, 0.89), (7.08, 1.72), (39.8, 3.0), (91.2, 4.07))
RADIOS = ("own", "ofdma", "shared", "slotted")

#: What a measurement may show that went wrong.
ODD = (np.nan, np.inf, 0.0, 1e-300, 1e300, -1.0)
FIGURES = ("gain", "interference_w_hz", "sinr", "goodput_bps", "loss", "tx_power_w")


class Steps:
    """A profiler that ends what makes more calls than it may; loops of numpy make some as well."""

    def __init__(self, most: int) -> None:
        self.left = most

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise AssertionError(f"too many steps, at last in {frame.f_code.co_qualname}")


def slotted(names: tuple[tuple[str, ...], ...]) -> tuple[Medium, ...]:
    """Bands that are given out in slots, as the OFDMA radio's are."""

    def band(name: str, pairs: Iterable[tuple[str, str]]) -> Medium:
        return Medium(
            name,
            frozenset(pairs),
            18e6,
            grants=True,
            half_duplex=True,
            slot_s=TTI_S,
            densities=CODES,
            latency_s=0.0,
            repeat_s=8e-3,
            least_hz=BLOCK_HZ,
        )

    cells = [
        band(f"d2d {n}", fleets.inside([control_unit(n), *row])) for n, row in enumerate(names)
    ]
    controls = [control_unit(n) for n in range(len(names))]
    up, down = ((c, SERVER) for c in controls), ((SERVER, c) for c in controls)
    return (*cells, band("up", up), band("down", down))


def observation(
    seed: int, clusters: int, devices: int, radio: str, spread_db: float, odd: float
) -> Observation:
    """Gains over so many dB; the part `odd` of links with a figure that can't be, or unmeasured."""
    rng = np.random.default_rng(seed)
    kind = "own" if radio == "slotted" else radio
    made = fleets.observation(rng, clusters, devices, radio=kind, memory=4.0)
    if radio == "slotted":
        made = replace(made, media=slotted(made.devices))
    bands = {pair: medium for medium in made.media for pair in medium.links}
    links = []
    for link in made.links:
        gain = 10 ** (-rng.uniform(0, spread_db) / 10 - rng.choice([0, 3, 8]))
        medium = bands.get((link.src, link.dst))
        hz = medium.bandwidth_hz if medium else 1e7
        sinr = link.tx_power_w * gain / (link.interference_w_hz * hz)
        goodput = float(rng.choice([0.0, 0.5]) * hz * np.log2(1 + sinr))
        link = replace(link, gain=gain, sinr=sinr, goodput_bps=goodput)
        drawn = rng.random()
        if drawn < odd / 2:
            link = replace(link, **{str(rng.choice(FIGURES)): float(rng.choice(ODD))})
        if not odd / 2 <= drawn < odd:
            links.append(link)
    return replace(made, links=tuple(links))


def silenced(seen: Observation, *pairs: tuple[str, str]) -> Observation:
    """The observation with the gain of these links 200 dB lower."""
    return replace(
        seen,
        links=tuple(
            replace(
                link,
                gain=link.gain * 1e-20,
                sinr=link.sinr * 1e-20,
                goodput_bps=0.0,
            )
            if (link.src, link.dst) in pairs
            else link
            for link in seen.links
        ),
    )
