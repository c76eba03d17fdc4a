"""An exchange prints well, survives JSON, and is run dry: every problem is found at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import exchanges
import lab
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.formats import ParameterFormat
from bridge.network import TransferKind
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.exchange import (
    Arrival,
    Blocks,
    Exchange,
    Leg,
    Legs,
    PipelineId,
    Shipment,
    StateMove,
    Trained,
    Units,
    chunk_problems,
    exchange_problems,
    legs,
    overlap_ns,
    phase_ends_ns,
    whole,
)
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.phases import PIPELINE_PHASES, Phase
from collapipe_ns3.plan import ClusterPlan, Pipeline, PlanError, RoundPlan, Stage, validate

DEVICES = (("c0.d0", "c0.d1"), ("c1.d0", "c1.d1"))
FIRST, SECOND = PipelineId(0, 0), PipelineId(1, 0)


def two_clusters() -> RoundPlan:
    """Four blocks in halves in cluster 0, and on one device in cluster 1."""
    pipes = (lab.pipeline(0, (2, 2), 2, "gpipe"), lab.pipeline(1, (4,), 2, "gpipe"))
    return RoundPlan(0, "mine", tuple(ClusterPlan(n, (pipe,)) for n, pipe in enumerate(pipes)))


TODAY = arranged(two_clusters().placements(), Arrangement())


def with_changed(name: str, **fields: object) -> Exchange:
    """Today's exchange with other fields of one shipment."""
    assert name in {each.name for each in TODAY.shipments}
    return Exchange(
        tuple(
            dataclasses.replace(each, **fields) if each.name == name else each  # type: ignore[arg-type]
            for each in TODAY.shipments
        )
    )


def without(name: str) -> Exchange:
    return Exchange(tuple(each for each in TODAY.shipments if each.name != name))


def problems(exchange: Exchange) -> list[str]:
    """What is wrong with an exchange for the two clusters."""
    found = exchange_problems(exchange, two_clusters().placements(), DEVICES, 4)
    return [f"{where}: {what}" for where, what in found]


def test_a_plan_without_one_has_the_star() -> None:
    assert [str(each) for each in TODAY.shipments] == [
        "0.0 down: bs → c0.cu, embedding, blocks 0-3 for pipeline 0 of cluster 0",
        "0.0 to c0.d0: c0.cu → c0.d0, blocks 0-1 for pipeline 0 of cluster 0, after 0.0 down",
        "0.0 to c0.d1: c0.cu → c0.d1, blocks 2-3 for pipeline 0 of cluster 0, after 0.0 down",
        "0.0 from c0.d0: c0.d0 → c0.cu, trained blocks 0-1 of pipeline 0 of cluster 0, "
        "after the training of pipeline 0 of cluster 0",
        "0.0 from c0.d1: c0.d1 → c0.cu, trained blocks 2-3 of pipeline 0 of cluster 0, "
        "after the training of pipeline 0 of cluster 0",
        "0.0 up: c0.cu → bs, trained embedding, blocks 0-3 of pipeline 0 of cluster 0, "
        "after 0.0 from c0.d0, 0.0 from c0.d1, the training of pipeline 0 of cluster 0",
        "1.0 down: bs → c1.cu, embedding, blocks 0-3 for pipeline 0 of cluster 1",
        "1.0 to c1.d0: c1.cu → c1.d0, blocks 0-3 for pipeline 0 of cluster 1, after 1.0 down",
        "1.0 from c1.d0: c1.d0 → c1.cu, trained blocks 0-3 of pipeline 0 of cluster 1, "
        "after the training of pipeline 0 of cluster 1",
        "1.0 up: c1.cu → bs, trained embedding, blocks 0-3 of pipeline 0 of cluster 1, "
        "after 1.0 from c1.d0, the training of pipeline 0 of cluster 1",
    ]


def test_a_plan_prints_it_only_where_it_gives_one() -> None:
    plan = two_clusters()
    given_one = dataclasses.replace(plan, exchange=TODAY)
    added = [line for line in str(given_one).splitlines() if line not in str(plan).splitlines()]
    assert added == [
        "  exchange, store and forward:",
        *(f"    {each}" for each in TODAY.shipments),
    ]


