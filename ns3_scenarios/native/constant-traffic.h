#ifndef COLLAPIPE_CONSTANT_TRAFFIC_H
#define COLLAPIPE_CONSTANT_TRAFFIC_H

#include "ns3/event-id.h"

#include <cstdint>
#include <functional>

namespace collapipe
{

/// Packets at a constant rate, from `on` to `off` in the run's time (ns).
class ConstantTraffic
{
  public:
    ConstantTraffic(int64_t interval, int64_t on, int64_t off, std::function<void()> send);
    ~ConstantTraffic();

    /// Starts at the run's time `runTime`.
    void Start(int64_t runTime);

  private:
    void Send(int64_t time);
    void Plan(int64_t time, int64_t now);

    int64_t m_interval;
    int64_t m_on;
    int64_t m_off;
    std::function<void()> m_send;
    ns3::EventId m_next;
};

} // namespace collapipe

#endif
