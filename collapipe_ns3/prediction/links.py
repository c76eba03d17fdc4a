"""Links as measured, as arrays, with guesses where nothing was measured.

A link's model at power p and bandwidth b is r(b, p) = η·b·log2(1 + p·g/(b·n)), from measured gain
g, noise and interference n, and η.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.nodes import SERVER
from collapipe_ns3.observed import MeasuredLink, Medium, Observation
from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.directions import Pair
from collapipe_ns3.prediction.divergence import loss_epsilon
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.reach import is_measured
from collapipe_ns3.prediction.services import Service, link_name

#: What a link is taken for when nothing at all was measured: a poor one, so that plans will hold.
_UNKNOWN_SINR = 1.0
_UNKNOWN_EFFICIENCY = 0.5
_UNKNOWN_HZ = 1e7

#: What a transfer takes on a link in no medium at first: it keeps micro-batches few.
_MOST_EFFICIENT = 1e3  # goodput over Shannon's bound: no measurement shows more than that
_UNKNOWN = Service(latency_s=5e-3)

#: Slots that a transfer loses: half to the wait for the next, half in the last, filled in part.
_SLOTS_LOST = 1.0

#: Short of 1, which is where a link carries the same in any part of the band.
_MOST_SPREAD = 0.9


@dataclass(frozen=True)
class LinkSetting:
    """Power and bandwidth of all links of one direction: (P, n, n) for sidelinks, else (P,)."""

    power_w: Array
    bandwidth_hz: Array

    def copy(self) -> LinkSetting:
        """The same in arrays of its own."""
        return LinkSetting(self.power_w.copy(), self.bandwidth_hz.copy())

    def take(self, rows: Ints) -> LinkSetting:
        """The setting of these clusters."""
        return LinkSetting(self.power_w[rows], self.bandwidth_hz[rows])

    def put(self, rows: Mask, other: LinkSetting) -> LinkSetting:
        """This setting, with the marked clusters' replaced by that of `other`."""
        marked = rows.reshape(-1, *(1,) * (self.power_w.ndim - 1))
        return LinkSetting(
            np.where(marked, other.power_w, self.power_w),
            np.where(marked, other.bandwidth_hz, self.bandwidth_hz),
        )


@dataclass(frozen=True)
class Links:
    """Directed links of one kind: (P, n, n) inside the clusters, (P,) to or from the base station.

    `snr` is g/n in Hz/W. Without grants a link uses `natural_hz`, as the radio has it; with them
    the links of a cluster (or, to the base station, of all clusters) share `band_hz` (P,). `duty`
    is the part of a hold that is on the air; `bulk` (P,) how many times as long bytes in bulk
    take. `measured` marks what was not guessed. `latency` has what is lost to slots of `slot_s` on
    average. `efficiency` holds near a fair part of the band, `whole` where all of it is used.
    Without a grant, part x of the band carries x^(1 − `spread`) of what all of it would, as its
    power is then spread over less; 0 where power is bound to the band. `at_once` and `replies` are
    the medium's.
    """

    snr: Array
    efficiency: Array
    whole: Array
    latency: Array
    epsilon: Array
    duty: Array
    natural_hz: Array
    band_hz: Array
    bulk: Array
    grants: bool
    shared: bool
    half_duplex: bool
    measured: Mask
    spread: Array
    slot_s: float = 0.0
    at_once: bool = False
    replies: float = 0.0

    @property
    def own_latency(self) -> Array:
        """Without what is lost to slots."""
        return np.maximum(self.latency - _SLOTS_LOST * self.slot_s, 0.0)

    @property
    def crowded(self) -> Array:
        """By what part of its hold a link that all others share the band with holds it."""
        return len(self.spread) ** -self.spread if self.shared else np.ones_like(self.spread)

    @property
    def together(self) -> Array:
        """How many times as long a link is on the air while all others share the band with it."""
        if self.shared and (self.at_once or self.slot_s):
            return len(self.spread) * self.crowded
        return np.ones_like(self.spread)

    def seconds_per_byte(self, setting: LinkSetting) -> Array:
        """8/r(b, p) of every link; infinite where there is no power or bandwidth."""
        hz = setting.bandwidth_hz
        with np.errstate(divide="ignore", invalid="ignore"):
            sinr = setting.power_w * self.snr / hz
            rate = self.efficiency * hz * np.log2(1 + sinr)
            return np.where(rate > 0, 8 / rate, np.inf)

    def opened(self) -> Links:
        """These links without grants: they take turns at their whole band."""
        if not self.grants:
            return self
        whole = self.band_hz.reshape(-1, *(1,) * (self.snr.ndim - 1))
        natural_hz = np.broadcast_to(whole, self.snr.shape)
        return replace(
            self, efficiency=self.whole, natural_hz=natural_hz, grants=False, shared=True
        )

    def take(self, rows: Ints) -> Links:
        """The links of these clusters."""
        return replace(
            self,
            snr=self.snr[rows],
            efficiency=self.efficiency[rows],
            whole=self.whole[rows],
            latency=self.latency[rows],
            epsilon=self.epsilon[rows],
            duty=self.duty[rows],
            natural_hz=self.natural_hz[rows],
            band_hz=self.band_hz[rows],
            bulk=self.bulk[rows],
            measured=self.measured[rows],
            spread=self.spread[rows],
        )

    def pick(self, nodes: Ints) -> Links:
        """Sidelinks between these nodes of each cluster in place of all, (P, n)."""
        rows = np.arange(len(nodes))[:, None, None]
        a, b = nodes[:, :, None], nodes[:, None, :]
        return replace(
            self,
            snr=self.snr[rows, a, b],
            efficiency=self.efficiency[rows, a, b],
            whole=self.whole[rows, a, b],
            latency=self.latency[rows, a, b],
            epsilon=self.epsilon[rows, a, b],
            duty=self.duty[rows, a, b],
            natural_hz=self.natural_hz[rows, a, b],
            measured=self.measured[rows, a, b],
        )