def test_a_multicast_names_the_clusters_that_it_is_for_together() -> None:
    pipelines = (PipelineId(0, 0), PipelineId(1, 0), PipelineId(1, 1))
    shipment = Shipment("down", Units(embedding=True), SERVER, ("c0.cu", "c1.cu"), pipelines)
    assert str(Exchange((shipment,), chunk_bytes=32_768)).splitlines() == [
        "exchange, streamed in chunks of 32,768 bytes:",
        "  down: bs → c0.cu, c1.cu, embedding for pipeline 0 of clusters 0, 1 and pipeline 1 of "
        "cluster 1",
    ]


def test_json_has_it_only_where_the_plan_gives_one() -> None:
    plan = two_clusters()
    assert "exchange" not in plan.to_json()
    given_one = dataclasses.replace(plan, exchange=TODAY)
    assert RoundPlan.from_json(json.loads(json.dumps(given_one.to_json()))) == given_one


@pytest.mark.parametrize("embedding", [None, "c0.d2"])
@pytest.mark.parametrize("decoder", [None, "c0.d2"])
def test_the_star_of_any_plan_is_valid(embedding: str | None, decoder: str | None) -> None:
    """A node with several parts, a segment on the base station, two pipelines of a cluster."""
    stages = (Stage("c0.d0", 0, 0), Stage("bs", 1, 2), Stage("c0.d2", 3, 3))
    pipes = (
        Pipeline(stages, 2, "gpipe", 0.5, embedding, decoder),
        Pipeline((Stage("c0.d1", 0, 3),), 2, "gpipe", 0.5),
    )
    plan = RoundPlan(0, "mine", (ClusterPlan(0, pipes),))
    placed = plan.placements()
    assert (
        exchange_problems(arranged(placed, Arrangement()), placed, [["c0.d0", "c0.d1", "c0.d2"]], 4)
        == []
    )
    (down, *_) = arranged(placed, Arrangement()).shipments
    assert down.units == Units(True, (Blocks(0, 0), Blocks(3, 3)), decoder is not None)


def test_nothing_is_sent_where_the_base_station_trains_all() -> None:
    alone = Pipeline((Stage("bs", 0, 3),), 1, "gpipe", embedding="bs", decoder="bs")
    placed = RoundPlan(0, "mine", (ClusterPlan(0, (alone,)),)).placements()
    assert arranged(placed, Arrangement()) == Exchange(())
    assert exchange_problems(Exchange(()), placed, DEVICES, 4) == []


@settings(max_examples=50)
@given(st.data())
def test_those_of_the_other_tests_are_valid(data: st.DataObject) -> None:
    assert problems(exchanges.drawn(data, two_clusters())) == []


