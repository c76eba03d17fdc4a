#ifndef COLLAPIPE_FAST_FORWARD_H
#define COLLAPIPE_FAST_FORWARD_H

#include "radio-link.h"
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

/// Simulates a prefix of what streams carry at once, and skips what would go on in the same way.
///
/// While the same transfers are under way, with the same grants and powers, it looks at the radio
/// every 10 ms. The first half of what it saw is warm-up, the second the sample: of 160 ms or
/// more, and none before each stream has been simulated for half a second in all, so that rates
/// have adapted. To each transfer's bytes against time a straight line is fitted; the transfer has
/// settled where the line's slope is known to a standard error of 1.5 %, and differs by 3 % at most
/// from that of the quarter before the sample. When all have settled, the clock jumps
/// (SimClock::Skip), to where the first transfer has no byte left that the transport has not yet
/// been given, or to the bound of Advance(), but by no more in all than 60 times what was
/// simulated since the sample began. Each transfer is taken to have gone on at its slope, and
/// airtime, energy, retransmissions and losses as they were in the sample. ns-3 itself doesn't
/// notice: whatever is queued, in flight or timed is there afterwards as it was before. The ends of
/// transfers are simulated as packets again, looks go on, and any change in what is under way
/// begins a new sample.
///
/// It holds where the channel is stationary: no motion, nothing that is switched on or off.
class FastForward
{
  public:
    using Streams = std::map<std::pair<uint32_t, uint32_t>, std::unique_ptr<Stream>>;

    FastForward(SimClock& clock,
                std::deque<RadioLink>& links,
                std::vector<RadioUsage>& usage,
                const Streams& streams);

    /// As SimClock::Advance().
    SimClock::Ending Advance(int64_t until);
    /// What was seen so far holds no longer: grants or powers have changed.
    void Restart();

  private:
    /// Everything that is counted: of each head, of each link, of each node.
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
    ns3::Ptr<ns3::UniformRandomVariable> m_random; // of losses

    std::vector<std::pair<Stream*, uint64_t>> m_heads; // the transfers under way
    std::vector<Counters> m_seen; // at each look, what was skipped since the first one left out
    Counters m_added;             // what was
    std::vector<double> m_rates; // bytes a second of each head, once all have settled
    std::size_t m_first{0};      // of the snapshots from which the rates are
    int64_t m_nextLook{-1};      // negative: none
    std::map<Stream*, std::size_t> m_windows; // in which each has been simulated
    int64_t m_skipped{0};        // ns since the sample began
    uint64_t m_events{0};        // ns-3's, at the last look
};

} // namespace collapipe

#endif
