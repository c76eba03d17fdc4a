"""Multicasts and streamed exchanges take what closed forms say, and change nothing that is learned.

On links of fixed rates: T is in ns, and sizes are in bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial, partialmethod
from types import SimpleNamespace
from typing import cast

import exchanges
import lab
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.compute import TorchThread
from bridge.fixed import Link
from bridge.network import Network
from bridge.payload import union
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.engine.exchange_run import ExchangeRun
from collapipe_ns3.engine.site import Site
from collapipe_ns3.exchange import Blocks, Exchange, Legs, PipelineId, Shipment, Units, whole
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan

SHARES = (0.5, 0.5)
FIRST, SECOND = PipelineId(0, 0), PipelineId(1, 0)
BOTH = (Group((0, 1)),)


def two_clusters() -> RoundPlan:
    """Cluster 0 has two segments, cluster 1 one."""
    pipes = (lab.pipeline(0, (2, 2), 2, "gpipe"), lab.pipeline(1, (4,), 2, "gpipe"))
    return RoundPlan(0, "test", tuple(ClusterPlan(n, (pipe,)) for n, pipe in enumerate(pipes)))


def by(plan: RoundPlan, **levers: object) -> RoundPlan:
    """The plan with the exchange of an arrangement."""
    exchange = arranged(plan.placements(), Arrangement(**levers))  # type: ignore[arg-type]
    return dataclasses.replace(plan, exchange=exchange)


def legs_of(plan: RoundPlan) -> Legs:
    return plan.legs(whole(lab.COSTS.units_bytes), {})


def ended(outcome: RoundOutcome, kind: str, src: str, dst: str) -> list[int]:
    """When the transfers of a kind over a link ended, in order."""
    return [d.end_ns for d in outcome.deliveries if (d.kind, d.src, d.dst) == (kind, src, dst)]


@pytest.mark.parametrize("chunk", [100, 700, 1024, 4097])
def test_a_line_takes_the_time_of_its_slowest_hop_and_a_chunk_on_the_others(chunk: int) -> None:
    """T = Σ (c/r + L) + (D/c − 1)·max c/r, here for a whole number of chunks."""
    plan = lab.one_cluster((4,), 1)
    size = lab.COSTS.units_bytes(plan.placements()[0].units["c0.d0"])
    chunk = max(c for c in range(1, chunk + 1) if size % c == 0)
    for slow, fast in ((7, 3), (3, 7)):
        links = {
            ("bs", "c0.cu"): Link(8_000_000_000 // slow, latency_ns=11),
            ("c0.cu", "c0.d0"): Link(8_000_000_000 // fast, latency_ns=23),
        }
        # The control unit's embedding comes after what is sent on.
        whose, units = (FIRST,), plan.placements()[0].units
        shipments = (
            Shipment("a", units["c0.d0"], "bs", ("c0.cu",), whose),
            Shipment("b", units["c0.d0"], "c0.cu", ("c0.d0",), whose),
            Shipment("c", units["c0.cu"], "bs", ("c0.cu",), whose),
            *(
                each
                for each in arranged(plan.placements(), Arrangement()).shipments
                if each.trained
            ),
        )
        made = dataclasses.replace(plan, exchange=Exchange(shipments, chunk))
        outcome = lab.run_one(made, links=links)
        first, second = (link.airtime_ns(chunk) for link in links.values())
        expected = first + 11 + second + 23 + (size // chunk - 1) * max(first, second)
        assert ended(outcome, "model", "c0.cu", "c0.d0")[-1] == expected


def test_a_multicast_takes_the_time_of_its_slowest_receiver_once() -> None:
    """And its airtime counts once, however many receive it."""
    plan = by(two_clusters(), groups=BOTH)
    slow = Link(8_000_000_000 // 5, latency_ns=40)
    links = {("bs", "c1.cu"): slow}
    outcome = lab.run_one(plan, shares=SHARES, links=links)
    size = legs_of(plan).all[0].size_bytes
    assert ended(outcome, "model", "bs", "c0.cu") == [5 * size]
    assert ended(outcome, "model", "bs", "c1.cu") == [5 * size + 40]
    sent = [d for d in outcome.deliveries if d.src == "bs" and d.kind == "model"]
    assert len({d.group for d in sent}) == 1
    assert sum(d.airtime_s for d in sent) == pytest.approx(5e-9 * size)


def test_a_network_that_can_not_multicast_is_named() -> None:
    site = Site(cast(Network, SimpleNamespace()), {}, cast(TorchThread, None))
    with pytest.raises(TypeError, match="SimpleNamespace can't send to several nodes"):
        site.send_to_all("bs", ["c0.cu", "c1.cu"], 10, "model")


ARRANGEMENTS = [
    {"groups": BOTH},
    {"groups": (Group((1,)), Group((0,))), "within": (0, 1)},
    {"chunk_bytes": 200},
    {"groups": BOTH, "chunk_bytes": 512},
    {"groups": BOTH, "within": (0, 1), "chunk_bytes": 64},
]


@pytest.mark.parametrize("levers", ARRANGEMENTS)
def test_what_is_learned_is_the_same_to_the_bit(levers: dict[str, object]) -> None:
    """Over two rounds, in which a segment moves with its optimizer states."""
    results = []
    for how in ({}, levers):
        state = lab.fresh(lab.adamw)
        moved = lab.pipeline(0, (1, 3), 2, "gpipe")
        later = dataclasses.replace(
            two_clusters(), clusters=(ClusterPlan(0, (moved,)), two_clusters().clusters[1])
        )
        plans = [by(each, **how) for each in (two_clusters(), later)]
        outcomes = lab.run_rounds(plans, state, local_steps=2, shares=SHARES)
        results.append((outcomes, state))
    (one, state), (other, streamed) = results
    assert [each.loss for each in one] == [each.loss for each in other]
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(tensor, streamed.model.state_dict()[name])
    for key, replica in state.replicas.items():
        for name, unit in replica.units.items():
            assert unit.holder == streamed.replicas[key].units[name].holder


def test_states_stay_where_they_are_if_a_stage_never_begins() -> None:
    """Block 1 is to move to a device that never gets its segment; the other stages begin."""
    state, streamed = lab.fresh(lab.adamw), {"chunk_bytes": 500}
    lab.run_one(by(lab.one_cluster((2, 2), 2), **streamed), state)
    dead = {("c0.cu", "c0.d1"): Link(lab.FAST.rate_bps, outage_ns=(0, 10**12))}
    later = by(lab.one_cluster((1, 3), 2), **streamed)
    lab.run_one(later, state, links=dead)
    units = state.replica(0, 0).units
    holders = [units[f"blocks.{n}"].holder for n in range(4)]
    assert holders == ["c0.d0", "c0.d0", "c0.d1", "c0.d1"]
    moved = lab.run_one(later, state)
    assert [units[f"blocks.{n}"].holder for n in range(4)] == ["c0.d0", *3 * ["c0.d1"]]
    (states,) = [
        d
        for d in moved.deliveries
        if (d.src, d.kind, d.dst) == ("c0.d0", "parameters", "c0.cu")
        and d.start_ns < moved.phases_ns["broadcast"] + moved.phases_ns["pipeline"] // 2
    ]
    assert states.size_bytes == units["blocks.1"].optimizer_bytes()
    begun = [c.start_ns for c in moved.computations if c.node == "c0.d1"]
    arrived = [d.end_ns for d in moved.deliveries if (d.dst, d.kind) == ("c0.d1", "parameters")]
    assert min(begun) >= max(arrived)


def any_links(data: st.DataObject, nodes: list[str], **how: object) -> dict[tuple[str, str], Link]:
    rates = st.integers(10**8, 10**10)
    return {
        (a, b): Link(data.draw(rates), latency_ns=data.draw(st.integers(0, 5000)), **how)  # type: ignore[arg-type]
        for a in nodes
        for b in nodes
        if a != b
    }


@settings(max_examples=20)
@given(st.data())
def test_nothing_is_sent_on_before_it_arrived(data: st.DataObject) -> None:
    """Read from the deliveries; when a leg began says which of those of its link are the leg's."""
    plan, placed = two_clusters(), two_clusters().placements()
    chunk = data.draw(st.sampled_from([None, 450, 2000]))
    levers = data.draw(st.sampled_from([{}, {"groups": BOTH}, {"groups": BOTH, "within": (0, 1)}]))
    if data.draw(st.booleans()):
        made = exchanges.drawn(data, plan)
    else:
        made = arranged(placed, Arrangement(**levers, chunk_bytes=chunk))  # type: ignore[arg-type]
    bare = tuple(dataclasses.replace(e, after=(), after_training=()) for e in made.shipments)
    plan = dataclasses.replace(plan, exchange=Exchange(bare, chunk))
    nodes = list(dict.fromkeys(lab.nodes(plan)))
    links = any_links(data, nodes, medium=data.draw(st.sampled_from([None, "one band"])))
    with pytest.MonkeyPatch.context() as patch:
        runs: list[ExchangeRun] = []
        patch.setattr(ExchangeRun, "__post_init__", partialmethod(kept, runs))
        outcome = lab.run_one(plan, shares=SHARES, links=links)
    check_conservation(plan, outcome, runs[0].begun_ns)
    for pipeline in outcome.pipelines:
        assert pipeline.fate == "averaged"
    phases = outcome.phases_ns
    assert sum(phases.values()) == max(each.end_ns for each in outcome.pipelines) + 1000
    assert min(phases.values()) >= 0
    assert (outcome.overlap_ns > 0) <= (chunk is not None)


