"""Which node holds which parameters already, and what an exchange has to send because of it.

With `ParameterFormat.difference`, the base station sends how a unit differs from a *reference* that
it and the receiver hold alike. There is one reference for each unit and format; it is updated by
what is sent (ŵ ← ŵ + C(w − ŵ)), and every update has a version: the number of its round. A unit
goes *whole*, in fp32, to a node that does not hold the current version: a new holder, a node whose
pipeline failed in the round of the update, or any node at first. Sizes follow from this, so that
planning knows them exactly.

What a cluster has trained needs no versions: its differences are from what the node had received in
the same round's broadcast, which the base station sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bridge.formats import FP32, ParameterFormat, kept_copies
from collapipe_ns3.exchange import (
    Exchange,
    PipelineId,
    Placement,
    Problem,
    Shipment,
    Units,
    singles,
)
from collapipe_ns3.nodes import SERVER

#: Bytes on air of units in a format; see `collapipe_ns3.costs.parts.ModelCosts.units_bytes`.
UnitBytes = Callable[[Units, ParameterFormat], int]


@dataclass(frozen=True, slots=True)
class Reference:
    """What differences of a unit in a format are taken from.

    `version` is the number of the round in which it was updated last. The base station holds it,
    and so do `nodes`; others hold an older version or none.
    """

    unit: Units
    format: ParameterFormat
    version: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class References:
    """All references that any node holds. At first there are none."""

    all: tuple[Reference, ...] = ()

    def holders(self) -> dict[tuple[Units, ParameterFormat], frozenset[str]]:
        """The nodes that hold the current version of each reference."""
        return {(each.unit, each.format): frozenset(each.nodes) for each in self.all}

    def held_by(self, node: str) -> Iterator[Reference]:
        """The references of which a node holds the current version."""
        return (each for each in self.all if node in each.nodes)

    def without(self, nodes: Collection[str]) -> References:
        """The references that are left when these nodes have lost what they hold."""
        if not nodes:
            return self
        left = (
            dataclasses.replace(each, nodes=tuple(node for node in each.nodes if node not in nodes))
            for each in self.all
        )
        return References(tuple(each for each in left if each.nodes))

    def to_json(self) -> list[dict[str, Any]]:
        """Plain dictionaries and lists, for JSON."""
        return [dataclasses.asdict(each) for each in self.all]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            tuple(
                Reference(
                    Units.from_json(each["unit"]),
                    ParameterFormat.from_json(each["format"]),
                    each["version"],
                    tuple(each["nodes"]),
                )
                for each in data
            )
        )


NO_REFERENCES = References()


@dataclass(frozen=True, slots=True)
class UnitWay:
    """How one unit of a pipeline travels to its `node` and, trained, back to the base station.

    It comes in the format `down`, `whole` in fp32 where differences can't be taken, and returns in
    the format `up`.
    """

    pipeline: PipelineId
    unit: Units
    node: str
    down: ParameterFormat
    whole: bool
    up: ParameterFormat

    def kept_bytes(self, unit_bytes: UnitBytes) -> int:
        """Bytes that its node keeps of it during the round, besides the parameters in use."""
        copies = kept_copies(self.down, self.up)
        return copies * unit_bytes(self.unit, FP32) if copies else 0


@dataclass(frozen=True)
class Routing:
    """How the units of an exchange travel, given the references at the round's start.

    A unit goes as a difference only if all nodes that place it can take it, in all pipelines that
    are served by the shipment with which it leaves the base station.
    """

    exchange: Exchange
    placements: Sequence[Placement]
    references: References = NO_REFERENCES
    _wholes: frozenset[tuple[str, Units]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wholes = frozenset(self._found_wholes())
        object.__setattr__(self, "_wholes", wholes)

    @property
    def exact(self) -> bool:
        """Whether everything travels in fp32 and as it is."""
        return all(each.format.exact for each in self.exchange.shipments)

    def is_whole(self, shipment: Shipment, unit: Units) -> bool:
        """Whether a unit goes whole where the format of the shipment is one of differences."""
        return (shipment.name, unit) in self._wholes

    def ways(self) -> list[UnitWay]:
        """The ways of all units of all pipelines, in their order.

        Units on the base station do not travel. If all is `exact`, nobody needs the ways, and there
        are none.
        """
        return [] if self.exact else list(self._ways())

    def after(self, round: int, failed: Collection[PipelineId]) -> References:
        """The references after a round of this number, in which these pipelines failed.

        Nodes with a place in the round hold what they have received in it. Those of failed
        pipelines hold nothing, as their broadcast may not be complete. Other nodes keep what they
        hold, which is of no use once it has been updated without them.
        """
        placed = {node for each in self.placements for node in each.units}
        lost = {node for each in self.placements if each.pipeline in failed for node in each.units}
        received = [way for way in self.ways() if way.down.difference]
        updated = {(way.unit, way.down) for way in received}
        nodes: dict[tuple[Units, ParameterFormat], dict[str, None]] = {}
        for each in self.references.all:
            if (each.unit, each.format) not in updated:
                others = (node for node in each.nodes if node not in placed)
                nodes[each.unit, each.format] = dict.fromkeys(others)
        for way in received:
            if way.node not in lost:
                nodes.setdefault((way.unit, way.down), {})[way.node] = None
        before = {(each.unit, each.format): each.version for each in self.references.all}
        return References(
            tuple(
                Reference(*what, round if what in updated else before[what], tuple(held))
                for what, held in nodes.items()
                if held
            )
        )

    def _ways(self) -> Iterator[UnitWay]:
        for placed in self.placements:
            for node, units in placed.units.items():
                for unit in singles(units):
                    down = self._bringing(node, unit, (placed.pipeline,))
                    up = self._fetching(node, unit, placed.pipeline)
                    whole = self.is_whole(down, unit)
                    yield UnitWay(placed.pipeline, unit, node, down.format, whole, up.format)

    def _bringing(self, node: str, unit: Units, pipelines: Sequence[PipelineId]) -> Shipment:
        """The first shipment in the list that brings a unit of the global model to a node."""
        return next(
            each
            for each in self.exchange.shipments
            if not each.trained
            and node in each.receivers
            and all(pipeline in each.pipelines for pipeline in pipelines)
            and not unit.without([each.units])
        )

    def _fetching(self, node: str, unit: Units, pipeline: PipelineId) -> Shipment:
        """The first shipment in the list that takes a trained unit from the node that has it."""
        return next(
            each
            for each in self.exchange.shipments
            if each.trained
            and node == each.src
            and pipeline in each.pipelines
            and not unit.without([each.units])
        )

    def _found_wholes(self) -> Iterator[tuple[str, Units]]:
        holders = self.references.holders()
        placing = {
            (placed.pipeline, unit): node
            for placed in self.placements
            for node, units in placed.units.items()
            for unit in singles(units)
        }
        for shipment in self.exchange.shipments:
            if shipment.trained or not shipment.format.difference:
                continue
            for unit in singles(shipment.units):
                first = shipment
                while first.src != SERVER:
                    first = self._bringing(first.src, unit, first.pipelines)
                nodes = {
                    placing[pipeline, unit]
                    for pipeline in first.pipelines
                    if (pipeline, unit) in placing
                }
                held = holders.get((unit, first.format), frozenset())
                if not nodes or not nodes <= held:  # there is no reference of what nobody places
                    yield shipment.name, unit


@dataclass(frozen=True)
class ShipmentSizes:
    """The bytes of the units of each shipment, for `RoundPlan.legs`.

    `unit_bytes` are those of units in a format. They depend on the shapes of tensors alone, and on
    which units go whole.
    """

    unit_bytes: UnitBytes
    routing: Routing

    def __call__(self, shipment: Shipment, units: Units) -> int:
        if not shipment.format.difference:
            return self.unit_bytes(units, shipment.format)
        whole = [unit for unit in singles(units) if self.routing.is_whole(shipment, unit)]
        size = self.unit_bytes(Units.joined(whole), FP32)
        return size + self.unit_bytes(units.without(whole), shipment.format)


def kept_bytes(ways: Iterable[UnitWay], unit_bytes: UnitBytes) -> dict[PipelineId, dict[str, int]]:
    """What each node of each pipeline keeps during the round because of the formats, in bytes."""
    kept: dict[PipelineId, dict[str, int]] = {}
    for way in ways:
        nodes = kept.setdefault(way.pipeline, {})
        nodes[way.node] = nodes.get(way.node, 0) + way.kept_bytes(unit_bytes)
    return kept


def format_problems(exchange: Exchange) -> Iterator[Problem]:
    """What is wrong with the formats of an exchange.

    A unit has one format all the way to its node, and one all the way back, as it is encoded once.
    """
    formats: dict[tuple[PipelineId, bool, Units], Shipment] = {}
    for shipment in exchange.shipments:
        where = f"shipment {shipment.name}"
        if (problem := shipment.format.problem) is not None:
            yield where, problem
        for pipeline in shipment.pipelines:
            for unit in singles(shipment.units):
                other = formats.setdefault((pipeline, shipment.trained, unit), shipment)
                if other.format != shipment.format:
                    what = f"carries {unit} of {pipeline} in {shipment.format}"
                    yield where, f"{what}; expected {other.format}, as {other.name} has it"
                    break
