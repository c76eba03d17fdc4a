"""When the phases of a round end, in closed form.

All clusters begin at the same time. Of their transfers, those that are on a shared medium at the
same time share it evenly. The round ends when the last upload has ended and the server has averaged
the models. The other predictor of a round is its event graph (`plan_timeline.predict_timeline`),
which is exact and takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.arrays import Array, Ints
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.round_costs import RoundCosts
from collapipe_ns3.prediction.streaming import Stream


@dataclass(frozen=True, slots=True)
class Encoding:
    """A format of parameters, and its bytes as a part of those of fp32.

    Differences are taken to be possible: what nodes hold before a round is known to event graphs.
    """

    format: ParameterFormat = FP32
    part: float = 1.0


@dataclass(frozen=True, slots=True)
class ExchangeForm:
    """How parameters travel, as closed forms take it (`collapipe_ns3.arrangement.Arrangement`).

    `groups` are the rows of the clusters that get the model by one multicast each, one group after
    another if they are served `in_turn`, and otherwise at the same time. All clusters are in one of
    them, or there are none, and each cluster gets the model by itself at the same time as the
    others. `chunk_bytes` is None for store and forward. `down` is how the global model is encoded,
    and `up`, by row, what clusters have trained; without any it is fp32.
    """

    groups: tuple[tuple[int, ...], ...] = ()
    chunk_bytes: int | None = None
    in_turn: bool = True
    down: Encoding = Encoding()
    up: tuple[Encoding, ...] = ()

    @property
    def encoded(self) -> bool:
        """Whether anything travels in another format than fp32."""
        return any(not each.format.exact for each in (self.down, *self.up))

    @property
    def streamed(self) -> bool:
        """Whether chunks are forwarded while the rest still arrives."""
        return self.chunk_bytes is not None

    def __str__(self) -> str:
        sent = f"{len(self.groups)} multicasts" if self.groups else "unicasts"
        sent = "one multicast" if len(self.groups) == 1 else sent
        parts = [sent, "streamed" if self.streamed else "store and forward"]
        if not self.down.format.exact:
            parts.append(f"{self.down.format} down")
        ups = [each.format for each in self.up if not each.format.exact]
        for format in dict.fromkeys(ups):
            count = ups.count(format)
            whose = "" if count == len(self.up) else f" from {count} of {len(self.up)}"
            parts.append(f"{format} up{whose}")
        return ", ".join(parts)


#: The exchange of a plan that gives none.
STAR = ExchangeForm()


@dataclass(frozen=True)
class PhaseEnds:
    """When each cluster has ended the phases of a round, in seconds after its start, (P,).

    `downloaded`: its control unit has the model; `distributed`: its devices have their segments, or
    in a streamed exchange, its first stage has its units; `trained`: its local steps have ended;
    `gathered`: the control unit has all segments again; `uploaded`: the base station has them.
    """

    downloaded: Array
    distributed: Array
    trained: Array
    gathered: Array
    uploaded: Array


def phase_ends(
    fleet: Fleet, work: Workload, costs: RoundCosts, form: ExchangeForm = STAR
) -> PhaseEnds:
    """When each cluster ends the phases of its round, where all begin at the same time."""
    costs = _in_formats(costs, form)
    everyone, media = np.zeros(len(costs.step), dtype=np.intp), fleet.medium
    links, (begin, down) = fleet.links, downloads(fleet, costs.download, form)
    if form.chunk_bytes is not None:
        stream = _stream(fleet, work, costs, form)
        first, placed = stream.placed(begin, down)
        trained = stream.trained(first, placed)
        gathered = stream.gathered(trained)
        back = np.maximum(gathered.max(-1), trained)
        up = _uploaded_s(stream, trained, gathered)
        return PhaseEnds(down + links.downlink.latency, first, trained, back, up)
    down = down + links.downlink.latency
    begun = _ended(down, costs.distribute, media, links.sidelink.shared)
    trained = begun + work.local_steps * costs.step
    gathered = _ended(trained, costs.gather, media, links.sidelink.shared)
    up = _ended(gathered, costs.upload, everyone, links.uplink.shared) + links.uplink.latency
    return PhaseEnds(down, begun, trained, gathered, up)


def uploaded_s(
    fleet: Fleet, work: Workload, costs: RoundCosts, form: ExchangeForm, trained: Array
) -> Array:
    """When each cluster's upload ends in a streamed exchange, given when it has trained, (P,)."""
    stream = _stream(fleet, work, _in_formats(costs, form), form)
    return _uploaded_s(stream, trained, stream.gathered(trained))


def _up_parts(form: ExchangeForm) -> Array:
    """The bytes of each cluster's upload as a part of those of fp32; (1,) if all are in fp32."""
    return np.array([each.part for each in form.up] or [1.0])


