#include "lte-cell.h"

#include "random-streams.h"

#include "ns3/boolean.h"
#include "ns3/constant-position-mobility-model.h"
#include "ns3/double.h"
#include "ns3/hierarchical-mobility-model.h"
#include "ns3/ipv4-address-helper.h"
#include "ns3/ipv4-static-routing-helper.h"
#include "ns3/ipv4.h"
#include "ns3/lte-amc.h"
#include "ns3/lte-chunk-processor.h"
#include "ns3/lte-common.h"
#include "ns3/lte-enb-net-device.h"
#include "ns3/lte-enb-phy.h"
#include "ns3/lte-helper.h"
#include "ns3/lte-spectrum-phy.h"
#include "ns3/lte-spectrum-value-helper.h"
#include "ns3/lte-ue-net-device.h"
#include "ns3/lte-ue-phy.h"
#include "ns3/lte-ue-power-control.h"
#include "ns3/lte-ue-rrc.h"
#include "ns3/net-device-container.h"
#include "ns3/packet-burst.h"
#include "ns3/point-to-point-epc-helper.h"
#include "ns3/point-to-point-helper.h"
#include "ns3/pointer.h"
#include "ns3/spectrum-channel.h"
#include "ns3/spectrum-value.h"
#include "ns3/string.h"
#include "ns3/uinteger.h"
#include "ns3/wifi-utils.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace collapipe
{

using namespace ns3;

namespace
{

constexpr double RB_HZ = 180e3;
constexpr double RE_HZ = 15e3; // a resource element; RSRP is a power per element
// The data part of a subframe as ns-3's PHYs have it: behind three control symbols in the
// downlink, before one for sounding in the uplink.
constexpr double DL_DATA_S = 785714e-9;
constexpr double UL_DATA_S = 928570e-9;
constexpr int64_t UL_GRANT_TTIS = 4; // from the grant's arrival to the transmission (PUSCH)

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
        Cell& cell;
        uint32_t node;
        Ptr<LteUeNetDevice> device;
        Ipv4Address address;
        RadioLink* up;
        RadioLink* down;
        double dataPower{0};                              // W
        double soundingPower{0};
        std::deque<std::pair<int64_t, std::size_t>> grants{}; // (ms when due, resource blocks)

        /// What the open loop has the PHY send at.
        void DataPower(uint16_t, uint16_t, double dbm)
        {
            dataPower = DbmToW(dBm_u{dbm});
        }

        void SoundingPower(uint16_t, uint16_t, double dbm)
        {
            soundingPower = DbmToW(dBm_u{dbm});
        }

        void Granted(uint16_t, const std::vector<int>& blocks)
        {
            grants.emplace_back(Simulator::Now().GetMilliSeconds() + UL_GRANT_TTIS, blocks.size());
        }

        void TxStart(Ptr<const PacketBurst> burst)
        {
            std::size_t blocks = 0;
            while (!grants.empty() && grants.front().first <= Simulator::Now().GetMilliSeconds())
            {
                blocks = grants.front().second;
                grants.pop_front();
            }
            if (!burst)
            {
                return; // control alone, which ns-3 sends over no bandwidth at all
            }
            up->Sent(UL_DATA_S, dataPower, blocks * RB_HZ);
            cell.usage[node].txAirtime += UL_DATA_S;
            cell.usage[node].txEnergy += UL_DATA_S * dataPower;
        }

        void DlReception(PhyReceptionStatParameters)
        {
            down->Received(DL_DATA_S, down->sinr);
            cell.usage[node].rxAirtime += DL_DATA_S;
        }

        /// Every subframe, measured on the reference signals.
        void DlMeasured(uint16_t, uint16_t, double rsrp, double sinr, uint8_t)
        {
            const auto hertz = cell.blocks * RB_HZ;
            const auto density = rsrp / RE_HZ;
            const auto gain = density * hertz / cell.txPower;
            down->Measured(gain, density / sinr, cell.txPower, hertz, cell.clock.Now());
        }
    };

    SimClock& clock;
    std::vector<RadioUsage>& usage;
    uint32_t blocks;
    uint32_t server{0};
    Ptr<LteHelper> lte{};
    Ptr<PointToPointEpcHelper> epc{};
    Ptr<LteEnbNetDevice> enb{};
    Ipv4Address address{};
    double txPower{0};      // W
    double interference{0}; // W/Hz at the station, noise included
    std::deque<Ue> ues{};
    std::map<uint16_t, Ue*> byRnti{};
    std::map<std::pair<int, int>, uint32_t> blocksOf{}; // by (MCS, bytes of a transport block)
    int64_t lastTx{-1};
    int64_t lastRx{-1};

    Ue* Find(uint16_t rnti)
    {
        if (byRnti.size() < ues.size()) // known once attached
        {
            byRnti.clear();
            for (auto& ue : ues)
            {
                byRnti[ue.device->GetRrc()->GetRnti()] = &ue;
            }
        }
        const auto found = byRnti.find(rnti);
        return found == byRnti.end() ? nullptr : found->second;
    }

    void DlSent(PhyTransmissionStatParameters block)
    {
        const auto found = blocksOf.find({block.m_mcs, block.m_size});
        const auto used = found == blocksOf.end() ? blocks : found->second;
        const auto watts = txPower * used / blocks; // the station's power is even over the band
        if (auto* ue = Find(block.m_rnti))
        {
            ue->down->Sent(DL_DATA_S, watts, used * RB_HZ);
        }
        if (lastTx != block.m_timestamp) // one subframe may carry blocks for many
        {
            lastTx = block.m_timestamp;
            usage[server].txAirtime += DL_DATA_S;
        }
        usage[server].txEnergy += DL_DATA_S * watts;
    }

    void UlReceived(PhyReceptionStatParameters block)
    {
        if (auto* ue = Find(block.m_rnti))
        {
            ue->up->Received(UL_DATA_S, ue->up->sinr);
        }
        if (lastRx != block.m_timestamp)
        {
            lastRx = block.m_timestamp;
            usage[server].rxAirtime += UL_DATA_S;
        }
    }

    /// During each sounding reference signal, just before what it shows.
    void Interference(const SpectrumValue& density)
    {
        interference = Sum(density) / density.GetValuesN();
    }

    /// From the sounding reference signals, which go out over the whole band.
    void UlMeasured(uint16_t, uint16_t rnti, double sinr, uint8_t)
    {
        auto* ue = Find(rnti);
        if (!ue)
        {
            return;
        }
        const auto hertz = blocks * RB_HZ;
        const auto gain = sinr * interference * hertz / ue->soundingPower;
        ue->up->Measured(gain, interference, ue->soundingPower, hertz, clock.Now());
    }
};

