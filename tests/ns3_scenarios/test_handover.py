"""Handover on a straight way between two base stations, against crossings computed by hand."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from radio_lab import arrived, check_books, node, run, transfer_or_cut

from bridge.network import group_name
from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network
from ns3_scenarios.channel import Fading, Multipath
from ns3_scenarios.checks import problems
from ns3_scenarios.handover import Attachment, CellChange, Cells, Handover
from ns3_scenarios.mobility import Corner, Trajectory
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import (
    ClusterSpec,
    LteSpec,
    NodeSpec,
    OfdmaSpec,
    ScenarioSpec,
    WifiSpec,
)

APART_M = 400.0  # between the stations
ASIDE_M = 12.0  # between their line and the way, which is as high as they are
EXPONENT = 3.0  # of the path loss
FLIGHT_NS = 10_000  # the longest propagation delay, rounded up
UP, DOWN = ("c0.cu", "bs"), ("bs", "c0.cu")
USUAL = Handover()
THERE_AND_BACK = ((0.0, 50.0), (3.0, 350.0), (6.0, 50.0))


def street(
    way: Sequence[tuple[float, float]] = THERE_AND_BACK,
    handover: Handover | None = USUAL,
    units: int = 1,
    **d2e: Any,
) -> ScenarioSpec:
    """A control unit that passes x = 0, where `bs` is, to x = `APART_M`, where `bs1` is.

    `way` has times and values of x. Further units stand near `bs`.
    """
    corners: tuple[Corner, ...] = tuple((t, x, ASIDE_M, 1.5) for t, x in way)
    path = Trajectory(corners)
    clusters = []
    for n in range(units):
        cu = node(f"c{n}.cu", 20.0 + 5 * n, 30.0)
        if n == 0:
            cu = NodeSpec("c0.cu", path.initial_position(), 0.1, 0.5, motion=path)
        place = cu.position
        device = node(f"c{n}.d0", place[0], place[1] + 3.0)
        clusters.append(ClusterSpec(cu, (device,)))
    return ScenarioSpec(
        bs=node("bs", 0.0, 0.0, 1.0),
        stations=(node("bs1", APART_M, 0.0, 1.0),),
        clusters=tuple(clusters),
        d2d=OfdmaSpec(),
        d2e=OfdmaSpec(**d2e),
        handover=handover,
    )


def crossing_m(by_db: float) -> float:
    """Where `bs1` is received stronger than `bs` by so many decibels.

    Of path loss 10·n·log10 d: d0² = r²·d1² with r = 10^(dB / 10n), a quadratic equation in x.
    """
    r2 = 10 ** (2 * by_db / (10 * EXPONENT))
    if r2 == 1:
        return APART_M / 2
    a, b, c = 1 - r2, 2 * r2 * APART_M, ASIDE_M**2 * (1 - r2) - r2 * APART_M**2
    roots = [(-b + sign * math.sqrt(b * b - 4 * a * c)) / (2 * a) for sign in (1, -1)]
    return next(root for root in roots if 0 < root < APART_M)


def expected_ns(passes_s: float, handover: Handover) -> int:
    """When the handover is after a crossing: at a measurement, once enough time has passed."""
    first = math.floor(passes_s / handover.measured_every_s + 1e-9) + 1
    more = math.ceil(handover.time_to_trigger_s / handover.measured_every_s - 1e-9)
    return round((first + more) * handover.measured_every_s * 1e9)


def cells_after(spec: ScenarioSpec, seconds: float) -> Cells:
    """The cells after so long with nothing to send."""
    with closing(network.build(spec)) as net:
        run(net, asyncio.sleep(seconds))
        return net.cells()


@pytest.mark.parametrize("engine", ["tti", "spectrum"])
@pytest.mark.parametrize(
    "handover",
    [
        Handover(),
        Handover(offset_db=0.0, hysteresis_db=2.0, time_to_trigger_s=0.32),
        Handover(offset_db=6.0, hysteresis_db=0.5, time_to_trigger_s=0.0),
        Handover(time_to_trigger_s=0.1, measured_every_s=0.03, interruption_s=0.0),
        Handover(offset_db=-1.0, hysteresis_db=3.0, measured_every_s=0.2),
    ],
    ids=str,
)
def test_handovers_are_where_the_path_losses_say(handover: Handover, engine: str) -> None:
    gap_db = handover.offset_db + handover.hysteresis_db
    there_s = (crossing_m(gap_db) - 50.0) / 100.0
    back_s = 3.0 + (350.0 - crossing_m(-gap_db)) / 100.0
    found = cells_after(street(handover=handover, engine=engine), 6.5)
    assert found.changes == (
        CellChange("c0.cu", "bs", "bs1", expected_ns(there_s, handover)),
        CellChange("c0.cu", "bs1", "bs", expected_ns(back_s, handover)),
    )
    assert found.attachments["c0.cu"].station == "bs"


def test_the_more_powerful_station_is_entered_earlier_by_its_decibels() -> None:
    spec = street(((0.0, 50.0), (3.0, 350.0)), station_antenna_gain_db=5.0)
    spec = replace(spec, stations=(replace(spec.stations[0], max_tx_power_w=10.0),))
    passes_s = (crossing_m(4.0 - 10.0) - 50.0) / 100.0
    changes = cells_after(spec, 3.0).changes
    assert [each.at_ns for each in changes] == [expected_ns(passes_s, USUAL)]


@pytest.mark.parametrize("fading", [Fading(1.0), Multipath("clarke", doppler_hz=5.0)], ids=str)
def test_fading_is_averaged_out(fading: Fading | Multipath) -> None:
    spec = street()
    assert isinstance(spec.d2e, OfdmaSpec)
    channel = replace(spec.d2e.propagation, fading=fading)
    faded = replace(spec, d2e=replace(spec.d2e, propagation=channel))
    assert cells_after(faded, 6.5).changes == cells_after(spec, 6.5).changes


def wiggling(swings: int, by_m: float) -> tuple[tuple[float, float], ...]:
    """From the middle to one side and the other, a second each."""
    middle = APART_M / 2
    turns = [(n + 0.5, middle + (by_m if n % 2 else -by_m)) for n in range(swings + 1)]
    return ((0.0, middle), *turns)


@pytest.mark.parametrize(
    ("handover", "changes"),
    [
        (Handover(offset_db=0.0, hysteresis_db=0.0, time_to_trigger_s=0.16), 8),
        (Handover(offset_db=0.0, hysteresis_db=3.0, time_to_trigger_s=0.0), 0),  # swings are 2.6 dB
        (Handover(offset_db=0.0, hysteresis_db=0.0, time_to_trigger_s=1.2), 0),  # stays are 1 s
    ],
    ids=["eager", "hysteresis", "time to trigger"],
)
def test_hysteresis_and_time_to_trigger_avoid_ping_pong(handover: Handover, changes: int) -> None:
    assert len(cells_after(street(wiggling(8, by_m=20.0), handover), 9.0).changes) == changes


def test_a_measurement_without_the_condition_starts_the_time_to_trigger_anew() -> None:
    """Two stays of 0.4 s beyond the crossing, 0.1 s apart: neither is long enough for 0.48 s."""
    x = crossing_m(4.0)
    slow = ((0.0, x - 10), (0.2, x + 10), (0.4, x + 1), (0.5, x - 5), (0.6, x + 1))
    way = (*slow, (0.8, x + 10), (1.0, x - 10))
    patient = Handover(time_to_trigger_s=0.48, measured_every_s=0.01)
    assert cells_after(street(way, patient), 1.5).changes == ()
    # Without the break, the first stay would have been long enough.
    level = tuple((t, max(at, x + 1) if 0 < t < 1 else at) for t, at in way)
    assert len(cells_after(street(level, patient), 1.5).changes) == 1


def test_episodes_join_at_any_time() -> None:
    """Three episodes with the state in between have the handovers of one."""
    whole = cells_after(street(), 6.5)
    for splits_s in [(1.9, 2.05), (1.913, 4.7), (0.0405, 1.9999), (2.0801, 2.1)]:
        changes: list[CellChange] = []
        spec, begin_ns = street(), 0
        for end_s in (*splits_s, 6.5):
            end_ns = round(end_s * 1e9)
            cells = cells_after(replace(spec, start_ns=begin_ns), (end_ns - begin_ns) * 1e-9)
            changes += [replace(each, at_ns=begin_ns + each.at_ns) for each in cells.changes]
            spec, begin_ns = resumed(spec, cells.attachments["c0.cu"]), end_ns
        assert [replace(each, at_ns=0) for each in changes] == [
            replace(each, at_ns=0) for each in whole.changes
        ]
        for joined, alone in zip(changes, whole.changes, strict=True):
            assert 0 <= joined.at_ns - alone.at_ns < 1_000_000  # TTIs begin with an episode
        assert cells.attachments["c0.cu"].next_ns == whole.attachments["c0.cu"].next_ns


def test_after_a_time_without_simulation_the_time_to_trigger_begins() -> None:
    """Nobody measured from 1 s to 2.5 s, when it has long been beyond the crossing."""
    early = Attachment("bs", {"bs1": 960_000_000}, next_ns=1_000_000_000)
    spec = replace(resumed(street(), early), start_ns=2_500_000_000)
    cells = cells_after(spec, 0.4)
    # The measurements of 2.48 s (now), and of 2.52 to 2.64 s.
    assert [each.at_ns for each in cells.changes] == [140_000_000]
    assert cells.attachments["c0.cu"].next_ns == 2_920_000_000


def resumed(spec: ScenarioSpec, attachment: Attachment) -> ScenarioSpec:
    """The scenario with its control unit where the attachment says."""
    (cluster,) = spec.clusters
    station = attachment.station
    return replace(spec, clusters=(replace(cluster, station=station, attachment=attachment),))


def carried(
    spec: ScenarioSpec, size_bytes: int, until_s: float
) -> tuple[list[RadioDelivery], Cells, dict[str, float]]:
    """Transfers of this size in both directions, one after another; and stations' airtimes."""
    with closing(network.build(spec)) as net:

        async def keep_sending(pair: tuple[str, str]) -> None:
            while net.now_ns() < until_s * 1e9:
                await net.transfer(*pair, size_bytes)

        async def main() -> None:
            await asyncio.gather(keep_sending(UP), keep_sending(DOWN))

        run(net, main())
        check_books(net.deliveries, net.now_ns())
        used = {
            name: use.tx_airtime_s for name, use in net.usage().items() if name.startswith("bs")
        }
        return list(net.deliveries), net.cells(), used


