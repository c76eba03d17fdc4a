#ifndef COLLAPIPE_PACKET_TRACES_H
#define COLLAPIPE_PACKET_TRACES_H

#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <memory>
#include <string>

namespace collapipe
{

/// Every IP packet of some nodes, in pcap files and as text; the files are whole once this is gone.
///
/// ns-3's helpers for the same keep their files in global tables until the process ends, and need
/// packets' metadata from the first packet of the process on.
class PacketTraces
{
  public:
    PacketTraces();
    ~PacketTraces();

    /// What a node sends and receives on an interface, as a pcap file of raw IP.
    void Pcap(ns3::Ptr<ns3::Node> node, uint32_t interface, const std::string& file);
    /// What a node sends (t), receives (r) and drops (d), a line each, at the end of a file that all
    /// nodes share: event, time in s, node and interface, headers, bytes of payload.
    void Ascii(ns3::Ptr<ns3::Node> node, const std::string& name, const std::string& file);

  private:
    struct Sinks;
    std::unique_ptr<Sinks> m_sinks;
};

} // namespace collapipe

#endif
