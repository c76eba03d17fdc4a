#include "stream.h"

namespace collapipe
{

Stream::Stream(RadioLink& link, SimClock& clock, EndedTransfers& ended)
    : m_link(link),
      m_clock(clock),
      m_ended(ended)
{
}

Stream::~Stream() = default;

void
Stream::Begin(uint64_t id)
{
    m_link.underWay.emplace(id, Account{});
}

void
Stream::End(uint64_t id,
            uint64_t size,
            Ended::Outcome outcome,
            const std::vector<ByteRange>& lost,
            uint64_t extrapolated)
{
    auto [tally, retransmissions] = m_link.underWay.extract(id).mapped();
    if (outcome == Ended::DELIVERED && tally.rxTime == 0)
    {
        // Its bytes were read while their frame was still being received, and the PHY reports a
        // frame at its end. The link's latest measurement, at least that of the handshake, is
        // close.
        tally.Received(tally.airtime, m_link.sinr);
    }
    m_ended.Add({id, m_clock.Now(), outcome, retransmissions, 0, extrapolated, tally}, lost);
    uint64_t missing = 0;
    for (const auto& range : lost)
    {
        missing += range.Size();
    }
    m_link.deliveredBytes += size - missing;
    m_link.lostBytes += missing;
    if (outcome != Ended::CUT) // if it was cut, the caller knows
    {
        m_clock.Complete();
    }
}

void
Stream::SetBusy(bool busy)
{
    if (m_busy)
    {
        m_link.busy += m_clock.Now() - m_busySince;
    }
    m_busy = busy;
    m_busySince = m_clock.Now();
}

} // namespace collapipe
