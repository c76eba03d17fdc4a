#ifndef COLLAPIPE_PAIR_CHANNEL_H
#define COLLAPIPE_PAIR_CHANNEL_H

#include "place-field.h"

#include "ns3/channel-condition-model.h"
#include "ns3/mobility-model.h"
#include "ns3/propagation-loss-model.h"
#include "ns3/random-variable-stream.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace collapipe
{

/// The channel between any two places: path loss by ns-3's models, with or without line of sight,
/// shadowing, and block fading. Reciprocal. Antennas are not in it.
///
/// Common random numbers: nothing depends on who asks when. Line of sight and shadowing are
/// functions of the two places, drawn from the run `LastingRun`, so that they outlast an episode;
/// fading is drawn once a pair from a stream with the names of both, in the present run.
///
/// A loss model that draws by itself is asked in the order in which pairs come up, and again when
/// one of a pair has moved. Settle() asks for all pairs there are, so that without motion this too
/// is the same whoever sends when.
class PairChannel : public ns3::PropagationLossModel
{
  public:
    static ns3::TypeId GetTypeId();

    /// A place's name; those of one name are one place (a base station's two nodes).
    void AddPlace(ns3::Ptr<ns3::MobilityModel> place, const std::string& name);
    /// Path loss in line of sight and without, and what tells which it is; a loss that always
    /// holds has no second and no condition.
    void SetLoss(ns3::Ptr<ns3::PropagationLossModel> inSight,
                 ns3::Ptr<ns3::PropagationLossModel> outOfSight,
                 ns3::Ptr<ns3::ThreeGppChannelConditionModel> condition);
    /// Call it when all places are known.
    void Settle();

    double GainDb(ns3::Ptr<ns3::MobilityModel> a, ns3::Ptr<ns3::MobilityModel> b) const;
    bool InSight(ns3::Ptr<ns3::MobilityModel> a, ns3::Ptr<ns3::MobilityModel> b) const;

  protected:
    void NotifyConstructionCompleted() override;
    void DoDispose() override;

  private:
    struct Place
    {
        uint32_t number;
        std::string name;
        ns3::Ptr<ns3::MobilityModel> model; // kept, so that its address stays its own
    };

    struct Pair
    {
        ns3::Vector first;
        ns3::Vector second;
        double fadingDb;
        double gainDb;
    };

    void TakeUp(ns3::Ptr<ns3::PropagationLossModel> loss,
                const std::string& name,
                ns3::Ptr<ns3::ChannelConditionModel> state);
    const Place& Known(const ns3::Ptr<ns3::MobilityModel>& place) const;
    double LossAndShadowingDb(const Place& first, const Place& second, bool isNew) const;
    double DrawFadingDb(const Place& first, const Place& second) const;
    double DoCalcRxPower(double txPowerDbm,
                         ns3::Ptr<ns3::MobilityModel> a,
                         ns3::Ptr<ns3::MobilityModel> b) const override;
    int64_t DoAssignStreams(int64_t stream) override;

    std::string m_name;
    uint64_t m_lastingRun;
    double m_sigmaInSight;     // dB
    double m_sigmaOutOfSight;  // dB
    double m_distanceInSight;  // m
    double m_distanceOutOfSight;
    double m_square; // m
    double m_fading; // Nakagami's m

    ns3::Ptr<ns3::PropagationLossModel> m_inSight;
    ns3::Ptr<ns3::PropagationLossModel> m_outOfSight;
    ns3::Ptr<ns3::ThreeGppChannelConditionModel> m_condition;
    ns3::Ptr<ns3::NakagamiPropagationLossModel> m_nakagami;
    std::unique_ptr<PlaceField> m_shadowing;
    bool m_draws{false}; // whether a loss model draws by itself

    // What is known of places and pairs; the questions to a channel don't change it.
    mutable std::map<const ns3::MobilityModel*, Place> m_places;
    mutable std::map<std::pair<uint32_t, uint32_t>, Pair> m_pairs;
};

} // namespace collapipe

#endif
