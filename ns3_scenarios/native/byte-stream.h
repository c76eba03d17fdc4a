#ifndef COLLAPIPE_BYTE_STREAM_H
#define COLLAPIPE_BYTE_STREAM_H

#include "stream.h"

#include "ns3/address.h"
#include "ns3/ipv4-address.h"
#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <deque>

namespace ns3
{
class Packet;
class Socket;
class TcpHeader;
class TcpSocketBase;
} // namespace ns3

namespace collapipe
{

/// The TCP connection of a directed pair, and the transfers that share it, in order.
///
/// The first transfer opens it. A transfer is a range of bytes of the stream, and ends when the
/// receiving application has read its last byte. If TCP gives up, the current transfer is lost; if
/// it is cut, the connection is aborted. The other transfers continue over a new connection.
class ByteStream : public Stream
{
  public:
    ByteStream(ns3::Ptr<ns3::Node> src,
               ns3::Ptr<ns3::Node> dst,
               ns3::Ipv4Address to,
               uint16_t port,
               RadioLink& link,
               SimClock& clock,
               EndedTransfers& ended);
    ~ByteStream() override;

    void Send(uint64_t id, uint64_t size) override;
    void Cut(uint64_t id) override;
    Progress Head() const override;
    void Skip(const Extrapolated& skipped) override;

  private:
    struct Message
    {
        uint64_t id;
        uint64_t size;
        uint64_t begin; // on this connection's stream; shifted when the connection is replaced
        uint64_t skipped{0}; // bytes of it that are not on the stream

        uint64_t End() const
        {
            return begin + size - skipped;
        }
    };

    void Connect();
    void Abandon(bool abort);
    void Connected(ns3::Ptr<ns3::Socket> socket);
    void Broken(ns3::Ptr<ns3::Socket> socket);
    void Fill(ns3::Ptr<ns3::Socket> socket, uint32_t space);
    void Accepted(ns3::Ptr<ns3::Socket> socket, const ns3::Address& from);
    void Read(ns3::Ptr<ns3::Socket> socket);
    void Sent(ns3::Ptr<const ns3::Packet> segment,
              const ns3::TcpHeader& header,
              ns3::Ptr<const ns3::TcpSocketBase> socket);
    void SentAgain(ns3::Ptr<const ns3::Packet> segment,
                   const ns3::TcpHeader& header,
                   const ns3::Address& local,
                   const ns3::Address& peer,
                   ns3::Ptr<const ns3::TcpSocketBase> socket);
    void EndHead(Ended::Outcome outcome);
    void EndMessage(const Message& message, uint64_t delivered, Ended::Outcome outcome);

    ns3::Ptr<ns3::Node> m_src;
    ns3::Ptr<ns3::Node> m_dst;
    ns3::Address m_to;
    ns3::Ptr<ns3::Socket> m_listener;
    ns3::Ptr<ns3::Socket> m_sender;   // null: neither connected nor connecting
    ns3::Ptr<ns3::Socket> m_receiver; // null until accepted
    bool m_connected{false};
    std::deque<Message> m_messages; // that have not ended
    uint64_t m_asked{0};            // length of the stream if everything were sent
    uint64_t m_sent{0};             // passed to TCP
    uint64_t m_received{0};         // read by the receiving application
};

} // namespace collapipe

#endif
