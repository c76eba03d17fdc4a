#include "ofdma-spectrum-medium.h"

#include "numerology.h"
#include "ofdma-codes.h"

#include "ns3/simulator.h"
#include "ns3/spectrum-propagation-loss-model.h"

#include <algorithm>
#include <functional>

namespace collapipe
{

using namespace ns3;

NS_OBJECT_ENSURE_REGISTERED(OfdmaSpectrumMedium);

/// The gains of the radio's table, as the channel's loss model.
class OfdmaSpectrumMedium::Loss : public SpectrumPropagationLossModel
{
  public:
    void AddBand(Ptr<const SpectrumModel> model, const OfdmaGainTable& gains)
    {
        m_gains[model->GetUid()] = &gains;
    }

  private:
    Ptr<SpectrumValue> DoCalcRxPowerSpectralDensity(Ptr<const SpectrumSignalParameters> params,
                                                    Ptr<const MobilityModel> from,
                                                    Ptr<const MobilityModel> to) const override
    {
        const auto received = params->psd->Copy();
        const auto table = m_gains.find(received->GetSpectrumModelUid());
        if (table == m_gains.end())
        {
            return received; // at a receiver of another band, which the radio doesn't have
        }
        const auto gains = table->second->Between(from, to);
        std::transform(received->ConstValuesBegin(),
                       received->ConstValuesEnd(),
                       gains.begin(),
                       received->ValuesBegin(),
                       std::multiplies<>());
        return received;
    }

    int64_t DoAssignStreams(int64_t) override
    {
        return 0;
    }

    std::map<SpectrumModelUid_t, const OfdmaGainTable*> m_gains;
};

TypeId
OfdmaSpectrumMedium::GetTypeId()
{
    static TypeId tid = TypeId("collapipe::OfdmaSpectrumMedium")
                            .SetParent<OfdmaMedium>()
                            .SetGroupName("Collapipe")
                            .AddConstructor<OfdmaSpectrumMedium>();
    return tid;
}

OfdmaSpectrumMedium::OfdmaSpectrumMedium()
    : m_channel(CreateObject<MultiModelSpectrumChannel>()),
      m_loss(Create<Loss>())
{
    m_channel->AddSpectrumPropagationLossModel(m_loss);
}

OfdmaSpectrumMedium::~OfdmaSpectrumMedium() = default;

void
OfdmaSpectrumMedium::DoDispose()
{
    m_bands.clear();
    m_loss = nullptr;
    m_channel = nullptr;
    OfdmaMedium::DoDispose();
}

Ptr<SpectrumChannel>
OfdmaSpectrumMedium::GetSpectrumChannel() const
{
    return m_channel;
}

Ptr<const SpectrumModel>
OfdmaSpectrumMedium::GetSpectrumModel(uint32_t band) const
{
    return m_bands.at(band).model;
}

void
OfdmaSpectrumMedium::AddBand(uint32_t blocks, double centreHz, const OfdmaGainTable& gains)
{
    Bands spectrum;
    for (uint32_t block = 0; block < blocks; ++block)
    {
        const auto low = centreHz + (block - blocks / 2.0) * BLOCK_HZ;
        spectrum.push_back({low, low + BLOCK_HZ / 2, low + BLOCK_HZ});
    }
    const auto model = Create<SpectrumModel>(std::move(spectrum));
    m_loss->AddBand(model, gains);
    m_bands.push_back({model});
}

void
OfdmaSpectrumMedium::AddMember(uint32_t band,
                               uint32_t node,
                               Ptr<MobilityModel> place,
                               bool receives)
{
    auto& phy = m_bands[band].phys[node];
    if (!phy)
    {
        phy = CreateObject<OfdmaSpectrumPhy>();
        phy->SetMedium(this);
        phy->SetRxSpectrumModel(m_bands[band].model);
        phy->SetMobility(place);
        phy->SetChannel(m_channel);
    }
    if (receives)
    {
        m_channel->AddRx(phy);
    }
}

void
OfdmaSpectrumMedium::Transmit(uint32_t band, const std::vector<OfdmaSignal>& signals, Time tti)
{
    auto& [model, phys, begin, senders] = m_bands[band];
    begin = Simulator::Now();
    senders.clear();
    for (auto signal = signals.begin(); signal != signals.end();)
    {
        const auto from = signal->from;
        senders.push_back(from);
        const auto sent = Create<OfdmaSpectrumSignal>();
        sent->medium = this;
        sent->from = from;
        sent->txPhy = phys.at(from);
        sent->duration = tti;
        sent->psd = Create<SpectrumValue>(model);
        for (; signal != signals.end() && signal->from == from; ++signal)
        {
            std::fill_n(sent->psd->ValuesBegin() + signal->first, signal->blocks, signal->density);
        }
        m_channel->StartTx(sent);
    }
}

void
OfdmaSpectrumMedium::Receive(uint32_t band,
                             const OfdmaSignal& signal,
                             double* wanted,
                             double* unwanted)
{
    auto& [model, phys, begin, senders] = m_bands[band];
    if (std::find(senders.begin(), senders.end(), signal.to) != senders.end())
    {
        std::fill(wanted, wanted + signal.blocks, 0);
        std::fill(unwanted, unwanted + signal.blocks, 0);
        return;
    }
    phys.at(signal.to)->Listen(signal.from, signal.first, signal.blocks, begin, wanted, unwanted);
}

} // namespace collapipe
