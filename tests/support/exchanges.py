"""Exchanges other than today's, all of them valid: drawn at random, and by a scheme."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from hypothesis import strategies as st

from collapipe_ns3.exchange import Exchange, PipelineId, Shipment, Units
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