class Reader:
    """Puts measured links into arrays, and guesses what was not measured."""

    def __init__(
        self,
        observation: Observation,
        knowledge: Knowledge,
        place: dict[str, tuple[int, int]],
        wire_epsilon: float,
    ) -> None:
        self.measured = {(link.src, link.dst): link for link in observation.links}
        self.media = observation.media
        self.knowledge = knowledge
        self.place = place
        self.wire_epsilon = wire_epsilon

    def medium_of(self, src: str, dst: str) -> str:
        """The name of the medium of a pair; that of the sender's own where there is none."""
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

    def edge(self, pairs: Sequence[Pair], power_w: Array) -> Links:
        medium = self._medium(pairs[0])
        fair = 1 / len(pairs) if medium and medium.grants else 1.0
        values = [self._values(pair, medium, fair) for pair in pairs]
        links = _guess(np.array(values).T[:, :, None], power_w[:, None], medium)
        arrays = {key: value[:, 0] for key, value in links.items()}
        measured = ~np.isnan([row[0] for row in values])
        services = [self._service(pair, medium) for pair in pairs]
        bulk = np.array([service.bulk / service.overhead for service in services])
        # Up and down in one band, by turns: half of it for each, as far as grants go.
        both = medium is not None and (pairs[0][1], pairs[0][0]) in medium.links
        band = np.full(len(pairs), _band(medium) / (2 if both else 1))
        made = _links(arrays, medium, measured, band, bulk)
        # The base station's power is that of its whole band, a control unit's its own.
        return _spread_out(made, power_w, len(pairs)) if pairs[0][1] == SERVER else made

    def inside(self, names: Sequence[Sequence[str]], power_w: Array) -> Links:
        count, nodes = power_w.shape
        media = [self._medium((row[0], row[1])) for row in names]
        cells = {medium.name: 0 for medium in media if medium}
        for medium in media:
            if medium:
                cells[medium.name] += 1
        found = np.full((7, count, nodes, nodes), np.nan)
        found[3] = self.wire_epsilon
        place = self.place
        for cluster, medium in enumerate(media):
            # That of the medium for all its links; without one each has its own, if any is known.
            service = self._service(("", ""), medium)
            found[2, cluster] = service.latency_s + _lost_s(medium)
            found[4, cluster] = 1 / service.overhead
        for src, dst in self.measured:
            if src in place and dst in place and place[src][0] == place[dst][0]:
                cluster, i = place[src]
                found[:, cluster, i, place[dst][1]] = self._values((src, dst), media[cluster])
        measured = ~np.isnan(found[0])
        power = np.broadcast_to(power_w[:, :, None], measured.shape)
        # Clusters share a band that several of them use in equal parts.
        band = np.array([_band(m) / (cells[m.name] if m and m.grants else 1) for m in media])
        arrays = _guess(found, power, media[0])
        if media[0] and media[0].grants:
            arrays["natural_hz"] = np.broadcast_to(band[:, None, None], measured.shape)
        services = [self._service((row[0], row[1]), m) for row, m in zip(names, media, strict=True)]
        bulk = np.array([service.bulk / service.overhead for service in services])
        return _links(arrays, media[0], measured, band, bulk)

    def _values(self, pair: Pair, medium: Medium | None, fair: float = 1.0) -> tuple[float, ...]:
        """snr, η, latency, ε, duty, bandwidth and η over the whole band; nan where not measured.

        η is that over the part `fair` of the band.
        """
        service = self._service(pair, medium)
        link = self.measured.get(pair)
        epsilon = self.wire_epsilon + loss_epsilon(self.knowledge.losses.get(pair, 0.0))
        latency_s = self.knowledge.latencies.get(pair)
        if latency_s is None:
            latency_s = service.latency_s
            if medium is not None and medium.repeat_s and link is not None:
                latency_s = medium.expected_latency_s(link.sinr)
        rest = (latency_s + _lost_s(medium), epsilon, 1 / service.overhead)
        if link is None or not is_measured(link):
            return (np.nan, np.nan, *rest, np.nan, np.nan)
        snr = link.gain / link.interference_w_hz
        used_hz = link.tx_power_w * snr / link.sinr
        natural_hz = medium.bandwidth_hz if medium and not medium.grants else used_hz
        if medium is None or not medium.densities:
            efficiency = self._efficiency(pair, link, used_hz, service)
            return (snr, efficiency, *rest, natural_hz, efficiency)
        usual = medium.efficiency
        learned = self.knowledge.efficiencies.get(pair, usual) / service.overhead
        part, whole = (
            learned * medium.density(sinr) / np.log2(1 + sinr)
            for sinr in (link.tx_power_w * snr / (x * medium.bandwidth_hz) for x in (fair, 1.0))
        )
        return (snr, part, *rest, natural_hz, whole)

    def _service(self, pair: Pair, medium: Medium | None) -> Service:
        """That of the medium; before it was seen, what to expect of it, or of such as were."""
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
    """What a link whose service nobody has seen is taken for: the median of those seen."""
    if not services:
        return _UNKNOWN
    return Service(
        float(np.median([service.latency_s for service in services])),
        float(np.median([service.overhead for service in services])),
        float(np.median([service.bulk for service in services])),
    )


