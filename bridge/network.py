"""The network as the learning side uses it: a few calls, and what they return.

`ns3_scenarios.network.Ns3Network` implements `Network` without importing it. So does
`bridge.fixed.FixedRateNetwork`, whose delays are exact closed forms: this cheap network is the test
oracle for everything that runs on the expensive one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

#: How a call to `Network.advance` ended.
Advance = Literal["reached", "completed", "interrupted", "exhausted"]

#: How a transfer ended. delivered: all bytes arrived; partial: some did, over a transport that
#: repairs no losses; lost: the transport gave up, or no byte arrived; cut: its sender cancelled it;
#: refused: no connection was made.
TransferOutcome = Literal["delivered", "partial", "lost", "cut", "refused"]


class TransferKind(StrEnum):
    """What a transfer carries, for the records; it has no effect on the transfer."""

    MODEL = "model"  # the global model's parameters, from the base station to the devices
    PARAMETERS = "parameters"  # of a trained model, back to the base station; optimizer states
    STATES = "states"  # optimizer states, in predictions; executed rounds record PARAMETERS
    ACTIVATION = "activation"
    GRADIENT = "gradient"
    LABELS = "labels"
    SOUNDING = "sounding"


class Delivery(Protocol):
    """A transfer that has ended. Times are nanoseconds since the episode began."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def kind(self) -> str:
        """The object that the sender gave: a `TransferKind`, or a text of the sender's own."""
        ...

    @property
    def group(self) -> int:
        """The number that the deliveries of one multicast share; 0: sent to one node alone."""
        ...

    @property
    def size_bytes(self) -> int: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def outcome(self) -> TransferOutcome: ...
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
        """Linear; the mean over the transfer's receptions, weighted by airtime; nan if none."""
        ...

    @property
    def tx_power_w(self) -> float: ...
    @property
    def bandwidth_hz(self) -> float: ...
    @property
    def airtime_s(self) -> float:
        """Time on the air; that of a multicast is divided equally among the nodes that it is for.

        Sums over deliveries are therefore what senders did, however many nodes listened.
        """
        ...

    @property
    def energy_j(self) -> float:
        """Radiated energy: transmit power × airtime."""
        ...

    @property
    def extrapolated_bytes(self) -> int:
        """Bytes that were not simulated, but assumed to take as long as those that were."""
        ...


class Transfer(Awaitable[Delivery], Protocol):
    """A transfer in progress: the part of `asyncio.Future` that is used, typed as `Delivery`."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Cuts the transfer, unless it has ended."""
        ...

    def done(self) -> bool: ...


class Grant(Protocol):
    """The power and bandwidth that a plan grants to a directed link; None changes nothing."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str:
        """A node, or a `group_name`."""
        ...

    @property
    def tx_power_w(self) -> float | None: ...
    @property
    def bandwidth_hz(self) -> float | None: ...


class LinkState(Protocol):
    """What has been measured on one directed link, in linear SI units.

    Gain and density are averages over the latest measurements. With the power p and the bandwidth b
    of the last one, SINR = p·gain / (b·density), from which b can be computed.
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
        """Bits that arrived per second of the time in which the link had anything to send."""
        ...

    @property
    def loss(self) -> float:
        """Share of the bytes given to the link that did not arrive."""
        ...

    @property
    def age_s(self) -> float:
        """Time since the latest measurement, by data or by sounding."""
        ...

    @property
    def tx_power_w(self) -> float:
        """Transmit power at the latest measurement, over the bandwidth measured."""
        ...


class NodeUsage(Protocol):
    """How much a node's radio was used since the episode began, control frames included."""

    @property
    def tx_airtime_s(self) -> float: ...
    @property
    def rx_airtime_s(self) -> float: ...
    @property
    def tx_energy_j(self) -> float: ...
    @property
    def rx_energy_j(self) -> float: ...


