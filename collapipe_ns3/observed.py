"""What a scheme is shown: who there is, what is trained, what was measured, how a round went."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from bridge.formats import Wire
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.learning.spec import ModelSpec

#: From so much spare SINR on, fading and interference break no block; without any, four
#: transfers in ten wait for one to come again (one block in ten is broken, a transfer has several).
_SPARE_DB = 15.0
_OFTEN = 0.4


class MeasuredLink(Protocol):
    """What was measured on a directed link, linear and SI; see `bridge.network.LinkState`."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def gain(self) -> float: ...
    @property
    def interference_w_hz(self) -> float: ...
    @property
    def sinr(self) -> float: ...
    @property
    def goodput_bps(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def age_s(self) -> float: ...
    @property
    def tx_power_w(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Medium:
    """A band that directed links have in common, and how a plan may divide it.

    A `shared` medium carries one transfer at a time, in effect: all its links take turns at the
    whole band. With `at_once` they are really on the air together, each over a part of the band and
    for as long as it takes. Where it takes `grants`, a plan may give links bandwidths of their own,
    all together at most `bandwidth_hz`, and those that it gives none share the rest as on a shared
    medium. A medium that is neither has the whole band for every link. A `half_duplex` one has
    nodes that send or receive, never both at once. One of `slot_s` is given out in slots of that
    length: a node sends or receives for whole slots, links may divide one, and what it carried has
    arrived at its end.

    What is sent is received by the node that it is for. Those that `overhear` a medium receive all
    that is sent over it; they are nodes of clusters whose devices use it among themselves.

    The rest is what to expect before anything was sent: `densities` are points (SINR, bit/s/Hz) of
    what the radio carries while it sends, empty where nothing is known, of which `efficiency` is
    payload; a transfer holds its link for `overhead` times its airtime, arrives `latency_s` after,
    and its receiver acknowledges it for `replies` times its airtime. Where `repeat_s` is not 0,
    that is how much later what was broken is sent again, which links do the more often the less
    their SINR is above what the best code needs. `least_hz` is the narrowest part of the band that
    a sender may put all of its power into; 0 where it always uses all of the band.
    """

    name: str
    links: frozenset[tuple[str, str]]
    bandwidth_hz: float
    grants: bool = False
    shared: bool = False
    at_once: bool = False
    half_duplex: bool = False
    slot_s: float = 0.0
    overhear: frozenset[str] = frozenset()
    densities: tuple[tuple[float, float], ...] = ()
    efficiency: float = 1.0
    overhead: float = 1.0
    replies: float = 0.0
    latency_s: float = 5e-3
    repeat_s: float = 0.0
    least_hz: float = 0.0

    def late_s(self, sinr: float) -> float:
        """The latency to expect at a mean SINR."""
        if not self.repeat_s or not self.densities:
            return self.latency_s
        spare_db = 10 * math.log10(max(sinr, 1e-9) / self.densities[-1][0])
        often = min(max(1 - spare_db / _SPARE_DB, 0.0), 1.0) * _OFTEN
        return self.latency_s + often * self.repeat_s

    def density(self, sinr: float) -> float:
        """Bits a second a hertz to expect at a SINR: between the points in dB, else Shannon's."""
        if not self.densities:
            return math.log2(1 + sinr)
        points = self.densities
        if sinr <= points[0][0]:
            return points[0][1] * sinr / points[0][0]
        for (low, less), (high, more) in pairwise(points):
            if sinr < high:
                return less + (more - less) * math.log(sinr / low) / math.log(high / low)
        return points[-1][1]


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a scheme is given: who there is, what is trained, and what was measured.

    `devices` lists each cluster's device names in the study's order; `profiles` has every node,
    control units and the base station included; `links` is empty before anything was sent.
    `shares` are the clusters' parts of the training data, equal where it is empty; the lengths are
    what batches are usually padded to, in tokens, None for the task's longest. `media` says what
    the radios are; a link in none of them is taken to have a channel of its own. `wire` is the
    format of activations and gradients on the air. `sounding_j` are the joules that each node's
    radios have sent and received in this round's soundings.
    """

    devices: tuple[tuple[str, ...], ...]
    profiles: Mapping[str, DeviceProfile]
    model: ModelSpec
    batch_size: int
    local_steps: int
    optimizer: str
    links: Sequence[MeasuredLink] = ()
    shares: tuple[float, ...] = ()
    source_length: int | None = None
    target_length: int | None = None
    media: tuple[Medium, ...] = ()
    wire: Wire = "fp32"
    sounding_j: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Sent(Protocol):
    """A transfer that ended; see `bridge.network.Delivery`."""

    @property
    def src(self) -> str: ...
    @property
    def dst(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def outcome(self) -> str: ...
    @property
    def lost(self) -> Sequence[tuple[int, int]]: ...
    @property
    def airtime_s(self) -> float: ...
    @property
    def bandwidth_hz(self) -> float: ...
    @property
    def tx_power_w(self) -> float: ...


class Computed(Protocol):
    """A computation that ended; see `collapipe_ns3.outcome.Computation`."""

    @property
    def node(self) -> str: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def flops(self) -> float: ...


class Spent(Protocol):
    """What a node spent in a round; see `collapipe_ns3.outcome.DeviceUse`."""

    @property
    def device(self) -> str: ...
    @property
    def compute_energy_j(self) -> float: ...
    @property
    def tx_energy_j(self) -> float: ...
    @property
    def rx_energy_j(self) -> float: ...


class PhaseTimes(Protocol):
    """Where a round's time went, in ns; see `collapipe_ns3.outcome.Phases`."""

    @property
    def broadcast_ns(self) -> int: ...
    @property
    def pipeline_ns(self) -> int: ...
    @property
    def gather_ns(self) -> int: ...
    @property
    def upload_ns(self) -> int: ...
    @property
    def aggregate_ns(self) -> int: ...


class Norms(Protocol):
    """Norms of a step's gradient; see `collapipe_ns3.outcome.GradientNorms`."""

    @property
    def sequences(self) -> int: ...
    @property
    def prefix_squares(self) -> Sequence[float]: ...


class Distorted(Protocol):
    """What the air did to a pipeline's tensors; see `collapipe_ns3.outcome.Strayed`."""

    @property
    def weight(self) -> float: ...
    @property
    def sequences(self) -> int: ...
    @property
    def micro_batches(self) -> int: ...
    @property
    def distortion(self) -> float: ...


class Outcome(Protocol):
    """What a scheme may learn from after its plan was executed."""

    @property
    def duration_ns(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def energy_j(self) -> Mapping[str, float]:
        """Energy of each node in the round, computation and radio."""
        ...

    @property
    def devices(self) -> Sequence[Spent]: ...
    @property
    def phases(self) -> PhaseTimes: ...
    @property
    def abandoned(self) -> Mapping[int, str]: ...
    @property
    def links(self) -> Sequence[MeasuredLink]: ...
    @property
    def deliveries(self) -> Sequence[Sent]: ...
    @property
    def computations(self) -> Sequence[Computed]: ...
    @property
    def gradients(self) -> Sequence[Norms]: ...
    @property
    def strayed(self) -> Sequence[Distorted]: ...