@pytest.mark.parametrize("duplex", ["fdd", "tdd"])
@pytest.mark.parametrize("interruption_s", [0.05, 0.2])
@pytest.mark.parametrize("in_flight", ["continue", "lost"])
def test_nothing_arrives_in_an_interruption(
    in_flight: Any, interruption_s: float, duplex: str
) -> None:
    handover = Handover(interruption_s=interruption_s, in_flight=in_flight)
    spec = street(((0.0, 150.0), (1.0, 250.0)), handover, duplex=duplex)
    deliveries, cells, used = carried(spec, 20_000, 2.0)
    (change,) = cells.changes
    resumes_ns = change.at_ns + round(interruption_s * 1e9)
    assert min(used.values()) > 0.1  # both stations have sent
    for pair in (UP, DOWN):
        ends = [each for each in deliveries if (each.src, each.dst) == pair]
        before = [each for each in ends if each.end_ns <= change.at_ns + FLIGHT_NS]
        after = [each for each in ends if each.end_ns > change.at_ns + FLIGHT_NS]
        assert after[0].end_ns > resumes_ns
        under_way = [each for each in ends if each.start_ns < change.at_ns <= each.end_ns]
        if in_flight == "continue":
            assert {each.outcome for each in ends} == {"delivered"}
            # Some of it had been sent before, so that it ends soon after.
            assert after[0].end_ns < resumes_ns + 100_000_000
            assert len(before) > 20
        else:
            assert [each.outcome for each in under_way][-1] == "lost"
            assert {each.outcome for each in ends if each not in under_way} == {"delivered"}
            assert sum(each.outcome == "lost" for each in ends) == 1
            assert arrived(under_way[-1]) < 20_000
            assert under_way[-1].end_ns <= change.at_ns + FLIGHT_NS


