#ifndef COLLAPIPE_EPISODE_H
#define COLLAPIPE_EPISODE_H

#include "fast-forward.h"
#include "lte-cell.h"
#include "ofdma-cells.h"
#include "pair-channel.h"
#include "radio-link.h"
#include "records.h"
#include "sim-clock.h"
#include "stream.h"
#include "surroundings.h"
#include "trail-mobility-model.h"
#include "wifi-cells.h"

#include "ns3/ipv4-address.h"
#include "ns3/node.h"
#include "ns3/ptr.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace collapipe
{

/// One simulation: its nodes, radios and streams. Time 0 is when all terminals are attached.
///
/// Nodes are numbered from 0 in the order in which they are added. Add all nodes, then the radios,
/// then call Start(). Destroy it before Simulator::Destroy().
class Episode
{
  public:
    /// `runTime`: the run's time at time 0, in ns; `lastingRun`: ns-3's run number for draws that
    /// stay the same in all episodes; `sampled`: whether FastForward extrapolates long transfers.
    explicit Episode(int64_t runTime = 0, uint64_t lastingRun = 1, bool sampled = false);
    ~Episode();

    /// Adds a node, with its position at the run's time 0 (m).
    uint32_t AddNode(const std::string& name,
                     double x,
                     double y,
                     double z,
                     const Motion& motion = {});
    /// Adds a node of a user's own topology, which other such nodes reach by this address. It has
    /// the Internet stack; its links are unknown to this episode.
    uint32_t AddHost(ns3::Ptr<ns3::Node> node, ns3::Ipv4Address address);
    /// Adds a channel between all nodes; channels are numbered from 0. Its LastingRun is the
    /// episode's. The attributes of PairChannel and of the loss models are in attribute-table's
    /// format. `nlosLoss` and `condition` are empty if one loss model holds in all cases.
    uint32_t AddChannel(const std::string& attributes,
                        const std::string& loss,
                        const std::string& lossAttributes,
                        const std::string& nlosLoss,
                        const std::string& nlosLossAttributes,
                        const std::string& condition);
    ns3::Ptr<PairChannel> Channel(uint32_t channel) const;
    ns3::Ptr<ns3::MobilityModel> Place(uint32_t node) const;
    /// Call it before the first AddWifiCell().
    void AddWifi(uint32_t channel);
    void AddWifiCell(const std::vector<uint32_t>& nodes, const std::string& channel);
    void AddLte(uint32_t server,
                const std::vector<uint32_t>& ues,
                uint32_t resourceBlocks,
                uint32_t channel,
                double ueAntennaDb,
                double enbAntennaDb);
    /// Adds an OFDMA radio, which the caller configures before Start(). The engine is the type of
    /// an OfdmaMedium, the attributes are OfdmaRadio's.
    OfdmaCells& AddOfdma(const std::string& engine, const std::string& attributes);
    /// The interferers on the radios' channels; add them after the radios, before Start().
    Surroundings& Around();
    /// Sets the power of a node for all links of a radio, "wifi" or "lte". Powers of an OFDMA radio
    /// are granted to links.
    void SetTxPower(uint32_t node, const std::string& radio, double watts);
    /// For LTE terminals under open-loop power control, instead of a power.
    void SetMaxTxPower(uint32_t node, double watts);
    /// Switches a node on or off: its Wi-Fi radio. Over OFDMA a node without transfers is silent by
    /// itself; an LTE terminal keeps its connection, with its control signals.
    void Switch(uint32_t node, bool on);
    /// Attaches the terminals, and makes the present time 0; false if this takes more than `limit`
    /// ns.
    bool Start(int64_t limit);

    int64_t Now() const;
    /// As SimClock::Advance.
    int Advance(int64_t until);
    void Interrupt();

    void Send(uint64_t id, uint32_t src, uint32_t dst, uint64_t size);
    /// Sends the same bytes to several nodes, over an OFDMA radio; see OfdmaCells.
    void Multicast(const std::vector<uint64_t>& ids,
                   uint32_t src,
                   const std::vector<uint32_t>& dsts,
                   uint64_t size);
    void Cut(uint64_t id, uint32_t src, uint32_t dst);
    /// The progress of the current transfer between these nodes.
    Progress Head(uint32_t src, uint32_t dst) const;
    /// For links of an OFDMA radio; see OfdmaCells.
    void Grant(uint32_t src, uint32_t dst, double watts, double blocks);
    void GrantGroup(uint32_t src,
                    const std::vector<uint32_t>& dsts,
                    double watts,
                    double blocks);
    void Sound(uint64_t id, uint32_t src, uint32_t dst);
    /// Moves the transfers that ended since the last call into an array at EndedData() and, in the
    /// same order, their lost ranges into one at LostData(); returns the number of transfers.
    uint32_t TakeEnded();
    /// The addresses of the arrays, valid until the next TakeEnded().
    uintptr_t EndedData() const;
    uintptr_t LostData() const;

    /// The terminals that changed their cell since the start, and the present cells of those that
    /// may; see OfdmaCells.
    std::vector<CellChange> CellChanges() const;
    std::vector<Attachment> Attachments() const;
    const std::deque<RadioLink>& Links() const;
    const std::vector<RadioUsage>& Usage() const;

  private:
    ns3::Ptr<ns3::MobilityModel> Mobility(const std::string& name,
                                          ns3::Vector place,
                                          const Motion& motion);
    std::unique_ptr<Stream> Open(uint32_t src, uint32_t dst);
    Stream& Between(uint32_t src, uint32_t dst);
    void SampleAnew();
    OfdmaCells& Scheduled(uint32_t src, uint32_t dst) const;
    OfdmaCells* OfdmaBetween(uint32_t src, uint32_t dst) const;

    int64_t m_runTime;
    uint64_t m_lastingRun;
    Records m_records;
    std::vector<ns3::Ptr<TrailMobilityModel>> m_trails;
    std::vector<ns3::Ptr<ns3::Node>> m_nodes;
    std::vector<std::string> m_names;   // of the nodes
    std::vector<ns3::Vector> m_places;  // at the run's time 0
    std::vector<ns3::Ptr<PairChannel>> m_channels;
    EndedTransfers m_taken;
    std::unique_ptr<WifiCells> m_wifi;
    std::unique_ptr<LteCell> m_lte;
    std::vector<std::unique_ptr<OfdmaCells>> m_ofdma;
    Surroundings m_surroundings;
    std::map<uint32_t, ns3::Ipv4Address> m_hosts; // by node
    FastForward::Streams m_streams;
    std::unique_ptr<FastForward> m_sampling; // if transfers are not simulated in full
};

} // namespace collapipe

#endif
