#include "constant-traffic.h"

#include "ns3/nstime.h"
#include "ns3/simulator.h"

#include <algorithm>
#include <utility>

namespace collapipe
{

using namespace ns3;

ConstantTraffic::ConstantTraffic(int64_t interval,
                                 int64_t on,
                                 int64_t off,
                                 std::function<void()> send)
    : m_interval(interval),
      m_on(on),
      m_off(off),
      m_send(std::move(send))
{
}

ConstantTraffic::~ConstantTraffic()
{
    m_next.Cancel();
}

void
ConstantTraffic::Start(int64_t runTime)
{
    // At the same times of the run, wherever an episode begins.
    const auto since = std::max<int64_t>(runTime - m_on, 0);
    Plan(m_on + (since + m_interval - 1) / m_interval * m_interval, runTime);
}

void
ConstantTraffic::Plan(int64_t time, int64_t now)
{
    if (time < m_off)
    {
        m_next =
            Simulator::Schedule(NanoSeconds(time - now), &ConstantTraffic::Send, this, time);
    }
}

void
ConstantTraffic::Send(int64_t time)
{
    m_send();
    Plan(time + m_interval, time);
}

} // namespace collapipe
