#ifndef COLLAPIPE_OFDMA_LINK_H
#define COLLAPIPE_OFDMA_LINK_H

#include "numerology.h"
#include "ofdma-adaptation.h"
#include "ofdma-queue.h"

#include "ns3/nstime.h"

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

namespace ns3
{
class RandomVariableStream;
}

namespace collapipe
{

/// Settings of all links of a radio; see the attributes of OfdmaRadio.
struct OfdmaSettings
{
    double ttiSeconds;
    double targetBler;
    uint32_t mostTransmissions;
    uint32_t harqProcesses;
    int64_t harqRtt; // TTIs
    uint32_t mostTries;
    double outerLoopStepDb;
    double ewmaWeight;
};

/// What one of several receivers of a transport block knows of it.
struct OfdmaCopy
{
    ns3::HarqProcessInfoList_t history{};
    bool arrived{false}; // in the latest transmission
};

/// A transport block, from its first transmission until it has arrived or HARQ has given up.
struct OfdmaTransportBlock
{
    ByteRange bytes;
    uint32_t tries; // how often HARQ has given up on these bytes before
    uint32_t mcs;
    uint32_t blocks;
    uint32_t offset{0}; // of its first resource block in the link's allocation
    uint32_t transmissions{0};
    ns3::HarqProcessInfoList_t history{}; // with a single receiver
    // Of the latest transmission, at the receiver that decoded it last:
    int64_t feedbackDue{0}; // TTI
    double sinr{0};
    double errorRate{0};
    bool arrived{false};
    std::vector<OfdmaCopy> copies{}; // by receiver, with several
};

/// Measurements of a link: moving averages, linear and SI.
struct OfdmaMeasurement
{
    bool known{false};
    double gain{0};
    double interference{0}; // W/Hz, noise included
    double sinr{0};         // of both, at the latest density
    double watts{0};        // radiated at that time
};

/// Fractional open-loop power control (TS 36.213, 5.1.1.1): at most p0 · gain^-alpha watts per
/// resource block; p0 zero: none.
struct OfdmaOpenLoop
{
    double p0{0}; // W
    double alpha{0};
};

/// One directed link: its queue, HARQ, link adaptation, and its credit with the scheduler.
///
/// A *group* is a link from one node to several, its members. It sends every transport block once
/// to all of them, and again while any of them lacks it; each decodes it by its own SINR and
/// combines what it has received itself. Its MCS is that of the weakest member that lacks the next
/// bytes, and its outer loop holds the share of blocks that some member lacks after the first
/// transmission at the target (as the NACK-based feedback of a point-to-multipoint bearer, TS
/// 38.300, 16.10). Measurements are those of the links to its members alone, which it updates.
class OfdmaLink
{
  public:
    OfdmaLink(uint32_t number,
              uint32_t cell,
              uint32_t from,
              uint32_t to,
              uint32_t bandBlocks,
              bool acknowledged,
              double watts,
              const OfdmaSettings& settings,
              OfdmaCodes& codes);
    /// A group of these links, which have one sender, one cell and one mode.
    OfdmaLink(uint32_t number,
              const std::vector<OfdmaLink*>& members,
              const OfdmaSettings& settings,
              OfdmaCodes& codes);

    const uint32_t number; // in the radio
    uint32_t cell;
    uint32_t from; // node of the radio
    uint32_t to; // of a group: the first member's
    OfdmaQueue queue;  // of a group: what some member lacks
    std::vector<OfdmaLink*> groups{}; // of which it is a member
    bool powerGranted{false}; // to a group; otherwise it has the highest power of its members
    /// Whether it fades over time. Link adaptation then uses the latest quality alone, and knows
    /// it after half the time of HARQ's, as that includes the time to prepare a retransmission.
    bool fades{false};
    bool silent{false};  // whether it sends nothing, as its terminal changes its cell
    double watts;        // radiated whenever it sends, or the maximum with open-loop control
    OfdmaOpenLoop openLoop{};
    double granted{-1};  // resource blocks per TTI, on average; negative: an equal share
    double credit{0};    // resource blocks that the scheduler owes it
    int64_t wanted{-1};  // the last TTI in which it had something to send
    std::deque<std::pair<ns3::Time, OfdmaItem>> arriving; // in flight, by arrival

    /// Gives it something to send; `ids` has that of the transfer to each receiver.
    void Push(OfdmaItem item, const std::vector<uint64_t>& ids, uint64_t size);
    /// Removes a member's transfer from a group; false if it is not in it (any more).
    bool CutFrom(const OfdmaLink& member, uint64_t id, OfdmaItem& cut);

    /// Removes what a member lacks from a group, for the member's own link to send.
    std::vector<OfdmaRemainder> PartWith(const OfdmaLink& member);
    /// Continues between other nodes in another cell of the band, where nothing is known of its
    /// quality. What HARQ has not delivered is sent again, or lost if the link is unacknowledged.
    /// Call it after EndTti(), for links that are no groups.
    void Move(uint32_t newCell, uint32_t newFrom, uint32_t newTo);

    bool IsGroup() const
    {
        return !m_members.empty();
    }

    /// The number of receivers.
    uint32_t Receivers() const
    {
        return m_members.empty() ? 1 : m_members.size();
    }

