"""Device to edge: one LTE cell with its core network; control units are its terminals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ns3_scenarios.channel import AttributeValue
from ns3_scenarios.interferers import Background
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.power import FixedPower, OpenLoop, OpenLoopLimits, power_problems
from ns3_scenarios.problem import Problem
from ns3_scenarios.propagation import add_channel
from ns3_scenarios.radios.limits import (
    FRONT_END,
    STATION_FRONT_END,
    block_fading_problems,
    limit_problems,
    not_among,
)
from ns3_scenarios.radios.lte_codes import densities
from ns3_scenarios.radios.stack import Construction, RadioBand
from ns3_scenarios.scenario import LteSpec, Pair, ScenarioSpec, Tier
from ns3_scenarios.surroundings import interferers_in, native_pulses

#: LTE's channel bandwidths in hertz, and their numbers of resource blocks (3GPP TS 36.101).
LTE_RESOURCE_BLOCKS: Mapping[float, int] = {
    1.4e6: 6,
    3e6: 15,
    5e6: 25,
    10e6: 50,
    15e6: 75,
    20e6: 100,
}

_MOST_UES = 320  # the subframes of the longest sounding period
_SRS_PERIODS_MS = (2, 5, 10, 20, 40, 80, 160, 320)  # 3GPP TS 36.213, table 8.2-1

#: P0 in whole dBm, and the α of 3GPP TS 36.213, 5.1.1.1.
_OPEN_LOOP = OpenLoopLimits(
    lowest_p0_dbm=-126.0, whole_dbm=True, alphas=(0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
)

#: By how much the SINR exceeds the threshold of the code that ns-3's LTE schedulers choose:
#: Γ = -ln(5·BER)/1.5 at a BER of 5e-5 (Piro et al. 2010).
_GAP_DB = 7.4

# Expected of transfers before any was measured; from round 0 of `quickstart` on this radio.
_OVERHEAD, _LATENCY_S = 1.1, 8e-3  # grants, and TCP's window
_REPLIES = {"uplink": 0.35, "downlink": 0.5}  # a subframe for each acknowledgement, however small


def attribute_defaults(radio: LteSpec, ues: int) -> dict[str, AttributeValue]:
    """Defaults of ns-3's attributes that this radio needs to differ, with so many terminals."""
    control: dict[str, AttributeValue] = {}
    if isinstance(radio.power, OpenLoop):
        control = {
            "ns3::LteUePowerControl::ClosedLoop": False,
            "ns3::LteUePowerControl::PoNominalPusch": round(radio.power.p0_dbm),
            "ns3::LteUePowerControl::Alpha": radio.power.alpha,
        }
    return {
        **control,
        # On by default. A terminal's power then follows the path loss until one is set.
        "ns3::LteUePhy::EnableUplinkPowerControl": bool(control),
        # Otherwise a terminal takes all that it receives between data for noise, jammed or not.
        "ns3::LteHelper::UsePdschForCqiGeneration": False,
        # A dead link ends as a lost transfer, not in a search for other cells.
        "ns3::LteUePhy::EnableRlfDetection": False,
        # One terminal sounds the channel in each subframe.
        "ns3::LteEnbRrc::SrsPeriodicity": next(p for p in _SRS_PERIODS_MS if p >= max(ues, 10)),
        # The default, 10 KiB, holds seven segments; this holds a whole TCP window.
        "ns3::LteRlcUm::MaxTxBufferSize": 8 * 1024 * 1024,
        "ns3::LteEnbPhy::UeSinrSamplePeriod": 1,
        "ns3::LteUePhy::NoiseFigure": radio.noise_figure_db,
        "ns3::LteEnbPhy::NoiseFigure": radio.station_noise_figure_db,
    }


