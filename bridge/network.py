"""The network as the learning side sees it: a handful of calls, and what they hand back.

`ns3_scenarios.network.Ns3Network` fulfils `Network` without importing it, and so does
`bridge.fixed.FixedRateNetwork`, whose delays are exact closed forms: the cheap network is the
oracle of everything that runs on the dear one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

#: How a call to `Network.advance` ended.
Advance = Literal["reached", "completed", "interrupted", "exhausted"]

#: How a transfer ended: all bytes arrived; some did, over a transport that repairs nothing; the
#: transport gave up, or nothing arrived; it was cancelled by its sender; no connection was made.
Outcome = Literal["delivered", "partial", "lost", "cut", "refused"]


class Delivery(Protocol):
    """What became of one transfer. Times are nanoseconds since the episode began."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def kind(self) -> str:
        """What the sender called it: activation, gradient, parameters, …"""
        ...

    @property
    def size_bytes(self) -> int: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def lost(self) -> tuple[tuple[int, int], ...]:
        """Half-open byte ranges that did not arrive, in order."""
        ...

    @property
    def radio(self) -> str: ...
    @property
    def retransmissions(self) -> int: ...
    @property
    def sinr(self) -> float:
        """Linear, the mean over the transfer's receptions weighted by airtime; nan if none."""
        ...

    @property
    def tx_power_w(self) -> float: ...
    @property
    def bandwidth_hz(self) -> float: ...
    @property
    def airtime_s(self) -> float: ...
    @property
    def energy_j(self) -> float:
        """Energy sent out: transmit power × airtime."""
        ...

    @property
    def extrapolated_bytes(self) -> int:
        """Bytes of the transfer that were not simulated, but taken to go as those that were."""
        ...


class Transfer(Awaitable[Delivery], Protocol):
    """A transfer under way, as an `asyncio.Future` has it (whose own type bars a narrower one)."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Cuts the transfer, unless it has ended."""
        ...

    def done(self) -> bool: ...


class Grant(Protocol):
    """What a plan gives one directed link; None leaves a quantity as it is."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def tx_power_w(self) -> float | None: ...
    @property
    def bandwidth_hz(self) -> float | None: ...


class LinkState(Protocol):
    """What has been measured on one directed link, linear and SI.

    Gain and density are averages over what was measured lately. SINR is what they give at the power
    and over the bandwidth that were measured last, p·gain / (b·density), so that b can be had from
    the rest.
    """

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def gain(self) -> float:
        """Received over radiated power, antennas included."""
        ...

    @property
    def interference_w_hz(self) -> float:
        """Power spectral density of noise plus interference."""
        ...

    @property
    def sinr(self) -> float: ...
    @property
    def goodput_bps(self) -> float:
        """Bits that arrived a second of the time in which the link had something to carry."""
        ...

    @property
    def loss(self) -> float:
        """Share of the bytes handed to the link that did not arrive."""
        ...

    @property
    def age_s(self) -> float:
        """Since the latest measurement, by data or by sounding."""
        ...

    @property
    def tx_power_w(self) -> float:
        """At the latest measurement, over the bandwidth that was measured."""
        ...


class NodeUsage(Protocol):
    """A node's radio since the episode began, control frames and acknowledgements included."""

    @property
    def tx_airtime_s(self) -> float: ...
    @property
    def rx_airtime_s(self) -> float: ...
    @property
    def tx_energy_j(self) -> float: ...
    @property
    def rx_energy_j(self) -> float: ...


class Clock(Protocol):
    """What the event loop needs of a network: the time, and a way to let it pass."""

    def now_ns(self) -> int:
        """Nanoseconds of simulated time since the episode began."""
        ...

    def advance(self, until_ns: int | None) -> Advance:
        """Simulates up to and including `until_ns`; None sets no bound.

        Returns "completed" as soon as a transfer's future was resolved (with all that complete at
        the same instant), "reached" at `until_ns`, "interrupted" after `interrupt`, and, where no
        bound was set, "exhausted" when no event is left that could ever happen.
        """
        ...

    def interrupt(self) -> None:
        """Makes a running `advance` return soon; called from another thread, changes no result."""
        ...

    def in_flight(self) -> int:
        """How many transfers have not ended."""
        ...

    def describe_in_flight(self) -> list[str]:
        """A line for each transfer that has not ended, for error messages."""
        ...


class Network(Clock, Protocol):
    """A network of named nodes. Transfers between a directed pair go first in, first out."""

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """Every transfer that has ended, cut ones included, in order of their ends."""
        ...

    def transfer(self, src: str, dst: str, size_bytes: int, kind: str = "") -> Transfer:
        """Starts sending; the future resolves when the transfer ends, however it ends.

        `kind` says what is sent, for the records; it has no effect on the transfer.

        Cancelling the future cuts the transfer. Raises `ValueError` for a node that doesn't
        exist, two nodes that share no radio, or a size below one byte.
        """
        ...

    def apply(self, grants: Sequence[Grant]) -> None:
        """Sets powers and bandwidths; `ValueError` for what a node or radio can't do."""
        ...

    def sound(self, pairs: Iterable[tuple[str, str]]) -> Awaitable[None]:
        """Measures the links of these (src, dst) pairs; takes simulated time and energy."""
        ...

    def link_state(self) -> Sequence[LinkState]: ...
    def usage(self) -> Mapping[str, NodeUsage]: ...
    def close(self) -> None:
        """Ends the simulation; may be called twice."""
        ...
