"""A network with exact closed-form delays: the test oracle for what runs on a simulated one."""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.network import GROUP_SIGN, Advance, Grant, TransferKind, TransferOutcome

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
    group: int = 0


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
class _Sending:
    """What goes on the air once, for one receiver or several."""

    media: list[_Medium]
    group: int
    transfers: list[_Transfer] = field(default_factory=list)
    began_ns: int | None = None
    rate_bps: int = 0  # of the weakest receiver, once it has begun

    def shared_ns(self, transfer: _Transfer, until_ns: int) -> float:
        """The part of its time on the air that counts for a transfer, up to `until_ns`.

        At each instant the receivers that still listen have equal parts.
        """
        if self.began_ns is None:
            return 0.0
        leaving = sorted(min(each.free_ns, until_ns) for each in self.transfers)
        own_ns, part_ns, at_ns = min(transfer.free_ns, until_ns), 0.0, self.began_ns
        for gone, next_ns in enumerate(leaving):
            step_ns = min(next_ns, own_ns) - at_ns
            if step_ns > 0:
                part_ns += step_ns / (len(leaving) - gone)
                at_ns += step_ns
        return part_ns


@dataclass(slots=True, eq=False)
class _Transfer:
    src: str
    dst: str
    kind: str
    size_bytes: int
    link: Link
    asked_ns: int
    future: asyncio.Future[FixedDelivery]
    sending: _Sending
    free_ns: int = 0  # when its receiver stops listening
    failed: bool = False  # by an outage
    ended: bool = False


@dataclass(slots=True, eq=False)
class _Medium:
    queue: deque[_Sending] = field(default_factory=deque)
    current: _Sending | None = None


