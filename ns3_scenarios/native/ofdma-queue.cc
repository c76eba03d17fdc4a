#include "ofdma-queue.h"

#include <algorithm>

namespace collapipe
{

namespace
{

/// Sorts ranges and merges those that touch.
void
Tidy(std::vector<ByteRange>& ranges)
{
    std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) {
        return a.begin < b.begin;
    });
    std::vector<ByteRange> joined;
    for (const auto& range : ranges)
    {
        if (!joined.empty() && joined.back().end >= range.begin)
        {
            joined.back().end = std::max(joined.back().end, range.end);
        }
        else
        {
            joined.push_back(range);
        }
    }
    ranges.swap(joined);
}

/// Calls with each item that has some of these bytes, and with those bytes; `first` is the first.
template <typename Items, typename Action>
void
ForEachFrom(std::size_t first, Items& items, ByteRange bytes, Action action)
{
    for (auto i = first; i < items.size() && items[i].begin < bytes.end; ++i)
    {
        auto& item = items[i];
        action(item,
               ByteRange{std::max(bytes.begin, item.begin), std::min(bytes.end, item.end)});
    }
}

} // namespace

OfdmaQueue::OfdmaQueue(uint32_t mostTries)
    : m_mostTries(mostTries)
{
}

void
OfdmaQueue::Push(OfdmaItem item, uint64_t size)
{
    item.begin = m_length;
    item.end = m_length += size;
    m_fresh += size;
    m_items.push_back(std::move(item));
}

uint64_t
OfdmaQueue::Waiting() const
{
    return m_fresh + m_againBytes;
}

uint64_t
OfdmaQueue::Unresolved() const
{
    return m_length - m_resolved;
}

std::pair<ByteRange, uint32_t>
OfdmaQueue::Take(uint64_t most)
{
    if (!m_again.empty())
    {
        auto& [bytes, tries] = m_again.front();
        const ByteRange taken{bytes.begin, std::min(bytes.end, bytes.begin + most)};
        const auto triesOfTaken = tries;
        m_againBytes -= taken.Size();
        bytes.begin = taken.end;
        if (bytes.Size() == 0)
        {
            m_again.pop_front();
        }
        return {taken, triesOfTaken};
    }
    while (!m_skipped.empty() && m_skipped.front().begin <= m_sent)
    {
        m_sent = m_skipped.front().end;
        m_skipped.pop_front();
    }
    const auto limit = m_skipped.empty() ? m_length : m_skipped.front().begin;
    const ByteRange taken{m_sent, std::min(limit, m_sent + most)};
    m_sent = taken.end;
    m_fresh -= taken.Size();
    return {taken, 0};
}

void
OfdmaQueue::Arrived(ByteRange bytes)
{
    Resolve(bytes);
}

void
OfdmaQueue::GivenUp(ByteRange bytes, uint32_t tries)
{
    if (tries < m_mostTries)
    {
        SendAgain(bytes, tries + 1);
        return;
    }
    Lose(bytes);
    if (m_mostTries > 0)
    {
        SendAgain(bytes, 0); // the other items are tried again
    }
}

void
OfdmaQueue::Lose(ByteRange bytes)
{
    if (m_mostTries == 0)
    {
        ForEachWithin(bytes, [](OfdmaItem& item, ByteRange part) {
            Append(item.lost, {part.begin - item.begin, part.end - item.begin});
        });
        Resolve(bytes);
        return;
    }
    const auto index = FirstWithin(bytes.begin);
    if (index < m_items.size() && m_items[index].begin <= bytes.begin)
    {
        m_ended.push_back(Remove(index));
    }
}

uint64_t
OfdmaQueue::Next() const
{
    if (!m_again.empty())
    {
        return m_again.front().bytes.begin;
    }
    auto next = m_sent;
    for (const auto& skipped : m_skipped)
    {
        next = skipped.begin <= next ? std::max(next, skipped.end) : next;
    }
    return next;
}

bool
OfdmaQueue::Lacks(ByteRange bytes) const
{
    const auto begin = std::max(bytes.begin, m_resolved);
    if (begin >= bytes.end)
    {
        return false;
    }
    const auto beyond = m_resolvedBeyond.upper_bound(begin);
    return beyond == m_resolvedBeyond.begin() || std::prev(beyond)->second < bytes.end;
}

