#include "ofdma-spectrum-phy.h"

#include "ns3/mobility-model.h"
#include "ns3/net-device.h"
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
                            .SetParent<SpectrumPhy>()
                            .SetGroupName("Collapipe")
                            .AddConstructor<OfdmaSpectrumPhy>();
    return tid;
}

void
OfdmaSpectrumPhy::DoDispose()
{
    m_device = nullptr;
    m_place = nullptr;
    m_channel = nullptr;
    m_own.clear();
    m_others.clear();
    SpectrumPhy::DoDispose();
}

void
OfdmaSpectrumPhy::Install(const void* medium,
                          Ptr<const SpectrumModel> model,
                          Ptr<MobilityModel> place,
                          Ptr<SpectrumChannel> channel)
{
    m_medium = medium;
    m_model = model;
    m_place = place;
    m_channel = channel;
}

void
OfdmaSpectrumPhy::Send(uint32_t from, Ptr<SpectrumValue> densities, Time tti)
{
    m_sent = Simulator::Now();
    const auto signal = Create<OfdmaSpectrumSignal>();
    signal->psd = densities;
    signal->duration = tti;
    signal->txPhy = this;
    signal->medium = m_medium;
    signal->from = from;
    m_channel->StartTx(signal);
}

Time
OfdmaSpectrumPhy::LastSent() const
{
    return m_sent;
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
    if (m_own.empty() || m_own.front().end <= now) // else Listen() will ask for what has ended
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
                         double* unwanted)
{
    std::fill(wanted, wanted + blocks, 0);
    std::fill(unwanted, unwanted + blocks, 0);
    for (const auto& signal : m_own)
    {
        if (signal.begin == begin)
        {
            auto* sum = signal.from == from ? wanted : unwanted;
            const auto& densities = signal.densities->GetValues();
            for (uint32_t i = 0; i < blocks; ++i)
            {
                sum[i] += densities[first + i];
            }
        }
    }
    const auto tti = (Simulator::Now() - begin).GetSeconds();
    for (const auto& signal : m_others)
    {
        const auto overlap = std::min(signal.end, Simulator::Now()) - std::max(signal.begin, begin);
        if (overlap > Time(0))
        {
            const auto share = overlap.GetSeconds() / tti;
            for (uint32_t i = 0; i < blocks; ++i)
            {
                unwanted[i] += share * (*signal.densities)[first + i];
            }
        }
    }
}

void
OfdmaSpectrumPhy::SetDevice(Ptr<NetDevice> device)
{
    m_device = device;
}

Ptr<NetDevice>
OfdmaSpectrumPhy::GetDevice() const
{
    return m_device;
}

void
OfdmaSpectrumPhy::SetMobility(Ptr<MobilityModel> place)
{
    m_place = place;
}

Ptr<MobilityModel>
OfdmaSpectrumPhy::GetMobility() const
{
    return m_place;
}

void
OfdmaSpectrumPhy::SetChannel(Ptr<SpectrumChannel> channel)
{
    m_channel = channel;
}

Ptr<const SpectrumModel>
OfdmaSpectrumPhy::GetRxSpectrumModel() const
{
    return m_model;
}

Ptr<Object>
OfdmaSpectrumPhy::GetAntenna() const
{
    return nullptr;
}

} // namespace collapipe
