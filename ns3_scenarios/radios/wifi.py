"""Device to device: 802.11ax ad hoc Wi-Fi, one cell per cluster, all on one spectrum channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ns3_scenarios.channel import AttributeValue
from ns3_scenarios.interferers import Jammer
from ns3_scenarios.power import FixedPower, OpenLoop, fixed_power_problems
from ns3_scenarios.problem import Problem
from ns3_scenarios.propagation import add_channel
from ns3_scenarios.radios.limits import (
    FRONT_END,
    block_fading_problems,
    interferer_channel_problems,
    limit_problems,
    not_among,
)
from ns3_scenarios.radios.stack import Construction, RadioBand
from ns3_scenarios.scenario import ClusterSpec, Pair, ScenarioSpec, Tier, WifiSpec, megahertz
from ns3_scenarios.surroundings import interferers_in, native_pulses, native_traffic

#: 5 GHz channels by width in hertz: their IEEE 802.11 numbers, the default first.
WIFI_CHANNELS: Mapping[float, tuple[int, ...]] = {
    20e6: (36, 40, 44, 48, 52, 56, 60, 64, 100, 104, 108, 112, 116, 120, 124, 128, 132, 136, 140,
           144, 149, 153, 157, 161, 165, 169, 173, 177),
    40e6: (38, 46, 54, 62, 102, 110, 118, 126, 134, 142, 151, 159, 167, 175),
    80e6: (42, 58, 106, 122, 138, 155, 171),
    160e6: (50, 114, 163),
}  # fmt: skip

#: For each MCS from 0 to 11 of 802.11ax, the SNR in dB from which ns-3's IdealWifiManager chooses
#: it, at a bit error rate of 1e-6 and to 1.6 dB, and the data rate of one spatial stream in 20 MHz
#: with a guard interval of 3.2 µs, in Mb/s (IEEE 802.11ax-2021, table 27-55).
WIFI_CODES = (
    (1.0, 7.3),
    (4.0, 14.6),
    (7.0, 21.9),
    (10.0, 29.3),
    (14.0, 43.9),
    (18.0, 58.5),
    (19.0, 65.8),
    (21.0, 73.1),
    (25.0, 87.8),
    (27.0, 97.5),
    (31.0, 109.7),
    (33.0, 121.9),
)
_CODE_HZ = 20e6

_MOST_NODES = 254  # in a cell: the addresses of its subnet
_ZERO_HZ = 5e9  # channel numbers count steps of 5 MHz from here (IEEE 802.11)
_STEP_HZ = 5e6

# Expected of transfers before any was measured; from round 0 of `quickstart` on this radio.
_OVERHEAD, _LATENCY_S = 1.05, 5e-4  # acknowledgements, backoff, and TCP's
_EFFICIENCY, _REPLIES = 0.7, 0.25  # preambles and headers; acknowledgements of both kinds


def default_channel(radio: WifiSpec) -> int:
    """The channel number where none is given."""
    return WIFI_CHANNELS[radio.bandwidth_hz][0]


def cluster_channel(radio: WifiSpec, cluster: ClusterSpec) -> int:
    """The channel number that a cluster uses."""
    return default_channel(radio) if cluster.channel is None else cluster.channel


def attribute_defaults(radio: WifiSpec) -> dict[str, AttributeValue]:
    """Defaults of ns-3's attributes that this radio needs to differ."""
    return {
        # By default preambles below -82 dBm are lost, at SINRs at which data could be decoded: a
        # link would fail suddenly instead of slowing down.
        "ns3::ThresholdPreambleDetectionModel::MinimumRssi": -110.0,
        "ns3::WifiPhy::RxNoiseFigure": radio.noise_figure_db,
        "ns3::WifiPhy::TxGain": radio.antenna_gain_db,
        "ns3::WifiPhy::RxGain": radio.antenna_gain_db,
    }


