#ifndef COLLAPIPE_OFDMA_GAIN_H
#define COLLAPIPE_OFDMA_GAIN_H

#include "ns3/mobility-model.h"
#include "ns3/object.h"
#include "ns3/propagation-loss-model.h"

#include <map>
#include <set>
#include <utility>
#include <vector>

namespace collapipe
{

/// The channel between two places of one band: path loss, shadowing, fading. Antennas not included.
///
/// This one is flat over the band: chains of ns-3's PropagationLossModels, and a model of fading
/// that is asked once a pair of places and then keeps still (block fading: an episode is a block).
/// Subclass it and fill in Evaluate() for a channel that isn't flat.
class OfdmaGain : public ns3::Object
{
  public:
    static ns3::TypeId GetTypeId();

    /// Tells which places are base stations, for which DeviceLoss doesn't hold.
    void AddStation(ns3::Ptr<const ns3::MobilityModel> place);

    /// Sets the linear gains from one place to another, one value a resource block of the band.
    /// Asked when the radio starts (twice, as ns-3's 3GPP models settle at the second call), and
    /// whenever one of the two has moved, in the same order whichever engine runs.
    virtual void Evaluate(ns3::Ptr<ns3::MobilityModel> from,
                          ns3::Ptr<ns3::MobilityModel> to,
                          std::vector<double>& gains);

    /// Fixes the random streams of the models; returns how many it took.
    virtual int64_t AssignStreams(int64_t stream);

  protected:
    void DoDispose() override;

  private:
    using Place = ns3::Ptr<const ns3::MobilityModel>;

    double FadingDb(ns3::Ptr<ns3::MobilityModel> from, ns3::Ptr<ns3::MobilityModel> to);

    ns3::Ptr<ns3::PropagationLossModel> m_loss;
    ns3::Ptr<ns3::PropagationLossModel> m_deviceLoss;
    ns3::Ptr<ns3::PropagationLossModel> m_fading;
    std::set<Place> m_stations;
    std::map<std::pair<Place, Place>, double> m_fadingDb; // reciprocal: once an unordered pair
};

} // namespace collapipe

#endif
