#ifndef COLLAPIPE_OFDMA_GAIN_TABLE_H
#define COLLAPIPE_OFDMA_GAIN_TABLE_H

#include "ofdma-gain.h"

#include "ns3/vector.h"

#include <cstdint>
#include <map>
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
/// Both engines read them here, so that they use the same values, and random models are evaluated
/// for the same pairs in the same order.
class OfdmaGainTable
{
  public:
    OfdmaGainTable(ns3::Ptr<OfdmaGain> gain, uint32_t blocks);

    /// Makes a node of the radio a sender or a receiver in this band; `antenna`: linear gain.
    void AddSender(uint32_t node, ns3::Ptr<ns3::MobilityModel> place, double antenna);
    void AddReceiver(uint32_t node, ns3::Ptr<ns3::MobilityModel> place, double antenna);

    /// Evaluates pairs that are new, and those with a node that has moved.
    void Refresh();

    /// The gains from a sender to a receiver; valid until the next Refresh().
    OfdmaGains Of(uint32_t from, uint32_t to) const;

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
    };

    static void Add(std::vector<End>& ends,
                    uint32_t node,
                    ns3::Ptr<ns3::MobilityModel> place,
                    double antenna);
    static bool LookForMoves(std::vector<End>& ends);
    static const End* At(const std::vector<End>& ends, const ns3::MobilityModel* place);
    void Evaluate(const End& from, const End& to, std::vector<double>& gains) const;
    double& Place(uint32_t from, uint32_t to);
    static void Apply(double antennas, std::vector<double>& gains);

    ns3::Ptr<OfdmaGain> m_gain;
    uint32_t m_blocks;
    std::vector<End> m_senders;   // by node
    std::vector<End> m_receivers; // by node
    // A value per block for each of the pairs, whose number is that of nodes squared, would be too
    // much.
    std::vector<std::vector<double>> m_flat; // [from][to]; nan if unknown or not flat
    std::map<std::pair<uint32_t, uint32_t>, std::vector<double>> m_selective; // by block
};

} // namespace collapipe

#endif
