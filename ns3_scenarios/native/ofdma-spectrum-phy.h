#ifndef COLLAPIPE_OFDMA_SPECTRUM_PHY_H
#define COLLAPIPE_OFDMA_SPECTRUM_PHY_H

#include "ns3/nstime.h"
#include "ns3/spectrum-analyzer.h"
#include "ns3/spectrum-signal-parameters.h"
#include "ns3/spectrum-value.h"

#include <cstdint>
#include <vector>

namespace collapipe
{

/// A signal of the radio on a spectrum channel: everything that a node sends in a band and a TTI.
struct OfdmaSpectrumSignal : public ns3::SpectrumSignalParameters
{
    ns3::Ptr<ns3::SpectrumSignalParameters> Copy() const override;

    const void* medium; // identifies the radio
    uint32_t from;      // node of the radio
};

/// A node's PHY in one band on an ns-3 spectrum channel: ns-3's spectrum analyzer with another way
/// of adding signals.
///
/// It keeps the signals and adds them up when the TTI is over: first those of its own radio, which
/// last for whole TTIs, in the order of their senders, and then the others, each weighted by the
/// share of the TTI for which it lasted.
class OfdmaSpectrumPhy : public ns3::SpectrumAnalyzer
{
  public:
    static ns3::TypeId GetTypeId();

    /// Identifies the radio's own signals.
    void SetMedium(const void* medium);
    /// The densities on some blocks from `begin` to now (W/Hz): one sender's signal, and the rest.
    void Listen(uint32_t from,
                uint32_t first,
                uint32_t blocks,
                ns3::Time begin,
                double* wanted,
                double* unwanted) const;

    void StartRx(ns3::Ptr<ns3::SpectrumSignalParameters> params) override;

  private:
    struct Heard
    {
        uint32_t from; // node of the radio, for its own signals
        ns3::Time begin;
        ns3::Time end;
        ns3::Ptr<const ns3::SpectrumValue> densities;
    };

    const void* m_medium{nullptr};
    std::vector<Heard> m_own;    // of this TTI
    std::vector<Heard> m_others; // that may last into a later TTI
};

} // namespace collapipe

#endif
