#ifndef COLLAPIPE_OFDMA_SCHEDULER_H
#define COLLAPIPE_OFDMA_SCHEDULER_H

#include "ofdma-link.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// Decides which links of a band send in a TTI, and on how many resource blocks.
///
/// Links of one cell never share a block; cells of one band are not coordinated and interfere. Each
/// link that has data is owed its grant or, without a grant, an equal share of what its cell has
/// not granted to other links with data. Fractions of blocks are carried over to the next TTIs.
/// Links without a grant also share blocks that are left over.
///
/// The half-duplex rule: in one TTI a node either sends or receives in a band, and sends in one
/// cell only. Among links that exclude each other, the one that is owed the most comes first,
/// counted in TTIs of its share, and of equal ones the one with the lower number.
class OfdmaScheduler
{
  public:
    struct Allocation
    {
        OfdmaLink* link;
        uint32_t blocks;
    };

    /// For a band of `blocks`, and a radio of `nodes`.
    OfdmaScheduler(uint32_t blocks, uint32_t nodes);

    uint32_t AddCell();

    void Begin(int64_t tti);
    /// Reserves the nodes of a link, if the half-duplex rule permits it to send in this TTI.
    bool Claim(const OfdmaLink& link);
    /// Leaves no block of the cell for data in this TTI.
    void Close(uint32_t cell);
    /// Allocates blocks to the links of the band; the caller subtracts the used ones from the
    /// credits.
    const std::vector<Allocation>& Allocate(const std::vector<OfdmaLink*>& links);

  private:
    struct Cell
    {
        uint32_t left;    // blocks
        double granted;   // blocks, to links that have data
        uint32_t sharing; // links that have data and no grant
    };

    struct Candidate
    {
        OfdmaLink* link;
        double owed; // TTIs of its share
        uint32_t blocks;
    };

    bool Free(const OfdmaLink& link) const;
    void Owe(const std::vector<OfdmaLink*>& links);
    void ServeWhatIsOwed();
    void ShareWhatIsLeft(uint32_t cell);

    uint32_t m_blocks;
    int64_t m_tti{0};
    std::vector<uint32_t> m_sendsIn; // by node: cell + 1, 0 if it doesn't send
    std::vector<bool> m_receives;    // by node
    std::vector<Cell> m_cells;
    std::vector<Candidate> m_candidates;
    std::vector<Candidate*> m_sharing;
    std::vector<Allocation> m_allocations;
};

} // namespace collapipe

#endif
