#include "sim-clock.h"

#include "ns3/event-id.h"
#include "ns3/nstime.h"
#include "ns3/simulator.h"

#include <algorithm>

namespace collapipe
{

using namespace ns3;

void
SimClock::Start()
{
    m_start = Simulator::Now().GetNanoSeconds();
}

int64_t
SimClock::Now() const
{
    return Simulator::Now().GetNanoSeconds() - m_start;
}

void
SimClock::Skip(int64_t duration)
{
    m_start -= duration;
}

SimClock::Ending
SimClock::Advance(int64_t until)
{
    m_reached = m_interrupted = false;
    EventId bound;
    if (until >= 0)
    {
        const auto delay = std::max<int64_t>(until - Now(), 0);
        bound = Simulator::Schedule(NanoSeconds(delay), [this] {
            m_reached = true;
            Settle(0);
        });
    }
    {
        const std::lock_guard lock(m_mutex);
        m_running = true;
    }
    Simulator::Run();
    {
        const std::lock_guard lock(m_mutex);
        m_running = false;
    }
    bound.Remove(); // if another event came first, it must not stop a later step
    if (m_completed)
    {
        m_completed = false;
        return COMPLETED;
    }
    return m_reached ? REACHED : m_interrupted ? INTERRUPTED : EXHAUSTED;
}

void
SimClock::Complete()
{
    m_completed = true;
    Settle(0);
}

void
SimClock::Interrupt()
{
    const std::lock_guard lock(m_mutex);
    if (m_running)
    {
        // ns-3 permits no other call of a running simulator from another thread.
        Simulator::ScheduleWithContext(Simulator::NO_CONTEXT, Time(0), [this] {
            m_interrupted = true;
            Settle(0);
        });
    }
}

void
SimClock::Settle(uint64_t eventsSeen)
{
    const auto events = Simulator::GetEventCount();
    if (eventsSeen == 0)
    {
        if (m_settling)
        {
            return;
        }
        m_settling = true;
    }
    else if (events == eventsSeen + 1) // this call was the only event since the last one
    {
        m_settling = false;
        Simulator::Stop();
        return;
    }
    Simulator::ScheduleNow(&SimClock::Settle, this, events);
}

} // namespace collapipe
