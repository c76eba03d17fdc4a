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

/// What all links of a radio have in common; the attributes of OfdmaRadio say what each means.
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

/// A transport block, from when it is first sent to when it has arrived or been given up.
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

/// What was measured on a link: moving averages, linear and SI.
struct OfdmaMeasurement
{
    bool known{false};
    double gain{0};
    double interference{0}; // W/Hz, noise included
    double sinr{0};         // of both, at the latest density
    double watts{0};        // radiated then
};

/// Fractional open-loop power control (TS 36.213, 5.1.1.1): at most p0 · gain^-alpha watts a
/// resource block; p0 zero: none.
struct OfdmaOpenLoop
{
    double p0{0}; // W
    double alpha{0};
};

/// One directed link: its queue, HARQ, link adaptation, and what the scheduler owes it.
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
    const uint32_t from; // nodes of the radio
    const uint32_t to;
    OfdmaQueue queue;
    double watts;        // radiated whenever it sends, or the most where there is an open loop
    OfdmaOpenLoop openLoop{};
    double granted{-1};  // resource blocks a TTI, in the mean; negative: an equal share
    double credit{0};    // resource blocks that it is owed
    int64_t wanted{-1};  // the last TTI in which it had something to send
    std::deque<std::pair<ns3::Time, OfdmaItem>> arriving; // in flight, by arrival

    /// Has the open loop follow the path loss, which it is taken to know from reference signals.
    void FollowGain(double gain);
    /// What it radiates on this many resource blocks, of `most` watts.
    double Watts(uint32_t blocks, double most) const;
    /// Whether there is anything that it may send.
    bool Ready() const;
    /// Whether this many resource blocks are of any use to it now.
    bool Fits(uint32_t blocks) const;
    /// The most resource blocks that it could use now, by its current MCS.
    uint32_t Need() const;

    /// Puts transport blocks on the air, on up to `blocks` resource blocks, for a TTI that begins;
    /// returns how many it uses.
    uint32_t Compose(uint32_t blocks, double totalWatts);
    /// The TTI has ended, at the time at which `tti` begins. `wanted` and `unwanted` are densities
    /// in W/Hz, noise included in the latter, for each of the resource blocks in use.
    void Received(const double* wanted,
                  const double* unwanted,
                  double density,
                  int64_t tti,
                  ns3::RandomVariableStream& random);
    /// Takes what has arrived of what was on the air out of the queue, and leaves it all to its feedback.
    void Await();
    /// Takes in a measurement over some resource blocks, sent at `density`; its quality (1/(W/Hz)).
    double Measure(const double* wanted, const double* unwanted, uint32_t blocks, double density);
    /// A measurement of its own, beside data.
    void Sounded(const double* wanted, const double* unwanted, uint32_t blocks, double density);
    /// Handles the feedback that has arrived by this TTI.
    void Feedback(int64_t tti);
    /// When the next feedback arrives; -1: none is on its way.
    int64_t NextFeedback() const;

    /// What is on the air, or was in the TTI that just ended.
    const std::vector<OfdmaTransportBlock>& OnAir() const
    {
        return m_onAir;
    }

    /// SINRs of the TTI that just ended, one for each resource block in use.
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
    double m_wattsPerBlock{0}; // by the open loop
    uint32_t m_used{0};      // resource blocks on the air
    uint32_t m_mcs{0};       // of the latest new block
    std::vector<OfdmaTransportBlock> m_onAir;
    std::deque<OfdmaTransportBlock> m_waiting; // for feedback
    std::deque<OfdmaTransportBlock> m_broken;  // to be sent again
    std::deque<Report> m_reports;
    std::vector<double> m_sinr;
    OfdmaMeasurement m_measured;
};

} // namespace collapipe

#endif
