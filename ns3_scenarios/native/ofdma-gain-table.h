#ifndef COLLAPIPE_OFDMA_GAIN_TABLE_H
#define COLLAPIPE_OFDMA_GAIN_TABLE_H

#include "multipath-fading.h"
#include "ofdma-gain.h"

#include "ns3/nstime.h"
#include "ns3/vector.h"

#include <complex>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace collapipe
{

/// The gains from one node to another, one per resource block; a flat channel has one for all.
struct OfdmaGains
{
    const double* first;
    uint32_t step; // from one block to the next; 0 if the channel is flat

    double operator[](uint32_t block) const
    {
        return first[block * step];
    }
};

/// The gains of one band between all senders and all receivers in it, antennas included.
///
/// Path loss, shadowing and block fading are evaluated for all pairs by Refresh(). Fading over time
/// and frequency is evaluated when a signal needs it, for the positions and the time at which its
/// TTI started, so that it doesn't depend on what else is evaluated.
///
/// Both engines read them here, so that they use the same values, and random models are evaluated
/// for the same pairs in the same order.
class OfdmaGainTable
{
  public:
    /// For a band of `blocks` around `centre` (Hz).
    OfdmaGainTable(ns3::Ptr<OfdmaGain> gain, uint32_t blocks, double centre);

    /// Makes a node of the radio a sender or a receiver in this band; `antenna`: linear gain.
    void AddSender(uint32_t node, ns3::Ptr<ns3::MobilityModel> place, double antenna);
    void AddReceiver(uint32_t node, ns3::Ptr<ns3::MobilityModel> place, double antenna);

    /// Evaluates pairs that are new, and those with a node that has moved.
    void Refresh();
    /// Fading over time is evaluated for the present time, and for the present positions, until the
    /// next call.
    void StartTti();

    /// Whether any of the gains has fading over time, as of the latest Refresh().
    bool HasMultipath() const
    {
        return m_hasMultipath;
    }

    /// The gains from a sender to a receiver without fading over time; valid until the next
    /// Refresh().
    OfdmaGains Slow(uint32_t from, uint32_t to) const;
    /// The gains from a sender to a receiver on `count` blocks from `first` on; valid until the next
    /// call, and the next Refresh().
    OfdmaGains Of(uint32_t from, uint32_t to, uint32_t first, uint32_t count) const;

    /// The gains between any two positions, such as those of other devices; with the antennas of
    /// the radio's own nodes.
    std::vector<double> Between(ns3::Ptr<const ns3::MobilityModel> from,
                                ns3::Ptr<const ns3::MobilityModel> to) const;

  private:
    struct End
    {
        uint32_t node;
        ns3::Ptr<ns3::MobilityModel> place;
        double antenna;
        ns3::Vector position{};
        bool seen{false}; // whether it has been evaluated at that position
        bool moved{true};
        ns3::Vector atTti{}; // its position as the TTI started
    };

    /// The fading over time between two nodes, as evaluated last.
    struct Faded
    {
        ns3::Ptr<PairChannel> channel; // null: there is none
        std::shared_ptr<const MultipathFading> fading;
        uint32_t firstNode; // the first of its two ends
        ns3::Vector first;
        ns3::Vector second;
        int64_t instant{-1}; // -1: not evaluated
        std::vector<std::complex<float>> coefficients;
    };

    static void Add(std::vector<End>& ends,
                    uint32_t node,
                    ns3::Ptr<ns3::MobilityModel> place,
                    double antenna);
    static bool LookForMoves(std::vector<End>& ends);
    static const End& Node(const std::vector<End>& ends, uint32_t node);
    const Faded& FadedBetween(const End& from, const End& to) const;
    static const End* At(const std::vector<End>& ends, const ns3::MobilityModel* place);
    void Evaluate(const End& from, const End& to, std::vector<double>& gains) const;
    double& Place(uint32_t from, uint32_t to);
    static void Apply(double antennas, std::vector<double>& gains);

    ns3::Ptr<OfdmaGain> m_gain;
    uint32_t m_blocks;
    double m_centre;
    bool m_hasMultipath{false};
    ns3::Time m_tti; // its start
    std::vector<End> m_senders;   // by node
    std::vector<End> m_receivers; // by node
    // A value per block for each of the pairs, whose number is that of nodes squared, would be too
    // much.
    std::vector<std::vector<double>> m_flat; // [from][to]; nan if unknown or not flat
    std::map<std::pair<uint32_t, uint32_t>, std::vector<double>> m_selective; // by block
    mutable std::map<std::pair<uint32_t, uint32_t>, Faded> m_faded; // the lower number comes first
    mutable std::vector<double> m_gains; // of the latest Of() with fading over time, by block
};

} // namespace collapipe

#endif