LteCell::LteCell(Ptr<Node> server,
                 const std::vector<Ptr<Node>>& ues,
                 uint8_t resourceBlocks,
                 Ptr<PairChannel> channel,
                 const std::string& serverName,
                 double ueAntennaDb,
                 double enbAntennaDb,
                 SimClock& clock,
                 std::deque<RadioLink>& links,
                 std::vector<RadioUsage>& usage)
    : m_cell(new Cell{clock, usage, resourceBlocks})
{
    auto& cell = *m_cell;
    cell.server = server->GetId();
    cell.lte = CreateObject<LteHelper>();
    cell.epc = CreateObject<PointToPointEpcHelper>();
    cell.lte->SetEpcHelper(cell.epc);
    cell.lte->SetEnbDeviceAttribute("DlBandwidth", UintegerValue(resourceBlocks));
    cell.lte->SetEnbDeviceAttribute("UlBandwidth", UintegerValue(resourceBlocks));

    cell.lte->SetUeAntennaModelType("ns3::IsotropicAntennaModel");
    cell.lte->SetUeAntennaModelAttribute("Gain", DoubleValue(ueAntennaDb));
    cell.lte->SetEnbAntennaModelType("ns3::IsotropicAntennaModel");
    cell.lte->SetEnbAntennaModelAttribute("Gain", DoubleValue(enbAntennaDb));

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
    const auto place = CreateObject<HierarchicalMobilityModel>(); // wherever the server is
    place->SetParent(server->GetObject<MobilityModel>());
    place->SetChild(CreateObject<ConstantPositionMobilityModel>());
    station->AggregateObject(place);
    cell.enb = DynamicCast<LteEnbNetDevice>(cell.lte->InstallEnbDevice(station).Get(0));
    // One channel both ways, in place of the two that the helper has made by now.
    channel->AddPlace(place, serverName);
    for (const auto& spectrum :
         {cell.lte->GetDownlinkSpectrumChannel(), cell.lte->GetUplinkSpectrumChannel()})
    {
        spectrum->SetAttribute("PropagationLossModel", PointerValue(channel));
    }
    const auto phy = cell.enb->GetPhy();
    phy->TraceConnectWithoutContext("DlPhyTransmission", MakeCallback(&Cell::DlSent, m_cell.get()));
    const auto interference = Create<LteChunkProcessor>();
    interference->AddCallback(MakeCallback(&Cell::Interference, m_cell.get()));
    phy->GetUplinkSpectrumPhy()->AddInterferenceCtrlChunkProcessor(interference);
    phy->TraceConnectWithoutContext("ReportUeSinr", MakeCallback(&Cell::UlMeasured, m_cell.get()));
    phy->GetUplinkSpectrumPhy()->TraceConnectWithoutContext(
        "UlPhyReception",
        MakeCallback(&Cell::UlReceived, m_cell.get()));

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
        links.push_back({node->GetId(), cell.server, {}});
        auto& up = links.back();
        links.push_back({cell.server, node->GetId(), {}});
        auto& down = links.back();
        auto& ue = cell.ues.emplace_back(Cell::Ue{cell, node->GetId(), device, address, &up, &down});
        const auto uePhy = device->GetPhy();
        uePhy->TraceConnectWithoutContext("ReportUlPhyResourceBlocks",
                                          MakeCallback(&Cell::Ue::Granted, &ue));
        uePhy->TraceConnectWithoutContext("ReportCurrentCellRsrpSinr",
                                          MakeCallback(&Cell::Ue::DlMeasured, &ue));
        const auto control = uePhy->GetUplinkPowerControl();
        control->TraceConnectWithoutContext("ReportPuschTxPower",
                                            MakeCallback(&Cell::Ue::DataPower, &ue));
        control->TraceConnectWithoutContext("ReportSrsTxPower",
                                            MakeCallback(&Cell::Ue::SoundingPower, &ue));
        uePhy->GetUplinkSpectrumPhy()->TraceConnectWithoutContext(
            "TxStart",
            MakeCallback(&Cell::Ue::TxStart, &ue));
        uePhy->GetDownlinkSpectrumPhy()->TraceConnectWithoutContext(
            "DlPhyReception",
            MakeCallback(&Cell::Ue::DlReception, &ue));
        cell.lte->Attach(installed, cell.enb);
    }
    cell.lte->AssignStreams(NetDeviceContainer(cell.enb), StreamNumber("lte station"));
    cell.lte->AssignStreams(terminals, StreamNumber("lte terminals"));
    LteAmc amc;
    for (int mcs = 0; mcs <= 28; ++mcs)
    {
        for (int used = 1; used <= resourceBlocks; ++used)
        {
            cell.blocksOf.emplace(std::pair(mcs, amc.GetDlTbSizeFromMcs(mcs, used) / 8), used);
        }
    }
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
    if (node == m_cell->server)
    {
        m_cell->txPower = watts;
        m_cell->enb->GetPhy()->SetTxPower(Dbm(watts));
        return;
    }
    for (auto& ue : m_cell->ues)
    {
        if (ue.node == node)
        {
            ue.dataPower = ue.soundingPower = watts;
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