BLOCK_9 = Units(blocks=(Blocks(2, 9),))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"units": Units()}, "carries nothing"),
        ({"units": BLOCK_9}, "expected blocks from 0 to 3, not blocks 2-9"),
        ({"src": "c0.d7"}, "there is no node c0.d7"),
        ({"receivers": ("x",)}, "there is no node x"),
        ({"receivers": ()}, "expected a receiver"),
        ({"receivers": ("c0.d0", "c0.d0")}, "names the receiver c0.d0 2 times"),
        (
            {"receivers": ("c0.d0", "bs")},
            "no single transmission reaches the base station and c0.d0",
        ),
        (
            {"receivers": ("c0.d0", "c1.d0")},
            "there is no link c0.cu → c1.d0; expected one in a cluster, or between a control unit "
            "and the base station",
        ),
        ({"pipelines": ()}, "expected a pipeline that it is for"),
        ({"pipelines": (FIRST, FIRST)}, "names pipeline 0 of cluster 0 2 times"),
        ({"pipelines": (FIRST, SECOND)}, "c0.cu never has blocks 0-1 for all of its pipelines"),
        (
            {"pipelines": (FIRST, SECOND), "trained": True},
            "expected one pipeline, not 2, as what is trained belongs to one pipeline",
        ),
        (
            {"units": Units(blocks=(Blocks(0, 1), Blocks(1, 2)))},
            "expected blocks in order and each once, not blocks 1-2 after blocks 0-1",
        ),
        ({"pipelines": (PipelineId(0, 1),)}, "there is no pipeline 1 of cluster 0"),
        ({"after_training": (PipelineId(5, 0),)}, "there is no pipeline 0 of cluster 5"),
        ({"after": ("9 down",)}, "waits for 9 down, and there is no such shipment"),
        (
            {"src": "bs"},
            "there is no link bs → c0.d0; expected one in a cluster, or between a control unit "
            "and the base station",
        ),
        (
            {"src": "c1.cu"},
            "there is no link c1.cu → c0.d0; expected one in a cluster, or between a control unit "
            "and the base station",
        ),
        (
            {"receivers": ("c0.cu",)},
            "there is no link c0.cu → c0.cu; expected one in a cluster, or between a control unit "
            "and the base station",
        ),
        ({"after": ("0.0 to c0.d0",)}, "waits for itself"),
        (
            {"after": ("0.0 up",)},
            "waits for itself, by way of 0.0 up, 0.0 from c0.d0, "
            "the training of pipeline 0 of cluster 0",
        ),
        (
            {"units": Units(decoder=True, blocks=(Blocks(0, 1),))},
            "c0.cu never has decoder",
        ),
        ({"src": "c0.d1"}, "c0.d1 never has blocks 0-1"),
    ],
)
def test_a_wrong_shipment_is_found(fields: dict[str, object], problem: str) -> None:
    found = problems(with_changed("0.0 to c0.d0", **fields))
    assert found[0] == f"shipment 0.0 to c0.d0: {problem}"


def test_what_is_sent_waits_until_it_is_there_without_that_anything_says_so() -> None:
    """Without any waits the legs are those of today's exchange, which has them all."""
    placed = two_clusters().placements()
    bare = Exchange(
        tuple(dataclasses.replace(e, after=(), after_training=()) for e in TODAY.shipments)
    )
    assert problems(bare) == []
    given_waits, without_waits = (legs(e, placed, whole(size), {}) for e in (TODAY, bare))
    assert [{*leg.after} for leg in without_waits.all] == [{*leg.after} for leg in given_waits.all]
    assert without_waits.needed == given_waits.needed


def test_a_pipeline_forwards_only_what_was_sent_for_it() -> None:
    """As the other may fail: then others go on, although nothing has arrived."""
    pipes = tuple(Pipeline((Stage(d, 0, 3),), 2, "gpipe", 0.5) for d in DEVICES[0])
    placed = RoundPlan(0, "mine", (ClusterPlan(0, pipes),)).placements()
    down, *others = arranged(placed, Arrangement()).shipments
    both = tuple(each.pipeline for each in placed)
    rest = tuple(each for each in others if each.name != "0.1 down")
    changed = tuple(
        dataclasses.replace(each, after=()) if each.name == "0.1 to c0.d1" else each
        for each in rest
    )
    assert exchange_problems(Exchange((down, *changed)), placed, DEVICES, 4) == [
        ("shipment 0.1 to c0.d1", "c0.cu never has blocks 0-3"),
        ("pipeline 1 of cluster 0", "c0.cu never gets embedding"),
    ]
    shared = dataclasses.replace(down, pipelines=both)
    assert exchange_problems(Exchange((shared, *changed)), placed, DEVICES, 4) == []


