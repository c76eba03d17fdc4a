"""What is sent for a pipeline that has lost a device: from whom, in which format, after what."""

from __future__ import annotations

import dataclasses

import lab
import pytest

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.exchange import (
    Arrival,
    Exchange,
    Legs,
    PipelineId,
    Placement,
    StateMove,
    Trained,
    exchange_problems,
    legs,
    whole,
)
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import Pipeline, Stage
from collapipe_ns3.recovery_exchange import Source, recovery_exchange, source_of

WHOSE = PipelineId(0, 0)
CONTROL = control_unit(0)
FP16, DIFFERENCE = ParameterFormat("fp16"), ParameterFormat("int8", difference=True)


def placement(pipeline: Pipeline) -> Placement:
    units = pipeline.units(CONTROL, SERVER)
    units.pop(SERVER, None)
    return Placement(WHOSE, units)


BEFORE = placement(lab.pipeline(0, (2, 1, 1), 2, "gpipe"))
FALLBACK = placement(Pipeline((Stage("c0.d0", 0, 1), Stage("c0.d2", 2, 3)), 2, "gpipe"))


def before(
    down: ParameterFormat = FP32, up: ParameterFormat = FP32, chunk: int | None = None
) -> Exchange:
    return arranged([BEFORE], Arrangement((Group((0,), down),), (), {0: up}, chunk))


def made(exchange: Exchange, *moves: StateMove) -> Legs:
    return legs(exchange, [FALLBACK], whole(lab.COSTS.units_bytes), {WHOSE: moves})


def lines(exchange: Exchange) -> list[str]:
    return [str(each).replace(" pipeline 0 of cluster 0", " it") for each in exchange.shipments]


def test_from_the_control_unit_every_node_gets_its_units() -> None:
    assert lines(recovery_exchange(FALLBACK, before(), "control unit")) == [
        "0.0 again to c0.d0: c0.cu → c0.d0, blocks 0-1 for it",
        "0.0 again to c0.d2: c0.cu → c0.d2, blocks 2-3 for it",
        "0.0 again from c0.d0: c0.d0 → c0.cu, trained blocks 0-1 of it, after the training of it",
        "0.0 again from c0.d2: c0.d2 → c0.cu, trained blocks 2-3 of it, after the training of it",
        "0.0 again up: c0.cu → bs, trained embedding, blocks 0-3 of it, after 0.0 again from "
        "c0.d0, 0.0 again from c0.d2, the training of it",
    ]


@pytest.mark.parametrize("chunk", [None, 500])
def test_from_the_base_station_it_is_that_of_a_plan(chunk: int | None) -> None:
    """Apart from its names, and valid for the fallback."""
    again = recovery_exchange(FALLBACK, before(chunk=chunk), "base station")
    assert exchange_problems(again, [FALLBACK], [["c0.d0", "c0.d1", "c0.d2"]], 4) == []
    planned = arranged([FALLBACK], Arrangement(chunk_bytes=chunk))
    assert str(again).replace(" again", "") == str(planned)


@pytest.mark.parametrize("chunk", [None, 500])
def test_without_parameters_steps_begin_with_the_states_that_come(chunk: int | None) -> None:
    again = recovery_exchange(FALLBACK, before(chunk=chunk), "none")
    found = made(again, StateMove(CONTROL, "c0.d2", 77))
    (first,) = [leg for leg in found.all if leg.phase is Phase.BROADCAST]
    assert (first.src, first.receivers, first.size_bytes, first.after) == (
        CONTROL,
        ("c0.d2",),
        77,
        (),
    )
    assert found.needed[WHOSE, "c0.d2"] == (Arrival(first.number, "c0.d2"),)
    waits = found.needed[WHOSE, "c0.d0"]
    assert waits == (() if chunk else (Arrival(first.number, "c0.d2"),))


def test_streamed_from_the_control_unit_each_stage_waits_for_its_own() -> None:
    found = made(recovery_exchange(FALLBACK, before(chunk=500), "control unit"))
    needed = {node: found.needed[WHOSE, node] for node in (CONTROL, "c0.d0", "c0.d2", SERVER)}
    assert needed[CONTROL] == needed[SERVER] == ()
    for node in ("c0.d0", "c0.d2"):
        (arrival,) = needed[node]
        last = [leg.number for leg in found.all if leg.receivers == (node,)][-1]
        assert arrival == Arrival(last, node)
    sent = [leg for leg in found.all if leg.src == "c0.d2"]
    assert all(Trained(WHOSE, "c0.d2") in leg.after for leg in sent)


@pytest.mark.parametrize(("down", "then"), [(FP16, FP16), (DIFFERENCE, FP32)])
def test_units_keep_their_formats_but_differences_go_whole(
    down: ParameterFormat, then: ParameterFormat
) -> None:
    again = recovery_exchange(FALLBACK, before(down, DIFFERENCE), "base station")
    assert {each.format for each in again.shipments if not each.trained} == {then}
    assert {each.format for each in again.shipments if each.trained} == {DIFFERENCE}


def test_units_of_several_formats_travel_apart() -> None:
    mixed = tuple(
        dataclasses.replace(each, format=FP16) if "c0.d2" in each.name else each
        for each in before(chunk=500).shipments
    )
    again = recovery_exchange(FALLBACK, Exchange(mixed, None), "control unit")
    up = {
        str(each.units): str(each.format) for each in again.shipments if each.receivers == (SERVER,)
    }
    assert up == {"embedding, blocks 0-2": "fp32", "block 3": "fp16"}


def test_the_control_unit_has_the_model_when_all_of_it_has_arrived() -> None:
    exchange = before(chunk=500)
    found = legs(exchange, [BEFORE], whole(lab.COSTS.units_bytes), {})
    sent = [Arrival(leg.number, CONTROL) for leg in found.all if leg.src == SERVER]
    assert len(sent) > 2

    def source(arrived: list[Arrival], format: ParameterFormat = FP32) -> Source:
        return source_of(before(format, chunk=500), found, arrived, WHOSE)

    assert source(sent) == "control unit"
    assert source(sent[:-1]) == "base station"
    assert source(sent, FP16) == "control unit"
    assert source(sent, DIFFERENCE) == "base station"
