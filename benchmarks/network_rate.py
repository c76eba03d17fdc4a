"""The overhead of the bridge: payload per wall second, relative to a plain ns-3 script.

Both sides carry the same bytes between nodes at the same positions, with the same radios,
attributes and TCP. The plain script is what an ns-3 user would write: helpers, BulkSend and
PacketSink. Set-up is not included.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from bridge import loop as simulated
from ns3_scenarios import network, runtime
from ns3_scenarios.channel import kind_of
from ns3_scenarios.radios import lte, wifi
from ns3_scenarios.scenario import (
    ClusterSpec,
    LteSpec,
    NodeSpec,
    ScenarioSpec,
    WifiSpec,
)

REPEATS = 5
MESSAGES = 8
WIFI_BYTES = 12_000_000
LTE_BYTES = 6_000_000
_PORT = 9

_BS = NodeSpec("bs", (0.0, 0.0, 10.0), 1.0, 1.0)
_CU = NodeSpec("c0.cu", (50.0, 0.0, 1.5), 0.1, 0.5)
_DEVICE = NodeSpec("c0.d0", (50.0, 8.0, 1.5), 0.1, 0.5)
WIFI, LTE = WifiSpec(), LteSpec()
SCENARIO = ScenarioSpec(
    bs=_BS, clusters=(ClusterSpec(cu=_CU, devices=(_DEVICE,)),), d2d=WIFI, d2e=LTE
)


def measure() -> dict[str, float]:
    """The two ratios, each a median; both sides are measured alternately."""
    return {
        "wifi_rate_ratio": _ratio("c0.d0", WIFI_BYTES),
        "lte_rate_ratio": _ratio("bs", LTE_BYTES),
    }


def _ratio(dst: str, size_bytes: int) -> float:
    return statistics.median(
        _ours(dst, size_bytes) / _plain(dst, size_bytes) for _ in range(REPEATS)
    )


def _ours(dst: str, size_bytes: int) -> float:
    """MB per wall second through this project's network under the event loop."""
    net = network.build(SCENARIO)

    async def main() -> float:
        began = time.perf_counter()
        share = size_bytes // MESSAGES
        await asyncio.gather(*(net.transfer("c0.cu", dst, share) for _ in range(MESSAGES)))
        return size_bytes / 1e6 / (time.perf_counter() - began)

    try:
        return simulated.run(net, main())
    finally:
        net.close()


def _plain(dst: str, size_bytes: int) -> float:
    """MB per wall second in a plain script, from the control unit to a device or the station."""
    ns = _fresh()
    nodes, cell = _wifi_cell(ns)
    # The helpers own the nodes of the core network, and have to live as long as the simulation.
    server, core, _owners = _lte_cell(ns, nodes.Get(0))
    ns.Simulator.Stop(ns.MilliSeconds(100))  # until the terminal is attached
    ns.Simulator.Run()
    if dst == "bs":
        rate = _bulk_rate(ns, nodes.Get(0), server.Get(0), core.GetAddress(1), size_bytes)
    else:
        rate = _bulk_rate(ns, nodes.Get(0), nodes.Get(1), cell.GetAddress(1), size_bytes)
    ns.Simulator.Destroy()
    return rate


def _lte_cell(ns: Any, terminal: Any) -> tuple[Any, Any, Any]:
    server, station = ns.NodeContainer(1), ns.NodeContainer(1)
    _place(ns, server, [_BS])
    _place(ns, station, [_BS])
    ns.InternetStackHelper().Install(server)
    helper, core = ns.CreateObject[ns.LteHelper](), ns.CreateObject[ns.PointToPointEpcHelper]()
    helper.SetEpcHelper(core)
    blocks = lte.LTE_RESOURCE_BLOCKS[LTE.bandwidth_hz]
    helper.SetEnbDeviceAttribute("DlBandwidth", ns.UintegerValue(blocks))
    helper.SetEnbDeviceAttribute("UlBandwidth", ns.UintegerValue(blocks))
    helper.SetPathlossModelType(ns.TypeId.LookupByName(kind_of(LTE.propagation).loss))
    for name, value in LTE.propagation.attributes.items():
        helper.SetPathlossModelAttribute(name, ns.DoubleValue(value))
    line = ns.PointToPointHelper()
    line.SetDeviceAttribute("DataRate", ns.StringValue("100Gb/s"))
    ends = line.Install(core.GetPgwNode(), server.Get(0))
    addresses = ns.Ipv4AddressHelper(ns.Ipv4Address("1.0.0.0"), ns.Ipv4Mask("255.0.0.0"))
    interfaces = addresses.Assign(ends)
    routing = ns.Ipv4StaticRoutingHelper()
    routes = routing.GetStaticRouting(server.Get(0).GetObject[ns.Ipv4]())
    routes.AddNetworkRouteTo(ns.Ipv4Address("7.0.0.0"), ns.Ipv4Mask("255.0.0.0"), 1)
    enb = helper.InstallEnbDevice(station)
    ue = helper.InstallUeDevice(ns.NodeContainer(terminal))
    core.AssignUeIpv4Address(ue)
    ipv4 = terminal.GetObject[ns.Ipv4]()
    routing.GetStaticRouting(ipv4).SetDefaultRoute(
        core.GetUeDefaultGatewayAddress(), ipv4.GetInterfaceForDevice(ue.Get(0))
    )
    helper.Attach(ue, enb.Get(0))
    enb.Get(0).GetObject[ns.LteEnbNetDevice]().GetPhy().SetTxPower(30.0)
    ue.Get(0).GetObject[ns.LteUeNetDevice]().GetPhy().SetTxPower(20.0)
    return server, interfaces, (helper, core, station)


