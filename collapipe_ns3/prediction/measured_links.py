"""Puts measured links into arrays, and guesses what was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.nodes import SERVER
from collapipe_ns3.observed import MeasuredLink, Medium, Observation
from collapipe_ns3.prediction.arrays import Array, Mask
from collapipe_ns3.prediction.directions import Pair, Places
from collapipe_ns3.prediction.divergence import loss_epsilon
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.links import SLOTS_LOST, Links
from collapipe_ns3.prediction.reach import is_measured
from collapipe_ns3.prediction.transfer_services import Service, link_name

#: Where nothing at all was measured, a link is taken to be a poor one, so that plans will hold.
_UNKNOWN_SINR = 1.0
_UNKNOWN_EFFICIENCY = 0.5
_UNKNOWN_HZ = 1e7

#: What a transfer takes at first on a link in no medium: this latency keeps micro-batches few.
_UNKNOWN_SERVICE = Service(latency_s=5e-3)

#: Goodput over Shannon's bound: above this it is no measurement.
_MOST_EFFICIENT = 1e3

#: Below 1, at which a link would carry the same in any part of the band.
_MOST_SPREAD = 0.9


@dataclass(frozen=True, slots=True)
class _LinkFigures:
    """The figures of one link, as `Links` has them; nan where nothing was measured."""

    snr: float
    efficiency: float
    whole_efficiency: float
    latency: float
    epsilon: float
    duty: float
    natural_hz: float


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of all links of a direction; nan where nothing was measured."""

    snr: Array
    efficiency: Array
    whole_efficiency: Array
    latency: Array
    epsilon: Array
    duty: Array
    natural_hz: Array

    @classmethod
    def unmeasured(cls, shape: tuple[int, ...]) -> _Figures:
        """Figures of links of which nothing was measured."""
        return cls(*(np.full(shape, np.nan) for _ in range(7)))

    def put(self, at: tuple[int, ...], link: _LinkFigures) -> None:
        """Puts the figures of one link in its place."""
        self.snr[at] = link.snr
        self.efficiency[at] = link.efficiency
        self.whole_efficiency[at] = link.whole_efficiency
        self.latency[at] = link.latency
        self.epsilon[at] = link.epsilon
        self.duty[at] = link.duty
        self.natural_hz[at] = link.natural_hz

    def completed(self, power_w: Array, medium: Medium | None) -> _Figures:
        """With guesses in the place of what was not measured.

        A link not measured has the gain of its other direction, or else the worst of its cluster,
        or else the worst of all. Where nothing was measured it is taken to be a poor one.
        """
        snr, efficiency, whole = self.snr, self.efficiency, self.whole_efficiency
        natural_hz = _or_worst(self.natural_hz, medium.bandwidth_hz if medium else _UNKNOWN_HZ)
        if snr.ndim == 3:
            snr = np.where(np.isnan(snr), snr.swapaxes(1, 2), snr)
            efficiency = np.where(np.isnan(efficiency), efficiency.swapaxes(1, 2), efficiency)
            whole = np.where(np.isnan(whole), whole.swapaxes(1, 2), whole)
        if np.isnan(snr).all():
            snr = _UNKNOWN_SINR * natural_hz / power_w
        return replace(
            self,
            snr=_or_worst(snr, np.nan),
            efficiency=_or_worst(efficiency, _UNKNOWN_EFFICIENCY),
            whole_efficiency=_or_worst(whole, _UNKNOWN_EFFICIENCY),
            natural_hz=natural_hz,
        )


