#include "ofdma-medium.h"

#include <algorithm>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(OfdmaMedium);
NS_OBJECT_ENSURE_REGISTERED(OfdmaTtiMedium);

TypeId
OfdmaMedium::GetTypeId()
{
    static TypeId tid =
        TypeId("collapipe::OfdmaMedium").SetParent<Object>().SetGroupName("Collapipe");
    return tid;
}

TypeId
OfdmaTtiMedium::GetTypeId()
{
    static TypeId tid = TypeId("collapipe::OfdmaTtiMedium")
                            .SetParent<OfdmaMedium>()
                            .SetGroupName("Collapipe")
                            .AddConstructor<OfdmaTtiMedium>();
    return tid;
}

void
OfdmaTtiMedium::AddBand(uint32_t, double, const OfdmaGainTable& gains)
{
    m_bands.push_back({&gains, {}});
}

void
OfdmaTtiMedium::AddMember(uint32_t, uint32_t, Ptr<MobilityModel>, bool)
{
}

void
OfdmaTtiMedium::Transmit(uint32_t band, const std::vector<OfdmaSignal>& signals, Time)
{
    m_bands[band].onAir = signals;
}

void
OfdmaTtiMedium::Receive(uint32_t band, const OfdmaSignal& signal, double* wanted, double* unwanted)
{
    const auto& [gains, onAir] = m_bands[band];
    std::fill(wanted, wanted + signal.blocks, 0);
    std::fill(unwanted, unwanted + signal.blocks, 0);
    const auto end = signal.first + signal.blocks;
    for (const auto& other : onAir)
    {
        if (other.from == signal.to)
        {
            std::fill(wanted, wanted + signal.blocks, 0);
            std::fill(unwanted, unwanted + signal.blocks, 0);
            return;
        }
        const auto from = std::max(signal.first, other.first);
        const auto until = std::min(end, other.first + other.blocks);
        if (from >= until)
        {
            continue;
        }
        auto* sum = other.from == signal.from ? wanted : unwanted;
        const auto gain = gains->Of(other.from, signal.to, from, until - from);
        for (auto block = from; block < until; ++block)
        {
            const auto received = other.density * gain[block];
            sum[block - signal.first] += received;
        }
    }
}

} // namespace collapipe
