"""What is learned from executed rounds: latencies, overheads, efficiencies, losses, speeds."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import closing
from dataclasses import dataclass

import lab
import pytest
from radio_lab import node, ofdma, run

from bridge.fixed import Link
from bridge.network import TransferKind
from collapipe_ns3.observed import Medium, measured_links
from collapipe_ns3.prediction.knowledge import Knowledge, losses
from collapipe_ns3.prediction.transfer_services import Service, link_name
from collapipe_ns3.topology.media import media
from ns3_scenarios import network


@dataclass(frozen=True)
class Transfer:
    """As `bridge.network.Delivery` has it, over 1 MHz at an SINR of 3: 2 Mbit/s at most."""

    start_ns: int
    end_ns: int
    size_bytes: int
    airtime_s: float
    src: str = "a"
    dst: str = "b"
    kind: str = "activation"
    outcome: str = "delivered"
    lost: tuple[tuple[int, int], ...] = ()
    bandwidth_hz: float = 1e6
    tx_power_w: float = 0.1
    group: int = 0


@dataclass(frozen=True)
class State:
    """A link's state: 3 MHz of SINR × bandwidth for a tenth of a watt."""

    src: str = "a"
    dst: str = "b"
    gain: float = 3e-8
    interference_w_hz: float = 1e-15


@dataclass(frozen=True)
class Round:
    deliveries: tuple[Transfer, ...]
    links: tuple[State, ...] = (State(), State(src="c"))
    computations: tuple[object, ...] = ()
    duration_ns: int = 0
    loss: float = 0.0
    energy_j: dict[str, float] | None = None


def learned(*transfers: Transfer, media: tuple[Medium, ...] = ()) -> Knowledge:
    return Knowledge().after(Round(transfers), {}, media, (), 1.0)  # type: ignore[arg-type]


def test_latency_and_rate_of_a_real_network() -> None:
    """On links of known rate and latency both are learned for every link."""
    link = Link(rate_bps=2_000_000, latency_ns=3_000_000)
    pairs = [("c0.cu", "c0.d0"), ("c0.d0", "c0.cu"), ("c0.cu", "bs"), ("bs", "c0.cu")]
    outcome = lab.run_one(lab.one_cluster((4,), 3), links=dict.fromkeys(pairs, link))
    found = Knowledge().after(
        outcome, lab.profiles(lab.nodes(lab.one_cluster((4,), 3)), {}), (), (), 1
    )
    for src, dst in pairs:
        service = found.services[link_name(src, dst)]
        assert service.latency_s == pytest.approx(3e-3, rel=1e-3)
        assert service.overhead == pytest.approx(1.0, rel=1e-3)


def rounds(
    count: int, *transfers: Transfer, media: tuple[Medium, ...] = (), granted: object = ()
) -> Knowledge:
    """What is known after so many equal rounds."""
    found = Knowledge()
    for _ in range(count):
        found = found.after(Round(transfers), {}, media, granted, 1.0)  # type: ignore[arg-type]
    return found


def test_an_overhead_on_the_airtime_is_found_step_by_step() -> None:
    """It changes by a quarter per round at most, so that chance in one round changes little."""
    transfers = [
        Transfer(start, start + round((0.01 + 1.6 * air) * 1e9), 1000, air)
        for start, air in ((0, 0.1), (10**9, 0.3), (3 * 10**9, 0.02))
    ]
    assert rounds(1, *transfers).services[link_name("a", "b")].overhead == pytest.approx(1.25)
    found = rounds(8, *transfers)
    assert found.services[link_name("a", "b")].overhead == pytest.approx(1.6, rel=0.05)
    assert found.latencies["a", "b"] == pytest.approx(0.01, abs=0.006)


def test_links_with_grants_are_independent_and_those_without_share() -> None:
    medium = Medium("air", frozenset({("a", "b"), ("c", "d")}), 1e6, grants=True)
    both = (
        Transfer(0, 2 * 10**9, 1000, 2.0),
        Transfer(0, 2 * 10**9, 1000, 2.0, src="c", dst="d"),
    )
    alone = rounds(1, *both, media=(medium,), granted=medium.links)
    assert alone.services["air"] == Service(pytest.approx(0.0, abs=1e-6), 1.0, 1.0)
    # Without grants each has half of the band while both send.
    halved = tuple(dataclasses.replace(each, bandwidth_hz=0.5e6) for each in both)
    shared = rounds(1, *halved, media=(medium,))
    assert shared.services["air"] == Service(pytest.approx(0.0, abs=1e-6), 1.0, 1.0)


