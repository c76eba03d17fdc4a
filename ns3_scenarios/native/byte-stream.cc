#include "byte-stream.h"

#include "ns3/inet-socket-address.h"
#include "ns3/packet.h"
#include "ns3/simulator.h"
#include "ns3/tcp-header.h"
#include "ns3/tcp-socket-base.h"
#include "ns3/tcp-socket-factory.h"

#include <algorithm>
#include <limits>

namespace collapipe
{

using namespace ns3;

namespace
{

// Socket::Close() would first send what is buffered; TCP's abort (RFC 9293, 3.10.5) is not public.
struct Aborting : TcpSocketBase
{
    static void Abort(TcpSocketBase& socket)
    {
        (socket.*(&Aborting::SendRST))();
    }
};

void
Detach(const Ptr<Socket>& socket)
{
    socket->SetConnectCallback(MakeNullCallback<void, Ptr<Socket>>(),
                               MakeNullCallback<void, Ptr<Socket>>());
    socket->SetCloseCallbacks(MakeNullCallback<void, Ptr<Socket>>(),
                              MakeNullCallback<void, Ptr<Socket>>());
    socket->SetSendCallback(MakeNullCallback<void, Ptr<Socket>, uint32_t>());
    socket->SetRecvCallback(MakeNullCallback<void, Ptr<Socket>>());
}

// A segment's position is found by 32-bit sequence numbers, which wrap around.
constexpr uint64_t FIRST_DATA_BYTE = 1; // the SYN takes 0
constexpr uint64_t NOBODY = std::numeric_limits<uint64_t>::max(); // instead of a transfer

} // namespace

ByteStream::ByteStream(Ptr<Node> src,
                       Ptr<Node> dst,
                       Ipv4Address to,
                       uint16_t port,
                       RadioLink& link,
                       SimClock& clock,
                       EndedTransfers& ended)
    : Stream(link, clock, ended),
      m_src(src),
      m_dst(dst),
      m_to(InetSocketAddress(to, port))
{
    m_listener = Socket::CreateSocket(m_dst, TcpSocketFactory::GetTypeId());
    m_listener->Bind(InetSocketAddress(Ipv4Address::GetAny(), port));
    m_listener->Listen();
    m_listener->SetAcceptCallback(MakeNullCallback<bool, Ptr<Socket>, const Address&>(),
                                  MakeCallback(&ByteStream::Accepted, this));
}

ByteStream::~ByteStream()
{
    m_listener->SetAcceptCallback(MakeNullCallback<bool, Ptr<Socket>, const Address&>(),
                                  MakeNullCallback<void, Ptr<Socket>, const Address&>());
    Abandon(false);
}

void
ByteStream::Send(uint64_t id, uint64_t size)
{
    Begin(id);
    m_messages.push_back({id, size, m_asked});
    m_asked += size;
    SetBusy(true);
    if (!m_sender)
    {
        Connect();
    }
    else if (m_connected)
    {
        Fill(m_sender, m_sender->GetTxAvailable());
    }
}

void
ByteStream::Cut(uint64_t id)
{
    const auto message = std::find_if(m_messages.begin(), m_messages.end(), [id](const auto& m) {
        return m.id == id;
    });
    if (message == m_messages.end())
    {
        return;
    }
    if (message->begin < m_sent) // TCP has some of it already: only a new stream can leave it out
    {
        const auto delivered = std::clamp<int64_t>(
            static_cast<int64_t>(m_received) - static_cast<int64_t>(message->begin),
            0,
            message->size - message->skipped);
        EndMessage(*message, message->skipped + delivered, Ended::CUT);
        m_messages.erase(message);
        SetBusy(!m_messages.empty());
        Abandon(true);
        if (!m_messages.empty())
        {
            Connect();
        }
        return;
    }
    EndMessage(*message, 0, Ended::CUT);
    m_asked -= message->size;
    for (auto later = std::next(message); later != m_messages.end(); ++later)
    {
        later->begin -= message->size;
    }
    m_messages.erase(message);
    SetBusy(!m_messages.empty());
}

Progress
ByteStream::Head() const
{
    if (m_messages.empty())
    {
        return {};
    }
    const auto& head = m_messages.front();
    const auto unsent = m_connected ? head.End() - std::min(m_sent, head.End()) : 0;
    return {head.id, m_received, unsent, 0, 0, 1, m_link.underWay.at(head.id)};
}

/// Data in flight then belongs to later bytes than before, as all data of the stream is alike.
void
ByteStream::Skip(const Extrapolated& skipped)
{
    auto& head = m_messages.front();
    head.skipped += skipped.bytes;
    m_link.underWay.at(head.id).Add(skipped.account);
    m_asked -= skipped.bytes;
    for (auto later = std::next(m_messages.begin()); later != m_messages.end(); ++later)
    {
        later->begin -= skipped.bytes;
    }
}

void
ByteStream::Connect()
{
    m_asked = m_sent = m_received = 0;
    for (auto& message : m_messages)
    {
        message.begin = m_asked;
        message.skipped = 0;
        m_asked += message.size;
    }
    m_sender = Socket::CreateSocket(m_src, TcpSocketFactory::GetTypeId());
    m_sender->Bind();
    m_sender->SetConnectCallback(MakeCallback(&ByteStream::Connected, this),
                                 MakeCallback(&ByteStream::Broken, this));
    m_sender->SetCloseCallbacks(MakeCallback(&ByteStream::Broken, this),
                                MakeCallback(&ByteStream::Broken, this));
    m_sender->SetSendCallback(MakeCallback(&ByteStream::Fill, this));
    m_sender->TraceConnectWithoutContext("Tx", MakeCallback(&ByteStream::Sent, this));
    m_sender->TraceConnectWithoutContext("Retransmission",
                                         MakeCallback(&ByteStream::SentAgain, this));
    if (m_sender->Connect(m_to) != 0)
    {
        Broken(m_sender);
    }
}

void
ByteStream::Abandon(bool abort)
{
    if (m_receiver)
    {
        Detach(m_receiver); // data in flight still reaches TCP, but is not read
        m_receiver = nullptr;
    }
    if (m_sender)
    {
        Detach(m_sender);
        m_sender->TraceDisconnectWithoutContext("Tx", MakeCallback(&ByteStream::Sent, this));
        m_sender->TraceDisconnectWithoutContext("Retransmission",
                                                MakeCallback(&ByteStream::SentAgain, this));
        if (abort)
        {
            Aborting::Abort(*DynamicCast<TcpSocketBase>(m_sender));
        }
        m_sender = nullptr;
    }
    m_connected = false;
}

void
ByteStream::Connected(Ptr<Socket> socket)
{
    m_connected = true;
    Fill(socket, socket->GetTxAvailable());
}

void
ByteStream::Broken(Ptr<Socket> socket)
{
    // When the socket's function has returned, as it may not be deleted before.
    Simulator::ScheduleNow([this, socket] {
        if (socket == m_sender)
        {
            const bool connected = m_connected;
            Abandon(false);
            EndHead(connected ? Ended::LOST : Ended::REFUSED);
        }
    });
}

void
ByteStream::Fill(Ptr<Socket> socket, uint32_t)
{
    while (m_connected && m_sent < m_asked)
    {
        const auto size = std::min<uint64_t>(m_asked - m_sent, socket->GetTxAvailable());
        m_sent += size; // before the call, as TCP sends immediately
        if (size == 0 || socket->Send(Create<Packet>(size), 0) < 0)
        {
            m_sent -= size;
            return; // Fill() is called again when there is room
        }
    }
}

void
ByteStream::Accepted(Ptr<Socket> socket, const Address& from)
{
    Address local;
    if (!m_sender || m_sender->GetSockName(local) != 0 ||
        InetSocketAddress::ConvertFrom(local).GetPort() !=
            InetSocketAddress::ConvertFrom(from).GetPort())
    {
        return; // the reply to a connection that has been given up
    }
    m_receiver = socket;
    m_receiver->SetRecvCallback(MakeCallback(&ByteStream::Read, this));
    Read(m_receiver);
}

void
ByteStream::Read(Ptr<Socket> socket)
{
    while (auto packet = socket->Recv())
    {
        if (packet->GetSize() == 0)
        {
            break;
        }
        m_received += packet->GetSize();
    }
    while (!m_messages.empty() && m_received >= m_messages.front().End())
    {
        EndMessage(m_messages.front(), m_messages.front().size, Ended::DELIVERED);
        m_messages.pop_front();
        SetBusy(!m_messages.empty());
    }
}

/// Marks the bytes of a segment when TCP sends it. If they were marked earlier, packets that TCP
/// splits and merges in its buffers would accumulate marks.
void
ByteStream::Sent(Ptr<const Packet> segment, const TcpHeader& header, Ptr<const TcpSocketBase>)
{
    // The 64-bit position that is nearest to m_sent and has these lower 32 bits.
    const auto low = static_cast<uint32_t>(header.GetSequenceNumber().GetValue() - FIRST_DATA_BYTE);
    const auto begin = m_sent - static_cast<uint32_t>(static_cast<uint32_t>(m_sent) - low);
    const auto end = begin + segment->GetSize();
    auto marked = begin;
    const auto mark = [&](uint64_t until, uint64_t transfer) {
        until = std::min(until, end);
        if (marked < until)
        {
            segment->AddByteTag(TransferTag(transfer), marked - begin, until - begin);
            marked = until;
        }
    };
    auto message = std::partition_point(
        m_messages.begin(),
        m_messages.end(),
        [begin](const auto& other) { return other.End() <= begin; });
    for (; marked < end && message != m_messages.end(); ++message)
    {
        mark(message->begin, NOBODY); // everything before has been delivered
        mark(message->End(), message->id);
    }
}

void
ByteStream::SentAgain(Ptr<const Packet> segment,
                      const TcpHeader&,
                      const Address&,
                      const Address&,
                      Ptr<const TcpSocketBase>)
{
    Cargo cargo;
    cargo.Add(*segment, segment->GetSize());
    m_link.SentAgain(cargo);
}

void
ByteStream::EndHead(Ended::Outcome outcome)
{
    if (!m_messages.empty())
    {
        const auto& head = m_messages.front();
        const auto received = m_received > head.begin ? m_received - head.begin : 0;
        EndMessage(head, head.skipped + received, outcome);
        m_messages.pop_front();
        SetBusy(!m_messages.empty());
    }
    if (!m_messages.empty())
    {
        Connect();
    }
}

void
ByteStream::EndMessage(const Message& message, uint64_t delivered, Ended::Outcome outcome)
{
    std::vector<ByteRange> lost;
    if (delivered < message.size)
    {
        lost.push_back({delivered, message.size});
    }
    End(message.id, message.size, outcome, lost, message.skipped);
}

} // namespace collapipe
