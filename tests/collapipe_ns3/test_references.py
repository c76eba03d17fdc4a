"""Which units go whole, what shipments take, and who holds which reference after a round."""

from __future__ import annotations

import json
from dataclasses import replace

from bridge.formats import FP32, ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.exchange import Blocks, Exchange, PipelineId, Placement, Shipment, Units
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.references import (
    References,
    Routing,
    ShipmentSizes,
    format_problems,
    kept_bytes,
    singles,
)

INT8 = ParameterFormat("int8", difference=True)
TOP_K = ParameterFormat("fp16", difference=True, largest=0.1)
EMBEDDING, ONE, TWO = (
    Units(embedding=True),
    Units(blocks=(Blocks(0, 0),)),
    Units(blocks=(Blocks(1, 1),)),
)
FIRST, SECOND = PipelineId(0, 0), PipelineId(1, 0)


def placed(pipeline: PipelineId, *devices: str) -> Placement:
    """Two blocks on these devices, the embedding on the control unit."""
    blocks = dict(
        zip(devices, [ONE, TWO] if len(devices) == 2 else [Units.joined([ONE, TWO])], strict=True)
    )
    return Placement(pipeline, {control_unit(pipeline.cluster): EMBEDDING, **blocks})


BOTH = [placed(FIRST, "0.a", "0.b"), placed(SECOND, "1.a", "1.b")]


def exchange(
    placements: list[Placement], format: ParameterFormat = INT8, up: ParameterFormat = INT8
) -> Exchange:
    """One multicast to both clusters."""
    arrangement = Arrangement(
        groups=(Group((0, 1), format),), uploads={0: up, 1: up}, chunk_bytes=1000
    )
    return arranged(placements, arrangement)


def unit_bytes(units: Units, format: ParameterFormat) -> int:
    """1000 bytes in fp32, and 250 in other formats; the embedding ten times as much."""
    size = 1000 if format == FP32 else 250
    return size * sum(10 if unit.embedding else 1 for unit in singles(units))


def after_round(
    round: int, references: References, placements: list[Placement], *failed: PipelineId
) -> References:
    return Routing(exchange(placements), placements, references).after(round, failed)


def wholes(references: References, placements: list[Placement]) -> dict[str, bool]:
    """Whether what each node places goes whole, by node."""
    ways = Routing(exchange(placements), placements, references).ways()
    assert all(way.up == INT8 for way in ways)
    return {way.node: way.whole for way in ways}


def test_at_first_all_goes_whole_and_then_nothing() -> None:
    assert set(wholes(References(), BOTH).values()) == {True}
    references = after_round(0, References(), BOTH)
    assert set(wholes(references, BOTH).values()) == {False}
    assert {each.version for each in references.all} == {0}
    assert {each.version for each in after_round(4, references, BOTH).all} == {4}


def test_a_new_holder_gets_its_unit_whole_and_so_do_all_of_its_multicast() -> None:
    """Cluster 1 swaps its blocks: of the blocks nobody gets a difference, of the embedding all."""
    references = after_round(0, References(), BOTH)
    swapped = [BOTH[0], placed(SECOND, "1.b", "1.a")]
    assert wholes(references, swapped) == {
        control_unit(0): False,
        "0.a": True,
        "0.b": True,
        control_unit(1): False,
        "1.a": True,
        "1.b": True,
    }
    apart = arranged(
        swapped,
        Arrangement(groups=(Group((0,), INT8), Group((1,), INT8)), uploads={0: INT8, 1: INT8}),
    )
    ways = Routing(apart, swapped, references).ways()
    assert [way.node for way in ways if way.whole] == ["1.b", "1.a"]


def test_a_cluster_that_missed_a_broadcast_gets_all_whole() -> None:
    references = after_round(0, References(), BOTH)
    references = after_round(1, references, BOTH[:1])
    assert all(set(each.nodes) <= {control_unit(0), "0.a", "0.b"} for each in references.all)
    assert set(wholes(references, BOTH[1:]).values()) == {True}
    assert set(wholes(references, BOTH[:1]).values()) == {False}


def test_a_reference_that_nobody_updated_is_still_of_use() -> None:
    """The only cluster of a format sits out for a round."""
    references = after_round(0, References(), BOTH)
    references = Routing(exchange(BOTH[:1], TOP_K), BOTH[:1], references).after(1, ())
    assert set(wholes(references, BOTH[1:]).values()) == {False}
    assert set(wholes(references, BOTH[:1]).values()) == {True}


