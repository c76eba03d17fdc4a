"""What an exchange makes of parameters: the tensors that arrive, in the formats of the shipments.

Only sizes enter the simulated network. The tensors with which a pipeline's nodes begin a round are
computed at its start, and those that the base station gets back at its end. Encoding takes no
simulated time.

Downlink, with differences: the base station holds a reference ŵ for each unit and format, encodes
the difference once, and updates ŵ ← ŵ + C(w − ŵ) as its receivers do. What C has left out stays in
w − ŵ, so that the reference is an error memory of its own (EF21: Richtárik et al., NeurIPS 2021).
Where nobody can take the difference, w goes whole and ŵ ← w.

Uplink, with differences: the holder encodes Δ = trained − received, and the base station adds C(Δ)
to what it had sent. With top-k, which is biased, the holder adds to Δ what it has not sent before:
e ← Δ + e − C(Δ + e) (Stich et al., NeurIPS 2018). The memory e is on the node; when the unit moves
to another node, or travels in another kind of format, it is dropped.

Buffers of a model travel as they are, and are not counted in sizes. Copies of tied parameters are
encoded once: both nodes get what the first part's is decoded to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from bridge.formats import FP32, ParameterFormat
from bridge.wire import codec
from collapipe_ns3.exchange import Blocks, PipelineId, Units, singles
from collapipe_ns3.learning.aggregation import Parameters
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.outcome import ParameterEncoding
from collapipe_ns3.random_streams import number
from collapipe_ns3.references import (
    References,
    Routing,
    ShipmentSizes,
    UnitBytes,
    UnitWay,
    kept_bytes,
)


@dataclass(frozen=True, slots=True)
class Unsent:
    """What a node has not sent so far of the differences of a unit that it trains."""

    node: str
    parameters: Parameters


@dataclass(slots=True)
class Kept:
    """What base station and nodes keep between rounds for the formats of exchanges.

    `parameters` are the references' tensors, and `unsent` the error memories of top-k.
    """

    references: References = field(default_factory=References)
    parameters: dict[tuple[Units, ParameterFormat], Parameters] = field(default_factory=dict)
    unsent: dict[tuple[PipelineId, Units], Unsent] = field(default_factory=dict)

    def forget(self, routing: Routing, failed: Collection[PipelineId]) -> None:
        """Gives up the error memories of all pipelines of a round but those that failed.

        A failed pipeline has sent nothing, so that what it has not sent stays the same.
        """
        ended = {placed.pipeline for placed in routing.placements}.difference(failed)
        self.unsent = {key: each for key, each in self.unsent.items() if key[0] not in ended}

    def void(self, nodes: Collection[str]) -> None:
        """Gives up what nodes hold that have been away."""
        self.references = self.references.without(nodes)
        self.parameters = {
            (each.unit, each.format): self.parameters[each.unit, each.format]
            for each in self.references.all
        }
        self.unsent = {key: each for key, each in self.unsent.items() if each.node not in nodes}

    def to_checkpoint(self) -> dict[str, Any]:
        """Tensors and plain data, for `torch.save`; empty if nothing is kept."""
        references = self.references.to_json()
        for data, each in zip(references, self.references.all, strict=True):
            data["parameters"] = dict(self.parameters[each.unit, each.format])
        unsent = [
            {
                "pipeline": dataclasses.asdict(pipeline),
                "unit": dataclasses.asdict(unit),
                "node": each.node,
                "parameters": dict(each.parameters),
            }
            for (pipeline, unit), each in self.unsent.items()
        ]
        return {"references": references, "unsent": unsent} if references or unsent else {}

    @classmethod
    def from_checkpoint(cls, data: Mapping[str, Any], device: torch.device) -> Kept:
        """The inverse of `to_checkpoint`, with the tensors on a device."""
        given = data.get("references", [])
        references = References.from_json(given)
        return cls(
            references,
            {
                (each.unit, each.format): _on(device, kept["parameters"])
                for each, kept in zip(references.all, given, strict=True)
            },
            {
                (PipelineId(**each["pipeline"]), Units.from_json(each["unit"])): Unsent(
                    each["node"], _on(device, each["parameters"])
                )
                for each in data.get("unsent", [])
            },
        )


def _on(device: torch.device, parameters: Parameters) -> Parameters:
    return {name: tensor.to(device) for name, tensor in parameters.items()}


def unit_parameters(model: SplitModel) -> dict[Units, tuple[str, ...]]:
    """The names of the trained parameters of each unit, as in `SplitModel.averaged`."""
    first, *blocks, last = model.parts().values()
    heads = [] if model.local_head is None else [model.local_head]
    modules = {
        Units(embedding=True): [first, *heads],
        **{Units(blocks=(Blocks(n, n),)): [block] for n, block in enumerate(blocks)},
        Units(decoder=True): [last],
    }
    names = {id(each): name for name, each in model.named_parameters() if each.requires_grad}
    return {
        unit: tuple(
            dict.fromkeys(
                names[id(each)]
                for module in parts
                for each in module.parameters()
                if each.requires_grad
            )
        )
        for unit, parts in modules.items()
    }


class _Coded(NamedTuple):
    """Parameters as they are decoded, ‖e‖²/‖x‖² of their error, and ‖x‖² of what was encoded."""

    parameters: Parameters
    distortion: float
    norm_sq: float


@dataclass(slots=True)
class ParameterExchange:
    """The parameters of one round, on their way to the pipelines and back.

    Call `loaded` and `returned` in the torch thread, `returned` once for every pipeline that has
    not failed and in the order of the plan, and then `end`. If the routing is exact, all tensors
    are handed on as they are.

    `global_model` are the tensors that are averaged, and must not be changed in place. `seed` and
    `round` determine the roundings of every unit on each of its ways. `encodings` says what was
    encoded.
    """

    kept: Kept
    model: SplitModel
    routing: Routing
    unit_bytes: UnitBytes
    global_model: Parameters
    seed: int
    round: int
    encodings: list[ParameterEncoding] = field(default_factory=list)
    _ways: dict[PipelineId, list[UnitWay]] = field(init=False)
    _names: dict[Units, tuple[str, ...]] = field(init=False)
    _down: dict[tuple[Units, ParameterFormat], _Coded] = field(default_factory=dict)
    _loaded: dict[PipelineId, Parameters] = field(default_factory=dict)
    _unsent: dict[tuple[PipelineId, Units], Unsent] = field(default_factory=dict)
    _placed_anew: set[PipelineId] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._ways = {placed.pipeline: [] for placed in self.routing.placements}
        for way in self.routing.ways():
            self._ways[way.pipeline].append(way)
        self._names = {} if self.routing.exact else unit_parameters(self.model)

    @property
    def sizes(self) -> ShipmentSizes:
        """The bytes of the units of each shipment."""
        return ShipmentSizes(self.unit_bytes, self.routing)

    def kept_bytes(self) -> dict[str, int]:
        """What each node keeps during the round because of the formats, in bytes."""
        kept: dict[str, int] = {}
        ways = [way for own in self._ways.values() for way in own]
        for nodes in kept_bytes(ways, self.unit_bytes).values():
            for node, size in nodes.items():
                kept[node] = kept.get(node, 0) + size
        placed = {node for each in self.routing.placements for node in each.units}
        for reference in self.routing.references.all:
            for node in set(reference.nodes) - placed:
                kept[node] = kept.get(node, 0) + self.unit_bytes(reference.unit, FP32)
        for (pipeline, unit), unsent in self.kept.unsent.items():
            if pipeline not in self._ways:
                kept[unsent.node] = kept.get(unsent.node, 0) + self.unit_bytes(unit, FP32)
        return kept

    def place(self, pipeline: PipelineId, units: Mapping[str, Units]) -> None:
        """Notes that a pipeline has its units on other nodes from now on.

        These don't hold what differences are taken from in the next round.
        """
        self._placed_anew.add(pipeline)
        nodes = {unit: node for node, held in units.items() for unit in singles(held)}
        ways = self._ways[pipeline]
        self._ways[pipeline] = [dataclasses.replace(w, node=nodes[w.unit]) for w in ways]

    def loaded(self, pipeline: PipelineId) -> Parameters:
        """The parameters with which a pipeline begins: what its nodes have received.

        Units on the base station are those of the global model.
        """
        changed = [way for way in self._ways[pipeline] if not way.down.exact]
        if not changed:
            return self._loaded.setdefault(pipeline, self.global_model)
        if pipeline not in self._loaded:
            parameters = dict(self.global_model)
            for way in changed:
                parameters.update(self._sent_down(way.unit, way.down).parameters)
            self._loaded[pipeline] = self._with_tied(parameters)
        return self._loaded[pipeline]

    def returned(self, pipeline: PipelineId, trained: Parameters) -> Parameters:
        """What the base station has of the parameters that a pipeline has trained."""
        ways, parameters = self._ways[pipeline], dict(trained)
        for way in ways:
            if not way.down.exact:
                self._note(way, "down", self._sent_down(way.unit, way.down))
        if all(way.up.exact for way in ways):
            return trained
        for way in ways:
            if not way.up.exact:
                parameters.update(self._sent_up(way, trained))
        return self._with_tied(parameters)

    def end(self, failed: Collection[PipelineId]) -> None:
        """Keeps what the next rounds need; these pipelines have failed."""
        self.kept.forget(self.routing, failed)
        self.kept.unsent |= self._unsent
        self.kept.references = self.routing.after(self.round, self._placed_anew.union(failed))
        coded = {key: each.parameters for key, each in self._down.items()}
        parameters = self.kept.parameters | coded
        self.kept.parameters = {
            (each.unit, each.format): parameters[each.unit, each.format]
            for each in self.kept.references.all
        }

    def _sent_down(self, unit: Units, format: ParameterFormat) -> _Coded:
        """A unit of the global model as all nodes have it that get it in a format."""
        if (unit, format) not in self._down:
            self._down[unit, format] = self._encoded_down(unit, format)
        return self._down[unit, format]

    def _encoded_down(self, unit: Units, format: ParameterFormat) -> _Coded:
        model = {name: self.global_model[name] for name in self._names[unit]}
        draws = ("down", str(unit), str(format))
        if not format.difference:
            return self._encoded(model, format, *draws)
        ways = (way for own in self._ways.values() for way in own)
        if all(way.whole for way in ways if (way.unit, way.down) == (unit, format)):
            return _Coded(model, 0.0, 0.0)
        reference = self.kept.parameters[unit, format]
        sent = self._encoded(_difference(model, reference), format, *draws)
        return sent._replace(parameters=_sum(reference, sent.parameters))

    def _sent_up(self, way: UnitWay, trained: Parameters) -> Parameters:
        """A trained unit as the base station gets it; what is not sent stays in the memory."""
        before = self.loaded(way.pipeline)
        what: Parameters = {name: trained[name] for name in self._names[way.unit]}
        if way.up.difference:
            what = _difference(what, before)
        key, corrects = (way.pipeline, way.unit), way.up.largest is not None
        unsent = self.kept.unsent.get(key)
        remembered = unsent is not None and corrects and unsent.node == way.node
        if unsent is not None and remembered:
            what = _sum(what, unsent.parameters)
        draws = ("up", str(way.unit), way.pipeline.cluster, way.pipeline.index)
        sent = self._encoded(what, way.up, *draws)
        self._note(way, "up", sent, dropped_error=unsent is not None and not remembered)
        if corrects:
            self._unsent[key] = Unsent(way.node, _difference(what, sent.parameters))
        return _sum(before, sent.parameters) if way.up.difference else sent.parameters

    def _encoded(self, what: Parameters, format: ParameterFormat, *name: str | int) -> _Coded:
        """Parameters through a format's codec; `name` determines the roundings."""
        by = codec(format)
        generator = None
        if by.draws and what:
            seed = number(self.seed, "parameters", self.round, *name)
            generator = torch.Generator(_device(what)).manual_seed(seed)
        decoded: dict[str, Tensor] = {}
        error = power = 0.0
        for key, tensor in what.items():
            arrived = by.decode(by.encode(tensor, generator)) if tensor.numel() else tensor
            error += float((arrived - tensor).square().sum())
            power += float(tensor.square().sum())
            decoded[key] = arrived
        return _Coded(decoded, error / power if power else 0.0, power)

    def _note(
        self,
        way: UnitWay,
        direction: Literal["down", "up"],
        coded: _Coded,
        *,
        dropped_error: bool = False,
    ) -> None:
        down = direction == "down"
        format, whole = (way.down, way.whole) if down else (way.up, False)
        self.encodings.append(
            ParameterEncoding(
                way.pipeline.cluster,
                way.pipeline.index,
                direction,
                str(way.unit),
                str(format),
                whole,
                self.unit_bytes(way.unit, FP32 if whole else format),
                coded.distortion,
                coded.norm_sq,
                dropped_error,
            )
        )

    def _with_tied(self, parameters: dict[str, Tensor]) -> Parameters:
        for later, first in self.model.tied.items():
            parameters[later] = parameters[first]
        return parameters


def _device(parameters: Parameters) -> torch.device:
    return next(iter(parameters.values())).device


def _difference(one: Parameters, other: Parameters) -> dict[str, Tensor]:
    """The tensors of the first minus those of the second of the same name."""
    return {name: tensor - other[name] for name, tensor in one.items()}


def _sum(one: Parameters, other: Parameters) -> dict[str, Tensor]:
    """The tensors of the second plus those of the first of the same name."""
    return {name: one[name] + tensor for name, tensor in other.items()}
