"""Attributes of ns-3 that a study may not change, as measurement or power control needs them."""

from __future__ import annotations

from collections.abc import Mapping

_POWER = "powers are set by the study's `tx_power_dbm` and the plan, and recorded so"
_RADIO = "the study's `{}` sets it"
_RECORDS = "transfers are recorded from its traces"

PROTECTED: Mapping[str, str] = {
    "collapipe::OfdmaRadio::Tti": _RADIO.format("tti_s"),
    "collapipe::OfdmaRadio::TargetBler": _RADIO.format("target_bler"),
    "collapipe::OfdmaRadio::MaxTransmissions": _RADIO.format("max_transmissions"),
    "collapipe::PairChannel::Sigma": _RADIO.format("shadowing"),
    "collapipe::PairChannel::NlosSigma": _RADIO.format("shadowing"),
    "collapipe::PairChannel::Fading": _RADIO.format("fading"),
    "collapipe::PairChannel::Profile": _RADIO.format("fading"),
    "collapipe::PairChannel::DelaySpread": _RADIO.format("fading"),
    "collapipe::PairChannel::Doppler": _RADIO.format("fading"),
    "ns3::LteEnbNetDevice::UlBandwidth": _RADIO.format("bandwidth_hz"),
    "ns3::LteEnbNetDevice::DlBandwidth": _RADIO.format("bandwidth_hz"),
    "ns3::LteUePhy::EnableUplinkPowerControl": _POWER,
    "ns3::LteUePhy::TxPower": _POWER,
    "ns3::LteEnbPhy::TxPower": _POWER,
    "ns3::WifiPhy::TxPowerStart": _POWER,
    "ns3::WifiPhy::TxPowerEnd": _POWER,
    "ns3::WifiPhy::TxPowerLevels": _POWER,
    "ns3::WifiPhy::TxGain": f"gains would go unrecorded, and {_POWER}",
    "ns3::WifiPhy::RxGain": "the measured link gain would include it twice",
    "ns3::LteEnbPhy::UeSinrSamplePeriod": "uplinks are measured from its traces",
    "ns3::LteSpectrumPhy::DataErrorModelEnabled": _RECORDS,
    "ns3::LteSpectrumPhy::CtrlErrorModelEnabled": _RECORDS,
}
"""Paths of attributes, each with the reason."""
