#include "ofdma-net-device.h"

#include "ns3/error-model.h"
#include "ns3/node.h"
#include "ns3/queue.h"
#include "ns3/simple-channel.h"
#include "ns3/uinteger.h"

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(OfdmaNetDevice);

TypeId
OfdmaNetDevice::GetTypeId()
{
    static TypeId tid =
        TypeId("collapipe::OfdmaNetDevice")
            .SetParent<SimpleNetDevice>()
            .SetGroupName("Collapipe")
            .AddConstructor<OfdmaNetDevice>()
            .AddAttribute("QueueBytes",
                          "Capacity of a link's queue, including data in flight; further "
                          "packets are dropped.",
                          UintegerValue(1 << 20),
                          MakeUintegerAccessor(&OfdmaNetDevice::m_queueBytes),
                          MakeUintegerChecker<uint32_t>(1500))
            .AddTraceSource("MacTx",
                            "A packet from the upper layer, to be sent.",
                            MakeTraceSourceAccessor(&OfdmaNetDevice::m_macTx),
                            "ns3::Packet::TracedCallback")
            .AddTraceSource("MacTxDrop",
                            "A packet for which the queue was full, or for which there is no link.",
                            MakeTraceSourceAccessor(&OfdmaNetDevice::m_macTxDrop),
                            "ns3::Packet::TracedCallback")
            .AddTraceSource("MacRx",
                            "A packet that has arrived, for the upper layer.",
                            MakeTraceSourceAccessor(&OfdmaNetDevice::m_macRx),
                            "ns3::Packet::TracedCallback")
            .AddTraceSource("MacRxDrop",
                            "A packet of which some bytes did not arrive.",
                            MakeTraceSourceAccessor(&OfdmaNetDevice::m_macRxDrop),
                            "ns3::Packet::TracedCallback");
    return tid;
}

OfdmaNetDevice::OfdmaNetDevice()
{
    SetMtu(1500);
    SetAddress(Mac48Address::Allocate());
}

void
OfdmaNetDevice::DoDispose()
{
    m_radio = nullptr;
    m_links.clear();
    SimpleNetDevice::DoDispose();
}

void
OfdmaNetDevice::AddLink(Ptr<OfdmaRadio> radio, Mac48Address to, OfdmaLink& link)
{
    m_radio = radio;
    m_links[to] = &link;
}

bool
OfdmaNetDevice::Send(Ptr<Packet> packet, const Address& to, uint16_t protocol)
{
    m_macTx(packet);
    const auto link = m_links.find(Mac48Address::ConvertFrom(to));
    if (link == m_links.end() ||
        link->second->queue.Unresolved() + packet->GetSize() > m_queueBytes)
    {
        m_macTxDrop(packet);
        return false;
    }
    OfdmaItem item;
    item.packet = packet;
    item.protocol = protocol;
    m_radio->Push(*link->second, std::move(item), packet->GetSize() + HEADER_BYTES);
    return true;
}

bool
OfdmaNetDevice::SendFrom(Ptr<Packet> packet, const Address&, const Address& to, uint16_t protocol)
{
    return Send(packet, to, protocol);
}

bool
OfdmaNetDevice::SupportsSendFrom() const
{
    return false;
}

void
OfdmaNetDevice::Left(const OfdmaItem& item, Mac48Address from)
{
    if (!item.lost.empty())
    {
        m_macRxDrop(item.packet);
        return;
    }
    m_macRx(item.packet);
    Receive(item.packet, item.protocol, Mac48Address::ConvertFrom(GetAddress()), from);
}

} // namespace collapipe
