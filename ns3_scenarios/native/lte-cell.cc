#include "lte-cell.h"

#include "lte-meter.h"
#include "random-streams.h"

#include "ns3/boolean.h"
#include "ns3/constant-position-mobility-model.h"
#include "ns3/double.h"
#include "ns3/hierarchical-mobility-model.h"
#include "ns3/ipv4-address-helper.h"
#include "ns3/ipv4-static-routing-helper.h"
#include "ns3/ipv4.h"
#include "ns3/lte-enb-net-device.h"
#include "ns3/lte-enb-phy.h"
#include "ns3/lte-helper.h"
#include "ns3/lte-spectrum-value-helper.h"
#include "ns3/lte-ue-net-device.h"
#include "ns3/lte-ue-phy.h"
#include "ns3/lte-ue-power-control.h"
#include "ns3/lte-ue-rrc.h"
#include "ns3/net-device-container.h"
#include "ns3/point-to-point-epc-helper.h"
#include "ns3/point-to-point-helper.h"
#include "ns3/pointer.h"
#include "ns3/spectrum-channel.h"
#include "ns3/string.h"
#include "ns3/uinteger.h"

#include <algorithm>
#include <cmath>

namespace collapipe
{

using namespace ns3;

namespace
{

double
Dbm(double watts)
{
    return 10 * std::log10(watts * 1e3);
}

} // namespace

struct LteCell::Cell
{
    struct Ue
    {
        uint32_t node;
        Ptr<LteUeNetDevice> device;
        Ipv4Address address;
        RadioLink* up;
        RadioLink* down;
    };

