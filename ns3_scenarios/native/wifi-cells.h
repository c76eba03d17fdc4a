#ifndef COLLAPIPE_WIFI_CELLS_H
#define COLLAPIPE_WIFI_CELLS_H

#include "radio-link.h"
#include "records.h"

#include "ns3/ipv4-address.h"
#include "ns3/mac48-address.h"
#include "ns3/node.h"
#include "ns3/propagation-loss-model.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ns3
{
class SpectrumChannel;
class WifiPhy;
} // namespace ns3

namespace collapipe
{

/// Ad hoc Wi-Fi among the nodes of each cell, all cells on one spectrum channel.
///
/// Cells whose bands overlap contend and interfere; radios receive everything on their channel, and
/// send to nodes of their own cell only.
class WifiCells
{
  public:
    WifiCells(ns3::Ptr<ns3::PropagationLossModel> loss, Records& records);
    ~WifiCells();

    /// Adds a cell. `nodes` have positions and the Internet stack; `channel` is ns-3's "{number,
    /// width, …}".
    void AddCell(const std::vector<ns3::Ptr<ns3::Node>>& nodes, const std::string& channel);
    /// The link from one node to another of its cell, null if they share none.
    RadioLink* Link(uint32_t src, uint32_t dst);
    ns3::Ipv4Address Address(uint32_t node) const;
    /// The channel of all cells, for other devices to share.
    ns3::Ptr<ns3::SpectrumChannel> Channel() const;
    void SetTxPower(uint32_t node, double watts);
    /// Switches a node's radio on or off, if it has one: while it is off, nothing is sent or heard.
    void Switch(uint32_t node, bool on);

  private:
    struct Radio; // of one node, with its trace sinks

    ns3::Ptr<ns3::SpectrumChannel> m_channel;
    SimClock& m_clock;
    std::deque<RadioLink>& m_links;
    std::vector<RadioUsage>& m_usage;
    uint32_t m_cells{0};
    std::map<uint32_t, std::unique_ptr<Radio>> m_radios; // by node
    std::map<ns3::Mac48Address, Radio*> m_byMac;
};

} // namespace collapipe

#endif
