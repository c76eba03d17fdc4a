"""Device to device: 802.11ax ad hoc Wi-Fi, one cell a cluster, all on one spectrum channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ns3_scenarios.channel import AttributeValue
from ns3_scenarios.propagation import add_channel
from ns3_scenarios.scenario import ScenarioSpec, WifiSpec, wifi_channel
from ns3_scenarios.surroundings import surround_wifi


def defaults(radio: WifiSpec) -> dict[str, AttributeValue]:
    """Attribute defaults that differ from ns-3's."""
    return {
        # Preambles below -82 dBm are lost as ns-3 comes, at SINRs that the data rates still bear:
        # a link would end at a cliff rather than slow down.
        "ns3::ThresholdPreambleDetectionModel::MinimumRssi": -110.0,
        "ns3::WifiPhy::RxNoiseFigure": radio.noise_figure_db,
        "ns3::WifiPhy::TxGain": radio.antenna_gain_db,
        "ns3::WifiPhy::RxGain": radio.antenna_gain_db,
    }


def install(
    spec: ScenarioSpec, radio: WifiSpec, episode: Any, numbers: Mapping[str, int], native: Any
) -> None:
    """Gives every cluster its Wi-Fi cell; `numbers` maps node names to the episode's nodes."""
    channel = add_channel(episode, "d2d", radio.propagation, radio.carrier_hz)
    episode.AddWifi(channel)
    for cluster in spec.clusters:
        width_mhz = round(radio.bandwidth_hz / 1e6)
        settings = f"{{{wifi_channel(radio, cluster)}, {width_mhz}, BAND_5GHZ, 0}}"
        episode.AddWifiCell([numbers[node.name] for node in cluster.nodes], settings)
    surround_wifi(spec, radio, episode, numbers, native)


def pairs(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """The directed pairs of nodes that this radio joins."""
    return [
        (src.name, dst.name)
        for cluster in spec.clusters
        for src in cluster.nodes
        for dst in cluster.nodes
        if src is not dst
    ]
