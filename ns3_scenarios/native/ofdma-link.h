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

/// A transport block, from its first transmission until it has arrived or HARQ has given up.
struct OfdmaTransportBlock
{
    ByteRange bytes;
    uint32_t tries; // how often HARQ has given up on these bytes before
    uint32_t mcs;
    uint32_t blocks;
    uint32_t offset{0}; // of its first resource block in the link's allocation
    uint32_t transmissions{0};
    ns3::HarqProcessInfoList_t history{};
    // Of the latest transmission:
    int64_t feedbackDue{0}; // TTI
    double sinr{0};
    double errorRate{0};
    bool arrived{false};
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

    const uint32_t number; // in the radio
    const uint32_t cell;
    const uint32_t from; // node of the radio
    const uint32_t to;
    OfdmaQueue queue;
    double watts;        // radiated whenever it sends, or the maximum with open-loop control
    OfdmaOpenLoop openLoop{};
    double granted{-1};  // resource blocks per TTI, on average; negative: an equal share
    double credit{0};    // resource blocks that the scheduler owes it
    int64_t wanted{-1};  // the last TTI in which it had something to send
    std::deque<std::pair<ns3::Time, OfdmaItem>> arriving; // in flight, by arrival

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
    /// Decodes the transport blocks of the TTI that ends now, when `tti` begins: draws from each
    /// one's error rate whether it arrived, measures the link, and queues the feedback of both.
    /// `wanted` and `unwanted` are densities in W/Hz for each of the used resource blocks; noise is
    /// included in the latter.
    void Received(const double* wanted,
                  const double* unwanted,
                  double density,
                  int64_t tti,
                  ns3::RandomVariableStream& random);
    /// Delivers the bytes that Received() found to have arrived; the transport blocks then wait
    /// until their feedback reaches the sender. To be called once the TTI has been traced.
    void EndTti();
    /// Adds a measurement over some resource blocks, sent at `density`; returns its quality (Hz/W).
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
        double quality;
        double density;
        uint32_t sent;
        uint32_t broken;
    };

    uint32_t Mcs(double density, uint32_t blocks) const;

    double Density(uint32_t blocks) const
    {
        return Watts(blocks, watts) / (blocks * BLOCK_HZ);
    }

    const OfdmaSettings& m_settings;
    OfdmaCodes& m_codes;
    OfdmaAdaptation m_adaptation;
    uint32_t m_mostOutstanding;
    double m_wattsPerBlock{0}; // by open-loop control
    uint32_t m_used{0};      // resource blocks used in this TTI
    uint32_t m_mcs{0};       // of the latest new transport block
    std::vector<OfdmaTransportBlock> m_onAir;
    std::deque<OfdmaTransportBlock> m_waiting; // for feedback
    std::deque<OfdmaTransportBlock> m_broken;  // to be retransmitted
    std::deque<Report> m_reports;
    std::vector<double> m_sinr;
    OfdmaMeasurement m_measured;
};

} // namespace collapipe

#endif
