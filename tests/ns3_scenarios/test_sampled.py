"""Sampled long transfers, compared to the same transfers simulated in full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_lab import arrived, check_books, disturbed, run, scenario, transfer_or_cut

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network, runtime
from ns3_scenarios.checks import problems
from ns3_scenarios.interferers import Background, Jammer
from ns3_scenarios.mobility import RandomWaypoint
from ns3_scenarios.readings import RadioDelivery, RadioUsage
from ns3_scenarios.scenario import Fidelity, LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

MOST_ERROR = 0.03


@dataclass(frozen=True)
class Start:
    """A transfer, and the time at which it starts."""

    src: str
    dst: str
    size_bytes: int
    at_s: float = 0.0


@dataclass(frozen=True)
class Done:
    """The results of a workload."""

    deliveries: list[RadioDelivery]  # in the order of the workload
    end_ns: int
    usage: dict[str, RadioUsage]

    @property
    def seconds(self) -> list[float]:
        return [(each.end_ns - each.start_ns) * 1e-9 for each in self.deliveries]


def carried(
    spec: ScenarioSpec,
    fidelity: Fidelity,
    starts: Sequence[Start],
    changes: Sequence[tuple[float, Sequence[LinkPlan]]] = (),
) -> Done:
    """Runs a workload; `changes` are grants and their times."""
    with closing(network.build(replace(spec, fidelity=fidelity))) as net:

        async def one(start: Start) -> RadioDelivery:
            await asyncio.sleep(start.at_s)
            return await net.transfer(start.src, start.dst, start.size_bytes)

        async def change(at_s: float, grants: Sequence[LinkPlan]) -> None:
            await asyncio.sleep(at_s)
            net.apply(grants)

        async def main() -> list[RadioDelivery]:
            pending = [asyncio.create_task(change(*each)) for each in changes]
            done = await asyncio.gather(*map(one, starts))
            await asyncio.gather(*pending)
            return done

        deliveries = run(net, main())
        check_books(net.deliveries, net.now_ns())
        return Done(deliveries, net.now_ns(), dict(net.usage()))


def gather_and_upload(megabytes: int) -> list[Start]:
    """Two clusters: two devices each send to their control unit, which sends to the station."""
    starts = []
    for n in range(2):
        starts.append(Start(f"c{n}.cu", "bs", megabytes * (2 + n) * 500_000, 0.4 * n))
        starts += [
            Start(f"c{n}.d{k}", f"c{n}.cu", megabytes * (1 + k) * 400_000, 0.3 * k)
            for k in range(2)
        ]
    return starts


BASE = scenario(clusters=2, devices=2, cu_distance_m=60.0)
OFDMA = {
    transport: replace(
        BASE,
        d2d=OfdmaSpec(transport=transport, reuse=2),
        d2e=OfdmaSpec(transport=transport),
    )
    for transport in ("direct", "udp", "tcp")
}
#: By the radio's name: the network, the change in the middle, and the least share skipped.
SHARES = [
    LinkPlan("c0.cu", "bs", bandwidth_hz=7.2e6),
    LinkPlan("c1.cu", "bs", bandwidth_hz=10.8e6),
]
CASES = {
    **{
        f"ofdma {transport}": (
            spec,
            [(2.0, SHARES), (4.0, [LinkPlan("c0.d0", "c0.cu", tx_power_w=2e-4)])],
            0.5,
        )
        for transport, spec in OFDMA.items()
    },
    "lte, ofdma": (
        replace(OFDMA["tcp"], d2e=LteSpec()),
        [(3.0, [LinkPlan("c0.cu", "bs", tx_power_w=1e-2)])],
        0.5,
    ),
}


def check_alike(packet: Done, sampled: Done, least_skipped: float) -> None:
    """Everything that agrees within the error of sampling."""
    assert sampled.end_ns == pytest.approx(packet.end_ns, rel=MOST_ERROR)
    assert sampled.seconds == pytest.approx(packet.seconds, rel=MOST_ERROR)
    energy = [sum(each.energy_j for each in done.deliveries) for done in (packet, sampled)]
    assert energy[1] == pytest.approx(energy[0], rel=0.06)
    total = sum(each.size_bytes for each in sampled.deliveries)
    assert sum(each.extrapolated_bytes for each in sampled.deliveries) > least_skipped * total
    assert all(each.extrapolated_bytes == 0 for each in packet.deliveries)
    for figure in ("tx_airtime_s", "rx_airtime_s", "tx_energy_j", "rx_energy_j"):
        sums = [sum(getattr(u, figure) for u in done.usage.values()) for done in (packet, sampled)]
        assert sums[1] == pytest.approx(sums[0], rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_takes_as_long_and_costs_as_much_as_packets_do(case: str) -> None:
    spec, changes, least = CASES[case]
    starts = gather_and_upload(40)
    packet, sampled = (
        carried(spec, fidelity, starts, changes) for fidelity in ("packet", "sampled")
    )
    check_alike(packet, sampled, least)


@pytest.mark.slow
def test_wifi_stations_that_contend_take_as_long_as_with_packets() -> None:
    spec = replace(scenario(devices=3, device_distance_m=30.0), d2d=WifiSpec())
    starts = [Start(f"c0.d{k}", "c0.cu", 60_000_000) for k in range(3)]
    packet, sampled = (carried(spec, fidelity, starts) for fidelity in ("packet", "sampled"))
    check_alike(packet, sampled, 0.2)


def test_short_transfers_are_simulated_to_the_byte() -> None:
    starts = [Start("c0.cu", "bs", 300_000), Start("c0.d0", "c0.cu", 200_000, 0.01)]
    assert carried(OFDMA["tcp"], "packet", starts) == carried(OFDMA["tcp"], "sampled", starts)


def test_what_starts_amid_a_skip_starts_on_time_and_ends_the_skip() -> None:
    long = Start("c0.cu", "bs", 60_000_000)
    late = Start("c1.cu", "bs", 2_000_000, 3.1234567)
    (_, alone), (both, _) = (
        carried(OFDMA["direct"], "sampled", starts).deliveries
        for starts in ([replace(long, src="c1.cu"), long], [long, late])
    )
    _, second = carried(OFDMA["direct"], "sampled", [long, late]).deliveries
    assert second.start_ns == 3_123_456_700
    assert both.extrapolated_bytes > 0
    assert second.end_ns < both.end_ns < alone.end_ns


@pytest.mark.parametrize("transport", ["udp", "direct"])
def test_losses_go_on_at_their_rate_and_in_their_runs(transport: str) -> None:
    """Without HARQ and retransmissions: about a tenth of the blocks is lost."""
    lossy = replace(OFDMA["udp"].d2e, transport=transport, acknowledged=False, max_transmissions=1)
    far = scenario(devices=1, cu_distance_m=120.0)  # where links are no longer at their top rate
    spec = replace(far, d2d=OfdmaSpec(), d2e=lossy)
    start = [Start("c0.cu", "bs", 40_000_000)]
    (packet,), (sampled,) = (
        carried(spec, fidelity, start).deliveries for fidelity in ("packet", "sampled")
    )
    shares = [1 - arrived(each) / each.size_bytes for each in (packet, sampled)]
    assert 0.03 < shares[0] < 0.3
    assert shares[1] == pytest.approx(shares[0], rel=0.1)
    assert len(sampled.lost) == pytest.approx(len(packet.lost), rel=0.15)
    assert sampled.extrapolated_bytes > 20_000_000
    assert sampled.outcome == "partial"


@settings(max_examples=15)
@given(
    starts=st.lists(
        st.tuples(
            st.sampled_from(
                [("c0.cu", "bs"), ("bs", "c1.cu"), ("c0.d0", "c0.cu"), ("c0.cu", "c0.d0")]
            ),
            st.integers(1, 30_000_000),
            st.integers(0, 3_000),  # ms until it starts
            st.integers(0, 6_000),  # ms until it is cut; 0: never
        ),
        min_size=1,
        max_size=5,
    ),
    transport=st.sampled_from(["direct", "udp", "tcp"]),
)
def test_whatever_is_skipped_and_cut_every_byte_is_accounted_for(
    starts: list[tuple[tuple[str, str], int, int, int]], transport: str
) -> None:
    spec = replace(OFDMA[transport], fidelity="sampled")
    with closing(network.build(spec)) as net:

        async def one(pair: tuple[str, str], size: int, start_ms: int, cut_ms: int) -> None:
            await asyncio.sleep(start_ms * 1e-3)
            await transfer_or_cut(net, pair, size, cut_ms)

        async def main() -> None:
            await asyncio.gather(*(one(*each) for each in starts))

        run(net, main())
        assert net.in_flight() == 0
        assert sorted(d.size_bytes for d in net.deliveries) == sorted(s for _, s, _, _ in starts)
        check_books(net.deliveries, net.now_ns())
        for each in net.deliveries:
            assert 0 <= each.extrapolated_bytes <= each.size_bytes
        states = {(link.src, link.dst): link for link in net.link_state()}
        for pair in {(each.src, each.dst) for each in net.deliveries}:
            on_it = [each for each in net.deliveries if (each.src, each.dst) == pair]
            sent = sum(each.size_bytes for each in on_it)
            got = sum(map(arrived, on_it))
            if pair in states:
                assert states[pair].loss == pytest.approx(1 - got / sent, abs=1e-12)
        for used in net.usage().values():
            assert used.tx_airtime_s <= 2 * net.now_ns() * 1e-9 + 2e-3  # of two radios


def test_the_same_again_wherever_it_is_interrupted() -> None:
    """The watchdog and Ctrl-C make `advance` return at times that depend on wall time."""
    starts = gather_and_upload(10)
    undisturbed = carried(OFDMA["tcp"], "sampled", starts)
    assert carried(OFDMA["tcp"], "sampled", starts) == undisturbed
    with closing(network.build(replace(OFDMA["tcp"], fidelity="sampled"))) as net:

        async def one(start: Start) -> RadioDelivery:
            await asyncio.sleep(start.at_s)
            return await net.transfer(start.src, start.dst, start.size_bytes)

        async def main() -> list[RadioDelivery]:
            return await asyncio.gather(*map(one, starts))

        with disturbed(net):
            assert run(net, main()) == undisturbed.deliveries


def test_runs_of_losses_have_the_share_and_length_that_they_are_drawn_for() -> None:
    ns = runtime.load()
    random = ns.CreateObject[ns.UniformRandomVariable]()
    random.SetStream(3)
    size = 200_000_000
    lost = [
        (part.begin, part.end)
        for part in runtime.native().LossRuns(size, 0.05, 3 * 1472.0, 1472, random.__deref__())
    ]
    assert sum(end - begin for begin, end in lost) / size == pytest.approx(0.05, rel=0.05)
    assert len(lost) == pytest.approx(size * 0.05 / (3 * 1472), rel=0.05)
    assert all(begin % 1472 == 0 for begin, _ in lost)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {
                "clusters": (
                    replace(BASE.clusters[0], cu=replace(BASE.clusters[0].cu,
                                                         motion=RandomWaypoint(5.0))),
                    *BASE.clusters[1:],
                )
            },
            "stand still",
        ),
        ({"interferers": (Jammer("j", (1.0, 2.0, 1.5), 0.1, on_s=3.0),)}, "always on"),
        (
            {"interferers": (Jammer("j", (1.0, 2.0, 1.5), 0.1, duty_cycle=0.5, period_s=1.0),)},
            "periods",
        ),
        ({"fidelity": "exact"}, "packet or sampled"),
    ],
)  # fmt: skip
def test_what_changes_by_itself_can_not_be_sampled(changed: dict[str, object], why: str) -> None:
    spec = replace(OFDMA["tcp"], **{"fidelity": "sampled", **changed})  # type: ignore[arg-type]
    assert [path for path, text in problems(spec) if why in text] == ["fidelity"]


def test_interferers_that_are_always_there_can() -> None:
    around = (
        Jammer("j", (1.0, 2.0, 1.5), 0.001, duty_cycle=0.3),
        Background("b", (9.0, 9.0, 1.5), (9.0, 12.0, 1.5), 0.01, 1e6),
    )
    assert problems(replace(OFDMA["tcp"], fidelity="sampled", interferers=around)) == []
