#ifndef COLLAPIPE_OFDMA_QUEUE_H
#define COLLAPIPE_OFDMA_QUEUE_H

#include "byte-range.h"
#include "progress.h"
#include "radio-link.h"

#include "ns3/packet.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace collapipe
{

/// Something to send over a link: a transfer, of which only the size is simulated, or a packet.
struct OfdmaItem
{
    uint64_t id{0}; ///< of the transfer
    ns3::Ptr<ns3::Packet> packet{};
    uint16_t protocol{0}; ///< of the packet, as in NetDevice
    uint64_t begin{0};    ///< position in the link's stream of bytes
    uint64_t end{0};
    uint32_t retransmissions{0}; ///< number of retransmitted transport blocks with bytes of it
    Tally tally{};               ///< of a transfer
    std::vector<ByteRange> lost{}; ///< of its bytes, counted from its first one
    uint64_t skipped{0}; ///< bytes of a transfer that were not simulated
};

/// An item that one queue passes to another, and its bytes that have been delivered or lost, counted
/// from its first one.
struct OfdmaRemainder
{
    OfdmaItem item;
    std::vector<ByteRange> resolved;
};

/// The link layer of one directed link: a stream of bytes, from which transport blocks take ranges,
/// and which is delivered in order.
///
/// Segmentation and in-order delivery are those of TS 36.322 (5.1.2, 5.1.3). Bytes on which HARQ
/// has given up are sent again in acknowledged mode, up to `mostTries` times (maxRetxThreshold),
/// and lost in unacknowledged mode.
class OfdmaQueue
{
  public:
    /// `mostTries` 0: unacknowledged.
    explicit OfdmaQueue(uint32_t mostTries);

    uint32_t MostTries() const
    {
        return m_mostTries;
    }

    void Push(OfdmaItem item, uint64_t size);
    /// Bytes that wait to be sent, for the first time or again.
    uint64_t Waiting() const;
    /// Bytes that have been neither delivered nor lost.
    uint64_t Unresolved() const;

    /// Up to `most` contiguous bytes, and how often HARQ has given up on them.
    std::pair<ByteRange, uint32_t> Take(uint64_t most);
    /// These bytes have arrived.
    void Arrived(ByteRange bytes);
    /// HARQ gave up on these bytes, after it had given up on them `tries` times before.
    void GivenUp(ByteRange bytes, uint32_t tries);
    /// HARQ gave up on these bytes for the last time: unacknowledged, they are lost; otherwise the
    /// link has failed, and with it the item that has the first of them.
    void Lose(ByteRange bytes);
    /// Sends those of these bytes again whose items are still in the stream.
    void SendAgain(ByteRange bytes, uint32_t tries);

    /// The position of what Take() takes next.
    uint64_t Next() const;
    /// Whether some of these bytes have been neither delivered nor lost.
    bool Lacks(ByteRange bytes) const;
    /// Removes the item at this position, if there is one.
    void Drop(ByteRange item);
    /// Counts the ranges that wait to be sent again as delivered where this is true of them.
    void Forget(const std::function<bool(ByteRange)>& delivered);

    /// The items that ended since the last call, in order, complete except for their lost ranges.
    bool HasEnded() const
    {
        return !m_ended.empty();
    }

    std::vector<OfdmaItem> TakeEnded();
    /// Removes a transfer from the stream; false if it is not in it (any more). Bytes that have not
    /// been delivered in order by now count as lost.
    bool Cut(uint64_t id, OfdmaItem& cut);

    /// Removes all items that have not ended, for another queue to Resume().
    std::vector<OfdmaRemainder> TakeAll();
    /// Adds an item of which a part has been delivered or lost.
    void Resume(OfdmaRemainder remainder);
    /// Ends all items; bytes that have not been delivered in order by now are lost.
    void LoseAll();

    /// The first transfer that has not ended.
    Progress Head() const;
    /// Counts bytes of it that were never sent as delivered, or as lost.
    void Skip(const Extrapolated& skipped);

    /// Records what the PHY did for these bytes: `seconds` on the air at `watts` over `hertz`.
    void ChargeSent(ByteRange bytes, double seconds, double watts, double hertz);
    void ChargeReceived(ByteRange bytes, double seconds, double sinr);
    void CountRetransmission(ByteRange bytes);

    /// Calls with each item that has some of these bytes and has not ended, and with those bytes.
    void ForEach(ByteRange bytes,
                 const std::function<void(const OfdmaItem&, ByteRange)>& action) const;

  private:
    struct Again
    {
        ByteRange bytes;
        uint32_t tries;
    };

    std::size_t FirstWithin(uint64_t position) const;
    template <typename Action>
    void ForEachWithin(ByteRange bytes, Action action);
    void Resolve(ByteRange bytes);
    OfdmaItem Remove(std::size_t index);

    uint32_t m_mostTries;
    std::deque<OfdmaItem> m_items;   // that have not ended, by position in the stream
    std::vector<OfdmaItem> m_ended;
    std::deque<Again> m_again;       // to be sent again
    std::deque<ByteRange> m_skipped; // never to be sent, as their items were removed
    std::map<uint64_t, uint64_t> m_resolvedBeyond; // begin → end, past m_resolved
    uint64_t m_length{0};   // of the stream
    uint64_t m_sent{0};     // everything before has been sent once
    uint64_t m_resolved{0}; // everything before has been delivered or lost
    uint64_t m_fresh{0};    // bytes that were never sent
    uint64_t m_againBytes{0};
};

} // namespace collapipe

#endif
