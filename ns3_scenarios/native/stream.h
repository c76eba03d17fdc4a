#ifndef COLLAPIPE_STREAM_H
#define COLLAPIPE_STREAM_H

#include "byte-range.h"
#include "progress.h"
#include "radio-link.h"
#include "sim-clock.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// How a transfer ended, and what it took. Laid out without gaps for Python to unpack.
struct Ended
{
    enum Outcome : uint32_t
    {
        DELIVERED,
        LOST,    // some bytes did not arrive, and won't
        CUT,     // cancelled
        REFUSED, // no connection could be made
    };

    uint64_t id;
    int64_t end; // ns since time 0
    uint32_t outcome;
    uint32_t retransmissions; // of TCP segments, or of transport blocks, with bytes of it
    uint64_t lostRanges;      // how many
    uint64_t extrapolated;    // bytes that were not simulated
    Tally tally;
};

/// What has ended, and which bytes of it are lost: all ranges, transfer by transfer.
struct EndedTransfers
{
    std::vector<Ended> transfers;
    std::vector<ByteRange> lost;

    void Add(const Ended& transfer, const std::vector<ByteRange>& itsLost)
    {
        transfers.push_back(transfer);
        transfers.back().lostRanges = itsLost.size();
        lost.insert(lost.end(), itsLost.begin(), itsLost.end());
    }
};

/// What carries the transfers of one directed pair of nodes, first in, first out.
class Stream
{
  public:
    Stream(RadioLink& link, SimClock& clock, EndedTransfers& ended);
    virtual ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    virtual void Send(uint64_t id, uint64_t size) = 0;
    /// Ends a transfer, unless it has ended.
    virtual void Cut(uint64_t id) = 0;
    /// The transfer under way.
    virtual Progress Head() const = 0;
    /// Has it come so much further, by bytes that were unsent and are not sent any more.
    virtual void Skip(const Extrapolated& skipped) = 0;

  protected:
    /// Opens a transfer's account on the link.
    void Begin(uint64_t id);
    /// Puts on record that a transfer has ended, what its account shows, and which bytes are lost.
    void End(uint64_t id,
             uint64_t size,
             Ended::Outcome outcome,
             const std::vector<ByteRange>& lost,
             uint64_t extrapolated);
    /// Whether there is a transfer under way.
    void SetBusy(bool busy);

    RadioLink& m_link;
    SimClock& m_clock;

  private:
    EndedTransfers& m_ended;
    bool m_busy{false};
    int64_t m_busySince{0};
};

} // namespace collapipe

#endif
