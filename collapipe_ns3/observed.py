"""What a scheme is shown: the nodes, the model, the radios, and what was measured on the links."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from bridge.formats import Wire
from bridge.network import LinkState, Network
from collapipe_ns3.arrangement import Arrangement
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.optimizers import OptimizerKind
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.learning.aggregation import AVERAGE_FLOPS, ServerFlops
from collapipe_ns3.plan import Deadline, Recovery
from collapipe_ns3.references import NO_REFERENCES, References

#: With this margin in dB, or more, over the SINR that the best code needs, fading and interference
#: break no transport block.
#: Without any margin four transfers in ten wait for a retransmission: one block in ten is broken,
#: and a transfer has several blocks.
_SAFE_MARGIN_DB = 15.0
_RETRANSMITTED = 0.4


@dataclass(frozen=True, slots=True)
class MeasuredLink:
    """What was measured on a directed link, linear and in SI units.

    Gain is received over radiated power, antennas included. `interference_w_hz` is the power
    spectral density of noise plus interference. SINR is what the two give at the power and over the
    bandwidth of the latest measurement. Goodput is bits that arrived per second in which the link
    had something to send, 0 before anything but soundings was sent; `loss` is the share of the
    bytes that did not arrive. `age_s` is the time since the latest measurement, and `tx_power_w`
    the transmit power in it.
    """

    src: str
    dst: str
    gain: float
    interference_w_hz: float
    sinr: float
    goodput_bps: float
    loss: float
    age_s: float
    tx_power_w: float

    @classmethod
    def of(cls, state: LinkState) -> Self:
        """A network's own measurement as plain data."""
        return cls(**{f.name: getattr(state, f.name) for f in dataclasses.fields(cls)})

    @classmethod
    def silent(cls, src: str, dst: str) -> Self:
        """A link whose sounding was lost: its gain is 0 and its loss 1."""
        return cls(
            src,
            dst,
            gain=0.0,
            interference_w_hz=0.0,
            sinr=0.0,
            goodput_bps=0.0,
            loss=1.0,
            age_s=0.0,
            tx_power_w=0.0,
        )

    @property
    def pair(self) -> tuple[str, str]:
        """Its sender and its receiver."""
        return self.src, self.dst


def measured_links(network: Network) -> tuple[MeasuredLink, ...]:
    """What a network has measured on its links since its episode began."""
    return tuple(map(MeasuredLink.of, network.link_state()))