def test_every_receiver_and_every_pipeline_of_a_shipment_has_to_do_with_the_other() -> None:
    """Otherwise it would not be known which pipelines fail with a receiver."""
    group = Exchange(arranged(two_clusters().placements(), Arrangement((Group((0, 1)),))).shipments)
    assert problems(group) == []
    down, *others = group.shipments
    alone = dataclasses.replace(down, receivers=("c0.cu",))
    assert problems(Exchange((alone, *others)))[0] == (
        "shipment down 0: no receiver trains or sends for pipeline 0 of cluster 1"
    )
    third = RoundPlan(0, "mine", (*two_clusters().clusters, ClusterPlan(2, ())))
    wide = dataclasses.replace(down, receivers=("c0.cu", "c1.cu", "c2.cu"))
    found = exchange_problems(
        Exchange((wide, *others)), third.placements(), (*DEVICES, ("c2.d0",)), 4
    )
    assert found == [("shipment down 0", "c2.cu neither trains nor sends for any of its pipelines")]


def test_chunks_have_a_least_size() -> None:
    placed = two_clusters().placements()
    assert problems(dataclasses.replace(TODAY, chunk_bytes=0)) == [
        "exchange: expected chunks of at least one byte, not 0"
    ]
    tiny = arranged(placed, Arrangement(chunk_bytes=1))
    assert problems(tiny) == []
    assert [*chunk_problems(tiny, whole(size))] == []
    ((_, found),) = chunk_problems(tiny, whole(lambda units: 100 * size(units)))
    assert found == (
        "chunk_bytes 1 makes 68000 transfers in a round; expected 10000 at most, "
        "as with chunks of 7 bytes"
    )


def test_a_stage_without_parameters_and_one_whose_never_return_are_found() -> None:
    assert problems(without("0.0 to c0.d1")) == [
        "pipeline 0 of cluster 0: c0.d1 never gets blocks 2-3"
    ]
    assert problems(without("1.0 up")) == [
        "pipeline 0 of cluster 1: trained embedding of c1.cu never reach the base station",
        "pipeline 0 of cluster 1: trained blocks 0-3 of c1.d0 never reach the base station",
    ]
    half = with_changed("0.0 up", units=Units(True, (Blocks(1, 2),)))
    assert problems(half) == [
        "pipeline 0 of cluster 0: trained block 0 of c0.d0 never reach the base station",
        "pipeline 0 of cluster 0: trained block 3 of c0.d1 never reach the base station",
    ]


def test_a_name_is_given_once_and_every_circle_is_found() -> None:
    twice = Exchange((*TODAY.shipments, TODAY.shipments[0]))
    assert problems(twice) == ["shipment 0.0 down: is listed 2 times"]
    circles = [
        dataclasses.replace(each, after=(each.name.replace("down", "to c0.d0"),))
        if each.name == "0.0 down"
        else dataclasses.replace(each, after_training=(SECOND,))
        if each.name == "1.0 down"
        else each
        for each in TODAY.shipments
    ]
    assert problems(Exchange(tuple(circles))) == [
        "shipment 0.0 down: waits for itself, by way of 0.0 to c0.d0",
        "shipment 1.0 down: waits for itself, by way of the training of pipeline 0 of cluster 1",
    ]


def test_they_are_among_the_problems_of_the_plan() -> None:
    plan = dataclasses.replace(two_clusters(), exchange=without("0.0 to c0.d1"))
    with pytest.raises(PlanError) as caught:
        validate(plan, devices=DEVICES, blocks=4, batch_size=12, schedules=("gpipe",))
    assert caught.value.problems == (("pipeline 0 of cluster 0", "c0.d1 never gets blocks 2-3"),)


def never_done(exchange: Exchange) -> list[str]:
    """The shipments that never begin, and the pipelines without all of their units.

    Written anew for this test, as the search for a fixed point: a unit is a text.
    """
    placed = {each.pipeline: each.units for each in two_clusters().placements()}
    held = {("bs", whose, False, unit) for whose in placed for unit in ("e", 0, 1, 2, 3, "d")}
    done, trained, before = set[str](), set[PipelineId](), -1
    while before < len(done) + len(trained):
        before = len(done) + len(trained)
        for whose, units in placed.items():
            waits = {e.name for e in exchange.shipments if not e.trained and whose in e.pipelines}
            if waits <= done:
                trained.add(whose)
                held |= {
                    (n, whose, True, unit) for n, own in units.items() for unit in members(own)
                }
        for each in exchange.shipments:
            ready = {*each.after} <= done and {*each.after_training} <= trained
            if ready and carried(each, [each.src]) <= held:
                done.add(each.name)
                held |= carried(each, each.receivers)
    missing = [
        f"{node} and {unit}"
        for whose, units in placed.items()
        for node, own in units.items()
        for unit in members(own)
        if not {(node, whose, False, unit), ("bs", whose, True, unit)} <= held
    ]
    return [*({each.name for each in exchange.shipments} - done), *missing]


