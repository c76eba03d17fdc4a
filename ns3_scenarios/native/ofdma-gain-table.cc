#include "ofdma-gain-table.h"

#include "ns3/simulator.h"

#include <algorithm>
#include <cmath>

namespace collapipe
{

using namespace ns3;

OfdmaGainTable::OfdmaGainTable(Ptr<OfdmaGain> gain, uint32_t blocks, double centre)
    : m_gain(gain),
      m_blocks(blocks),
      m_centre(centre),
      m_gains(blocks)
{
}

void
OfdmaGainTable::AddSender(uint32_t node, Ptr<MobilityModel> place, double antenna)
{
    Add(m_senders, node, place, antenna);
}

void
OfdmaGainTable::AddReceiver(uint32_t node, Ptr<MobilityModel> place, double antenna)
{
    Add(m_receivers, node, place, antenna);
}

void
OfdmaGainTable::Add(std::vector<End>& ends,
                    uint32_t node,
                    Ptr<MobilityModel> place,
                    double antenna)
{
    const auto at = std::lower_bound(ends.begin(), ends.end(), node, [](auto& end, auto n) {
        return end.node < n;
    });
    if (at == ends.end() || at->node != node)
    {
        ends.insert(at, {node, place, antenna});
    }
}

bool
OfdmaGainTable::LookForMoves(std::vector<End>& ends)
{
    bool any = false;
    for (auto& end : ends)
    {
        const auto position = end.place->GetPosition();
        end.moved = !end.seen || position != end.position;
        end.position = position;
        end.seen = true;
        any |= end.moved;
    }
    return any;
}

void
OfdmaGainTable::Refresh()
{
    m_hasMultipath = m_gain->HasMultipath();
    const bool sendersMoved = LookForMoves(m_senders);
    const bool receiversMoved = LookForMoves(m_receivers);
    if (!sendersMoved && !receiversMoved)
    {
        return;
    }
    std::vector<double> gains(m_blocks);
    for (const auto& from : m_senders)
    {
        for (const auto& to : m_receivers)
        {
            if (from.node == to.node || !(from.moved || to.moved))
            {
                continue;
            }
            auto& flat = Place(from.node, to.node);
            const std::pair pair{from.node, to.node};
            if (std::isnan(flat) && !m_selective.count(pair))
            {
                m_gain->Evaluate(from.place, to.place, gains);
            }
            Evaluate(from, to, gains);
            if (std::count(gains.begin(), gains.end(), gains.front()) == m_blocks)
            {
                flat = gains.front();
                m_selective.erase(pair);
            }
            else
            {
                flat = std::nan("");
                m_selective[pair] = gains;
            }
        }
    }
}

/// The stored gain of a flat channel from one node to another.
double&
OfdmaGainTable::Place(uint32_t from, uint32_t to)
{
    m_flat.resize(std::max<std::size_t>(m_flat.size(), from + 1));
    auto& row = m_flat[from];
    if (row.size() <= to)
    {
        row.reserve(m_receivers.back().node + 1); // receivers are in order, so this is enough
        row.resize(to + 1, std::nan(""));
    }
    return row[to];
}

void
OfdmaGainTable::Evaluate(const End& from, const End& to, std::vector<double>& gains) const
{
    m_gain->Evaluate(from.place, to.place, gains);
    Apply(from.antenna * to.antenna, gains);
}

/// Adds the antennas. Gains that a model gives as nan or infinite are set to zero.
void
OfdmaGainTable::Apply(double antennas, std::vector<double>& gains)
{
    for (auto& gain : gains)
    {
        gain = std::isfinite(gain) ? gain * antennas : 0;
    }
}

void
OfdmaGainTable::StartTti()
{
    if (!m_hasMultipath)
    {
        return;
    }
    m_tti = Simulator::Now();
    for (auto* ends : {&m_senders, &m_receivers})
    {
        for (auto& end : *ends)
        {
            end.atTti = end.place->GetPosition();
        }
    }
}

OfdmaGains
OfdmaGainTable::Slow(uint32_t from, uint32_t to) const
{
    const auto& flat = m_flat[from][to];
    return std::isnan(flat) ? OfdmaGains{m_selective.at({from, to}).data(), 1}
                            : OfdmaGains{&flat, 0};
}

OfdmaGains
OfdmaGainTable::Of(uint32_t from, uint32_t to, uint32_t first, uint32_t count) const
{
    const auto slow = Slow(from, to);
    if (!m_hasMultipath)
    {
        return slow;
    }
    const auto& faded = FadedBetween(Node(m_senders, from), Node(m_receivers, to));
    if (!faded.fading)
    {
        return slow;
    }
    const auto& line = faded.fading->Line();
    if (line.IsFlat() && slow.step == 0)
    {
        line.PowerGains(faded.coefficients, 0, 1, m_gains.data());
        m_gains[0] *= slow[0];
        return {m_gains.data(), 0};
    }
    line.PowerGains(faded.coefficients, first, count, m_gains.data() + first);
    for (auto block = first; block < first + count; ++block)
    {
        m_gains[block] *= slow[block];
    }
    return {m_gains.data(), 1};
}

/// The fading over time between two nodes, evaluated for the TTI.
const OfdmaGainTable::Faded&
OfdmaGainTable::FadedBetween(const End& from, const End& to) const
{
    const auto [found, isNew] = m_faded.try_emplace(std::minmax({from.node, to.node}));
    auto& faded = found->second;
    if (isNew)
    {
        faded.channel = m_gain->Multipath(from.place, to.place);
        if (faded.channel)
        {
            faded.fading = faded.channel->Multipath(from.place, to.place, m_centre, m_blocks);
            const bool forward = faded.channel->IsFirst(from.place, to.place);
            faded.firstNode = forward ? from.node : to.node;
        }
    }
    if (!faded.channel)
    {
        return faded;
    }
    const bool forward = from.node == faded.firstNode;
    const auto& first = forward ? from.atTti : to.atTti;
    const auto& second = forward ? to.atTti : from.atTti;
    const auto instant = faded.fading->Instant(faded.channel->RunTime(m_tti));
    if (instant != faded.instant || first != faded.first || second != faded.second)
    {
        faded.first = first;
        faded.second = second;
        faded.instant = instant;
        faded.fading->Evaluate(first, second, instant, faded.coefficients);
    }
    return faded;
}

const OfdmaGainTable::End&
OfdmaGainTable::Node(const std::vector<End>& ends, uint32_t node)
{
    return *std::lower_bound(ends.begin(), ends.end(), node, [](auto& end, auto n) {
        return end.node < n;
    });
}

const OfdmaGainTable::End*
OfdmaGainTable::At(const std::vector<End>& ends, const MobilityModel* place)
{
    const auto found = std::find_if(ends.begin(), ends.end(), [place](const auto& end) {
        return PeekPointer(end.place) == place;
    });
    return found == ends.end() ? nullptr : &*found;
}

std::vector<double>
OfdmaGainTable::Between(Ptr<const MobilityModel> from, Ptr<const MobilityModel> to) const
{
    const auto* sender = At(m_senders, PeekPointer(from));
    const auto* receiver = At(m_receivers, PeekPointer(to));
    if (sender && receiver)
    {
        const auto known = Of(sender->node, receiver->node, 0, m_blocks);
        std::vector<double> gains(m_blocks);
        for (uint32_t block = 0; block < m_blocks; ++block)
        {
            gains[block] = known[block];
        }
        return gains;
    }
    std::vector<double> gains(m_blocks);
    // Loss models take non-const positions, but don't change them.
    const auto place = [](const auto& known, Ptr<const MobilityModel> other) {
        return known ? known->place : ConstCast<MobilityModel>(other);
    };
    m_gain->Evaluate(place(sender, from), place(receiver, to), gains);
    Apply((sender ? sender->antenna : 1) * (receiver ? receiver->antenna : 1), gains);
    return gains;
}

} // namespace collapipe
