#ifndef COLLAPIPE_LTE_CELL_H
#define COLLAPIPE_LTE_CELL_H

#include "pair-channel.h"
#include "radio-link.h"
#include "records.h"

#include "ns3/ipv4-address.h"
#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace ns3
{
class SpectrumChannel;
} // namespace ns3

namespace collapipe
{

/// The bandwidth of an LTE cell and the gains of its antennas.
struct LteSettings
{
    uint8_t resourceBlocks; // in each direction
    double ueAntennaDb;
    double enbAntennaDb;
};

/// One LTE cell with its core network; the edge server is directly behind the base station.
///
/// The station is two ns-3 nodes, the eNB and the server (a host on the Internet side of the core,
/// over a link that takes no noticeable time).
class LteCell
{
  public:
    /// The eNB has the server's position, and its name in the channel.
    LteCell(ns3::Ptr<ns3::Node> server,
            const std::vector<ns3::Ptr<ns3::Node>>& ues,
            const LteSettings& settings,
            ns3::Ptr<PairChannel> channel,
            const std::string& serverName,
            Records& records);
    ~LteCell();

    /// Whether all terminals are attached, and have been measured in both directions.
    bool Attached() const;
    RadioLink* Link(uint32_t src, uint32_t dst);
    ns3::Ipv4Address Address(uint32_t node) const;
    /// The uplink's or the downlink's, for other devices to share.
    ns3::Ptr<ns3::SpectrumChannel> Channel(bool uplink) const;
    /// The centre of its band, in Hz.
    double CentreHz(bool uplink) const;
    /// Sets a node's power; a terminal's no longer follows the open loop.
    void SetTxPower(uint32_t node, double watts);
    /// The maximum power of a terminal under open-loop control.
    void SetMaxTxPower(uint32_t node, double watts);

  private:
    struct Cell;
    std::unique_ptr<Cell> m_cell;
};

} // namespace collapipe

#endif
