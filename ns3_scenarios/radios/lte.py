"""Device to edge: one LTE cell with its core; control units are its terminals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ns3_scenarios.channel import AttributeValue
from ns3_scenarios.power import OpenLoop
from ns3_scenarios.propagation import add_channel
from ns3_scenarios.scenario import LTE_RESOURCE_BLOCKS, LteSpec, ScenarioSpec
from ns3_scenarios.surroundings import surround_lte

_SRS_PERIODS_MS = (2, 5, 10, 20, 40, 80, 160, 320)  # 3GPP TS 36.213, table 8.2-1


def defaults(spec: ScenarioSpec, radio: LteSpec) -> dict[str, AttributeValue]:
    """Attribute defaults that differ from ns-3's."""
    ues = len(spec.clusters)
    control: dict[str, AttributeValue] = {}
    if isinstance(radio.power, OpenLoop):
        control = {
            "ns3::LteUePowerControl::ClosedLoop": False,
            "ns3::LteUePowerControl::PoNominalPusch": round(radio.power.p0_dbm),
            "ns3::LteUePowerControl::Alpha": radio.power.alpha,
        }
    return {
        **control,
        # ns-3's default; where it is on, a terminal's power follows the path loss until one is set.
        "ns3::LteUePhy::EnableUplinkPowerControl": bool(control),
        # Else a terminal takes what it hears between data for noise alone, jammed or not.
        "ns3::LteHelper::UsePdschForCqiGeneration": False,
        # A dead link is to end as a transfer that is lost, not in a search for other cells.
        "ns3::LteUePhy::EnableRlfDetection": False,
        # One terminal a subframe sounds the channel.
        "ns3::LteEnbRrc::SrsPeriodicity": next(p for p in _SRS_PERIODS_MS if p >= max(ues, 10)),
        # ns-3's 10 KiB would hold seven segments; this holds a whole TCP window.
        "ns3::LteRlcUm::MaxTxBufferSize": 8 * 1024 * 1024,
        "ns3::LteEnbPhy::UeSinrSamplePeriod": 1,
        "ns3::LteUePhy::NoiseFigure": radio.noise_figure_db,
        "ns3::LteEnbPhy::NoiseFigure": radio.station_noise_figure_db,
    }


def install(
    spec: ScenarioSpec, radio: LteSpec, episode: Any, numbers: Mapping[str, int], native: Any
) -> None:
    """Makes the cell; `numbers` maps node names to the episode's nodes."""
    episode.AddLte(
        numbers[spec.bs.name],
        [numbers[cluster.cu.name] for cluster in spec.clusters],
        LTE_RESOURCE_BLOCKS[radio.bandwidth_hz],
        add_channel(episode, "d2e", radio.propagation, radio.carrier_hz),
        radio.antenna_gain_db,
        radio.station_antenna_gain_db,
    )
    surround_lte(spec, radio, episode, numbers, native)


def pairs(spec: ScenarioSpec) -> list[tuple[str, str]]:
    """The directed pairs of nodes that this radio joins."""
    ups = [(cluster.cu.name, spec.bs.name) for cluster in spec.clusters]
    return ups + [(dst, src) for src, dst in ups]


def follows_path_loss(spec: ScenarioSpec, name: str) -> bool:
    """Whether the power of a node's LTE radio is left to the open loop."""
    radio = spec.d2e
    return isinstance(radio, LteSpec) and isinstance(radio.power, OpenLoop) and name != spec.bs.name
