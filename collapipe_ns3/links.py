"""What a run knows of its links: what was measured last, averaged over rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from bridge.network import LinkState

#: The weight of the newest round among those before.
_NEWEST = 0.5


#: Gain, interference, SINR, goodput, loss, age and power of a link whose sounding was lost.
_SILENT = (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Link:
    """A measured link as the run remembers it; see `collapipe_ns3.observed.MeasuredLink`."""

    src: str
    dst: str
    gain: float
    interference_w_hz: float
    sinr: float
    goodput_bps: float
    loss: float
    age_s: float
    tx_power_w: float

    @classmethod
    def of(cls, state: LinkState) -> Self:
        """The measurement as plain data."""
        return cls(**{f.name: getattr(state, f.name) for f in dataclasses.fields(cls)})


@dataclass(frozen=True, slots=True)
class LinkBook:
    """All links that were ever measured, by their ends."""

    links: Mapping[tuple[str, str], Link] = field(default_factory=dict)

    def sounded(
        self, measured: Iterable[LinkState], lost: Iterable[tuple[str, str]] = ()
    ) -> LinkBook:
        """With what soundings show. They are of the round that is planned, so they stand alone.

        Of the links in `lost` the sounding never arrived: unless something else was measured, their
        gain is 0 and their loss 1.
        """
        silent = {pair: Link(*pair, *_SILENT) for pair in lost}
        fresh = silent | {(state.src, state.dst): Link.of(state) for state in measured}
        kept = {
            pair: dataclasses.replace(
                link,
                goodput_bps=link.goodput_bps or self._goodput_bps(pair),
            )
            for pair, link in fresh.items()
        }
        return LinkBook({**self.links, **kept})

    def after(self, measured: Iterable[LinkState], passed_s: float) -> LinkBook:
        """After a round: moving averages of what was measured in it, the others older.

        Interference, goodput and loss are averaged with the weight 1/2 for the newest round, and so
        is gain, in decibels: that a link has become poor shows as soon as that it has become good.
        SINR is what gain and interference give at the power and bandwidth measured last.
        """
        aged = {
            pair: dataclasses.replace(link, age_s=link.age_s + passed_s)
            for pair, link in self.links.items()
        }
        fresh = (Link.of(state) for state in measured)
        return LinkBook({**aged, **{(link.src, link.dst): self._averaged(link) for link in fresh}})

    def _goodput_bps(self, pair: tuple[str, str]) -> float:
        return self.links[pair].goodput_bps if pair in self.links else 0.0

    def _averaged(self, new: Link) -> Link:
        old = self.links.get((new.src, new.dst))
        if old is None or not old.gain > 0:
            return new
        gain = new.gain
        if old.gain > 0 and new.gain > 0:
            gain = old.gain ** (1 - _NEWEST) * new.gain**_NEWEST
        interference = _mean(old.interference_w_hz, new.interference_w_hz)
        # Power and bandwidth are the newest, so that only what they are multiplied by changes.
        change = 1.0
        if new.gain > 0 and interference > 0:
            change = (gain / interference) / (new.gain / new.interference_w_hz)
        goodput_bps = old.goodput_bps
        if new.goodput_bps > 0:
            goodput_bps = _mean(old.goodput_bps or new.goodput_bps, new.goodput_bps)
        return dataclasses.replace(
            new,
            gain=gain,
            interference_w_hz=interference,
            sinr=new.sinr * change,
            goodput_bps=goodput_bps,
            loss=_mean(old.loss, new.loss),
        )


def _mean(old: float, new: float) -> float:
    return _NEWEST * new + (1 - _NEWEST) * old
