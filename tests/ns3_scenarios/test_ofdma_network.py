"""The OFDMA radio as a network: in every combination, with all its accounts."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_lab import arrived, carry, check_books, node, ofdma, run, scenario, transfer_or_cut

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network
from ns3_scenarios.numerology import TTI_S
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

SIDE, UPLINK, DOWNLINK = ("c0.cu", "c0.d0"), ("c0.cu", "bs"), ("bs", "c0.cu")


@pytest.mark.parametrize("d2e", [LteSpec(), OfdmaSpec(), OfdmaSpec(duplex="tdd")], ids=str)
@pytest.mark.parametrize("d2d", [WifiSpec(), OfdmaSpec(), OfdmaSpec(reuse=2)], ids=str)
def test_any_d2d_goes_with_any_d2e(d2d: Any, d2e: Any) -> None:
    spec = replace(scenario(clusters=2, devices=2), d2d=d2d, d2e=d2e)
    pairs = [SIDE, UPLINK, DOWNLINK, ("c1.d0", "c1.d1"), ("c1.cu", "bs"), ("bs", "c1.cu")]
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await net.sound(pairs)
            await asyncio.gather(*(net.transfer(*pair, 30_000) for pair in pairs * 2))

        run(net, main())
        assert {d.outcome for d in net.deliveries} == {"delivered"}
        assert {(link.src, link.dst) for link in net.link_state()} >= set(pairs)
        check_books(net.deliveries, net.now_ns())
        radios = {(d.src, d.dst): d.radio for d in net.deliveries}
    assert radios[SIDE] == ("ofdma" if isinstance(d2d, OfdmaSpec) else "wifi")
    assert radios[UPLINK] == ("ofdma" if isinstance(d2e, OfdmaSpec) else "lte")


@pytest.mark.parametrize("transport", ["direct", "tcp", "udp"])
@pytest.mark.parametrize("underlay", [False, True])
def test_all_transports_deliver_and_keep_accounts(transport: Any, underlay: bool) -> None:
    d2d = OfdmaSpec(transport=transport, underlay=underlay)
    with closing(network.build(ofdma(2, d2d=d2d, transport=transport))) as net:

        async def main() -> None:
            await asyncio.gather(
                *(
                    net.transfer(src, dst, size)
                    for size in (90_000, 1, 7_000)
                    for src, dst in (SIDE, UPLINK, DOWNLINK, ("c1.d1", "c1.cu"))
                )
            )

        run(net, main())
        assert {d.outcome for d in net.deliveries} == {"delivered"}
        check_books(net.deliveries, net.now_ns())


def test_a_transfer_alone_takes_the_ttis_that_its_bytes_fill() -> None:
    """After a sounding: ⌈bytes / bytes per TTI⌉ TTIs, and the propagation delay."""
    with closing(network.build(ofdma())) as net:

        async def main() -> list[RadioDelivery]:
            await net.sound([UPLINK])
            return [await net.transfer(*UPLINK, size) for size in (1, 9_155, 9_156, 100_000)]

        deliveries = run(net, main())
    flight_ns = round(50 / 299_792_458 * 1e9)
    in_a_tti = 5 * (14_688 // 8 - 5)  # five blocks of 20, MCS 28
    for delivery in deliveries:
        began_ns = (delivery.start_ns // 1_000_000 + 1) * 1_000_000  # the next TTI to begin
        ttis = -(-delivery.size_bytes // in_a_tti)
        assert delivery.end_ns - began_ns == pytest.approx(ttis * 1_000_000 + flight_ns, abs=1)


def test_energy_adds_up_over_transfers_and_devices() -> None:
    """Power × airtime, from the PHY: transfers are charged what devices radiated."""
    with closing(network.build(ofdma(2, 2))) as net:

        async def main() -> None:
            pairs = [
                SIDE,
                ("c0.cu", "c0.d1"),
                ("c0.d1", "c0.d0"),
                UPLINK,
                DOWNLINK,
                ("c1.cu", "bs"),
            ]
            await net.sound(pairs)
            net.apply([LinkPlan("c0.d1", "c0.d0", tx_power_w=0.01, bandwidth_hz=2.5e6)])
            await asyncio.gather(*(net.transfer(*pair, 80_000) for pair in pairs))

        run(net, main())
        usage = net.usage()
        charged: dict[str, float] = defaultdict(float)
        senders = {"c0.cu", "c0.d1", "bs", "c1.cu"}
        for delivery in net.deliveries:
            charged[delivery.src] += delivery.energy_j
            assert delivery.energy_j == pytest.approx(delivery.tx_power_w * delivery.airtime_s)
        for name, used in usage.items():
            assert used.tx_energy_j == pytest.approx(charged[name])
            assert (used.tx_energy_j > 0) == (name in senders)
            assert used.rx_energy_j == pytest.approx(0.5 * used.rx_airtime_s)
        # The one that sends over one link at a time: its power while it sends.
        assert usage["c1.cu"].tx_energy_j == pytest.approx(0.1 * usage["c1.cu"].tx_airtime_s)
        assert usage["c0.d1"].tx_airtime_s == pytest.approx(
            round(usage["c0.d1"].tx_airtime_s / TTI_S) * TTI_S
        )


def test_a_grant_is_what_a_link_gets() -> None:
    spec = ofdma(3, 1)
    pairs = [(f"c{n}.cu", "bs") for n in range(3)]
    granted_hz = (1.0e6, 4.321e6, 9.9e6)
    with closing(network.build(spec)) as net:
        net.apply(
            [
                LinkPlan(*pair, tx_power_w=0.03, bandwidth_hz=hertz)
                for pair, hertz in zip(pairs, granted_hz, strict=True)
            ]
        )

        async def main() -> list[RadioDelivery]:
            return await asyncio.gather(*(net.transfer(*pair, 200_000) for pair in pairs))

        deliveries = run(net, main())
    for delivery, hertz in zip(deliveries, granted_hz, strict=True):
        assert delivery.tx_power_w == pytest.approx(0.03)
        seconds = (delivery.end_ns - delivery.start_ns) * 1e-9
        mean_hz = delivery.bandwidth_hz * delivery.airtime_s / seconds
        assert mean_hz == pytest.approx(hertz, rel=0.05)  # the last TTI is seldom full
    assert [d.dst for d in sorted(deliveries, key=lambda d: d.end_ns)] == ["bs"] * 3
    assert deliveries[0].end_ns > deliveries[1].end_ns > deliveries[2].end_ns


@pytest.mark.parametrize(
    ("grants", "says"),
    [
        (
            [("c0.cu", "bs", None, 18.1e6)],
            "c0.cu → bs: expected a bandwidth above 0 and up to 1.8e",
        ),
        ([("c0.cu", "bs", None, 0.0)], "above 0"),
        ([("c0.cu", "bs", None, math.nan)], "above 0"),
        (
            [("c0.cu", "bs", None, 10e6), ("c1.cu", "bs", None, 8.2e6)],
            r"uplink of bs: .* no resource block is granted twice.*c0.cu → bs 1e\+07, c1.cu → bs",
        ),
        (
            [("c0.cu", "c0.d0", None, 9e6), ("c0.d0", "c0.d1", None, 9.5e6)],
            "sidelinks of c0.cu: .* at most",
        ),
        ([("c0.cu", "bs", 0.11, None)], "up to 0.1 W"),
        ([("c0.cu", "bs", 0.0, None)], "above 0"),
        ([("c0.d0", "bs", None, 1e6)], "share no radio"),
        ([("c0.d0", "c1.d0", 0.1, None)], "share no radio"),
        ([("c0.cu", "nobody", 0.1, None)], "no node 'nobody'"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_and_changes_nothing(
    grants: list[tuple[str, str, float | None, float | None]], says: str
) -> None:
    with closing(network.build(ofdma(2, 2))) as net:
        good = LinkPlan(*UPLINK, tx_power_w=0.05, bandwidth_hz=3.6e6)
        net.apply([good])
        bad = [
            LinkPlan(s, d, tx_power_w=watts, bandwidth_hz=hertz) for s, d, watts, hertz in grants
        ]
        with pytest.raises(ValueError, match=says):
            net.apply([LinkPlan(*UPLINK, tx_power_w=0.01, bandwidth_hz=1e6), *bad])

        async def main() -> RadioDelivery:
            return await net.transfer(*UPLINK, 20_000)

        delivery = run(net, main())
    assert delivery.tx_power_w == pytest.approx(0.05)
    assert delivery.bandwidth_hz == pytest.approx(3.6e6, rel=0.05)


def test_grants_add_up_over_several_calls() -> None:
    with closing(network.build(ofdma(2))) as net:
        net.apply([LinkPlan("c0.cu", "bs", tx_power_w=None, bandwidth_hz=12e6)])
        with pytest.raises(ValueError, match="uplink of bs"):
            net.apply([LinkPlan("c1.cu", "bs", tx_power_w=None, bandwidth_hz=7e6)])
        net.apply([LinkPlan("bs", "c1.cu", tx_power_w=None, bandwidth_hz=18e6)])  # another band
        net.apply(
            [
                LinkPlan("c1.cu", "bs", tx_power_w=None, bandwidth_hz=7e6),
                LinkPlan("c0.cu", "bs", tx_power_w=None, bandwidth_hz=11e6),
            ]
        )


def test_sounding_is_charged_and_shows_the_links() -> None:
    pairs = [UPLINK, ("c1.cu", "bs"), SIDE, ("c0.cu", "c0.d1"), ("c0.d0", "c0.d1")]
    with closing(network.build(ofdma(2, 2))) as net:
        assert net.link_state() == []
        run(net, net.sound(pairs))
        assert net.now_ns() == 2_000_000  # c0.d0 can't send while it listens to c0.cu
        assert {(link.src, link.dst) for link in net.link_state()} == set(pairs)
        assert [(d.kind, d.size_bytes, d.lost) for d in net.deliveries] == [("sounding", 0, ())] * 5
        assert sum(d.energy_j for d in net.deliveries) == pytest.approx(4 * 0.1 * TTI_S)
        used = net.usage()
        assert used["c0.cu"].tx_energy_j == pytest.approx(2 * 0.1 * TTI_S)  # of either radio
        assert used["bs"].rx_airtime_s == pytest.approx(TTI_S)


def unsure(transport: str, **spec: Any) -> ScenarioSpec:
    """An uplink at the edge, with no HARQ and no acknowledgements."""
    return replace(
        scenario(cu_distance_m=300.0),
        d2e=OfdmaSpec(
            transport=transport,  # type: ignore[arg-type]
            acknowledged=False,
            max_transmissions=1,
            target_bler=0.2,
            **spec,
        ),
    )


@pytest.mark.parametrize("transport", ["direct", "udp"])
def test_what_is_lost_without_acknowledgements_is_named_to_the_byte(transport: str) -> None:
    deliveries = carry(unsure(transport), *[(*UPLINK, 60_000)] * 5)
    assert [d.end_ns for d in deliveries] == sorted(d.end_ns for d in deliveries)
    share = sum(d.size_bytes - arrived(d) for d in deliveries) / 300_000
    assert 0.1 < share < 0.5
    for delivery in deliveries:
        assert delivery.outcome == ("partial" if delivery.lost else "delivered")
        starts = [begin for begin, _ in delivery.lost]
        assert starts == sorted(starts)
        if transport == "udp":  # whole datagrams
            assert all(begin % 1472 == 0 for begin in starts)
    check_books(deliveries, max(d.end_ns for d in deliveries))


def test_what_one_sender_loses_is_not_anothers() -> None:
    """Datagrams of two control units are dropped, or not, at the same device of the station."""
    base = unsure("udp")
    near = replace(base.clusters[0].cu, name="c1.cu", position=(20.0, 0.0, 1.5))
    spec = replace(
        base,
        clusters=(
            *base.clusters,
            replace(scenario(2).clusters[1], cu=near, devices=(node("c1.d0", 25.0, 0.0),)),
        ),
    )
    deliveries = carry(spec, *[(cu, "bs", 100_000) for cu in ("c0.cu", "c1.cu")] * 3)
    assert all(d.outcome == "delivered" for d in deliveries if d.src == "c1.cu")
    assert any(d.outcome == "partial" for d in deliveries if d.src == "c0.cu")


def test_a_lossy_transfer_ends_when_its_last_byte_is_given_up() -> None:
    """With the feedback on it, 8 TTIs after it was sent, without a timeout."""
    spec = replace(
        unsure("direct"), bs=replace(node("bs", 0.0, 0.0, 1.0), position=(0.0, 300.0 + 9e4, 1.5))
    )
    (delivery,) = carry(spec, (*UPLINK, 50))
    assert delivery.lost == ((0, 50),)
    assert delivery.end_ns == 8_000_000 + round(9e4 / 299_792_458 * 1e9)


def test_an_acknowledged_link_delivers_whatever_harq_gave_up_on() -> None:
    spec = unsure("direct")
    assert isinstance(spec.d2e, OfdmaSpec)
    (delivery,) = carry(replace(spec, d2e=replace(spec.d2e, acknowledged=True)), (*UPLINK, 60_000))
    assert delivery.outcome == "delivered"


@pytest.mark.parametrize("transport", ["direct", "tcp", "udp"])
def test_a_link_that_dies_loses_what_was_under_way(transport: Any) -> None:
    with closing(network.build(ofdma(transport=transport))) as net:

        async def main() -> RadioDelivery:
            transfer = net.transfer(*UPLINK, 2_000_000)
            await asyncio.sleep(0.05)
            net.apply([LinkPlan(*UPLINK, tx_power_w=1e-15, bandwidth_hz=None)])
            return await transfer

        delivery = run(net, main())
        assert delivery.outcome == ("partial" if transport == "udp" else "lost")
        assert 0 < arrived(delivery) < 2_000_000
        assert net.in_flight() == 0
        check_books(net.deliveries, net.now_ns())
        assert net.advance(None) == "exhausted"


def test_an_idle_radio_has_no_events_left() -> None:
    with closing(network.build(ofdma(2))) as net:
        assert net.advance(None) == "exhausted"
        assert net.now_ns() == 0


@settings(max_examples=25)
@given(
    transport=st.sampled_from(["direct", "tcp", "udp"]),
    underlay=st.booleans(),
    starts=st.lists(
        st.tuples(
            st.sampled_from([SIDE, UPLINK, DOWNLINK, ("c0.d0", "c0.cu"), ("c1.cu", "c1.d0")]),
            st.integers(1, 200_000),
            st.integers(0, 40),  # ms until it is cut; 0: never
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_whatever_is_sent_and_cut_every_byte_is_accounted_for(
    transport: Any, underlay: bool, starts: list[tuple[tuple[str, str], int, int]]
) -> None:
    d2d = OfdmaSpec(transport=transport, underlay=underlay)
    with closing(network.build(ofdma(2, d2d=d2d, transport=transport))) as net:

        async def main() -> None:
            await asyncio.gather(*(transfer_or_cut(net, *start) for start in starts))

        run(net, main())
        assert sorted(d.size_bytes for d in net.deliveries) == sorted(s for _, s, _ in starts)
        outcomes = {"delivered", "cut", "lost"} if transport == "udp" else {"delivered", "cut"}
        assert {d.outcome for d in net.deliveries} <= outcomes
        assert net.in_flight() == 0
        check_books(net.deliveries, net.now_ns())


def test_two_stations_serve_their_clusters_on_one_band() -> None:
    base = ofdma(2, 1)
    clusters = (base.clusters[0], replace(base.clusters[1], station="far"))
    spec = replace(base, stations=(node("far", 500.0, 0.0, 1.0),), clusters=clusters)
    with closing(network.build(spec)) as net:

        async def main() -> None:
            await asyncio.gather(
                *(
                    net.transfer(*pair, 50_000)
                    for pair in (UPLINK, ("c1.cu", "far"), ("far", "c1.cu"), DOWNLINK)
                )
            )
            with pytest.raises(ValueError, match=r"share no radio; c1.cu reaches .*far"):
                net.transfer("c1.cu", "bs", 1)

        run(net, main())
        states = {(link.src, link.dst): link for link in net.link_state()}
        assert {d.outcome for d in net.deliveries} == {"delivered"}
    alone = network.build(replace(spec, run=2))
    with closing(alone):
        run(alone, alone.sound([UPLINK]))
        (quiet,) = alone.link_state()
    assert states[UPLINK].interference_w_hz > 1.5 * quiet.interference_w_hz


def test_time_division_takes_turns_where_frequency_division_does_both_at_once() -> None:
    both = [(*UPLINK, 200_000), (*DOWNLINK, 200_000)]
    ends = {
        duplex: max(d.end_ns for d in carry(ofdma(duplex=duplex), *both))
        for duplex in ("fdd", "tdd")
    }
    assert ends["tdd"] > 1.7 * ends["fdd"]


def test_the_radios_attributes_can_be_set_by_name() -> None:
    spec = replace(unsure("direct"), ns3_defaults={"collapipe::OfdmaRadio::HarqRtt": 3})
    spec = replace(spec, bs=replace(spec.bs, position=(0.0, 300.0 + 9e4, 1.5)))
    (delivery,) = carry(spec, (*UPLINK, 50))
    assert delivery.end_ns // 1_000_000 == 3
    with pytest.raises(ValueError, match="HarqRtt"):
        network.build(replace(spec, ns3_defaults={"collapipe::OfdmaRadio::HarqRt": 3}))
    with pytest.raises(ValueError, match="HarqRtt"):
        network.build(replace(spec, ns3_defaults={"collapipe::OfdmaRadio::HarqRtt": 0}))


def test_what_the_study_sets_itself_cannot_be_set_beside_it_in_vain() -> None:
    for name, value in (("Tti", "500us"), ("TargetBler", 0.5), ("MaxTransmissions", 1)):
        defaults = {f"collapipe::OfdmaRadio::{name}": value}
        with pytest.raises(ValueError, match="can't be changed: the study's"):
            network.build(replace(unsure("direct"), ns3_defaults=defaults))