@pytest.mark.parametrize("underlay", [False, True])
def test_sidelinks_go_on_in_an_interruption(underlay: bool) -> None:
    """Also where they use the uplink's blocks, on which their cells come after the stations'."""
    spec = street(((0.0, 150.0), (1.0, 250.0)), Handover(interruption_s=0.2))
    spec = replace(spec, d2d=OfdmaSpec(underlay=underlay))
    with closing(network.build(spec)) as net:

        async def keep_sending(src: str, dst: str, size: int) -> None:
            while net.now_ns() < 1_500_000_000:
                await net.transfer(src, dst, size)

        async def main() -> None:
            side = [("c0.cu", "c0.d0"), ("c0.d0", "c0.cu")]
            pairs = [UP, DOWN, *side]
            await asyncio.gather(*(keep_sending(*pair, 10_000) for pair in pairs))

        run(net, main())
        (change,) = net.cells().changes
        within = [
            (each.src, each.dst)
            for each in net.deliveries
            if FLIGHT_NS < each.end_ns - change.at_ns <= 200_000_000
        ]
    assert within.count(("c0.cu", "c0.d0")) > 5
    assert within.count(("c0.d0", "c0.cu")) > 5
    assert not {UP, DOWN} & set(within)


def test_a_long_transfer_takes_its_time_and_the_interruption() -> None:
    """In the middle, both stations are as far: the change costs the interruption and no rate."""
    at = APART_M / 2
    near = ((0.0, at - 1), (2.0, at + 1))
    took = {}
    for interruption_s in (0.0, 0.3):
        handover = Handover(0.0, 0.0, 0.0, interruption_s)
        with closing(network.build(street(near, handover))) as net:

            async def main() -> RadioDelivery:
                return await net.transfer(*DOWN, 12_000_000)

            done = run(net, main())
            assert done.outcome == "delivered"
            assert len(net.cells().changes) == 1
        took[interruption_s] = (done.end_ns - done.start_ns) * 1e-9
    assert took[0.3] - took[0.0] == pytest.approx(0.3, abs=0.02)


