"""Attributes of ns-3 that a study may not change: measurement or power control rests on them."""

from __future__ import annotations

from collections.abc import Mapping

_POWER = "powers are set by the study's `tx_power_dbm` and the plan, and recorded so"
_RECORDS = "transfers are recorded by what it traces"

PROTECTED: Mapping[str, str] = {
    "ns3::LteUePhy::EnableUplinkPowerControl": _POWER,
    "ns3::LteUePhy::TxPower": _POWER,
    "ns3::LteEnbPhy::TxPower": _POWER,
    "ns3::WifiPhy::TxPowerStart": _POWER,
    "ns3::WifiPhy::TxPowerEnd": _POWER,
    "ns3::WifiPhy::TxPowerLevels": _POWER,
    "ns3::WifiPhy::TxGain": f"gains would go unrecorded, and {_POWER}",
    "ns3::WifiPhy::RxGain": "the measured link gain would include it twice",
    "ns3::LteSpectrumPhy::DataErrorModelEnabled": _RECORDS,
    "ns3::LteSpectrumPhy::CtrlErrorModelEnabled": _RECORDS,
}
"""Paths, each with the reason."""
