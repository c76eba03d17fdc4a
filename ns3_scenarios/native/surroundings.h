#ifndef COLLAPIPE_SURROUNDINGS_H
#define COLLAPIPE_SURROUNDINGS_H

#include "constant-traffic.h"
#include "jammer.h"
#include "lte-cell.h"
#include "ofdma-cells.h"
#include "pulses.h"
#include "wifi-cells.h"

#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace collapipe
{

/// The interferers on an episode's radios: jammers, and background traffic of other people's nodes.
/// Nodes have the episode's numbers.
class Surroundings
{
  public:
    Surroundings(const std::vector<ns3::Ptr<ns3::Node>>& nodes,
                 const std::unique_ptr<WifiCells>& wifi,
                 const std::unique_ptr<LteCell>& lte);

    /// Adds a jammer on a spectrum channel: "wifi", "lte uplink" or "lte downlink". The offset of
    /// its band's centre is from 0 Hz with Wi-Fi, else from the carrier.
    void AddJammer(uint32_t node,
                   const std::string& channel,
                   double offsetHz,
                   double bandwidthHz,
                   double watts,
                   const Pulses& pulses);
    /// Sends datagrams from a node to another of its Wi-Fi cell, one every `interval` ns.
    void AddWifiTraffic(uint32_t src,
                        uint32_t dst,
                        uint32_t bytes,
                        int64_t interval,
                        const Pulses& pulses);
    /// Does the same over a background link of an OFDMA radio.
    void AddOfdmaTraffic(OfdmaCells& radio,
                         uint32_t src,
                         uint32_t dst,
                         uint32_t bytes,
                         int64_t interval,
                         const Pulses& pulses);

    /// Starts all at the run's time `runTime`.
    void Start(int64_t runTime);

  private:
    const std::vector<ns3::Ptr<ns3::Node>>& m_nodes;
    const std::unique_ptr<WifiCells>& m_wifi;
    const std::unique_ptr<LteCell>& m_lte;
    std::vector<std::unique_ptr<Jammer>> m_jammers;
    std::vector<std::unique_ptr<ConstantTraffic>> m_traffic;
};

} // namespace collapipe

#endif
