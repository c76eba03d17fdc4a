#include "ofdma-link.h"

#include "ns3/random-variable-stream.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>

namespace collapipe
{

using namespace ns3;

namespace
{

uint32_t
CeilDivide(uint64_t number, uint64_t by)
{
    return static_cast<uint32_t>((number + by - 1) / by);
}

/// The resource blocks of the first transport block of an allocation.
uint32_t
FirstPart(uint32_t blocks)
{
    return CeilDivide(blocks, CeilDivide(blocks, OfdmaCodes::MOST_BLOCKS));
}

} // namespace

OfdmaLink::OfdmaLink(uint32_t number,
                     uint32_t cell,
                     uint32_t from,
                     uint32_t to,
                     uint32_t bandBlocks,
                     bool acknowledged,
                     double watts,
                     const OfdmaSettings& settings,
                     OfdmaCodes& codes)
    : number(number),
      cell(cell),
      from(from),
      to(to),
      queue(acknowledged ? settings.mostTries : 0),
      watts(watts),
      m_settings(settings),
      m_codes(codes),
      m_adaptation(codes, settings.targetBler, settings.outerLoopStepDb, settings.ewmaWeight),
      m_mostOutstanding(settings.harqProcesses * CeilDivide(bandBlocks, OfdmaCodes::MOST_BLOCKS)),
      m_sinr(bandBlocks)
{
}

void
OfdmaLink::FollowGain(double gain)
{
    m_wattsPerBlock = openLoop.p0 * std::pow(gain, -openLoop.alpha);
}

double
OfdmaLink::Watts(uint32_t blocks, double most) const
{
    return openLoop.p0 > 0 ? std::min(most, m_wattsPerBlock * blocks) : most;
}

bool
OfdmaLink::Ready() const
{
    return !m_broken.empty() || (queue.Waiting() > 0 && m_waiting.size() < m_mostOutstanding);
}

bool
OfdmaLink::Fits(uint32_t blocks) const
{
    if (!m_broken.empty())
    {
        return blocks >= m_broken.front().blocks;
    }
    if (blocks == 0)
    {
        return false;
    }
    const auto first = FirstPart(blocks);
    return m_codes.Payload(Mcs(Density(blocks), first), first) > 0;
}

/// The MCS of a new transport block of this many resource blocks.
uint32_t
OfdmaLink::Mcs(double density, uint32_t blocks) const
{
    auto mcs = m_adaptation.Mcs(density, blocks);
    // If even the whole band leaves no room after the headers, a higher MCS relies on HARQ.
    const auto widest = FirstPart(m_sinr.size());
    while (blocks >= widest && m_codes.Payload(mcs, blocks) == 0)
    {
        ++mcs;
    }
    return mcs;
}

uint32_t
OfdmaLink::Need() const
{
    uint32_t blocks = 0;
    for (const auto& block : m_broken)
    {
        blocks += block.blocks;
    }
    if (const auto bytes = queue.Waiting(); bytes > 0)
    {
        const auto inOne = m_codes.Payload(m_mcs, OfdmaCodes::MOST_BLOCKS);
        const auto need = CeilDivide(bytes * OfdmaCodes::MOST_BLOCKS, inOne) + 1;
        blocks += std::min<uint64_t>(need, m_sinr.size());
    }
    while (blocks < m_sinr.size() && !Fits(blocks))
    {
        ++blocks; // the smallest number that can be used
    }
    return blocks;
}

uint32_t
OfdmaLink::Compose(uint32_t blocks, double totalWatts)
{
    m_onAir.clear();
    m_used = 0;
    const auto add = [this](OfdmaTransportBlock&& block) {
        block.offset = m_used;
        m_used += block.blocks;
        m_onAir.push_back(std::move(block));
    };
    while (!m_broken.empty() && m_used + m_broken.front().blocks <= blocks)
    {
        queue.CountRetransmission(m_broken.front().bytes);
        add(std::move(m_broken.front()));
        m_broken.pop_front();
    }
    // New blocks wait while a retransmission waits for room, which it would otherwise never get.
    const auto density = totalWatts / (blocks * BLOCK_HZ);
    for (auto parts = CeilDivide(blocks - m_used, OfdmaCodes::MOST_BLOCKS);
         parts > 0 && m_broken.empty() && queue.Waiting() > 0 &&
         m_waiting.size() + m_onAir.size() < m_mostOutstanding;
         --parts)
    {
        auto size = CeilDivide(blocks - m_used, parts);
        const auto mcs = Mcs(density, size);
        if (m_codes.Payload(mcs, size) == 0)
        {
            break;
        }
        while (size > 1 && m_codes.Payload(mcs, size - 1) >= queue.Waiting())
        {
            --size;
        }
        const auto [bytes, tries] = queue.Take(m_codes.Payload(mcs, size));
        add({bytes, tries, m_mcs = mcs, size});
    }
    for (auto& block : m_onAir)
    {
        ++block.transmissions;
        const auto share = static_cast<double>(block.blocks) / m_used;
        queue.ChargeSent(block.bytes,
                         share * m_settings.ttiSeconds,
                         Watts(m_used, totalWatts),
                         m_used * BLOCK_HZ);
    }
    return m_used;
}

void
OfdmaLink::Received(const double* wanted,
                    const double* unwanted,
                    double density,
                    int64_t tti,
                    RandomVariableStream& random)
{
    std::transform(wanted, wanted + m_used, unwanted, m_sinr.begin(), std::divides<>());
    Report report{tti - 1 + m_settings.harqRtt, 0, density, 0, 0};
    for (auto& block : m_onAir)
    {
        const auto* sinr = m_sinr.data() + block.offset;
        const auto [errorRate, information] =
            m_codes.ErrorRate(sinr, block.blocks, block.mcs, block.history);
        block.sinr = std::accumulate(sinr, sinr + block.blocks, 0.0) / block.blocks;
        block.errorRate = errorRate;
        block.arrived = random.GetValue() > errorRate;
        block.feedbackDue = report.due;
        if (block.transmissions == 1)
        {
            ++report.sent;
            report.broken += !block.arrived;
        }
        const auto share = static_cast<double>(block.blocks) / m_used;
        queue.ChargeReceived(block.bytes, share * m_settings.ttiSeconds, block.sinr);
        if (!block.arrived)
        {
            block.history.push_back(m_codes.Remembered(block.mcs, block.blocks, information));
        }
    }
    if (*wanted > 0) // otherwise it sent, and couldn't receive
    {
        report.quality = Measure(wanted, unwanted, m_used, density);
    }
    m_reports.push_back(report);
}

void
OfdmaLink::EndTti()
{
    for (const auto& block : m_onAir)
    {
        if (block.arrived)
        {
            queue.Arrived(block.bytes);
        }
    }
    std::move(m_onAir.begin(), m_onAir.end(), std::back_inserter(m_waiting));
    m_onAir.clear();
}

double
OfdmaLink::Measure(const double* wanted, const double* unwanted, uint32_t blocks, double density)
{
    const auto gain = std::accumulate(wanted, wanted + blocks, 0.0) / blocks / density;
    const auto interference = std::accumulate(unwanted, unwanted + blocks, 0.0) / blocks;
    const auto weight = m_measured.known ? m_settings.ewmaWeight : 1.0;
    m_measured.known = true;
    m_measured.gain += weight * (gain - m_measured.gain);
    m_measured.interference += weight * (interference - m_measured.interference);
    m_measured.sinr = m_measured.gain * density / m_measured.interference;
    m_measured.watts = density * blocks * BLOCK_HZ;
    return gain / interference;
}

void
OfdmaLink::Sounded(const double* wanted, const double* unwanted, uint32_t blocks, double density)
{
    if (*wanted > 0)
    {
        m_adaptation.Measured(Measure(wanted, unwanted, blocks, density));
    }
}

void
OfdmaLink::Feedback(int64_t tti)
{
    for (; !m_reports.empty() && m_reports.front().due <= tti; m_reports.pop_front())
    {
        const auto& report = m_reports.front();
        if (report.quality > 0)
        {
            m_adaptation.Measured(report.quality);
        }
        if (report.sent > 0)
        {
            m_adaptation.Feedback(report.sent, report.broken, report.density);
        }
    }
    for (; !m_waiting.empty() && m_waiting.front().feedbackDue <= tti; m_waiting.pop_front())
    {
        auto& block = m_waiting.front();
        if (block.arrived)
        {
            continue;
        }
        if (block.transmissions < m_settings.mostTransmissions)
        {
            m_broken.push_back(std::move(block));
        }
        else
        {
            queue.GivenUp(block.bytes, block.tries);
        }
    }
}

int64_t
OfdmaLink::NextFeedback() const
{
    return m_reports.empty() ? -1 : m_reports.front().due;
}

} // namespace collapipe