@dataclass(frozen=True, slots=True)
class WifiStack:
    """Wi-Fi between the nodes of each cluster; implements `RadioStack`."""

    name: ClassVar[str] = "wifi"
    tiers: ClassVar[tuple[Tier, ...]] = ("d2d",)
    joins_tiers: ClassVar[bool] = False
    grants_links: ClassVar[bool] = False
    fixed_cells: ClassVar[str] = "control units change their cell with OFDMA as d2e, not with Wifi"

    scenario: ScenarioSpec
    radio: WifiSpec

    @classmethod
    def of(cls, scenario: ScenarioSpec) -> WifiStack | None:
        """The stack for a scenario whose devices use Wi-Fi."""
        radio = scenario.d2d
        return cls(scenario, radio) if isinstance(radio, WifiSpec) else None

    def pairs(self) -> Sequence[Pair]:
        return [pair for cluster in self.scenario.clusters for pair in _pairs_in(cluster)]

    def unrepaired_pairs(self) -> Sequence[Pair]:
        return []

    def problems(self) -> Iterator[Problem]:
        yield from limit_problems("d2d", self.radio, FRONT_END)
        yield from block_fading_problems("d2d", self.radio)
        for n, cluster in enumerate(self.scenario.clusters):
            if len(cluster.nodes) > _MOST_NODES:
                yield f"clusters[{n}].devices", f"expected at most {_MOST_NODES - 1}"
        if isinstance(self.radio.power, OpenLoop):
            yield "d2d.power", "expected a fixed power: Wi-Fi has no open loop"
        else:
            yield from fixed_power_problems("d2d.power", self.radio.power)
        if self.radio.bandwidth_hz not in WIFI_CHANNELS:
            yield "d2d.bandwidth_hz", not_among(WIFI_CHANNELS, self.radio.bandwidth_hz)
            return
        numbers = WIFI_CHANNELS[self.radio.bandwidth_hz]
        for n, cluster in enumerate(self.scenario.clusters):
            if cluster.channel is not None and cluster.channel not in numbers:
                yield (
                    f"clusters[{n}].channel",
                    f"expected a 5 GHz channel of {megahertz(self.radio.bandwidth_hz)}, not "
                    f"{cluster.channel}; the nearest is {_nearest(cluster.channel, numbers)}",
                )
        yield from interferer_channel_problems(self.scenario, numbers)

    def ns3_defaults(self) -> Mapping[str, AttributeValue]:
        return attribute_defaults(self.radio)

    def install(self, construction: Construction) -> None:
        radio, episode = self.radio, construction.episode
        channel = add_channel(episode, "d2d", radio.propagation, radio.carrier_hz)
        episode.AddWifi(channel)
        for cluster in self.scenario.clusters:
            members = [construction.numbers[node.name] for node in cluster.nodes]
            episode.AddWifiCell(members, self._settings(cluster_channel(radio, cluster)))
        self._add_interferers(construction)
        for cluster in self.scenario.clusters:
            for node in cluster.nodes:
                watts = node.max_tx_power_w
                if isinstance(radio.power, FixedPower):
                    watts = min(watts, radio.power.tx_power_w)
                episode.SetTxPower(construction.numbers[node.name], self.name, watts)

    def bands(self) -> Iterator[RadioBand]:
        """A band for each channel, with all the clusters that use it."""
        links: dict[int, list[Pair]] = {}
        for cluster in self.scenario.clusters:
            number = cluster_channel(self.radio, cluster)
            links.setdefault(number, []).extend(_pairs_in(cluster))
        for number, pairs in links.items():
            yield RadioBand(
                name=f"Wi-Fi channel {number}",
                links=tuple(pairs),
                bandwidth_hz=self.radio.bandwidth_hz,
                densities=_densities(),
                latency_s=_LATENCY_S,
                shared=True,
                overhear=frozenset(name for pair in pairs for name in pair),
                efficiency=_EFFICIENCY,
                overhead=_OVERHEAD,
                replies=_REPLIES,
            )

    def untraced(self, kinds: Sequence[str]) -> Iterator[str]:
        yield from ()

    def _settings(self, number: int) -> str:
        """A channel as ns-3's attribute `ChannelSettings` has it."""
        return f"{{{number}, {round(self.radio.bandwidth_hz / 1e6)}, BAND_5GHZ, 0}}"

    def _add_interferers(self, construction: Construction) -> None:
        """Jammers, and pairs of other people's nodes, which are cells of their own."""
        episode, native = construction.episode, construction.native
        around: Any = episode.Around()
        for interferer in interferers_in(self.scenario, "d2d"):
            number = interferer.channel or default_channel(self.radio)
            nodes = [construction.numbers[name] for name in interferer.places]
            if isinstance(interferer, Jammer):
                band = ("wifi", _ZERO_HZ + _STEP_HZ * number, self.radio.bandwidth_hz)
                pulses = native_pulses(interferer, native)
                around.AddJammer(nodes[0], *band, interferer.tx_power_w, pulses)
                continue
            episode.AddWifiCell(nodes, self._settings(number))
            for node in nodes:
                episode.SetTxPower(node, self.name, interferer.tx_power_w)
            around.AddWifiTraffic(*nodes, *native_traffic(interferer, native))


def _densities() -> tuple[tuple[float, float], ...]:
    """The codes as points (linear SNR, bit/s/Hz)."""
    return tuple((10 ** (db / 10), mb_s * 1e6 / _CODE_HZ) for db, mb_s in WIFI_CODES)


def _pairs_in(cluster: ClusterSpec) -> list[Pair]:
    return [(a.name, b.name) for a in cluster.nodes for b in cluster.nodes if a is not b]


def _nearest(number: int, numbers: Sequence[int]) -> int:
    return min(numbers, key=lambda each: abs(each - number))
