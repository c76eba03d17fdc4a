#include "ofdma-scheduler.h"

#include <algorithm>
#include <cmath>

namespace collapipe
{

namespace
{

// A link that could not send for some TTIs may catch up on this many of its shares, and on a
// transport block more, so that even the smallest grant adds up to a block.
constexpr double MOST_SHARES_OWED = 4;
constexpr double ROUNDING = 1e-9; // of blocks, as shares are added up

} // namespace

OfdmaScheduler::OfdmaScheduler(uint32_t blocks, uint32_t nodes)
    : m_blocks(blocks),
      m_sendsIn(nodes),
      m_receives(nodes)
{
}

uint32_t
OfdmaScheduler::AddCell()
{
    m_cells.push_back({});
    return m_cells.size() - 1;
}

void
OfdmaScheduler::Begin(int64_t tti)
{
    m_tti = tti;
    std::fill(m_sendsIn.begin(), m_sendsIn.end(), 0);
    std::fill(m_receives.begin(), m_receives.end(), false);
    std::fill(m_cells.begin(), m_cells.end(), Cell{m_blocks, 0, 0});
}

bool
OfdmaScheduler::Free(const OfdmaLink& link) const
{
    const auto sendsIn = m_sendsIn[link.from];
    return (sendsIn == 0 || sendsIn == link.cell + 1) && !m_receives[link.from] &&
           std::all_of(link.Listeners().begin(), link.Listeners().end(), [this](auto node) {
               return m_sendsIn[node] == 0;
           });
}

bool
OfdmaScheduler::Claim(const OfdmaLink& link)
{
    if (!Free(link))
    {
        return false;
    }
    m_sendsIn[link.from] = link.cell + 1;
    for (const auto node : link.Listeners())
    {
        m_receives[node] = true;
    }
    return true;
}

void
OfdmaScheduler::Close(uint32_t cell)
{
    m_cells[cell].left = 0;
}

const std::vector<OfdmaScheduler::Allocation>&
OfdmaScheduler::Allocate(const std::vector<OfdmaLink*>& links)
{
    Owe(links);
    ServeWhatIsOwed();
    for (uint32_t cell = 0; cell < m_cells.size(); ++cell)
    {
        if (m_cells[cell].left > 0 && m_cells[cell].sharing > 0)
        {
            ShareWhatIsLeft(cell);
        }
    }
    m_allocations.clear();
    for (const auto& candidate : m_candidates)
    {
        if (candidate.blocks > 0)
        {
            m_allocations.push_back({candidate.link, candidate.blocks});
        }
    }
    return m_allocations;
}

/// Finds the links that have data, and adds to each link's credit what it is owed for this TTI.
void
OfdmaScheduler::Owe(const std::vector<OfdmaLink*>& links)
{
    m_candidates.clear();
    for (auto* link : links)
    {
        if (!link->Ready())
        {
            continue;
        }
        if (link->wanted < m_tti - 1)
        {
            link->credit = 0; // a share that is not needed is not saved up
        }
        link->wanted = m_tti;
        m_candidates.push_back({link, 0, 0});
        auto& cell = m_cells[link->cell];
        link->granted < 0 ? void(++cell.sharing) : void(cell.granted += link->granted);
    }
    for (auto& candidate : m_candidates)
    {
        auto& link = *candidate.link;
        const auto& cell = m_cells[link.cell];
        const auto share = link.granted < 0
                               ? std::max(m_blocks - cell.granted, 0.0) / cell.sharing
                               : link.granted;
        const auto most = MOST_SHARES_OWED * share + OfdmaCodes::MOST_BLOCKS;
        link.credit = std::clamp(link.credit + share, -most, most);
        candidate.owed = share > 0 ? link.credit / share : 0;
    }
    std::stable_sort(m_candidates.begin(), m_candidates.end(), [](const auto& a, const auto& b) {
        return a.owed > b.owed;
    });
}

void
OfdmaScheduler::ServeWhatIsOwed()
{
    for (auto& candidate : m_candidates)
    {
        auto& link = *candidate.link;
        auto& left = m_cells[link.cell].left;
        const auto owed = static_cast<uint32_t>(std::max(link.credit + ROUNDING, 0.0));
        const auto blocks = std::min({owed, left, link.Need()});
        if (blocks > 0 && link.Fits(blocks) && Claim(link))
        {
            candidate.blocks = blocks;
            left -= blocks;
        }
    }
}

/// Divides the blocks that are left in a cell evenly among its links without a grant.
void
OfdmaScheduler::ShareWhatIsLeft(uint32_t cell)
{
    auto& left = m_cells[cell].left;
    m_sharing.clear();
    for (auto& candidate : m_candidates)
    {
        const auto& link = *candidate.link;
        if (link.cell == cell && link.granted < 0 && (candidate.blocks > 0 || Free(link)) &&
            candidate.blocks < link.Need())
        {
            m_sharing.push_back(&candidate);
        }
    }
    for (std::size_t i = 0; i < m_sharing.size() && left > 0; ++i)
    {
        auto& candidate = *m_sharing[i];
        auto& link = *candidate.link;
        const auto part = (left + m_sharing.size() - i - 1) / (m_sharing.size() - i);
        const auto more = std::min<uint32_t>(part, link.Need() - candidate.blocks);
        if (candidate.blocks > 0 || (link.Fits(more) && Claim(link)))
        {
            candidate.blocks += more;
            left -= more;
        }
    }
}

} // namespace collapipe
