#ifndef COLLAPIPE_FAST_FORWARD_H
#define COLLAPIPE_FAST_FORWARD_H

#include "radio-link.h"
#include "records.h"
#include "sim-clock.h"
#include "stream.h"

#include "ns3/ptr.h"
#include "ns3/random-variable-stream.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace collapipe
{

/// Simulates a part of concurrent transfers, and extrapolates the rest while nothing changes.
///
/// While the same transfers are active with the same grants and powers, the counters of the radio
/// are read every 10 ms. The first half of the readings is warm-up, the second half the sample,
/// which has 160 ms or more and starts after each stream has been simulated for half a second in
/// all, so that rates have adapted. A straight line is fitted to each transfer's bytes over time.
/// The transfer has settled if the slope's standard error is at most 1.5 % and the slope differs by
/// at most 3 % from that of the quarter before the sample. When all transfers have settled, the
/// clock jumps (SimClock::Skip): to the time when the transport of the first transfer has no unsent
/// bytes left, or to the bound of Advance(). All jumps together take at most 60 times the simulated
/// time that the readings cover. Each transfer progresses at its slope, with the airtime, energy,
/// retransmissions and losses of the sample. The state of ns-3 is not affected: everything that is
/// queued, in flight or scheduled is the same after the jump. The ends of transfers are simulated
/// as packets again and readings continue; any change in the active transfers discards them.
///
/// It is valid if the channel is stationary: no motion, nothing that is switched on or off.
class FastForward
{
  public:
    using Streams = std::map<std::pair<uint32_t, uint32_t>, std::unique_ptr<Stream>>;

    FastForward(Records& records, const Streams& streams);

    /// As SimClock::Advance().
    SimClock::Ending Advance(int64_t until);
    /// Discards the readings, as grants or powers have changed.
    void Restart();

  private:
    /// All counters: of each current transfer, of each link, of each node.
    using Counters = std::vector<double>;

    void Watch();
    void Look();
    void Judge();
    Counters Count() const;
    int64_t Skippable(int64_t until) const;
    void Skip(int64_t duration);
    Extrapolated Went(std::size_t head, double duration, const double* change) const;

    SimClock& m_clock;
    std::deque<RadioLink>& m_links;
    std::vector<RadioUsage>& m_usage;
    const Streams& m_streams;
    ns3::Ptr<ns3::UniformRandomVariable> m_random; // for losses

    std::vector<std::pair<Stream*, uint64_t>> m_heads; // the current transfers
    std::vector<Counters> m_seen; // at each reading, less what was skipped since the first
    Counters m_added;             // what was skipped
    std::vector<double> m_rates; // bytes/s of each current transfer, once all have settled
    std::size_t m_first{0};      // reading of the sample
    int64_t m_nextLook{-1};      // ns; negative: none
    std::map<Stream*, std::size_t> m_windows; // 10-ms readings for which each has been simulated
    int64_t m_skipped{0};        // ns since the readings began
    uint64_t m_events{0};        // ns-3's event count at the last reading
};

} // namespace collapipe

#endif
