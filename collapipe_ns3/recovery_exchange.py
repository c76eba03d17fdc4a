"""How the parameters of one pipeline travel after it has lost a device, as data.

The control unit keeps the round's global model as soon as all of it has arrived there. The rest is
like the exchange of a plan (`collapipe_ns3.exchange`), whose legs are executed and predicted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.exchange import (
    Arrival,
    Exchange,
    Legs,
    PipelineId,
    Placement,
    Shipment,
    Units,
    singles,
)
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.phases import Phase

#: From where a pipeline's nodes get the parameters with which it goes on: from the base station by
#: way of the control unit, from the control unit, or from nobody, as they come with the states of
#: the optimizers.
Source = Literal["base station", "control unit", "none"]


def recovery_exchange(placement: Placement, before: Exchange, source: Source) -> Exchange:
    """The exchange with which one pipeline goes on, whose units are placed anew.

    `before` is that of the round: units keep their formats and are sent in chunks of the same size.
    Whether a unit can travel as a difference depends on who held it at the round's start; after a
    loss it goes whole, in fp32. The trained units go to the control unit and from there to the base
    station, as in `collapipe_ns3.arrangement.arranged`.
    """
    shipments = [*_down(placement, before, source), *_up(placement, before)]
    return Exchange(tuple(shipments), before.chunk_bytes)


def source_of(
    before: Exchange, legs: Legs, arrived: Collection[Arrival], whose: PipelineId
) -> Source:
    """From where the parameters come with which a pipeline begins again.

    `legs` are those of its exchange so far, of which these have `arrived`. The control unit has the
    model if all has arrived that the base station sends it, unless it has only differences.
    """
    if any(format.difference for format in _formats(before, whose, trained=False).values()):
        return "base station"
    sent = [
        Arrival(leg.number, control_unit(whose.cluster))
        for leg in legs.of(whose)
        if leg.src == SERVER and leg.phase is Phase.BROADCAST and leg.shipment
    ]
    return "control unit" if all(each in arrived for each in sent) else "base station"


def _down(placement: Placement, before: Exchange, source: Source) -> Iterator[Shipment]:
    if source == "none":
        return
    whose, control = placement.pipeline, control_unit(placement.pipeline.cluster)
    formats = {
        unit: FP32 if format.difference else format
        for unit, format in _formats(before, whose, trained=False).items()
    }
    name, first = _name(whose), tuple[str, ...]()
    if source == "base station":
        everything = Units.joined(placement.units.values())
        for number, (format, units) in enumerate(_alike(everything, formats)):
            down = f"{name} down{_suffix(number)}"
            first = (*first, down)
            yield Shipment(down, units, SERVER, (control,), (whose,), format=format)
    after = first if before.chunk_bytes is None else ()
    for node, held in placement.units.items():
        if node != control:
            for number, (format, units) in enumerate(_alike(held, formats)):
                to = f"{name} to {node}{_suffix(number)}"
                yield Shipment(to, units, control, (node,), (whose,), after=after, format=format)


def _up(placement: Placement, before: Exchange) -> Iterator[Shipment]:
    whose, control = placement.pipeline, control_unit(placement.pipeline.cluster)
    formats = _formats(before, whose, trained=True)
    name, streamed = _name(whose), before.chunk_bytes is not None
    ended = Shipment(name, Units(), control, (SERVER,), (whose,), trained=True)
    if not streamed:
        ended = replace(ended, after_training=(whose,))
    gathered: list[str] = []
    held = list(placement.units.items())
    # In a streamed exchange, the last stages end their last step first.
    for node, units in reversed(held) if streamed else held:
        for number, (format, alike) in enumerate(_alike(units, formats)):
            sent = replace(ended, units=alike, format=format)
            if node != control:
                gathered.append(f"{name} from {node}{_suffix(number)}")
                yield replace(sent, name=gathered[-1], src=node, receivers=(control,))
            if streamed:
                yield replace(sent, name=f"{name} up from {node}{_suffix(number)}")
    if not streamed:
        everything = Units.joined(placement.units.values())
        for number, (format, alike) in enumerate(_alike(everything, formats)):
            up = f"{name} up{_suffix(number)}"
            yield replace(ended, name=up, units=alike, format=format, after=tuple(gathered))


def _formats(
    exchange: Exchange, whose: PipelineId, *, trained: bool
) -> Mapping[Units, ParameterFormat]:
    """The format of each unit of a pipeline, which is the same on its whole way."""
    return {
        unit: each.format
        for each in exchange.shipments
        if each.trained == trained and whose in each.pipelines
        for unit in singles(each.units)
    }


def _alike(
    units: Units, formats: Mapping[Units, ParameterFormat]
) -> Iterator[tuple[ParameterFormat, Units]]:
    """The units that travel in one format together, in their order."""
    alike: dict[ParameterFormat, list[Units]] = {}
    for unit in singles(units):
        alike.setdefault(formats.get(unit, FP32), []).append(unit)
    yield from ((format, Units.joined(those)) for format, those in alike.items())


def _name(whose: PipelineId) -> str:
    return f"{whose.cluster}.{whose.index} again"


def _suffix(number: int) -> str:
    return f" ({number})" if number else ""