class LinkReader:
    """Reads the links of an observation, corrected by what was learned from earlier rounds.

    `places` are the nodes of the clusters that take part, `wire_epsilon` the distortion by the
    format of tensors on the air.
    """

    def __init__(
        self, observation: Observation, knowledge: Knowledge, places: Places, wire_epsilon: float
    ) -> None:
        self.measured = {(link.src, link.dst): link for link in observation.links}
        self.media = observation.media
        self.knowledge = knowledge
        self.places = places
        self.wire_epsilon = wire_epsilon

    def medium_of(self, src: str, dst: str) -> str:
        """The name of a link's medium; the sender's where the link is in none."""
        medium = self._medium((src, dst))
        return medium.name if medium else src

    def _medium(self, pair: Pair) -> Medium | None:
        return next((medium for medium in self.media if pair in medium.links), None)

    def overhears(self, names: Sequence[Sequence[str]], shape: tuple[int, int]) -> Mask:
        """Which nodes receive whatever is sent over their cluster's medium."""
        found = np.zeros(shape, dtype=bool)
        for cluster, row in enumerate(names):
            if medium := self._medium((row[0], row[1])):
                found[cluster, : len(row)] = [name in medium.overhear for name in row]
        return found

    def uplinks(self, controls: Sequence[str], power_w: Array) -> Links:
        """The uplinks of these control units, whose greatest powers are `power_w` (P,)."""
        links = self._edge([(control, SERVER) for control in controls], power_w)
        return _spread_out(links, power_w, len(controls))

    def downlinks(self, controls: Sequence[str], power_w: float) -> Links:
        """The downlinks to these control units. The base station's power is for its whole band."""
        powers_w = np.full(len(controls), power_w)
        return self._edge([(SERVER, control) for control in controls], powers_w)

    def _edge(self, pairs: Sequence[Pair], power_w: Array) -> Links:
        """The links of these pairs, which have the same medium."""
        medium = self._medium(pairs[0])
        fair = 1 / len(pairs) if medium and medium.grants else 1.0
        figures = _Figures.unmeasured((len(pairs),))
        for at, pair in enumerate(pairs):
            figures.put((at,), self._figures(pair, medium, fair))
        measured = ~np.isnan(figures.snr)
        bulk = _bulk([self._service(pair, medium) for pair in pairs])
        # Uplinks and downlinks in one band take turns: grants divide half of it for each.
        both = medium is not None and (pairs[0][1], pairs[0][0]) in medium.links
        band_hz = np.full(len(pairs), _band_hz(medium) / (2 if both else 1))
        return _links(figures.completed(power_w, medium), medium, measured, band_hz, bulk)

    def sidelinks(self, names: Sequence[Sequence[str]], power_w: Array) -> Links:
        """All links inside the clusters; `names` are each cluster's nodes, `power_w` (P, n).

        The media of all clusters are taken to be of the same kind as the first's.
        """
        count, nodes = power_w.shape
        media = [self._medium((row[0], row[1])) for row in names]
        clusters_of = {medium.name: 0 for medium in media if medium}
        for medium in media:
            if medium:
                clusters_of[medium.name] += 1
        figures = _Figures.unmeasured((count, nodes, nodes))
        figures.epsilon[:] = self.wire_epsilon
        for cluster, medium in enumerate(media):
            # That of the medium for all its links; without one each has its own, if any is known.
            service = self._service(("", ""), medium)
            figures.latency[cluster] = service.latency_s + _slot_latency_s(medium)
            figures.duty[cluster] = 1 / service.overhead
        places = self.places
        for src, dst in self.measured:
            if src in places and dst in places and places[src][0] == places[dst][0]:
                cluster, i = places[src]
                link = self._figures((src, dst), media[cluster])
                figures.put((cluster, i, places[dst][1]), link)
        measured = ~np.isnan(figures.snr)
        power = np.broadcast_to(power_w[:, :, None], measured.shape)
        # Clusters share a band that several of them use in equal parts.
        band_hz = np.array(
            [_band_hz(m) / (clusters_of[m.name] if m and m.grants else 1) for m in media]
        )
        figures = figures.completed(power, media[0])
        if media[0] and media[0].grants:
            natural_hz = np.broadcast_to(band_hz[:, None, None], measured.shape)
            figures = replace(figures, natural_hz=natural_hz)
        bulk = _bulk(
            [self._service((row[0], row[1]), m) for row, m in zip(names, media, strict=True)]
        )
        return _links(figures, media[0], measured, band_hz, bulk)

    def _figures(self, pair: Pair, medium: Medium | None, fair: float = 1.0) -> _LinkFigures:
        """What is known of a link; `fair` is the part of the band that its efficiency is for."""
        service = self._service(pair, medium)
        link = self.measured.get(pair)
        latency_s = self.knowledge.latencies.get(pair)
        if latency_s is None:
            latency_s = service.latency_s
            if medium is not None and medium.repeat_s and link is not None:
                latency_s = medium.expected_latency_s(link.sinr)
        found = _LinkFigures(
            snr=np.nan,
            efficiency=np.nan,
            whole_efficiency=np.nan,
            latency=latency_s + _slot_latency_s(medium),
            epsilon=self.wire_epsilon + loss_epsilon(self.knowledge.losses.get(pair, 0.0)),
            duty=1 / service.overhead,
            natural_hz=np.nan,
        )
        if link is None or not is_measured(link):
            return found
        snr = link.gain / link.interference_w_hz
        used_hz = link.tx_power_w * snr / link.sinr
        natural_hz = medium.bandwidth_hz if medium and not medium.grants else used_hz
        if medium is None or not medium.densities:
            part = whole = self._efficiency(pair, link, used_hz, service)
        else:
            usual = medium.efficiency
            learned = self.knowledge.efficiencies.get(pair, usual) / service.overhead
            part, whole = (
                learned * medium.density(sinr) / np.log2(1 + sinr)
                for sinr in (link.tx_power_w * snr / (x * medium.bandwidth_hz) for x in (fair, 1.0))
            )
        return replace(
            found, snr=snr, efficiency=part, whole_efficiency=whole, natural_hz=natural_hz
        )

    def _service(self, pair: Pair, medium: Medium | None) -> Service:
        """The service of the medium, or what to expect of it before anything was sent over it."""
        name = medium.name if medium else link_name(*pair)
        if (known := self.knowledge.services.get(name)) is not None:
            return known
        if medium is None:
            return _usual(list(self.knowledge.services.values()))
        return Service(medium.latency_s, medium.overhead, medium.overhead)

    def _efficiency(
        self, pair: Pair, link: MeasuredLink, used_hz: float, service: Service
    ) -> float:
        """η: what was learned of the time on the air, or else goodput over Shannon's bound."""
        if pair in self.knowledge.efficiencies:
            return self.knowledge.efficiencies[pair] / service.overhead
        efficiency = link.goodput_bps / (used_hz * np.log2(1 + link.sinr))
        return float(efficiency) if 0 < efficiency <= _MOST_EFFICIENT else np.nan


