#include "trail-mobility-model.h"

#include "random-streams.h"

#include "ns3/simulator.h"

#include <cmath>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(TrailMobilityModel);

TypeId
TrailMobilityModel::GetTypeId()
{
    static TypeId tid = TypeId("collapipe::TrailMobilityModel")
                            .SetParent<MobilityModel>()
                            .SetGroupName("Collapipe")
                            .AddConstructor<TrailMobilityModel>();
    return tid;
}

void
TrailMobilityModel::Wander(const Motion& motion,
                           const Vector& start,
                           const std::string& name,
                           uint64_t run)
{
    m_motion = motion;
    m_random = CreateObject<UniformRandomVariable>();
    const RunScope scope(run);
    m_random->SetStream(StreamNumber(name + " way"));
    m_corners.assign({{0, start}});
}

void
TrailMobilityModel::Follow(const std::vector<double>& corners)
{
    m_corners.clear();
    for (std::size_t i = 0; i + 3 < corners.size(); i += 4)
    {
        m_corners.push_back({std::llround(corners[i] * 1e9),
                             {corners[i + 1], corners[i + 2], corners[i + 3]}});
    }
}

void
TrailMobilityModel::SetRunTime(int64_t time)
{
    m_atStart = time;
}

void
TrailMobilityModel::Start()
{
    m_origin = Simulator::Now().GetNanoSeconds();
}

int64_t
TrailMobilityModel::RunTime() const
{
    return m_atStart + (m_origin < 0 ? 0 : Simulator::Now().GetNanoSeconds() - m_origin);
}

void
TrailMobilityModel::Reach() const
{
    const auto now = RunTime();
    for (;;)
    {
        if (m_corners.size() < 2 && m_random)
        {
            Extend();
        }
        if (m_corners.size() < 2 || now < m_corners[1].time)
        {
            return;
        }
        m_corners.pop_front();
    }
}

/// Adds a pause, if there is one, and the walk to the next position.
void
TrailMobilityModel::Extend() const
{
    auto [time, place] = m_corners.back();
    const auto pause = m_random->GetValue(m_motion.shortestPause, m_motion.longestPause);
    if (const auto nanoseconds = std::llround(pause * 1e9); nanoseconds > 0)
    {
        time += nanoseconds;
        m_corners.push_back({time, place});
    }
    const auto distance = m_motion.radius * std::sqrt(m_random->GetValue(0, 1));
    const auto angle = m_random->GetValue(0, 2 * M_PI);
    const Vector next(m_motion.x + distance * std::cos(angle),
                      m_motion.y + distance * std::sin(angle),
                      place.z);
    const auto speed = m_random->GetValue(m_motion.slowest, m_motion.fastest);
    time += std::llround(CalculateDistance(place, next) / speed * 1e9) + 1; // of at least 1 ns
    m_corners.push_back({time, next});
}

Vector
TrailMobilityModel::DoGetPosition() const
{
    Reach();
    const auto& [since, from] = m_corners.front();
    const auto now = RunTime();
    if (m_corners.size() < 2 || now <= since)
    {
        return from;
    }
    const auto& [until, to] = m_corners[1];
    const auto share = static_cast<double>(now - since) / (until - since);
    return {from.x + share * (to.x - from.x),
            from.y + share * (to.y - from.y),
            from.z + share * (to.z - from.z)};
}

void
TrailMobilityModel::DoSetPosition(const Vector&)
{
    NS_FATAL_ERROR("the position on a trajectory can't be set");
}

Vector
TrailMobilityModel::DoGetVelocity() const
{
    Reach();
    const auto& [since, from] = m_corners.front();
    if (m_origin < 0 || m_corners.size() < 2 || RunTime() < since)
    {
        return {};
    }
    const auto& [until, to] = m_corners[1];
    const auto seconds = (until - since) * 1e-9;
    return {(to.x - from.x) / seconds, (to.y - from.y) / seconds, (to.z - from.z) / seconds};
}

} // namespace collapipe
