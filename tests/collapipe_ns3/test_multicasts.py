"""A shipment to several receivers is refused where no single transmission reaches all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
import studies

from bridge import loop as simulated
from bridge.fixed import FixedRateNetwork, Link
from bridge.network import Multicast, group_name
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.exchange import Exchange, PipelineId, Shipment, Units
from collapipe_ns3.multicasts import media_problems, network_problems
from collapipe_ns3.plan import LinkPlan
from collapipe_ns3.topology import layout, networks
from collapipe_ns3.topology.media import media
from collapipe_ns3.topology.own_scenario import _Guarded
from ns3_scenarios.hosts import HostNetwork
from ns3_scenarios.scenario import ScenarioSpec

DIRECT = {"stack": "ofdma", "transport": "direct"}
CLUSTER = {"cu": "jetson-nano", "devices": ["raspberry-pi-4", "raspberry-pi-4"]}
NEAR, *FAR = ({**CLUSTER, "position": place} for place in ([20, 10], [900, 0], [900, 30]))
CONTROLS = ("c0.cu", "c1.cu")
DEVICES = ("c0.d0", "c0.d1")


def config(**radio: Any) -> StudyConfig:
    """Two clusters of two devices near one base station."""
    return studies.config(clusters=[NEAR, {**CLUSTER, "position": [60, 40]}], radio=radio)


def scenario(of: StudyConfig) -> ScenarioSpec:
    return layout.scenario(of, 1, 0)


def to(src: str, *receivers: str) -> Exchange:
    """An exchange of one shipment."""
    return Exchange((Shipment("down", Units(True), src, receivers, (PipelineId(0, 0),)),))


def problems(over: StudyConfig, src: str, *receivers: str) -> list[str]:
    found = media_problems(to(src, *receivers), media(scenario(over)))
    return [f"{where}: {what}" for where, what in found]


def agree(over: StudyConfig, src: str, receivers: Sequence[str]) -> bool:
    """Whether the radios can multicast, on which plans' problems and the network must agree."""
    with closing(networks.build(over, scenario(over))) as net:
        assert isinstance(net, Multicast)

        async def asked() -> bool:
            try:
                await asyncio.gather(*net.multicast(src, receivers, 1000))
            except ValueError:
                return False
            return True

        can = simulated.run(net, asked())
    assert can is (not problems(over, src, *receivers))
    return can


@pytest.mark.parametrize(
    ("d2e", "d2d", "down", "sideways"),
    [
        (DIRECT, DIRECT, True, True),
        ({**DIRECT, "transport": "tcp"}, {**DIRECT, "transport": "udp"}, False, False),
        ({"stack": "lte"}, {"stack": "wifi"}, False, False),
        ({"stack": "lte"}, DIRECT, False, True),
    ],
)
def test_plans_are_refused_what_the_radio_cannot_do(
    d2e: dict[str, Any], d2d: dict[str, Any], down: bool, sideways: bool
) -> None:
    over = config(d2e=d2e, d2d=d2d)
    assert agree(over, "bs", CONTROLS) is down
    assert agree(over, "c0.cu", DEVICES) is sideways
    assert problems(over, "bs", "c0.cu") == []
    assert not list(media_problems(None, media(scenario(over))))


def test_the_reason_names_the_shipment_the_stack_and_what_would_do() -> None:
    over = config(d2e={"stack": "lte"}, d2d=DIRECT)
    assert problems(over, "bs", *CONTROLS) == [
        "shipment down: lte can't send to 2 receivers at once as it is set up here; "
        "OFDMA with transport: direct can"
    ]


def test_two_stations_send_once_each() -> None:
    over = studies.config(
        clusters=[NEAR, *({**each, "station": "bs1"} for each in FAR)],
        stations=[{"position": [905, 0]}],
        radio={"d2e": DIRECT, "d2d": DIRECT},
    )
    assert problems(over, "bs", "c1.cu", "c2.cu") == []
    (problem,) = problems(over, "bs", "c0.cu", "c1.cu")
    assert problem.startswith("shipment down: its receivers are in different cells, ")
    assert problem.endswith(": expected a shipment for each cell")
    with closing(networks.build(over, scenario(over))) as net:
        assert isinstance(net, Multicast)

        async def main() -> None:
            with pytest.raises(ValueError, match="one station, not of bs and bs1"):
                net.multicast("bs", ["c0.cu", "c1.cu"], 1000)
            with pytest.raises(ValueError, match="one station, not of bs and bs1"):
                net.apply([LinkPlan("bs", group_name(["c0.cu", "c1.cu"]), 0.1, 1e6)])
            net.apply([LinkPlan("bs", group_name(["c2.cu", "c1.cu"]), 0.1, 1e6)])
            await asyncio.gather(*net.multicast("bs", ["c2.cu", "c1.cu"], 1000))

        simulated.run(net, main())
        sent = net.deliveries
    assert {(each.src, each.dst) for each in sent} == {("bs", "c1.cu"), ("bs", "c2.cu")}
    assert len({each.group for each in sent} - {0}) == 1
    # 1 MHz is five blocks and five ninths: the grant to the group was heard.
    assert all(each.bandwidth_hz == pytest.approx(1e6, rel=0.15) for each in sent)


def test_a_users_network_needs_the_method() -> None:
    exchange = to("bs", *CONTROLS)
    fixed = FixedRateNetwork(["bs", *CONTROLS], Link(8_000))
    assert not list(media_problems(exchange, ()))
    assert not list(network_problems(exchange, fixed))
    hosts = object.__new__(HostNetwork)  # only its type counts
    assert [where for where, _ in network_problems(exchange, hosts)] == ["shipment down"]
    assert not list(network_problems(to("bs", "c0.cu"), hosts))
    assert not list(network_problems(None, hosts))
    assert isinstance(_Guarded(fixed, "mine"), Multicast)
    assert not isinstance(_Guarded(hosts, "mine"), Multicast)