def test_parameters_in_bulk_have_a_factor_of_their_own() -> None:
    transfers = [
        Transfer(start, start + round((0.01 + air) * 1e9), 1000, air)
        for start, air in ((0, 0.1), (10**9, 0.3), (3 * 10**9, 0.02))
    ]
    bulk = Transfer(5 * 10**9, 5 * 10**9 + round(1.81 * 1e9), 1000, 1.0, kind="parameters")
    service = rounds(6, *transfers, bulk).services[link_name("a", "b")]
    assert service.latency_s == pytest.approx(0.01)
    assert service.overhead == 1.0
    assert service.bulk == pytest.approx(1.8, rel=0.05)


def test_parameters_and_micro_batches_that_share_a_medium_wait_for_each_other() -> None:
    """Neither has an overhead if both take twice as long as alone."""
    medium = Medium("air", frozenset({("a", "b"), ("c", "d")}), 1e6, shared=True)
    both = (
        Transfer(0, 2 * 10**9, 1000, 1.0),
        Transfer(0, 2 * 10**9, 1000, 1.0, src="c", dst="d", kind="parameters"),
        Transfer(3 * 10**9, 4 * 10**9, 1000, 1.0, kind="parameters"),
    )
    found = rounds(1, *both, media=(medium,)).services["air"]
    assert found == Service(pytest.approx(0.0, abs=1e-6), 1.0, 1.0)


def test_chunks_that_are_not_learned_from_still_delay_others() -> None:
    """One sender's 400 chunks are more than are learned from; the other's take turns with them."""
    medium = Medium("air", frozenset({("a", "b"), ("c", "d")}), 1e6, shared=True)
    chunks = [
        Transfer(start_ns, 2 * (k + 1) * 10**7, 1000, 0.01, src=src, dst=dst, kind="parameters")
        for start_ns, src, dst in ((0, "a", "b"), (1, "c", "d"))
        for k in range(400)
    ]
    assert rounds(2, *chunks, media=(medium,)).services["air"].bulk == 1.0


def test_links_that_share_a_medium_slow_each_other_down() -> None:
    """Two transfers at once that each take twice as long have no overhead."""
    medium = Medium("air", frozenset({("a", "b"), ("c", "d")}), 1e6, shared=True)
    both = [
        Transfer(0, 2 * 10**9, 1000, 1.0),
        Transfer(0, 2 * 10**9, 1000, 1.0, src="c", dst="d"),
        Transfer(3 * 10**9, 4 * 10**9, 1000, 1.0),
        Transfer(5 * 10**9, 5 * 10**9 + 10**8, 100, 0.1),
    ]
    together = rounds(1, *both, media=(medium,))
    assert together.services["air"].overhead == 1.0
    assert max(together.latencies.values()) == pytest.approx(0.0, abs=1e-6)
    apart = rounds(1, *both)
    assert apart.services[link_name("c", "d")].overhead + apart.latencies["c", "d"] > 1.5


def test_waiting_for_slots_is_no_latency() -> None:
    """Half a slot of work, requested in the middle of a slot, arrives at the next one's end."""
    medium = Medium("air", frozenset({("a", "b")}), 1e6, grants=True, slot_s=1e-3)
    sent = [
        Transfer(start + 500_000, start + 2_000_000, 100, 5e-4) for start in (0, 10**7, 2 * 10**7)
    ]
    assert rounds(1, *sent, media=(medium,)).latencies["a", "b"] == pytest.approx(0.0, abs=1e-9)
    late = [dataclasses.replace(each, end_ns=each.end_ns + 8_000_000) for each in sent]
    assert rounds(1, *late, media=(medium,)).latencies["a", "b"] == pytest.approx(8e-3)


