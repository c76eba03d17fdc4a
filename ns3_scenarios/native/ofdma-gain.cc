#include "ofdma-gain.h"

#include "ns3/pointer.h"

#include <algorithm>
#include <cmath>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(OfdmaGain);

TypeId
OfdmaGain::GetTypeId()
{
    static TypeId tid =
        TypeId("collapipe::OfdmaGain")
            .SetParent<Object>()
            .SetGroupName("Collapipe")
            .AddConstructor<OfdmaGain>()
            .AddAttribute("Loss",
                          "Path loss and shadowing, a chain of models.",
                          PointerValue(),
                          MakePointerAccessor(&OfdmaGain::m_loss),
                          MakePointerChecker<PropagationLossModel>())
            .AddAttribute("DeviceLoss",
                          "The same between two positions that are not base stations; unset: "
                          "Loss.",
                          PointerValue(),
                          MakePointerAccessor(&OfdmaGain::m_deviceLoss),
                          MakePointerChecker<PropagationLossModel>())
            .AddAttribute("Fading",
                          "Evaluated once for each pair of positions, in one direction, and added "
                          "to the loss as long as the object exists.",
                          PointerValue(),
                          MakePointerAccessor(&OfdmaGain::m_fading),
                          MakePointerChecker<PropagationLossModel>());
    return tid;
}

void
OfdmaGain::DoDispose()
{
    m_loss = m_deviceLoss = m_fading = nullptr;
    m_stations.clear();
    m_fadingDb.clear();
    Object::DoDispose();
}

void
OfdmaGain::AddStation(Ptr<const MobilityModel> place)
{
    m_stations.insert(place);
}

void
OfdmaGain::Evaluate(Ptr<MobilityModel> from, Ptr<MobilityModel> to, std::vector<double>& gains)
{
    const auto& loss = LossBetween(from, to);
    double db = 0;
    if (loss)
    {
        db += loss->CalcRxPower(0, from, to);
    }
    if (m_fading)
    {
        db += FadingDb(from, to);
    }
    std::fill(gains.begin(), gains.end(), std::pow(10, db / 10));
}

const Ptr<PropagationLossModel>&
OfdmaGain::LossBetween(Place from, Place to) const
{
    const bool devices = !m_stations.count(from) && !m_stations.count(to);
    return devices && m_deviceLoss ? m_deviceLoss : m_loss;
}

Ptr<PairChannel>
OfdmaGain::Multipath(Place from, Place to) const
{
    const auto channel = DynamicCast<PairChannel>(LossBetween(from, to));
    return channel && channel->HasMultipath() ? channel : nullptr;
}

bool
OfdmaGain::HasMultipath() const
{
    const auto has = [](const Ptr<PropagationLossModel>& loss) {
        const auto channel = DynamicCast<PairChannel>(loss);
        return channel && channel->HasMultipath();
    };
    return has(m_loss) || has(m_deviceLoss);
}

double
OfdmaGain::FadingDb(Ptr<MobilityModel> from, Ptr<MobilityModel> to)
{
    if (const auto known = m_fadingDb.find({to, from}); known != m_fadingDb.end())
    {
        return known->second;
    }
    const auto [drawn, isNew] = m_fadingDb.try_emplace({from, to}, 0);
    if (isNew)
    {
        drawn->second = m_fading->CalcRxPower(0, from, to);
    }
    return drawn->second;
}

int64_t
OfdmaGain::AssignStreams(int64_t stream)
{
    const auto first = stream;
    for (const auto& model : {m_loss, m_deviceLoss, m_fading})
    {
        if (model)
        {
            stream += model->AssignStreams(stream);
        }
    }
    return stream - first;
}

} // namespace collapipe
