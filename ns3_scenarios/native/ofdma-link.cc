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

/// The SINR of a flat channel with the same capacity as these blocks together.
double
EffectiveSinr(const double* wanted, const double* unwanted, uint32_t blocks)
{
    double sum = 0;
    for (uint32_t block = 0; block < blocks; ++block)
    {
        sum += std::log1p(wanted[block] / unwanted[block]);
    }
    return std::expm1(sum / blocks);
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
      m_adaptation(codes, settings.targetBler, settings.outerLoopStepDb),
      m_mostOutstanding(settings.harqProcesses * CeilDivide(bandBlocks, OfdmaCodes::MOST_BLOCKS)),
      m_listeners{to},
      m_sinr(bandBlocks)
{
}

OfdmaLink::OfdmaLink(uint32_t number,
                     const std::vector<OfdmaLink*>& members,
                     const OfdmaSettings& settings,
                     OfdmaCodes& codes)
    : number(number),
      cell(members.front()->cell),
      from(members.front()->from),
      to(members.front()->to),
      queue(members.front()->queue.MostTries()),
      watts(members.front()->watts),
      m_settings(settings),
      m_codes(codes),
      m_adaptation(codes, settings.targetBler, settings.outerLoopStepDb),
      m_mostOutstanding(members.front()->m_mostOutstanding),
      m_sinr(members.front()->m_sinr.size())
{
    for (auto* link : members)
    {
        m_members.push_back({link, OfdmaQueue(queue.MostTries())});
        link->groups.push_back(this);
    }
}

void
OfdmaLink::Push(OfdmaItem item, const std::vector<uint64_t>& ids, uint64_t size)
{
    item.id = ids.front();
    for (std::size_t i = 0; i < m_members.size(); ++i)
    {
        auto copy = item;
        copy.id = ids[i];
        m_members[i].inbox.Push(std::move(copy), size);
    }
    queue.Push(std::move(item), size);
}

bool
OfdmaLink::CutFrom(const OfdmaLink& member, uint64_t id, OfdmaItem& cut)
{
    const auto found = std::find_if(m_members.begin(), m_members.end(), [&](const auto& other) {
        return other.link == &member;
    });
    if (!found->inbox.Cut(id, cut))
    {
        return false;
    }
    const ByteRange item{cut.begin, cut.end};
    if (!AnyLacks(item))
    {
        queue.Drop(item);
    }
    queue.Forget([this](ByteRange bytes) { return !AnyLacks(bytes); });
    return true;
}

std::vector<OfdmaRemainder>
OfdmaLink::PartWith(const OfdmaLink& member)
{
    const auto found = std::find_if(m_members.begin(), m_members.end(), [&](const auto& other) {
        return other.link == &member;
    });
    auto parts = found->inbox.TakeAll();
    for (const auto& part : parts)
    {
        const ByteRange item{part.item.begin, part.item.end};
        if (!AnyLacks(item))
        {
            queue.Drop(item);
        }
    }
    queue.Forget([this](ByteRange bytes) { return !AnyLacks(bytes); });
    return parts;
}

void
OfdmaLink::Move(uint32_t newCell, uint32_t newFrom, uint32_t newTo)
{
    for (const auto* blocks : {&m_broken, &m_waiting})
    {
        for (const auto& block : *blocks)
        {
            if (block.arrived)
            {
                continue;
            }
            queue.MostTries() > 0 ? queue.SendAgain(block.bytes, block.tries)
                                  : queue.Lose(block.bytes);
        }
    }
    m_broken.clear();
    m_waiting.clear();
    m_reports.clear();
    m_qualities.clear();
    m_adaptation.Reset();
    m_measured = {};
    m_mcs = 0;
    credit = 0;
    cell = newCell;
    from = newFrom;
    to = newTo;
    m_listeners = {to};
}

bool
OfdmaLink::AnyLacks(ByteRange bytes) const
{
    return std::any_of(m_members.begin(), m_members.end(), [bytes](const auto& member) {
        return member.inbox.Lacks(bytes);
    });
}

bool
OfdmaLink::Listens(uint32_t receiver) const
{
    return std::any_of(m_onAir.begin(), m_onAir.end(), [&](const auto& block) {
        return Wants(receiver, block);
    });
}

void
OfdmaLink::FollowMembers()
{
    if (m_members.empty())
    {
        return;
    }
    FollowQuality();
    m_listeners.clear();
    double most = 0;
    double mostInBand = 0;
    double mostPerBlock = 0;
    bool open = true;
    for (const auto& [link, inbox] : m_members)
    {
        if (inbox.Unresolved() > 0)
        {
            m_listeners.push_back(link->to);
        }
        most = std::max(most, link->watts);
        mostInBand = std::max(mostInBand, link->Watts(m_sinr.size(), link->watts));
        mostPerBlock = std::max(mostPerBlock, link->m_wattsPerBlock);
        open = open && link->openLoop.p0 > 0;
    }
    if (!powerGranted)
    {
        watts = open ? most : mostInBand;
        openLoop = open ? m_members.front().link->openLoop : OfdmaOpenLoop{};
        m_wattsPerBlock = mostPerBlock;
    }
    std::erase_if(m_broken, [this](const auto& block) {
        const bool unwanted = !AnyLacks(block.bytes); // who lacked it has been dropped
        if (unwanted)
        {
            queue.Arrived(block.bytes);
        }
        return unwanted;
    });
}

/// The quality of the weakest member that lacks the next bytes.
void
OfdmaLink::FollowQuality()
{
    if (m_members.empty())
    {
        return;
    }
    const auto next = queue.Next();
    const OfdmaAdaptation* weakest = nullptr;
    for (const auto& [link, inbox] : m_members)
    {
        if (inbox.Lacks({next, next + 1}) &&
            (!weakest || link->m_adaptation.IsWeakerThan(*weakest)))
        {
            weakest = &link->m_adaptation;
        }
    }
    if (weakest)
    {
        m_adaptation.Follow(*weakest);
    }
}

/// Calls with the queue of each receiver that lacks some of the block, and with their number.
template <typename Action>
void
OfdmaLink::ForEachCharged(const OfdmaTransportBlock& block, Action action)
{
    uint32_t wanting = 0;
    for (uint32_t receiver = 0; receiver < Receivers(); ++receiver)
    {
        wanting += Wants(receiver, block);
    }
    for (uint32_t receiver = 0; receiver < Receivers(); ++receiver)
    {
        if (Wants(receiver, block))
        {
            action(Inbox(receiver), wanting);
        }
    }
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
    return !silent &&
           (!m_broken.empty() || (queue.Waiting() > 0 && m_waiting.size() < m_mostOutstanding));
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
        const auto& broken = m_broken.front();
        ForEachCharged(broken, [&broken](OfdmaQueue& inbox, uint32_t) {
            inbox.CountRetransmission(broken.bytes);
        });
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
        // A part with few bytes to send leaves more blocks to the later ones than these can use.
        auto size = std::min(CeilDivide(blocks - m_used, parts), OfdmaCodes::MOST_BLOCKS);
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
        OfdmaTransportBlock block{bytes, tries, m_mcs = mcs, size};
        block.copies.resize(m_members.size());
        add(std::move(block));
    }
    for (auto& block : m_onAir)
    {
        ++block.transmissions;
        const auto share = static_cast<double>(block.blocks) / m_used;
        ForEachCharged(block, [&](OfdmaQueue& inbox, uint32_t receivers) {
            inbox.ChargeSent(block.bytes,
                             share * m_settings.ttiSeconds / receivers,
                             Watts(m_used, totalWatts),
                             m_used * BLOCK_HZ);
        });
    }
    return m_used;
}