def carried(each: Shipment, nodes: Sequence[str]) -> set[tuple[str, PipelineId, bool, object]]:
    """Which node has which unit for which pipeline, trained or not, at an end of a shipment."""
    return {
        (node, whose, each.trained, unit)
        for node in nodes
        for whose in each.pipelines
        for unit in members(each.units)
    }


def members(units: Units) -> set[object]:
    blocks = {b for run in units.blocks for b in range(run.first, run.last + 1)}
    return blocks | ({"e"} if units.embedding else set()) | ({"d"} if units.decoder else set())


@settings(max_examples=300)
@given(st.data())
def test_the_dry_run_finds_whether_everything_is_sent(data: st.DataObject) -> None:
    """Of exchanges with waits that were changed, shipments that lack units or that are missing."""
    made = [*any_exchange(data).shipments]
    names = [each.name for each in made]
    for place in data.draw(st.lists(st.sampled_from(range(len(made))), max_size=2)):
        changed = made[place]
        waits = tuple(data.draw(st.lists(st.sampled_from(names), max_size=2)))
        what = data.draw(st.sampled_from(["waits", "training", "units"]))
        if what == "waits":
            changed = dataclasses.replace(changed, after=waits)
        elif what == "training":
            changed = dataclasses.replace(changed, after_training=(FIRST,))
        elif left := changed.units.without([Units(blocks=(Blocks(0, 0),))]):
            changed = dataclasses.replace(changed, units=left)
        made[place] = changed
    exchange = Exchange(tuple(made))
    assert bool(problems(exchange)) == bool(never_done(exchange))


def any_exchange(data: st.DataObject) -> Exchange:
    """A valid exchange for the two clusters, with multicasts or without."""
    placed = two_clusters().placements()
    if data.draw(st.booleans()):
        return exchanges.drawn(data, two_clusters())
    groups = data.draw(st.sampled_from([(), (Group((0, 1)),), (Group((1,)), Group((0,)))]))
    within = data.draw(st.sampled_from([(), (0, 1)]))
    return arranged(placed, Arrangement(groups, within, {}, data.draw(st.sampled_from([None, 1]))))


def test_legs_are_in_order_and_optimizer_states_follow_what_the_base_station_sent() -> None:
    plan = two_clusters()
    sizes = {"embedding, blocks 0-3": 50, "blocks 0-1": 20, "blocks 2-3": 21, "blocks 0-3": 41}
    moves = {FIRST: [StateMove("c0.d1", "c0.d0", 7)]}
    made = plan.legs(lambda shipment, units: sizes[str(units)], moves)
    assert [leg.number for leg in made.all] == [*range(11)]
    model, states, trained = TransferKind.MODEL, TransferKind.STATES, TransferKind.PARAMETERS

    def sent(
        number: int,
        phase: Phase,
        kind: TransferKind,
        src: str,
        dst: str,
        size: int,
        after: tuple[Arrival | Trained, ...],
        name: str,
    ) -> Leg:
        return Leg(number, (FIRST,), phase, kind, src, (dst,), size, after, shipment=name)

    down, last = Arrival(0, "c0.cu"), Trained(FIRST)
    gathered = (Arrival(4, "c0.cu"), Arrival(5, "c0.cu"))
    assert made.of(FIRST) == [
        sent(0, Phase.BROADCAST, model, "bs", "c0.cu", 50, (), "0.0 down"),
        sent(1, Phase.BROADCAST, model, "c0.cu", "c0.d0", 20, (down,), "0.0 to c0.d0"),
        sent(2, Phase.BROADCAST, model, "c0.cu", "c0.d1", 21, (down,), "0.0 to c0.d1"),
        Leg(3, (FIRST,), Phase.BROADCAST, states, "c0.d1", ("c0.d0",), 7, (down,), ("c0.cu",)),
        sent(4, Phase.GATHER, trained, "c0.d0", "c0.cu", 20, (last,), "0.0 from c0.d0"),
        sent(5, Phase.GATHER, trained, "c0.d1", "c0.cu", 21, (last,), "0.0 from c0.d1"),
        sent(6, Phase.UPLOAD, trained, "c0.cu", "bs", 50, (*gathered, last), "0.0 up"),
    ]
    assert made.of(SECOND) == list(made.all[7:])
    assert made.all[3].route == ("c0.d1", "c0.cu", "c0.d0")
    before = (down, Arrival(1, "c0.d0"), Arrival(2, "c0.d1"), Arrival(3, "c0.d0"))
    for node in ("c0.cu", "c0.d0", "c0.d1", "bs"):
        assert made.needed[FIRST, node] == before


