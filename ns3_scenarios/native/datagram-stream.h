#ifndef COLLAPIPE_DATAGRAM_STREAM_H
#define COLLAPIPE_DATAGRAM_STREAM_H

#include "ofdma-net-device.h"
#include "stream.h"

#include "ns3/address.h"
#include "ns3/ipv4-address.h"
#include "ns3/node.h"
#include "ns3/packet.h"
#include "ns3/ptr.h"
#include "ns3/socket.h"

#include <cstdint>
#include <deque>
#include <vector>

namespace collapipe
{

/// The transfers of a directed pair as UDP datagrams over an OFDMA link.
///
/// A transfer is divided into datagrams, in order. The sender keeps a window of them in the link's
/// queue, so that none is dropped there. UDP doesn't report what becomes of a datagram, but the
/// link layer does, as its sequence numbers and HARQ feedback show gaps at both ends: each datagram
/// either reaches the receiving socket or is dropped by the device (MacRxDrop), in order, and a
/// transfer ends with its last datagram. So a transfer with losses ends without a timeout.
class DatagramStream : public Stream
{
  public:
    DatagramStream(ns3::Ptr<ns3::Node> src,
                   ns3::Ptr<ns3::Node> dst,
                   ns3::Ipv4Address to,
                   uint16_t port,
                   ns3::Ptr<OfdmaNetDevice> receiver,
                   RadioLink& link,
                   SimClock& clock,
                   EndedTransfers& ended);
    ~DatagramStream() override;

    void Send(uint64_t id, uint64_t size) override;
    void Cut(uint64_t id) override;
    Progress Head() const override;
    void Skip(const Extrapolated& skipped) override;

  private:
    struct Message
    {
        uint64_t id;
        uint64_t size;
        uint64_t sent{0};   // passed to UDP
        uint64_t passed{0}; // arrived or lost
        std::vector<ByteRange> lost{};
        uint64_t lostBytes{0};
        uint64_t skipped{0}; // of those in `passed`

        void Lose(ByteRange bytes)
        {
            lostBytes += bytes.Size();
            Append(lost, bytes);
        }
    };

    struct Datagram
    {
        uint64_t packet; // its number
        uint64_t message;
        uint64_t size;
    };

    void Fill();
    void Arrived(ns3::Ptr<ns3::Socket> socket);
    void Dropped(ns3::Ptr<const ns3::Packet> packet);
    void Passed(bool arrived);

    ns3::Ptr<OfdmaNetDevice> m_device; // the receiver's
    ns3::Ptr<ns3::Socket> m_sender;
    ns3::Ptr<ns3::Socket> m_receiver;
    std::deque<Message> m_messages;    // that have not ended
    std::deque<Datagram> m_datagrams;  // in flight
    uint64_t m_onTheWay{0};            // bytes
};

} // namespace collapipe

#endif
