#include "ofdma-band.h"

#include "numerology.h"

#include <algorithm>
#include <map>
#include <utility>

namespace collapipe
{

using namespace ns3;

namespace
{

/// A pseudorandom number (Steele, Lea, Flood: splitmix64, OOPSLA 2014).
uint64_t
Mixed(uint64_t value)
{
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

} // namespace

OfdmaBand::OfdmaBand(uint32_t number,
                     uint32_t blocks,
                     double centreHz,
                     Ptr<OfdmaGain> gain,
                     const std::vector<OfdmaNode>& nodes,
                     const OfdmaSettings& settings)
    : number(number),
      blocks(blocks),
      gains(gain, blocks, centreHz),
      m_nodes(nodes),
      m_settings(settings),
      m_tti(Seconds(settings.ttiSeconds)),
      m_scheduler(blocks, nodes.size()),
      m_load(nodes.size()),
      m_wanted(blocks),
      m_unwanted(blocks)
{
}

uint32_t
OfdmaBand::AddCell()
{
    ++m_cells;
    return m_scheduler.AddCell();
}

void
OfdmaBand::AddLink(OfdmaLink& link)
{
    m_links.push_back(&link);
}

void
OfdmaBand::AddNoise(uint32_t node, std::function<double(Time)> share)
{
    const auto density = m_nodes[node].watts / (blocks * BLOCK_HZ);
    m_noises.push_back({{node, node, 0, blocks, density}, std::move(share)});
}

void
OfdmaBand::Sound(OfdmaLink& link, uint64_t id)
{
    m_toSound.push_back({&link, id});
}

bool
OfdmaBand::Wanted() const
{
    return !m_toSound.empty() ||
           std::any_of(m_links.begin(), m_links.end(), [](auto* link) { return link->Ready(); });
}

bool
OfdmaBand::OnAir() const
{
    return !m_signals.empty();
}

void
OfdmaBand::Send(int64_t tti, OfdmaMedium& medium, const OfdmaTraces& traces)
{
    m_signals.clear();
    m_sending.clear();
    m_scheduler.Begin(tti);
    for (auto* link : m_links)
    {
        link->fades = gains.HasMultipath();
        if (link->openLoop.p0 > 0 && !link->IsGroup())
        {
            const auto gain = gains.Slow(link->from, link->to); // a long-term mean
            double sum = 0;
            for (uint32_t block = 0; block < blocks; ++block)
            {
                sum += gain[block];
            }
            link->FollowGain(sum / blocks);
        }
        link->FollowMembers(); // which come before their groups
    }
    StartSoundings();
    StartData();
    Place(tti);
    TraceStart(traces);
    if (OnAir())
    {
        if (!m_noises.empty())
        {
            StartNoises();
        }
        medium.Transmit(number, m_signals, m_tti);
    }
}

/// Starts as many soundings in each cell as the half-duplex rule permits; their senders share the
/// band, which has no other signals in this TTI.
void
OfdmaBand::StartSoundings()
{
    m_sounding.clear();
    if (m_toSound.empty())
    {
        return;
    }
    std::vector<Sounding> later;
    std::vector<std::map<uint32_t, const OfdmaLink*>> senders(m_cells); // by their strongest link
    for (const auto& sounding : m_toSound)
    {
        const auto& link = *sounding.link;
        auto& ofCell = senders[link.cell];
        if (!link.silent && (ofCell.size() < blocks || ofCell.count(link.from)) &&
            m_scheduler.Claim(link))
        {
            m_sounding.push_back(sounding);
            auto& strongest = ofCell[link.from];
            if (!strongest || strongest->Watts(blocks, strongest->watts) <
                                  link.Watts(blocks, link.watts))
            {
                strongest = &link;
            }
        }
        else
        {
            later.push_back(sounding);
        }
    }
    m_toSound.swap(later);
    for (uint32_t cell = 0; cell < m_cells; ++cell)
    {
        uint32_t first = 0;
        for (const auto& [sender, link] : senders[cell])
        {
            const auto share = static_cast<uint32_t>(blocks / senders[cell].size());
            const auto watts = link->Watts(share, link->watts);
            m_signals.push_back({sender, sender, first, share, watts / (share * BLOCK_HZ)});
            first += share;
            m_scheduler.Close(cell);
        }
    }
}

void
OfdmaBand::StartData()
{
    const auto& allocations = m_scheduler.Allocate(m_links);
    // A sender to several receivers without the power for all scales them equally, as a terminal
    // with several carriers does (TS 36.213, 5.1.1.1).
    std::fill(m_load.begin(), m_load.end(), 0);
    for (const auto& [link, most] : allocations)
    {
        m_load[link->from] += link->Watts(most, link->watts);
    }
    for (const auto& [link, most] : allocations)
    {
        const auto limit = m_nodes[link->from].watts;
        const auto load = m_load[link->from];
        const auto own = link->Watts(most, link->watts);
        const auto watts = load > limit ? own * (limit / load) : own;
        const auto used = link->Compose(most, watts);
        link->credit -= used;
        if (used > 0)
        {
            m_sending.push_back({link, link->Watts(used, watts), used, {}});
        }
    }
}

/// Adds noise to the signals, for which there are no receivers. Noise for a part of the TTI counts
/// with its mean power.
void
OfdmaBand::StartNoises()
{
    for (const auto& [signal, share] : m_noises)
    {
        if (const auto part = share(m_tti); part > 0)
        {
            m_signals.push_back(signal);
            m_signals.back().density *= part;
        }
    }
    SortSignals();
}

/// The order in which all engines add signals.
void
OfdmaBand::SortSignals()
{
    std::sort(m_signals.begin(), m_signals.end(), [](const auto& a, const auto& b) {
        return std::pair(a.from, a.first) < std::pair(b.from, b.first);
    });
}

/// Gives every transmission its resource blocks. A cell that doesn't fill the band begins at a
/// block drawn for cell and TTI, so that interference between cells is averaged over all blocks.
void
OfdmaBand::Place(int64_t tti)
{
    std::sort(m_sending.begin(), m_sending.end(), [](const auto& a, const auto& b) {
        return std::pair(a.link->from, a.link->number) < std::pair(b.link->from, b.link->number);
    });
    std::vector<uint32_t> next(m_cells);
    for (const auto& sending : m_sending)
    {
        next[sending.link->cell] += sending.blocks;
    }
    for (uint32_t cell = 0; cell < m_cells; ++cell)
    {
        const auto places = blocks - next[cell] + 1;
        next[cell] = Mixed(Mixed(tti) ^ (uint64_t{number} << 32 | cell)) % places;
    }
    for (auto& [link, watts, used, signal] : m_sending)
    {
        signal = {link->from, link->to, next[link->cell], used, watts / (used * BLOCK_HZ)};
        next[link->cell] += used;
        m_signals.push_back(signal);
    }
    SortSignals();
}

void
OfdmaBand::TraceStart(const OfdmaTraces& traces) const
{
    for (const auto& [link, watts, used, signal] : m_sending)
    {
        traces.transmission({link, m_settings.ttiSeconds, watts, used});
    }
    for (auto signal = m_signals.begin(); signal != m_signals.end();)
    {
        const auto from = signal->from;
        double watts = 0;
        for (; signal != m_signals.end() && signal->from == from; ++signal)
        {
            watts += signal->density * signal->blocks * BLOCK_HZ;
        }
        traces.phyState(from, true, m_tti, watts);
    }
    std::vector<uint32_t> receivers;
    for (const auto& sending : m_sending)
    {
        for (uint32_t receiver = 0; receiver < sending.link->Receivers(); ++receiver)
        {
            if (sending.link->Listens(receiver))
            {
                receivers.push_back(sending.link->Receiver(receiver).to);
            }
        }
    }
    for (const auto& sounding : m_sounding)
    {
        receivers.push_back(sounding.link->to);
    }
    std::sort(receivers.begin(), receivers.end());
    receivers.erase(std::unique(receivers.begin(), receivers.end()), receivers.end());
    for (const auto receiver : receivers)
    {
        traces.phyState(receiver, false, m_tti, 0);
    }
}

void
OfdmaBand::Receive(int64_t tti,
                   OfdmaMedium& medium,
                   RandomVariableStream& random,
                   const OfdmaTraces& traces)
{
    EndData(tti, medium, random, traces);
    EndSoundings(medium, traces);
    m_signals.clear();
}

void
OfdmaBand::Listen(const OfdmaSignal& signal, OfdmaMedium& medium)
{
    medium.Receive(number, signal, m_wanted.data(), m_unwanted.data());
    const auto noise = m_nodes[signal.to].noise;
    for (uint32_t block = 0; block < signal.blocks; ++block)
    {
        m_unwanted[block] += noise;
    }
}

void
OfdmaBand::EndData(int64_t tti,
                   OfdmaMedium& medium,
                   RandomVariableStream& random,
                   const OfdmaTraces& traces)
{
    for (const auto& [link, watts, used, signal] : m_sending)
    {
        for (uint32_t receiver = 0; receiver < link->Receivers(); ++receiver)
        {
            if (!link->Listens(receiver))
            {
                continue;
            }
            const auto& alone = link->Receiver(receiver);
            auto heard = signal;
            heard.to = alone.to;
            Listen(heard, medium);
            link->Received(receiver,
                           m_wanted.data(),
                           m_unwanted.data(),
                           signal.density,
                           tti,
                           random);
            for (const auto& block : link->OnAir())
            {
                if (link->Wants(receiver, block))
                {
                    const auto share = static_cast<double>(block.blocks) / used;
                    traces.reception({link,
                                      &alone,
                                      &block,
                                      link->Sinr().data() + block.offset,
                                      share * m_settings.ttiSeconds});
                }
            }
        }
        link->EndTti(signal.density, tti);
    }
}

void
OfdmaBand::EndSoundings(OfdmaMedium& medium, const OfdmaTraces& traces)
{
    for (const auto& [link, id] : m_sounding)
    {
        auto signal = *std::find_if(m_signals.begin(), m_signals.end(), [link](const auto& other) {
            return other.from == link->from;
        });
        signal.to = link->to;
        Listen(signal, medium);
        link->Sounded(m_wanted.data(), m_unwanted.data(), signal.blocks, signal.density);
        // One signal serves all links of its sender.
        const auto links = std::count_if(m_sounding.begin(), m_sounding.end(), [link](auto& other) {
            return other.link->from == link->from;
        });
        const auto seconds = m_settings.ttiSeconds / links;
        const auto hertz = signal.blocks * BLOCK_HZ;
        OfdmaSounding sounding{link, id, {}};
        sounding.tally.Sent(seconds, signal.density * hertz, hertz);
        sounding.tally.Received(seconds, link->Measured().sinr);
        if (traces.sounded)
        {
            traces.sounded(sounding);
        }
    }
    m_sounding.clear();
}

} // namespace collapipe