def _fresh() -> Any:
    ns = runtime.load()
    runtime.reset(SCENARIO.seed, SCENARIO.run)
    radios = wifi.attribute_defaults(WIFI) | lte.attribute_defaults(LTE, len(SCENARIO.clusters))
    defaults = {**network.TCP_DEFAULTS, **radios}
    for path, value in defaults.items():
        runtime.set_default(path, value)
    return ns


def _wifi_cell(ns: Any) -> tuple[Any, Any]:
    nodes = ns.NodeContainer(2)
    _place(ns, nodes, [_CU, _DEVICE])
    ns.InternetStackHelper().Install(nodes)
    spectrum = ns.CreateObject[ns.MultiModelSpectrumChannel]()
    loss = runtime.make(kind_of(WIFI.propagation).loss, **WIFI.propagation.attributes)
    spectrum.AddPropagationLossModel(loss)
    spectrum.SetPropagationDelayModel(ns.CreateObject[ns.ConstantSpeedPropagationDelayModel]())
    helper, phy, mac = ns.WifiHelper(), ns.SpectrumWifiPhyHelper(), ns.WifiMacHelper()
    helper.SetStandard(ns.WIFI_STANDARD_80211ax)
    helper.SetRemoteStationManager("ns3::IdealWifiManager")
    phy.SetChannel(spectrum)
    number = wifi.cluster_channel(WIFI, SCENARIO.clusters[0])
    width_mhz = round(WIFI.bandwidth_hz / 1e6)
    phy.Set("ChannelSettings", ns.StringValue(f"{{{number}, {width_mhz}, BAND_5GHZ, 0}}"))
    phy.Set("TxPowerStart", ns.DoubleValue(20.0))
    phy.Set("TxPowerEnd", ns.DoubleValue(20.0))
    mac.SetType("ns3::AdhocWifiMac")
    devices = helper.Install(phy, mac, nodes)
    addresses = ns.Ipv4AddressHelper(ns.Ipv4Address("10.0.1.0"), ns.Ipv4Mask("255.255.255.0"))
    interfaces = addresses.Assign(devices)
    ns.NeighborCacheHelper().PopulateNeighborCache()
    return nodes, interfaces


def _place(ns: Any, nodes: Any, specs: list[NodeSpec]) -> None:
    places = ns.CreateObject[ns.ListPositionAllocator]()
    for spec in specs:
        places.Add(ns.Vector(*spec.position))
    mobility = ns.MobilityHelper()
    mobility.SetPositionAllocator(places)
    mobility.Install(nodes)


def _bulk_rate(ns: Any, src: Any, dst: Any, address: Any, size_bytes: int) -> float:
    """MB per wall second from BulkSend to PacketSink, until all bytes are received."""
    sink = ns.PacketSinkHelper(
        "ns3::TcpSocketFactory", ns.InetSocketAddress(ns.Ipv4Address.GetAny(), _PORT).ConvertTo()
    ).Install(dst)
    source = ns.BulkSendHelper(
        "ns3::TcpSocketFactory", ns.InetSocketAddress(address, _PORT).ConvertTo()
    )
    source.SetAttribute("MaxBytes", ns.UintegerValue(size_bytes))
    source.SetAttribute("SendSize", ns.UintegerValue(1400))
    source.Install(src)
    received = sink.Get(0).GetObject[ns.PacketSink]()
    began = time.perf_counter()
    while received.GetTotalRx() < size_bytes:
        stop = ns.Simulator.Stop(ns.MilliSeconds(10))
        ns.Simulator.Run()
        stop.Cancel()
    rate = size_bytes / 1e6 / (time.perf_counter() - began)
    assert received.GetTotalRx() == size_bytes
    return rate


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:8.3f}")
