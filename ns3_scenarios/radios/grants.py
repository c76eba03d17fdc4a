"""The bandwidths that a plan has granted, checked against the bands that they are parts of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from ns3_scenarios.radios.stack import RadioBand
from ns3_scenarios.scenario import Pair

#: Joins the receivers of a multicast in the `dst` of a grant, as `bridge.network.group_name` does.
GROUP_SIGN = "+"


class Grant(Protocol):
    """What a plan gives one directed link; None leaves a quantity as it is."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str:
        """A node, or the receivers of a multicast, joined by `GROUP_SIGN`."""
        ...

    @property
    def tx_power_w(self) -> float | None: ...
    @property
    def bandwidth_hz(self) -> float | None: ...


class GrantedBandwidths:
    """The bandwidths granted so far, so that no band's grants exceed it."""

    def __init__(self, bands: Iterable[RadioBand]) -> None:
        self._band = {pair: band for band in bands if band.grants for pair in band.links}
        self._granted_hz: dict[Pair, float] = {}

    def with_grants(self, grants: Sequence[Grant]) -> dict[Pair, float]:
        """All granted bandwidths with these; `ValueError` where they exceed their band."""
        granted = dict(self._granted_hz)
        for grant in grants:
            if grant.bandwidth_hz is None:
                continue
            most_hz = self.band_of(grant.src, grant.dst).bandwidth_hz
            if not 0 < grant.bandwidth_hz <= most_hz * (1 + 1e-9):
                raise ValueError(
                    f"{grant.src} → {grant.dst}: expected a bandwidth above 0 and up to "
                    f"{most_hz:g} Hz, not {grant.bandwidth_hz:g} Hz"
                )
            granted[grant.src, grant.dst] = grant.bandwidth_hz
        touched = {band.name: band for band in (self.band_of(g.src, g.dst) for g in grants)}
        for band in touched.values():
            _check(band, {p: hz for p, hz in granted.items() if self.band_of(*p) is band})
        return granted

    def band_of(self, src: str, dst: str) -> RadioBand:
        """The band of a link, or of a group of receivers, which are all in one."""
        first = dst if (src, dst) in self._band else dst.split(GROUP_SIGN)[0]
        return self._band[src, first]

    def take(self, granted: Mapping[Pair, float]) -> None:
        """Makes what `with_grants` returned the granted bandwidths."""
        self._granted_hz = dict(granted)


def _check(band: RadioBand, shares: Mapping[Pair, float]) -> None:
    if sum(shares.values()) > band.bandwidth_hz * (1 + 1e-9):
        each = ", ".join(f"{src} → {dst} {hz:g}" for (src, dst), hz in shares.items())
        raise ValueError(
            f"{band.name}: expected grants of {band.bandwidth_hz:g} Hz at most, as no resource "
            f"block is granted twice, not {sum(shares.values()):g} Hz ({each})"
        )
