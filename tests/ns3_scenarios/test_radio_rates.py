"""A single link reaches the rate that the standards permit for its radio and TCP."""

from __future__ import annotations

import math

import pytest
from radio_lab import carry, scenario, steady_rate_bps

from ns3_scenarios import runtime
from ns3_scenarios.network import TCP_DEFAULTS

SEGMENT_BYTES = int(TCP_DEFAULTS["ns3::TcpSocket::SegmentSize"])
TCP_IP_BYTES = 20 + 20 + 12  # with the timestamps option

# IEEE 802.11ax, 80 MHz, one stream, MCS 11 (1024-QAM 5/6) with the 3.2 µs guard interval.
_BITS_A_SYMBOL = 980 * 10 * 5 / 6
_SYMBOL_US = 12.8 + 3.2
_HE_PREAMBLE_US = 20 + 4 + 8 + 4 + 8  # legacy, RL-SIG, HE-SIG-A, HE-STF, one HE-LTF
_LLC_BYTES, _QOS_MAC_BYTES, _DELIMITER_BYTES = 8, 26 + 4, 4
_AMPDU_MOST_BYTES = 65535
_SLOT_US, _SIFS_US = 9.0, 16.0
_AIFS_US = _SIFS_US + 3 * _SLOT_US
_BACKOFF_US = 15 / 2 * _SLOT_US
_BLOCK_ACK_US = 20 + 4 * math.ceil((16 + 32 * 8 + 6) / 96)  # legacy, 24 Mb/s


def _ampdu(packets: int, ip_bytes: int) -> tuple[float, int]:
    """(airtime in µs, bytes) of this many IP packets in one aggregate."""
    frame = ip_bytes + _LLC_BYTES + _QOS_MAC_BYTES + _DELIMITER_BYTES
    size = packets * 4 * math.ceil(frame / 4)
    symbols = math.ceil((16 + 8 * size + 6) / _BITS_A_SYMBOL)
    return _HE_PREAMBLE_US + symbols * _SYMBOL_US, size


def wifi_goodput_bps() -> float:
    """One cycle: an aggregate of segments, its acknowledgements, one backoff on each side.

    Both sides count their backoffs down at once, so only the sender's takes time of its own.
    Collisions are left out.
    """
    segments = 1
    while _ampdu(segments + 1, SEGMENT_BYTES + TCP_IP_BYTES)[1] <= _AMPDU_MOST_BYTES:
        segments += 1
    data_us, _ = _ampdu(segments, SEGMENT_BYTES + TCP_IP_BYTES)
    acks_us, _ = _ampdu(math.ceil(segments / 2), TCP_IP_BYTES)  # one every second segment
    exchange_us = _SIFS_US + _BLOCK_ACK_US + _AIFS_US
    cycle_us = data_us + acks_us + 2 * exchange_us + _BACKOFF_US
    return 8e6 * segments * SEGMENT_BYTES / cycle_us


def lte_goodput_bps(resource_blocks: int = 100, best_mcs: int = 28) -> float:
    """One transport block per millisecond, of the size in ns-3's tables, less the headers."""
    ns = runtime.load()
    bits = int(ns.LteAmc().GetUlTbSizeFromMcs(best_mcs, resource_blocks))
    rlc_pdcp_bytes = 2 + 2
    return 1e3 * bits * SEGMENT_BYTES / (SEGMENT_BYTES + TCP_IP_BYTES + rlc_pdcp_bytes)


def test_wifi_alone_reaches_what_802_11ax_allows() -> None:
    """Within 5 %: of some twenty aggregates one collides with an acknowledgement."""
    measured = steady_rate_bps(scenario(), "c0.cu", "c0.d0", 16_000_000)
    assert measured == pytest.approx(wifi_goodput_bps(), rel=0.05)
    assert measured < wifi_goodput_bps()


def test_lte_uplink_alone_fills_its_transport_blocks() -> None:
    """Within 2 %: the first grant and the round trip of the last segment."""
    measured = steady_rate_bps(scenario(), "c0.cu", "bs", 16_000_000)
    assert measured == pytest.approx(lte_goodput_bps(), rel=0.02)
    assert measured < lte_goodput_bps()


def test_a_weak_wifi_link_is_slow_and_not_dead() -> None:
    """At 60 m 8 dB of SINR are left, with a preamble below ns-3's usual -82 dBm."""
    (weak,) = carry(scenario(device_distance_m=60.0), ("c0.cu", "c0.d0", 200_000))
    assert weak.outcome == "delivered"
    assert 10 * math.log10(weak.sinr) == pytest.approx(20 - 46.7 - 30 * math.log10(60) + 88, abs=1)