def kept(run: ExchangeRun, runs: list[ExchangeRun]) -> None:
    runs.append(run)
    MAKE_READY(run)


MAKE_READY = ExchangeRun.__post_init__

#: A part of a unit: its name, and a half-open range of its bytes.
Part = tuple[str, int, int]


def check_conservation(plan: RoundPlan, outcome: RoundOutcome, begun_ns: Mapping[int, int]) -> None:
    """Each byte of each unit has arrived at a sender, or was trained there, before it is sent."""
    made, exchange = legs_of(plan), plan.exchange
    assert exchange is not None
    shipments = {each.name: each for each in exchange.shipments}
    queued = [d for d in outcome.deliveries if d.kind in ("model", "parameters")]
    held: dict[tuple[str, PipelineId, bool, str], list[tuple[int, int, int]]] = {}
    started: list[tuple[int, str, Shipment, list[Part]]] = []
    for leg in made.all:
        shipment = shipments[leg.shipment]
        carried = parts(shipment.units, leg.chunk, exchange.chunk_bytes)
        for node in leg.receivers:
            delivery = next(
                d
                for d in queued
                if (d.src, d.dst, d.size_bytes, d.kind == "parameters", d.start_ns)
                == (leg.src, node, leg.size_bytes, shipment.trained, begun_ns[leg.number])
            )
            queued.remove(delivery)
            started.append((delivery.start_ns, leg.src, shipment, carried))
            for whose in leg.pipelines:
                for unit, begin, end in carried:
                    there = held.setdefault((node, whose, shipment.trained, unit), [])
                    there.append((delivery.end_ns, begin, end))
    assert not queued

    def check(node: str, whose: PipelineId, trained: bool, part: Part, by_ns: int) -> None:
        unit, begin, end = part
        there = held[node, whose, trained, unit]
        arrived = union([(b, e) for at_ns, b, e in there if at_ns <= by_ns], ())
        assert any(b <= begin and end <= e for b, e in arrived), (node, part, by_ns)

    for placed in plan.placements():
        whose = placed.pipeline
        for node, units in placed.units.items():
            own = [c for c in outcome.computations if (c.node, c.cluster) == (node, whose.cluster)]
            for part in parts(units, 0, None):
                check(node, whose, False, part, min(each.start_ns for each in own))
                unit, begin, end = part
                last_ns = max(each.end_ns for each in own)
                held.setdefault((node, whose, True, unit), []).append((last_ns, begin, end))
    for start_ns, src, shipment, carried in started:
        for whose in shipment.pipelines if src != "bs" else ():
            for part in carried:
                check(src, whose, shipment.trained, part, start_ns)


