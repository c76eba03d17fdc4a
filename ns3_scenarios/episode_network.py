"""The part that all networks on an episode have in common: the clock, and the transfers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ns3_scenarios import runtime
from ns3_scenarios.mobility import Point
from ns3_scenarios.readings import Ended, RadioDelivery, TransferOutcome, ratio, take_ended
from ns3_scenarios.scenario import Pair

Advance = Literal["reached", "completed", "interrupted", "exhausted"]

#: How long nodes may take to attach to their base station.
ATTACH_LIMIT_NS = 5_000_000_000

#: The size of a sounding that is a transfer: a few frames at any rate.
PROBE_BYTES = 20_000

ENDINGS: tuple[Advance, ...] = ("reached", "completed", "interrupted", "exhausted")  # those of C++


@dataclass(frozen=True, slots=True, eq=False)
class _Transfer:
    number: int
    src: str
    dst: str
    kind: str
    size_bytes: int
    start_ns: int
    group: int
    future: asyncio.Future[RadioDelivery]


class EpisodeNetwork:
    """A running `collapipe::Episode`, with its nodes by name.

    `numbers` has the episode's number of each node, `radio` the name of what joins each directed
    pair, and `unrepaired` the pairs whose transfers may arrive with gaps. Times are nanoseconds
    since the episode's time 0.
    """

    def __init__(
        self,
        episode: Any,
        numbers: Mapping[str, int],
        radio: Mapping[Pair, str],
        unrepaired: Collection[Pair] = (),
    ) -> None:
        # Torch computes while ns-3 runs.
        runtime.native().Episode.Advance.__release_gil__ = True
        self.deliveries: list[RadioDelivery] = []
        self._episode = episode
        self._numbers = numbers
        self._names = {number: name for name, number in numbers.items()}
        self._radio = radio
        self._unrepaired = unrepaired
        self._transfers: dict[int, _Transfer] = {}
        self._count = 0
        # Nodes with positions that are not part of the network, such as interferers.
        self._around: Mapping[str, int] = {}

    def now_ns(self) -> int:
        return int(self._episode.Now())

    def advance(self, until_ns: int | None) -> Advance:
        try:
            ended: Advance = ENDINGS[self._episode.Advance(-1 if until_ns is None else until_ns)]
        except (
            Exception
        ) as error:  # not around the call, as a context manager takes longer than the call
            doing = f"ns-3, at simulated time {self.now_ns() * 1e-9:.9f} s"
            with runtime.simulation_errors(doing):
                raise error from None
        if ended == "completed":
            self._collect()
        return ended

    def interrupt(self) -> None:
        self._episode.Interrupt()

    def in_flight(self) -> int:
        return len(self._transfers)

    def describe_in_flight(self) -> list[str]:
        return [
            f"{t.src} → {t.dst}, {t.size_bytes} bytes{t.kind and f' of {t.kind}'}, "
            f"since {t.start_ns * 1e-9:.9f} s"
            for t in self._transfers.values()
        ]

    def transfer(
        self, src: str, dst: str, size_bytes: int, kind: str = ""
    ) -> asyncio.Future[RadioDelivery]:
        self._radio_between(src, dst)
        if size_bytes < 1:
            raise ValueError(f"{src} → {dst}: expected at least one byte, not {size_bytes}")
        transfer = self._begin(src, dst, size_bytes, kind)
        self._cut_if_cancelled(transfer)
        self._send(transfer.number, src, dst, size_bytes)
        return transfer.future

    def switch(self, node: str, on: bool) -> None:
        """Switches a node on or off; see `bridge.network.Switchable`.

        The Wi-Fi radio of a node that is off neither sends nor receives. Over OFDMA a node without
        transfers is silent by itself. An LTE terminal stays connected: its control signals go on.
        """
        if node not in self._numbers:
            raise ValueError(f"no node {node!r}; there are {', '.join(self._numbers)}")
        self._episode.Switch(self._numbers[node], on)

    def close(self) -> None:
        if self._episode is not None:
            self._episode.__destruct__()
            self._episode = None
            self._transfers.clear()
            runtime.load().Simulator.Destroy()

    def positions(self) -> dict[str, Point]:
        """The present positions of all nodes with a mobility model, interferers included."""
        found = {}
        for name, number in {**self._numbers, **self._around}.items():
            if place := self._episode.Place(number):
                at = place.GetPosition()
                found[name] = (float(at.x), float(at.y), float(at.z))
        return found

    def _radio_between(self, src: str, dst: str) -> str:
        for name in (src, dst):
            if name not in self._numbers:
                raise ValueError(f"no node {name!r}; there are {', '.join(self._numbers)}")
        radio = self._radio.get((src, dst))
        if radio is None:
            reachable = ", ".join(to for frm, to in self._radio if frm == src)
            raise ValueError(f"{src} and {dst} share no radio; {src} reaches {reachable}")
        return radio

    def _begin(self, src: str, dst: str, size_bytes: int, kind: str, group: int = 0) -> _Transfer:
        future: asyncio.Future[RadioDelivery] = asyncio.get_running_loop().create_future()
        self._count += 1
        now_ns = self.now_ns()
        transfer = _Transfer(self._count, src, dst, kind, size_bytes, now_ns, group, future)
        self._transfers[transfer.number] = transfer
        return transfer

    def _cut_if_cancelled(self, transfer: _Transfer) -> None:
        transfer.future.add_done_callback(
            lambda done: self._cut(transfer) if done.cancelled() else None
        )

    def _send(self, number: int, src: str, dst: str, size_bytes: int) -> None:
        self._episode.Send(number, self._numbers[src], self._numbers[dst], size_bytes)

    def _cut(self, transfer: _Transfer) -> None:
        if transfer.number in self._transfers:
            src, dst = self._numbers[transfer.src], self._numbers[transfer.dst]
            self._episode.Cut(transfer.number, src, dst)
            self._collect()

    def _collect(self) -> None:
        """Records the transfers that have ended and resolves their futures, in ns-3's order."""
        for ended in take_ended(self._episode):
            transfer = self._transfers.pop(ended.number)
            delivery = self._delivery(transfer, ended)
            self.deliveries.append(delivery)
            if not transfer.future.done():
                transfer.future.set_result(delivery)

    def _delivery(self, transfer: _Transfer, ended: Ended) -> RadioDelivery:
        return RadioDelivery(
            src=transfer.src,
            dst=transfer.dst,
            kind=transfer.kind,
            size_bytes=transfer.size_bytes,
            start_ns=transfer.start_ns,
            end_ns=ended.end_ns,
            outcome=self._outcome(transfer, ended),
            lost=ended.lost,
            radio=self._radio[transfer.src, transfer.dst],
            retransmissions=ended.retransmissions,
            sinr=ratio(ended.sinr_time, ended.rx_time_s),
            tx_power_w=ratio(ended.energy_j, ended.airtime_s),
            bandwidth_hz=ratio(ended.bandwidth_time, ended.airtime_s),
            airtime_s=ended.airtime_s,
            energy_j=ended.energy_j,
            extrapolated_bytes=ended.extrapolated_bytes,
            group=transfer.group,
        )

    def _outcome(self, transfer: _Transfer, ended: Ended) -> TransferOutcome:
        """The native outcome, or "partial" where a transfer arrived with gaps that are allowed."""
        missing = sum(end - begin for begin, end in ended.lost)
        gaps = ended.outcome == "lost" and missing < transfer.size_bytes
        if gaps and (transfer.src, transfer.dst) in self._unrepaired:
            return "partial"
        return ended.outcome
