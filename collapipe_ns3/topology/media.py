"""What the radios of a scenario are to a planner: bands, who uses them, and how."""

from __future__ import annotations

from collections.abc import Iterable

from collapipe_ns3.observed import Medium
from collapipe_ns3.topology.stations import by_station
from ns3_scenarios.radios import lte, ofdma
from ns3_scenarios.scenario import (
    BLOCK_HZ,
    LTE_RESOURCE_BLOCKS,
    LteSpec,
    ScenarioSpec,
    WifiSpec,
    wifi_channel,
)

#: SINR in dB from which a first transmission of 25 resource blocks arrives nine times in ten, by
#: ns-3's LteMiErrorModel, and its bits in 1 ms, by LteAmc (3GPP TS 36.213, tables 8.6.1-1 and
#: 7.1.7.2.1-1): MCS 0, 4, 9, 10, 16, 20, 24, 28.
_LTE_CODES = (
    (-6.9, 680),
    (-3.3, 1800),
    (1.5, 4008),
    (3.7, 4392),
    (8.5, 7736),
    (12.2, 10680),
    (16.0, 13536),
    (19.6, 18336),
)
_LTE_BLOCKS = 25

#: What ns-3's LTE schedulers leave between SINR and the code they choose: Γ = -ln(5·BER)/1.5 at a
#: BER of 5e-5 (Piro et al. 2010).
_LTE_GAP_DB = 7.4

#: SNR in dB that 802.11ax needs for its MCS 0 … 11, and the data rate of one spatial stream in
#: 20 MHz at the guard interval of 3.2 µs, in Mb/s (IEEE 802.11ax-2021, table 27-55). The SNRs are
#: what ns-3's IdealWifiManager asks for at a BER of 1e-6, to a decibel.
_WIFI_CODES = (
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
_WIFI_HZ = 20e6

# What a transfer takes beside its airtime, as measured on such radios in round 0 of `quickstart`:
# only where a run begins; every round's transfers then say better.
_HARQ_RTT_S = 8e-3
_TCP_OVERHEAD, _TCP_LATENCY_S = 1.25, 1e-3  # acknowledgements in the same band
_TCP_REPLIES = 0.4  # a slot for each, however small
_WIFI_OVERHEAD, _WIFI_LATENCY_S = 1.05, 5e-4  # acknowledgements, backoff, and TCP's
_WIFI_EFFICIENCY, _WIFI_REPLIES = 0.7, 0.25  # preambles and headers; acknowledgements of both kinds
_LTE_OVERHEAD, _LTE_LATENCY_S = 1.1, 8e-3  # grants, and TCP's window
_LTE_REPLIES = {"uplink": 0.35, "downlink": 0.5}  # a subframe for each, however small


def media(spec: ScenarioSpec) -> tuple[Medium, ...]:
    """Every medium of a scenario: Wi-Fi's channels, LTE's two carriers, OFDMA's cells."""
    known_as = {ends: pair for pair, ends in by_station(spec).items()}
    found: list[Medium] = []
    if isinstance(spec.d2d, WifiSpec):
        found += _channels(spec, spec.d2d)
    if isinstance(spec.d2e, LteSpec):
        hertz = LTE_RESOURCE_BLOCKS[spec.d2e.bandwidth_hz] * BLOCK_HZ
        both = lte.pairs(spec)
        up = frozenset(pair for pair in both if pair[1] == spec.bs.name)
        for name, links in (("uplink", up), ("downlink", frozenset(both) - up)):
            found.append(
                Medium(
                    f"LTE {name}",
                    links,
                    hertz,
                    shared=True,
                    at_once=True,
                    densities=_lte_densities(_LTE_GAP_DB),
                    overhead=_LTE_OVERHEAD,
                    replies=_LTE_REPLIES[name],
                    latency_s=_LTE_LATENCY_S,
                )
            )
    found += (
        Medium(
            cell.name,
            frozenset(known_as.get(pair, pair) for pair in cell.pairs),
            band.blocks * BLOCK_HZ,
            grants=True,
            half_duplex=True,
            slot_s=cell.spec.tti_s,
            densities=_lte_densities(0.0),
            overhead=1.0 if cell.spec.transport == "direct" else _TCP_OVERHEAD,
            replies=_TCP_REPLIES if cell.spec.transport == "tcp" else 0.0,
            latency_s=0.0 if cell.spec.transport == "direct" else _TCP_LATENCY_S,
            repeat_s=_HARQ_RTT_S,
            least_hz=BLOCK_HZ,
        )
        for radio in ofdma.radios(spec)
        for band in radio.bands
        for cell in band.cells
    )
    return tuple(found)


def _channels(spec: ScenarioSpec, d2d: WifiSpec) -> Iterable[Medium]:
    """A medium a channel, for all the clusters that use it."""
    links: dict[int, set[tuple[str, str]]] = {}
    for cluster in spec.clusters:
        names = [node.name for node in cluster.nodes]
        pairs = {(a, b) for a in names for b in names if a != b}
        links.setdefault(wifi_channel(d2d, cluster), set()).update(pairs)
    for channel, pairs in links.items():
        yield Medium(
            f"Wi-Fi channel {channel}",
            frozenset(pairs),
            d2d.bandwidth_hz,
            shared=True,
            overhear=frozenset(name for pair in pairs for name in pair),
            densities=tuple((10 ** (db / 10), rate * 1e6 / _WIFI_HZ) for db, rate in _WIFI_CODES),
            efficiency=_WIFI_EFFICIENCY,
            overhead=_WIFI_OVERHEAD,
            replies=_WIFI_REPLIES,
            latency_s=_WIFI_LATENCY_S,
        )


def _lte_densities(gap_db: float) -> tuple[tuple[float, float], ...]:
    hz = _LTE_BLOCKS * BLOCK_HZ
    return tuple((10 ** ((db + gap_db) / 10), bits * 1e3 / hz) for db, bits in _LTE_CODES)