@dataclass(frozen=True, slots=True)
class Medium:
    """A band that directed links have in common, and how a plan may divide it.

    `stack` is the name of its radio stack, as in the records of transfers.

    How links use the band:

    - On a `shared` medium they take turns: one transfer at a time has the whole band. With
      `at_once`, transfers are on the air together in different parts of the band, each for as long
      as it takes; their total time is the same.
    - Where a medium takes `grants`, a plan may grant links bandwidths of their own, at most
      `bandwidth_hz` in total. Links without a grant share the rest as on a shared medium.
    - On a medium with neither, every link has the whole band.
    - On a `half_duplex` medium a node either sends or receives at a time.
    - Where `slot_s` is not 0, the band is scheduled in slots of that length: a node sends or
      receives for whole slots, several links may divide a slot, and data arrives at its end.
    - Where a medium has `multicast`, one transmission can be for several receivers, if the links to
      all of them are in it.
    - The nodes in `overhear` receive everything that is sent over the medium, not only what is for
      them. They belong to clusters whose devices use it among themselves.

    What to expect before anything was sent:

    - `densities` are points (SINR, bit/s/Hz) of what the radio carries on the air, empty where
      nothing is known. The fraction `efficiency` of it is payload.
    - A transfer occupies its link for `overhead` times its airtime and arrives `latency_s` later.
      Its receiver sends acknowledgements for `replies` times its airtime.
    - A transport block that was received with errors is sent again `repeat_s` later, 0 where that
      does not delay a transfer.
    - `least_hz` is the narrowest part of the band into which a sender can put all of its power, 0
      where it always uses the whole band.
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
    stack: str = ""
    multicast: bool = False

    def goodput_bps(self, sinr: float) -> float:
        """The goodput to expect at a SINR (linear), of a long transfer with the whole band.

        It is bandwidth × density × `efficiency` / `overhead`; the latency is left out.
        """
        return self.bandwidth_hz * self.density(sinr) * self.efficiency / self.overhead

    def expected_latency_s(self, sinr: float) -> float:
        """The latency to expect at a mean SINR (linear), retransmissions included.

        The share of transfers that wait for a retransmission falls linearly with the SINR's margin
        in dB over what the best code needs.
        """
        if not self.repeat_s or not self.densities:
            return self.latency_s
        margin_db = 10 * math.log10(max(sinr, 1e-9) / self.densities[-1][0])
        share = min(max(1 - margin_db / _SAFE_MARGIN_DB, 0.0), 1.0) * _RETRANSMITTED
        return self.latency_s + share * self.repeat_s

    def density(self, sinr: float) -> float:
        """The bit/s/Hz to expect at a SINR (linear).

        `densities` are interpolated linearly over the SINR in dB; below the first point the density
        is proportional to the SINR, and above the last it is constant. Without any points it is
        Shannon's log2(1 + SINR).
        """
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
    """Everything that a scheme is shown before it plans a round.

    `devices` lists the names of each cluster's devices in the study's order. `profiles` has every
    node, including control units and the base station. `model` has the costs of the model's parts
    as functions of the shape of a micro-batch. `links` is empty before anything was measured.
    `shares` are the clusters' shares of the training data; empty means equal shares. The lengths
    are those that batches are usually padded to, in tokens; None means the task's longest. A link
    that is in none of the `media` is assumed to have a channel of its own. `wire` is the number
    format of activations and gradients on the air. `sounding_j` has the energy in joules that the
    radios of each node spent on sending and on receiving in this round's soundings, above idle, and
    `sounding_s` how long these took. `exchange` is
    how parameters travel if the study gives every scheme the same exchange: it replaces that of the
    scheme's plan. `references` say which node holds which parameters, from which differences can be
    taken (`collapipe_ns3.references`). A plan may choose from `local_steps` to `most_local_steps`
    local steps; None means that there is no choice.

    `absent` are the nodes that are away when the round begins, with the reasons: a plan can't use
    them. `hazards` say how often a node is expected to leave, per second in which it is there, and
    `repair_s` how long it is then away, as far as that is known or has been seen; a node that is
    missing there is not expected to leave. `recovery` is how a pipeline recovers from the loss of a
    device if the study says so, and `deadline` when the base station stops to wait; they replace
    those of the scheme's plan. None where the scheme chooses. `late` has the clusters that still
    send what they trained in an earlier round, and how many rounds ago that was; their control
    units are absent.

    `aggregation` is what the base station computes at the end of a round, and `optimizer` also has
    what the aggregation costs in local steps.
    """

    devices: tuple[tuple[str, ...], ...]
    profiles: Mapping[str, DeviceProfile]
    model: ModelCosts
    batch_size: int
    local_steps: int
    optimizer: OptimizerKind
    links: Sequence[MeasuredLink] = ()
    shares: tuple[float, ...] = ()
    source_length: int | None = None
    target_length: int | None = None
    media: tuple[Medium, ...] = ()
    wire: Wire = "fp32"
    sounding_j: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sounding_s: float = 0.0
    exchange: Arrangement | None = None
    most_local_steps: int | None = None
    references: References = NO_REFERENCES
    absent: Mapping[str, str] = field(default_factory=dict)
    hazards: Mapping[str, float] = field(default_factory=dict)
    repair_s: Mapping[str, float] = field(default_factory=dict)
    recovery: Recovery | None = None
    aggregation: ServerFlops = AVERAGE_FLOPS
    deadline: Deadline | None = None
    late: Mapping[int, int] = field(default_factory=dict)
