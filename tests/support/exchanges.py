"""Exchanges other than that of `Arrangement()`, all of them valid: drawn, and by a scheme."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.exchange import Exchange, PipelineId, Placement, Shipment, Units
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.schemes.pipeline import PipeLine


def drawn(data: st.DataObject, plan: RoundPlan) -> Exchange:
    """A valid exchange for a plan, whose shipments are listed in any order.

    Parameters come down together, each node's on its own, or from device to device. Pipelines wait
    for each other or not. What was trained goes up together, or each node's as soon as it is there.
    """
    shipments: list[Shipment] = []
    earlier: list[Shipment] = []
    for placed in plan.placements():
        if not placed.units:
            continue
        whose, held = placed.pipeline, placed.units
        way = data.draw(st.sampled_from([_down_whole, _down_apart, _down_in_chain]))
        down = [*way(whose, held)]
        if earlier and data.draw(st.booleans()):
            waits = tuple(each.name for each in earlier)
            down[0] = dataclasses.replace(down[0], after=(*down[0].after, *waits))
        elif earlier and data.draw(st.booleans()):
            others = earlier[-1].pipelines
            down[0] = dataclasses.replace(down[0], after_training=others)
        up = [*data.draw(st.sampled_from([_up_whole, _up_apart]))(whose, held)]
        earlier = down
        shipments += [*down, *up]
    return Exchange(tuple(data.draw(st.permutations(shipments))))


Held = Mapping[str, Units]


def _down_whole(whose: PipelineId, held: Held) -> Iterator[Shipment]:
    control = control_unit(whose.cluster)
    yield Shipment(f"{whose} down", _all(held), SERVER, (control,), (whose,))
    for node in (node for node in held if node != control):
        name = f"{whose} to {node}"
        yield Shipment(name, held[node], control, (node,), (whose,), after=(f"{whose} down",))


def _down_apart(whose: PipelineId, held: Held) -> Iterator[Shipment]:
    control = control_unit(whose.cluster)
    for node, units in held.items():
        name = f"{whose} down for {node}"
        yield Shipment(name, units, SERVER, (control,), (whose,))
        if node != control:
            yield Shipment(f"{whose} to {node}", units, control, (node,), (whose,), after=(name,))


def _down_in_chain(whose: PipelineId, held: Held) -> Iterator[Shipment]:
    control = control_unit(whose.cluster)
    yield Shipment(f"{whose} down", _all(held), SERVER, (control,), (whose,))
    src, before = control, f"{whose} down"
    nodes = [node for node in held if node != control]
    for number, node in enumerate(nodes):
        rest = Units.joined(held[each] for each in nodes[number:])
        name = f"{whose} to {node}"
        yield Shipment(name, rest, src, (node,), (whose,), after=(before,))
        src, before = node, name


def _up_whole(whose: PipelineId, held: Held) -> Iterator[Shipment]:
    control = control_unit(whose.cluster)
    gathered = []
    for node in (node for node in held if node != control):
        gathered.append(f"{whose} from {node}")
        yield Shipment(gathered[-1], held[node], node, (control,), (whose,), True, (), (whose,))
    name, after = f"{whose} up", tuple(gathered)
    yield Shipment(name, _all(held), control, (SERVER,), (whose,), True, after, (whose,))


def _up_apart(whose: PipelineId, held: Held) -> Iterator[Shipment]:
    """The last stage's first."""
    control = control_unit(whose.cluster)
    for node in reversed(held):
        up, units = f"{whose} up for {node}", held[node]
        if node == control:
            yield Shipment(up, units, control, (SERVER,), (whose,), True, (), (whose,))
            continue
        name = f"{whose} from {node}"
        yield Shipment(name, units, node, (control,), (whose,), True, (), (whose,))
        yield Shipment(up, units, control, (SERVER,), (whose,), True, (name,))


def _all(held: Held) -> Units:
    return Units.joined(held.values())


#: Small enough that most parameters travel in several chunks, and one larger than the model.
CHUNK_BYTES = (None, 400, 1_111, 3_000, 10**6)

FORMATS = (
    FP32,
    ParameterFormat("bf16"),
    ParameterFormat("int8"),
    ParameterFormat("int8", difference=True),
    ParameterFormat("fp16", difference=True, largest=0.1),
)


def drawn_trees(
    data: st.DataObject,
    plan: RoundPlan,
    *,
    multicast: bool = True,
    streamed: bool = True,
    formats: Sequence[ParameterFormat] = FORMATS,
) -> Exchange:
    """A valid exchange for a plan, by trees of any shape, listed in any order.

    One download serves the pipelines of one cluster or several. In a cluster every node may relay
    what others need, also for pipelines that it has no part of, and sends it to one node after the
    other or, with `multicast`, to several at once. What was trained goes up by other trees.
    """
    made: list[Shipment] = []
    placed = [each for each in plan.placements() if each.units]
    groups: list[list[Placement]] = []
    for each in placed:
        if groups and multicast and data.draw(st.booleans()):
            groups[data.draw(st.integers(0, len(groups) - 1))].append(each)
        else:
            groups.append([each])
    before: list[PipelineId] = []
    for number, members in enumerate(groups):
        draw = _TreeDrawing(data, f"g{number}", multicast, tuple(made), tuple(before))
        made += _in_format(draw.down(members, placed), data.draw(st.sampled_from(formats)))
        for each in members:
            made += _in_format(draw.up(each, placed), data.draw(st.sampled_from(formats)))
        before += [each.pipeline for each in members]
    chunk_bytes = data.draw(st.sampled_from(CHUNK_BYTES)) if streamed else None
    return Exchange(tuple(data.draw(st.permutations(made))), chunk_bytes)