def test_a_failed_pipeline_leaves_no_reference_on_its_nodes() -> None:
    references = after_round(0, References(), BOTH)
    references = after_round(1, references, BOTH, SECOND)
    assert set(wholes(references, BOTH[1:]).values()) == {True}
    assert set(wholes(references, BOTH[:1]).values()) == {False}


def test_other_formats_have_other_references() -> None:
    references = after_round(0, References(), BOTH)
    ways = Routing(exchange(BOTH, TOP_K), BOTH, references).ways()
    assert all(way.whole for way in ways)


def test_sizes_of_all_hops_are_those_of_what_leaves_the_base_station() -> None:
    references = after_round(0, References(), BOTH)
    swapped = [BOTH[0], placed(SECOND, "1.b", "1.a")]
    made = exchange(swapped)
    bytes_of = ShipmentSizes(unit_bytes, Routing(made, swapped, references))
    sizes = {each.name: bytes_of(each, each.units) for each in made.shipments}
    assert sizes["down 0"] == 2500 + 2 * 1000
    assert sizes["0.0 to 0.a"] == 1000
    assert sizes["0.0 from 0.a"] == 250
    for each in made.shipments:
        assert sizes[each.name] == sum(bytes_of(each, unit) for unit in singles(each.units))
    same = ShipmentSizes(unit_bytes, Routing(made, BOTH, references))
    assert same(made.shipments[0], made.shipments[0].units) == 3000


def test_without_differences_nothing_is_whole_and_nothing_is_kept() -> None:
    made = exchange(BOTH, ParameterFormat("int8"), ParameterFormat("fp16"))
    routing = Routing(made, BOTH)
    assert ShipmentSizes(unit_bytes, routing)(made.shipments[0], EMBEDDING) == 2500
    assert not any(way.whole for way in routing.ways())
    assert routing.after(0, ()) == References()
    assert set(kept_bytes(routing.ways(), unit_bytes)[FIRST].values()) == {0}


def test_an_exact_exchange_has_no_ways() -> None:
    routing = Routing(exchange(BOTH, FP32, FP32), BOTH)
    assert routing.exact
    assert routing.ways() == []


def test_a_node_that_gets_its_unit_in_fp32_gives_up_its_reference() -> None:
    references = after_round(0, References(), BOTH)
    made = exchange(BOTH[:1], FP32, FP32)
    references = Routing(made, BOTH[:1], references).after(1, ())
    assert {node for each in references.all for node in each.nodes} == {
        control_unit(1),
        "1.a",
        "1.b",
    }


def test_a_node_keeps_its_reference_and_what_top_k_left_over() -> None:
    ways = Routing(exchange(BOTH, INT8, TOP_K), BOTH).ways()
    kept = kept_bytes(ways, unit_bytes)
    assert kept[FIRST] == {control_unit(0): 20_000, "0.a": 2000, "0.b": 2000}
    ways = Routing(exchange(BOTH, FP32, INT8), BOTH).ways()
    assert kept_bytes(ways, unit_bytes)[SECOND] == {
        control_unit(1): 10_000,
        "1.a": 1000,
        "1.b": 1000,
    }


def test_references_survive_json() -> None:
    references = after_round(3, References(), BOTH)
    assert References.from_json(json.loads(json.dumps(references.to_json()))) == references


def test_a_unit_has_one_format_on_its_way() -> None:
    made = exchange(BOTH)
    assert list(format_problems(made)) == []

    def other(shipment: Shipment) -> Shipment:
        return replace(shipment, format=TOP_K) if shipment.name == "0.0 to 0.a" else shipment

    mixed = Exchange(tuple(map(other, made.shipments)))
    assert list(format_problems(mixed)) == [
        (
            "shipment 0.0 to 0.a",
            "carries block 0 of pipeline 0 of cluster 0 in the largest 10.00% of fp16 differences; "
            "expected int8 differences, as down 0 has it",
        )
    ]
    wrong = replace(made.shipments[0], format=ParameterFormat("int8", largest=0.1))
    found = list(format_problems(Exchange((wrong,))))
    assert "expected differences" in found[0][1]


def test_a_unit_that_nobody_places_goes_whole_as_nobody_holds_a_reference() -> None:
    """Such as a decoder, which is trained at the base station."""
    made = exchange(BOTH)
    first, *others = made.shipments
    with_decoder = replace(first, units=Units.joined([first.units, Units(decoder=True)]))
    references = after_round(0, References(), BOTH)
    routing = Routing(replace(made, shipments=(with_decoder, *others)), BOTH, references)
    assert routing.is_whole(with_decoder, Units(decoder=True))
    assert not routing.is_whole(with_decoder, ONE)
