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

/// A scheduled OFDMA radio: nodes, bands, cells and links, with one clock of TTIs.
///
/// In each TTI, for all links at once: transport blocks are decoded, feedback is handled, the
/// schedulers allocate resource blocks, and new transport blocks are sent. There are no events
/// while no link has anything to do. TTIs begin at whole multiples of their length.
///
/// Signals of one TTI reach all receivers at the same time: timing advance (TS 36.213, 4.2.3) and
/// the cyclic prefix are assumed to absorb differences of distance. The data of a TTI are delivered
/// at its end, plus the propagation delay from sender to receiver.
class OfdmaRadio : public ns3::Object
{
  public:
    static ns3::TypeId GetTypeId();
    OfdmaRadio();
    ~OfdmaRadio() override;

    /// Sets the engine; the default is OfdmaTtiMedium. Call it before the first band is added.
    void SetMedium(ns3::Ptr<OfdmaMedium> medium);
    ns3::Ptr<OfdmaMedium> GetMedium() const;

    /// Adds a node; nodes are numbered from 0. `context`: the ns-3 node's number; `watts`: its
    /// maximum power in a band. Add all nodes before the first band.
    uint32_t AddNode(ns3::Ptr<ns3::MobilityModel> place,
                     uint32_t context,
                     double watts,
                     double noiseFigureDb,
                     double antennaGainDb);
    /// Adds consecutive resource blocks around a frequency; bands are numbered from 0.
    uint32_t AddBand(uint32_t blocks, double centreHz, ns3::Ptr<OfdmaGain> gain);
    /// Adds a cell: links with one scheduler, which share no resource block; numbered from 0 in a
    /// band.
    uint32_t AddCell(uint32_t band);
    /// Adds a directed link, numbered from 0, which sends at its node's power and has no grant. If
    /// acknowledged, data on which HARQ gives up is sent again, otherwise it is lost.
    OfdmaLink& AddLink(uint32_t band, uint32_t cell, uint32_t from, uint32_t to, bool acknowledged);

    /// Adds a group: a link to the receivers of these links, which have one sender and one cell.
    OfdmaLink& AddGroup(const std::vector<OfdmaLink*>& members);

    /// What a node radiates at most, times the gain of its antenna (W).
    double Radiates(uint32_t node) const;

    /// Adds other nodes between which a link may be moved.
    void AddEnds(const OfdmaLink& link, uint32_t from, uint32_t to);
    /// Moves a link to other nodes and another cell of its band. Its transfers go on there, or are
    /// lost; what groups would have sent over it goes on alone. To be called by what Attend() was
    /// given.
    void Move(OfdmaLink& link, uint32_t cell, uint32_t from, uint32_t to, bool forwards);
    /// Calls this now, and then as the first TTI begins at or after each time that it returns, after
    /// the signals of the last TTI have been received and before others are sent.
    void Attend(std::function<ns3::Time()> attend);

    /// Adds a jammer: noise from a node at its power over a whole band, for the share of each TTI
    /// that `share` returns at its start.
    void AddNoise(uint32_t band, uint32_t node, std::function<double(ns3::Time)> share);

    void Push(OfdmaLink& link, OfdmaItem item, uint64_t size);
    /// Sends the same bytes to all members of a group; `ids` has the transfer to each of them,
    /// which the item callback and Cut() see as one on the link to that member.
    void PushToGroup(OfdmaLink& group, const std::vector<uint64_t>& ids, uint64_t size);
    /// Removes a transfer from the link; false if it has ended. One whose last bytes are in flight
    /// ends now, as one that has arrived.
    bool Cut(OfdmaLink& link, uint64_t id, OfdmaItem& cut);
    /// Sends reference signals over the link, as soon as the half-duplex rule permits.
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
    int64_t FirstTti(ns3::Time from) const;
    void Join(uint32_t band, uint32_t from, uint32_t to);
    void RefreshGains();
    void Deliver(OfdmaLink& link);
    void DeliverFrom(OfdmaQueue& inbox, OfdmaLink& link);
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
    std::unique_ptr<OfdmaCodes> m_codes; // set with the first band
    ns3::Ptr<OfdmaMedium> m_medium;
    ns3::Ptr<ns3::UniformRandomVariable> m_random;
    std::vector<OfdmaNode> m_nodes;
    std::deque<OfdmaBand> m_bands; // a deque keeps addresses valid
    std::deque<OfdmaLink> m_links;
    std::vector<uint32_t> m_bandOf; // by link
    std::function<void(OfdmaLink&, OfdmaItem&)> m_itemCallback;
    std::function<void(const OfdmaSounding&)> m_soundingCallback;

    int64_t m_now{-1};      // TTI of the latest tick
    int64_t m_tickTti{-1};  // of the next one, if any
    ns3::EventId m_tick;
    int64_t m_gainsDue{0};  // TTI
    std::function<ns3::Time()> m_attend;
    int64_t m_attendDue{0}; // TTI

    ns3::TracedCallback<const OfdmaTransmission&> m_transmissionTrace;
    ns3::TracedCallback<const OfdmaReception&> m_receptionTrace;
    ns3::TracedCallback<uint32_t, bool, ns3::Time, double> m_phyStateTrace;
};

} // namespace collapipe

#endif