def ends_ns(made: Legs, first: str, arrived_ns: dict[Arrival, int]) -> list[int]:
    """The ends of the phases in their order, of a round that began at 5 and trained until 50."""
    found = phase_ends_ns(made, FIRST, first, arrived_ns, 5, 50)
    assert tuple(found) == PIPELINE_PHASES
    return list(found.values())


def test_phases_end_with_the_last_of_their_legs() -> None:
    made = two_clusters().legs(whole(lambda units: 1), {})
    arrived = dict(zip(made.arrivals[FIRST], [10, 30, 20, 55, 70, 65], strict=True))
    assert ends_ns(made, "c0.cu", arrived) == [30, 50, 70, 70]
    nothing = Legs((), {FIRST: ()}, {(FIRST, "bs"): ()}, streamed=False)
    assert ends_ns(nothing, "bs", {}) == [5, 50, 50, 50]


def test_chunks_follow_what_brings_them() -> None:
    """Ten bytes of embedding and twenty of each block, in chunks of 25 bytes."""
    placed = two_clusters().placements()[:1]
    streamed = arranged(placed, Arrangement(chunk_bytes=25))
    made = legs(streamed, placed, whole(size), {FIRST: [StateMove("c0.d1", "c0.d0", 7)]})
    names = [(leg.src, *leg.receivers, leg.size_bytes) for leg in made.all]
    assert names[:8] == [
        *(("bs", "c0.cu", size) for size in (25, 25, 25, 15)),
        *(("c0.cu", "c0.d0", size) for size in (25, 15)),
        *(("c0.cu", "c0.d1", size) for size in (25, 15)),
    ]
    assert [leg.chunk for leg in made.all[:8]] == [0, 1, 2, 3, 0, 1, 0, 1]
    # Blocks 0 and 1 are the bytes 10 to 49 of what comes down, and 2 and 3 are 50 to 89.
    assert [leg.after for leg in made.all[4:8]] == [(Arrival(n, "c0.cu"),) for n in (1, 1, 2, 3)]
    assert made.all[8].after == (Arrival(3, "c0.cu"),)
    assert made.needed[FIRST, "c0.cu"] == (Arrival(0, "c0.cu"),)
    assert made.needed[FIRST, "c0.d0"] == (Arrival(5, "c0.d0"), Arrival(8, "c0.d0"))
    assert made.needed[FIRST, "c0.d1"] == (Arrival(7, "c0.d1"),)
    assert made.needed[FIRST, "bs"] == ()
    # What devices have trained leaves when they have, and is passed on as it comes.
    up = {leg.number: (leg.src, *leg.receivers, leg.after) for leg in made.all[9:]}
    assert up == {
        9: ("c0.d1", "c0.cu", (Trained(FIRST, "c0.d1"),)),
        10: ("c0.d1", "c0.cu", (Trained(FIRST, "c0.d1"),)),
        11: ("c0.cu", "bs", (Arrival(9, "c0.cu"),)),
        12: ("c0.cu", "bs", (Arrival(10, "c0.cu"),)),
        13: ("c0.d0", "c0.cu", (Trained(FIRST, "c0.d0"),)),
        14: ("c0.d0", "c0.cu", (Trained(FIRST, "c0.d0"),)),
        15: ("c0.cu", "bs", (Arrival(13, "c0.cu"),)),
        16: ("c0.cu", "bs", (Arrival(14, "c0.cu"),)),
        17: ("c0.cu", "bs", (Trained(FIRST, "c0.cu"),)),
    }