def _lost_s(medium: Medium | None) -> float:
    return _SLOTS_LOST * medium.slot_s if medium else 0.0


def _band(medium: Medium | None) -> float:
    return medium.bandwidth_hz if medium else np.inf


def _links(
    arrays: dict[str, Array], medium: Medium | None, measured: Mask, band: Array, bulk: Array
) -> Links:
    return Links(
        **arrays,
        band_hz=band,
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
    """The links with what each gains by an equal part of the band beside all of it."""
    if not (links.grants and links.slot_s) or sharing == 1:
        return links
    sinr = power_w * links.snr / links.band_hz
    part, whole = links.efficiency * np.log2(1 + sharing * sinr), links.whole * np.log2(1 + sinr)
    spread = np.log(part / whole) / np.log(sharing)
    return replace(links, spread=np.clip(spread, 0.0, _MOST_SPREAD))


def _guess(found: Array, power_w: Array, medium: Medium | None) -> dict[str, Array]:
    """Fills the gaps of [snr, η, latency, ε, duty, bandwidth, η over the whole band].

    A link not measured has the gain of its other direction, or else the worst of its cluster, or
    else the worst of all. Where nothing was measured it is taken for a poor one.
    """
    snr, efficiency, latency, epsilon, duty, natural, whole = found
    hz = medium.bandwidth_hz if medium else _UNKNOWN_HZ
    natural = _or_worst(natural, hz)
    if snr.ndim == 3:
        snr = np.where(np.isnan(snr), snr.swapaxes(1, 2), snr)
        efficiency = np.where(np.isnan(efficiency), efficiency.swapaxes(1, 2), efficiency)
        whole = np.where(np.isnan(whole), whole.swapaxes(1, 2), whole)
    if np.isnan(snr).all():
        snr = _UNKNOWN_SINR * natural / power_w
    return {
        "snr": _or_worst(snr, np.nan),
        "efficiency": _or_worst(efficiency, _UNKNOWN_EFFICIENCY),
        "whole": _or_worst(whole, _UNKNOWN_EFFICIENCY),
        "latency": latency,
        "epsilon": epsilon,
        "duty": duty,
        "natural_hz": natural,
    }


def _or_worst(values: Array, fallback: float) -> Array:
    """Gaps filled with the least of their cluster, else of all, else the fallback."""
    if not np.isnan(values).any():
        return values
    filled = np.where(np.isnan(values), np.inf, values)
    least = filled.reshape(len(values), -1).min(-1)
    everywhere = least.min() if np.isfinite(least.min()) else fallback
    least = np.where(np.isfinite(least), least, everywhere)
    shape = (len(values),) + (1,) * (values.ndim - 1)
    return np.where(np.isnan(values), least.reshape(shape), values)
