#ifndef COLLAPIPE_TRAIL_MOBILITY_MODEL_H
#define COLLAPIPE_TRAIL_MOBILITY_MODEL_H

#include "ns3/mobility-model.h"
#include "ns3/nstime.h"
#include "ns3/random-variable-stream.h"
#include "ns3/vector.h"

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace collapipe
{

/// How a node moves; all zero: not at all. Times and lengths in seconds and metres.
struct Motion
{
    int32_t leader{-1};          // the node that it goes along with; -1: none
    double radius{0};            // of the disc in which it wanders; 0: it doesn't
    double x{0};                 // centre of the disc
    double y{0};
    double slowest{0};           // m/s
    double fastest{0};
    double shortestPause{0};     // s
    double longestPause{0};
    std::vector<double> corners{}; // t, x, y, z of each corner of a given way, in order of time
};

/// A way of straight lines, as a function of a run's time alone: it goes on from one episode to the
/// next, and any stretch of it can be had by itself.
///
/// ns-3's WaypointMobilityModel adds up what it has moved since it was last asked, and so moves a
/// little otherwise when it is asked at other times; this one doesn't. It takes no events.
class TrailMobilityModel : public ns3::MobilityModel
{
  public:
    static ns3::TypeId GetTypeId();

    /// Wanders from `start` at time 0: it pauses, goes to a place drawn uniformly from the disc at
    /// a speed drawn uniformly, and so on (random waypoint: Johnson, Maltz: Dynamic source routing
    /// in ad hoc wireless networks, 1996). What is drawn comes from the stream of this name in one
    /// of ns-3's runs.
    void Wander(const Motion& motion,
                const ns3::Vector& start,
                const std::string& name,
                uint64_t run);
    /// Follows corners; it stands at the first until its time, and at the last from then on.
    void Follow(const std::vector<double>& corners);

    /// The run's time in ns at which the episode begins; it stands still until Start().
    void SetRunTime(int64_t time);
    /// From now on time passes.
    void Start();

  private:
    struct Corner
    {
        int64_t time; // ns
        ns3::Vector place;
    };

    int64_t RunTime() const;
    /// Has the present time between the first corner and the second, where there is a second.
    void Reach() const;
    void Extend() const;
    ns3::Vector DoGetPosition() const override;
    void DoSetPosition(const ns3::Vector& position) override;
    ns3::Vector DoGetVelocity() const override;

    Motion m_motion;
    ns3::Ptr<ns3::UniformRandomVariable> m_random;
    int64_t m_atStart{0};
    int64_t m_origin{-1}; // of the run's time in ns-3's; negative: not yet started
    mutable std::deque<Corner> m_corners; // the last one that was passed, and what lies ahead
};

} // namespace collapipe

#endif
