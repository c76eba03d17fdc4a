#include "pair-channel.h"

#include "random-streams.h"

#include "ns3/double.h"
#include "ns3/node.h"
#include "ns3/nstime.h"
#include "ns3/object-factory.h"
#include "ns3/simulator.h"
#include "ns3/string.h"
#include "ns3/three-gpp-propagation-loss-model.h"
#include "ns3/uinteger.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(PairChannel);

TypeId
PairChannel::GetTypeId()
{
    static TypeId tid =
        TypeId("collapipe::PairChannel")
            .SetParent<PropagationLossModel>()
            .SetGroupName("Collapipe")
            .AddConstructor<PairChannel>()
            .AddAttribute("Name",
                          "Name of the channel, used in the names of its random streams.",
                          StringValue("channel"),
                          MakeStringAccessor(&PairChannel::m_name),
                          MakeStringChecker())
            .AddAttribute("LastingRun",
                          "The run (RngRun) for draws that stay the same in all episodes.",
                          UintegerValue(1),
                          MakeUintegerAccessor(&PairChannel::m_lastingRun),
                          MakeUintegerChecker<uint64_t>())
            .AddAttribute("Sigma",
                          "Standard deviation of shadowing in line of sight, or always [dB].",
                          DoubleValue(0),
                          MakeDoubleAccessor(&PairChannel::m_sigmaInSight),
                          MakeDoubleChecker<double>(0, 100))
            .AddAttribute("NlosSigma",
                          "Standard deviation of shadowing without line of sight [dB].",
                          DoubleValue(0),
                          MakeDoubleAccessor(&PairChannel::m_sigmaOutOfSight),
                          MakeDoubleChecker<double>(0, 100))
            .AddAttribute("Distance",
                          "Distance at which shadowing's correlation is 1/e, in line of sight [m].",
                          DoubleValue(10),
                          MakeDoubleAccessor(&PairChannel::m_distanceInSight),
                          MakeDoubleChecker<double>(1e-3))
            .AddAttribute("NlosDistance",
                          "The same without line of sight [m].",
                          DoubleValue(10),
                          MakeDoubleAccessor(&PairChannel::m_distanceOutOfSight),
                          MakeDoubleChecker<double>(1e-3))
            .AddAttribute("Square",
                          "Side of the squares for which line of sight is drawn once [m].",
                          DoubleValue(50),
                          MakeDoubleAccessor(&PairChannel::m_square),
                          MakeDoubleChecker<double>(1e-3))
            .AddAttribute("Fading",
                          "m of Nakagami block fading; 1: Rayleigh, 0: none.",
                          DoubleValue(0),
                          MakeDoubleAccessor(&PairChannel::m_fading),
                          MakeDoubleChecker<double>(0, 1000))
            .AddAttribute("Profile",
                          "Delay profile of fading over time and frequency: clarke, tdl-a, tdl-b "
                          "or tdl-c; empty: none.",
                          StringValue(""),
                          MakeStringAccessor(&PairChannel::m_profile),
                          MakeStringChecker())
            .AddAttribute("DelaySpread",
                          "Root mean square of the profile's delays about their mean [s].",
                          DoubleValue(0),
                          MakeDoubleAccessor(&PairChannel::m_delaySpread),
                          MakeDoubleChecker<double>(0))
            .AddAttribute("Doppler",
                          "Maximum Doppler shift due to the environment, in addition to that of "
                          "the nodes' motion [Hz].",
                          DoubleValue(0),
                          MakeDoubleAccessor(&PairChannel::m_doppler),
                          MakeDoubleChecker<double>(0));
    return tid;
}

void
PairChannel::NotifyConstructionCompleted()
{
    PropagationLossModel::NotifyConstructionCompleted();
    if (m_sigmaInSight > 0 || m_sigmaOutOfSight > 0)
    {
        m_shadowing = std::make_unique<PlaceField>(m_name + " shadowing", m_lastingRun);
    }
    if (m_fading > 0)
    {
        m_nakagami = CreateObjectWithAttributes<NakagamiPropagationLossModel>(
            "m0", DoubleValue(m_fading), "m1", DoubleValue(m_fading), "m2", DoubleValue(m_fading));
    }
}

