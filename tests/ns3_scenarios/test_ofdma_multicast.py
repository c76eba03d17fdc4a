"""Multicasts over the OFDMA radio: closed forms, conservation, order, and both engines alike."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ofdma_lab import Lab, Node, distance_for_sinr
from radio_lab import arrived, check_books, node, ofdma, run, scenario

from bridge.network import GROUP_SIGN, Multicast, group_name
from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network, runtime
from ns3_scenarios.numerology import BLOCK_HZ, TTI_S
from ns3_scenarios.power import OpenLoop
from ns3_scenarios.radios import grants
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

BLOCKS = 20  # one transport block a TTI
DOWN = ("c0.cu", "c1.cu", "c2.cu")


def star(receivers: int, sinr_db: float, **how: Any) -> Lab:
    """A sender in the middle of receivers at one distance, hence of one SINR."""
    away_m = distance_for_sinr(sinr_db, BLOCKS)
    around = [(away_m, 0.0), (0.0, away_m), (-away_m, 0.0), (0.0, -away_m)]
    nodes = [Node(0.0), *(Node(*place) for place in around[:receivers])]
    links = [(0, 0, 0, n + 1) for n in range(receivers)]
    return Lab(nodes, links, bands=(BLOCKS,), **how)


def results(lab: Lab) -> tuple[Any, ...]:
    """Everything that a lab has seen, except for the numbers of links."""
    return (
        [block[2:] for block in lab.blocks],
        lab.sinr.tobytes(),
        lab.items,
        [lab.lost(n) for n in range(len(lab.items))],
        lab.allocated[:, 1:].tobytes(),
        lab.states.tobytes(),
        [(m.gain, m.interference, m.sinr) for m in (link.Measured() for link in lab.of)],
    )


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
@pytest.mark.parametrize(
    "attributes", [{}, {"MaxTransmissions": 1, "TargetBler": 0.3}, {"MaxRetx": 1}], ids=str
)
@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("sinr_db", [8.0, -14.0])
def test_a_group_of_one_is_a_link_to_the_bit(
    sinr_db: float, acknowledged: bool, attributes: dict[str, Any], engine: str
) -> None:
    seen = []
    for grouped in (False, True):
        lab = star(1, sinr_db, acknowledged=acknowledged, attributes=attributes, engine=engine)
        with closing(lab):
            group = lab.group(0) if grouped else None
            for number in range(1, 8):
                if grouped:
                    lab.multicast(group, [number], 3_000)
                else:
                    lab.send(0, 3_000, number)
            seen.append((lab.run(), *results(lab)))
            assert len(lab.items) == 7
    for alone, in_group in zip(*seen, strict=True):
        assert alone == in_group


def conditional_errors(mcs: int, sinr: float) -> list[float]:
    """The error rate of each transmission of a block, given that those before it failed."""
    codes = runtime.native().OfdmaCodes(0.1, TTI_S)
    history, rates = runtime.load().HarqProcessInfoList_t(), []
    for _ in range(4):
        rate, information = codes.ErrorRate(np.full(BLOCKS, sinr), BLOCKS, mcs, history)
        rates.append(rate)
        history.push_back(codes.Remembered(mcs, BLOCKS, information))
    return rates


@pytest.mark.parametrize("receivers", [1, 2, 4])
@pytest.mark.parametrize("mcs", [4, 18])
def test_equal_receivers_take_one_links_time_and_the_retransmissions_of_the_closed_form(
    receivers: int, mcs: int
) -> None:
    """After k transmissions all have a block with the probability Π_n (1 − Π_{j≤k} e_{n,j})."""
    codes = runtime.native().OfdmaCodes(0.1, TTI_S)
    sinr_db = codes.ThresholdDb(mcs, BLOCKS) + 0.05
    with closing(star(receivers, sinr_db, attributes={"OuterLoopStep": 0.0})) as lab:
        for link in range(receivers):
            lab.radio.Sound(lab.of[link], 90 + link)
        lab.run(0.05)
        group = lab.group(*range(receivers))
        lab.multicast(group, range(1, receivers + 1), 2_000 * int(codes.Payload(mcs, BLOCKS)))
        lab.run()
        whole = [b for b in lab.blocks if b.blocks == BLOCKS]
        assert {item.lost for item in lab.items} == {0}
        airtime_s = sum(item.airtime_s for item in lab.items)
    assert {b.mcs for b in whole} == {mcs}
    errors = conditional_errors(mcs, whole[0].sinr)
    assert 0.02 < errors[0] < 0.2
    ttis = defaultdict(set)  # in which a block is sent for the k-th time
    for block in whole:
        ttis[block.transmissions].add(block.ns)
    sent = len(ttis[1])
    assert sent == pytest.approx(2_000, abs=20)
    for k in range(1, 4):
        still_lacked = 1 - (1 - math.prod(errors[:k])) ** receivers
        deviation = math.sqrt(max(still_lacked * (1 - still_lacked), 1e-3) / sent)
        assert len(ttis[k + 1]) / sent == pytest.approx(still_lacked, abs=4 * deviation)
    expected = 1 + sum(1 - (1 - math.prod(errors[:k])) ** receivers for k in range(1, 4))
    assert airtime_s / TTI_S == pytest.approx(sent * expected, rel=0.06)


def test_the_outer_loop_holds_the_errors_of_the_group_at_the_target() -> None:
    with closing(star(3, 10.0)) as lab:
        lab.multicast(lab.group(0, 1, 2), [1, 2, 3], 6_000_000)
        lab.run(4.0)
        lacked: dict[int, bool] = defaultdict(bool)
        alone = []
        for block in lab.blocks:
            if block.transmissions == 1 and block.ns > 0.5e9:
                lacked[block.ns] |= not block.arrived
                alone.append(not block.arrived)
    assert sum(lacked.values()) / len(lacked) == pytest.approx(0.1, rel=0.1)
    assert sum(alone) / len(alone) < 0.06


def test_it_goes_at_the_rate_of_the_weakest_and_each_hears_by_its_own_sinr() -> None:
    near_m, far_m = distance_for_sinr(25.0, BLOCKS), distance_for_sinr(5.0, BLOCKS)
    ends = {}
    for receivers in ((0,), (1,), (0, 1)):
        lab = Lab([Node(0.0), Node(near_m), Node(-far_m)], [(0, 0, 0, 1), (0, 0, 0, 2)], (BLOCKS,))
        with closing(lab):
            lab.multicast(lab.group(*receivers), [n + 1 for n in receivers], 400_000)
            ends[receivers] = lab.run()
            whole = [b for b in lab.blocks if b.blocks == BLOCKS]
            sinr = {b.receiver: 10 * math.log10(b.sinr) for b in whole}
            assert {b.receiver for b in lab.blocks} == {n + 1 for n in receivers}
    assert sinr == {1: pytest.approx(25.0, abs=0.01), 2: pytest.approx(5.0, abs=0.01)}
    assert ends[0, 1] == pytest.approx(ends[1,], rel=0.03)
    assert ends[0, 1] > 3 * ends[0,]


@dataclass(frozen=True)
class Situation:
    """Two senders with groups on one band in two cells, and unicasts beside them."""

    nodes: list[Node]
    sendings: list[tuple[int, tuple[int, ...], int]]  # sender, links, bytes
    changes: list[tuple[float, float, int]]  # watts, blocks, transfer to cut
    acknowledged: bool
    attributes: dict[str, Any]

    def simulate(self, engine: str) -> tuple[Any, ...]:
        """All results of the simulation."""
        links = [(0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 0, 3), (0, 1, 4, 5), (0, 1, 4, 6), (0, 1, 5, 4)]
        lab = Lab(
            self.nodes,
            links,
            bands=(25,),
            engine=engine,
            acknowledged=self.acknowledged,
            attributes=self.attributes,
        )
        with closing(lab):
            groups: dict[tuple[int, ...], Any] = {}
            number, sent = 0, {}
            for sender, chosen, size in self.sendings:
                using = tuple(
                    sorted({link % 3 if sender == 0 else 3 + link % 2 for link in chosen})
                )
                numbers = [number + n for n in range(1, len(using) + 1)]
                number += len(using)
                sent.update(zip(numbers, using, strict=True))
                if len(using) == 1:
                    lab.send(using[0], size, numbers[0])
                else:
                    if using not in groups:
                        groups[using] = lab.group(*using)
                    lab.multicast(groups[using], numbers, size)
            lab.send(5, 5_000, 900)
            cuts = []
            for watts, blocks, cut in self.changes:
                lab.run(0.011)
                lab.of[0].watts = watts
                for group in groups.values():
                    group.granted = blocks
                which = cut % number + 1
                item = lab.cut(sent[which], which)
                cuts.append(None if item is None else (item.tally.airtime, item.retransmissions))
            return (lab.run(3.0), cuts, *results(lab))


@settings(max_examples=30)
@given(
    situation=st.builds(
        Situation,
        nodes=st.lists(
            st.builds(
                Node,
                x=st.floats(-200, 200),
                y=st.floats(-200, 200),
                vx=st.sampled_from([0.0, 0.0, 30.0]),
                watts=st.floats(1e-4, 0.3),
            ),
            min_size=7,
            max_size=7,
            unique_by=lambda node: (round(node.x), round(node.y)),
        ),
        sendings=st.lists(
            st.tuples(
                st.integers(0, 1),
                st.lists(st.integers(0, 2), min_size=1, max_size=3).map(tuple),
                st.sampled_from([1, 700, 20_000, 40_000]),
            ),
            min_size=1,
            max_size=6,
        ),
        changes=st.lists(
            st.tuples(st.floats(1e-4, 0.3), st.floats(0.5, 9.0), st.integers(0, 9)), max_size=3
        ),
        acknowledged=st.booleans(),
        attributes=st.sampled_from([{}, {"MaxTransmissions": 1}, {"MaxRetx": 1}]),
    )
)
def test_both_engines_see_and_do_exactly_the_same(situation: Situation) -> None:
    for ours, theirs in zip(situation.simulate("Tti"), situation.simulate("Spectrum"), strict=True):
        assert ours == theirs


def together(
    spec: ScenarioSpec, src: str, receivers: tuple[str, ...], size: int
) -> list[RadioDelivery]:
    with closing(network.build(spec)) as net:

        async def main() -> list[RadioDelivery]:
            await net.sound([(src, dst) for dst in receivers])
            return list(await asyncio.gather(*net.multicast(src, receivers, size)))

        return run(net, main())


def check_energy(net: network.Ns3Network) -> None:
    """What deliveries were charged is what senders radiated, whoever listened."""
    charged: dict[str, float] = defaultdict(float)
    for delivery in net.deliveries:
        charged[delivery.src] += delivery.energy_j
    for name, used in net.usage().items():
        assert used.tx_energy_j == pytest.approx(charged[name], abs=1e-12)


def test_three_receivers_take_the_time_and_the_energy_of_one() -> None:
    spec = ofdma(3)
    (alone,) = together(spec, "bs", DOWN[:1], 2_000_000)
    with closing(network.build(spec)) as net:
        assert isinstance(net, Multicast)

        async def main() -> list[RadioDelivery]:
            await net.sound([("bs", cu) for cu in DOWN])
            begun = net.usage()
            deliveries = await asyncio.gather(*net.multicast("bs", DOWN[::-1], 2_000_000))
            used = net.usage()
            sent_j = used["bs"].tx_energy_j - begun["bs"].tx_energy_j
            assert sent_j == pytest.approx(sum(d.energy_j for d in deliveries))
            for each in DOWN:
                heard_s = used[each].rx_airtime_s - begun[each].rx_airtime_s
                assert heard_s == pytest.approx(sum(d.airtime_s for d in deliveries), abs=2e-3)
            return list(deliveries)

        deliveries = run(net, main())
        check_books(net.deliveries, net.now_ns())
        check_energy(net)
    assert [d.dst for d in deliveries] == list(DOWN[::-1])
    assert {(d.group, d.outcome) for d in deliveries} == {(1, "delivered")}
    for each in deliveries:
        assert each.end_ns - each.start_ns == pytest.approx(alone.end_ns - alone.start_ns, abs=2e6)
    assert sum(d.airtime_s for d in deliveries) == pytest.approx(alone.airtime_s, rel=0.01)


@pytest.mark.parametrize("receivers", [1, 3])
def test_chunks_arrive_as_the_bytes_of_the_whole_do(receivers: int) -> None:
    """They are one stream of bytes: streaming costs no airtime, and its chunks come in order."""
    spec, to, size, count = ofdma(3), DOWN[:receivers], 4_000_000, 16
    whole = together(spec, "bs", to, size)
    took_ns = max(each.end_ns for each in whole) - whole[0].start_ns
    with closing(network.build(spec)) as net:

        async def main() -> list[RadioDelivery]:
            await net.sound([("bs", cu) for cu in to])
            chunks = [net.multicast("bs", to, size // count) for _ in range(count)]
            return list(await asyncio.gather(*(each for chunk in chunks for each in chunk)))

        chunks = run(net, main())
        check_books(net.deliveries, net.now_ns())
        check_energy(net)
    assert sum(each.airtime_s for each in chunks) == pytest.approx(
        sum(each.airtime_s for each in whole), abs=2 * TTI_S
    )
    for number, each in enumerate(chunks):
        share = (number // receivers + 1) / count
        assert each.group == number // receivers + 1
        assert each.end_ns - each.start_ns == pytest.approx(share * took_ns, abs=3e6)


def test_one_receiver_is_a_transfer_to_the_bit() -> None:
    seen = []
    for multicast in (False, True):
        with closing(network.build(ofdma(2))) as net:

            async def main(net: network.Ns3Network, multicast: bool) -> None:
                for size in (1, 90_000, 400_000):
                    if multicast:
                        await net.multicast("bs", ["c0.cu"], size)[0]
                    else:
                        await net.transfer("bs", "c0.cu", size)

            run(net, main(net, multicast))
            seen.append(([replace(d, group=0) for d in net.deliveries], net.usage()))
    assert seen[0] == seen[1]


def test_control_units_multicast_to_their_devices_while_stations_do() -> None:
    """Sidelink and downlink; with two stations each sends once."""
    base = ofdma(4, 3)
    clusters = (*base.clusters[:2], *(replace(c, station="far") for c in base.clusters[2:]))
    spec = replace(base, stations=(node("far", 500.0, 0.0, 1.0),), clusters=clusters)
    devices = tuple(f"c0.d{n}" for n in range(3))
    with closing(network.build(spec)) as net:

        async def main() -> None:
            with pytest.raises(ValueError, match=r"bs and c2\.cu share no radio"):
                net.multicast("bs", ["c0.cu", "c2.cu"], 1)
            await asyncio.gather(
                *net.multicast("bs", ["c0.cu", "c1.cu"], 300_000),
                *net.multicast("far", ["c2.cu", "c3.cu"], 300_000),
                *net.multicast("c0.cu", devices, 300_000),
            )

        run(net, main())
        assert {d.outcome for d in net.deliveries} == {"delivered"}
        assert len({(d.src, d.group) for d in net.deliveries}) == 3
        check_books(net.deliveries, net.now_ns())
        check_energy(net)
        for src in ("bs", "far", "c0.cu"):
            airtime_s = sum(d.airtime_s for d in net.deliveries if d.src == src)
            assert net.usage()[src].tx_airtime_s == pytest.approx(airtime_s)


def test_a_member_that_fails_is_lost_and_the_others_go_on() -> None:
    base = ofdma(3)
    away = replace(base.clusters[2], cu=replace(base.clusters[2].cu, position=(9e5, 0.0, 1.5)))
    spec = replace(base, clusters=(*base.clusters[:2], away))
    with closing(network.build(spec)) as net:

        async def main() -> None:
            first = net.multicast("bs", DOWN, 2_000_000)
            after = net.transfer("bs", "c0.cu", 1_000)
            await asyncio.gather(*first, after)

        run(net, main())
        outcomes = {(d.dst, d.size_bytes): d for d in net.deliveries}
        check_books(net.deliveries, net.now_ns())
        check_energy(net)
        assert net.advance(None) == "exhausted"
    assert outcomes["c2.cu", 2_000_000].outcome == "lost"
    assert outcomes["c2.cu", 2_000_000].lost == ((0, 2_000_000),)
    for cu in DOWN[:2]:
        assert outcomes[cu, 2_000_000].outcome == "delivered"
        assert outcomes[cu, 2_000_000].end_ns < 2.5e9  # a second until the member is given up
    assert outcomes["c0.cu", 1_000].end_ns >= outcomes["c0.cu", 2_000_000].end_ns


def test_unacknowledged_each_has_gaps_of_its_own_and_their_union_repairs_all() -> None:
    spec = replace(
        ofdma(3, acknowledged=False, max_transmissions=1, target_bler=0.3),
        bs=node("bs", 0.0, -500.0, 1.0),
    )
    with closing(network.build(spec)) as net:

        async def main() -> None:
            deliveries = await asyncio.gather(*net.multicast("bs", DOWN, 200_000))
            rounds = 0
            while any(d.lost for d in deliveries):
                union = set().union(*(range(*part) for d in deliveries for part in d.lost))
                assert all(len(union) >= d.size_bytes - arrived(d) for d in deliveries)
                lacking = [d.dst for d in deliveries if d.lost]
                deliveries = await asyncio.gather(*net.multicast("bs", lacking, len(union)))
                rounds += 1
            assert rounds > 0

        run(net, main())
        first = net.deliveries[:3]
        assert {d.outcome for d in first} == {"partial"}
        assert len({d.lost for d in first}) == 3
        check_books(net.deliveries, net.now_ns())
        check_energy(net)


def test_a_grant_can_name_the_group() -> None:
    assert grants.GROUP_SIGN == GROUP_SIGN
    took_ns, powers = [], []
    for share in (None, 0.5):
        with closing(network.build(ofdma(3))) as net:

            async def main(net: network.Ns3Network, share: float | None) -> None:
                await net.sound([("bs", cu) for cu in DOWN])
                width_hz = 100 * BLOCK_HZ
                if share:
                    net.apply([LinkPlan("bs", group_name(DOWN), 0.25, share * width_hz)])
                    with pytest.raises(ValueError, match="expected grants of"):
                        net.apply([LinkPlan("bs", "c0.cu", None, 0.6 * width_hz)])
                    with pytest.raises(ValueError, match="no node 'nobody'"):
                        net.apply([LinkPlan("bs", "c0.cu+nobody", None, width_hz)])
                    with pytest.raises(ValueError, match="up to 1 W"):
                        net.apply([LinkPlan("bs", group_name(DOWN), 2.0, None)])
                done = await asyncio.gather(*net.multicast("bs", DOWN, 900_000))
                took_ns.append(done[0].end_ns - done[0].start_ns)
                powers.append(done[0].tx_power_w)

            run(net, main(net, share))
    assert took_ns[1] == pytest.approx(2 * took_ns[0], rel=0.05)
    assert powers == [pytest.approx(1.0), pytest.approx(0.25)]


def test_a_group_without_a_grant_has_the_highest_power_of_the_links_to_its_receivers() -> None:
    """By open-loop control that is the power which the receiver with the highest loss needs."""
    devices = tuple(f"c0.d{n}" for n in range(3))
    power = OpenLoop(p0_dbm=-100.0, alpha=0.8)
    with closing(network.build(ofdma(1, 3, d2d=OfdmaSpec(power=power)))) as net:

        async def main() -> tuple[list[float], list[float]]:
            alone = [await net.transfer("c0.cu", device, 90_000) for device in devices]
            controlled = await asyncio.gather(*net.multicast("c0.cu", devices, 90_000))
            net.apply([LinkPlan("c0.cu", "c0.d1", 0.05, None)])
            granted = await asyncio.gather(*net.multicast("c0.cu", devices, 90_000))
            assert [d.tx_power_w for d in granted] == [pytest.approx(0.05)] * 3
            net.apply([LinkPlan("c0.cu", device, 0.02, None) for device in devices])
            lowered = await asyncio.gather(*net.multicast("c0.cu", devices, 90_000))
            assert [d.tx_power_w for d in lowered] == [pytest.approx(0.02)] * 3
            return [d.tx_power_w for d in alone], [d.tx_power_w for d in controlled]

        alone_w, together_w = run(net, main())
    assert len({round(watts, 12) for watts in alone_w}) == 3
    # Powers are means over the blocks used, which differ a little in the last TTI.
    assert together_w == [pytest.approx(max(alone_w), rel=0.01)] * 3
    assert sorted(alone_w)[1] < 0.98 * max(alone_w)


@pytest.mark.parametrize(
    ("d2d", "d2e", "src", "receivers", "complaint"),
    [
        (OfdmaSpec(), OfdmaSpec(transport="tcp"), "bs", DOWN, "ofdma can't multicast"),
        (OfdmaSpec(), OfdmaSpec(transport="udp"), "bs", DOWN, "transport: direct"),
        (OfdmaSpec(), LteSpec(), "bs", DOWN, "lte can't multicast"),
        (WifiSpec(), OfdmaSpec(), "c0.cu", ("c0.d0", "c0.d1"), "wifi can't multicast"),
        (OfdmaSpec(), OfdmaSpec(), "c0.cu", ("c0.d0", "bs"), "the receivers of one cell"),
        (OfdmaSpec(), OfdmaSpec(), "bs", (), "one receiver or more"),
        (OfdmaSpec(), OfdmaSpec(), "bs", ("c0.cu", "c0.cu"), "each once"),
    ],
    ids=str,
)
def test_what_no_single_transmission_can_do_is_refused_with_the_reason(
    d2d: Any, d2e: Any, src: str, receivers: tuple[str, ...], complaint: str
) -> None:
    spec = replace(scenario(clusters=3, devices=2), d2d=d2d, d2e=d2e)
    with closing(network.build(spec)) as net:

        async def main() -> None:
            with pytest.raises(ValueError, match=complaint):
                net.multicast(src, receivers, 1_000)

        run(net, main())
        assert (net.in_flight(), net.deliveries) == (0, [])


def test_sampled_fidelity_simulates_multicasts_in_full() -> None:
    ends = []
    for fidelity in ("packet", "sampled"):
        spec = replace(ofdma(3), fidelity=fidelity)
        deliveries = together(spec, "bs", DOWN, 8_000_000)
        assert {d.extrapolated_bytes for d in deliveries} == {0}
        ends.append([d.end_ns for d in deliveries])
    assert ends[0] == ends[1]


@settings(max_examples=20)
@given(
    acknowledged=st.booleans(),
    starts=st.lists(
        st.tuples(
            st.sampled_from(["bs", "c0.cu"]),
            st.sets(st.integers(0, 2), min_size=1),
            st.integers(1, 150_000),
            st.booleans(),  # whether several transfers go to one receiver instead
            st.integers(0, 40),  # ms until the first is cut; 0: never
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_whatever_is_sent_and_cut_is_conserved_and_in_order(
    acknowledged: bool, starts: list[tuple[str, set[int], int, bool, int]]
) -> None:
    spec = ofdma(3, 3, acknowledged=acknowledged, target_bler=0.3, max_transmissions=1)
    order: dict[tuple[str, str], list[int]] = defaultdict(list)
    with closing(network.build(spec)) as net:

        async def one(index: int, start: tuple[str, set[int], int, bool, int]) -> None:
            src, which, size, alone, cut_ms = start
            names = [DOWN[n] if src == "bs" else f"c0.d{n}" for n in sorted(which)]
            if alone:
                futures = [net.transfer(src, name, size) for name in names]
            else:
                futures = net.multicast(src, names, size)

            async def end(name: str, future: asyncio.Future[RadioDelivery]) -> None:
                await asyncio.wait([future])
                if not future.cancelled():
                    order[src, name].append(index)

            async def leave() -> None:
                if cut_ms:
                    await asyncio.sleep(cut_ms * 1e-3)
                    futures[0].cancel()

            ending = (end(*each) for each in zip(names, futures, strict=True))
            await asyncio.gather(leave(), *ending)

        async def main() -> None:
            await asyncio.gather(*(one(index, start) for index, start in enumerate(starts)))

        run(net, main())
        assert net.in_flight() == 0
        assert len(net.deliveries) == sum(len(which) for _, which, *_ in starts)
        check_books(net.deliveries, net.now_ns())
        if not any(cut_ms for *_, cut_ms in starts):  # blocks of what was cut have no owner
            check_energy(net)
        assert net.advance(None) == "exhausted"
    for indices in order.values():
        assert all(before < after for before, after in pairwise(indices))