def size(units: Units) -> int:
    """Ten bytes of embedding, twenty of each block, and five of the decoder."""
    return sum({"e": 10, "d": 5}.get(str(unit), 20) for unit in members(units))


def test_a_multicast_is_for_the_pipelines_of_each_receiver() -> None:
    plan = two_clusters()
    placed = plan.placements()
    exchange = arranged(placed, Arrangement(groups=(Group((0, 1)),), within=(0, 1)))
    made = legs(exchange, placed, whole(size), {SECOND: [StateMove("c1.d1", "c1.d0", 7)]})
    (down, *_) = made.all
    assert (down.pipelines, down.receivers) == ((FIRST, SECOND), ("c0.cu", "c1.cu"))
    assert made.arrivals[FIRST][0] == Arrival(0, "c0.cu")
    assert made.arrivals[SECOND][0] == Arrival(0, "c1.cu")
    assert made.needed[FIRST, "bs"][0] == Arrival(0, "c0.cu")
    (states,) = (leg for leg in made.all if leg.kind is TransferKind.STATES)
    assert states.after == (Arrival(0, "c1.cu"),)


def test_what_is_sent_on_in_another_format_waits_for_whole_units() -> None:
    placed = two_clusters().placements()[:1]
    streamed = arranged(placed, Arrangement(chunk_bytes=25))
    half = ParameterFormat("fp16")
    changed = Exchange(
        tuple(
            dataclasses.replace(each, format=half) if each.name == "0.0 to c0.d0" else each
            for each in streamed.shipments
        ),
        25,
    )

    def bytes_of(shipment: Shipment, units: Units) -> int:
        return size(units) // 2 if shipment.format == half else size(units)

    made = legs(changed, placed, bytes_of, {})
    assert [leg.after for leg in made.all[4:5]] == [(Arrival(1, "c0.cu"),)]
    assert [leg.size_bytes for leg in made.all[4:5]] == [20]


@settings(max_examples=150)
@given(st.data())
def test_no_byte_is_sent_before_it_is_there(data: st.DataObject) -> None:
    """However long legs take, as long as those between two nodes arrive in order."""
    placed = two_clusters().placements()
    stripped = tuple(
        each if data.draw(st.booleans()) else dataclasses.replace(each, after=(), after_training=())
        for each in any_exchange(data).shipments
    )
    chunk = data.draw(st.sampled_from([None, 1000, *range(1, 60)]))
    made = legs(Exchange(stripped, chunk), placed, whole(size), {})
    carried = {leg.number: bytes_on(leg, stripped, chunk) for leg in made.all}
    assert sum(map(len, carried.values())) == sum(size(each.units) for each in stripped)
    took = {leg.number: data.draw(st.integers(1, 9)) for leg in made.all}
    held, happened, arriving = set[object](), set[Arrival | Trained](), dict[int, int]()
    arrived_last: dict[tuple[str, str], int] = {}
    now = 0
    while len(arriving) < len(made.all) or max(arriving.values()) >= now:
        for leg in made.all:
            if arriving.get(leg.number) == now:
                happened |= {Arrival(leg.number, node) for node in leg.receivers}
                trained, units = leg.kind is TransferKind.PARAMETERS, carried[leg.number]
                held |= {
                    (node, whose, trained, byte)
                    for node in leg.receivers
                    for whose in leg.pipelines
                    for byte in units
                }
        for each in placed:
            whose, nodes = each.pipeline, (*each.units, "bs")
            if all({*made.needed[whose, node]} <= happened for node in nodes):
                happened |= {Trained(whose), *(Trained(whose, node) for node in each.units)}
                for node, units in each.units.items():
                    assert {(node, whose, False, byte) for byte in unit_bytes(units)} <= held
                    held |= {(node, whose, True, byte) for byte in unit_bytes(units)}
        for leg in made.all:
            if leg.number not in arriving and {*leg.after} <= happened:
                trained, units = leg.kind is TransferKind.PARAMETERS, carried[leg.number]
                if leg.src != "bs" or trained:
                    assert {
                        (leg.src, whose, trained, byte) for whose in leg.pipelines for byte in units
                    } <= held
                pairs = [(leg.src, node) for node in leg.receivers]
                end = max(now + took[leg.number], *(arrived_last.get(p, 0) for p in pairs))
                arriving[leg.number] = end
                arrived_last |= dict.fromkeys(pairs, end)
        now += 1
        assert now < 10_000, "nothing is left to wait for"
    for each in placed:
        whole_units = {b for units in each.units.values() for b in unit_bytes(units)}
        assert {("bs", each.pipeline, True, byte) for byte in whole_units} <= held


