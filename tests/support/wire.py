"""What was on the air, by ns-3's own PHY traces and the headers on the wire; and whose it was.

An account of airtime, energy and retransmissions that shares nothing with the project's own: it
parses the packets in every frame and transport block (IP, TCP, RLC), where the project marks bytes.
"""

from __future__ import annotations

import bisect
import itertools
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from air_probe import FRAME, PIECE, array, probe_class

from ns3_scenarios import network, runtime
from ns3_scenarios.network import Ns3Network
from ns3_scenarios.radios.ofdma import OfdmaStack
from ns3_scenarios.radios.stack import Construction
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import ScenarioSpec

Pair = tuple[str, str]
RADIOS = ("wifi", "lte up", "lte down", "ofdma")

_HARQ_NS = 200_000_000  # RLC's sequence numbers come round much later, HARQ is done much earlier


class Load(NamedTuple):
    """`size` bytes on the air, headers included, and which bytes of a pair's stream are in them."""

    pair: Pair | None
    size: float
    begin: int
    end: int
    transfer: int  # its number, where no packet says whose they are


@dataclass
class Burst:
    """A frame or a transport block."""

    ns: int
    seconds: float
    watts: float
    sinr: float
    node: str
    data: bool
    again: bool
    radio: str
    loads: list[Load] = field(default_factory=list)


@dataclass
class Row:
    """What is put to one transfer."""

    airtime_s: float = 0.0
    energy_j: float = 0.0
    sinr_time: float = 0.0
    rx_time_s: float = 0.0
    retransmissions: int = 0


class Segment(NamedTuple):
    """A TCP segment with data as it leaves its host."""

    ns: int
    pair: Pair
    begin: int
    end: int


@contextmanager
def listening(spec: ScenarioSpec) -> Iterator[tuple[Ns3Network, Wire]]:
    """A network, and a probe on all its radios."""
    made: list[Any] = []

    class Episode:
        """Passes all on, and keeps what AddOfdma makes."""

        def __init__(self, episode: Any) -> None:
            self._episode = episode

        def __getattr__(self, name: str) -> Any:
            return getattr(self._episode, name)

        def AddOfdma(self, *arguments: Any) -> Any:  # noqa: N802
            made.append(self._episode.AddOfdma(*arguments))
            return made[-1]

    install = OfdmaStack.install

    def watched(stack: OfdmaStack, construction: Construction) -> None:
        install(stack, replace(construction, episode=Episode(construction.episode)))

    with mock.patch.object(OfdmaStack, "install", watched):
        net = network.build(spec)
    try:
        yield net, Wire(net, made)
    finally:
        net.close()