    /// The link to a receiver alone.
    OfdmaLink& Receiver(uint32_t receiver)
    {
        return m_members.empty() ? *this : *m_members[receiver].link;
    }

    /// What has arrived at a receiver, in order.
    OfdmaQueue& Inbox(uint32_t receiver)
    {
        return m_members.empty() ? queue : m_members[receiver].inbox;
    }

    /// Whether a receiver lacks some of the block.
    bool Wants(uint32_t receiver, const OfdmaTransportBlock& block) const
    {
        return m_members.empty() || m_members[receiver].inbox.Lacks(block.bytes);
    }

    /// Whether a receiver lacks some of what is on the air.
    bool Listens(uint32_t receiver) const;

    /// The nodes that take part in what it has to send.
    const std::vector<uint32_t>& Listeners() const
    {
        return m_listeners;
    }

    /// Updates a group with the quality, the powers and the queues of its members.
    void FollowMembers();
    /// Updates the open loop with the path loss, which reference signals are assumed to show.
    void FollowGain(double gain);
    /// The power on this many resource blocks, of `most` watts.
    double Watts(uint32_t blocks, double most) const;
    /// Whether it has anything that it may send.
    bool Ready() const;
    /// Whether it can use this many resource blocks now.
    bool Fits(uint32_t blocks) const;
    /// The most resource blocks that it can use now, at its current MCS.
    uint32_t Need() const;

    /// Sends transport blocks on up to `blocks` resource blocks in the TTI that starts now; returns
    /// the number of resource blocks used.
    uint32_t Compose(uint32_t blocks, double totalWatts);
    /// Decodes the transport blocks of the TTI that ends now, when `tti` begins, at one receiver:
    /// draws from each one's error rate whether it arrived, and measures the link. `wanted` and
    /// `unwanted` are densities in W/Hz for each of the used resource blocks; noise is included in
    /// the latter.
    void Received(uint32_t receiver,
                  const double* wanted,
                  const double* unwanted,
                  double density,
                  int64_t tti,
                  ns3::RandomVariableStream& random);
    /// Delivers the bytes that Received() found to have arrived, and queues the feedback; the
    /// transport blocks then wait until it reaches the sender. To be called once the TTI has been
    /// traced.
    void EndTti(double density, int64_t tti);
    /// Adds a measurement over some resource blocks, sent at `density`; returns its quality (Hz/W):
    /// gain over interference, or if the link fades that of a channel that is flat and has the same
    /// capacity, so that weak blocks count as much as for the error rate of a transport block.
    double Measure(const double* wanted, const double* unwanted, uint32_t blocks, double density);
    /// Adds a measurement from a reference signal.
    void Sounded(const double* wanted, const double* unwanted, uint32_t blocks, double density);
    /// Handles the feedback that has arrived by this TTI.
    void Feedback(int64_t tti);
    /// The TTI of the next feedback; -1: none is expected.
    int64_t NextFeedback() const;

    /// The transport blocks of the present TTI, or of the one that just ended.
    const std::vector<OfdmaTransportBlock>& OnAir() const
    {
        return m_onAir;
    }

    /// SINRs of the TTI that just ended, one for each used resource block.
    const std::vector<double>& Sinr() const
    {
        return m_sinr;
    }

    const OfdmaMeasurement& Measured() const
    {
        return m_measured;
    }

  private:
    struct Report
    {
        int64_t due;
        double density;
        uint32_t sent;
        uint32_t broken;
    };

    struct Quality
    {
        int64_t due;
        double measured;
    };

    struct Member
    {
        OfdmaLink* link; // to it alone
        OfdmaQueue inbox; // only receives
    };

    bool AnyLacks(ByteRange bytes) const;
    void FollowQuality();
    void GiveUp(const OfdmaTransportBlock& block);
    template <typename Action>
    void ForEachCharged(const OfdmaTransportBlock& block, Action action);
    uint32_t Mcs(double density, uint32_t blocks) const;

    /// The weight of a new quality in the average of link adaptation. The latest one is the best
    /// guess of a channel that fades.
    double QualityWeight() const
    {
        return fades ? 1 : m_settings.ewmaWeight;
    }

    double Density(uint32_t blocks) const
    {
        return Watts(blocks, watts) / (blocks * BLOCK_HZ);
    }

    const OfdmaSettings& m_settings;
    OfdmaCodes& m_codes;
    OfdmaAdaptation m_adaptation;
    uint32_t m_mostOutstanding;
    std::vector<Member> m_members; // of a group
    std::vector<uint32_t> m_listeners;
    double m_wattsPerBlock{0}; // by open-loop control
    uint32_t m_used{0};      // resource blocks used in this TTI
    uint32_t m_mcs{0};       // of the latest new transport block
    std::vector<OfdmaTransportBlock> m_onAir;
    std::deque<OfdmaTransportBlock> m_waiting; // for feedback
    std::deque<OfdmaTransportBlock> m_broken;  // to be retransmitted
    std::deque<Report> m_reports;
    std::deque<Quality> m_qualities;
    std::vector<double> m_sinr;
    OfdmaMeasurement m_measured;
};

} // namespace collapipe

#endif
