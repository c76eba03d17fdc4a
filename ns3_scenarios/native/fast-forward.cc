#include "fast-forward.h"

#include "line-fit.h"
#include "loss-runs.h"
#include "random-streams.h"

#include "ns3/simulator.h"

#include <algorithm>
#include <cmath>

namespace collapipe
{

using namespace ns3;

namespace
{

constexpr int64_t WINDOW_NS = 10'000'000;
constexpr std::size_t FEWEST = 16;        // windows in the sample
constexpr std::size_t WARM = 50;          // windows until a stream's adaptation has settled
constexpr double MOST_ERROR = 0.015;      // standard error of a rate, relative to it
constexpr double MOST_CHANGE = 0.03;      // relative, from the quarter before the sample
constexpr int64_t MOST_SKIPPED = 60;      // times the simulated time
constexpr uint64_t OWN_EVENTS = 4;        // the most in a window in which nothing else happens

// The counters of a transfer before its tally, and the number of values in a tally.
enum Counter
{
    PASSED,
    LOST,
    LOST_RUNS,
    RETRANSMISSIONS,
    TALLY
};

constexpr std::size_t TALLY_SIZE = 5;
constexpr std::size_t HEAD_SIZE = TALLY + TALLY_SIZE;
constexpr std::size_t NODE_SIZE = 3;

double
InSeconds(int64_t duration)
{
    return static_cast<double>(duration) * 1e-9;
}

void
Append(std::vector<double>& counters, const Tally& tally)
{
    counters.insert(counters.end(),
                    {tally.airtime,
                     tally.energy,
                     tally.bandwidthTime,
                     tally.sinrTime,
                     tally.rxTime});
}

/// The inverse of Append().
Tally
TallyAt(const double* counters)
{
    return {counters[0], counters[1], counters[2], counters[3], counters[4]};
}

} // namespace

FastForward::FastForward(Records& records, const Streams& streams)
    : m_clock(records.clock),
      m_links(records.links),
      m_usage(records.usage),
      m_streams(streams),
      m_random(CreateObject<UniformRandomVariable>())
{
    m_random->SetStream(StreamNumber("losses of what is skipped"));
}

SimClock::Ending
FastForward::Advance(int64_t until)
{
    for (;;)
    {
        Watch();
        if (const auto duration = Skippable(until); duration >= WINDOW_NS)
        {
            Skip(duration);
        }
        const bool looks = m_nextLook >= 0 && (until < 0 || m_nextLook < until);
        const auto ending = m_clock.Advance(looks ? m_nextLook : until);
        if (!looks || ending != SimClock::REACHED)
        {
            return ending;
        }
        Look();
    }
}

void
FastForward::Restart()
{
    m_heads.clear();
    m_windows.clear();
}

/// Discards the readings if the active transfers have changed.
void
FastForward::Watch()
{
    std::vector<std::pair<Stream*, uint64_t>> heads;
    for (const auto& [pair, stream] : m_streams)
    {
        if (const auto id = stream->Head().id)
        {
            heads.emplace_back(stream.get(), id);
        }
    }
    if (heads == m_heads)
    {
        return;
    }
    m_heads.swap(heads);
    m_seen.clear();
    m_added.clear();
    m_skipped = 0;
    m_rates.clear();
    m_nextLook = m_heads.empty() ? -1 : m_clock.Now() + WINDOW_NS;
    m_events = Simulator::GetEventCount();
}

void
FastForward::Look()
{
    auto now = Count();
    for (std::size_t i = 0; i < m_added.size(); ++i)
    {
        now[i] -= m_added[i];
    }
    m_seen.push_back(std::move(now));
    for (const auto& [stream, id] : m_heads)
    {
        ++m_windows[stream];
    }
    const auto events = Simulator::GetEventCount();
    // Without other events there are no more readings, so that Advance() finds no event left.
    const bool dead = events <= m_events + OWN_EVENTS;
    m_events = events;
    m_nextLook = dead ? -1 : m_clock.Now() + WINDOW_NS;
    Judge();
}

FastForward::Counters
FastForward::Count() const
{
    Counters counters;
    for (const auto& [stream, id] : m_heads)
    {
        const auto head = stream->Head();
        counters.insert(counters.end(),
                        {static_cast<double>(head.passed),
                         static_cast<double>(head.lost),
                         static_cast<double>(head.lostRuns),
                         static_cast<double>(head.account.retransmissions)});
        Append(counters, head.account.tally);
    }
    for (const auto& link : m_links)
    {
        Append(counters, link.total);
    }
    for (const auto& used : m_usage)
    {
        counters.insert(counters.end(), {used.txAirtime, used.rxAirtime, used.txEnergy});
    }
    return counters;
}

/// Determines whether all transfers have settled, and their rates.
void
FastForward::Judge()
{
    m_rates.clear();
    m_first = m_seen.size() / 2;
    const auto end = m_seen.size();
    const auto cold = std::any_of(m_heads.begin(), m_heads.end(), [this](const auto& head) {
        return m_windows[head.first] < WARM;
    });
    if (end - m_first < FEWEST || cold)
    {
        return;
    }
    std::vector<double> rates;
    for (std::size_t head = 0; head < m_heads.size(); ++head)
    {
        const auto passed = [this, head](std::size_t i) {
            return m_seen[i][head * HEAD_SIZE + PASSED];
        };
        const auto all = LineFit::Through(m_first, end, passed);
        const auto before = LineFit::Through(m_first / 2, m_first, passed);
        if (all.slope <= 0 || all.error > MOST_ERROR * all.slope ||
            std::abs(all.slope - before.slope) > MOST_CHANGE * all.slope)
        {
            return;
        }
        rates.push_back(all.slope / InSeconds(WINDOW_NS));
    }
    m_rates.swap(rates);
}

/// By how much the clock may jump now, in ns.
int64_t
FastForward::Skippable(int64_t until) const
{
    if (m_rates.empty())
    {
        return 0;
    }
    const auto simulated = static_cast<int64_t>(m_seen.size()) * WINDOW_NS;
    auto most = static_cast<double>(MOST_SKIPPED * simulated - m_skipped);
    if (until >= 0)
    {
        most = std::min(most, static_cast<double>(until - m_clock.Now()));
    }
    for (std::size_t head = 0; head < m_heads.size(); ++head)
    {
        const auto unsent = static_cast<double>(m_heads[head].first->Head().unsent);
        most = std::min(most, unsent / m_rates[head] * 1e9);
    }
    return static_cast<int64_t>(most);
}

void
FastForward::Skip(int64_t duration)
{
    const auto sampled = static_cast<int64_t>(m_seen.size() - 1 - m_first) * WINDOW_NS;
    const auto scale = InSeconds(duration) / InSeconds(sampled);
    const auto before = Count();
    auto change = m_seen.back();
    for (std::size_t i = 0; i < change.size(); ++i)
    {
        change[i] = (change[i] - m_seen[m_first][i]) * scale;
    }
    const auto* next = change.data();
    for (std::size_t head = 0; head < m_heads.size(); ++head, next += HEAD_SIZE)
    {
        m_heads[head].first->Skip(Went(head, InSeconds(duration), next));
    }
    for (auto& link : m_links)
    {
        link.total.Add(TallyAt(next));
        next += TALLY_SIZE;
        if (link.measured > m_nextLook - WINDOW_NS - sampled) // then also in the skipped time
        {
            link.measured += duration;
        }
    }
    for (auto& used : m_usage)
    {
        used.txAirtime += next[0];
        used.rxAirtime += next[1];
        used.txEnergy += next[2];
        next += NODE_SIZE;
    }
    m_clock.Skip(duration);
    m_skipped += duration;
    m_nextLook += duration;
    const auto after = Count();
    m_added.resize(after.size());
    for (std::size_t i = 0; i < after.size(); ++i)
    {
        m_added[i] += after[i] - before[i];
    }
}

/// What a transfer did in this many seconds, in which its counters changed by `change`.
Extrapolated
FastForward::Went(std::size_t head, double duration, const double* change) const
{
    const auto now = m_heads[head].first->Head();
    Extrapolated went;
    went.bytes = std::min(static_cast<uint64_t>(m_rates[head] * duration), now.unsent);
    went.account = {TallyAt(change + TALLY),
                    static_cast<uint32_t>(std::lround(change[RETRANSMISSIONS]))};
    if (change[LOST] > 0)
    {
        const auto share = std::min(change[LOST] / change[PASSED], 1.0);
        const auto run = change[LOST] / change[LOST_RUNS];
        went.lost = LossRuns(went.bytes, share, run, now.unit, *m_random);
    }
    return went;
}

} // namespace collapipe
