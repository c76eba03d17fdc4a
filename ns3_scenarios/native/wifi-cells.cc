#include "wifi-cells.h"

#include "random-streams.h"

#include "ns3/adhoc-wifi-mac.h"
#include "ns3/ipv4-address-helper.h"
#include "ns3/multi-model-spectrum-channel.h"
#include "ns3/net-device-container.h"
#include "ns3/node-container.h"
#include "ns3/propagation-delay-model.h"
#include "ns3/spectrum-wifi-helper.h"
#include "ns3/string.h"
#include "ns3/wifi-helper.h"
#include "ns3/wifi-mac-helper.h"
#include "ns3/wifi-net-device.h"
#include "ns3/wifi-phy-state-helper.h"
#include "ns3/wifi-phy.h"
#include "ns3/wifi-ppdu.h"
#include "ns3/wifi-psdu.h"
#include "ns3/wifi-utils.h"

#include <algorithm>
#include <cmath>

namespace collapipe
{

using namespace ns3;

struct WifiCells::Radio
{
    WifiCells& cells;
    uint32_t node;
    Ptr<WifiPhy> phy;
    Ipv4Address address;
    std::map<Mac48Address, RadioLink*> to; // by receiver
    double txPower{0};                     // W

    /// The PHY announces a frame before its state changes, and only the state change has its
    /// duration.
    RadioLink* announced{nullptr};
    double announcedPower{0};
    double announcedBandwidth{0};
    Cargo cargo{}; // of the frame announced last

    void TxBegin(WifiConstPsduMap psdus, WifiTxVector vector, double watts)
    {
        const auto& psdu = psdus.begin()->second;
        const auto link = to.find(psdu->GetAddr1());
        const bool data = psdu->GetHeader(0).IsData();
        announced = data && link != to.end() ? link->second : nullptr;
        announcedPower = watts;
        announcedBandwidth = MHzToHz(vector.GetChannelWidth());
        cargo.Clear();
        for (std::size_t i = 0; announced && i < psdu->GetNMpdus(); ++i)
        {
            cargo.Add(*psdu->GetPayload(i), psdu->GetPayload(i)->GetSize());
        }
    }

    void State(Time, Time duration, WifiPhyState state)
    {
        const auto seconds = duration.GetSeconds();
        auto& usage = cells.m_usage[node];
        if (state == WifiPhyState::TX)
        {
            usage.txAirtime += seconds;
            usage.txEnergy += seconds * announcedPower;
            if (announced)
            {
                announced->Sent(seconds, announcedPower, announcedBandwidth, cargo);
            }
        }
        else if (state == WifiPhyState::RX)
        {
            usage.rxAirtime += seconds;
        }
    }

    /// The preamble and header of a frame, which ns-3's state RX doesn't include: it is the payload
    /// alone, while TX is the whole frame.
    void RxPayloadBegin(WifiTxVector vector, Time)
    {
        const auto before = WifiPhy::CalculatePhyPreambleAndHeaderDuration(vector);
        cells.m_usage[node].rxAirtime += before.GetSeconds();
    }

