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

/// How a transfer ended, and what it used; laid out without gaps for Python to unpack.
struct Ended
{
    enum Outcome : uint32_t
    {
        DELIVERED,
        LOST,    // some bytes have not arrived
        CUT,     // cancelled
        REFUSED, // no connection could be made
    };

    uint64_t id;
    int64_t end; // ns since time 0
    uint32_t outcome;
    uint32_t retransmissions; // of TCP segments or transport blocks with bytes of it
    uint64_t lostRanges;      // number of ranges
    uint64_t extrapolated;    // bytes that were not simulated
    Tally tally;
};

/// Transfers that have ended, and all their lost ranges, in the order of the transfers.
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

/// Carries the transfers of one directed pair of nodes, in order.
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
    /// The current transfer.
    virtual Progress Head() const = 0;
    /// Advances the current transfer, by bytes that were unsent and will not be sent.
    virtual void Skip(const Extrapolated& skipped) = 0;

  protected:
    /// Opens a transfer's account on the link.
    void Begin(uint64_t id);
    /// Records that a transfer has ended, with its account and its lost ranges.
    void End(uint64_t id,
             uint64_t size,
             Ended::Outcome outcome,
             const std::vector<ByteRange>& lost,
             uint64_t extrapolated);
    /// Whether there is a current transfer.
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
