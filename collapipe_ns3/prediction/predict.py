"""A plan on measured links as an event graph: the exact prediction of what the engine will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.eventgraph.timeline import Carriage, Move, Timeline, timeline
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Medium
from collapipe_ns3.plan import ClusterPlan, LinkPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.prediction.closed_forms import Pace, Radio, Segments
from collapipe_ns3.prediction.fleet import Fleet, participants
from collapipe_ns3.prediction.links import Links
from collapipe_ns3.prediction.services import way

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


def predict(
    plan: RoundPlan,
    devices: Names,
    fleet: Fleet,
    work: Workload,
    radio: Radio,
    moves: Mapping[int, Sequence[Move]] | None = None,
) -> Timeline:
    """The timeline of a round of any scheme on these clusters, with the radio set so."""
    return _Predictor(devices, fleet, radio).timeline(plan, work, moves)


def radio_of(links: Sequence[LinkPlan], devices: Names, fleet: Fleet, start: Radio) -> Radio:
    """The radio as a plan of any scheme sets it; what it leaves open is as in `start`."""
    place = _places(devices)
    parts = [part.copy() for part in start.parts]
    d2d_w, d2d_hz, up_w, up_hz, down_w, down_hz = parts
    for link in links:
        at: tuple[int, ...]
        if link.dst == SERVER:
            at, watts, hertz, takes = place[link.src][:1], up_w, up_hz, fleet.up.grants
        elif link.src == SERVER:
            at, watts, hertz, takes = place[link.dst][:1], down_w, down_hz, fleet.down.grants
        else:
            at = (*place[link.src], place[link.dst][1])
            watts, hertz, takes = d2d_w, d2d_hz, fleet.d2d.grants
        if link.tx_power_w is not None:
            watts[at] = link.tx_power_w
        if link.bandwidth_hz is not None and takes:
            hertz[at] = link.bandwidth_hz
    return Radio(*parts)


def _places(devices: Names) -> dict[str, tuple[int, int]]:
    """Row and node number of every control unit and device."""
    return {
        name: (row, node)
        for row, cluster in enumerate(participants(devices))
        for node, name in enumerate([control_unit(cluster), *devices[cluster]])
    }


def moved_states(
    before: Mapping[int, Pipeline], after: Mapping[int, Pipeline], work: Workload
) -> dict[int, list[Move]]:
    """Optimizer states that must follow their blocks from one plan's devices to another's."""
    if not work.state_bytes:
        return {}
    return {
        cluster: [
            Move(was, now, work.state_bytes)
            for was, now in zip(_holders(before[cluster]), _holders(pipe), strict=True)
            if was != now
        ]
        for cluster, pipe in after.items()
        if cluster in before
    }


def _holders(pipe: Pipeline) -> list[str]:
    return [stage.device for stage in pipe.stages for _ in range(stage.blocks)]


class _Predictor:
    def __init__(self, devices: Names, fleet: Fleet, radio: Radio) -> None:
        self.fleet = fleet
        self.place = _places(devices)
        pace = Pace.of(fleet, radio)
        # Looked up once a task: plain lists of floats are quicker than arrays.
        self.d2d, self.d2d_latency = pace.d2d.tolist(), fleet.d2d.own_latency.tolist()
        self.up, self.up_latency = pace.up.tolist(), fleet.up.own_latency.tolist()
        self.down, self.down_latency = pace.down.tolist(), fleet.down.own_latency.tolist()
        self.d2d_hz, self.up_hz, self.down_hz = (
            hz.tolist() for hz in (radio.d2d_hz, radio.up_hz, radio.down_hz)
        )
        self.speed, self.fixed = fleet.flops_per_s.tolist(), fleet.overhead_s.tolist()
        self.medium = fleet.medium.tolist()
        self.carriages: dict[tuple[str, str, int, bool], Carriage] = {}

    def timeline(
        self, plan: RoundPlan, work: Workload, moves: Mapping[int, Sequence[Move]] | None
    ) -> Timeline:
        return timeline(plan, work, self.processors, self.air, moves)

    def processors(self, node: str, flops: float) -> int:
        if node == SERVER:
            seconds = self.fleet.server_overhead_s + flops / self.fleet.server_flops_per_s
        else:
            cluster, k = self.place[node]
            seconds = self.fixed[cluster][k] + flops / self.speed[cluster][k]
        return round(seconds * 1e9)

    def air(self, src: str, dst: str, size: int, bulk: bool) -> Carriage:
        key = (src, dst, size, bulk)
        if key not in self.carriages:
            self.carriages[key] = self._carriage(src, dst, size, bulk)
        return self.carriages[key]

    def _carriage(self, src: str, dst: str, size: int, bulk: bool) -> Carriage:
        if dst == SERVER:
            at = self.place[src][0]
            links, name, hz = self.fleet.up, "up", self.up_hz[at]
            pace, latency = self.up[at], self.up_latency[at]
        elif src == SERVER:
            at = self.place[dst][0]
            links, name, hz = self.fleet.down, "down", self.down_hz[at]
            pace, latency = self.down[at], self.down_latency[at]
        else:
            (at, i), (_, j) = self.place[src], self.place[dst]
            links, name, hz = self.fleet.d2d, f"d2d {self.medium[at]}", self.d2d_hz[at][i][j]
            pace, latency = self.d2d[at][i][j], self.d2d_latency[at][i][j]
        hold_s = size * pace * (float(links.bulk[at]) if bulk else 1.0)
        band_hz = float(links.band_hz[at])
        granted_hz = hz if links.grants else None
        spread = float(links.spread[at])
        going = way((src, dst), _medium(links, name, band_hz), granted_hz, spread)
        if going.lane is not None and links.grants:
            hold_s *= hz / band_hz  # of the whole band
        return Carriage(round(hold_s * 1e9), round(latency * 1e9), going.claims, going.lane)


def _medium(links: Links, name: str, band_hz: float) -> Medium:
    return Medium(
        name,
        frozenset(),
        band_hz,
        grants=links.grants,
        shared=links.shared,
        half_duplex=links.half_duplex,
        slot_s=links.slot_s,
    )


def used_links(pipe: Pipeline, cluster: int, *, star: bool = True) -> list[tuple[str, str]]:
    """The directed links that a cluster's round uses, in a fixed order.

    Without `star` those alone that activations and gradients take.
    """
    control = control_unit(cluster)
    devices = [stage.device for stage in pipe.stages]
    chain = list(pairwise([control, *devices, control]))
    pairs = [*chain, *((b, a) for a, b in chain), (control, SERVER), (SERVER, control)]
    if star:
        pairs += [(control, device) for device in devices]
        pairs += [(device, control) for device in devices]
    return list(dict.fromkeys(pairs))