class Wire:
    """The probe, and what can be told from what it saw."""

    def __init__(self, net: Ns3Network, radios: Sequence[Any]) -> None:
        self._net = net
        now = runtime.load().Simulator.Now()
        self._zero_ns = int(now.GetNanoSeconds()) - net.now_ns()
        self._probe = probe_class()()
        self._probe.Attach()
        for cells in radios:
            self._probe.AttachTo(cells)

    def bursts(self) -> list[Burst]:
        """All that was sent, in order."""
        return self._read(self._probe.frames, self._probe.pieces)

    def receptions(self) -> list[Burst]:
        """All that was received over OFDMA."""
        return self._read(self._probe.received, self._probe.receivedPieces)

    def segments(self) -> list[Segment]:
        """All TCP segments with data, in order."""
        raw, nodes, names = self._raw(), self._nodes(), self._names()
        found = []
        rows = np.array(list(self._probe.segments), dtype=np.uint64).reshape(-1, 6)
        for ns, node, to, begin, end, size in rows.tolist():
            header = raw[begin:end]
            first, payload = _tcp(header, size)
            pair = (names.get(node, ""), names.get(nodes.get(to, -1), ""))
            if payload:
                found.append(Segment(ns - self._zero_ns, pair, first, first + payload))
        return found

    def airtimes(self, transfers: Sequence[RadioDelivery]) -> dict[Pair, float]:
        """Seconds that each link was on the air with data, whatever it was."""
        seconds: dict[Pair, float] = defaultdict(float)
        for burst in self.bursts():
            if burst.data:
                seconds[self._link(burst, transfers)] += burst.seconds
        return dict(seconds)

    def _link(self, burst: Burst, transfers: Sequence[RadioDelivery]) -> Pair:
        for load in burst.loads:
            if load.transfer >= 0:
                transfer = transfers[load.transfer - 1]
                return transfer.src, transfer.dst
            if load.pair:
                return load.pair
        return burst.node, "bs"  # nothing but signalling, or the tail of a packet: LTE's uplink

    def rows(self, transfers: Sequence[RadioDelivery], *, tcp: bool) -> list[Row]:
        """What belongs to each transfer; `transfers` in the order in which they were started."""
        streams = _Streams(transfers)
        rows = [Row() for _ in transfers]
        for burst in self.bursts():
            shares = streams.shares(burst)
            for transfer, share in shares.items():
                rows[transfer].airtime_s += share * burst.seconds
                rows[transfer].energy_j += share * burst.seconds * burst.watts
                rows[transfer].retransmissions += burst.again and not tcp
        for burst in self.receptions():
            for transfer, share in streams.shares(burst).items():
                rows[transfer].rx_time_s += share * burst.seconds
                rows[transfer].sinr_time += share * burst.seconds * burst.sinr
        highest: dict[Pair, int] = defaultdict(int)
        for segment in self.segments():
            if segment.begin < highest[segment.pair]:
                for transfer in streams.within(segment.pair, segment.begin, segment.end):
                    rows[transfer].retransmissions += streams.under_way(transfer, segment.ns)
            highest[segment.pair] = max(highest[segment.pair], segment.end)
        return rows

    def radiated(self) -> dict[str, tuple[float, float]]:
        """Seconds and joules that each node's Wi-Fi or LTE radio was on the air."""
        names, spent = self._names(), defaultdict(lambda: (0.0, 0.0))
        rows = np.array(list(self._probe.radiated)).reshape(-1, 3)
        for node, seconds, joules in rows.tolist():
            name = names.get(int(node), "bs")  # the eNB is a node beside its server
            before = spent[name]
            spent[name] = before[0] + seconds, before[1] + joules
        return dict(spent)

    def _raw(self) -> bytes:
        return array(self._probe.raw, np.dtype("u1")).tobytes()

    def _names(self) -> dict[int, str]:
        return {number: name for name, number in self._net._numbers.items()}

    def _nodes(self) -> dict[int, int]:
        pairs = list(self._probe.addresses)
        return dict(zip(pairs[::2], pairs[1::2], strict=True))

    def _read(self, frames: Any, pieces: Any) -> list[Burst]:
        names, zero_ns = self._names(), self._zero_ns
        bursts = [
            Burst(
                ns - zero_ns,
                seconds,
                watts,
                sinr,
                names.get(node, "bs"),  # the eNB is beside it
                bool(data),
                bool(again),
                RADIOS[radio],
            )
            for ns, seconds, watts, sinr, node, data, again, radio in array(frames, FRAME).tolist()
        ]
        parser = _Parser(self._raw(), self._nodes(), names)
        for frame, number, size, skip, begin, end, bearer in array(pieces, PIECE).tolist():
            burst = bursts[frame]
            if bearer >= 0:
                burst.loads += parser.pdu(bearer, number, burst.ns, begin, end)
            elif begin == end:
                burst.loads.append(Load(None, size, 0, 0, number))
            else:
                burst.loads.append(parser.packet(number, size, begin + skip, end))
        return bursts


def _tcp(header: bytes, size: int) -> tuple[int, int]:
    """Where a segment's data lie in the stream, and how many they are."""
    (sequence,) = struct.unpack_from(">I", header, 4)
    return sequence - 1, size - 4 * (header[12] >> 4)


