"""The scheduled OFDMA radio: between devices, between control units and base stations, or both."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ns3_scenarios.channel import AttributeValue, Multipath
from ns3_scenarios.handover import Attachment, Handover
from ns3_scenarios.interferers import Jammer
from ns3_scenarios.numerology import BLOCK_HZ, TTI_S
from ns3_scenarios.power import FixedPower, OpenLoopLimits, power_problems
from ns3_scenarios.problem import Problem
from ns3_scenarios.propagation import add_channel
from ns3_scenarios.radios.limits import (
    FRONT_END,
    STATION_FRONT_END,
    interferer_channel_problems,
    limit_problems,
)
from ns3_scenarios.radios.lte_codes import densities
from ns3_scenarios.radios.ofdma_bands import Cell, OfdmaBand, OfdmaRadio, cells, radios
from ns3_scenarios.radios.stack import Construction, RadioBand
from ns3_scenarios.scenario import (
    OFDMA_FEWEST_BLOCKS,
    OFDMA_MOST_BLOCKS,
    OfdmaSpec,
    Pair,
    ScenarioSpec,
    Tier,
    megahertz,
)
from ns3_scenarios.surroundings import native_pulses, native_traffic

_ENGINES = {"tti": "collapipe::OfdmaTtiMedium", "spectrum": "collapipe::OfdmaSpectrumMedium"}
_TRANSPORTS = {"direct": 0, "tcp": 1, "udp": 2}  # collapipe::OfdmaCells::Transport
_UNCHANGED = -1.0

#: The largest Doppler shift times TTI. The autocorrelation is then still J0(2π/4) = 0.47 after a
#: TTI; the coherence time, 0.423 / f, is that in which it falls to 0.5 (Steele: Mobile radio
#: communications, 1999).
_MOST_TURNS_A_TTI = 0.25

_CHOICES = (
    ("transport", ("direct", "tcp", "udp")),
    ("engine", ("tti", "spectrum")),
    ("duplex", ("fdd", "tdd")),
)
_LIMITS = (
    ("carrier_hz", 100e6, 100e9),
    ("tti_s", 125e-6, TTI_S),
    ("target_bler", 1e-4, 0.9),
    ("max_transmissions", 1, 4),
    *FRONT_END,
    *STATION_FRONT_END,
)

#: Fields in which an underlay agrees with the radio whose blocks it uses.
_COMMON = ("carrier_hz", "tti_s", "target_bler", "max_transmissions", "engine")

#: P0 as p0-NominalWithGrant (3GPP TS 38.331, 6.3.2).
_OPEN_LOOP = OpenLoopLimits(lowest_p0_dbm=-202.0)

# Expected of transfers before any was measured; from round 0 of `quickstart` on this radio.
_HARQ_RTT_S = 8e-3
_TCP_OVERHEAD, _TCP_LATENCY_S = 1.25, 1e-3  # acknowledgements in the same band
_TCP_REPLIES = 0.4  # a slot for each acknowledgement, however small


@dataclass(frozen=True, slots=True)
class OfdmaStack:
    """OFDMA at one tier or both; implements `RadioStack`."""

    name: ClassVar[str] = "ofdma"
    grants_links: ClassVar[bool] = True

    scenario: ScenarioSpec
    d2d: OfdmaSpec | None
    d2e: OfdmaSpec | None

    @classmethod
    def of(cls, scenario: ScenarioSpec) -> OfdmaStack | None:
        """The stack for a scenario in which devices, control units or both use OFDMA."""
        d2d = scenario.d2d if isinstance(scenario.d2d, OfdmaSpec) else None
        d2e = scenario.d2e if isinstance(scenario.d2e, OfdmaSpec) else None
        return cls(scenario, d2d, d2e) if d2d is not None or d2e is not None else None

    @property
    def fixed_cells(self) -> str:
        if self.d2e is None or self.d2e.transport == "direct":
            return ""
        return (
            "only transfers over d2e's link layer (transport: direct) can be moved "
            f"to another cell, not those over {self.d2e.transport}"
        )

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return tuple(tier for tier, _ in self._specs())

    @property
    def joins_tiers(self) -> bool:
        return self.d2d is not None and self.d2d.underlay

    def pairs(self) -> Sequence[Pair]:
        return [pair for _, cell in self._cells() for pair in cell.pairs]

    def unrepaired_pairs(self) -> Collection[Pair]:
        """Those that use UDP, or a link layer without acknowledgements."""
        return {
            pair
            for _, cell in self._cells()
            for pair in cell.pairs
            if cell.spec.transport == "udp" or not cell.spec.sends_again
        }

    def problems(self) -> Iterator[Problem]:
        for tier, radio in self._specs():
            yield from _spec_problems(tier, radio)
            yield from power_problems(f"{tier}.power", radio.power, _OPEN_LOOP)
            yield from _doppler_problems(tier, radio)
        if self.d2d is not None:
            yield from self._sidelink_problems(self.d2d)
        if self.d2e is not None:
            if self.d2e.reuse != 1:
                yield "d2e.reuse", "expected 1: sub-bands are for clusters"
            if self.d2e.underlay:
                yield "d2e.underlay", "expected false: it is d2d that may use d2e's blocks"

    def ns3_defaults(self) -> Mapping[str, AttributeValue]:
        return {}

    def install(self, construction: Construction) -> None:
        for radio in self._radios():
            self._install_radio(radio, construction)

    def bands(self) -> Iterator[RadioBand]:
        """A band for each cell, as no grant of one cell restricts another's."""
        for band, cell in self._cells():
            if not cell.pairs:  # a station to which control units may change
                continue
            transport = cell.spec.transport
            yield RadioBand(
                name=cell.name,
                links=cell.pairs,
                bandwidth_hz=band.blocks * BLOCK_HZ,
                densities=densities(),
                latency_s=0.0 if transport == "direct" else _TCP_LATENCY_S,
                grants=True,
                half_duplex=True,
                slot_s=cell.spec.tti_s,
                overhead=1.0 if transport == "direct" else _TCP_OVERHEAD,
                replies=_TCP_REPLIES if transport == "tcp" else 0.0,
                repeat_s=_HARQ_RTT_S,
                least_hz=BLOCK_HZ,
                multicast=transport == "direct",
            )

    def untraced(self, kinds: Sequence[str]) -> Iterator[str]:
        packets = ", ".join(kind for kind in kinds if kind != "netanim")
        for tier, radio in self._specs():
            if "netanim" in kinds:
                yield f"netanim: the nodes of {tier}, but not what its radio carries between them"
            if radio.transport == "direct":
                if packets:
                    yield f"{packets}: nothing of {tier}, which has no packets (transport: direct)"
            elif "pcap" in kinds:
                why = "for its link layer has no frames of a known format"
                yield f"pcap: {tier} as IP packets, {why}"

    def _specs(self) -> Iterator[tuple[Tier, OfdmaSpec]]:
        if self.d2d is not None:
            yield "d2d", self.d2d
        if self.d2e is not None:
            yield "d2e", self.d2e

    def _radios(self) -> list[OfdmaRadio]:
        return radios(self.scenario, self.d2d, self.d2e)

    def _cells(self) -> Iterator[tuple[OfdmaBand, Cell]]:
        for radio in self._radios():
            yield from cells(radio)

    def _sidelink_problems(self, d2d: OfdmaSpec) -> Iterator[Problem]:
        if d2d.duplex != "fdd":
            yield "d2d.duplex", "expected the default: all links of a cluster share one band"
        if d2d.reuse < 1 or d2d.blocks // max(d2d.reuse, 1) < OFDMA_FEWEST_BLOCKS:
            most = max(d2d.blocks // OFDMA_FEWEST_BLOCKS, 1)
            yield "d2d.reuse", f"expected 1 to {most} sub-bands in this bandwidth, not {d2d.reuse}"
        for n, cluster in enumerate(self.scenario.clusters):
            if cluster.channel is not None and not 0 <= cluster.channel < d2d.reuse:
                yield (
                    f"clusters[{n}].channel",
                    f"expected the number of a sub-band, 0 to {d2d.reuse - 1}, "
                    f"not {cluster.channel}",
                )
        yield from interferer_channel_problems(self.scenario, range(d2d.reuse))
        if d2d.underlay:
            yield from self._underlay_problems(d2d)

    def _underlay_problems(self, d2d: OfdmaSpec) -> Iterator[Problem]:
        if self.d2e is None:
            yield "d2d.underlay", "expected OFDMA as d2e, whose uplink blocks it could use"
            return
        if d2d.reuse != 1:
            yield "d2d.reuse", "expected 1: the underlay uses all of the uplink's blocks"
        if d2d.blocks != self.d2e.blocks:
            yield (
                "d2d.bandwidth_hz",
                f"expected d2e's bandwidth, whose {self.d2e.blocks} resource blocks it uses; "
                f"not {d2d.blocks} blocks",
            )
        for name in _COMMON:
            mine, theirs = getattr(d2d, name), getattr(self.d2e, name)
            if mine != theirs:
                yield (
                    f"d2d.{name}",
                    f"expected {theirs!r}, d2e's, whose blocks it uses; not {mine!r}",
                )

    def _install_radio(self, radio: OfdmaRadio, construction: Construction) -> None:
        episode, numbers = construction.episode, construction.numbers
        stations = {node.name for node in (self.scenario.bs, *self.scenario.stations)}
        members = {end for _, cell in cells(radio) for pair in cell.pairs for end in pair}
        handover = self.scenario.handover if radio.name == "d2e" else None
        if handover is not None:
            members |= stations
        native: Any = episode.AddOfdma(_ENGINES[radio.spec.engine], _attributes(radio.spec))
        for node in self.scenario.nodes:
            if node.name in members:
                receiver = _receiver(radio.spec, node.name in stations)
                native.AddNode(numbers[node.name], node.max_tx_power_w, *receiver)
        for name, watts in self._interferer_powers(radio):
            native.AddNode(numbers[name], watts, radio.spec.noise_figure_db, 0.0)
        in_radio = sorted(numbers[name] for name in stations & members)
        channel = _add_channel(episode, radio.name, radio.spec)
        between = _add_channel(episode, "d2d", radio.devices) if radio.devices else channel
        for band in radio.bands:
            place = native.AddBand(band.blocks, band.centre_hz, in_radio, channel, between)
            _add_links(native, place, band, numbers)
            self._set_powers(native, band, numbers)
            self._add_interferers(native, place, band, construction)
        if handover is not None:
            self._add_handover(native, channel, handover, construction)

    def _add_handover(
        self, radio: Any, channel: int, handover: Handover, construction: Construction
    ) -> None:
        numbers, native = construction.numbers, construction.native
        stations = [node.name for node in (self.scenario.bs, *self.scenario.stations)]
        settings: Any = native.HandoverSettings()
        settings.offsetDb = handover.offset_db
        settings.hysteresisDb = handover.hysteresis_db
        settings.timeToTrigger = round(handover.time_to_trigger_s * 1e9)
        settings.interruption = round(handover.interruption_s * 1e9)
        settings.period = round(handover.measured_every_s * 1e9)
        settings.forwards = handover.in_flight == "continue"
        radio.AddHandover(channel, settings, [numbers[name] for name in stations])
        for cluster in self.scenario.clusters:
            serving = cluster.station or self.scenario.bs.name
            state = cluster.attachment or Attachment(serving)
            attachment: Any = native.Attachment()
            attachment.node = numbers[cluster.cu.name]
            attachment.serving = stations.index(serving)
            for name in stations:
                attachment.since.push_back(state.since_ns.get(name, -1))
            attachment.next, attachment.resumes = state.next_ns, state.resumes_ns
            radio.AddTerminal(attachment, numbers[serving])

    def _set_powers(self, native: Any, band: OfdmaBand, numbers: Mapping[str, int]) -> None:
        """Powers of links by their spec's power control; stations send at their most."""
        stations = {node.name for node in (self.scenario.bs, *self.scenario.stations)}
        most_w = {node.name: node.max_tx_power_w for node in self.scenario.nodes}
        for cell in band.cells:
            power = cell.spec.power
            for src, dst in cell.pairs:
                link = numbers[src], numbers[dst]
                if src in stations or power is None:
                    continue
                if isinstance(power, FixedPower):
                    native.Grant(*link, min(power.tx_power_w, most_w[src]), _UNCHANGED)
                else:
                    native.SetOpenLoop(*link, 10 ** (power.p0_dbm / 10 - 3), power.alpha)

    def _interferer_powers(self, radio: OfdmaRadio) -> Iterator[tuple[str, float]]:
        """The nodes of interferers in a radio, and what each radiates in one band."""
        serves = {use for band in radio.bands for use in band.serves}
        for interferer in self.scenario.interferers:
            if interferer.band in serves:
                everywhere = isinstance(interferer, Jammer) and interferer.channel is None
                bands = radio.spec.reuse if everywhere and interferer.band == "d2d" else 1
                for name in interferer.places:
                    yield name, interferer.tx_power_w / bands

    def _add_interferers(
        self, native: Any, place: int, band: OfdmaBand, construction: Construction
    ) -> None:
        """Jammers and background links in the band, which is number `place` of the radio."""
        around: Any = construction.episode.Around()
        for interferer in self.scenario.interferers:
            if interferer.band not in band.serves:
                continue
            nodes = [construction.numbers[name] for name in interferer.places]
            if isinstance(interferer, Jammer):
                if interferer.channel in (None, band.number):
                    pulses = native_pulses(interferer, construction.native)
                    native.AddJammer(place, nodes[0], pulses)
            elif (interferer.channel or 0) == band.number:
                native.AddBackground(place, *nodes)
                traffic = native_traffic(interferer, construction.native)
                around.AddOfdmaTraffic(native, *nodes, *traffic)


def _spec_problems(tier: Tier, radio: OfdmaSpec) -> Iterator[Problem]:
    blocks = radio.bandwidth_hz / BLOCK_HZ
    if not OFDMA_FEWEST_BLOCKS <= blocks <= OFDMA_MOST_BLOCKS or abs(blocks - round(blocks)) > 1e-6:
        near = OFDMA_FEWEST_BLOCKS
        if math.isfinite(blocks):
            near = min(max(round(blocks), OFDMA_FEWEST_BLOCKS), OFDMA_MOST_BLOCKS)
        yield (
            f"{tier}.bandwidth_hz",
            f"expected {OFDMA_FEWEST_BLOCKS} to {OFDMA_MOST_BLOCKS} resource blocks of "
            f"{BLOCK_HZ / 1e3:g} kHz, not {megahertz(radio.bandwidth_hz)}; "
            f"the nearest is {megahertz(near * BLOCK_HZ)}",
        )
    yield from limit_problems(tier, radio, _LIMITS)
    for name, choices in _CHOICES:
        if (value := getattr(radio, name)) not in choices:
            yield f"{tier}.{name}", f"expected {' or '.join(choices)}, not {value!r}"


def _doppler_problems(tier: Tier, radio: OfdmaSpec) -> Iterator[Problem]:
    """A Doppler shift so large that the channel would change within a TTI."""
    fading = radio.propagation.fading
    most_hz = _MOST_TURNS_A_TTI / radio.tti_s
    if isinstance(fading, Multipath) and fading.doppler_hz > most_hz:
        yield (
            f"{tier}.propagation.fading.doppler_hz",
            f"expected at most {most_hz:g} Hz, as the channel stands still for a TTI of "
            f"{radio.tti_s * 1e3:g} ms; not {fading.doppler_hz:g} Hz",
        )


def _attributes(spec: OfdmaSpec) -> str:
    """The attributes of `collapipe::OfdmaRadio` as the native code reads them."""
    return (
        f"Tti={round(spec.tti_s * 1e9)}\n"
        f"TargetBler={spec.target_bler!r}\n"
        f"MaxTransmissions={spec.max_transmissions}\n"
    )


def _receiver(spec: OfdmaSpec, station: bool) -> tuple[float, float]:
    """Noise figure and antenna gain in dB."""
    if station:
        return spec.station_noise_figure_db, spec.station_antenna_gain_db
    return spec.noise_figure_db, spec.antenna_gain_db


def _add_channel(episode: Any, name: str, radio: OfdmaSpec) -> int:
    return add_channel(episode, name, radio.propagation, radio.carrier_hz)


def _add_links(native: Any, place: int, band: OfdmaBand, numbers: Mapping[str, int]) -> None:
    for cell in band.cells:
        index = native.AddCell(place)
        for src, dst in cell.pairs:
            native.AddLink(
                place,
                index,
                numbers[src],
                numbers[dst],
                cell.spec.sends_again,
                _TRANSPORTS[cell.spec.transport],
                cell.subnet,
            )