def unit_bytes(units: Units) -> list[tuple[str, int]]:
    """The bytes of units, each with its place in its unit, in the order in which they travel."""
    order = sorted(members(units), key=lambda unit: {"e": -1, "d": 99}.get(str(unit), unit))
    return [
        (str(unit), place)
        for unit in order
        for place in range({"e": 10, "d": 5}.get(str(unit), 20))
    ]


def bytes_on(
    leg: Leg, shipments: Sequence[Shipment], chunk: int | None
) -> frozenset[tuple[str, int]]:
    """The bytes of a leg, each by its unit and its place there."""
    (shipment,) = (each for each in shipments if each.name == leg.shipment)
    every = unit_bytes(shipment.units)
    part = every if chunk is None else every[leg.chunk * chunk : (leg.chunk + 1) * chunk]
    assert len(part) == leg.size_bytes
    return frozenset(part)


def test_phases_of_a_streamed_exchange_add_up_and_overlap() -> None:
    placed = two_clusters().placements()[:1]
    made = legs(arranged(placed, Arrangement(chunk_bytes=1000)), placed, whole(size), {})
    sent = [(leg.src, *leg.receivers) for leg in made.all]
    assert sent == [
        ("bs", "c0.cu"),
        ("c0.cu", "c0.d0"),
        ("c0.cu", "c0.d1"),
        ("c0.d1", "c0.cu"),
        ("c0.cu", "bs"),
        ("c0.d0", "c0.cu"),
        ("c0.cu", "bs"),
        ("c0.cu", "bs"),
    ]
    begun = dict(enumerate([5, 10, 10, 40, 45, 48, 55, 60]))
    arrived = dict(zip(made.arrivals[FIRST], [10, 20, 25, 45, 70, 55, 75, 66], strict=True))
    ends = dict(zip(PIPELINE_PHASES, ends_ns(made, "c0.cu", arrived), strict=True))
    assert list(ends.values()) == [10, 50, 55, 75]
    assert overlap_ns(made, FIRST, begun, arrived, ends) == (25 - 10) + (50 - 40)


def test_units_are_joined_and_taken_away_as_sets() -> None:
    parts = [Units(blocks=(Blocks(4, 5), Blocks(2, 2))), Units(True, (Blocks(0, 1), Blocks(1, 2)))]
    assert Units.joined(parts) == Units(True, (Blocks(0, 2), Blocks(4, 5)))
    left = Units(True, (Blocks(0, 5),), True).without([Units(True, (Blocks(2, 3),))])
    assert str(left) == "blocks 0-1, blocks 4-5, decoder"
    assert str(Units()) == "nothing"
    assert str(Shipment("a", Units(decoder=True), "bs", ("c0.cu",), (FIRST,))) == (
        "a: bs → c0.cu, decoder for pipeline 0 of cluster 0"
    )
