"""What was learned from executed rounds: how fast nodes are, and what transfers take.

A transfer holds its link for α times its time on the air and arrives a latency later; see
`collapipe_ns3.prediction.transfer_services`.

What a second of airtime carries is kept as an efficiency η = bits / (airtime·b·s(p·g/(b·n))). Here
s is the medium's own curve of bit/s/Hz over SINR, or Shannon's where it has none; bandwidth b and
power p are those of the transfers, gain g and interference n those of the link's state. The next
plan is made from the same state, so that it expects the same rate at the same power and bandwidth.
A multicast goes at the rate of its weakest receiver, whose η it shows, and nothing of the others'.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bridge.network import Delivery, TransferKind
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.observed import MeasuredLink, Medium
from collapipe_ns3.outcome import Computation, RoundOutcome
from collapipe_ns3.prediction.directions import Pair
from collapipe_ns3.prediction.transfer_services import Service, learned_services
from collapipe_ns3.prediction.transmissions import Transmission, transmissions


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Measured figures. All but speeds are exponentially weighted means over rounds.

    `speeds` are FLOP/s by node in the last round. `efficiencies` are η by link, `services` are by
    medium, or by link where a link is in no medium. `latencies` are in seconds by link, `losses`
    the shares of bytes that were lost by link. `spending` is measured over predicted energy by
    node, for sending and for receiving (`collapipe_ns3.prediction.energy_ratios`).
    """

    speeds: Mapping[str, float] = field(default_factory=dict)
    efficiencies: Mapping[Pair, float] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    latencies: Mapping[Pair, float] = field(default_factory=dict)
    losses: Mapping[Pair, float] = field(default_factory=dict)
    spending: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def after(
        self,
        outcome: RoundOutcome,
        profiles: Mapping[str, DeviceProfile],
        media: Sequence[Medium],
        granted: Container[Pair],
        weight: float,
    ) -> Knowledge:
        """The knowledge after another round, whose figures count with `weight` in (0, 1].

        `granted` are the links that had a bandwidth of their own.
        """
        # Soundings say nothing about transfers: probes are short, reference signals carry nothing.
        carried = [each for each in outcome.deliveries if each.kind != TransferKind.SOUNDING]
        efficiencies = _efficiencies(carried, outcome.links, media)
        services, latencies = learned_services(self.services, carried, media, granted)
        return Knowledge(
            # Not averaged over rounds: the speed of a node is its mean over the last round.
            speeds={**self.speeds, **_speeds(outcome.computations, profiles)},
            efficiencies=_mixed(self.efficiencies, efficiencies, weight),
            services=_mixed_services(self.services, services, weight),
            latencies=_mixed(self.latencies, latencies, weight),
            losses=_mixed(self.losses, losses(carried), weight),
            spending=self.spending,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {
            "speeds": dict(self.speeds),
            "efficiencies": [[*pair, value] for pair, value in self.efficiencies.items()],
            "services": {k: [s.latency_s, s.overhead, s.bulk] for k, s in self.services.items()},
            "latencies": [[*pair, value] for pair, value in self.latencies.items()],
            "losses": [[*pair, value] for pair, value in self.losses.items()],
            "spending": {node: list(both) for node, both in self.spending.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            speeds=dict(data["speeds"]),
            efficiencies={(src, dst): value for src, dst, value in data["efficiencies"]},
            services={key: Service(*values) for key, values in data["services"].items()},
            latencies={(src, dst): value for src, dst, value in data["latencies"]},
            losses={(src, dst): value for src, dst, value in data["losses"]},
            spending={
                node: (sent, received) for node, (sent, received) in data["spending"].items()
            },
        )


def _mixed(old: Mapping[Any, float], new: Mapping[Any, float], weight: float) -> dict[Any, float]:
    return {**old, **{k: weight * v + (1 - weight) * old.get(k, v) for k, v in new.items()}}


def _mixed_services(
    old: Mapping[str, Service], new: Mapping[str, Service], weight: float
) -> dict[str, Service]:
    latencies = _mixed(
        {name: service.latency_s for name, service in old.items()},
        {name: service.latency_s for name, service in new.items()},
        weight,
    )
    overheads = _mixed(
        {name: service.overhead for name, service in old.items()},
        {name: service.overhead for name, service in new.items()},
        weight,
    )
    bulks = _mixed(
        {name: service.bulk for name, service in old.items()},
        {name: service.bulk for name, service in new.items()},
        weight,
    )
    return {name: Service(latencies[name], overheads[name], bulks[name]) for name in latencies}


def _speeds(
    computations: Iterable[Computation], profiles: Mapping[str, DeviceProfile]
) -> dict[str, float]:
    """FLOP/s of each node, from the time of its computations without their fixed cost."""
    flops: dict[str, float] = {}
    busy_s: dict[str, float] = {}
    for done in computations:
        spent_s = (done.end_ns - done.start_ns) / 1e9 - profiles[done.node].overhead_s
        if done.flops > 0 and spent_s > 0:
            flops[done.node] = flops.get(done.node, 0.0) + done.flops
            busy_s[done.node] = busy_s.get(done.node, 0.0) + spent_s
    return {node: flops[node] / busy_s[node] for node in flops}


def _efficiencies(
    deliveries: Iterable[Delivery], links: Iterable[MeasuredLink], media: Sequence[Medium]
) -> dict[Pair, float]:
    of_pair = {pair: medium for medium in media for pair in medium.links}
    state = {(link.src, link.dst): link for link in links}
    bits: dict[Pair, float] = {}
    bound: dict[Pair, float] = {}
    for sent in transmissions(deliveries):
        if (each := _weakest(sent, state)) is None:
            continue
        pair = (each.src, each.dst)
        bits[pair] = bits.get(pair, 0.0) + 8 * _arrived(each)
        # A transfer that was cut off while it queued has no airtime.
        if sent.airtime_s > 0 and sent.bandwidth_hz > 0:
            medium, sinr = of_pair.get(pair), _snr(each, state[pair]) / sent.bandwidth_hz
            density = medium.density(sinr) if medium else math.log2(1 + sinr)
            carried = sent.airtime_s * sent.bandwidth_hz * density
            bound[pair] = bound.get(pair, 0.0) + carried
    return {pair: bits[pair] / bound[pair] for pair in bound if bits[pair] and bound[pair]}


def _weakest(sent: Transmission, state: Mapping[Pair, MeasuredLink]) -> Delivery | None:
    """The delivery over the link that determined the rate; None where that can't be known.

    A multicast of which a receiver got nothing spent time on that receiver, and says nothing of the
    others' rates.
    """
    several = len(sent.deliveries) > 1
    links = [state.get((each.src, each.dst)) for each in sent.deliveries]
    known = [link for link in links if link and link.gain > 0 and link.interference_w_hz > 0]
    if len(known) < len(links) or (several and not sent.arrived(whole=False)):
        return None
    snrs = [_snr(each, link) for each, link in zip(sent.deliveries, known, strict=True)]
    return sent.deliveries[snrs.index(min(snrs))]


def _snr(each: Delivery, link: MeasuredLink) -> float:
    """SINR × bandwidth at the power of a transfer."""
    return each.tx_power_w * link.gain / link.interference_w_hz


def losses(deliveries: Iterable[Delivery]) -> dict[Pair, float]:
    """The share of bytes that did not arrive, by link; below 1.

    Transfers that did not arrive at all are left out: they are sent again or end their pipeline,
    and distort no tensor.
    """
    sent: dict[Pair, int] = {}
    arrived: dict[Pair, int] = {}
    for each in deliveries:
        if each.outcome in ("delivered", "partial"):
            pair = (each.src, each.dst)
            sent[pair] = sent.get(pair, 0) + each.size_bytes
            arrived[pair] = arrived.get(pair, 0) + _arrived(each)
    return {pair: 1 - arrived[pair] / sent[pair] for pair in sent}


def _arrived(each: Delivery) -> int:
    return each.size_bytes - sum(end - start for start, end in each.lost)