class Clock(Protocol):
    """What the event loop needs from a network: the current time, and a way to advance it."""

    def now_ns(self) -> int:
        """Nanoseconds of simulated time since the episode began."""
        ...

    def advance(self, until_ns: int | None) -> Advance:
        """Simulates up to and including `until_ns`; None sets no bound.

        Returns "completed" once a transfer's future was resolved (and those of all that complete at
        the same time), "reached" at `until_ns`, "interrupted" after `interrupt`, and, if there is
        no bound, "exhausted" when no event is left.
        """
        ...

    def interrupt(self) -> None:
        """Makes a running `advance` return soon, without changing results; for other threads."""
        ...

    def in_flight(self) -> int:
        """The number of transfers that have not ended."""
        ...

    def describe_in_flight(self) -> list[str]:
        """A line for each transfer that has not ended, for error messages."""
        ...


class Network(Clock, Protocol):
    """A network of named nodes. Transfers between a directed pair go first in, first out."""

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """Every transfer that has ended, including those cut, in the order of their ends."""
        ...

    def transfer(self, src: str, dst: str, size_bytes: int, kind: str = "") -> Transfer:
        """Starts sending; the future resolves when the transfer ends, whatever its outcome.

        `kind` says what is sent, for the records; it has no effect on the transfer, and the same
        object is the `kind` of its `Delivery`. Cancelling the future cuts the transfer. Raises
        `ValueError` for a node that doesn't exist, two nodes that share no radio, or a size below
        one byte.
        """
        ...

    def apply(self, grants: Sequence[Grant]) -> None:
        """Sets powers and bandwidths; raises `ValueError` for one that a radio can't use."""
        ...

    def sound(self, pairs: Iterable[tuple[str, str]]) -> Awaitable[None]:
        """Measures the links of these (src, dst) pairs; takes simulated time and energy."""
        ...

    def link_state(self) -> Sequence[LinkState]: ...
    def usage(self) -> Mapping[str, NodeUsage]: ...
    def close(self) -> None:
        """Ends the simulation; may be called twice."""
        ...


#: A position in metres: east, north, up.
Position = tuple[float, float, float]


@runtime_checkable
class Placed(Protocol):
    """Also implemented by a network whose nodes have positions."""

    def positions(self) -> Mapping[str, Position]:
        """The present positions of all nodes that have one, interferers included."""
        ...


def positions(network: Network) -> Mapping[str, Position]:
    """The present positions of a network's nodes; none where the network knows none."""
    return network.positions() if isinstance(network, Placed) else {}


@runtime_checkable
class Multicast(Protocol):
    """Also implemented by a network that can send the same bytes to several nodes at once."""

    def multicast(
        self, src: str, receivers: Sequence[str], size_bytes: int, kind: str = ""
    ) -> Sequence[Transfer]:
        """Starts one transmission; a transfer for each receiver, in their order.

        It goes at the rate of the weakest receiver, and is repeated while any of them lacks a part
        of it. A receiver whose link fails is dropped, and its transfer is lost; one whose transfer
        is cancelled is dropped too. The others go on. Where gaps are not repaired, each delivery
        has its own, and one multicast of their union repairs them all. Multicasts and transfers
        from `src` to one node arrive in the order in which they were started. Deliveries share a
        `Delivery.group`.

        Raises `ValueError` for what `Network.transfer` refuses, and for receivers that no single
        transmission reaches; the message has the reason.
        """
        ...


@runtime_checkable
class Switchable(Protocol):
    """Also implemented by a network whose nodes can be switched off."""

    def switch(self, node: str, on: bool) -> None:
        """Switches a node off, or on again; the same call may be made twice.

        While it is off, its radios neither send nor receive, as far as the network can do that.
        Transfers from and to it have to be cut by who began them: they would wait or be lost.
        Raises `ValueError` for a node that doesn't exist.
        """
        ...


GROUP_SIGN = "+"


def group_name(receivers: Iterable[str]) -> str:
    """How a grant names the receivers of a multicast, in whatever order they are given."""
    return GROUP_SIGN.join(sorted(receivers))
