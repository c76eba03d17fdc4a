#ifndef COLLAPIPE_OFDMA_RADIO_H
#define COLLAPIPE_OFDMA_RADIO_H

#include "ofdma-band.h"
#include "ofdma-codes.h"
#include "ofdma-link.h"
#include "ofdma-medium.h"

#include "ns3/event-id.h"
#include "ns3/nstime.h"
#include "ns3/object.h"
#include "ns3/random-variable-stream.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace collapipe
{

/// A scheduled OFDMA radio: nodes, bands, cells and links, in step with one clock of TTIs.
///
/// Each TTI, at once for all links: what was on the air is decoded, feedback is handled, the
/// schedulers allocate resource blocks, transport blocks go on the air. There is no event while
/// no link has anything to do. TTIs begin at whole multiples of their length.
///
/// Signals of one TTI reach all receivers in step: timing advance (TS 36.213, 4.2.3) and the
/// cyclic prefix are taken to absorb what distances differ. What a TTI carries is delivered at
/// its end, plus the time that light takes from sender to receiver.
class OfdmaRadio : public ns3::Object
{
  public:
    static ns3::TypeId GetTypeId();
    OfdmaRadio();
    ~OfdmaRadio() override;

    /// The engine; OfdmaTtiMedium where none is set. Comes before the first band.
    void SetMedium(ns3::Ptr<OfdmaMedium> medium);
    ns3::Ptr<OfdmaMedium> GetMedium() const;

    /// A node; they are numbered from 0. `context`: the ns-3 node's number; `watts`: the most it
    /// radiates in a band. All nodes come before the first band.
    uint32_t AddNode(ns3::Ptr<ns3::MobilityModel> place,
                     uint32_t context,
                     double watts,
                     double noiseFigureDb,
                     double antennaGainDb);
    /// A run of resource blocks around a frequency; numbered from 0.
    uint32_t AddBand(uint32_t blocks, double centreHz, ns3::Ptr<OfdmaGain> gain);
    /// Links that are scheduled together and share no resource block; numbered from 0 in a band.
    uint32_t AddCell(uint32_t band);
    /// A directed link, numbered from 0, which sends at its node's power and has no grant.
    /// Acknowledged: what HARQ gives up on is sent again, else it is lost.
    OfdmaLink& AddLink(uint32_t band, uint32_t cell, uint32_t from, uint32_t to, bool acknowledged);

    /// Has a node send noise at its power over a whole band, for the share of each TTI that
    /// `share` gives as it begins: a jammer.
    void AddNoise(uint32_t band, uint32_t node, std::function<double(ns3::Time)> share);

    void Push(OfdmaLink& link, OfdmaItem item, uint64_t size);
    /// Takes a transfer out of the link; false where it has ended. One whose last bytes are in
    /// flight ends now, as one that has arrived.
    bool Cut(OfdmaLink& link, uint64_t id, OfdmaItem& cut);
    /// Has reference signals sent over the link, as soon as the half-duplex rule lets it.
    void Sound(OfdmaLink& link, uint64_t id);

    /// Called with each item that has left a link, in order, in the context of the receiving node.
    void SetItemCallback(std::function<void(OfdmaLink&, OfdmaItem&)> callback);
    /// Called with each link that has been sounded.
    void SetSoundingCallback(std::function<void(const OfdmaSounding&)> callback);

    int64_t AssignStreams(int64_t stream);

  protected:
    void DoDispose() override;

  private:
    void Wake();
    void TickAt(int64_t tti);
    void Tick();
    int64_t NextTti() const;
    void RefreshGains();
    void Deliver(OfdmaLink& link);
    void Arrive(OfdmaLink& link);

    ns3::Time m_tti;
    double m_targetBler;
    uint32_t m_mostTransmissions;
    uint32_t m_harqProcesses;
    uint32_t m_harqRtt;
    uint32_t m_mostTries;
    double m_outerLoopStepDb;
    double m_ewmaWeight;
    ns3::Time m_gainUpdatePeriod;

    OfdmaSettings m_settings{};
    std::unique_ptr<OfdmaCodes> m_codes; // once the first band is there
    ns3::Ptr<OfdmaMedium> m_medium;
    ns3::Ptr<ns3::UniformRandomVariable> m_random;
    std::vector<OfdmaNode> m_nodes;
    std::deque<OfdmaBand> m_bands; // deques keep addresses
    std::deque<OfdmaLink> m_links;
    std::vector<uint32_t> m_bandOf; // by link
    std::function<void(OfdmaLink&, OfdmaItem&)> m_itemCallback;
    std::function<void(const OfdmaSounding&)> m_soundingCallback;

    int64_t m_now{-1};      // TTI of the latest tick
    int64_t m_tickTti{-1};  // of the next one, if there is one
    ns3::EventId m_tick;
    int64_t m_gainsDue{0};  // TTI

    ns3::TracedCallback<const OfdmaTransmission&> m_transmissionTrace;
    ns3::TracedCallback<const OfdmaReception&> m_receptionTrace;
    ns3::TracedCallback<uint32_t, bool, ns3::Time, double> m_phyStateTrace;
};

} // namespace collapipe

#endif
