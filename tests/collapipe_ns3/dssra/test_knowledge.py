"""What is learned from executed rounds is what the network and the nodes were made of."""

from __future__ import annotations

import json
from dataclasses import dataclass

import lab
import pytest

from bridge.fixed import Link
from collapipe_ns3.dssra.knowledge import Knowledge, Service, link_name, losses
from collapipe_ns3.schemes import Medium


@dataclass(frozen=True)
class Transfer:
    """As `collapipe_ns3.schemes.Sent` has it, over 1 MHz at an SINR of 3: 2 Mbit/s at most."""

    start_ns: int
    end_ns: int
    size_bytes: int
    airtime_s: float
    src: str = "a"
    dst: str = "b"
    outcome: str = "delivered"
    lost: tuple[tuple[int, int], ...] = ()
    bandwidth_hz: float = 1e6
    sinr: float = 3.0


@dataclass(frozen=True)
class Round:
    deliveries: tuple[Transfer, ...]
    computations: tuple[object, ...] = ()
    duration_ns: int = 0
    loss: float = 0.0
    energy_j: dict[str, float] | None = None


def learned(*transfers: Transfer, media: tuple[Medium, ...] = ()) -> Knowledge:
    return Knowledge().after(Round(transfers), {}, media, 1.0)  # type: ignore[arg-type]


def test_latency_and_rate_of_a_real_network() -> None:
    """The engine on links of known rate and latency: both are found again, link by link."""
    link = Link(rate_bps=2_000_000, latency_ns=3_000_000)
    pairs = [("c0.cu", "c0.d0"), ("c0.d0", "c0.cu"), ("c0.cu", "bs"), ("bs", "c0.cu")]
    outcome = lab.run_one(lab.one_cluster((4,), 3), links=dict.fromkeys(pairs, link))
    found = Knowledge().after(outcome, lab.profiles(lab.nodes(lab.one_cluster((4,), 3)), {}), (), 1)
    for src, dst in pairs:
        service = found.services[link_name(src, dst)]
        # Back-to-back transfers overlap in their latencies, so busy periods are exact.
        assert service.latency_s == pytest.approx(3e-3, rel=1e-3)
        assert service.overhead == pytest.approx(1.0, rel=1e-3)


def test_an_overhead_on_the_airtime_is_found() -> None:
    transfers = [
        Transfer(start, start + round((0.01 + 1.6 * air) * 1e9), 1000, air)
        for start, air in ((0, 0.1), (10**9, 0.3), (3 * 10**9, 0.02))
    ]
    service = learned(*transfers).services[link_name("a", "b")]
    assert service.latency_s == pytest.approx(0.01)
    assert service.overhead == pytest.approx(1.6)


def test_links_that_share_a_medium_are_busy_together() -> None:
    """Two at once that take twice as long each are no slower than one after the other."""
    medium = Medium("air", frozenset({("a", "b"), ("c", "d")}), 1e6, shared=True)
    both = [
        Transfer(0, 2 * 10**9, 1000, 1.0),
        Transfer(0, 2 * 10**9, 1000, 1.0, src="c", dst="d"),
        Transfer(3 * 10**9, 4 * 10**9, 1000, 1.0),
    ]
    assert learned(*both, media=(medium,)).services["air"] == Service(0.0, pytest.approx(1.0))
    apart = learned(*both).services
    assert apart[link_name("c", "d")].overhead + apart[link_name("c", "d")].latency_s > 1.5


def test_efficiency_is_bits_over_shannons_bound_for_the_time_on_air() -> None:
    found = learned(Transfer(0, 10**9, 100_000, 0.8))
    assert found.efficiencies["a", "b"] == pytest.approx(800_000 / (0.8 * 2e6))


def test_losses_are_shares_of_bytes() -> None:
    transfers = [
        Transfer(0, 1, 300, 0.1),
        Transfer(0, 1, 100, 0.1, outcome="lost", lost=((20, 60),)),
        Transfer(0, 1, 500, 0.1, outcome="cut", lost=((0, 500),)),
    ]
    assert losses(transfers) == {("a", "b"): pytest.approx(0.1)}


def test_speed_is_what_a_slowed_device_shows() -> None:
    plan = lab.one_cluster((2, 2), 3)
    profiles = lab.profiles(lab.nodes(plan), {})
    outcome = lab.run_one(plan)
    slower = {
        node: type(p)(**{f: getattr(p, f) for f in p.__slots__} | {"overhead_s": 0.0})
        for node, p in profiles.items()
    }
    found = Knowledge().after(outcome, slower, (), 1.0)
    flops = [d.flops for d in outcome.computations if d.node == "c0.d0"]
    busy_s = sum((d.end_ns - d.start_ns) / 1e9 for d in outcome.computations if d.node == "c0.d0")
    assert found.speeds["c0.d0"] == pytest.approx(sum(flops) / busy_s)


def test_new_rounds_count_with_their_weight_and_old_links_stay() -> None:
    first = learned(Transfer(0, 10**9, 100_000, 0.8))
    transfers = (Transfer(0, 10**9, 50_000, 0.8), Transfer(0, 10**9, 50_000, 0.8, src="c"))
    second = first.after(Round(transfers), {}, (), 0.25)  # type: ignore[arg-type]
    old, new = 800_000 / 1.6e6, 400_000 / 1.6e6
    assert second.efficiencies["a", "b"] == pytest.approx(0.25 * new + 0.75 * old)
    assert second.efficiencies["c", "b"] == pytest.approx(new)


def test_it_survives_json() -> None:
    found = learned(Transfer(0, 10**9, 100_000, 0.8, lost=((0, 10),)))
    assert Knowledge.from_json(json.loads(json.dumps(found.to_json()))) == found
