"""A network with exact closed-form delays: the test oracle for what runs on a simulated one."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.network import Advance, Grant, TransferKind, TransferOutcome

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Link:
    """The properties of a directed link.

    A transfer of D bytes occupies the link for ⌈8·D·10⁹ / rate⌉ ns and arrives `latency_ns` after
    that. Links of the same `medium` take turns, first come, first served. A transfer that overlaps
    the outage [from, to), in ns, is lost. The byte ranges `gaps` of every transfer never arrive, as
    over a transport that repairs no losses. The radio's figures (gain, noise) are only reported.
    """

    rate_bps: int
    latency_ns: int = 0
    medium: str | None = None
    outage_ns: tuple[int, int] | None = None
    gaps: tuple[tuple[int, int], ...] = ()
    gain: float = 1e-8
    noise_w_hz: float = 4e-21
    bandwidth_hz: float = 20e6

    def airtime_ns(self, size_bytes: int) -> int:
        """How long a transfer of this size occupies the link, in ns."""
        return -(-8 * size_bytes * _NS // self.rate_bps)


@dataclass(frozen=True, slots=True)
class FixedDelivery:
    """A transfer that has ended; see `bridge.network.Delivery`."""

    src: str
    dst: str
    kind: str
    size_bytes: int
    start_ns: int
    end_ns: int
    outcome: TransferOutcome
    lost: tuple[tuple[int, int], ...]
    retransmissions: int
    sinr: float
    tx_power_w: float
    bandwidth_hz: float
    airtime_s: float
    energy_j: float
    radio: str = "fixed"
    extrapolated_bytes: int = 0


@dataclass(frozen=True, slots=True)
class FixedLinkState:
    """What was measured on a link; see `bridge.network.LinkState`."""

    src: str
    dst: str
    gain: float
    interference_w_hz: float
    sinr: float
    goodput_bps: float
    loss: float
    age_s: float
    tx_power_w: float


@dataclass(slots=True)
class FixedUsage:
    """How much a node's radio was used; see `bridge.network.NodeUsage`."""

    tx_airtime_s: float = 0.0
    rx_airtime_s: float = 0.0
    tx_energy_j: float = 0.0
    rx_energy_j: float = 0.0


@dataclass(slots=True, eq=False)
class _Transfer:
    src: str
    dst: str
    kind: str
    size_bytes: int
    link: Link
    asked_ns: int
    future: asyncio.Future[FixedDelivery]
    began_ns: int | None = None
    free_ns: int = 0  # when it releases the link, unless it is cut
    ended: bool = False


@dataclass(slots=True)
class _Medium:
    queue: deque[_Transfer] = field(default_factory=deque)
    current: _Transfer | None = None


