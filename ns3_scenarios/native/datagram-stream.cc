#include "datagram-stream.h"

#include "ns3/inet-socket-address.h"
#include "ns3/udp-socket-factory.h"

#include <algorithm>

namespace collapipe
{

using namespace ns3;

namespace
{
constexpr uint64_t DATAGRAM_BYTES = 1500 - 20 - 8; // after the headers of IP and UDP
constexpr uint64_t WINDOW_BYTES = 256 * 1024;
} // namespace

DatagramStream::DatagramStream(Ptr<Node> src,
                               Ptr<Node> dst,
                               Ipv4Address to,
                               uint16_t port,
                               Ptr<OfdmaNetDevice> receiver,
                               RadioLink& link,
                               SimClock& clock,
                               EndedTransfers& ended)
    : Stream(link, clock, ended),
      m_device(receiver)
{
    m_receiver = Socket::CreateSocket(dst, UdpSocketFactory::GetTypeId());
    m_receiver->Bind(InetSocketAddress(Ipv4Address::GetAny(), port));
    m_receiver->SetRecvCallback(MakeCallback(&DatagramStream::Arrived, this));
    m_sender = Socket::CreateSocket(src, UdpSocketFactory::GetTypeId());
    m_sender->Bind();
    m_sender->Connect(InetSocketAddress(to, port));
    m_device->TraceConnectWithoutContext("MacRxDrop", MakeCallback(&DatagramStream::Dropped, this));
}

DatagramStream::~DatagramStream()
{
    m_device->TraceDisconnectWithoutContext("MacRxDrop",
                                            MakeCallback(&DatagramStream::Dropped, this));
    m_receiver->SetRecvCallback(MakeNullCallback<void, Ptr<Socket>>());
}

void
DatagramStream::Send(uint64_t id, uint64_t size)
{
    Begin(id);
    m_messages.push_back({id, size});
    SetBusy(true);
    Fill();
}

void
DatagramStream::Cut(uint64_t id)
{
    const auto message = std::find_if(m_messages.begin(), m_messages.end(), [id](const auto& m) {
        return m.id == id;
    });
    if (message == m_messages.end())
    {
        return;
    }
    // Data in flight still arrives, and is ignored.
    auto lost = message->lost;
    lost.push_back({message->passed, message->size});
    End(id, message->size, Ended::CUT, lost, message->skipped);
    m_messages.erase(message);
    SetBusy(!m_messages.empty());
    Fill();
}

Progress
DatagramStream::Head() const
{
    if (m_messages.empty())
    {
        return {};
    }
    const auto& head = m_messages.front();
    return {head.id,
            head.passed,
            head.size - head.sent,
            head.lostBytes,
            head.lost.size(),
            DATAGRAM_BYTES,
            m_link.underWay.at(head.id)};
}

/// Data in flight then belongs to later bytes than before, as all datagrams are alike.
void
DatagramStream::Skip(const Extrapolated& skipped)
{
    auto& head = m_messages.front();
    for (const auto& range : skipped.lost)
    {
        head.Lose({head.passed + range.begin, head.passed + range.end});
    }
    head.passed += skipped.bytes;
    head.sent += skipped.bytes;
    head.skipped += skipped.bytes;
    m_link.underWay.at(head.id).Add(skipped.account);
}

void
DatagramStream::Fill()
{
    for (auto& message : m_messages)
    {
        while (message.sent < message.size && m_onTheWay < WINDOW_BYTES)
        {
            const auto size = std::min(DATAGRAM_BYTES, message.size - message.sent);
            const auto packet = Create<Packet>(size);
            packet->AddByteTag(TransferTag(message.id));
            m_datagrams.push_back({packet->GetUid(), message.id, size});
            m_onTheWay += size;
            message.sent += size;
            m_sender->Send(packet);
        }
    }
}

void
DatagramStream::Arrived(Ptr<Socket> socket)
{
    while (socket->Recv())
    {
        Passed(true);
    }
}

void
DatagramStream::Dropped(Ptr<const Packet> packet)
{
    if (!m_datagrams.empty() && m_datagrams.front().packet == packet->GetUid())
    {
        Passed(false);
    }
}

/// The first of the datagrams in flight has arrived, or was dropped.
void
DatagramStream::Passed(bool arrived)
{
    const auto datagram = m_datagrams.front();
    m_datagrams.pop_front();
    m_onTheWay -= datagram.size;
    if (!m_messages.empty() && m_messages.front().id == datagram.message)
    {
        auto& message = m_messages.front();
        const ByteRange bytes{message.passed, message.passed + datagram.size};
        message.passed = bytes.end;
        if (!arrived)
        {
            message.Lose(bytes);
        }
        if (message.passed == message.size)
        {
            End(message.id,
                message.size,
                message.lost.empty() ? Ended::DELIVERED : Ended::LOST,
                message.lost,
                message.skipped);
            m_messages.pop_front();
            SetBusy(!m_messages.empty());
        }
    }
    Fill();
}

} // namespace collapipe