def _in_formats(costs: RoundCosts, form: ExchangeForm) -> RoundCosts:
    """The costs of an exchange in the form's formats, of which the given ones are in fp32."""
    if not form.encoded:
        return costs
    down, up = form.down.part, _up_parts(form)
    segments = costs.segments
    return replace(
        costs,
        download=costs.download * down,
        distribute=costs.distribute * down,
        gather=costs.gather * up,
        upload=costs.upload * up,
        segments=replace(segments, out=segments.out * down, back=segments.back * up[:, None]),
    )


def _stream(fleet: Fleet, work: Workload, costs: RoundCosts, form: ExchangeForm) -> Stream:
    """The streamed exchange of a form; `costs` are in its formats."""
    if form.chunk_bytes is None:
        raise ValueError("expected a streamed exchange")
    up_bytes = form.chunk_bytes / _up_parts(form)
    return Stream(fleet, work, costs, form.chunk_bytes / form.down.part, up_bytes[:, None])


def _uploaded_s(stream: Stream, trained: Array, gathered: Array) -> Array:
    hold, links = stream.costs.upload, stream.fleet.links.uplink
    ready, alone = stream.uploads(trained, gathered)
    together = _ended(ready, hold, np.zeros(len(hold), dtype=np.intp), links.shared)
    return np.maximum(together, alone) + links.latency


def downloads(fleet: Fleet, holds: Array, form: ExchangeForm) -> tuple[Array, Array]:
    """When each cluster's download begins and ends, latencies left out, (P,).

    `holds` (P,) are how long each would hold the downlink by itself. A multicast takes as long as
    its slowest receiver would.
    """
    groups = [list(group) for group in form.groups or [(row,) for row in range(len(holds))]]
    longest = np.array([holds[rows].max() for rows in groups])
    if form.groups and form.in_turn:
        # A group begins when all of the one before have received it.
        latency = fleet.links.downlink.latency
        waits = np.array([latency[rows].max() for rows in groups])
        begun = (longest + waits).cumsum() - longest - waits
        ended = begun + longest
    else:
        begun, one = np.zeros(len(groups)), np.zeros(len(groups), dtype=np.intp)
        ended = _ended(begun, longest, one, fleet.links.downlink.shared)
    begin, end = np.zeros(len(holds)), np.zeros(len(holds))
    for rows, start_s, end_s in zip(groups, begun, ended, strict=True):
        begin[rows], end[rows] = start_s, end_s
    return begin, end


def _ended(ready: Array, holds: Array, media: Ints, shared: bool) -> Array:
    """When transfers that begin at these times have ended, on shared media or alone."""
    if not shared:
        return ready + holds
    ends = ready.copy()
    for medium in np.unique(media):
        those = media == medium
        ends[those] = processor_sharing_ends_s(ready[those], holds[those])
    return ends


def round_end_s(fleet: Fleet, work: Workload, uploaded_s: Array) -> float:
    """When the round ends, in seconds after its start.

    `uploaded_s` (P,) is when each cluster's upload has ended.
    """
    return float(uploaded_s.max()) + aggregate_s(fleet, work)


def aggregate_s(fleet: Fleet, work: Workload) -> float:
    """The aggregation at the edge server, in seconds, with one pipeline in each cluster."""
    flops = work.aggregate_flops(fleet.clusters)
    return fleet.server.overhead_s + flops / fleet.server.flops_per_s


def processor_sharing_ends_s(ready_s: Array, holds_s: Array) -> Array:
    """When each of n transfers ends that share one resource evenly, each ready at its own time.

    Of k transfers in progress each proceeds at 1/k of its speed. Arrays have the shape (n,). A
    transfer that would hold the resource for ever never ends, and the others still share with it.
    """
    left = holds_s.astype(float).copy()
    ends = np.array(ready_s, dtype=float)
    coming = [int(n) for n in np.argsort(ready_s, kind="stable")]
    active: list[int] = []
    now_s = 0.0
    # Each iteration starts a transfer, or ends one in progress.
    for _ in range(2 * len(ends)):
        if not (coming or active):
            break
        if not active:
            now_s = float(ready_s[coming[0]])
        while coming and ready_s[coming[0]] <= now_s:
            active.append(coming.pop(0))
        first = left[active].min()
        until_s = now_s + first * len(active)
        if coming and ready_s[coming[0]] < until_s:
            left[active] -= (ready_s[coming[0]] - now_s) / len(active)
            now_s = float(ready_s[coming[0]])
            continue
        if not np.isfinite(until_s):
            ends[active + coming] = np.inf
            break
        left[active] -= first
        now_s = until_s
        # Fractions that rounding leaves would never be done.
        done = [n for n in active if np.isfinite(left[n]) and left[n] <= 1e-12 * holds_s[n]]
        ends[done] = now_s
        active = [n for n in active if n not in done]
    return ends