def _usual(services: Sequence[Service]) -> Service:
    """What to expect of a link without a medium: the median of the services seen so far."""
    if not services:
        return _UNKNOWN_SERVICE
    return Service(
        float(np.median([service.latency_s for service in services])),
        float(np.median([service.overhead for service in services])),
        float(np.median([service.bulk for service in services])),
    )


def _bulk(services: Sequence[Service]) -> Array:
    """How many times as long a byte takes if it is sent in bulk."""
    return np.array([service.bulk / service.overhead for service in services])


def _slot_latency_s(medium: Medium | None) -> float:
    """The mean time in seconds that a transfer loses to slots."""
    return SLOTS_LOST * medium.slot_s if medium else 0.0


def _band_hz(medium: Medium | None) -> float:
    return medium.bandwidth_hz if medium else np.inf


def _links(
    figures: _Figures, medium: Medium | None, measured: Mask, band_hz: Array, bulk: Array
) -> Links:
    return Links(
        snr=figures.snr,
        efficiency=figures.efficiency,
        whole_efficiency=figures.whole_efficiency,
        latency=figures.latency,
        epsilon=figures.epsilon,
        duty=figures.duty,
        natural_hz=figures.natural_hz,
        band_hz=band_hz,
        bulk=bulk,
        grants=bool(medium and medium.grants),
        shared=bool(medium and medium.shared),
        half_duplex=bool(medium and medium.half_duplex),
        measured=measured,
        spread=np.zeros(len(measured)),
        slot_s=medium.slot_s if medium else 0.0,
        at_once=bool(medium and medium.at_once),
        replies=medium.replies if medium else 0.0,
    )


def _spread_out(links: Links, power_w: Array, sharing: int) -> Links:
    """The links with their `spread`, from an equal part of the band compared with all of it."""
    if not (links.grants and links.slot_s) or sharing == 1:
        return links
    sinr = power_w * links.snr / links.band_hz
    part = links.efficiency * np.log2(1 + sharing * sinr)
    whole = links.whole_efficiency * np.log2(1 + sinr)
    spread = np.log(part / whole) / np.log(sharing)
    return replace(links, spread=np.clip(spread, 0.0, _MOST_SPREAD))


def _or_worst(values: Array, fallback: float) -> Array:
    """Values with each nan replaced by the least of its cluster, else of all, else `fallback`."""
    if not np.isnan(values).any():
        return values
    filled = np.where(np.isnan(values), np.inf, values)
    least = filled.reshape(len(values), -1).min(-1)
    everywhere = least.min() if np.isfinite(least.min()) else fallback
    least = np.where(np.isfinite(least), least, everywhere)
    shape = (len(values),) + (1,) * (values.ndim - 1)
    return np.where(np.isnan(values), least.reshape(shape), values)
