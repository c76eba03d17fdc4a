"""Interferers on the study's radios: jammers, and background traffic of other people's nodes.

Times are those of the run: an interferer that is switched on during a run stays on in later rounds.
Plain data; nothing here needs ns-3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ns3_scenarios.mobility import Motion, Point, motion_problems
from ns3_scenarios.problem import Problem

#: Where an interferer sends: among devices, or to or from the base stations.
BandName = Literal["d2d", "uplink", "downlink"]
BANDS: tuple[BandName, ...] = ("d2d", "uplink", "downlink")

LARGEST_DATAGRAM_BYTES = 1472  # in a packet of 1500 bytes, after UDP's and IP's headers


@dataclass(frozen=True, slots=True)
class Jammer:
    """White noise over a band of the study, of density power / bandwidth while it is on.

    `channel` is a Wi-Fi channel number or a sub-band of an OFDMA radio; None is Wi-Fi's default
    channel, or the whole band. From `on_s` to `off_s` it is on for the share `duty_cycle` at the
    start of each `period_s`.
    """

    name: str
    position: Point
    tx_power_w: float
    band: BandName = "d2d"
    channel: int | None = None
    duty_cycle: float = 1.0
    period_s: float = 0.01
    on_s: float = 0.0
    off_s: float = math.inf
    motion: Motion | None = None

    @property
    def places(self) -> Mapping[str, Point]:
        """Its node, by name."""
        return {self.name: self.position}


@dataclass(frozen=True, slots=True)
class Background:
    """A pair of other people's nodes, with datagrams from `src` to `dst` at a constant rate.

    Over Wi-Fi the pair is a cell of its own, which contends with the others on its channel; over
    OFDMA it is a link in a cell of its own, whose scheduler doesn't coordinate with the others.
    `channel` is as for a jammer, but None with OFDMA is the first sub-band. Datagrams that the
    radio can't send in time are dropped.
    """

    name: str
    src: Point
    dst: Point
    tx_power_w: float
    rate_bps: float
    packet_bytes: int = 1200
    band: BandName = "d2d"
    channel: int | None = None
    on_s: float = 0.0
    off_s: float = math.inf

    @property
    def places(self) -> Mapping[str, Point]:
        """Its two nodes, by name: the sender, then the receiver."""
        return {f"{self.name}.src": self.src, f"{self.name}.dst": self.dst}

    @property
    def interval_ns(self) -> int:
        """The time from one datagram to the next."""
        return max(round(8e9 * self.packet_bytes / self.rate_bps), 1)


Interferer = Jammer | Background


def interferer_problems(
    interferers: Sequence[Interferer], taken: Mapping[Point, str], names: Mapping[str, str]
) -> Iterator[Problem]:
    """Everything wrong with interferers whatever the radio, in the form of `checks.problems`.

    `taken` maps the positions, and `names` the names, of the study's nodes to their owners.
    """
    taken, names = dict(taken), dict(names)
    for n, interferer in enumerate(interferers):
        path = f"interferers[{n}]"
        for name, point in interferer.places.items():
            if name in names:
                yield f"{path}.name", f"expected a name of its own: {name!r} is {names[name]}'s"
            if len(point) != 3 or not all(map(math.isfinite, point)):
                yield path, f"expected three finite metres, not {point}"
            elif point in taken:
                yield path, f"expected a place of its own: {taken[point]} is there"
            names.setdefault(name, path)
            taken.setdefault(point, name)
        yield from _common_problems(path, interferer)
        if isinstance(interferer, Jammer):
            yield from _jammer_problems(path, interferer)
        else:
            yield from _background_problems(path, interferer)


def _common_problems(path: str, interferer: Interferer) -> Iterator[Problem]:
    if not 0 < interferer.tx_power_w <= 1e6:
        yield f"{path}.tx_power_w", f"expected watts above 0, not {interferer.tx_power_w}"
    if interferer.band not in BANDS:
        yield f"{path}.band", f"expected {' or '.join(BANDS)}, not {interferer.band!r}"
    if not 0 <= interferer.on_s < 1e9:
        yield f"{path}.on_s", f"expected seconds from 0 up, not {interferer.on_s}"
    if not interferer.off_s > interferer.on_s:
        yield f"{path}.off_s", f"expected a time after on_s, not {interferer.off_s}"


def _jammer_problems(path: str, jammer: Jammer) -> Iterator[Problem]:
    if not 0 < jammer.duty_cycle <= 1:
        yield f"{path}.duty_cycle", f"expected a share above 0, up to 1, not {jammer.duty_cycle}"
    if not 1e-5 <= jammer.period_s <= 1e6:
        yield f"{path}.period_s", f"expected 1e-05 to 1e+06 s, not {jammer.period_s}"
    if jammer.motion is not None:
        yield from motion_problems(f"{path}.motion", jammer.motion)


def _background_problems(path: str, background: Background) -> Iterator[Problem]:
    if not 1 <= background.packet_bytes <= LARGEST_DATAGRAM_BYTES:
        yield (
            f"{path}.packet_bytes",
            f"expected 1 to {LARGEST_DATAGRAM_BYTES}, not {background.packet_bytes}",
        )
    if not 1e-3 <= background.rate_bps <= 1e11:
        yield f"{path}.rate_bps", f"expected bit/s above 0, not {background.rate_bps}"
