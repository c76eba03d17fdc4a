#ifndef COLLAPIPE_OFDMA_BAND_H
#define COLLAPIPE_OFDMA_BAND_H

#include "ofdma-link.h"
#include "ofdma-medium.h"
#include "ofdma-scheduler.h"

#include "ns3/mobility-model.h"
#include "ns3/nstime.h"
#include "ns3/random-variable-stream.h"
#include "ns3/traced-callback.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace collapipe
{

/// A node of the radio.
struct OfdmaNode
{
    ns3::Ptr<ns3::MobilityModel> place;
    uint32_t context; // its number in ns-3
    double watts;     // its maximum power in a band
    double noise;     // W/Hz at its receiver
    double antenna;   // linear gain
};

/// What a link sends in one TTI; the argument of OfdmaRadio's trace source Transmission.
struct OfdmaTransmission
{
    const OfdmaLink* link;
    double seconds; // airtime
    double watts;
    uint32_t blocks; // resource blocks
};

/// One transport block at its receiver; the argument of OfdmaRadio's trace source Reception.
struct OfdmaReception
{
    const OfdmaLink* link;
    const OfdmaLink* receiver; // the link to this receiver alone: the same, unless it is a group
    const OfdmaTransportBlock* block;
    const double* sinr; // linear, one value for each of its resource blocks
    double seconds;
};

/// A link that has been sounded; tally: its share of the reference signal.
struct OfdmaSounding
{
    OfdmaLink* link;
    uint64_t id;
    Tally tally;
};

/// The radio's trace sources, for each TTI.
struct OfdmaTraces
{
    ns3::TracedCallback<const OfdmaTransmission&>& transmission;
    ns3::TracedCallback<const OfdmaReception&>& reception;
    ns3::TracedCallback<uint32_t, bool, ns3::Time, double>& phyState;
    std::function<void(const OfdmaSounding&)>& sounded;
};

/// Consecutive resource blocks with the cells that use them: who sends on which, and what arrives.
class OfdmaBand
{
  public:
    OfdmaBand(uint32_t number,
              uint32_t blocks,
              double centreHz,
              ns3::Ptr<OfdmaGain> gain,
              const std::vector<OfdmaNode>& nodes,
              const OfdmaSettings& settings);

    const uint32_t number;
    const uint32_t blocks;
    OfdmaGainTable gains;

    uint32_t AddCell();
    void AddLink(OfdmaLink& link);
    /// Adds noise from a node at its power, flat over the band, for the share of each TTI that
    /// `share` returns at its start.
    void AddNoise(uint32_t node, std::function<double(ns3::Time)> share);
    /// Sends reference signals over the link as soon as the half-duplex rule permits.
    void Sound(OfdmaLink& link, uint64_t id);

    /// Whether there is anything to do in a TTI that starts now.
    bool Wanted() const;
    bool OnAir() const;
    /// Starts a TTI.
    void Send(int64_t tti, OfdmaMedium& medium, const OfdmaTraces& traces);
    /// Ends the TTI that was started last, at the time at which `tti` begins.
    void Receive(int64_t tti,
                 OfdmaMedium& medium,
                 ns3::RandomVariableStream& random,
                 const OfdmaTraces& traces);

  private:
    struct Sending
    {
        OfdmaLink* link;
        double watts;
        uint32_t blocks;
        OfdmaSignal signal;
    };

    struct Sounding
    {
        OfdmaLink* link;
        uint64_t id;
    };

    struct Noise
    {
        OfdmaSignal signal; // while it is on
        std::function<double(ns3::Time)> share;
    };

    void StartSoundings();
    void StartData();
    void Place(int64_t tti);
    void TraceStart(const OfdmaTraces& traces) const;
    void StartNoises();
    void SortSignals();
    void Listen(const OfdmaSignal& signal, OfdmaMedium& medium);
    void EndData(int64_t tti,
                 OfdmaMedium& medium,
                 ns3::RandomVariableStream& random,
                 const OfdmaTraces& traces);
    void EndSoundings(OfdmaMedium& medium, const OfdmaTraces& traces);

    const std::vector<OfdmaNode>& m_nodes;
    const OfdmaSettings& m_settings;
    ns3::Time m_tti;
    OfdmaScheduler m_scheduler;
    uint32_t m_cells{0};
    std::vector<OfdmaLink*> m_links;
    std::vector<Noise> m_noises;
    std::vector<Sounding> m_toSound;
    std::vector<Sounding> m_sounding; // on the air
    std::vector<Sending> m_sending;   // on the air
    std::vector<OfdmaSignal> m_signals; // of everything on the air, by sender
    std::vector<double> m_load;       // W, by node
    std::vector<double> m_wanted;     // W/Hz, by block
    std::vector<double> m_unwanted;
};

} // namespace collapipe

#endif
