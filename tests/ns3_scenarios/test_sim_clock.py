"""Steps of ns-3: when they end, and that their ends change no results."""

from __future__ import annotations

from contextlib import closing

import pytest
from radio_lab import disturbed, run, scenario

from ns3_scenarios import network, runtime
from ns3_scenarios.network import Ns3Network
from ns3_scenarios.readings import RadioDelivery
from ns3_scenarios.runtime.loader import interpreter

MS = 1_000_000


def deliveries(net: Ns3Network, step_ns: int | None = None) -> list[RadioDelivery]:
    """Some transfers, simulated in one step or in several."""

    async def main() -> None:
        transfers = [
            net.transfer(src, dst, 30_000)
            for src, dst in [("c0.cu", "c0.d0"), ("c1.d0", "c1.cu"), ("c0.cu", "bs")]
        ]
        while not all(transfer.done() for transfer in transfers):
            net.advance(None if step_ns is None else net.now_ns() + step_ns)

    run(net, main())
    return net.deliveries


def test_a_stretch_ends_at_its_bound_or_as_something_completes() -> None:
    with closing(network.build(scenario())) as net:

        async def main() -> None:
            assert net.now_ns() == 0
            assert net.advance(0) == "reached"
            transfer = net.transfer("c0.cu", "c0.d0", 100_000)
            assert net.advance(1 * MS) == "reached"
            assert net.now_ns() == 1 * MS
            assert net.in_flight() == 1
            assert net.advance(1_000 * MS) == "completed"
            assert transfer.done()
            assert transfer.result().end_ns == net.now_ns() < 1_000 * MS
            assert net.in_flight() == 0
            # The bound of an earlier step doesn't stop a later one.
            assert net.advance(2_000 * MS) == "reached"
            assert net.now_ns() == 2_000 * MS

        run(net, main())


def test_all_that_happens_at_one_instant_happens_before_a_stretch_ends() -> None:
    clock_type = runtime.native().SimClock
    runtime.reset(1, 1)
    cppyy = interpreter()
    cppyy.cppdef("""
        namespace collapipe_test {
        int happened = 0;
        // A completion, another event of that instant, and one that this brings about.
        void Crowd(collapipe::SimClock& clock) {
            using ns3::Simulator;
            Simulator::Schedule(ns3::NanoSeconds(5), [&clock] { ++happened; clock.Complete(); });
            Simulator::Schedule(ns3::NanoSeconds(5), [&clock] {
                ++happened;
                Simulator::ScheduleNow([&clock] { ++happened; clock.Complete(); });
            });
            Simulator::Schedule(ns3::NanoSeconds(6), [] { ++happened; });
        }
        }
    """)
    crowd = cppyy.gbl.collapipe_test
    clock = clock_type()
    clock.Start()
    crowd.Crowd(clock)
    assert clock.Advance(7) == clock_type.COMPLETED
    assert (clock.Now(), crowd.happened) == (5, 3)
    assert clock.Advance(-1) == clock_type.EXHAUSTED
    assert (clock.Now(), crowd.happened) == (6, 4)
    assert clock.Advance(9) == clock_type.REACHED
    assert clock.Now() == 9


@pytest.mark.parametrize("step_ns", [1 * MS, 1 * MS // 10 + 1])
def test_steps_change_nothing(step_ns: int) -> None:
    spec = scenario(clusters=2)
    with closing(network.build(spec)) as net:
        whole = deliveries(net)
    with closing(network.build(spec)) as net:
        assert deliveries(net, step_ns) == whole


def test_interrupts_come_through_and_change_nothing() -> None:
    spec = scenario(clusters=2)
    with closing(network.build(spec)) as net:
        whole = deliveries(net)
    with closing(network.build(spec)) as net, disturbed(net):
        assert deliveries(net) == whole
        # The other thread could run, so ns-3 doesn't hold Python's lock.
        assert any(net.advance(net.now_ns() + 1_000 * MS) == "interrupted" for _ in range(100))


def test_a_closed_network_stays_closed() -> None:
    net = network.build(scenario())
    net.close()
    net.close()
    with closing(network.build(scenario())) as another:
        assert another.now_ns() == 0
