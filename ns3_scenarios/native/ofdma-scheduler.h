#ifndef COLLAPIPE_OFDMA_SCHEDULER_H
#define COLLAPIPE_OFDMA_SCHEDULER_H

#include "ofdma-link.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// Who sends in a TTI, and on how many resource blocks, in one band.
///
/// Links of one cell never share a block; cells of one band know nothing of each other's blocks
/// and interfere. Every link that has something to send is owed its grant, or, where it has none,
/// an equal part of what its cell has not granted to others that send. What it is owed adds up to
/// whole blocks over the TTIs. Ungranted links also share what else is left over.
///
/// The half-duplex rule: in one TTI a node either sends or receives in a band, and sends in one
/// cell alone. Where links exclude each other, the one that has been kept waiting longest (most
/// owed, in TTIs of its share) goes first, and the lower number where that is equal.
class OfdmaScheduler
{
  public:
    struct Allocation
    {
        OfdmaLink* link;
        uint32_t blocks;
    };

    /// Of a band of `blocks`, for a radio of `nodes`.
    OfdmaScheduler(uint32_t blocks, uint32_t nodes);

    uint32_t AddCell();

    void Begin(int64_t tti);
    /// Keeps these ends of a link for it, if the half-duplex rule lets it send in this TTI.
    bool Claim(const OfdmaLink& link);
    /// No block of the cell is left for data in this TTI.
    void Close(uint32_t cell);
    /// Allocates blocks to the links of the band; what one then uses is to be taken off its credit.
    const std::vector<Allocation>& Allocate(const std::vector<OfdmaLink*>& links);

  private:
    struct Cell
    {
        uint32_t left;    // blocks
        double granted;   // blocks, to links that are ready
        uint32_t sharing; // links that are ready and have no grant
    };

    struct Candidate
    {
        OfdmaLink* link;
        double waited; // TTIs
        uint32_t blocks;
    };

    bool Free(const OfdmaLink& link) const;
    void Owe(const std::vector<OfdmaLink*>& links);
    void ServeWhatIsOwed();
    void ShareWhatIsLeft(uint32_t cell);

    uint32_t m_blocks;
    int64_t m_tti{0};
    std::vector<uint32_t> m_sendsIn; // by node: cell + 1, 0 if it doesn't
    std::vector<bool> m_receives;    // by node
    std::vector<Cell> m_cells;
    std::vector<Candidate> m_candidates;
    std::vector<Candidate*> m_sharing;
    std::vector<Allocation> m_allocations;
};

} // namespace collapipe

#endif
