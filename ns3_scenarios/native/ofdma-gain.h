#ifndef COLLAPIPE_OFDMA_GAIN_H
#define COLLAPIPE_OFDMA_GAIN_H

#include "pair-channel.h"

#include "ns3/mobility-model.h"
#include "ns3/object.h"
#include "ns3/propagation-loss-model.h"

#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace collapipe
{

/// The channel between two positions in one band: path loss, shadowing, fading, without antennas.
///
/// Evaluate() is flat over the band in this class: chains of ns-3's PropagationLossModels, and a
/// fading model that is evaluated once for each pair of positions (block fading: an episode is a
/// block). For another channel that isn't flat, make a subclass with its own Evaluate(). Fading
/// over time and frequency is that of the models that are a PairChannel.
class OfdmaGain : public ns3::Object
{
  public:
    static ns3::TypeId GetTypeId();

    /// Sets which positions are base stations, for which DeviceLoss doesn't hold.
    void AddStation(ns3::Ptr<const ns3::MobilityModel> place);

    /// Sets the linear gains from one position to another, one value for each resource block. It is
    /// called when the radio starts (twice, as ns-3's 3GPP models draw again at the second call),
    /// and whenever one of the two has moved, in the same order in every engine.
    virtual void Evaluate(ns3::Ptr<ns3::MobilityModel> from,
                          ns3::Ptr<ns3::MobilityModel> to,
                          std::vector<double>& gains);

    /// The channel between two positions if it has fading over time and frequency, otherwise null.
    ns3::Ptr<PairChannel> Multipath(ns3::Ptr<const ns3::MobilityModel> from,
                                    ns3::Ptr<const ns3::MobilityModel> to) const;
    /// Whether Multipath() is not null for some positions.
    bool HasMultipath() const;

    /// Fixes the random streams of the models; returns how many it used.
    virtual int64_t AssignStreams(int64_t stream);

  protected:
    void DoDispose() override;

  private:
    using Place = ns3::Ptr<const ns3::MobilityModel>;

    const ns3::Ptr<ns3::PropagationLossModel>& LossBetween(Place from, Place to) const;
    double FadingDb(ns3::Ptr<ns3::MobilityModel> from, ns3::Ptr<ns3::MobilityModel> to);

    ns3::Ptr<ns3::PropagationLossModel> m_loss;
    ns3::Ptr<ns3::PropagationLossModel> m_deviceLoss;
    ns3::Ptr<ns3::PropagationLossModel> m_fading;
    std::set<Place> m_stations;
    std::map<std::pair<Place, Place>, double> m_fadingDb; // reciprocal: one for both directions
};

} // namespace collapipe

#endif