def _in_format(shipments: Sequence[Shipment], format: ParameterFormat) -> list[Shipment]:
    return [dataclasses.replace(each, format=format) for each in shipments]


@dataclass(frozen=True)
class _TreeDrawing:
    """The shipments of one group of pipelines; they may wait for those `before`, of others."""

    data: st.DataObject
    name: str
    multicast: bool
    before: Sequence[Shipment]
    trained_before: Sequence[PipelineId]

    def down(self, members: Sequence[Placement], placed: Sequence[Placement]) -> list[Shipment]:
        """From the base station to the members' control units, and on."""
        controls = list(dict.fromkeys(control_unit(each.pipeline.cluster) for each in members))
        whole = Units.joined(units for each in members for units in each.units.values())
        whose = tuple(each.pipeline for each in members)
        made = [
            self._shipment(f"down {n}", part, SERVER, tuple(controls), whose)
            for n, part in enumerate(self._parts(whole))
        ]
        for control in controls:
            own = [each for each in members if control_unit(each.pipeline.cluster) == control]
            made += self._spread(control, own, _nodes(placed, own[0].pipeline.cluster))
        return made

    def _spread(
        self, control: str, own: Sequence[Placement], nodes: Sequence[str]
    ) -> list[Shipment]:
        """From a control unit to the nodes of these pipelines."""
        parents = self._tree(control, nodes)
        needed = {
            node: Units.joined(
                each.units[below]
                for below in _below(node, parents)
                for each in own
                if below in each.units
            )
            for node in parents
        }
        whose = {
            node: [p.pipeline for p in own if any(b in p.units for b in _below(node, parents))]
            for node in parents
        }
        made = []
        for parent in (control, *parents):
            children = [node for node, above in parents.items() if above == parent and whose[node]]
            while children:
                most = len(children) if self.multicast else 1
                together = children[: self.data.draw(st.integers(1, most))]
                children = children[len(together) :]
                units = Units.joined(needed[node] for node in together)
                pipelines = tuple(dict.fromkeys(p for node in together for p in whose[node]))
                made += [
                    self._shipment(
                        f"{parent} to {'+'.join(together)} {n}",
                        part,
                        parent,
                        tuple(together),
                        pipelines,
                    )
                    for n, part in enumerate(self._parts(units))
                ]
        return made

    def up(self, placed: Placement, every: Sequence[Placement]) -> list[Shipment]:
        """From the nodes of a pipeline to the base station."""
        whose = placed.pipeline
        control = control_unit(whose.cluster)
        parents = self._tree(control, _nodes(every, whose.cluster))
        return [
            self._shipment(f"{whose} {src} up {n}", units, src, (dst,), (whose,), trained=True)
            for src, dst in (*parents.items(), (control, SERVER))
            for n, units in enumerate(self._flows(src, placed, parents))
        ]

    def _flows(self, node: str, placed: Placement, parents: Mapping[str, str]) -> Iterator[Units]:
        """What a node sends of what it and the nodes below it have trained, in one or several."""
        below = _below(node, parents) if node in parents else [node, *parents]
        parts = [placed.units[each] for each in below if each in placed.units]
        if parts and self.data.draw(st.booleans()):
            yield Units.joined(parts)
        else:
            yield from self.data.draw(st.permutations(parts))

    def _tree(self, root: str, nodes: Sequence[str]) -> dict[str, str]:
        """The parent of each node, in an order in which parents come before their children."""
        parents: dict[str, str] = {}
        for node in self.data.draw(st.permutations([each for each in nodes if each != root])):
            parents[node] = self.data.draw(st.sampled_from([root, *parents]))
        return parents

    def _parts(self, units: Units) -> list[Units]:
        """Units in one or two shipments."""
        if not units.embedding or units == Units(embedding=True) or self.data.draw(st.booleans()):
            return [units]
        return [units.without([Units(embedding=True)]), Units(embedding=True)]

    def _shipment(
        self,
        name: str,
        units: Units,
        src: str,
        receivers: tuple[str, ...],
        whose: tuple[PipelineId, ...],
        *,
        trained: bool = False,
    ) -> Shipment:
        """A shipment that may have to wait for some of another group."""
        after: tuple[str, ...] = ()
        training: tuple[PipelineId, ...] = ()
        what = self.data.draw(st.integers(0, 7))
        if what == 0 and self.before:
            after = (self.data.draw(st.sampled_from(self.before)).name,)
        elif what == 1 and self.trained_before:
            training = (self.data.draw(st.sampled_from(self.trained_before)),)
        elif what == 2 and trained:
            training = whose
        return Shipment(
            f"{self.name} {name}", units, src, receivers, whose, trained, after, training
        )


def _nodes(placed: Sequence[Placement], cluster: int) -> list[str]:
    """The nodes of all pipelines of a cluster."""
    own = (each.units for each in placed if each.pipeline.cluster == cluster)
    return list(dict.fromkeys(node for units in own for node in units))


def _below(node: str, parents: Mapping[str, str]) -> list[str]:
    """A node, and all that it relays for."""
    return [node] + [b for each in parents if parents[each] == node for b in _below(each, parents)]


class OneAfterAnother(PipeLine):
    """PipeLine, with one cluster's broadcast after the other, and segments uploaded on their own.

    The base station has its whole band for each cluster in turn, and control units send on what
    each device has trained while the others still send.
    """

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        plan = super().plan(round, observation)
        shipments: list[Shipment] = []
        before: tuple[str, ...] = ()
        for placed in plan.placements():
            first, *others = _down_whole(placed.pipeline, placed.units)
            shipments += [dataclasses.replace(first, after=before), *others]
            shipments += _up_apart(placed.pipeline, placed.units)
            before = (first.name,)
        return dataclasses.replace(plan, exchange=Exchange(tuple(shipments)))