@dataclass(frozen=True, slots=True)
class LteStack:
    """LTE between the control units and the base station; implements `RadioStack`."""

    name: ClassVar[str] = "lte"
    tiers: ClassVar[tuple[Tier, ...]] = ("d2e",)
    joins_tiers: ClassVar[bool] = False
    grants_links: ClassVar[bool] = False
    fixed_cells: ClassVar[str] = "control units change their cell with OFDMA as d2e, not with Lte"

    scenario: ScenarioSpec
    radio: LteSpec

    @classmethod
    def of(cls, scenario: ScenarioSpec) -> LteStack | None:
        """The stack for a scenario whose control units use LTE."""
        radio = scenario.d2e
        return cls(scenario, radio) if isinstance(radio, LteSpec) else None

    def pairs(self) -> Sequence[Pair]:
        return [*self._links("uplink"), *self._links("downlink")]

    def unrepaired_pairs(self) -> Sequence[Pair]:
        return []

    def problems(self) -> Iterator[Problem]:
        if self.scenario.stations:
            yield "stations", "expected none: LTE has one base station here; take OFDMA as d2e"
        yield from limit_problems("d2e", self.radio, (*FRONT_END, *STATION_FRONT_END))
        yield from block_fading_problems("d2e", self.radio)
        if len(self.scenario.clusters) > _MOST_UES:
            yield "clusters", f"expected at most {_MOST_UES}, one LTE terminal each"
        if self.radio.bandwidth_hz not in LTE_RESOURCE_BLOCKS:
            yield "d2e.bandwidth_hz", not_among(LTE_RESOURCE_BLOCKS, self.radio.bandwidth_hz)
        yield from power_problems("d2e.power", self.radio.power, _OPEN_LOOP)
        for n, interferer in enumerate(self.scenario.interferers):
            if interferer.band != "d2d" and isinstance(interferer, Background):
                yield (
                    f"interferers[{n}].band",
                    "expected d2d: other people's traffic is for Wi-Fi and OFDMA; on LTE take a "
                    "jammer",
                )

    def ns3_defaults(self) -> Mapping[str, AttributeValue]:
        return attribute_defaults(self.radio, len(self.scenario.clusters))

    def install(self, construction: Construction) -> None:
        radio, episode, numbers = self.radio, construction.episode, construction.numbers
        episode.AddLte(
            numbers[self.scenario.bs.name],
            [numbers[cluster.cu.name] for cluster in self.scenario.clusters],
            LTE_RESOURCE_BLOCKS[radio.bandwidth_hz],
            add_channel(episode, "d2e", radio.propagation, radio.carrier_hz),
            radio.antenna_gain_db,
            radio.station_antenna_gain_db,
        )
        self._add_jammers(construction)
        self._set_powers(construction)

    def bands(self) -> Iterator[RadioBand]:
        for direction in ("uplink", "downlink"):
            yield RadioBand(
                name=f"LTE {direction}",
                links=self._links(direction),
                bandwidth_hz=self._carrier_hz(),
                densities=densities(_GAP_DB),
                latency_s=_LATENCY_S,
                shared=True,
                at_once=True,
                overhead=_OVERHEAD,
                replies=_REPLIES[direction],
            )

    def untraced(self, kinds: Sequence[str]) -> Iterator[str]:
        if "pcap" in kinds:
            yield "pcap: d2e as IP packets, for ns-3's LTE has no pcap of its radio"

    def _links(self, direction: str) -> tuple[Pair, ...]:
        station = self.scenario.bs.name
        units = [cluster.cu.name for cluster in self.scenario.clusters]
        if direction == "uplink":
            return tuple((unit, station) for unit in units)
        return tuple((station, unit) for unit in units)

    def _carrier_hz(self) -> float:
        """The bandwidth of one carrier's resource blocks."""
        return LTE_RESOURCE_BLOCKS[self.radio.bandwidth_hz] * BLOCK_HZ

    def _add_jammers(self, construction: Construction) -> None:
        around: Any = construction.episode.Around()
        for direction in ("uplink", "downlink"):
            for jammer in interferers_in(self.scenario, direction):
                band = (f"lte {direction}", 0.0, self._carrier_hz())
                pulses = native_pulses(jammer, construction.native)
                node = construction.numbers[jammer.name]
                around.AddJammer(node, *band, jammer.tx_power_w, pulses)

    def _set_powers(self, construction: Construction) -> None:
        """The station sends at its most, terminals as the spec's power control says."""
        episode, numbers, power = construction.episode, construction.numbers, self.radio.power
        station = self.scenario.bs
        episode.SetTxPower(numbers[station.name], self.name, station.max_tx_power_w)
        for unit in (cluster.cu for cluster in self.scenario.clusters):
            if isinstance(power, OpenLoop):
                episode.SetMaxTxPower(numbers[unit.name], unit.max_tx_power_w)
                continue
            watts = unit.max_tx_power_w
            if isinstance(power, FixedPower):
                watts = min(watts, power.tx_power_w)
            episode.SetTxPower(numbers[unit.name], self.name, watts)
