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
from functools import lru_cache
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
        alone = Units(blocks=tuple(Blocks(b, b) for b in left))
        return Units(
            self.embedding and not any(part.embedding for part in others),
            Units.joined([alone]).blocks,
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
    failed pipeline has not done counts as ended. A multicast of which the sender is a receiver has
    to arrive at the sender only. A shipment also waits until its sender has what it
    carries, without that anything has to say so: until the first shipment in the list has arrived
    that brings a unit for these pipelines, or until the sender has trained it.

    Several `receivers` get one multicast: control units that the base station sends to, or nodes of
    one cluster. What is trained belongs to one pipeline.
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
        whose = _together(self.pipelines)
        text = f"{self.name}: {self.src} → {', '.join(self.receivers)}, {what} {whose}"
        text += "" if self.format == FP32 else f" in {self.format}"
        waits = [*self.after, *map(_training, self.after_training)]
        return f"{text}, after {', '.join(waits)}" if waits else text


def _training(pipeline: PipelineId) -> str:
    return f"the training of {pipeline}"


def _together(pipelines: Sequence[PipelineId]) -> str:
    """Pipelines in words, those with the same number in their clusters together."""
    clusters: dict[int, list[int]] = {}
    for each in pipelines:
        clusters.setdefault(each.index, []).append(each.cluster)
    return " and ".join(
        f"pipeline {index} of cluster{'s' if len(those) > 1 else ''} {', '.join(map(str, those))}"
        for index, those in clusters.items()
    )


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

    def __str__(self) -> str:
        way = "store and forward"
        if self.chunk_bytes is not None:
            way = f"streamed in chunks of {self.chunk_bytes:,} bytes"
        return "\n".join([f"exchange, {way}:", *(f"  {each}" for each in self.shipments)])

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
class Arrival:
    """A leg has arrived at a receiver, and so have the earlier chunks of its shipment."""

    leg: int
    node: str


@dataclass(frozen=True, slots=True)
class Trained:
    """The last local step of a pipeline has ended on a node, or on all of its nodes (None)."""

    pipeline: PipelineId
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """One transmission: a chunk of a shipment, or optimizer states that move.

    `number` is the leg's place among those of the round: of legs that may begin at the same
    instant, the one with the lower number begins first. The chunks of a shipment have consecutive
    numbers, and `chunk` counts them from 0; optimizer states have no `shipment`. A leg begins when
    all in `after` has happened.

    `pipelines` are those that it is for, and `phase` is their phase that it belongs to. Only
    optimizer states are relayed, each hop whole before the next; they have one receiver. With
    several `receivers` the leg is a multicast.
    """

    number: int
    pipelines: tuple[PipelineId, ...]
    phase: Phase
    kind: TransferKind
    src: str
    receivers: tuple[str, ...]
    size_bytes: int
    after: tuple[Arrival | Trained, ...]
    relays: tuple[str, ...] = ()
    shipment: str = ""
    chunk: int = 0

    @property
    def route(self) -> tuple[str, ...]:
        """The way to the receiver of a leg that has one."""
        (receiver,) = self.receivers
        return (self.src, *self.relays, receiver)


@dataclass(frozen=True, slots=True)
class Legs:
    """The legs of a round, by number.

    `arrivals` are what each pipeline has to do with, in order: a pipeline without one of them can't
    be completed, and fails. `needed` are the arrivals for which the first local step on a node of a
    pipeline waits, the base station included. If the exchange is not `streamed`, these are the same
    on all nodes of a pipeline.
    """

    all: tuple[Leg, ...]
    arrivals: Mapping[PipelineId, tuple[Arrival, ...]]
    needed: Mapping[tuple[PipelineId, str], tuple[Arrival, ...]]
    streamed: bool

    def of(self, pipeline: PipelineId) -> list[Leg]:
        """The legs that a pipeline has to do with."""
        return [
            self.all[number] for number in dict.fromkeys(a.leg for a in self.arrivals[pipeline])
        ]


#: Bytes on air of some units of a shipment; those of several units are the sum of each one's.
BytesOf = Callable[[Shipment, Units], int]


def whole(units_bytes: Callable[[Units], int]) -> BytesOf:
    """The bytes of units that travel as they are, in whatever shipment."""
    return lambda shipment, units: units_bytes(units)


def legs(
    exchange: Exchange,
    placements: Sequence[Placement],
    bytes_of: BytesOf,
    moves: Mapping[PipelineId, Sequence[StateMove]],
) -> Legs:
    """The legs of a valid exchange, with the optimizer states that move.

    A leg waits for what its shipment waits for (see `Shipment`), and until its sender has what it
    carries: for the first shipment in the list that brings a unit, or for the sender's own
    training. Chunks leave in order. Of a unit that travels on in the same format and size, a chunk
    needs only what it carries of it; otherwise it needs all of the unit.

    Optimizer states begin when what the base station itself sends for their pipeline has arrived.
    """
    return _LegMaker(exchange, placements, bytes_of).legs(moves)


@dataclass(frozen=True, slots=True)
class _Payload:
    """The bytes of a shipment, one unit after another, in chunks that are legs from `first` on.

    `spans` has the half-open range of each unit's bytes, if there are several chunks in the
    exchange.
    """

    first: int
    size_bytes: int
    chunk_bytes: int
    spans: Mapping[int, tuple[int, int]]

    @property
    def chunks(self) -> int:
        return max(1, -(-self.size_bytes // self.chunk_bytes))

    @property
    def last(self) -> int:
        """The leg that brings the last byte."""
        return self.first + self.chunks - 1

    def leg_of(self, byte: int) -> int:
        return self.first + min(max(byte, 0) // self.chunk_bytes, self.chunks - 1)

    def leg_of_end(self, unit: int) -> int:
        """The leg that brings the last byte of a unit."""
        if not self.spans:
            return self.last
        return self.leg_of(self.spans[unit][1] - 1)


class _LegMaker:
    """Makes the legs of one exchange."""

    def __init__(
        self, exchange: Exchange, placements: Sequence[Placement], bytes_of: BytesOf
    ) -> None:
        self.exchange, self.placements, self.bytes_of = exchange, placements, bytes_of
        self.streamed = exchange.chunk_bytes is not None
        self.supply = _Supply(exchange.shipments, placements)
        self.payloads: dict[str, _Payload] = {}
        self.arrivals: dict[PipelineId, list[Arrival]] = {p.pipeline: [] for p in placements}
        self.users = _users(exchange, placements)

    def legs(self, moves: Mapping[PipelineId, Sequence[StateMove]]) -> Legs:
        ordered = list(self._ordered(moves))
        first = 0
        for _, each in ordered:
            if isinstance(each, Shipment):
                self.payloads[each.name] = self._payload(each, first)
                first += self.payloads[each.name].chunks
            else:
                first += 1
        made: list[Leg] = []
        for pipeline, each in ordered:
            if isinstance(each, Shipment):
                made += self._shipment_legs(each)
            else:
                made.append(self._state_leg(len(made), pipeline, each))
        for leg in made:
            for node in leg.receivers:
                for pipeline in _served(node, leg.pipelines, self.users):
                    self.arrivals[pipeline].append(Arrival(leg.number, node))
        arrivals = {pipeline: tuple(own) for pipeline, own in self.arrivals.items()}
        return Legs(tuple(made), arrivals, self._needed(made, arrivals), self.streamed)

    def _ordered(
        self, moves: Mapping[PipelineId, Sequence[StateMove]]
    ) -> Iterator[tuple[PipelineId, Shipment | StateMove]]:
        """Everything that is sent, in order, with the first of its pipelines."""
        own: dict[PipelineId, list[Shipment]] = {each.pipeline: [] for each in self.placements}
        for shipment in self.exchange.shipments:
            first = next(pipeline for pipeline in own if pipeline in shipment.pipelines)
            own[first].append(shipment)
        for pipeline, shipments in own.items():
            yield from ((pipeline, each) for each in shipments if not each.trained)
            yield from ((pipeline, move) for move in moves.get(pipeline, ()))
            yield from ((pipeline, each) for each in shipments if each.trained)

    def _payload(self, shipment: Shipment, first: int) -> _Payload:
        size_bytes = self.bytes_of(shipment, shipment.units)
        if self.exchange.chunk_bytes is None:
            return _Payload(first, size_bytes, max(size_bytes, 1), {})
        spans: dict[int, tuple[int, int]] = {}
        end = 0
        for unit in _members(shipment.units):
            begin, end = end, end + self.bytes_of(shipment, _unit(unit))
            spans[unit] = begin, end
        return _Payload(first, size_bytes, self.exchange.chunk_bytes, spans)

    def _shipment_legs(self, shipment: Shipment) -> Iterator[Leg]:
        kind, phase = TransferKind.MODEL, Phase.BROADCAST
        if shipment.trained:
            kind = TransferKind.PARAMETERS
            phase = Phase.UPLOAD if SERVER in shipment.receivers else Phase.GATHER
        payload, left = self.payloads[shipment.name], self.payloads[shipment.name].size_bytes
        for chunk, after in enumerate(self._waits(shipment)):
            size_bytes = min(left, payload.chunk_bytes)
            left -= size_bytes
            yield Leg(
                payload.first + chunk,
                shipment.pipelines,
                phase,
                kind,
                shipment.src,
                shipment.receivers,
                size_bytes,
                after,
                shipment=shipment.name,
                chunk=chunk,
            )

    def _waits(self, shipment: Shipment) -> Iterator[tuple[Arrival | Trained, ...]]:
        """What each chunk of a shipment waits for: with all that the ones before it wait for."""
        by_name = self.supply.by_name
        ended = [
            Arrival(self.payloads[name].last, node)
            for name in dict.fromkeys(shipment.after)
            for node in _known_at(shipment.src, by_name[name].receivers)
        ]
        trained = [Trained(pipeline) for pipeline in dict.fromkeys(shipment.after_training)]
        sources = self.supply.sources(shipment)
        furthest: dict[str, int] = {}
        own_training: list[Trained] = []
        for units, through in self._chunks(shipment):
            for unit in units:
                name = sources.get(unit)
                if name is not None:
                    leg = self._bringing(by_name[name], shipment, unit, through)
                    furthest[name] = max(furthest.get(name, leg), leg)
                elif shipment.trained and not own_training:
                    (whose,) = shipment.pipelines
                    own_training = [Trained(whose, shipment.src if self.streamed else None)]
            brought = [
                Arrival(leg, shipment.src)
                for name, leg in furthest.items()
                if name not in shipment.after
            ]
            implied = [t for t in own_training if Trained(t.pipeline) not in trained]
            yield (*ended, *brought, *trained, *implied)

    def _chunks(self, shipment: Shipment) -> Iterator[tuple[Sequence[int], int]]:
        """The units of which each chunk carries something, and where in the payload it ends."""
        payload, units = self.payloads[shipment.name], _members(shipment.units)
        if payload.chunks == 1:
            yield units, payload.size_bytes
            return
        first = 0
        for chunk in range(payload.chunks):
            through = min((chunk + 1) * payload.chunk_bytes, payload.size_bytes)
            last = first
            while last + 1 < len(units) and payload.spans[units[last + 1]][0] < through:
                last += 1
            yield units[first : last + 1], through
            first = last

    def _bringing(self, supplier: Shipment, shipment: Shipment, unit: int, through: int) -> int:
        """The leg with the last byte of a unit that is needed to send a payload up to a byte."""
        brought, sent = self.payloads[supplier.name], self.payloads[shipment.name]
        if not brought.spans:
            return brought.last
        (begin, end), (own_begin, own_end) = brought.spans[unit], sent.spans[unit]
        alike = supplier.format == shipment.format and end - begin == own_end - own_begin
        part = min(own_end, through) - own_begin if alike else end - begin
        return brought.leg_of(begin + part - 1)

    def _state_leg(self, number: int, pipeline: PipelineId, move: StateMove) -> Leg:
        way = state_route(move.src, move.dst, control_unit(pipeline.cluster))
        after = tuple(
            Arrival(self.payloads[each.name].last, node)
            for each in self.exchange.shipments
            if each.src == SERVER and pipeline in each.pipelines
            for node in each.receivers
            if pipeline in _served(node, each.pipelines, self.users)
        )
        return Leg(
            number,
            (pipeline,),
            Phase.BROADCAST,
            TransferKind.STATES,
            way[0],
            (way[-1],),
            move.size_bytes,
            after,
            way[1:-1],
        )

    def _needed(
        self, made: Sequence[Leg], arrivals: Mapping[PipelineId, Sequence[Arrival]]
    ) -> dict[tuple[PipelineId, str], tuple[Arrival, ...]]:
        needed = {}
        for placed in self.placements:
            pipeline, whose = placed.pipeline, (placed.pipeline,)
            down = [a for a in arrivals[pipeline] if made[a.leg].phase is Phase.BROADCAST]
            for node in (*placed.units, SERVER):
                if not self.streamed:
                    needed[pipeline, node] = tuple(down)
                    continue
                furthest: dict[str, int] = {}
                for unit in _members(placed.units.get(node, Units())):
                    brought = self.supply.first(node, unit, whose, trained=False)
                    if brought is None:  # it has kept it, see `collapipe_ns3.recovery_exchange`
                        continue
                    leg = self.payloads[brought.name].leg_of_end(unit)
                    furthest[brought.name] = max(furthest.get(brought.name, leg), leg)
                states = (
                    a for a in down if a.node == node and made[a.leg].kind is TransferKind.STATES
                )
                own = (Arrival(leg, node) for leg in furthest.values())
                needed[pipeline, node] = (*own, *states)
        return needed


#: The nodes that have a pipeline's units, or send some for it.
_Users = Mapping[PipelineId, set[str]]


def _users(exchange: Exchange, placements: Sequence[Placement]) -> _Users:
    users = {placed.pipeline: {*placed.units} for placed in placements}
    for shipment in exchange.shipments:
        for pipeline in shipment.pipelines:
            users[pipeline].add(shipment.src)
    return users


def _served(node: str, pipelines: Sequence[PipelineId], users: _Users) -> Sequence[PipelineId]:
    """The pipelines of a shipment that one of its receivers gets it for."""
    if len(pipelines) == 1:
        return pipelines
    return [pipeline for pipeline in pipelines if node in users[pipeline]]


#: The numbers of embedding and decoder among the units of a model; a block has its own.
_EMBEDDING, _DECODER = -1, 1 << 30


@lru_cache(maxsize=4096)
def _members(units: Units) -> tuple[int, ...]:
    """The numbers of units, in the order in which they travel."""
    first, last = [_EMBEDDING] * units.embedding, [_DECODER] * units.decoder
    return (*first, *(block for run in units.blocks for block in _numbers(run)), *last)


def singles(units: Units) -> Iterator[Units]:
    """Units one by one, in the order in which they travel."""
    return map(_unit, _members(units))


def _known_at(node: str, receivers: tuple[str, ...]) -> tuple[str, ...]:
    """Where a shipment has to arrive for a node that waits for it: there, if it is a receiver."""
    return (node,) if node in receivers else receivers


def _unit(number: int) -> Units:
    if number in (_EMBEDDING, _DECODER):
        return Units(embedding=number == _EMBEDDING, decoder=number == _DECODER)
    return Units(blocks=(Blocks(number, number),))


def _units(numbers: Iterable[int]) -> Units:
    return Units.joined(map(_unit, numbers))


class _Supply:
    """From where each node has the units that it needs or sends."""

    def __init__(self, shipments: Sequence[Shipment], placements: Sequence[Placement]) -> None:
        self.by_name = {each.name: each for each in shipments}
        self.placed = {
            (placed.pipeline, node): frozenset(_members(units))
            for placed in placements
            for node, units in placed.units.items()
        }
        self.bringing: dict[tuple[str, bool, int], list[Shipment]] = {}
        for each in shipments:
            for node in each.receivers:
                for unit in _members(each.units):
                    self.bringing.setdefault((node, each.trained, unit), []).append(each)

    def first(
        self, node: str, unit: int, pipelines: Sequence[PipelineId], *, trained: bool
    ) -> Shipment | None:
        """The first shipment in the list that brings a unit to a node for all these pipelines."""
        for each in self.bringing.get((node, trained, unit), ()):
            if all(pipeline in each.pipelines for pipeline in pipelines):
                return each
        return None

    def sources(self, shipment: Shipment) -> dict[int, str]:
        """The shipment that brings each unit to the sender; not those that it has by itself."""
        sources = {}
        for unit in _members(shipment.units):
            if not self.has(shipment, unit):
                brought = self.first(
                    shipment.src, unit, shipment.pipelines, trained=shipment.trained
                )
                if brought is not None:
                    sources[unit] = brought.name
        return sources

    def has(self, shipment: Shipment, unit: int) -> bool:
        """Whether the sender of a shipment has a unit without receiving it."""
        if not shipment.trained:
            return shipment.src == SERVER
        (whose,) = shipment.pipelines
        return unit in self.placed.get((whose, shipment.src), ())


def phase_ends_ns(
    legs: Legs,
    pipeline: PipelineId,
    first: str,
    arrived_ns: Mapping[Arrival, int],
    begin_ns: int,
    trained_ns: int,
) -> dict[Phase, int]:
    """When each phase of a pipeline ended.

    `first` is the node of its first stage, `arrived_ns` has its arrivals, `begin_ns` is when the
    round began, and `trained_ns` when the last local step ended on the last node. The broadcast
    ends when the first stage may begin; in an exchange that is not streamed, so may all others.
    Gathering ends when all has arrived that is sent to nodes other than the base station, and not
    before training; the upload ends when everything has arrived.
    """
    broadcast_ns = max((arrived_ns[a] for a in legs.needed[pipeline, first]), default=begin_ns)
    gather_ns = upload_ns = trained_ns
    for arrival in legs.arrivals[pipeline]:
        upload_ns = max(upload_ns, arrived_ns[arrival])
        if legs.all[arrival.leg].phase is Phase.GATHER:
            gather_ns = max(gather_ns, arrived_ns[arrival])
    return {
        Phase.BROADCAST: broadcast_ns,
        Phase.PIPELINE: trained_ns,
        Phase.GATHER: gather_ns,
        Phase.UPLOAD: upload_ns,
    }


def overlap_ns(
    legs: Legs,
    pipeline: PipelineId,
    begun_ns: Mapping[int, int],
    arrived_ns: Mapping[Arrival, int],
    ends_ns: Mapping[Phase, int],
) -> int:
    """How long a pipeline's legs were on their way during its local steps, any of them.

    `begun_ns` has the instants at which legs began by number, and `ends_ns` the ends of phases.
    """
    first_ns, last_ns = ends_ns[Phase.BROADCAST], ends_ns[Phase.PIPELINE]
    covered_ns, through_ns = 0, first_ns
    spans = sorted((begun_ns[a.leg], arrived_ns[a]) for a in legs.arrivals[pipeline])
    for begin_ns, end_ns in spans:
        begin_ns, end_ns = max(begin_ns, through_ns), min(end_ns, last_ns)
        if begin_ns < end_ns:
            covered_ns += end_ns - begin_ns
            through_ns = end_ns
    return covered_ns


#: The most legs of a round: each is a transfer, and has a task in the event graph.
MOST_LEGS = 10_000


def exchange_problems(
    exchange: Exchange,
    placements: Sequence[Placement],
    devices: Sequence[Sequence[str]],
    blocks: int,
) -> list[Problem]:
    """Everything that is wrong with an exchange.

    `devices` lists each cluster's devices, and `blocks` is the number of encoder blocks. The
    exchange is run dry only if each shipment is right on its own, as other findings would follow.
    In the dry run every unit has to come to each sender from somewhere, and no shipment may wait
    for itself, be it for what it names or for what brings its units.
    """
    pipelines = [placed.pipeline for placed in placements]
    found = list(_shipment_problems(exchange, pipelines, devices, blocks))
    return found or list(_DryRun(exchange, placements).problems())


def chunk_problems(exchange: Exchange | None, bytes_of: BytesOf) -> Iterator[Problem]:
    """Whether the chunks of a valid exchange are too small for the model."""
    if exchange is None or exchange.chunk_bytes is None:
        return
    sizes = [bytes_of(shipment, shipment.units) for shipment in exchange.shipments]
    chunks = sum(max(1, -(-size // exchange.chunk_bytes)) for size in sizes)
    if chunks > MOST_LEGS:
        what = f"chunk_bytes {exchange.chunk_bytes} makes {chunks} transfers in a round"
        what = f"{what}; expected {MOST_LEGS} at most"
        if (room := MOST_LEGS - len(sizes)) > 0:  # as the last chunk of each may not be full
            what = f"{what}, as with chunks of {-(-sum(sizes) // room)} bytes"
        yield "exchange", what


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
    if exchange.chunk_bytes is not None and exchange.chunk_bytes < 1:
        yield "exchange", f"expected chunks of at least one byte, not {exchange.chunk_bytes}"
    for shipment in exchange.shipments:
        where = _place(shipment)
        if not shipment.units:
            yield where, "carries nothing"
        for run in shipment.units.blocks:
            if not 0 <= run.first <= run.last < blocks:
                yield where, f"expected blocks from 0 to {blocks - 1}, not {run}"
        for before, run in pairwise(shipment.units.blocks):
            if run.first <= before.last:
                yield where, f"expected blocks in order and each once, not {run} after {before}"
        yield from ((where, what) for what in _receiver_problems(shipment, nodes, controls))
        for name in dict.fromkeys(shipment.after):
            if name not in names:
                yield where, f"waits for {name}, and there is no such shipment"
        if not shipment.pipelines:
            yield where, "expected a pipeline that it is for"
        for pipeline in dict.fromkeys((*shipment.pipelines, *shipment.after_training)):
            if pipeline not in pipelines:
                yield where, f"there is no {pipeline}"
        for pipeline, count in Counter(shipment.pipelines).items():
            if count > 1:
                yield where, f"names {pipeline} {count} times"
        if shipment.trained and len(shipment.pipelines) > 1:
            what = "what is trained belongs to one pipeline"
            yield where, f"expected one pipeline, not {len(shipment.pipelines)}, as {what}"


def _receiver_problems(shipment: Shipment, nodes: set[str], controls: set[str]) -> Iterator[str]:
    receivers = list(dict.fromkeys(shipment.receivers))
    if not receivers:
        yield "expected a receiver"
    for node, count in Counter(shipment.receivers).items():
        if count > 1:
            yield f"names the receiver {node} {count} times"
    unknown = [node for node in dict.fromkeys((shipment.src, *receivers)) if node not in nodes]
    yield from (f"there is no node {node}" for node in unknown)
    if unknown:
        return
    for node in receivers:
        if not _is_hop(shipment.src, node, controls):
            what = f"there is no link {shipment.src} → {node}; expected one in a cluster, or"
            yield f"{what} between a control unit and the base station"
    if len(receivers) > 1 and SERVER in receivers:
        others = ", ".join(node for node in receivers if node != SERVER)
        yield f"no single transmission reaches the base station and {others}"


def _is_hop(src: str, dst: str, controls: set[str]) -> bool:
    if SERVER in (src, dst):
        return src in controls or dst in controls
    return src != dst and cluster_of(src) == cluster_of(dst)


#: A shipment by name, or the training of a pipeline, and all that each waits for.
_Waits = dict[str | PipelineId, list[str | PipelineId]]


class _DryRun:
    """An exchange whose shipments are right on their own, and from where each has its units."""

    def __init__(self, exchange: Exchange, placements: Sequence[Placement]) -> None:
        self.exchange, self.placements = exchange, placements
        self.supply = _Supply(exchange.shipments, placements)
        self.users = _users(exchange, placements)

    def problems(self) -> Iterator[Problem]:
        for shipment in self.exchange.shipments:
            yield from ((_place(shipment), what) for what in self.missing(shipment))
        yield from self.circles()
        for placed in self.placements:
            where, whose = str(placed.pipeline), placed.pipeline
            for node, units in placed.units.items():
                if missing := self.never_at(node, units, whose, trained=False):
                    yield where, f"{node} never gets {missing}"
                if missing := self.never_at(SERVER, units, whose, trained=True):
                    yield where, f"trained {missing} of {node} never reach the base station"

    def missing(self, shipment: Shipment) -> Iterator[str]:
        """What is wrong with from where a shipment has its units, and with whom it is for."""
        sources = self.supply.sources(shipment)
        units = _members(shipment.units)
        left = [u for u in units if u not in sources and not self.supply.has(shipment, u)]
        if left:
            what = f"trained {_units(left)}" if shipment.trained else str(_units(left))
            several = " for all of its pipelines" if len(shipment.pipelines) > 1 else ""
            yield f"{shipment.src} never has {what}{several}"
        unused = {*shipment.pipelines}
        for node in shipment.receivers:
            served = _served(node, shipment.pipelines, self.users)
            unused -= {*served}
            if not served:
                yield f"{node} neither trains nor sends for any of its pipelines"
        for pipeline in shipment.pipelines:
            if pipeline in unused:
                yield f"no receiver trains or sends for {pipeline}"

    def never_at(
        self, node: str, units: Units, whose: PipelineId, *, trained: bool
    ) -> Units | None:
        """The units that a node never gets for a pipeline, or of what that has trained."""
        left = [
            unit
            for unit in _members(units)
            if self.supply.first(node, unit, (whose,), trained=trained) is None
        ]
        return _units(left) if left else None

    def waits(self) -> _Waits:
        """A pipeline's training waits for all that is sent to it of the global model."""
        waits: _Waits = {}
        for shipment in self.exchange.shipments:
            sources = self.supply.sources(shipment)
            own = waits.setdefault(shipment.name, [])
            own += [*shipment.after, *shipment.after_training, *dict.fromkeys(sources.values())]
            if shipment.trained and len(sources) < len(_members(shipment.units)):
                own += shipment.pipelines
            if not shipment.trained:
                for pipeline in shipment.pipelines:
                    waits.setdefault(pipeline, []).append(shipment.name)
        return waits

    def circles(self) -> Iterator[Problem]:
        waits = self.waits()
        while True:
            try:
                TopologicalSorter(waits).prepare()
            except CycleError as error:
                # Each waits for the one before it, and the first is the last.
                circle: list[str | PipelineId] = error.args[1]
                for before, after in pairwise(circle):
                    waits[after] = [each for each in waits[after] if each != before]
                name = next(each.name for each in self.exchange.shipments if each.name in circle)
                first = circle.index(name)
                others = [*circle[first + 1 : -1], *circle[:first]]
                through = [e if isinstance(e, str) else _training(e) for e in reversed(others)]
                by = f", by way of {', '.join(through)}" if through else ""
                yield f"shipment {name}", f"waits for itself{by}"
            else:
                return