void
OfdmaQueue::Drop(ByteRange item)
{
    const auto index = FirstWithin(item.begin);
    if (index < m_items.size() && m_items[index].begin == item.begin)
    {
        Remove(index);
    }
}

void
OfdmaQueue::Forget(const std::function<bool(ByteRange)>& delivered)
{
    std::vector<ByteRange> forgotten;
    std::erase_if(m_again, [&](const auto& again) {
        const bool had = delivered(again.bytes);
        if (had)
        {
            forgotten.push_back(again.bytes);
            m_againBytes -= again.bytes.Size();
        }
        return had;
    });
    for (const auto& bytes : forgotten)
    {
        Resolve(bytes);
    }
}

void
OfdmaQueue::SendAgain(ByteRange bytes, uint32_t tries)
{
    ForEachWithin(bytes, [this, tries](OfdmaItem&, ByteRange part) {
        m_againBytes += part.Size();
        if (!m_again.empty() && m_again.back().bytes.end == part.begin &&
            m_again.back().tries == tries)
        {
            m_again.back().bytes.end = part.end;
        }
        else
        {
            m_again.push_back({part, tries});
        }
    });
}

void
OfdmaQueue::Resolve(ByteRange bytes)
{
    bytes.begin = std::max(bytes.begin, m_resolved);
    if (bytes.begin >= bytes.end)
    {
        return;
    }
    // Merges the ranges that it touches; they overlap only where items were removed.
    auto next = m_resolvedBeyond.lower_bound(bytes.begin);
    if (next != m_resolvedBeyond.begin() && std::prev(next)->second >= bytes.begin)
    {
        --next;
        bytes.begin = next->first;
    }
    while (next != m_resolvedBeyond.end() && next->first <= bytes.end)
    {
        bytes.end = std::max(bytes.end, next->second);
        next = m_resolvedBeyond.erase(next);
    }
    if (bytes.begin > m_resolved)
    {
        m_resolvedBeyond.emplace(bytes.begin, bytes.end);
        return;
    }
    m_resolved = bytes.end;
    while (!m_items.empty() && m_items.front().end <= m_resolved)
    {
        m_ended.push_back(std::move(m_items.front()));
        m_items.pop_front();
    }
}

std::vector<OfdmaItem>
OfdmaQueue::TakeEnded()
{
    for (auto& item : m_ended)
    {
        Tidy(item.lost);
    }
    return std::exchange(m_ended, {});
}

bool
OfdmaQueue::Cut(uint64_t id, OfdmaItem& cut)
{
    const auto found = std::find_if(m_items.begin(), m_items.end(), [id](const auto& item) {
        return !item.packet && item.id == id;
    });
    if (found == m_items.end())
    {
        return false;
    }
    cut = Remove(found - m_items.begin());
    return true;
}

std::vector<OfdmaRemainder>
OfdmaQueue::TakeAll()
{
    std::vector<OfdmaRemainder> taken;
    while (!m_items.empty())
    {
        OfdmaRemainder remainder{m_items.front(), {}};
        const auto [begin, end] = ByteRange{remainder.item.begin, remainder.item.end};
        if (m_resolved > begin)
        {
            remainder.resolved.push_back({0, m_resolved - begin});
        }
        for (const auto& [first, last] : m_resolvedBeyond)
        {
            const ByteRange part{std::max(first, begin), std::min(last, end)};
            if (part.begin < part.end)
            {
                remainder.resolved.push_back({part.begin - begin, part.end - begin});
            }
        }
        Remove(0);
        taken.push_back(std::move(remainder));
    }
    return taken;
}

void
OfdmaQueue::Resume(OfdmaRemainder remainder)
{
    const auto begin = m_length;
    const auto size = remainder.item.end - remainder.item.begin;
    Push(std::move(remainder.item), size);
    for (const auto& part : remainder.resolved)
    {
        const ByteRange bytes{begin + part.begin, begin + part.end};
        m_fresh -= bytes.Size();
        m_skipped.push_back(bytes);
        Resolve(bytes);
    }
}

void
OfdmaQueue::LoseAll()
{
    while (!m_items.empty())
    {
        auto lost = Remove(0);
        m_ended.push_back(std::move(lost));
    }
}