def test_an_unacknowledged_link_loses_what_harq_was_sending() -> None:
    """HARQ repairs all of it without a handover; with one, no more than its processes hold."""
    near = ((0.0, APART_M / 2 - 1), (2.0, APART_M / 2 + 1))
    lost = {}
    for handover in (None, Handover(0.0, 0.0, 0.0, 0.1)):
        # Half of all first transmissions fail, so that there is always something to repair.
        spec = street(near, handover, acknowledged=False, target_bler=0.5)
        with closing(network.build(spec)) as net:

            async def main() -> RadioDelivery:
                return await net.transfer(*UP, 5_000_000)

            done = run(net, main())
            assert len(net.cells().changes) == (handover is not None)
            lost[handover] = 5_000_000 - arrived(done)
    block_bytes = 18_336 / 8 * 20 / 25  # of 20 resource blocks at the highest rate, as in 25
    without, with_handover = lost.values()
    assert without == 0
    assert 0 < with_handover <= 8 * 5 * block_bytes  # 8 for each 20 resource blocks of 100


def mixed(spec: ScenarioSpec, stop_s: float) -> tuple[Any, ...]:
    """Multicasts, single transfers, cuts and soundings across handovers; everything seen."""
    with closing(network.build(spec)) as net:
        names = [cluster.cu.name for cluster in spec.clusters]

        async def multicasts() -> None:
            while net.now_ns() < stop_s * 1e9:
                await asyncio.gather(*net.multicast("bs", names, 150_000, "model"))

        async def singles(pair: tuple[str, str], cut_ms: int) -> None:
            while net.now_ns() < stop_s * 1e9:
                await transfer_or_cut(net, pair, 40_000, cut_ms)

        async def soundings() -> None:
            while net.now_ns() < stop_s * 1e9:
                await asyncio.sleep(0.07)
                await net.sound([UP, DOWN])

        async def main() -> None:
            await asyncio.gather(multicasts(), singles(DOWN, 25), singles(UP, 0), soundings())

        run(net, main())
        deliveries, cells = list(net.deliveries), net.cells()
        assert net.in_flight() == 0
        check_books([d for d in deliveries if d.kind != "sounding"], net.now_ns())
        return deliveries, cells, [str(link) for link in net.link_state()], net.usage()


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("duplex", ["fdd", "tdd"])
@pytest.mark.parametrize("in_flight", ["continue", "lost"])
def test_engines_agree_in_everything(in_flight: Any, duplex: str, acknowledged: bool) -> None:
    way = ((0.0, 170.0), (0.7, 240.0), (1.4, 160.0))
    handover = Handover(in_flight=in_flight, time_to_trigger_s=0.04)
    how = {"duplex": duplex, "acknowledged": acknowledged}
    one, other = (
        mixed(street(way, handover, units=3, engine=engine, **how), 1.5)
        for engine in ("tti", "spectrum")
    )
    assert len(one[1].changes) == 2
    assert str(one[0]) == str(other[0])
    assert one[1:] == other[1:]


