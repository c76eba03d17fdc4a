#ifndef COLLAPIPE_OFDMA_CELLS_H
#define COLLAPIPE_OFDMA_CELLS_H

#include "ofdma-handover.h"
#include "ofdma-radio.h"
#include "pair-channel.h"
#include "pulses.h"
#include "radio-link.h"
#include "records.h"
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

/// An OFDMA radio in an episode: its links by their nodes' numbers, their measurements, and the
/// streams over them. Add nodes, then bands, then cells, then links.
class OfdmaCells
{
  public:
    /// What carries transfers over a link.
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
               Records& records);
    ~OfdmaCells();

    void AddNode(uint32_t node, double watts, double noiseFigureDb, double antennaGainDb);
    /// The second channel holds between two nodes that are not stations, the first for other pairs.
    uint32_t AddBand(uint32_t blocks,
                     double centreHz,
                     const std::vector<uint32_t>& stations,
                     uint32_t channel,
                     uint32_t deviceChannel);
    uint32_t AddCell(uint32_t band);
    /// Unless the transport is DIRECT, both nodes get a device, one for each subnet.
    void AddLink(uint32_t band,
                 uint32_t cell,
                 uint32_t src,
                 uint32_t dst,
                 bool acknowledged,
                 int transport,
                 uint32_t subnet);

    /// Lets terminals change between stations by the channel's gains; the stations are nodes of the
    /// radio, and station k has the k-th cell of every band. Call it after all cells, before
    /// AddTerminal().
    void AddHandover(uint32_t channel,
                     const HandoverSettings& settings,
                     const std::vector<uint32_t>& stations);
    /// Adds a terminal, whose links have been added as links with the node `home`.
    void AddTerminal(const Attachment& attachment, uint32_t home);
    /// Begins to measure; call it at the clock's time 0.
    void Start();
    /// The changes of cells since then, and the present cells of all terminals.
    std::vector<CellChange> CellChanges() const;
    std::vector<Attachment> Attachments() const;

    /// Adds a node that jams a whole band in pulses, at its power.
    void AddJammer(uint32_t band, uint32_t node, Pulses pulses);
    /// Adds a link of other people's nodes in a cell of its own; Load() gives it bytes to send.
    void AddBackground(uint32_t band, uint32_t src, uint32_t dst);
    /// Gives a background link some bytes, unless its queue is full.
    void Load(uint32_t src, uint32_t dst, uint64_t bytes);

    bool Joins(uint32_t src, uint32_t dst) const;
    /// Sends the same bytes to several nodes whose links have one cell and no packets; each stream
    /// to one of them is open, and `ids` has the transfer over it.
    void Multicast(const std::vector<uint64_t>& ids,
                   uint32_t src,
                   const std::vector<uint32_t>& dsts,
                   uint64_t size);
    /// Whether a multicast is under way.
    bool Multicasts() const;
    /// As Grant(), for what is sent to these nodes together.
    void GrantGroup(uint32_t src,
                    const std::vector<uint32_t>& dsts,
                    double watts,
                    double blocks);
    /// Watts, and resource blocks per TTI; negative ones are left unchanged.
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
