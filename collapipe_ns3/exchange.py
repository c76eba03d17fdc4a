"""How parameters travel in a round, as data: which shipments, from whom to whom, after what.

Before its local steps a pipeline needs the global model's parameters on its nodes, and afterwards
the base station needs those that it has trained. A plan without an exchange has that of
`collapipe_ns3.arrangement` with its defaults.

An exchange is checked before it is executed, by a dry run (`exchange_problems`). Engine and event
graph both execute its legs (`legs`), and read the ends of phases from them (`phase_ends_ns`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Self

from bridge.formats import FP32, ParameterFormat
from bridge.network import TransferKind
from collapipe_ns3.nodes import SERVER, cluster_of, control_unit, state_route
from collapipe_ns3.phases import Phase

#: The place of a problem, and what is wrong.
Problem = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Encoder blocks `first` to `last`, inclusive."""

    first: int
    last: int

    def __str__(self) -> str:
        if self.first == self.last:
            return f"block {self.first}"
        return f"blocks {self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Units:
    """Units of a model: its embedding, ranges of its blocks, its decoder.

    Embedding and decoder stand for the first and the last part of any model. A local head is on the
    node of the embedding, and travels with it.
    """

    embedding: bool = False
    blocks: tuple[Blocks, ...] = ()
    decoder: bool = False

    @classmethod
    def joined(cls, parts: Iterable[Units]) -> Self:
        """All units of these, with blocks in their order; ranges without a gap become one."""
        parts = list(parts)
        blocks: list[Blocks] = []
        for each in sorted((each for part in parts for each in part.blocks), key=_first):
            if blocks and each.first <= blocks[-1].last + 1:
                blocks[-1] = Blocks(blocks[-1].first, max(blocks[-1].last, each.last))
            else:
                blocks.append(each)
        embedding = any(part.embedding for part in parts)
        return cls(embedding, tuple(blocks), any(part.decoder for part in parts))

    def without(self, others: Iterable[Units]) -> Units:
        """The units that are in none of the others."""
        others = list(others)
        present = {b for part in others for run in part.blocks for b in _numbers(run)}
        left = (b for run in self.blocks for b in _numbers(run) if b not in present)
        singles = Units(blocks=tuple(Blocks(b, b) for b in left))
        return Units(
            self.embedding and not any(part.embedding for part in others),
            Units.joined([singles]).blocks,
            self.decoder and not any(part.decoder for part in others),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`."""
        blocks = tuple(Blocks(**run) for run in data["blocks"])
        return cls(data["embedding"], blocks, data["decoder"])

    def __bool__(self) -> bool:
        return self.embedding or self.decoder or bool(self.blocks)

    def __str__(self) -> str:
        first = ["embedding"] if self.embedding else []
        last = ["decoder"] if self.decoder else []
        return ", ".join([*first, *map(str, self.blocks), *last]) or "nothing"


def _first(run: Blocks) -> int:
    return run.first


def _numbers(run: Blocks) -> range:
    return range(run.first, run.last + 1)


@dataclass(frozen=True, slots=True)
class PipelineId:
    """A pipeline of a round: its cluster, and its number in the cluster's plan, from 0."""

    cluster: int
    index: int

    def __str__(self) -> str:
        return f"pipeline {self.index} of cluster {self.cluster}"


@dataclass(frozen=True, slots=True)
class Shipment:
    """Parameters that a node sends over one hop.

    `units` are parameters of the global model, for the local steps of `pipelines`; if `trained` is
    set, they are those that `pipelines` have trained. A shipment begins when the shipments named in
    `after` have arrived and the local steps of the pipelines in `after_training` have ended; what a
    failed pipeline has not done counts as ended.

    So far there is one receiver and one pipeline; `exchange_problems` reports others.
    """

    name: str
    units: Units
    src: str
    receivers: tuple[str, ...]
    pipelines: tuple[PipelineId, ...]
    trained: bool = False
    after: tuple[str, ...] = ()
    after_training: tuple[PipelineId, ...] = ()
    format: ParameterFormat = FP32

    def __str__(self) -> str:
        what = f"trained {self.units} of" if self.trained else f"{self.units} for"
        whose = " and ".join(map(str, self.pipelines))
        text = f"{self.name}: {self.src} → {', '.join(self.receivers)}, {what} {whose}"
        text += "" if self.format == FP32 else f" in {self.format}"
        waits = [*self.after, *map(_training, self.after_training)]
        return f"{text}, after {', '.join(waits)}" if waits else text


def _training(pipeline: PipelineId) -> str:
    return f"the training of {pipeline}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """The shipments of a round.

    Of shipments that may begin at the same instant, those of earlier pipelines begin first, and
    those of one pipeline in the order of the list.

    With `chunk_bytes` the exchange is *streamed*: every shipment travels in chunks of at most so
    many bytes, each of which begins as soon as its sender has it; a stage begins when its own units
    are there, and what it has trained may leave after its own last step. Without, a shipment begins
    when its sender has all of it, and a pipeline trains when all of its nodes have their units.
    """

    shipments: tuple[Shipment, ...]
    chunk_bytes: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`."""
        shipments = tuple(_shipment(each) for each in data["shipments"])
        return cls(shipments, data["chunk_bytes"])


def _shipment(data: Mapping[str, Any]) -> Shipment:
    return Shipment(
        data["name"],
        Units.from_json(data["units"]),
        data["src"],
        tuple(data["receivers"]),
        tuple(PipelineId(**each) for each in data["pipelines"]),
        data["trained"],
        tuple(data["after"]),
        tuple(PipelineId(**each) for each in data["after_training"]),
        ParameterFormat.from_json(data["format"]),
    )


@dataclass(frozen=True, slots=True)
class Placement:
    """Which units of a pipeline each node has in a round, in the order of the stages.

    The base station is left out: it has all parameters at the beginning, and needs them at the end.
    """

    pipeline: PipelineId
    units: Mapping[str, Units]


@dataclass(frozen=True, slots=True)
class StateMove:
    """Optimizer states that follow their block to another device, over the control unit.

    They are no part of a plan: which states move depends on where blocks were trained last.
    """

    src: str
    dst: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Leg:
    """A shipment, or optimizer states that move, as engine and event graph take it.

    `number` counts the legs of the round in the order in which they begin if they may begin at the
    same instant. A leg begins when all in `after` has ended: legs by number, and the local steps of
    pipelines. `phase` is the pipeline's phase that it belongs to.
    """

    number: int
    pipeline: PipelineId
    phase: Phase
    kind: TransferKind
    route: tuple[str, ...]
    size_bytes: int
    after: tuple[int | PipelineId, ...]


#: The legs of each pipeline, in order.
Legs = Mapping[PipelineId, Sequence[Leg]]


def legs(
    exchange: Exchange,
    pipelines: Iterable[PipelineId],
    size_bytes: Callable[[Units], int],
    moves: Mapping[PipelineId, Sequence[StateMove]],
) -> Legs:
    """The legs of a valid exchange by pipeline, with the optimizer states that move.

    Optimizer states begin when what the base station itself sends for their pipeline has arrived.
    """
    own: dict[PipelineId, list[Shipment]] = {pipeline: [] for pipeline in pipelines}
    for shipment in exchange.shipments:
        own[shipment.pipelines[0]].append(shipment)
    ordered: list[tuple[PipelineId, Shipment | StateMove]] = []
    for pipeline, shipments in own.items():
        ordered += [(pipeline, each) for each in shipments if not each.trained]
        ordered += [(pipeline, move) for move in moves.get(pipeline, ())]
        ordered += [(pipeline, each) for each in shipments if each.trained]
    numbers = {
        each.name: number for number, (_, each) in enumerate(ordered) if isinstance(each, Shipment)
    }
    made: dict[PipelineId, list[Leg]] = {pipeline: [] for pipeline in own}
    for number, (pipeline, each) in enumerate(ordered):
        before = made[pipeline]
        if isinstance(each, Shipment):
            before.append(_shipment_leg(number, each, numbers, size_bytes(each.units)))
        else:
            before.append(_state_leg(number, pipeline, each, before))
    return made


def _shipment_leg(
    number: int, shipment: Shipment, numbers: Mapping[str, int], size_bytes: int
) -> Leg:
    (receiver,), (pipeline,) = shipment.receivers, shipment.pipelines
    kind, phase = TransferKind.MODEL, Phase.BROADCAST
    if shipment.trained:
        kind = TransferKind.PARAMETERS
        phase = Phase.UPLOAD if receiver == SERVER else Phase.GATHER
    arrived = (numbers[name] for name in dict.fromkeys(shipment.after))
    after: tuple[int | PipelineId, ...] = (*arrived, *dict.fromkeys(shipment.after_training))
    return Leg(number, pipeline, phase, kind, (shipment.src, receiver), size_bytes, after)


def _state_leg(number: int, pipeline: PipelineId, move: StateMove, before: Iterable[Leg]) -> Leg:
    way = state_route(move.src, move.dst, control_unit(pipeline.cluster))
    kind, phase = TransferKind.STATES, Phase.BROADCAST
    sent = (leg for leg in before if leg.kind is TransferKind.MODEL and leg.route[0] == SERVER)
    after = tuple(leg.number for leg in sent)
    return Leg(number, pipeline, phase, kind, way, move.size_bytes, after)


def phase_ends_ns(
    pipeline_legs: Iterable[Leg], arrived_ns: Mapping[int, int], begin_ns: int, trained_ns: int
) -> dict[Phase, int]:
    """When each phase of a pipeline ended.

    `arrived_ns` has the arrivals of its legs by number, `begin_ns` is when the round began, and
    `trained_ns` when the last local step ended. The broadcast ends when all that the pipeline needs
    for its first step has arrived, gathering when all has arrived that is sent to nodes other than
    the base station, and the upload when everything has arrived.
    """
    broadcast_ns, gather_ns, upload_ns = begin_ns, trained_ns, trained_ns
    for leg in pipeline_legs:
        end_ns = arrived_ns[leg.number]
        if leg.phase is Phase.BROADCAST:
            broadcast_ns = max(broadcast_ns, end_ns)
            continue
        upload_ns = max(upload_ns, end_ns)
        if leg.phase is Phase.GATHER:
            gather_ns = max(gather_ns, end_ns)
    return {
        Phase.BROADCAST: broadcast_ns,
        Phase.PIPELINE: trained_ns,
        Phase.GATHER: gather_ns,
        Phase.UPLOAD: upload_ns,
    }


def exchange_problems(
    exchange: Exchange,
    placements: Sequence[Placement],
    devices: Sequence[Sequence[str]],
    blocks: int,
) -> list[Problem]:
    """Everything that is wrong with an exchange.

    `devices` lists each cluster's devices, and `blocks` is the number of encoder blocks. The
    exchange is run dry only if each shipment is right on its own and none waits for itself, as
    other findings would follow from these. The dry run counts a unit as present only if what the
    shipment waits for ensures it, however long transfers take.
    """
    pipelines = [placed.pipeline for placed in placements]
    found = list(_shipment_problems(exchange, pipelines, devices, blocks))
    found += _circles(exchange)
    return found or list(_DryRun(exchange, placements, blocks).problems())


def _place(shipment: Shipment) -> str:
    return f"shipment {shipment.name}"


def _shipment_problems(
    exchange: Exchange,
    pipelines: Sequence[PipelineId],
    devices: Sequence[Sequence[str]],
    blocks: int,
) -> Iterator[Problem]:
    """What is wrong with single shipments, and with what they name."""
    controls = {control_unit(cluster) for cluster in range(len(devices))}
    nodes = {SERVER, *controls}.union(*devices)
    names = Counter(shipment.name for shipment in exchange.shipments)
    yield from ((f"shipment {n}", f"is listed {c} times") for n, c in names.items() if c > 1)
    if exchange.chunk_bytes is not None:
        yield "exchange", "can't be streamed yet"
    for shipment in exchange.shipments:
        where = _place(shipment)
        if shipment.format != FP32:
            yield where, "can't be executed in another format than fp32 yet"
        if not shipment.units:
            yield where, "carries nothing"
        for run in shipment.units.blocks:
            if not 0 <= run.first <= run.last < blocks:
                yield where, f"expected blocks from 0 to {blocks - 1}, not {run}"
        for what, given in (("receiver", shipment.receivers), ("pipeline", shipment.pipelines)):
            if len(given) != 1:
                yield where, f"expected one {what}, not {len(given)}: others can't be executed yet"
        unknown = [node for node in (shipment.src, *shipment.receivers) if node not in nodes]
        yield from ((where, f"there is no node {node}") for node in dict.fromkeys(unknown))
        for node in () if unknown else shipment.receivers:
            if not _is_hop(shipment.src, node, controls):
                what = f"there is no link {shipment.src} → {node}; expected one in a cluster, or"
                yield where, f"{what} between a control unit and the base station"
        for name in dict.fromkeys(shipment.after):
            if name not in names:
                yield where, f"waits for {name}, and there is no such shipment"
        for pipeline in dict.fromkeys((*shipment.pipelines, *shipment.after_training)):
            if pipeline not in pipelines:
                yield where, f"there is no {pipeline}"


def _is_hop(src: str, dst: str, controls: set[str]) -> bool:
    if SERVER in (src, dst):
        return src in controls or dst in controls
    return src != dst and cluster_of(src) == cluster_of(dst)


#: A shipment by name, or the training of a pipeline, and all that each waits for.
_Waits = dict[str | PipelineId, list[str | PipelineId]]


def _waits(exchange: Exchange) -> _Waits:
    """A pipeline's training waits for all that is sent to it of the global model."""
    waits: _Waits = {}
    for shipment in exchange.shipments:
        waits.setdefault(shipment.name, []).extend((*shipment.after, *shipment.after_training))
        if not shipment.trained:
            for pipeline in shipment.pipelines:
                waits.setdefault(pipeline, []).append(shipment.name)
    return waits


def _circles(exchange: Exchange) -> Iterator[Problem]:
    waits = _waits(exchange)
    while True:
        try:
            TopologicalSorter(waits).prepare()
        except CycleError as error:
            # Each waits for the one before it, and the first is the last.
            circle: list[str | PipelineId] = error.args[1]
            for before, after in pairwise(circle):
                waits[after] = [each for each in waits[after] if each != before]
            name = next(each.name for each in exchange.shipments if each.name in circle)
            first = circle.index(name)
            others = [*circle[first + 1 : -1], *circle[:first]]
            through = [e if isinstance(e, str) else _training(e) for e in reversed(others)]
            by = f", by way of {', '.join(through)}" if through else ""
            yield f"shipment {name}", f"waits for itself{by}"
        else:
            return


class _DryRun:
    """An exchange whose shipments are right on their own, and what each finds at its sender."""

    def __init__(self, exchange: Exchange, placements: Sequence[Placement], blocks: int) -> None:
        self.exchange, self.placements = exchange, placements
        self.everything = Units(True, (Blocks(0, blocks - 1),), True)
        self.placed = {placed.pipeline: placed.units for placed in placements}
        waits = _waits(exchange)
        #: All that has ended for certain when a shipment begins.
        self.ended: dict[str | PipelineId, set[str | PipelineId]] = {}
        for each in TopologicalSorter(waits).static_order():
            before = waits.get(each, [])
            self.ended[each] = {*before}.union(*(self.ended[other] for other in before))

    def problems(self) -> Iterator[Problem]:
        for shipment in self.exchange.shipments:
            if missing := shipment.units.without(self.held(shipment)):
                what = "trained " if shipment.trained else ""
                yield _place(shipment), f"{shipment.src} does not have {what}{missing} by then"
        for placed in self.placements:
            where = str(placed.pipeline)
            for node, units in placed.units.items():
                if missing := units.without(self.received(placed.pipeline, node, trained=False)):
                    yield where, f"{node} never gets {missing}"
                if missing := units.without(self.received(placed.pipeline, SERVER, trained=True)):
                    yield where, f"trained {missing} of {node} never reach the base station"

    def received(self, pipeline: PipelineId, node: str, *, trained: bool) -> list[Units]:
        """What a node receives for a pipeline, or of what that has trained."""
        return [
            each.units
            for each in self.exchange.shipments
            if node in each.receivers and pipeline in each.pipelines and each.trained is trained
        ]

    def held(self, shipment: Shipment) -> list[Units]:
        """What the sender of a shipment has for certain when it begins."""
        (whose,), ended = shipment.pipelines, self.ended[shipment.name]
        held = [
            each.units
            for each in self.exchange.shipments
            if each.name in ended
            and shipment.src in each.receivers
            and each.trained is shipment.trained
            and whose in each.pipelines  # others may fail without arriving
        ]
        if not shipment.trained and shipment.src == SERVER:
            held.append(self.everything)
        if shipment.trained and whose in ended and shipment.src in self.placed[whose]:
            held.append(self.placed[whose][shipment.src])
        return held
