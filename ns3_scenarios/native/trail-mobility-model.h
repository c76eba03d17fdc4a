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

/// How a node moves; all zero: it stands still. Times and lengths in seconds and metres.
struct Motion
{
    int32_t leader{-1};          // the node that carries it; -1: none
    double radius{0};            // of the disc of its random walk; 0: none
    double x{0};                 // centre of the disc
    double y{0};
    double slowest{0};           // m/s
    double fastest{0};
    double shortestPause{0};     // s
    double longestPause{0};
    std::vector<double> corners{}; // t, x, y, z of each corner of a trajectory, by time
};

/// A path of straight lines as a function of the run's time alone: it continues from one episode to
/// the next, and any part of it can be simulated by itself.
///
/// ns-3's WaypointMobilityModel accumulates movements since its last query, so that its positions
/// depend slightly on the times of queries; those of this model don't. It has no events.
class TrailMobilityModel : public ns3::MobilityModel
{
  public:
    static ns3::TypeId GetTypeId();

    /// Random waypoint motion from `start` at time 0: the node pauses, goes to a position drawn
    /// uniformly from the disc at a speed drawn uniformly, and repeats (Johnson, Maltz: Dynamic
    /// source routing in ad hoc wireless networks, 1996). Draws come from the stream of this name
    /// in one of ns-3's runs.
    void Wander(const Motion& motion,
                const ns3::Vector& start,
                const std::string& name,
                uint64_t run);
    /// Follows corners; it stays at the first until that corner's time, and at the last after it.
    void Follow(const std::vector<double>& corners);

    /// Sets the run's time in ns at which the episode begins; the node stands still until Start().
    void SetRunTime(int64_t time);
    /// Starts the motion now.
    void Start();

  private:
    struct Corner
    {
        int64_t time; // ns
        ns3::Vector place;
    };

    int64_t RunTime() const;
    /// Moves to the corners before and after the present time, if there is a second.
    void Reach() const;
    void Extend() const;
    ns3::Vector DoGetPosition() const override;
    void DoSetPosition(const ns3::Vector& position) override;
    ns3::Vector DoGetVelocity() const override;

    Motion m_motion;
    ns3::Ptr<ns3::UniformRandomVariable> m_random;
    int64_t m_atStart{0};
    int64_t m_origin{-1}; // of the run's time in ns-3's time; negative: not started
    mutable std::deque<Corner> m_corners; // the last one passed, and those ahead
};

} // namespace collapipe

#endif