def test_efficiency_is_bits_over_shannons_bound_for_the_time_on_air() -> None:
    found = learned(Transfer(0, 10**9, 100_000, 0.8))
    assert found.efficiencies["a", "b"] == pytest.approx(800_000 / (0.8 * 2e6))


def test_losses_are_shares_of_bytes() -> None:
    transfers = [
        Transfer(0, 1, 300, 0.1),
        Transfer(0, 1, 100, 0.1, outcome="partial", lost=((20, 60),)),
        Transfer(0, 1, 200, 0.1, outcome="lost", lost=((0, 200),)),
        Transfer(0, 1, 500, 0.1, outcome="cut", lost=((0, 500),)),
    ]
    assert losses(transfers) == {("a", "b"): pytest.approx(0.1)}


def multicast(number: int, *transfers: Transfer) -> list[Transfer]:
    """One multicast, whose airtime is divided among these."""
    return [dataclasses.replace(each, group=number) for each in transfers]


WEAK = State(dst="w", gain=1e-8)  # 1 MHz of SINR × bandwidth: 1 Mbit/s at most


def test_a_multicast_shows_the_efficiency_of_its_weakest_receiver() -> None:
    both = (Transfer(0, 10**9, 50_000, 0.4), Transfer(0, 10**9, 50_000, 0.4, dst="w"))
    links = (State(), WEAK)

    def found(*transfers: Transfer) -> dict[tuple[str, str], float]:
        seen = Round(transfers, links)
        return dict(Knowledge().after(seen, {}, (), (), 1.0).efficiencies)  # type: ignore[arg-type]

    assert found(*multicast(7, *both)) == {("a", "w"): pytest.approx(400_000 / (0.8 * 1e6))}
    # As if it had been sent to the weakest alone, in the whole time.
    assert found(*multicast(7, *both)) == found(dataclasses.replace(both[1], airtime_s=0.8))
    assert found(*both).keys() == {("a", "b"), ("a", "w")}
    # One that got nothing took airtime for itself; one whose link is not known may be the weakest.
    lost = dataclasses.replace(both[0], outcome="lost", lost=((0, 50_000),))
    assert found(*multicast(7, lost, both[1])) == {}
    assert found(*multicast(7, both[1], dataclasses.replace(both[0], dst="unknown"))) == {}


def test_a_multicast_is_replayed_once() -> None:
    """Two receivers of a common transmission, behind one that takes a second."""
    medium = Medium("air", frozenset({("a", "b"), ("a", "c")}), 1e6, shared=True, multicast=True)
    first = Transfer(0, 10**9, 1000, 1.0)
    sent = multicast(
        1,
        Transfer(0, 2 * 10**9 + 10**7, 1000, 0.5),
        Transfer(0, 2 * 10**9 + 3 * 10**7, 1000, 0.5, dst="c"),
    )
    found = rounds(1, first, *sent, media=(medium,))
    assert found.services["air"].overhead == 1.0
    assert found.latencies["a", "b"] == pytest.approx(0.005)  # the mean of none and 10 ms
    assert found.latencies["a", "c"] == pytest.approx(0.03)
    twice = rounds(
        1, first, *(dataclasses.replace(each, group=0) for each in sent), media=(medium,)
    )
    assert twice.latencies != found.latencies
    # What one of them has not got says nothing of the time that it takes.
    lost = dataclasses.replace(sent[1], outcome="lost", lost=((0, 1000),))
    assert rounds(1, first, sent[0], lost, media=(medium,)).latencies == {("a", "b"): 0.0}


def test_a_group_has_a_grant_of_its_own() -> None:
    medium = Medium("air", frozenset({("a", "b"), ("a", "c"), ("d", "e")}), 1e6, grants=True)
    other = Transfer(0, 2 * 10**9, 1000, 2.0, src="d", dst="e", bandwidth_hz=0.5e6)
    sent = [Transfer(0, 2 * 10**9, 1000, 1.0, dst=dst, bandwidth_hz=0.5e6) for dst in ("b", "c")]
    granted = {("d", "e"), ("a", "b+c")}
    found = rounds(1, other, *multicast(1, *sent), media=(medium,), granted=granted)
    assert found.latencies == {pair: pytest.approx(0.0, abs=1e-6) for pair in medium.links}