class FixedRateNetwork:
    """Nodes connected by links of fixed rate and latency; implements `bridge.network.Network`.

    `links` maps (src, dst) to a link; `default` is the link of every other pair (None: they share
    no radio). `tx_power_w` and `rx_power_w` apply to every node.
    """

    def __init__(
        self,
        nodes: Iterable[str],
        default: Link | None,
        links: Mapping[tuple[str, str], Link] | None = None,
        *,
        tx_power_w: float = 0.1,
        rx_power_w: float = 0.05,
    ) -> None:
        self.deliveries: list[FixedDelivery] = []
        self._nodes = set(nodes)
        self._default = default
        self._links = dict(links or {})
        self._max_power_w = tx_power_w
        self._power_w = dict.fromkeys(self._nodes, tx_power_w)
        self._rx_power_w = rx_power_w
        self._now_ns = 0
        self._events: list[tuple[int, int, bool, _Transfer]] = []  # time, order, arrival?, which
        self._order = itertools.count()
        self._media: dict[object, _Medium] = {}
        self._open: dict[_Transfer, None] = {}  # a set in insertion order
        self._usage = {node: FixedUsage() for node in self._nodes}

    def now_ns(self) -> int:
        return self._now_ns

    def in_flight(self) -> int:
        return len(self._open)

    def interrupt(self) -> None:
        """Nothing to do: an advance of this network takes no time worth interrupting."""

    def describe_in_flight(self) -> list[str]:
        return [
            f"{t.src} → {t.dst}, {t.size_bytes} bytes, since {t.asked_ns * 1e-9:.9f} s"
            for t in self._open
        ]

    def advance(self, until_ns: int | None) -> Advance:
        while self._events:
            at_ns = self._events[0][0]
            if until_ns is not None and at_ns > until_ns:
                break
            self._now_ns = at_ns
            completed = False
            while self._events and self._events[0][0] == at_ns:
                _, _, arrival, transfer = heapq.heappop(self._events)
                if transfer.ended:
                    continue
                if arrival:
                    self._end(transfer, self._ending(transfer))
                    completed = True
                else:
                    self._release(transfer)
            if completed:
                return "completed"
        if until_ns is None:
            return "exhausted"
        self._now_ns = max(self._now_ns, until_ns)
        return "reached"

    def transfer(
        self, src: str, dst: str, size_bytes: int, kind: str = ""
    ) -> asyncio.Future[FixedDelivery]:
        link = self._link(src, dst)
        if size_bytes < 1:
            raise ValueError(f"{src} → {dst}: expected at least one byte, not {size_bytes}")
        future: asyncio.Future[FixedDelivery] = asyncio.get_running_loop().create_future()
        transfer = _Transfer(src, dst, kind, size_bytes, link, self._now_ns, future)
        future.add_done_callback(lambda done: self._cut(transfer) if done.cancelled() else None)
        self._open[transfer] = None
        medium = self._medium(transfer)
        medium.queue.append(transfer)
        self._next(medium)
        return future

    def apply(self, grants: Sequence[Grant]) -> None:
        for grant in grants:
            self._link(grant.src, grant.dst)
            if grant.tx_power_w is None:
                continue
            if not 0 < grant.tx_power_w <= self._max_power_w:
                raise ValueError(
                    f"{grant.src}: expected a power above 0 and up to {self._max_power_w} W, "
                    f"not {grant.tx_power_w} W"
                )
            self._power_w[grant.src] = grant.tx_power_w

    async def sound(self, pairs: Iterable[tuple[str, str]]) -> None:
        for src, dst in pairs:
            await self.transfer(src, dst, 1, TransferKind.SOUNDING)

    def link_state(self) -> list[FixedLinkState]:
        latest: dict[tuple[str, str], list[FixedDelivery]] = {}
        for delivery in self.deliveries:
            latest.setdefault((delivery.src, delivery.dst), []).append(delivery)
        return [self._state(past) for past in latest.values()]

    def usage(self) -> Mapping[str, FixedUsage]:
        return self._usage

    def close(self) -> None:
        self._events.clear()

    def _link(self, src: str, dst: str) -> Link:
        for node in (src, dst):
            if node not in self._nodes:
                raise ValueError(f"no node {node}; there are {', '.join(sorted(self._nodes))}")
        link = self._links.get((src, dst), self._default)
        if link is None or src == dst:
            raise ValueError(f"{src} and {dst} share no radio")
        return link

    def _medium(self, transfer: _Transfer) -> _Medium:
        key = transfer.link.medium or (transfer.src, transfer.dst)
        return self._media.setdefault(key, _Medium())

    def _next(self, medium: _Medium) -> None:
        if medium.current is not None or not medium.queue:
            return
        transfer = medium.current = medium.queue.popleft()
        transfer.began_ns = self._now_ns
        link = transfer.link
        free_ns = self._now_ns + link.airtime_ns(transfer.size_bytes)
        if self._hits_outage(link, free_ns):
            assert link.outage_ns is not None
            free_ns = max(link.outage_ns[0], self._now_ns)
        transfer.free_ns = free_ns
        end_ns = free_ns + link.latency_ns  # of a lost one too: transfers never overtake
        heapq.heappush(self._events, (free_ns, next(self._order), False, transfer))
        heapq.heappush(self._events, (end_ns, next(self._order), True, transfer))

    def _hits_outage(self, link: Link, free_ns: int) -> bool:
        if link.outage_ns is None:
            return False
        return self._now_ns < link.outage_ns[1] and free_ns > link.outage_ns[0]

    def _release(self, transfer: _Transfer) -> None:
        medium = self._medium(transfer)
        if medium.current is transfer:
            medium.current = None
            self._next(medium)

    def _arrived(self, transfer: _Transfer) -> int:
        """Bytes that have arrived by now; all of them only when the transfer is due to end."""
        if transfer.began_ns is None:
            return 0
        elapsed_ns = max(self._now_ns - transfer.began_ns - transfer.link.latency_ns, 0)
        return min(elapsed_ns * transfer.link.rate_bps // (8 * _NS), transfer.size_bytes)

    def _ending(self, transfer: _Transfer) -> TransferOutcome:
        assert transfer.began_ns is not None
        due_ns = transfer.began_ns + transfer.link.airtime_ns(transfer.size_bytes)
        return "delivered" if self._now_ns >= due_ns + transfer.link.latency_ns else "lost"

    def _cut(self, transfer: _Transfer) -> None:
        if transfer.ended:
            return
        medium = self._medium(transfer)
        if transfer in medium.queue:
            medium.queue.remove(transfer)
        self._end(transfer, "cut")

    def _end(self, transfer: _Transfer, outcome: TransferOutcome) -> None:
        transfer.ended = True
        del self._open[transfer]
        link, size = transfer.link, transfer.size_bytes
        arrived = size if outcome == "delivered" else self._arrived(transfer)
        lost = [(begin, min(end, arrived)) for begin, end in link.gaps if begin < arrived]
        if arrived < size:
            lost.append((arrived, size))
        if outcome == "delivered" and lost:
            outcome = "partial" if sum(end - begin for begin, end in lost) < size else "lost"
        airtime_s = 0.0
        if transfer.began_ns is not None:
            airtime_s = (min(transfer.free_ns, self._now_ns) - transfer.began_ns) * 1e-9
        power_w = self._power_w[transfer.src]
        delivery = FixedDelivery(
            src=transfer.src,
            dst=transfer.dst,
            kind=transfer.kind,
            size_bytes=size,
            start_ns=transfer.asked_ns,
            end_ns=self._now_ns,
            outcome=outcome,
            lost=tuple(lost),
            retransmissions=0,
            sinr=power_w * link.gain / (link.noise_w_hz * link.bandwidth_hz),
            tx_power_w=power_w,
            bandwidth_hz=link.bandwidth_hz,
            airtime_s=airtime_s,
            energy_j=power_w * airtime_s,
        )
        self.deliveries.append(delivery)
        sender, receiver = self._usage[transfer.src], self._usage[transfer.dst]
        sender.tx_airtime_s += airtime_s
        sender.tx_energy_j += delivery.energy_j
        receiver.rx_airtime_s += airtime_s
        receiver.rx_energy_j += self._rx_power_w * airtime_s
        self._release(transfer)
        if not transfer.future.done():
            transfer.future.set_result(delivery)

    def _state(self, past: Sequence[FixedDelivery]) -> FixedLinkState:
        last = past[-1]
        link = self._link(last.src, last.dst)
        lost = sum(end - start for delivery in past for start, end in delivery.lost)
        airtime_s = math.fsum(delivery.airtime_s for delivery in past)
        sent = sum(delivery.size_bytes for delivery in past)
        return FixedLinkState(
            src=last.src,
            dst=last.dst,
            gain=link.gain,
            interference_w_hz=link.noise_w_hz,
            sinr=last.sinr,
            goodput_bps=8 * (sent - lost) / airtime_s if airtime_s else 0.0,
            loss=lost / sent,
            age_s=(self._now_ns - last.end_ns) * 1e-9,
            tx_power_w=last.tx_power_w,
        )
