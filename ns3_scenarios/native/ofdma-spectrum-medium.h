#ifndef COLLAPIPE_OFDMA_SPECTRUM_MEDIUM_H
#define COLLAPIPE_OFDMA_SPECTRUM_MEDIUM_H

#include "ofdma-medium.h"
#include "ofdma-spectrum-phy.h"

#include "ns3/multi-model-spectrum-channel.h"

#include <cstdint>
#include <map>
#include <vector>

namespace collapipe
{

/// The reference engine: every signal is sent over ns-3's MultiModelSpectrumChannel, with one
/// spectrum model for each band, so that other spectrum devices receive it and interfere with it.
class OfdmaSpectrumMedium : public OfdmaMedium
{
  public:
    static ns3::TypeId GetTypeId();
    OfdmaSpectrumMedium();
    ~OfdmaSpectrumMedium() override;

    /// The channel, for other devices to share; its loss between any two positions is the radio's.
    ns3::Ptr<ns3::SpectrumChannel> GetSpectrumChannel() const;
    ns3::Ptr<const ns3::SpectrumModel> GetSpectrumModel(uint32_t band) const;

    void AddBand(uint32_t blocks, double centreHz, const OfdmaGainTable& gains) override;
    void AddMember(uint32_t band,
                   uint32_t node,
                   ns3::Ptr<ns3::MobilityModel> place,
                   bool receives) override;
    void Transmit(uint32_t band, const std::vector<OfdmaSignal>& signals, ns3::Time tti) override;
    void Receive(uint32_t band,
                 const OfdmaSignal& signal,
                 double* wanted,
                 double* unwanted) override;

  protected:
    void DoDispose() override;

  private:
    class Loss;

    struct Band
    {
        ns3::Ptr<ns3::SpectrumModel> model;
        std::map<uint32_t, ns3::Ptr<OfdmaSpectrumPhy>> phys{}; // by node
        ns3::Time begin{};               // of the TTI on the air
        std::vector<uint32_t> senders{}; // in that TTI
    };

    ns3::Ptr<ns3::MultiModelSpectrumChannel> m_channel;
    ns3::Ptr<Loss> m_loss;
    std::vector<Band> m_bands;
};

} // namespace collapipe

#endif