DOWN = ("c0.cu", "c1.cu", "c2.cu")


def learned_of_downlinks(together: bool) -> Knowledge:
    """From labels to each control unit, and a model that is sent to all of them or to each."""
    spec = ofdma(3)
    places = [(300.0, 0.0), (0.0, 250.0), (-100.0, 0.0)]
    clusters = [
        dataclasses.replace(cluster, cu=node(cluster.cu.name, *place))
        for cluster, place in zip(spec.clusters, places, strict=True)
    ]
    spec = dataclasses.replace(spec, clusters=tuple(clusters))
    with closing(network.build(spec)) as net:

        async def labels() -> None:
            for _ in range(20):
                sent = (net.transfer("bs", cu, 5_000, TransferKind.LABELS) for cu in DOWN)
                await asyncio.gather(*sent)

        async def main() -> None:
            await net.sound([("bs", cu) for cu in DOWN])
            await labels()
            for _ in range(5):
                if together:
                    await asyncio.gather(*net.multicast("bs", DOWN, 400_000, TransferKind.MODEL))
                else:
                    for cu in DOWN:
                        await net.transfer("bs", cu, 400_000, TransferKind.MODEL)
            await labels()

        run(net, main())
        seen = Round(tuple(net.deliveries), measured_links(net))  # type: ignore[arg-type]
        return Knowledge().after(seen, {}, media(spec), (), 1.0)  # type: ignore[arg-type]


def test_multicasts_over_the_radio_teach_what_transfers_to_the_weakest_do() -> None:
    """The same factors, latencies within one and a half TTIs, and an efficiency within 5 %."""
    alone, together = learned_of_downlinks(together=False), learned_of_downlinks(together=True)
    (known,), (found,) = alone.services.values(), together.services.values()
    assert (found.overhead, found.bulk) == (known.overhead, known.bulk)
    for pair in (("bs", cu) for cu in DOWN):
        assert together.latencies[pair] == pytest.approx(alone.latencies[pair], abs=1.5e-3)
    weakest = ("bs", "c0.cu")
    assert together.efficiencies[weakest] == pytest.approx(alone.efficiencies[weakest], rel=0.05)


def test_losses_of_a_multicast_are_those_of_each_receiver() -> None:
    gaps = Transfer(0, 1, 100, 0.1, outcome="partial", lost=((20, 60),), dst="c")
    assert losses(multicast(1, Transfer(0, 1, 100, 0.1), gaps)) == {
        ("a", "b"): 0.0,
        ("a", "c"): pytest.approx(0.4),
    }


def test_the_speed_of_a_device_is_learned_from_its_computations() -> None:
    plan = lab.one_cluster((2, 2), 3)
    profiles = lab.profiles(lab.nodes(plan), {})
    outcome = lab.run_one(plan)
    slower = {
        node: type(p)(**{f: getattr(p, f) for f in p.__slots__} | {"overhead_s": 0.0})
        for node, p in profiles.items()
    }
    found = Knowledge().after(outcome, slower, (), (), 1.0)
    flops = [d.flops for d in outcome.computations if d.node == "c0.d0"]
    busy_s = sum((d.end_ns - d.start_ns) / 1e9 for d in outcome.computations if d.node == "c0.d0")
    assert found.speeds["c0.d0"] == pytest.approx(sum(flops) / busy_s)


def test_new_rounds_count_with_their_weight_and_unused_links_keep_their_figures() -> None:
    first = learned(Transfer(0, 10**9, 100_000, 0.8))
    transfers = (Transfer(0, 10**9, 50_000, 0.8), Transfer(0, 10**9, 50_000, 0.8, src="c"))
    second = first.after(Round(transfers), {}, (), (), 0.25)  # type: ignore[arg-type]
    old, new = 800_000 / 1.6e6, 400_000 / 1.6e6
    assert second.efficiencies["a", "b"] == pytest.approx(0.25 * new + 0.75 * old)
    assert second.efficiencies["c", "b"] == pytest.approx(new)


def test_knowledge_survives_json() -> None:
    found = learned(Transfer(0, 10**9, 100_000, 0.8, lost=((0, 10),)))
    assert Knowledge.from_json(json.loads(json.dumps(found.to_json()))) == found
