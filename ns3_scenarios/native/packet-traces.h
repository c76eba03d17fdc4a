#ifndef COLLAPIPE_PACKET_TRACES_H
#define COLLAPIPE_PACKET_TRACES_H

#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <memory>
#include <string>

namespace collapipe
{

/// Traces of every IP packet of some nodes, in pcap files and as text; the files are complete when
/// this object is destroyed.
///
/// ns-3's own helpers keep their files in global tables until the process ends, and need packets'
/// metadata from the first packet of the process on.
class PacketTraces
{
  public:
    PacketTraces();
    ~PacketTraces();

    /// Writes what a node sends and receives on an interface into a pcap file of raw IP.
    void Pcap(ns3::Ptr<ns3::Node> node, uint32_t interface, const std::string& file);
    /// Appends a line for each packet that a node sends (t), receives (r) or drops (d) to a file
    /// that all nodes share: event, time in s, node and interface, headers, bytes of payload.
    void Ascii(ns3::Ptr<ns3::Node> node, const std::string& name, const std::string& file);

  private:
    struct Sinks;
    std::unique_ptr<Sinks> m_sinks;
};

} // namespace collapipe

#endif