    LteMeter meter;
    uint32_t server{0};
    Ptr<LteHelper> lte{};
    Ptr<PointToPointEpcHelper> epc{};
    Ptr<LteEnbNetDevice> enb{};
    Ipv4Address address{};
    std::deque<Ue> ues{};
};

LteCell::LteCell(Ptr<Node> server,
                 const std::vector<Ptr<Node>>& ues,
                 const LteSettings& settings,
                 Ptr<PairChannel> channel,
                 const std::string& serverName,
                 Records& records)
    : m_cell(new Cell{{settings.resourceBlocks, records}})
{
    auto& cell = *m_cell;
    cell.server = server->GetId();
    cell.lte = CreateObject<LteHelper>();
    cell.epc = CreateObject<PointToPointEpcHelper>();
    cell.lte->SetEpcHelper(cell.epc);
    cell.lte->SetEnbDeviceAttribute("DlBandwidth", UintegerValue(settings.resourceBlocks));
    cell.lte->SetEnbDeviceAttribute("UlBandwidth", UintegerValue(settings.resourceBlocks));

    cell.lte->SetUeAntennaModelType("ns3::IsotropicAntennaModel");
    cell.lte->SetUeAntennaModelAttribute("Gain", DoubleValue(settings.ueAntennaDb));
    cell.lte->SetEnbAntennaModelType("ns3::IsotropicAntennaModel");
    cell.lte->SetEnbAntennaModelAttribute("Gain", DoubleValue(settings.enbAntennaDb));

    PointToPointHelper backhaul;
    backhaul.SetDeviceAttribute("DataRate", StringValue("100Gb/s"));
    backhaul.SetChannelAttribute("Delay", StringValue("0s"));
    const auto ends = backhaul.Install(cell.epc->GetPgwNode(), server);
    const auto interfaces = Ipv4AddressHelper("1.0.0.0", "255.0.0.0").Assign(ends);
    cell.address = interfaces.GetAddress(1);
    Ipv4StaticRoutingHelper routing;
    routing.GetStaticRouting(server->GetObject<Ipv4>())
        ->AddNetworkRouteTo("7.0.0.0", "255.0.0.0", interfaces.GetAddress(0), interfaces.Get(1).second);

    const auto station = CreateObject<Node>();
    const auto place = CreateObject<HierarchicalMobilityModel>(); // moves with the server
    place->SetParent(server->GetObject<MobilityModel>());
    place->SetChild(CreateObject<ConstantPositionMobilityModel>());
    station->AggregateObject(place);
    cell.enb = DynamicCast<LteEnbNetDevice>(cell.lte->InstallEnbDevice(station).Get(0));
    // One channel for both directions, instead of the two that the helper has made.
    channel->AddPlace(place, serverName);
    for (const auto& spectrum :
         {cell.lte->GetDownlinkSpectrumChannel(), cell.lte->GetUplinkSpectrumChannel()})
    {
        spectrum->SetAttribute("PropagationLossModel", PointerValue(channel));
    }
    cell.meter.Watch(cell.enb, cell.server);

    NetDeviceContainer terminals;
    for (const auto& node : ues)
    {
        const auto installed = cell.lte->InstallUeDevice(node);
        terminals.Add(installed);
        const auto device = DynamicCast<LteUeNetDevice>(installed.Get(0));
        const auto address = cell.epc->AssignUeIpv4Address(installed).GetAddress(0);
        const auto ipv4 = node->GetObject<Ipv4>();
        routing.GetStaticRouting(ipv4)->SetDefaultRoute(cell.epc->GetUeDefaultGatewayAddress(),
                                                        ipv4->GetInterfaceForDevice(device));
        auto& up = records.links.emplace_back(RadioLink{node->GetId(), cell.server, {}});
        auto& down = records.links.emplace_back(RadioLink{cell.server, node->GetId(), {}});
        cell.ues.push_back({node->GetId(), device, address, &up, &down});
        cell.meter.Watch(device, node->GetId(), up, down);
        cell.lte->Attach(installed, cell.enb);
    }
    cell.lte->AssignStreams(NetDeviceContainer(cell.enb), StreamNumber("lte station"));
    cell.lte->AssignStreams(terminals, StreamNumber("lte terminals"));
}

LteCell::~LteCell() = default;

bool
LteCell::Attached() const
{
    const auto& ues = m_cell->ues;
    return std::all_of(ues.begin(), ues.end(), [](const auto& ue) {
        return ue.device->GetRrc()->GetState() == LteUeRrc::CONNECTED_NORMALLY &&
               ue.up->measured >= 0 && ue.down->measured >= 0;
    });
}

RadioLink*
LteCell::Link(uint32_t src, uint32_t dst)
{
    for (auto& ue : m_cell->ues)
    {
        if (src == ue.node && dst == m_cell->server)
        {
            return ue.up;
        }
        if (src == m_cell->server && dst == ue.node)
        {
            return ue.down;
        }
    }
    return nullptr;
}

Ipv4Address
LteCell::Address(uint32_t node) const
{
    for (const auto& ue : m_cell->ues)
    {
        if (ue.node == node)
        {
            return ue.address;
        }
    }
    return m_cell->address;
}

Ptr<SpectrumChannel>
LteCell::Channel(bool uplink) const
{
    return uplink ? m_cell->lte->GetUplinkSpectrumChannel()
                  : m_cell->lte->GetDownlinkSpectrumChannel();
}

double
LteCell::CentreHz(bool uplink) const
{
    return LteSpectrumValueHelper::GetCarrierFrequency(uplink ? m_cell->enb->GetUlEarfcn()
                                                              : m_cell->enb->GetDlEarfcn());
}

void
LteCell::SetTxPower(uint32_t node, double watts)
{
    m_cell->meter.SetTxPower(node, watts);
    if (node == m_cell->server)
    {
        m_cell->enb->GetPhy()->SetTxPower(Dbm(watts));
        return;
    }
    for (auto& ue : m_cell->ues)
    {
        if (ue.node == node)
        {
            const auto phy = ue.device->GetPhy();
            phy->SetAttribute("EnableUplinkPowerControl", BooleanValue(false));
            phy->SetTxPower(Dbm(watts));
        }
    }
}

void
LteCell::SetMaxTxPower(uint32_t node, double watts)
{
    for (auto& ue : m_cell->ues)
    {
        if (ue.node == node)
        {
            ue.device->GetPhy()->GetUplinkPowerControl()->SetPcmax(Dbm(watts));
        }
    }
}

} // namespace collapipe