void
OfdmaLink::Received(uint32_t receiver,
                    const double* wanted,
                    const double* unwanted,
                    double density,
                    int64_t tti,
                    RandomVariableStream& random)
{
    std::transform(wanted, wanted + m_used, unwanted, m_sinr.begin(), std::divides<>());
    for (auto& block : m_onAir)
    {
        if (!Wants(receiver, block))
        {
            continue;
        }
        auto& history = m_members.empty() ? block.history : block.copies[receiver].history;
        const auto* sinr = m_sinr.data() + block.offset;
        const auto [errorRate, information] =
            m_codes.ErrorRate(sinr, block.blocks, block.mcs, history);
        block.sinr = std::accumulate(sinr, sinr + block.blocks, 0.0) / block.blocks;
        block.errorRate = errorRate;
        block.arrived = random.GetValue() > errorRate;
        const auto share = static_cast<double>(block.blocks) / m_used;
        Inbox(receiver).ChargeReceived(block.bytes, share * m_settings.ttiSeconds, block.sinr);
        if (!block.arrived)
        {
            history.push_back(m_codes.Remembered(block.mcs, block.blocks, information));
        }
        else if (!m_members.empty())
        {
            block.copies[receiver].arrived = true;
        }
    }
    if (*wanted > 0) // otherwise it sent, and couldn't receive
    {
        auto& link = Receiver(receiver);
        const auto quality = link.Measure(wanted, unwanted, m_used, density);
        if (quality > 0)
        {
            const auto delay = fades ? (m_settings.harqRtt + 1) / 2 : m_settings.harqRtt;
            link.m_qualities.push_back({tti - 1 + delay, quality});
        }
    }
}

