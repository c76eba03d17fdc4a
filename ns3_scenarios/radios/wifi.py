"""Device to device: 802.11ax ad hoc Wi-Fi, one cell a cluster, all on one spectrum channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ns3_scenarios.channel import attribute_lines
from ns3_scenarios.scenario import AttributeValue, ScenarioSpec, WifiSpec, wifi_channel

#: Attribute defaults that differ from ns-3's.
DEFAULTS: Mapping[str, AttributeValue] = {
    # Preambles below -82 dBm are lost as ns-3 comes, at SINRs that the data rates still bear: a
    # link would end at a cliff rather than slow down.
    "ns3::ThresholdPreambleDetectionModel::MinimumRssi": -110.0,
}


def install(spec: ScenarioSpec, radio: WifiSpec, episode: Any, numbers: Mapping[str, int]) -> None:
    """Gives every cluster its Wi-Fi cell; `numbers` maps node names to the episode's nodes."""
    episode.AddWifi(radio.loss.type_name, attribute_lines(radio.loss))
    for cluster in spec.clusters:
        width_mhz = round(radio.bandwidth_hz / 1e6)
        channel = f"{{{wifi_channel(radio, cluster)}, {width_mhz}, BAND_5GHZ, 0}}"
        episode.AddWifiCell([numbers[node.name] for node in cluster.nodes], channel)


def pairs(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """The directed pairs of nodes that this radio joins."""
    return [
        (src.name, dst.name)
        for cluster in spec.clusters
        for src in cluster.nodes
        for dst in cluster.nodes
        if src is not dst
    ]
