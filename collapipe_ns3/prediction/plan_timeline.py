"""Predicts the timeline of a plan on measured links, by an event graph of what the engine does."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from itertools import pairwise

from bridge.network import group_name
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.eventgraph.timeline import HopTransfer, Timeline, build_timeline
from collapipe_ns3.exchange import StateMove
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.plan import ClusterPlan, LinkPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.prediction.directions import Direction, Pair, place_of_link
from collapipe_ns3.prediction.fleet import Fleet, node_places, participants
from collapipe_ns3.prediction.radio_setting import RadioSetting, SecondsPerByte
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.prediction.transfer_claims import Band, transfer_claims
from collapipe_ns3.references import NO_REFERENCES, References

#: Each cluster's devices, none where it sits out.
Names = Sequence[Sequence[str]]

SCHEDULE = {False: "gpipe", True: "1f1b"}


def cluster_plans(segments: Segments, devices: Names) -> tuple[ClusterPlan, ...]:
    """The segments by name, as the engine takes them, of the clusters that take part."""
    return tuple(
        ClusterPlan(cluster, (pipeline(segments, row, devices[cluster]),))
        for row, cluster in enumerate(participants(devices))
    )


def pipeline(segments: Segments, row: int, devices: Sequence[str]) -> Pipeline:
    """One row of segments on devices of these names."""
    stages, first = [], 0
    for node, count in zip(segments.order[row], segments.counts[row], strict=True):
        if count:
            stages.append(Stage(devices[node - 1], first, int(first + count - 1)))
            first += int(count)
    schedule = SCHEDULE[bool(segments.one_f[row])]
    return Pipeline(tuple(stages), int(segments.micro_batches[row]), schedule)


def predict_timeline(
    plan: RoundPlan,
    devices: Names,
    fleet: Fleet,
    work: Workload,
    radio: RadioSetting,
    moves: Mapping[int, Sequence[StateMove]] | None = None,
    references: References = NO_REFERENCES,
) -> Timeline:
    """The timeline of a round of any scheme on these clusters, under this radio setting.

    `moves` and `references` are as for `build_timeline`.

    Raises `collapipe_ns3.eventgraph.graph.TooManyEvents` where links are too slow to simulate.
    """
    groups = {(link.src, link.dst): link for link in plan.links if len(link.receivers) > 1}
    return build_timeline(plan, work, _FleetCosts(devices, fleet, radio, groups), moves, references)


def radio_of_plan(
    links: Sequence[LinkPlan], devices: Names, fleet: Fleet, start: RadioSetting
) -> RadioSetting:
    """The radio setting of a plan of any scheme; what the plan leaves open is as in `start`.

    It has the links between two nodes; grants to groups have no effect on these.
    """
    places, radio = node_places(devices), start.copy()
    for link in (link for link in links if len(link.receivers) == 1):
        direction, at = place_of_link(places, link.src, link.dst)
        setting = radio[direction]
        if link.tx_power_w is not None:
            setting.power_w[at] = link.tx_power_w
        if link.bandwidth_hz is not None and fleet.links[direction].grants:
            setting.bandwidth_hz[at] = link.bandwidth_hz
    return radio


def moved_states(
    before: Mapping[int, Pipeline], after: Mapping[int, Pipeline], work: Workload
) -> dict[int, list[StateMove]]:
    """Optimizer states that must follow their blocks from one plan's devices to another's."""
    if not any(work.state_bytes):
        return {}
    return {
        cluster: [
            StateMove(was, now, size)
            for was, now, size in zip(
                _holders(before[cluster]), _holders(pipe), work.state_bytes, strict=True
            )
            if was != now
        ]
        for cluster, pipe in after.items()
        if cluster in before
    }


def _holders(pipe: Pipeline) -> list[str]:
    return [stage.device for stage in pipe.stages for _ in range(stage.blocks)]


class _FleetCosts:
    """What computations and transfers take on a fleet under a radio setting.

    `groups` are grants to groups of receivers, by sender and `bridge.network.group_name`.
    """

    def __init__(
        self, devices: Names, fleet: Fleet, radio: RadioSetting, groups: Mapping[Pair, LinkPlan]
    ) -> None:
        self.fleet, self.radio, self.groups = fleet, radio, groups
        self.places = node_places(devices)
        self.per_byte = SecondsPerByte.of(fleet, radio)
        self.latency = fleet.links.map(lambda links: links.own_latency)
        # Needed once for each task: lists of floats are faster than arrays.
        self.speed, self.fixed = fleet.flops_per_s.tolist(), fleet.overhead_s.tolist()
        self.bands: dict[tuple[Direction, int], Band] = {}
        self.transfers: dict[tuple[str, tuple[str, ...], int, bool], HopTransfer] = {}

    def processor_ns(self, node: str, flops: float) -> int:
        """How long a node computes."""
        if node == SERVER:
            seconds = self.fleet.server.overhead_s + flops / self.fleet.server.flops_per_s
        else:
            cluster, k = self.places[node]
            seconds = self.fixed[cluster][k] + flops / self.speed[cluster][k]
        return round(seconds * 1e9)

    def hop_transfer(
        self, src: str, receivers: tuple[str, ...], size_bytes: int, bulk: bool
    ) -> HopTransfer:
        """What a transfer of `size_bytes` takes over a link, or a multicast over several."""
        key = (src, receivers, size_bytes, bulk)
        if key not in self.transfers:
            if len(receivers) == 1:
                self.transfers[key] = self._hop_transfer(src, receivers[0], size_bytes, bulk)
            else:
                self.transfers[key] = self._multicast(src, receivers, size_bytes, bulk)
        return self.transfers[key]

    def _hop_transfer(self, src: str, dst: str, size_bytes: int, bulk: bool) -> HopTransfer:
        direction, at = place_of_link(self.places, src, dst)
        row, links, band = at[0], self.fleet.links[direction], self._band(direction, at[0])
        hold_s = size_bytes * float(self.per_byte[direction][at])
        hold_s *= float(links.bulk[row]) if bulk else 1.0
        hz = float(self.radio[direction].bandwidth_hz[at])
        granted_hz = hz if links.grants else None
        claimed = transfer_claims(src, (dst,), band, granted_hz, float(links.spread[row]))
        if claimed.lane is not None and links.grants:
            hold_s *= hz / band.bandwidth_hz  # of the whole band
        latency_ns = round(float(self.latency[direction][at]) * 1e9)
        return HopTransfer(round(hold_s * 1e9), (latency_ns,), claimed.claims, claimed.lane)

    def _multicast(
        self, src: str, receivers: tuple[str, ...], size_bytes: int, bulk: bool
    ) -> HopTransfer:
        """At the rate of the weakest receiver, in the group's grant or in what grants leave."""
        direction, first = place_of_link(self.places, src, receivers[0])
        every = [place_of_link(self.places, src, dst)[1] for dst in receivers]
        links, band = self.fleet.links[direction], self._band(direction, first[0])
        grant = self.groups.get((src, group_name(receivers)))
        granted_hz = grant.bandwidth_hz if grant is not None else None
        if band.slot_s:
            power_w = grant.tx_power_w if grant is not None else None
            if power_w is None:
                power_w = max(float(self.radio[direction].power_w[at]) for at in every)
            hz = granted_hz or band.bandwidth_hz
            per_byte = [links.seconds_per_byte_in(at, power_w, hz, not granted_hz) for at in every]
            per_byte = [each * hz / band.bandwidth_hz for each in per_byte]  # of the whole band
        else:
            per_byte = [float(self.per_byte[direction][at]) for at in every]
        factors = [float(links.bulk[at[0]]) if bulk else 1.0 for at in every]
        hold_s = size_bytes * max(map(operator.mul, per_byte, factors))
        claimed = transfer_claims(src, receivers, band, granted_hz, float(links.spread[first[0]]))
        latencies_ns = tuple(round(float(self.latency[direction][at]) * 1e9) for at in every)
        return HopTransfer(round(hold_s * 1e9), latencies_ns, claimed.claims, claimed.lane)

    def _band(self, direction: Direction, row: int) -> Band:
        """The band of a cluster's links: its medium's, or that of all uplinks or downlinks."""
        key = (direction, row)
        if key not in self.bands:
            links, name = self.fleet.links[direction], direction.value
            if direction is Direction.SIDELINK:
                name = f"{name} {self.fleet.medium[row]}"
            self.bands[key] = Band(
                name=name,
                bandwidth_hz=float(links.band_hz[row]),
                grants=links.grants,
                shared=links.shared,
                half_duplex=links.half_duplex,
                slot_s=links.slot_s,
            )
        return self.bands[key]


def used_links(pipe: Pipeline, cluster: int, *, star: bool = True) -> list[Pair]:
    """The directed links that a cluster's round uses, in a fixed order.

    Without `star`, these are only the links of activations and gradients, not those that carry
    parameters between the control unit and each device.
    """
    control = control_unit(cluster)
    devices = [stage.device for stage in pipe.stages]
    chain = list(pairwise([control, *devices, control]))
    pairs = [*chain, *((b, a) for a, b in chain), (control, SERVER), (SERVER, control)]
    if star:
        pairs += [(control, device) for device in devices]
        pairs += [(device, control) for device in devices]
    return list(dict.fromkeys(pairs))
