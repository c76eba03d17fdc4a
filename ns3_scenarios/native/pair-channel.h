#ifndef COLLAPIPE_PAIR_CHANNEL_H
#define COLLAPIPE_PAIR_CHANNEL_H

#include "multipath-fading.h"
#include "place-field.h"

#include "ns3/channel-condition-model.h"
#include "ns3/mobility-model.h"
#include "ns3/nstime.h"
#include "ns3/propagation-loss-model.h"
#include "ns3/random-variable-stream.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace collapipe
{

/// The channel between any two positions: path loss by ns-3's models, with or without line of
/// sight, shadowing, and block fading. It is reciprocal and doesn't include antennas.
///
/// Fading over time and frequency (Multipath()) is not in its gain, as it differs between the
/// blocks of a band: a radio that has it multiplies by its gains.
///
/// Common random numbers: no result depends on the order of queries. Line of sight and shadowing
/// are functions of the two positions, drawn from the run `LastingRun`, and so the same in all
/// episodes, as are the waves of Multipath(); block fading is drawn once for each pair, from a
/// stream with both names in the present run.
///
/// A loss model that draws random numbers itself is evaluated in the order in which pairs are first
/// queried, and again when one of the pair has moved. Settle() evaluates all pairs, so that without
/// motion these draws don't depend on the order of queries either.
class PairChannel : public ns3::PropagationLossModel
{
  public:
    static ns3::TypeId GetTypeId();

    /// Names a position; those with the same name are one (a base station's two nodes).
    void AddPlace(ns3::Ptr<ns3::MobilityModel> place, const std::string& name);
    /// Sets path loss with line of sight and without it, and the model that decides between them;
    /// if one loss model holds in all cases, the others are null.
    void SetLoss(ns3::Ptr<ns3::PropagationLossModel> inSight,
                 ns3::Ptr<ns3::PropagationLossModel> outOfSight,
                 ns3::Ptr<ns3::ThreeGppChannelConditionModel> condition);
    /// Call it when all positions have been added.
    void Settle();
    /// Sets the run's time (ns) at the present time. Without it, it is ns-3's time.
    void SetRunTime(int64_t time);
    /// The run's time (ns) at a time of ns-3.
    int64_t RunTime(ns3::Time at) const;

    double GainDb(ns3::Ptr<ns3::MobilityModel> a, ns3::Ptr<ns3::MobilityModel> b) const;
    /// Path loss and shadowing alone.
    double MeanGainDb(ns3::Ptr<ns3::MobilityModel> a, ns3::Ptr<ns3::MobilityModel> b) const;
    bool InSight(ns3::Ptr<ns3::MobilityModel> a, ns3::Ptr<ns3::MobilityModel> b) const;
    /// Whether there is fading over time and frequency.
    bool HasMultipath() const;
    /// The fading over time and frequency between two positions, in a band of resource blocks
    /// around `centre` (Hz). It is the same in both directions. Bands with other centres fade
    /// independently, as duplex distances are much larger than the coherence bandwidth.
    std::shared_ptr<const MultipathFading> Multipath(ns3::Ptr<ns3::MobilityModel> a,
                                                     ns3::Ptr<ns3::MobilityModel> b,
                                                     double centre,
                                                     uint32_t blocks) const;
    /// Whether `a` is the first of the two ends of the fading, otherwise `b` is.
    bool IsFirst(ns3::Ptr<ns3::MobilityModel> a, ns3::Ptr<ns3::MobilityModel> b) const;

  protected:
    void NotifyConstructionCompleted() override;
    void DoDispose() override;

  private:
    struct Place
    {
        uint32_t number;
        std::string name;
        ns3::Ptr<ns3::MobilityModel> model; // kept, so that its address isn't used again
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
    double m_fading; // m of Nakagami fading
    std::string m_profile; // of fading over time and frequency; empty: none
    double m_delaySpread;  // s
    double m_doppler;      // Hz, of the environment
    int64_t m_runTime{0};  // ns, less ns-3's time

    ns3::Ptr<ns3::PropagationLossModel> m_inSight;
    ns3::Ptr<ns3::PropagationLossModel> m_outOfSight;
    ns3::Ptr<ns3::ThreeGppChannelConditionModel> m_condition;
    ns3::Ptr<ns3::NakagamiPropagationLossModel> m_nakagami;
    std::unique_ptr<PlaceField> m_shadowing;
    bool m_draws{false}; // whether a loss model draws random numbers itself

    // Known positions and pairs, which queries add to.
    mutable std::map<const ns3::MobilityModel*, Place> m_places;
    mutable std::map<std::pair<uint32_t, uint32_t>, Pair> m_pairs;
    mutable std::map<std::pair<double, uint32_t>, std::shared_ptr<const DelayLine>> m_lines;
};

} // namespace collapipe

#endif