void
PairChannel::DoDispose()
{
    m_inSight = m_outOfSight = nullptr;
    m_condition = nullptr;
    m_nakagami = nullptr;
    m_places.clear();
    m_pairs.clear();
    m_lines.clear();
    PropagationLossModel::DoDispose();
}

void
PairChannel::AddPlace(Ptr<MobilityModel> place, const std::string& name)
{
    const auto same = std::find_if(m_places.begin(), m_places.end(), [&name](const auto& known) {
        return known.second.name == name;
    });
    const auto number = same == m_places.end() ? static_cast<uint32_t>(m_places.size())
                                               : same->second.number;
    m_places.emplace(PeekPointer(place), Place{number, name, place});
}

void
PairChannel::SetLoss(Ptr<PropagationLossModel> inSight,
                     Ptr<PropagationLossModel> outOfSight,
                     Ptr<ThreeGppChannelConditionModel> condition)
{
    m_inSight = inSight;
    m_outOfSight = outOfSight;
    m_condition = condition;
    const RunScope scope(m_lastingRun);
    TakeUp(m_inSight, "loss", CreateObject<AlwaysLosChannelConditionModel>());
    TakeUp(m_outOfSight, "NLOS loss", CreateObject<NeverLosChannelConditionModel>());
    if (m_condition)
    {
        // The model keeps its results; this discards them whenever anything may have moved.
        m_condition->SetAttribute("UpdatePeriod", TimeValue(TimeStep(1)));
    }
}

/// Fixes the random streams of a loss model, and the channel condition that it assumes.
void
PairChannel::TakeUp(Ptr<PropagationLossModel> loss,
                    const std::string& name,
                    Ptr<ChannelConditionModel> state)
{
    if (!loss)
    {
        return;
    }
    const auto stream = StreamNumber(m_name + " " + name);
    const auto taken = loss->AssignStreams(stream);
    m_draws |= taken > 0;
    if (const auto threeGpp = DynamicCast<ThreeGppPropagationLossModel>(loss))
    {
        if (m_condition)
        {
            threeGpp->SetChannelConditionModel(state);
        }
        else
        {
            threeGpp->GetChannelConditionModel()->AssignStreams(stream + taken);
        }
    }
}

void
PairChannel::Settle()
{
    if (!m_draws)
    {
        return;
    }
    std::map<uint32_t, Ptr<MobilityModel>> places;
    for (const auto& [address, place] : m_places)
    {
        places.emplace(place.number, place.model);
    }
    for (const auto& [a, first] : places)
    {
        for (const auto& [b, second] : places)
        {
            if (a < b)
            {
                GainDb(first, second);
            }
        }
    }
}

const PairChannel::Place&
PairChannel::Known(const Ptr<MobilityModel>& place) const
{
    auto found = m_places.find(PeekPointer(place));
    if (found == m_places.end()) // another device on ns-3's channel
    {
        const auto number = static_cast<uint32_t>(m_places.size());
        const Place unnamed{number, "place " + std::to_string(number), place};
        found = m_places.emplace(PeekPointer(place), unnamed).first;
    }
    return found->second;
}

double
PairChannel::GainDb(Ptr<MobilityModel> a, Ptr<MobilityModel> b) const
{
    const auto* first = &Known(a);
    const auto* second = &Known(b);
    if (first->number > second->number)
    {
        std::swap(first, second);
    }
    const auto [found, isNew] = m_pairs.try_emplace({first->number, second->number});
    auto& pair = found->second;
    const auto here = first->model->GetPosition();
    const auto there = second->model->GetPosition();
    if (isNew || here != pair.first || there != pair.second)
    {
        if (isNew)
        {
            pair.fadingDb = m_nakagami ? DrawFadingDb(*first, *second) : 0;
        }
        pair.first = here;
        pair.second = there;
        pair.gainDb = LossAndShadowingDb(*first, *second, isNew) + pair.fadingDb;
    }
    return pair.gainDb;
}

double
PairChannel::MeanGainDb(Ptr<MobilityModel> a, Ptr<MobilityModel> b) const
{
    const auto gain = GainDb(a, b);
    const auto pair = std::minmax({Known(a).number, Known(b).number});
    return gain - m_pairs.at(pair).fadingDb;
}

