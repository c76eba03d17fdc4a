#include "surroundings.h"

#include "ns3/inet-socket-address.h"
#include "ns3/packet.h"
#include "ns3/socket.h"
#include "ns3/spectrum-channel.h"
#include "ns3/udp-socket-factory.h"

#include <stdexcept>

namespace collapipe
{

using namespace ns3;

namespace
{

constexpr uint16_t DISCARD_PORT = 9; // RFC 863

void
Discard(Ptr<Socket> socket)
{
    while (socket->Recv())
    {
    }
}

} // namespace

Surroundings::Surroundings(const std::vector<Ptr<Node>>& nodes,
                           const std::unique_ptr<WifiCells>& wifi,
                           const std::unique_ptr<LteCell>& lte)
    : m_nodes(nodes),
      m_wifi(wifi),
      m_lte(lte)
{
}

void
Surroundings::AddJammer(uint32_t node,
                        const std::string& channel,
                        double offsetHz,
                        double bandwidthHz,
                        double watts,
                        const Pulses& pulses)
{
    Ptr<SpectrumChannel> jammed;
    double middle = offsetHz;
    if (channel == "wifi" && m_wifi)
    {
        jammed = m_wifi->Channel();
    }
    else if ((channel == "lte uplink" || channel == "lte downlink") && m_lte)
    {
        const bool uplink = channel == "lte uplink";
        jammed = m_lte->Channel(uplink);
        middle += m_lte->CentreHz(uplink);
    }
    else
    {
        throw std::invalid_argument("no spectrum channel " + channel);
    }
    m_jammers.push_back(std::make_unique<Jammer>(m_nodes.at(node),
                                                 jammed,
                                                 middle - bandwidthHz / 2,
                                                 middle + bandwidthHz / 2,
                                                 watts,
                                                 pulses));
}

void
Surroundings::AddWifiTraffic(uint32_t src,
                             uint32_t dst,
                             uint32_t bytes,
                             int64_t interval,
                             const Pulses& pulses)
{
    const auto receiver = Socket::CreateSocket(m_nodes.at(dst), UdpSocketFactory::GetTypeId());
    receiver->Bind(InetSocketAddress(Ipv4Address::GetAny(), DISCARD_PORT));
    receiver->SetRecvCallback(MakeCallback(&Discard));
    const auto sender = Socket::CreateSocket(m_nodes.at(src), UdpSocketFactory::GetTypeId());
    sender->Connect(InetSocketAddress(m_wifi->Address(dst), DISCARD_PORT));
    // The receiver exists as long as the sender does.
    const auto send = [sender, receiver, bytes] { sender->Send(Create<Packet>(bytes)); };
    m_traffic.push_back(
        std::make_unique<ConstantTraffic>(interval, pulses.on, pulses.off, send));
}

void
Surroundings::AddOfdmaTraffic(OfdmaCells& radio,
                              uint32_t src,
                              uint32_t dst,
                              uint32_t bytes,
                              int64_t interval,
                              const Pulses& pulses)
{
    const auto send = [&radio, src, dst, bytes] { radio.Load(src, dst, bytes); };
    m_traffic.push_back(
        std::make_unique<ConstantTraffic>(interval, pulses.on, pulses.off, send));
}

void
Surroundings::Start(int64_t runTime)
{
    for (const auto& jammer : m_jammers)
    {
        jammer->Start(runTime);
    }
    for (const auto& traffic : m_traffic)
    {
        traffic->Start(runTime);
    }
}

} // namespace collapipe
