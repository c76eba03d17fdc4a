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
    Begin(id);
    ++m_underWay;
    SetBusy(true);
    OfdmaItem item;
    item.id = id;
    m_radio->Push(m_ofdma, std::move(item), size);
}

void
DirectStream::Cut(uint64_t id)
{
    OfdmaItem item;
    if (m_radio->Cut(m_ofdma, id, item))
    {
        EndItem(item, Ended::CUT);
    }
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
    EndItem(item, item.lost.empty() ? Ended::DELIVERED : Ended::LOST);
}

void
DirectStream::EndItem(const OfdmaItem& item, Ended::Outcome outcome)
{
    --m_underWay;
    SetBusy(m_underWay > 0);
    m_link.underWay.at(item.id) = {item.tally, item.retransmissions};
    End(item.id, item.end - item.begin, outcome, item.lost, item.skipped);
}

} // namespace collapipe
