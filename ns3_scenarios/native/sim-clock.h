#ifndef COLLAPIPE_SIM_CLOCK_H
#define COLLAPIPE_SIM_CLOCK_H

#include <cstdint>
#include <mutex>

namespace collapipe
{

/// Runs ns-3 in steps: up to a time, until something completes, or until it is interrupted.
///
/// A step ends only when every event of its last instant has happened. So neither the time of an
/// interrupt nor of a call can change the order of events.
class SimClock
{
  public:
    enum Ending
    {
        REACHED,     // reached the bound, and nothing completed
        COMPLETED,   // Complete() was called
        INTERRUPTED, // Interrupt() was called
        EXHAUSTED    // no event was left
    };

    /// Makes the present time 0; call it when the network is ready.
    void Start();
    /// Nanoseconds since Start().
    int64_t Now() const;
    /// Adds `duration` ns to the clock. ns-3's own clock and everything in it stays unchanged.
    void Skip(int64_t duration);
    /// Simulates up to and including `until` (negative: no bound).
    Ending Advance(int64_t until);
    /// Called within an event: Advance() returns at the end of this instant.
    void Complete();
    /// Thread-safe: makes a running Advance() return soon; does nothing if none is running.
    void Interrupt();

  private:
    /// Stops the simulator when no other event of this instant is left.
    void Settle(uint64_t eventsSeen);

    int64_t m_start{0};
    bool m_settling{false};
    bool m_completed{false};
    bool m_reached{false};
    bool m_interrupted{false};
    bool m_running{false}; // guarded by m_mutex, as is the scheduling of interrupts
    std::mutex m_mutex;
};

} // namespace collapipe

#endif
