"""A network's measurements as plain data, linear and in SI units.

The measurements are made in `ns3_scenarios/native/`: links are measured by `ofdma-link.cc`,
`lte-meter.cc` and `wifi-cells.cc`, and averaged and counted in `radio-link.h`. The measurements of
a link leave this package as `RadioLinkState`, which implements `bridge.network.LinkState`; schemes
see them as `collapipe_ns3.observed.MeasuredLink`. All three have the same fields.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

TransferOutcome = Literal["delivered", "partial", "lost", "cut", "refused"]

_OUTCOMES: tuple[TransferOutcome, ...] = ("delivered", "lost", "cut", "refused")  # those of C++
_ENDED = struct.Struct("=QqIIQQddddd")  # collapipe::Ended, without gaps
_RANGE = struct.Struct("=QQ")  # collapipe::ByteRange


class Ended(NamedTuple):
    """A transfer that has ended, as the native `collapipe::Ended` and its tally describe it."""

    number: int
    end_ns: int
    outcome: TransferOutcome
    retransmissions: int
    lost: tuple[tuple[int, int], ...]
    extrapolated_bytes: int
    airtime_s: float
    energy_j: float
    bandwidth_time: float  # Hz·s
    sinr_time: float  # SINR × s
    rx_time_s: float


@dataclass(frozen=True, slots=True)
class RadioDelivery:
    """The result of one transfer; see `bridge.network.Delivery`.

    Airtime, energy, SINR, power and bandwidth are those of the frames and transport blocks with the
    transfer's bytes, by its share of their bytes; those of a multicast are divided equally among
    the receivers that lacked the block. `group` is the number that the deliveries of one multicast
    share, 0 for others. SINR, power and bandwidth are means weighted by
    airtime, nan if there is none. `extrapolated_bytes` were not simulated; see
    `ns3_scenarios.scenario.ScenarioSpec.fidelity`.
    """

    src: str
    dst: str
    kind: str
    size_bytes: int
    start_ns: int
    end_ns: int
    outcome: TransferOutcome
    lost: tuple[tuple[int, int], ...]
    radio: str
    retransmissions: int
    sinr: float
    tx_power_w: float
    bandwidth_hz: float
    airtime_s: float
    energy_j: float
    extrapolated_bytes: int = 0
    group: int = 0


@dataclass(frozen=True, slots=True)
class RadioLinkState:
    """What was measured on one directed link; see `bridge.network.LinkState`."""

    src: str
    dst: str
    gain: float
    interference_w_hz: float
    sinr: float
    goodput_bps: float
    loss: float
    age_s: float
    tx_power_w: float


@dataclass(frozen=True, slots=True)
class RadioUsage:
    """A node's radios since time 0; see `bridge.network.NodeUsage`."""

    tx_airtime_s: float
    rx_airtime_s: float
    tx_energy_j: float
    rx_energy_j: float


def take_ended(episode: Any) -> Iterator[Ended]:
    """The transfers that have ended since the last call."""
    count = episode.TakeEnded()
    if not count:
        return
    ended = list(_ENDED.iter_unpack(ctypes.string_at(episode.EndedData(), count * _ENDED.size)))
    ranges = sum(transfer[4] for transfer in ended)
    block = ctypes.string_at(episode.LostData(), ranges * _RANGE.size) if ranges else b""
    lost = _RANGE.iter_unpack(block)
    for number, end_ns, outcome, retransmissions, its_ranges, skipped, *tally in ended:
        its_lost = tuple(itertools.islice(lost, its_ranges))
        yield Ended(number, end_ns, _OUTCOMES[outcome], retransmissions, its_lost, skipped, *tally)


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; nan if the denominator is 0."""
    return numerator / denominator if denominator else float("nan")
