"""The grid and the code tables that planners use agree with ns-3 and with the native code."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from radio_lab import scenario

from ns3_scenarios import network, numerology, runtime
from ns3_scenarios.radios.lte_codes import CODE_BLER, CODE_BLOCKS, LTE_CODES, LteCode
from ns3_scenarios.radios.wifi import WIFI_CODES
from ns3_scenarios.runtime.loader import interpreter
from ns3_scenarios.scenario import WifiSpec


def test_the_grid_is_the_native_codes() -> None:
    native = runtime.native()
    assert native.BLOCK_HZ == numerology.BLOCK_HZ
    assert native.TTI_S == numerology.TTI_S


@pytest.mark.parametrize("code", LTE_CODES, ids=lambda code: f"mcs{code.mcs}")
def test_an_lte_code_has_the_size_and_the_threshold_of_ns3(code: LteCode) -> None:
    amc = runtime.load().CreateObject[runtime.load().LteAmc]()
    assert code.bits == amc.GetUlTbSizeFromMcs(code.mcs, CODE_BLOCKS)
    below, above = (error_rate(code, code.threshold_db + off_db) for off_db in (-0.05, 0.05))
    assert above <= CODE_BLER <= below


def test_the_lte_codes_are_those_that_the_ofdma_radio_uses() -> None:
    """Its thresholds are of blocks of 20 resource blocks, which change by 0.3 dB at most."""
    codes = runtime.native().OfdmaCodes(CODE_BLER, numerology.TTI_S)
    for code in LTE_CODES:
        assert codes.ThresholdDb(code.mcs, 20) == pytest.approx(code.threshold_db, abs=0.3)


def test_a_wifi_code_has_the_rate_and_roughly_the_snr_of_ns3() -> None:
    ns = runtime.load()
    with closing(network.build(replace(scenario(), d2d=WifiSpec(bandwidth_hz=20e6)))):
        phy = wifi_phy(ns)
        for mcs, (snr_db, mb_s) in enumerate(WIFI_CODES):
            vector = ns.WifiTxVector()
            vector.SetMode(getattr(ns.HePhy, f"GetHeMcs{mcs}")())
            vector.SetChannelWidth(ns.MHz_u(20.0))
            vector.SetNss(1)
            vector.SetGuardInterval(ns.NanoSeconds(3200))
            vector.SetPreambleType(ns.WIFI_PREAMBLE_HE_SU)
            assert vector.GetMode().GetDataRate(vector) == pytest.approx(mb_s * 1e6, abs=0.05e6)
            needed_db = 10 * math.log10(phy.CalculateSnr(vector, 1e-6))
            assert needed_db == pytest.approx(snr_db, abs=1.6), mcs


def error_rate(code: LteCode, sinr_db: float) -> float:
    """Of a first transmission over `CODE_BLOCKS` resource blocks, by ns-3's LteMiErrorModel."""
    ns, std = runtime.load(), interpreter().gbl.std
    hertz = numerology.BLOCK_HZ * np.arange(1.0, CODE_BLOCKS + 1)
    sinr = ns.SpectrumValue(ns.Create[ns.SpectrumModel](std.vector["double"](hertz)))
    for block in range(CODE_BLOCKS):
        sinr[block] = 10 ** (sinr_db / 10)
    blocks = std.vector["int"](range(CODE_BLOCKS))
    decoded = ns.LteMiErrorModel.GetTbDecodificationStats(
        sinr, blocks, code.bits // 8, code.mcs, ns.HarqProcessInfoList_t()
    )
    return float(decoded.tbler)


def wifi_phy(ns: Any) -> Any:
    """The PHY of some Wi-Fi device of the present simulation."""
    for number in range(ns.NodeList.GetNNodes()):
        node = ns.NodeList.GetNode(number)
        for index in range(node.GetNDevices()):
            device = node.GetDevice(index)
            if "WifiNetDevice" in str(device.GetInstanceTypeId().GetName()):
                return device.GetObject[ns.WifiNetDevice]().GetPhy()
    raise AssertionError("no Wi-Fi device")
