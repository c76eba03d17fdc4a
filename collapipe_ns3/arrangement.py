"""The levers of an exchange, from which its shipments follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.formats import FP32, ParameterFormat, kept_copies
from collapipe_ns3.exchange import Exchange, PipelineId, Placement, Shipment, Units
from collapipe_ns3.nodes import SERVER, control_unit

#: A model is sent in about so many chunks: on the whole way there and back, links are idle for the
#: time of some three chunks.
_CHUNKS = 128

#: Smaller chunks would leave slots partly empty, and their headers and events would count.
_LEAST_CHUNK_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Group:
    """Clusters to which the base station sends the global model in one multicast."""

    clusters: tuple[int, ...]
    format: ParameterFormat = FP32


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the parameters of a round travel, whatever the pipelines are.

    The `groups` are served one after another, in their order, unless they are not `in_turn`: then
    they share the band. For clusters in no group the base station sends the model once for each
    pipeline, in fp32, and they share the band. In the clusters `within`, control units send nodes
    that need the same units one multicast. `uploads` are the formats of what clusters have trained,
    fp32 where a cluster is missing. `chunk_bytes` is that of `Exchange`: None means store and
    forward.
    """

    groups: tuple[Group, ...] = ()
    within: tuple[int, ...] = ()
    uploads: Mapping[int, ParameterFormat] = field(default_factory=dict)
    chunk_bytes: int | None = None
    in_turn: bool = True

    def kept_copies(self, cluster: int) -> int:
        """How many copies of its parameters a node of a cluster keeps besides those in use."""
        down = (group.format for group in self.groups if cluster in group.clusters)
        return kept_copies(next(down, FP32), self.uploads.get(cluster, FP32))


def automatic_chunk_bytes(sent_bytes: int) -> int:
    """The size of the chunks in which a model is streamed where nobody gives one.

    `sent_bytes` is what the base station sends of the model, in the format in which it sends it.
    """
    return max(-(-sent_bytes // _CHUNKS), _LEAST_CHUNK_BYTES)


def arranged(placements: Sequence[Placement], arrangement: Arrangement) -> Exchange:
    """The exchange of these pipelines under an arrangement.

    That of `Arrangement()` is the exchange of a plan that gives none.

    The base station sends to the control units, which send every node its units; a trained unit
    goes the same way back. Where the exchange is streamed, the control unit passes on what each
    node has trained as it comes; otherwise it waits for all nodes of the pipeline.
    """
    placed = [each for each in placements if each.units]
    shipments: list[Shipment] = []
    for number, (members, format) in enumerate(_groups(placed, arrangement)):
        shipments += _down(number, members, format, arrangement, shipments)
        for each in members:
            shipments += _up(each, arrangement)
    return Exchange(tuple(shipments), arrangement.chunk_bytes)


def _groups(
    placed: Sequence[Placement], arrangement: Arrangement
) -> Iterator[tuple[list[Placement], ParameterFormat]]:
    """The pipelines that each transmission of the base station is for, in their order."""
    grouped: set[int] = set()
    for group in arrangement.groups:
        grouped.update(group.clusters)
        if members := [each for each in placed if each.pipeline.cluster in group.clusters]:
            yield members, group.format
    yield from (([each], FP32) for each in placed if each.pipeline.cluster not in grouped)


def _down(
    number: int,
    members: Sequence[Placement],
    format: ParameterFormat,
    arrangement: Arrangement,
    before: Sequence[Shipment],
) -> Iterator[Shipment]:
    """One transmission of the base station, and what control units send on of it."""
    pipelines = tuple(each.pipeline for each in members)
    controls = tuple(dict.fromkeys(control_unit(each.cluster) for each in pipelines))
    whole = Units.joined(units for each in members for units in each.units.values())
    name = f"{_name(pipelines[0])} down" if len(pipelines) == 1 else f"down {number}"
    turn = [each.name for each in before if each.src == SERVER][-1:]
    in_group = any(pipelines[0].cluster in group.clusters for group in arrangement.groups)
    after = tuple(turn) if in_group and arrangement.in_turn else ()
    yield Shipment(name, whole, SERVER, controls, pipelines, after=after, format=format)
    arrived = () if arrangement.chunk_bytes is not None else (name,)
    for control in controls:
        own = [each for each in members if control_unit(each.pipeline.cluster) == control]
        multicast = own[0].pipeline.cluster in arrangement.within
        for nodes in _alike(own, control) if multicast else _apart(own, control):
            receivers, whose = tuple(nodes), tuple(dict.fromkeys(nodes.values()))
            units = next(each.units[receivers[0]] for each in own if each.pipeline == whose[0])
            to = f"{_name(whose[0])} to {' and '.join(receivers)}"
            yield Shipment(to, units, control, receivers, whose, after=arrived, format=format)


#: Nodes that are sent the same, and the pipeline that each belongs to.
_Receivers = dict[str, PipelineId]


def _apart(members: Sequence[Placement], control: str) -> Iterator[_Receivers]:
    """Every node alone."""
    for each in members:
        yield from ({node: each.pipeline} for node in each.units if node != control)


def _alike(members: Sequence[Placement], control: str) -> Iterator[_Receivers]:
    """The nodes that need the same units, together."""
    alike: dict[Units, _Receivers] = {}
    for each in members:
        for node, units in each.units.items():
            if node != control:
                alike.setdefault(units, {})[node] = each.pipeline
    yield from alike.values()


def _up(placed: Placement, arrangement: Arrangement) -> Iterator[Shipment]:
    """The way of a pipeline's trained units to the base station."""
    whose, held = placed.pipeline, placed.units
    name, pipelines, control = _name(whose), (whose,), control_unit(whose.cluster)
    format = arrangement.uploads.get(whose.cluster, FP32)
    apart = [node for node in held if node != control]
    if arrangement.chunk_bytes is None:
        for node in apart:
            yield Shipment(
                f"{name} from {node}",
                held[node],
                node,
                (control,),
                pipelines,
                trained=True,
                after_training=pipelines,
                format=format,
            )
        yield Shipment(
            f"{name} up",
            Units.joined(held.values()),
            control,
            (SERVER,),
            pipelines,
            trained=True,
            after=tuple(f"{name} from {node}" for node in apart),
            after_training=pipelines,
            format=format,
        )
        return
    # The last stages end their last step first.
    for node in reversed(tuple(held)):
        units = held[node]
        if node != control:
            gathered = f"{name} from {node}"
            yield Shipment(gathered, units, node, (control,), pipelines, True, format=format)
        up = f"{name} up from {node}"
        yield Shipment(up, units, control, (SERVER,), pipelines, True, format=format)


def _name(pipeline: PipelineId) -> str:
    return f"{pipeline.cluster}.{pipeline.index}"
