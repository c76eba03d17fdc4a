"""What a run knows about its links: the latest measurements, averaged over rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from collapipe_ns3.nodes import SERVER
from collapipe_ns3.observed import MeasuredLink

#: The weight of the newest round in an average.
_NEWEST = 0.5


@dataclass(frozen=True, slots=True)
class LinkBook:
    """Every link that was ever measured, by its sender and receiver."""

    links: Mapping[tuple[str, str], MeasuredLink] = field(default_factory=dict)

    def sounded(
        self, measured: Iterable[MeasuredLink], lost: Iterable[tuple[str, str]] = ()
    ) -> LinkBook:
        """The book after soundings; `lost` are the links whose sounding did not arrive.

        Soundings are of the round that is being planned, so they replace older measurements, except
        the goodput, which they do not measure. A link in `lost` of which nothing else was
        measured either is entered as silent.
        """
        silent = {pair: MeasuredLink.silent(*pair) for pair in lost}
        fresh = silent | {link.pair: link for link in measured}
        kept = {
            pair: dataclasses.replace(
                link,
                goodput_bps=link.goodput_bps or self._goodput_bps(pair),
            )
            for pair, link in fresh.items()
        }
        return LinkBook({**self.links, **kept})

    def after(self, measured: Iterable[MeasuredLink], passed_s: float) -> LinkBook:
        """The book after a round that took `passed_s` and in which these links were measured.

        Interference, goodput and loss are averaged with what was known, the newest round with a
        weight of 1/2. Gain is averaged in decibels, so that a fall of the gain shows as quickly as
        a rise. SINR is what gain and interference give at the power and
        bandwidth that were measured last. Links that were not measured keep their figures and age.
        """
        aged = {
            pair: dataclasses.replace(link, age_s=link.age_s + passed_s)
            for pair, link in self.links.items()
        }
        return LinkBook({**aged, **{link.pair: self._averaged(link) for link in measured}})

    def without(self, nodes: Container[str]) -> LinkBook:
        """The book without the links of these nodes with the server: their cells have changed."""
        return LinkBook(
            {
                pair: link
                for pair, link in self.links.items()
                if SERVER not in pair or not any(node in nodes for node in pair)
            }
        )

    def _goodput_bps(self, pair: tuple[str, str]) -> float:
        return self.links[pair].goodput_bps if pair in self.links else 0.0

    def _averaged(self, new: MeasuredLink) -> MeasuredLink:
        old = self.links.get(new.pair)
        if old is None or not old.gain > 0:
            return new
        gain = new.gain
        if new.gain > 0:
            gain = old.gain ** (1 - _NEWEST) * new.gain**_NEWEST
        interference = _mean(old.interference_w_hz, new.interference_w_hz)
        # Power and bandwidth are the newest, so SINR changes only by gain over interference.
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
