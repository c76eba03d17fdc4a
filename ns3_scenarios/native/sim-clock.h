#ifndef COLLAPIPE_SIM_CLOCK_H
#define COLLAPIPE_SIM_CLOCK_H

#include <cstdint>
#include <mutex>

namespace collapipe
{

/// Runs ns-3 in stretches: up to an instant, until something completes, until asked to return.
///
/// Whatever ends a stretch, every event of its last instant has happened. So neither where an
/// interrupt falls nor when the bound was set can change the order of anything.
class SimClock
{
  public:
    enum Ending
    {
        REACHED,     // the bound, and nothing completed
        COMPLETED,   // Complete() was called
        INTERRUPTED, // Interrupt() was called
        EXHAUSTED    // no event is left
    };

    /// The present becomes time 0; call it when the network is ready.
    void Start();
    /// Nanoseconds since Start().
    int64_t Now() const;
    /// Has the clock jump by `duration` ns. ns-3's own stays where it is, and so does all in it.
    void Skip(int64_t duration);
    /// Simulates up to and including `until` (negative: no bound).
    Ending Advance(int64_t until);
    /// Called within an event: Advance() shall return at the end of this instant.
    void Complete();
    /// Thread-safe: has a running Advance() return soon; does nothing when none runs.
    void Interrupt();

  private:
    /// Stops the simulator once no other event of this instant is left.
    void Settle(uint64_t eventsSeen);

    int64_t m_start{0};
    bool m_settling{false};
    bool m_completed{false};
    bool m_reached{false};
    bool m_interrupted{false};
    bool m_running{false}; // guarded, with the scheduling of interrupts, by m_mutex
    std::mutex m_mutex;
};

} // namespace collapipe

#endif
