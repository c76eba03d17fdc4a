#include "direct-stream.h"

namespace collapipe
{

using namespace ns3;

DirectStream::DirectStream(Ptr<OfdmaRadio> radio,
                           OfdmaLink& ofdma,
                           RadioLink& link,
                           SimClock& clock,
                           EndedTransfers& ended)
    : Stream(link, clock, ended),
      m_radio(radio),
      m_ofdma(ofdma)
{
}

void
DirectStream::Send(uint64_t id, uint64_t size)
{
    Join(id, m_ofdma);
    OfdmaItem item;
    item.id = id;
    m_radio->Push(m_ofdma, std::move(item), size);
}

void
DirectStream::Join(uint64_t id, const OfdmaLink& group)
{
    Begin(id);
    m_underWay.push_back({id, &group});
    SetBusy(true);
}

void
DirectStream::Cut(uint64_t id)
{
    OfdmaItem item;
    if (!EndIfLeft(id) && m_radio->Cut(m_ofdma, id, item))
    {
        EndItem(item, Ended::CUT);
    }
    EndIfLeft(id); // if it was in flight
    EndInOrder();
}

Progress
DirectStream::Head() const
{
    return m_ofdma.queue.Head();
}

void
DirectStream::Skip(const Extrapolated& skipped)
{
    m_ofdma.queue.Skip(skipped);
}

void
DirectStream::Left(const OfdmaItem& item)
{
    m_left.emplace(item.id, item);
    EndInOrder();
}

/// Ends a transfer that has left, whatever its place; false if it has not.
bool
DirectStream::EndIfLeft(uint64_t id)
{
    const auto left = m_left.extract(id);
    if (!left)
    {
        return false;
    }
    const auto& item = left.mapped();
    EndItem(item, item.lost.empty() ? Ended::DELIVERED : Ended::LOST);
    return true;
}

/// Ends the transfers that have left, unless one began before them over another way.
void
DirectStream::EndInOrder()
{
    for (std::size_t i = 0; i < m_underWay.size() && m_underWay[i].way == m_underWay[0].way;)
    {
        i = EndIfLeft(m_underWay[i].id) ? 0 : i + 1;
    }
}

void
DirectStream::EndItem(const OfdmaItem& item, Ended::Outcome outcome)
{
    std::erase_if(m_underWay, [&item](const auto& other) { return other.id == item.id; });
    SetBusy(!m_underWay.empty());
    m_link.underWay.at(item.id) = {item.tally, item.retransmissions};
    End(item.id, item.end - item.begin, outcome, item.lost, item.skipped);
}

} // namespace collapipe