def parts(units: Units, chunk: int, chunk_bytes: int | None) -> list[Part]:
    """What a chunk carries of units, which travel in the order of the model."""
    singles = [Units(embedding=True)] if units.embedding else []
    singles += [Units(blocks=(Blocks(b, b),)) for run in units.blocks for b in numbers(run)]
    sizes = [lab.COSTS.units_bytes(unit) for unit in singles]
    first = 0 if chunk_bytes is None else chunk * chunk_bytes
    last = sum(sizes) if chunk_bytes is None else first + chunk_bytes
    found, offset = [], 0
    for unit, size in zip(singles, sizes, strict=True):
        begin, end = max(first - offset, 0), min(last - offset, size)
        if begin < end:
            found.append((str(unit), begin, end))
        offset += size
    return found


def numbers(run: Blocks) -> range:
    return range(run.first, run.last + 1)


def test_a_streamed_round_is_shorter_and_its_phases_add_up() -> None:
    slow: Mapping[tuple[str, str], Link] = {
        pair: Link(80_000_000, latency_ns=100)
        for one, other in [("bs", "c0.cu"), ("c0.cu", "c0.d0"), ("c0.cu", "c0.d1")]
        for pair in ((one, other), (other, one))
    }
    plan = lab.one_cluster((2, 2), 4)
    run = partial(lab.run_one, links=slow, busy_ns={"c0.d0": 9000, "c0.d1": 9000})
    whole_first, streamed = run(plan), run(by(plan, chunk_bytes=256))
    assert streamed.duration_ns < 0.75 * whole_first.duration_ns
    assert whole_first.overlap_ns == 0 < streamed.overlap_ns
    assert streamed.phases_ns["broadcast"] < whole_first.phases_ns["broadcast"] / 4
    first = min(c.start_ns for c in streamed.computations)
    assert streamed.phases_ns["broadcast"] == first
    last = max(c.end_ns for c in streamed.computations if c.action == "step")
    assert streamed.phases_ns["pipeline"] == last - first == streamed.computation_ns


def test_a_node_with_several_stages_lets_its_units_go_when_all_have_ended() -> None:
    pipe = dataclasses.replace(lab.pipeline(0, (2, 2), 2, "gpipe"), embedding="c0.d1")
    plan = by(RoundPlan(0, "test", (ClusterPlan(0, (pipe,)),)), chunk_bytes=300)
    outcome = lab.run_one(plan, busy_ns={"c0.d1": 20_000})
    steps = [c for c in outcome.computations if c.action == "step" and c.node == "c0.d1"]
    assert len(steps) == 2
    gathered = [
        d.start_ns for d in outcome.deliveries if (d.src, d.kind) == ("c0.d1", "parameters")
    ]
    assert min(gathered) == max(each.end_ns for each in steps)
    other = [d.start_ns for d in outcome.deliveries if (d.src, d.kind) == ("c0.d0", "parameters")]
    assert min(other) < min(gathered)