double
PairChannel::LossAndShadowingDb(const Place& first, const Place& second, bool isNew) const
{
    const auto a = first.model;
    const auto b = second.model;
    const bool inSight = !m_condition || InSight(a, b);
    const auto& loss = inSight ? m_inSight : m_outOfSight;
    double db = 0;
    if (loss)
    {
        // A model that distinguishes its ends needs the higher one, a mast, second.
        const bool swap = a->GetPosition().z > b->GetPosition().z;
        const auto ask = [&] { return loss->CalcRxPower(0, swap ? b : a, swap ? a : b); };
        db = ask();
        if (isNew && m_draws)
        {
            db = ask(); // ns-3's 3GPP models settle at the second call
        }
    }
    if (m_shadowing)
    {
        const auto sigma = inSight ? m_sigmaInSight : m_sigmaOutOfSight;
        const auto distance = inSight ? m_distanceInSight : m_distanceOutOfSight;
        db += sigma * m_shadowing->At(a->GetPosition(), b->GetPosition(), distance);
    }
    if (std::isnan(db))
    {
        throw std::domain_error("the channel " + m_name + " has no gain between " + first.name +
                                " and " + second.name + ": its loss model gives no number");
    }
    return std::min(db, 0.0); // no more arrives than was sent, however short the distance
}

bool
PairChannel::InSight(Ptr<MobilityModel> a, Ptr<MobilityModel> b) const
{
    if (!m_condition)
    {
        return true;
    }
    // One draw for all pairs between two squares: nodes near each other see the same (TR 38.901,
    // 7.6.3.3). It is compared with the probability at the exact positions.
    const auto square = [this](const Vector& place) {
        return std::to_string(std::lround(std::floor(place.x / m_square))) + "," +
               std::to_string(std::lround(std::floor(place.y / m_square)));
    };
    const auto ends = std::minmax({square(a->GetPosition()), square(b->GetPosition())});
    {
        const RunScope scope(m_lastingRun);
        m_condition->AssignStreams(
            StreamNumber(m_name + " sight " + ends.first + " " + ends.second));
    }
    return m_condition->GetChannelCondition(a, b)->IsLos();
}

double
PairChannel::DrawFadingDb(const Place& first, const Place& second) const
{
    const auto names = std::minmax({first.name, second.name});
    m_nakagami->AssignStreams(StreamNumber(m_name + " fading " + names.first + " " + names.second));
    return m_nakagami->CalcRxPower(0, first.model, second.model);
}

void
PairChannel::SetRunTime(int64_t time)
{
    m_runTime = time - Simulator::Now().GetNanoSeconds();
}

int64_t
PairChannel::RunTime(Time at) const
{
    return m_runTime + at.GetNanoSeconds();
}

bool
PairChannel::HasMultipath() const
{
    return !m_profile.empty();
}

std::shared_ptr<const MultipathFading>
PairChannel::Multipath(Ptr<MobilityModel> a,
                       Ptr<MobilityModel> b,
                       double centre,
                       uint32_t blocks) const
{
    if (!HasMultipath())
    {
        return nullptr;
    }
    auto& line = m_lines[{centre, blocks}];
    if (!line)
    {
        line = std::make_shared<DelayLine>(DelayProfile(m_profile, m_delaySpread), centre, blocks);
    }
    const auto names = std::minmax({Known(a).name, Known(b).name});
    const auto stream = m_name + " multipath " + names.first + " " + names.second + " " +
                        std::to_string(std::llround(centre));
    return std::make_shared<MultipathFading>(line, stream, m_lastingRun, m_doppler);
}

bool
PairChannel::IsFirst(Ptr<MobilityModel> a, Ptr<MobilityModel> b) const
{
    return Known(a).name < Known(b).name;
}

double
PairChannel::DoCalcRxPower(double txPowerDbm, Ptr<MobilityModel> a, Ptr<MobilityModel> b) const
{
    return txPowerDbm + GainDb(a, b);
}

int64_t
PairChannel::DoAssignStreams(int64_t)
{
    return 0; // its streams have names
}

} // namespace collapipe