void
OfdmaLink::EndTti(double density, int64_t tti)
{
    Report report{tti - 1 + m_settings.harqRtt, density, 0, 0};
    for (auto& block : m_onAir)
    {
        block.feedbackDue = report.due;
        for (std::size_t i = 0; i < m_members.size(); ++i)
        {
            if (block.copies[i].arrived)
            {
                m_members[i].inbox.Arrived(block.bytes);
            }
        }
        block.arrived = m_members.empty() ? block.arrived : !AnyLacks(block.bytes);
        if (block.arrived)
        {
            queue.Arrived(block.bytes);
        }
        if (block.transmissions == 1)
        {
            ++report.sent;
            report.broken += !block.arrived;
        }
    }
    m_reports.push_back(report);
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
    return fades ? EffectiveSinr(wanted, unwanted, blocks) / density : gain / interference;
}

void
OfdmaLink::Sounded(const double* wanted, const double* unwanted, uint32_t blocks, double density)
{
    if (*wanted > 0)
    {
        m_adaptation.Measured(Measure(wanted, unwanted, blocks, density), QualityWeight());
    }
}

void
OfdmaLink::Feedback(int64_t tti)
{
    for (; !m_qualities.empty() && m_qualities.front().due <= tti; m_qualities.pop_front())
    {
        m_adaptation.Measured(m_qualities.front().measured, QualityWeight());
    }
    FollowQuality(); // of members, which come before their groups
    for (; !m_reports.empty() && m_reports.front().due <= tti; m_reports.pop_front())
    {
        const auto& report = m_reports.front();
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
        if (!m_members.empty() && !AnyLacks(block.bytes)) // who lacked it has been dropped
        {
            queue.Arrived(block.bytes);
            continue;
        }
        if (block.transmissions < m_settings.mostTransmissions)
        {
            m_broken.push_back(std::move(block));
        }
        else
        {
            GiveUp(block);
        }
    }
}

/// HARQ gave up on a block. Members that lack it after the last attempt have failed, and are
/// dropped from the transfer; what others lack of it is sent again.
void
OfdmaLink::GiveUp(const OfdmaTransportBlock& block)
{
    if (m_members.empty())
    {
        queue.GivenUp(block.bytes, block.tries);
        return;
    }
    const bool last = block.tries >= queue.MostTries();
    for (auto& member : m_members)
    {
        if (last && member.inbox.Lacks(block.bytes))
        {
            member.inbox.Lose(block.bytes);
        }
    }
    std::vector<std::pair<ByteRange, ByteRange>> parts; // of items, and these
    queue.ForEach(block.bytes, [&parts](const OfdmaItem& item, ByteRange part) {
        parts.push_back({part, {item.begin, item.end}});
    });
    for (const auto& [part, item] : parts)
    {
        if (AnyLacks(part))
        {
            queue.SendAgain(part, last ? 0 : block.tries + 1);
            continue;
        }
        queue.Arrived(part);
        if (!AnyLacks(item))
        {
            queue.Drop(item);
        }
    }
}

int64_t
OfdmaLink::NextFeedback() const
{
    // Qualities are due at the same time or before, and are only needed when something is sent.
    return m_reports.empty() ? -1 : m_reports.front().due;
}

} // namespace collapipe