class _Parser:
    """Reads packets off the wire."""

    def __init__(self, raw: bytes, nodes: dict[int, int], names: dict[int, str]) -> None:
        self._raw = raw
        self._nodes = nodes
        self._names = names
        self._datagrams: dict[Pair, dict[int, int]] = defaultdict(dict)  # by number: where
        self._length: dict[Pair, int] = defaultdict(int)  # of a pair's datagrams so far
        self._bearers: dict[int, _Bearer] = defaultdict(_Bearer)

    def packet(self, number: int, size: float, begin: int, end: int) -> Load:
        """A packet of which `size` bytes are on the air."""
        pair, first, payload = self.ip(self._raw[begin:end], number)
        return Load(pair, size, first, first + payload, -1)

    def ip(self, header: bytes, number: int) -> tuple[Pair, int, int]:
        """Whose packet it is, where its data lie in the stream, and how many they are."""
        total, protocol = struct.unpack_from(">H", header, 2)[0], header[9]
        src, dst = struct.unpack_from(">II", header, 12)
        pair = (
            self._names.get(self._nodes.get(src, -1), ""),
            self._names.get(self._nodes.get(dst, -1), ""),
        )
        behind = 4 * (header[0] & 15)
        if protocol == 6:
            return pair, *_tcp(header[behind:], total - behind)
        payload = total - behind - 8
        if number not in self._datagrams[pair]:  # they go out in order
            self._datagrams[pair][number] = self._length[pair]
            self._length[pair] += payload
        return pair, self._datagrams[pair][number], payload

    def pdu(self, bearer: int, sequence: int, ns: int, begin: int, end: int) -> list[Load]:
        """An RLC PDU, in which packets lie end to end, the first and the last cut off perhaps."""
        stream = self._bearers[bearer]
        where, sent_ns = stream.pdus.get(sequence, (0, -_HARQ_NS))
        if ns - sent_ns >= _HARQ_NS:
            where = len(stream.bytes)
            stream.bytes += self._raw[begin:end]
        stream.pdus[sequence] = (where, ns)
        stream.read(self)
        return stream.within(where, where + end - begin)


@dataclass
class _Bearer:
    """The bytes of one bearer's PDCP PDUs."""

    bytes: bytearray = field(default_factory=bytearray)
    pdus: dict[int, tuple[int, int]] = field(default_factory=dict)  # (where, when)
    packets: list[tuple[int, int, Pair, int, int]] = field(default_factory=list)
    known: int = 0  # up to where packets are known

    def read(self, parser: _Parser) -> None:
        """Takes note of the packets whose headers are there by now."""
        while len(self.bytes) >= self.known + 2 + 20 + 20:
            header = bytes(self.bytes[self.known + 2 : self.known + 2 + 60])
            pair, first, payload = parser.ip(header, 0)
            size = 2 + struct.unpack_from(">H", header, 2)[0]
            self.packets.append((self.known, size, pair, first, payload))
            self.known += size

    def within(self, begin: int, end: int) -> list[Load]:
        """The parts of packets that lie within a PDU."""
        loads = []
        start = bisect.bisect_right(self.packets, begin, key=lambda packet: packet[0]) - 1
        for at, size, pair, first, payload in self.packets[max(start, 0) :]:
            low, high = max(at, begin), min(at + size, end)
            if low >= end:
                break
            if low < high:
                data = at + size - payload
                loads.append(
                    Load(
                        pair,
                        high - low,
                        first + max(low - data, 0),
                        first + max(high - data, 0),
                        -1,
                    )
                )
        rest = end - max(begin, min(self.known, end))
        return [*loads, Load(None, rest, 0, 0, -1)] if rest else loads


class _Streams:
    """Where transfers lie in the streams of their pairs."""

    def __init__(self, transfers: Sequence[RadioDelivery]) -> None:
        self._transfers = transfers
        self._of: dict[Pair, list[int]] = defaultdict(list)
        for number, transfer in enumerate(transfers):
            self._of[transfer.src, transfer.dst].append(number)
        self._ends = {
            pair: list(itertools.accumulate(transfers[n].size_bytes for n in numbers))
            for pair, numbers in self._of.items()
        }

    def within(self, pair: Pair | None, begin: int, end: int) -> dict[int, int]:
        """How many of these bytes of a stream are whose."""
        if pair not in self._ends or begin >= end:
            return {}
        found = {}
        ends = self._ends[pair]
        for i in range(bisect.bisect_right(ends, begin), len(ends)):
            number = self._of[pair][i]
            first = ends[i] - self._transfers[number].size_bytes
            if first >= end:
                break
            found[number] = min(end, ends[i]) - max(begin, first)
        return found

    def under_way(self, transfer: int, ns: int) -> bool:
        each = self._transfers[transfer]
        return each.start_ns <= ns <= each.end_ns

    def shares(self, burst: Burst) -> dict[int, float]:
        """The transfers' shares of a burst, of those that are under way."""
        shares: dict[int, float] = defaultdict(float)
        total = sum(load.size for load in burst.loads)
        for load in burst.loads:
            if load.transfer >= 0:
                shares[load.transfer - 1] += load.size / total
            for transfer, bytes_ in self.within(load.pair, load.begin, load.end).items():
                share = load.size / total * bytes_ / (load.end - load.begin)
                if self.under_way(transfer, burst.ns):
                    shares[transfer] += share
        return shares
