"""What multicasts are predicted to take in time and energy, against closed forms and networks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import fleets
import numpy as np
import pytest
from radio_lab import ofdma

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.network import group_name
from collapipe_ns3.eventgraph.graph import EventGraph, execute
from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.observed import Observation, measured_links
from collapipe_ns3.plan import LinkPlan
from collapipe_ns3.prediction.fleet import Fleet, node_places
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.links import LinkSetting
from collapipe_ns3.prediction.plan_timeline import _FleetCosts
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.timeline_energy import energy_of_timeline
from collapipe_ns3.topology.media import media
from ns3_scenarios import network

CONTROLS = ("c0.cu", "c1.cu", "c2.cu")
DEVICES = ("c0.d0", "c0.d1", "c0.d2")
SIZE = 1_000_000


def setting(fleet: Fleet) -> RadioSetting:
    """Every sender at its highest power, and every link in as much of its band as it uses."""
    links = fleet.links
    side_w = np.broadcast_to(fleet.max_power_w[:, :, None], links.sidelink.snr.shape)
    down_w = np.full(fleet.clusters, fleet.server.max_power_w)
    return RadioSetting(
        LinkSetting(side_w, np.array(links.sidelink.natural_hz)),
        LinkSetting(fleet.max_power_w[:, 0], np.array(links.uplink.natural_hz)),
        LinkSetting(down_w, np.array(links.downlink.natural_hz)),
    )


def costs_of(seen: Observation, *groups: LinkPlan, opened: bool = True) -> _FleetCosts:
    fleet = Fleet.of(seen, Knowledge())
    if opened:
        fleet = fleet.opened(sidelink=True, edge=True)
    named = {(link.src, link.dst): link for link in groups}
    return _FleetCosts(seen.devices, fleet, setting(fleet), named)


def slotted(seen: Observation) -> Observation:
    return replace(seen, media=tuple(replace(each, slot_s=1e-3) for each in seen.media))


@pytest.mark.parametrize("radio", ["own", "ofdma"])
def test_it_goes_at_the_rate_of_the_weakest_receiver(radio: str) -> None:
    seen = slotted(fleets.observation(np.random.default_rng(3), 3, 3, radio=radio))
    costs = costs_of(seen)
    for src, receivers in (("bs", CONTROLS), ("c0.cu", DEVICES)):
        single = [costs.hop_transfer(src, (dst,), SIZE, bulk=True) for dst in receivers]
        holds = [each.hold_ns for each in single]
        assert len(set(holds)) == 3
        together = costs.hop_transfer(src, receivers, SIZE, bulk=True)
        assert together.hold_ns == pytest.approx(max(holds), abs=1)
        assert together.latencies_ns == tuple(each.latencies_ns[0] for each in single)
        two = costs.hop_transfer(src, receivers[:2], SIZE, bulk=True)
        assert two.hold_ns == pytest.approx(max(holds[:2]), abs=1)


def test_without_a_grant_it_gets_what_grants_leave_and_with_one_its_part() -> None:
    """Beside links that have bandwidths of their own."""
    seen = slotted(fleets.observation(np.random.default_rng(3), 3, 1, radio="ofdma"))
    name = group_name(CONTROLS)
    open_, whole = costs_of(seen, opened=False), costs_of(seen)
    granted = costs_of(seen, LinkPlan("bs", name, None, 5e6), opened=False)
    weak = costs_of(seen, LinkPlan("bs", name, 0.01, None), opened=False)
    made = {
        each: costs.hop_transfer("bs", CONTROLS, SIZE, bulk=True)
        for each, costs in (("open", open_), ("whole", whole), ("grant", granted), ("weak", weak))
    }
    lanes = {each: transfer.lane for each, transfer in made.items()}
    assert lanes["open"] == lanes["whole"]
    assert lanes["open"] is not None
    assert lanes["grant"] is not None
    assert (lanes["open"][1].share, lanes["grant"][1].share) == (0, 0.25)
    assert lanes["grant"][1].receivers == CONTROLS
    assert made["open"].hold_ns == made["whole"].hold_ns
    # Its power is for a quarter of the band, where the link carries more than a quarter.
    assert 0.5 < made["grant"].hold_ns / made["open"].hold_ns < 1
    assert made["weak"].hold_ns > made["open"].hold_ns


def timeline(
    costs: _FleetCosts, sent: Sequence[tuple[str, tuple[str, ...], int]], at_ns: int = 0
) -> Timeline:
    """One transfer or multicast after the other: (sender, receivers, bytes)."""
    graph = EventGraph()
    names: list[tuple[str, str, int, str] | None] = [None]
    task = graph.add(latency_ns=at_ns)
    for src, receivers, size in sent:
        transfer = costs.hop_transfer(src, receivers, size, bulk=True)
        first_ns, *others_ns = transfer.latencies_ns
        arrivals = [
            graph.add(
                [task],
                hold_ns=transfer.hold_ns,
                latency_ns=first_ns,
                claims=transfer.claims,
                transfer=True,
                lane=transfer.lane,
            )
        ]
        arrivals += [graph.receive(arrivals[0], latency_ns) for latency_ns in others_ns]
        names += [(src, dst, 0, "model") for dst in receivers]
        task = graph.add(arrivals)
        names.append(None)
    done = execute(graph)
    return Timeline((), done.makespan_ns, graph, done, names)


@pytest.mark.parametrize("model", ["socket", "radiated"])
def test_energy_is_sent_once_and_received_by_each_as_over_the_closed_form_network(
    model: str,
) -> None:
    seen = fleets.observation(np.random.default_rng(5), 3, 3, radio="own")
    seen = fleets.at_socket(seen) if model == "socket" else seen
    costs = costs_of(seen)
    fleet = costs.fleet
    sent = [("bs", CONTROLS, SIZE), ("c0.cu", DEVICES[:2], SIZE), ("c1.cu", ("bs",), SIZE)]
    rates: dict[tuple[str, str], Link] = {}
    for src, receivers, size in sent:
        for dst in receivers:
            hold_ns = costs.hop_transfer(src, (dst,), size, bulk=True).hold_ns
            rates[src, dst] = Link(8 * size * 10**9 // hold_ns)
    net = FixedRateNetwork(["bs", *node_places(seen.devices)], None, rates)

    async def main() -> None:
        for src, receivers, size in sent:
            await asyncio.gather(*net.multicast(src, receivers, size))

    simulated.run(net, main())
    found = energy_of_timeline(timeline(costs, sent), node_places(seen.devices), fleet, costs.radio)
    (duty,) = {*fleet.links.downlink.duty, *fleet.links.uplink.duty}  # the part on the air
    for node, used in net.usage().items():
        profile = seen.profiles[node]
        sent_s, power = used.tx_airtime_s * duty, profile.power
        sent_j = power.sending_j(sent_s, sent_s * profile.max_tx_power_w)
        assert found[node].tx_j == pytest.approx(sent_j, rel=1e-5)
        assert found[node].rx_j == pytest.approx(power.rx_w * used.rx_airtime_s * duty, rel=1e-5)


def test_who_overhears_a_multicast_receives_it_once() -> None:
    seen = fleets.observation(np.random.default_rng(5), 1, 4, radio="overheard")
    costs = costs_of(seen)
    places = node_places(seen.devices)
    made = timeline(costs, [("c0.cu", DEVICES, SIZE)])
    found = energy_of_timeline(made, places, costs.fleet, costs.radio)
    air_s = made.graph.hold_ns[1] / 1e9 * float(costs.fleet.links.sidelink.duty[0, 0, 1])
    # The multicast, and a quarter of its time for the reply of each of three receivers.
    heard = {"c0.cu": 0.75, "c0.d3": 1.75} | dict.fromkeys(DEVICES, 1.5)
    for node, times in heard.items():
        assert found[node].rx_j == pytest.approx(0.5 * times * air_s), node
    assert found["c0.cu"].tx_j == pytest.approx(0.2 * air_s)
    assert found["c0.d0"].tx_j == pytest.approx(0.1 * 0.25 * air_s)


@pytest.mark.parametrize(
    ("src", "receivers"), [("bs", CONTROLS), ("bs", CONTROLS[:2]), ("c0.cu", DEVICES)]
)
def test_on_the_simulated_radio_it_takes_what_was_predicted(
    src: str, receivers: tuple[str, ...]
) -> None:
    """Time and energy of every node, from a sounding alone."""
    spec = ofdma(3, 3)
    with closing(network.build(spec)) as net:

        async def main() -> tuple[int, int]:
            await net.sound([(src, dst) for dst in receivers])
            begun_ns = net.now_ns()
            before.update(net.usage())
            done = await asyncio.gather(*net.multicast(src, receivers, SIZE))
            return begun_ns, done[0].end_ns - begun_ns

        before: dict[str, object] = {}
        begun_ns, took_ns = simulated.run(net, main())
        links = {(link.src, link.dst): link for link in measured_links(net)}
        after = net.usage()
    made_up = fleets.observation(np.random.default_rng(5), 3, 3)
    known = tuple(links.get(link.pair, link) for link in made_up.links)
    profiles = {
        name: replace(each, max_tx_power_w=1.0 if name == "bs" else 0.1)
        for name, each in made_up.profiles.items()
    }
    seen = replace(made_up, links=known, media=media(spec), profiles=profiles)
    costs = costs_of(seen)
    sent = timeline(costs, [(src, receivers, SIZE)], begun_ns)
    assert sent.total_ns - begun_ns == pytest.approx(took_ns, rel=0.03)
    found = energy_of_timeline(sent, node_places(seen.devices), costs.fleet, costs.radio)
    for node, used in after.items():
        sent_j = used.tx_energy_j - before[node].tx_energy_j  # type: ignore[attr-defined]
        heard_s = used.rx_airtime_s - before[node].rx_airtime_s  # type: ignore[attr-defined]
        assert found[node].tx_j == pytest.approx(sent_j, rel=0.03, abs=1e-9), node
        assert found[node].rx_j == pytest.approx(0.5 * heard_s, rel=0.03, abs=1e-9), node