Progress
OfdmaQueue::Head() const
{
    if (m_items.empty())
    {
        return {};
    }
    const auto& head = m_items.front();
    uint64_t lost = 0;
    for (const auto& range : head.lost)
    {
        lost += range.Size();
    }
    // Bytes that were sent once increase steadily, while in-order delivery waits for gaps.
    const auto unsent = m_sent < head.begin ? 0 : head.end - std::min(m_sent, head.end);
    return {head.id,
            m_sent,
            unsent,
            lost,
            head.lost.size(),
            1,
            {head.tally, head.retransmissions}};
}

void
OfdmaQueue::Skip(const Extrapolated& skipped)
{
    auto& head = m_items.front();
    for (const auto& range : skipped.lost)
    {
        const auto offset = m_sent - head.begin;
        head.lost.push_back({offset + range.begin, offset + range.end});
    }
    head.skipped += skipped.bytes;
    head.tally.Add(skipped.account.tally);
    head.retransmissions += skipped.account.retransmissions;
    const ByteRange bytes{m_sent, m_sent + skipped.bytes};
    m_sent = bytes.end;
    m_fresh -= skipped.bytes;
    Resolve(bytes);
}

/// Removes an item from the stream: bytes that were not delivered are lost, and not sent any more.
OfdmaItem
OfdmaQueue::Remove(std::size_t index)
{
    auto item = std::move(m_items[index]);
    m_items.erase(m_items.begin() + static_cast<std::ptrdiff_t>(index));
    const auto delivered = std::max(item.begin, m_resolved) - item.begin;
    std::erase_if(item.lost, [delivered](const auto& part) { return part.begin >= delivered; });
    item.lost.push_back({delivered, item.end - item.begin});
    Tidy(item.lost);
    std::deque<Again> kept;
    for (const auto& [bytes, tries] : m_again)
    {
        for (const auto part : {ByteRange{bytes.begin, std::min(bytes.end, item.begin)},
                                ByteRange{std::max(bytes.begin, item.end), bytes.end}})
        {
            if (part.begin < part.end)
            {
                kept.push_back({part, tries});
            }
        }
        m_againBytes -= bytes.Size();
    }
    for (const auto& again : kept)
    {
        m_againBytes += again.bytes.Size();
    }
    m_again.swap(kept);
    if (const ByteRange unsent{std::max(item.begin, m_sent), item.end}; unsent.begin < unsent.end)
    {
        m_fresh -= unsent.Size();
        std::erase_if(m_skipped, [&](const auto& other) {
            const bool within = other.begin >= unsent.begin && other.end <= unsent.end;
            m_fresh += within ? other.Size() : 0; // which was not counted
            return within;
        });
        const auto at = std::find_if(m_skipped.begin(), m_skipped.end(), [&](const auto& other) {
            return other.begin > unsent.begin;
        });
        m_skipped.insert(at, unsent);
    }
    Resolve({item.begin, item.end});
    return item;
}

/// The index of the first item that ends after `position`.
std::size_t
OfdmaQueue::FirstWithin(uint64_t position) const
{
    const auto found =
        std::upper_bound(m_items.begin(), m_items.end(), position, [](auto at, auto& item) {
            return at < item.end;
        });
    return found - m_items.begin();
}

template <typename Action>
void
OfdmaQueue::ForEachWithin(ByteRange bytes, Action action)
{
    ForEachFrom(FirstWithin(bytes.begin), m_items, bytes, action);
}

void
OfdmaQueue::ForEach(ByteRange bytes,
                    const std::function<void(const OfdmaItem&, ByteRange)>& action) const
{
    ForEachFrom(FirstWithin(bytes.begin), m_items, bytes, action);
}

void
OfdmaQueue::ChargeSent(ByteRange bytes, double seconds, double watts, double hertz)
{
    ForEachWithin(bytes, [&](OfdmaItem& item, ByteRange part) {
        const auto share = static_cast<double>(part.Size()) / bytes.Size();
        item.tally.Sent(share * seconds, watts, hertz);
    });
}

void
OfdmaQueue::ChargeReceived(ByteRange bytes, double seconds, double sinr)
{
    ForEachWithin(bytes, [&](OfdmaItem& item, ByteRange part) {
        const auto share = static_cast<double>(part.Size()) / bytes.Size();
        item.tally.Received(share * seconds, sinr);
    });
}

void
OfdmaQueue::CountRetransmission(ByteRange bytes)
{
    ForEachWithin(bytes, [](OfdmaItem& item, ByteRange) { ++item.retransmissions; });
}

} // namespace collapipe