    /// Called for each frame, whoever it is for; its SINR includes interference.
    void RxOutcome(Ptr<const WifiPpdu> ppdu,
                   RxSignalInfo signal,
                   const WifiTxVector& vector,
                   const std::vector<bool>& arrived)
    {
        const auto psdu = ppdu->GetPsdu();
        if (psdu->GetAddr1() != phy->GetDevice()->GetAddress() || !psdu->GetHeader(0).IsData() ||
            std::find(arrived.begin(), arrived.end(), true) == arrived.end())
        {
            return; // ns-3 leaves the signal undefined if nothing could be decoded
        }
        const auto sender = cells.m_byMac.find(psdu->GetAddr2());
        if (sender == cells.m_byMac.end())
        {
            return;
        }
        auto& link = *cells.Link(sender->second->node, node);
        const auto received = DbmToW(signal.rssi);
        const auto watts = sender->second->txPower;
        const auto hertz = MHzToHz(vector.GetChannelWidth());
        const auto density = received / signal.snr / hertz;
        link.Measured(received / watts, density, watts, hertz, cells.m_clock.Now());
        // The sender has not started another frame yet, as this one was received just now.
        link.Received(ppdu->GetTxDuration().GetSeconds(), signal.snr, sender->second->cargo);
    }
};

WifiCells::WifiCells(Ptr<PropagationLossModel> loss, Records& records)
    : m_clock(records.clock),
      m_links(records.links),
      m_usage(records.usage)
{
    m_channel = CreateObject<MultiModelSpectrumChannel>();
    m_channel->AddPropagationLossModel(loss);
    m_channel->SetPropagationDelayModel(CreateObject<ConstantSpeedPropagationDelayModel>());
}

WifiCells::~WifiCells() = default;

void
WifiCells::AddCell(const std::vector<Ptr<Node>>& nodes, const std::string& channel)
{
    WifiHelper wifi;
    wifi.SetStandard(WIFI_STANDARD_80211ax);
    wifi.SetRemoteStationManager("ns3::IdealWifiManager");
    SpectrumWifiPhyHelper phy;
    phy.SetChannel(m_channel);
    phy.Set("ChannelSettings", StringValue(channel));
    WifiMacHelper mac;
    mac.SetType("ns3::AdhocWifiMac");
    NodeContainer container;
    for (const auto& node : nodes)
    {
        container.Add(node);
    }
    const auto devices = wifi.Install(phy, mac, container);
    // Named, so that backoff is drawn independently of other nodes.
    WifiHelper::AssignStreams(devices, StreamNumber("wifi cell " + std::to_string(m_cells)));
    Ipv4AddressHelper addresses(Ipv4Address((10U << 24) + (++m_cells << 8)), "255.255.255.0");
    const auto interfaces = addresses.Assign(devices);

    std::vector<Radio*> cell;
    for (uint32_t i = 0; i < devices.GetN(); ++i)
    {
        const auto device = DynamicCast<WifiNetDevice>(devices.Get(i));
        const auto node = device->GetNode()->GetId();
        auto& radio = m_radios[node];
        radio.reset(new Radio{*this, node, device->GetPhy(), interfaces.GetAddress(i), {}});
        m_byMac[device->GetMac()->GetAddress()] = radio.get();
        cell.push_back(radio.get());
        const auto state = radio->phy->GetState();
        radio->phy->TraceConnectWithoutContext("PhyTxPsduBegin",
                                               MakeCallback(&Radio::TxBegin, radio.get()));
        radio->phy->TraceConnectWithoutContext("PhyRxPayloadBegin",
                                               MakeCallback(&Radio::RxPayloadBegin, radio.get()));
        state->TraceConnectWithoutContext("State", MakeCallback(&Radio::State, radio.get()));
        state->TraceConnectWithoutContext("RxOutcome",
                                          MakeCallback(&Radio::RxOutcome, radio.get()));
    }
    for (auto* src : cell)
    {
        for (auto* dst : cell)
        {
            if (src != dst)
            {
                m_links.push_back({src->node, dst->node, {}});
                src->to[DynamicCast<WifiNetDevice>(dst->phy->GetDevice())->GetMac()->GetAddress()] =
                    &m_links.back();
            }
        }
    }
}

RadioLink*
WifiCells::Link(uint32_t src, uint32_t dst)
{
    const auto from = m_radios.find(src);
    const auto to = m_radios.find(dst);
    if (from == m_radios.end() || to == m_radios.end())
    {
        return nullptr;
    }
    const auto mac = DynamicCast<WifiNetDevice>(to->second->phy->GetDevice())->GetMac();
    const auto link = from->second->to.find(mac->GetAddress());
    return link == from->second->to.end() ? nullptr : link->second;
}

Ipv4Address
WifiCells::Address(uint32_t node) const
{
    return m_radios.at(node)->address;
}

Ptr<SpectrumChannel>
WifiCells::Channel() const
{
    return m_channel;
}

void
WifiCells::SetTxPower(uint32_t node, double watts)
{
    auto& radio = *m_radios.at(node);
    radio.txPower = watts;
    radio.phy->SetTxPowerStart(WToDbm(Watt_u{watts}));
    radio.phy->SetTxPowerEnd(WToDbm(Watt_u{watts}));
}

void
WifiCells::Switch(uint32_t node, bool on)
{
    const auto radio = m_radios.find(node);
    if (radio == m_radios.end() || radio->second->phy->IsStateOff() != on)
    {
        return;
    }
    if (on)
    {
        radio->second->phy->ResumeFromOff();
    }
    else
    {
        radio->second->phy->SetOffMode();
    }
}

} // namespace collapipe
