#include "ofdma-handover.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace collapipe
{

using namespace ns3;

bool
Attachment::Measured(const HandoverSettings& settings,
                     int64_t time,
                     const std::vector<double>& powersDb,
                     uint32_t& target)
{
    bool triggered = false;
    const auto least = powersDb[serving] + settings.offsetDb;
    for (uint32_t station = 0; station < powersDb.size(); ++station)
    {
        auto& its = since[station];
        if (station == serving || !(powersDb[station] - settings.hysteresisDb > least))
        {
            its = -1;
            continue;
        }
        its = its < 0 ? time : its;
        if (time - its >= settings.timeToTrigger &&
            (!triggered || powersDb[station] > powersDb[target]))
        {
            triggered = true;
            target = station;
        }
    }
    return triggered;
}

OfdmaHandover::OfdmaHandover(const HandoverSettings& settings,
                             Ptr<const PairChannel> channel,
                             OfdmaRadio& radio)
    : m_settings(settings),
      m_channel(channel),
      m_radio(radio)
{
}

void
OfdmaHandover::AddStation(uint32_t node, uint32_t number, Ptr<MobilityModel> place, double watts)
{
    m_stations.push_back({node, number, place, 10 * std::log10(watts)});
}

void
OfdmaHandover::AddTerminal(const Attachment& attachment,
                           Ptr<MobilityModel> place,
                           OfdmaLink& up,
                           OfdmaLink& down)
{
    m_terminals.push_back({attachment, place, &up, &down});
    m_terminals.back().attachment.since.resize(m_stations.size(), -1);
}

std::vector<uint32_t>
OfdmaHandover::StationNumbers() const
{
    std::vector<uint32_t> numbers;
    for (const auto& station : m_stations)
    {
        numbers.push_back(station.number);
    }
    return numbers;
}

int64_t
OfdmaHandover::Attend(int64_t now, int64_t sinceStart)
{
    auto next = std::numeric_limits<int64_t>::max();
    for (auto& terminal : m_terminals)
    {
        auto& attachment = terminal.attachment;
        if (attachment.next <= now)
        {
            const auto missed = (now - attachment.next) / m_settings.period;
            if (missed > 0) // there was no simulation, as nobody was there
            {
                attachment.since.assign(m_stations.size(), -1);
            }
            const auto time = attachment.next + missed * m_settings.period;
            uint32_t target = 0;
            // In an interruption it synchronises, and doesn't measure.
            if (time >= attachment.resumes &&
                attachment.Measured(m_settings, time, PowersDb(terminal), target))
            {
                Move(terminal, target, now, sinceStart);
            }
            attachment.next = time + m_settings.period;
        }
        const bool silent = now < attachment.resumes;
        terminal.up->silent = terminal.down->silent = silent;
        next = std::min({next, attachment.next, silent ? attachment.resumes : next});
    }
    return next;
}

std::vector<double>
OfdmaHandover::PowersDb(const Terminal& terminal) const
{
    std::vector<double> powers;
    for (const auto& station : m_stations)
    {
        powers.push_back(station.powerDb + m_channel->MeanGainDb(station.place, terminal.place));
    }
    return powers;
}

void
OfdmaHandover::Move(Terminal& terminal, uint32_t target, int64_t now, int64_t sinceStart)
{
    auto& attachment = terminal.attachment;
    const auto& to = m_stations[target];
    m_changes.push_back(
        {attachment.node, m_stations[attachment.serving].node, to.node, sinceStart});
    attachment.serving = target;
    attachment.since.assign(m_stations.size(), -1);
    attachment.resumes = now + m_settings.interruption;
    m_radio.Move(*terminal.up, target, terminal.up->from, to.number, m_settings.forwards);
    m_radio.Move(*terminal.down, target, to.number, terminal.down->to, m_settings.forwards);
}

std::vector<Attachment>
OfdmaHandover::Attachments() const
{
    std::vector<Attachment> found;
    for (const auto& terminal : m_terminals)
    {
        found.push_back(terminal.attachment);
    }
    return found;
}

} // namespace collapipe