class FixedRateNetwork:
    """Nodes connected by links of fixed rate and latency; implements `bridge.network.Network`.

    `links` maps (src, dst) to a link; `default` is the link of every other pair (None: they share
    no radio). `tx_power_w` and `rx_power_w` apply to every node.

    A multicast (`bridge.network.Multicast`) begins when the links to all of its receivers are free
    and occupies all of them for the airtime of the slowest one, also after that one has failed. It
    arrives at each receiver with the latency of its own link.
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
        self._groups = itertools.count(1)
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
                    self._end(transfer, "lost" if transfer.failed else "delivered")
                    completed = True
                else:
                    self._release(transfer.sending)
            if completed:
                return "completed"
        if until_ns is None:
            return "exhausted"
        self._now_ns = max(self._now_ns, until_ns)
        return "reached"

    def transfer(
        self, src: str, dst: str, size_bytes: int, kind: str = ""
    ) -> asyncio.Future[FixedDelivery]:
        (future,) = self._send(src, [dst], size_bytes, kind, 0)
        return future

    def multicast(
        self, src: str, receivers: Sequence[str], size_bytes: int, kind: str = ""
    ) -> list[asyncio.Future[FixedDelivery]]:
        if not receivers or len(set(receivers)) < len(receivers):
            named = ", ".join(receivers) or "none"
            raise ValueError(f"{src}: expected one receiver or more, each once, not {named}")
        return self._send(src, receivers, size_bytes, kind, next(self._groups))

    def _send(
        self, src: str, receivers: Sequence[str], size_bytes: int, kind: str, group: int
    ) -> list[asyncio.Future[FixedDelivery]]:
        links = [self._link(src, dst) for dst in receivers]
        if size_bytes < 1:
            to = ", ".join(receivers)
            raise ValueError(f"{src} → {to}: expected at least one byte, not {size_bytes}")
        sending = _Sending(self._media_of(src, receivers, links), group)
        loop = asyncio.get_running_loop()
        for dst, link in zip(receivers, links, strict=True):
            future: asyncio.Future[FixedDelivery] = loop.create_future()
            transfer = _Transfer(src, dst, kind, size_bytes, link, self._now_ns, future, sending)
            future.add_done_callback(functools.partial(self._cancelled, transfer))
            sending.transfers.append(transfer)
            self._open[transfer] = None
        for medium in sending.media:
            medium.queue.append(sending)
        self._next(sending.media)
        return [transfer.future for transfer in sending.transfers]

    def apply(self, grants: Sequence[Grant]) -> None:
        for grant in grants:
            for dst in grant.dst.split(GROUP_SIGN):
                self._link(grant.src, dst)
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

    def switch(self, node: str, on: bool) -> None:
        """Checks that there is such a node; without transfers it is silent by itself."""
        if node not in self._nodes:
            raise ValueError(f"no node {node}; there are {', '.join(sorted(self._nodes))}")

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

    def _media_of(self, src: str, receivers: Sequence[str], links: Sequence[Link]) -> list[_Medium]:
        keys = [link.medium or (src, dst) for dst, link in zip(receivers, links, strict=True)]
        return [self._media.setdefault(key, _Medium()) for key in dict.fromkeys(keys)]

    def _next(self, media: Sequence[_Medium]) -> None:
        """Starts what comes first on these media, where all that it needs are free for it."""
        for medium in media:
            if medium.current is None and medium.queue:
                sending = medium.queue[0]
                if all(m.current is None and m.queue[0] is sending for m in sending.media):
                    self._start(sending)

    def _start(self, sending: _Sending) -> None:
        for medium in sending.media:
            medium.queue.popleft()
            medium.current = sending
        sending.began_ns = self._now_ns
        listening = [transfer for transfer in sending.transfers if not transfer.ended]
        slowest = min((transfer.link for transfer in listening), key=lambda link: link.rate_bps)
        sending.rate_bps = slowest.rate_bps
        for transfer in listening:
            link = transfer.link
            free_ns = self._now_ns + slowest.airtime_ns(transfer.size_bytes)
            if self._hits_outage(link, free_ns):
                assert link.outage_ns is not None
                free_ns = max(link.outage_ns[0], self._now_ns)
                transfer.failed = True
            transfer.free_ns = free_ns
            end_ns = free_ns + link.latency_ns  # of a lost one too: transfers never overtake
            heapq.heappush(self._events, (free_ns, next(self._order), False, transfer))
            heapq.heappush(self._events, (end_ns, next(self._order), True, transfer))

    def _hits_outage(self, link: Link, free_ns: int) -> bool:
        if link.outage_ns is None:
            return False
        return self._now_ns < link.outage_ns[1] and free_ns > link.outage_ns[0]

    def _release(self, sending: _Sending) -> None:
        """Frees the media of what is on the air, once nobody listens to it any more."""
        if any(each.free_ns > self._now_ns for each in sending.transfers):
            return
        for medium in sending.media:
            if medium.current is sending:
                medium.current = None
        self._next(sending.media)

    def _arrived(self, transfer: _Transfer) -> int:
        """Bytes that have arrived by now; all of them only when the transfer is due to end."""
        sending = transfer.sending
        if sending.began_ns is None:
            return 0
        elapsed_ns = max(self._now_ns - sending.began_ns - transfer.link.latency_ns, 0)
        return min(elapsed_ns * sending.rate_bps // (8 * _NS), transfer.size_bytes)

    def _cancelled(self, transfer: _Transfer, done: asyncio.Future[FixedDelivery]) -> None:
        if not done.cancelled() or transfer.ended:
            return
        sending = transfer.sending
        if sending.began_ns is None and all(t.ended or t is transfer for t in sending.transfers):
            for medium in sending.media:
                medium.queue.remove(sending)
        self._end(transfer, "cut")

    def _end(self, transfer: _Transfer, outcome: TransferOutcome) -> None:
        transfer.ended = True
        del self._open[transfer]
        link, size, sending = transfer.link, transfer.size_bytes, transfer.sending
        transfer.free_ns = min(transfer.free_ns, self._now_ns)
        arrived = size if outcome == "delivered" else self._arrived(transfer)
        lost = [(begin, min(end, arrived)) for begin, end in link.gaps if begin < arrived]
        if arrived < size:
            lost.append((arrived, size))
        if outcome == "delivered" and lost:
            outcome = "partial" if sum(end - begin for begin, end in lost) < size else "lost"
        airtime_s = sending.shared_ns(transfer, self._now_ns) * 1e-9
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
            group=sending.group,
        )
        self.deliveries.append(delivery)
        sender, receiver = self._usage[transfer.src], self._usage[transfer.dst]
        sender.tx_airtime_s += airtime_s
        sender.tx_energy_j += delivery.energy_j
        if sending.began_ns is not None:
            listened_s = (transfer.free_ns - sending.began_ns) * 1e-9
            receiver.rx_airtime_s += listened_s
            receiver.rx_energy_j += self._rx_power_w * listened_s
        self._release(sending)
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
