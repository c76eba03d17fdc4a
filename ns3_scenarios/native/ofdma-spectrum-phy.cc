#include "ofdma-spectrum-phy.h"

#include "ns3/simulator.h"

#include <algorithm>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(OfdmaSpectrumPhy);

Ptr<SpectrumSignalParameters>
OfdmaSpectrumSignal::Copy() const
{
    return Create<OfdmaSpectrumSignal>(*this);
}

TypeId
OfdmaSpectrumPhy::GetTypeId()
{
    static TypeId tid = TypeId("collapipe::OfdmaSpectrumPhy")
                            .SetParent<SpectrumAnalyzer>()
                            .SetGroupName("Collapipe")
                            .AddConstructor<OfdmaSpectrumPhy>();
    return tid;
}

void
OfdmaSpectrumPhy::SetMedium(const void* medium)
{
    m_medium = medium;
}

void
OfdmaSpectrumPhy::StartRx(Ptr<SpectrumSignalParameters> params)
{
    const auto now = Simulator::Now();
    const auto* own = dynamic_cast<const OfdmaSpectrumSignal*>(PeekPointer(params));
    if (own && own->medium == m_medium)
    {
        std::erase_if(m_own, [now](const auto& signal) { return signal.begin < now; });
        m_own.push_back({own->from, now, now + params->duration, params->psd});
        return;
    }
    if (m_own.empty() || m_own.front().end < now) // else Listen() may still need what has ended
    {
        std::erase_if(m_others, [now](const auto& signal) { return signal.end <= now; });
    }
    m_others.push_back({0, now, now + params->duration, params->psd});
}

void
OfdmaSpectrumPhy::Listen(uint32_t from,
                         uint32_t first,
                         uint32_t blocks,
                         Time begin,
                         double* wanted,
                         double* unwanted) const
{
    std::fill(wanted, wanted + blocks, 0);
    std::fill(unwanted, unwanted + blocks, 0);
    for (const auto& signal : m_own)
    {
        if (signal.begin == begin)
        {
            auto* sum = signal.from == from ? wanted : unwanted;
            for (uint32_t i = 0; i < blocks; ++i)
            {
                sum[i] += (*signal.densities)[first + i];
            }
        }
    }
    const auto now = Simulator::Now();
    for (const auto& signal : m_others)
    {
        const auto overlap = std::min(signal.end, now) - std::max(signal.begin, begin);
        if (overlap > Time(0))
        {
            const auto share = overlap.GetSeconds() / (now - begin).GetSeconds();
            for (uint32_t i = 0; i < blocks; ++i)
            {
                unwanted[i] += share * (*signal.densities)[first + i];
            }
        }
    }
}

} // namespace collapipe