@pytest.mark.parametrize("in_flight", ["continue", "lost"])
def test_what_a_multicast_sent_goes_on_alone(in_flight: Any) -> None:
    """The others don't notice; the receiver that changes its cell gets the rest there, or not."""
    way = ((0.0, 190.0), (1.0, 290.0))
    handover = Handover(in_flight=in_flight, time_to_trigger_s=0.04)
    size = 3_000_000
    with closing(network.build(street(way, handover, units=3))) as net:
        names = ["c0.cu", "c1.cu", "c2.cu"]

        async def main() -> list[RadioDelivery]:
            first = await asyncio.gather(*net.multicast("bs", names, size))
            return [*first, *await asyncio.gather(*net.multicast("bs", names, 100_000))]

        mover, *standing, second, third, fourth = run(net, main())
        (change,) = net.cells().changes
    assert {each.outcome for each in (*standing, second, third, fourth)} == {"delivered"}
    assert mover.start_ns < change.at_ns < standing[0].end_ns  # it was in the middle of it
    if in_flight == "lost":
        assert mover.outcome == "lost"
        assert mover.end_ns <= change.at_ns + FLIGHT_NS
        ((begin, end),) = mover.lost
        assert 0 < begin < end == size
    else:
        assert mover.outcome == "delivered"
        assert mover.end_ns > change.at_ns + 50_000_000
        # What had arrived is not sent again: the airtime is that of the share before and the rest.
        assert mover.airtime_s < 1.2 * (mover.end_ns - change.at_ns - 50_000_000) * 1e-9 + 0.2
    assert second.bandwidth_hz > 0


def test_a_grant_to_a_group_holds_for_those_who_are_still_together() -> None:
    """One has changed its cell before the plan is applied, as during its soundings."""
    names = ["c0.cu", "c1.cu", "c2.cu"]
    spec = street(((0.0, 200.0), (0.5, 330.0)), Handover(time_to_trigger_s=0.0), units=3)
    with closing(network.build(spec)) as net:

        async def main() -> list[RadioDelivery]:
            await asyncio.sleep(0.6)
            net.apply([LinkPlan("bs", group_name(names), 0.25, None)])
            return await asyncio.gather(*net.multicast("bs", names, 200_000))

        deliveries = run(net, main())
        assert len(net.cells().changes) == 1
        used = net.usage()
    assert {each.outcome for each in deliveries} == {"delivered"}
    # The grant is for two of them; the first is sent to alone, at the most power.
    assert [each.tx_power_w for each in deliveries] == pytest.approx([1.0, 0.25, 0.25])
    assert used["bs1"].tx_airtime_s > 0


def test_a_new_cell_is_not_measured_yet() -> None:
    spec = street(((0.0, 150.0), (1.0, 250.0)), Handover(interruption_s=0.0))
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await net.transfer(*UP, 10_000)
            await net.sound([DOWN])
            assert len(net.link_state()) == 2
            await asyncio.sleep(1.0)
            assert net.link_state() == []
            await net.sound([DOWN])

        run(net, main())
        (link,) = net.link_state()
    assert (link.src, link.dst) == DOWN
    distance_m = math.hypot(APART_M - 250.0, ASIDE_M)
    expected_db = -38.9 - 10 * EXPONENT * math.log10(distance_m)
    assert 10 * math.log10(link.gain) == pytest.approx(expected_db, abs=0.5)


def test_without_handover_the_cell_stays() -> None:
    cells = cells_after(street(handover=None), 6.5)
    assert cells == Cells()


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"stations": ()}, "handover", "one base station"),
        ({"d2e": LteSpec()}, "handover", "not with Lte"),
        ({"d2e": OfdmaSpec(transport="tcp")}, "handover", "not those over tcp"),
        ({"handover": Handover(hysteresis_db=-1.0)}, "handover.hysteresis_db", "expected 0 to 15"),
        ({"handover": Handover(measured_every_s=0.0)}, "handover.measured_every_s", "0.001 to 60"),
        ({"handover": Handover(in_flight="gone")}, "handover.in_flight", "continue or lost"),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_what_handover_needs(change: dict[str, Any], path: str, says: str) -> None:
    found = problems(replace(street(), **change))
    assert [where for where, what in found if says in what] == [path]


def test_sampling_is_refused() -> None:
    standing = replace(street(units=1), fidelity="sampled")
    assert any("change continuously" in what for _, what in problems(standing))
    assert problems(replace(street(), d2d=WifiSpec())) == []


def test_times_of_handovers_increase() -> None:
    changes = cells_after(street(wiggling(8, by_m=60.0), Handover(0.0, 0.0, 0.0)), 9.0).changes
    assert all(a.at_ns < b.at_ns and a.target == b.source for a, b in pairwise(changes))
