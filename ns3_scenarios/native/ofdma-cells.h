#ifndef COLLAPIPE_OFDMA_CELLS_H
#define COLLAPIPE_OFDMA_CELLS_H

#include "ofdma-radio.h"
#include "pair-channel.h"
#include "pulses.h"
#include "radio-link.h"
#include "stream.h"

#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace collapipe
{

/// An OFDMA radio within an episode: its links by the numbers of their nodes, what was measured on
/// them, and what carries transfers over them. Add nodes, then bands, then cells, then links.
class OfdmaCells
{
  public:
    /// How transfers go over a link.
    enum Transport
    {
        DIRECT, // over the link layer
        TCP,
        UDP
    };

    OfdmaCells(const std::string& engine,
               const std::string& attributes,
               const std::vector<ns3::Ptr<ns3::Node>>& nodes,
               const std::vector<ns3::Ptr<PairChannel>>& channels,
               int64_t runTime,
               SimClock& clock,
               std::deque<RadioLink>& links,
               std::vector<RadioUsage>& usage,
               EndedTransfers& ended);
    ~OfdmaCells();

    void AddNode(uint32_t node, double watts, double noiseFigureDb, double antennaGainDb);
    /// Of the two channels the second holds between two nodes that are no stations.
    uint32_t AddBand(uint32_t blocks,
                     double centreHz,
                     const std::vector<uint32_t>& stations,
                     uint32_t channel,
                     uint32_t deviceChannel);
    uint32_t AddCell(uint32_t band);
    /// Unless the transport is DIRECT, both ends get devices, one a node in each subnet.
    void AddLink(uint32_t band,
                 uint32_t cell,
                 uint32_t src,
                 uint32_t dst,
                 bool acknowledged,
                 int transport,
                 uint32_t subnet);

    /// A node of the radio that jams a whole band, at its power, in pulses.
    void AddJammer(uint32_t band, uint32_t node, Pulses pulses);
    /// A link that has nothing to do with the study and a cell to itself; what it sends is pushed by
    /// Load().
    void AddBackground(uint32_t band, uint32_t src, uint32_t dst);
    /// Gives a background link some bytes, unless it has more than enough.
    void Load(uint32_t src, uint32_t dst, uint64_t bytes);

    bool Joins(uint32_t src, uint32_t dst) const;
    /// Watts, and blocks a TTI; negative ones stay as they are.
    void Grant(uint32_t src, uint32_t dst, double watts, double blocks);
    /// Open-loop power control, until a power is granted; see OfdmaOpenLoop.
    void SetOpenLoop(uint32_t src, uint32_t dst, double p0, double alpha);
    void Sound(uint64_t id, uint32_t src, uint32_t dst);
    std::unique_ptr<Stream> Open(uint32_t src, uint32_t dst, uint16_t port);
    ns3::Ptr<OfdmaRadio> Radio() const;

  private:
    struct Cells;
    std::unique_ptr<Cells> m_cells;
};

} // namespace collapipe

#endif
